import Glibc
import LinuxKernel
import NIOHTTP1

/// One HTTP/1.1 connection over a blocking socket: there is neither an event loop nor a thread, whose start would cost
/// more than most requests.
final class HTTPConnection {
    private let socket: UnixSocket
    private let host: Host
    private let parser = AnswerParser()
    /// Whether the connection can take another request: the last answer has been read to its end.
    private(set) var isIdle = true
    private var closesAfterAnswer = false

    init(_ host: Host) throws {
        self.host = host
        socket = try UnixSocket(connectingTo: host)
    }

    var descriptor: Int32 { socket.descriptor.raw }

    /// Whether nothing has come that nobody asked for: neither bytes nor the connection's end.
    var isQuiet: Bool {
        var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&state, 1, 0) == 0
    }

    // MARK: Request

    /// The daemon takes no more of a body that is made while it is sent.
    struct Hangup: Error {}

    /// What is not sent yet: a small request goes out as one write, since the daemon answers only after its end.
    private var held: [UInt8] = []
    private var isChunked = false

    /// Begins a request (RFC 9112, 3). With `Transfer-Encoding: chunked` each piece of the body becomes a chunk.
    func sendHead(_ method: HTTPMethod, _ target: String, _ headers: HTTPHeaders) throws {
        isIdle = false
        parser.answersHead = method == .HEAD
        isChunked = headers.contains(name: "Transfer-Encoding")
        held += "\(method.rawValue) \(target) HTTP/1.1\r\nHost: mycontainer\r\nUser-Agent: mycontainer\r\n".utf8
        for (name, value) in headers {
            if (name + value).utf8.contains(where: { $0 == 10 || $0 == 13 || $0 == 0 }) {
                throw CommandFailure("the header \(quoted(name)) can't be sent: it holds a line break or a zero byte")
            }
            held += "\(name): \(value)\r\n".utf8
        }
        held += "\r\n".utf8
    }

    func sendBody(_ bytes: [UInt8]) throws {
        if bytes.isEmpty { return }
        if isChunked {
            held += (String(bytes.count, radix: 16) + "\r\n").utf8
            held += bytes
            held += "\r\n".utf8
        } else {
            held += bytes
        }
        if held.count > 1 << 15 { try flush() }
    }

    /// Ends the request and gives everything of it that is still held to the daemon.
    func endRequest() throws {
        if isChunked { held += "0\r\n\r\n".utf8 }
        try flush()
    }

    private func flush() throws {
        let bytes = held
        held = []
        if !bytes.withUnsafeBytes({ writeAll($0, to: descriptor) }) {
            let code = errno
            // The daemon may refuse a request before it has read all of it: its answer says why.
            if code != EPIPE && code != ECONNRESET { throw lost(goReason(code)) }
            if isChunked { throw Hangup() }
        }
    }

    // MARK: Answer

    /// Waits for the head of the answer.
    func receiveHead() throws -> HTTPResponseHead {
        while true {
            guard let part = try nextPart() else { throw lost("it closed the connection without an answer") }
            guard case .head(let head, let isLast) = part else { continue }
            // 1xx answers other than a switch of protocols announce the real one.
            if head.status.code >= 200 || head.status == .switchingProtocols {
                closesAfterAnswer = isLast
                return head
            }
        }
    }

    /// The next piece of the answer's body, nil at its end.
    func receiveBody() throws -> [UInt8]? {
        while let part = try nextPart() {
            switch part {
            case .head: continue
            case .body(let bytes): return bytes
            case .end:
                isIdle = !closesAfterAnswer
                return nil
            }
        }
        throw lost("it closed the connection in the middle of an answer")
    }

    /// The rest of the answer's body; at most 256 MiB, so that a broken daemon can't fill the memory.
    func receiveRest() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let piece = try receiveBody() {
            bytes += piece
            if bytes.count > 256 << 20 { throw lost("its answer is larger than 256 MiB") }
        }
        return bytes
    }

    private var atEnd = false

    private func nextPart() throws -> AnswerParser.Part? {
        while true {
            if let part = parser.next() { return part }
            if atEnd { return nil }
            try receive()
        }
    }

    /// Reads once from the socket, waiting if need be, and feeds the parser.
    private func receive() throws {
        do {
            try withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 16) { memory in
                let count = try read(into: memory)
                atEnd = count == 0
                if atEnd { return try parser.finish() }
                try parser.feed(UnsafeRawBufferPointer(rebasing: memory[..<count]))
            }
        } catch AnswerParser.Fault.cut {
            throw lost("it closed the connection in the middle of an answer")
        } catch AnswerParser.Fault.malformed(let what) {
            throw lost("it does not speak HTTP (\(what))")
        }
    }

    /// - Returns: 0 at the connection's end.
    private func read(into memory: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            let count = Glibc.read(descriptor, memory.baseAddress, memory.count)
            if count >= 0 { return count }
            if errno == EAGAIN {
                var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                poll(&wait, 1, -1)
            } else if errno == ECONNRESET {
                return 0
            } else if errno != EINTR {
                throw lost(goReason(errno))
            }
        }
    }

    /// Takes the connection out of HTTP after a `101 Switching Protocols`.
    ///
    /// - Returns: bytes of the new protocol that came with the answer.
    func hijack() -> [UInt8] { parser.afterSwitch }

    private func lost(_ reason: String) -> CommandFailure {
        CommandFailure("lost the connection to the mycontainer daemon at \(host.display): \(reason)")
    }
}
