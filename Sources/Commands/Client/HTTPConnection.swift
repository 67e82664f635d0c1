import Glibc
import LinuxKernel
import NIOCore
import NIOEmbedded
import NIOHTTP1

/// One HTTP/1.1 connection over a blocking socket. NIO's decoder reads the answers in an `EmbeddedChannel`: there is
/// neither an event loop nor a thread, whose start would cost more than most requests.
final class HTTPConnection {
    private let socket: UnixSocket
    private let host: Host
    /// Made when the first answer is awaited: that takes as long as all that a command does before, and by then the
    /// daemon is at work. For the same reason requests are not written by NIO's encoder.
    private lazy var channel = EmbeddedChannel()
    private lazy var decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes))
    private var hasDecoder = false
    /// Requests that the decoder has not been told of: it reads the answer to a `HEAD` differently.
    private var unannounced: [HTTPRequestHead] = []
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

    /// What is not sent yet: a small request goes out as one write, since the daemon answers only after its end.
    private var held: [UInt8] = []
    private var isChunked = false

    /// Begins a request (RFC 9112, 3). With `Transfer-Encoding: chunked` each piece of the body becomes a chunk.
    func sendHead(_ method: HTTPMethod, _ target: String, _ headers: HTTPHeaders) throws {
        isIdle = false
        var head = HTTPRequestHead(version: .http1_1, method: method, uri: target, headers: headers)
        head.headers.add(name: "Host", value: "mycontainer")
        head.headers.add(name: "User-Agent", value: "mycontainer")
        isChunked = headers.contains(name: "Transfer-Encoding")
        held += "\(method.rawValue) \(target) HTTP/1.1\r\n".utf8
        for (name, value) in head.headers {
            if (name + value).utf8.contains(where: { $0 == 10 || $0 == 13 || $0 == 0 }) {
                throw CommandFailure("the header \(quoted(name)) can't be sent: it holds a line break or a zero byte")
            }
            held += "\(name): \(value)\r\n".utf8
        }
        held += "\r\n".utf8
        unannounced.append(head)
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
        }
    }

    // MARK: Answer

    /// Waits for the head of the answer.
    func receiveHead() throws -> HTTPResponseHead {
        while true {
            guard let part = try nextPart() else { throw lost("it closed the connection without an answer") }
            guard case .head(let head) = part else { continue }
            // 1xx answers other than a switch of protocols announce the real one.
            if head.status.code >= 200 || head.status == .switchingProtocols {
                closesAfterAnswer = !head.isKeepAlive
                return head
            }
        }
    }

    /// The next piece of the answer's body, nil at its end.
    func receiveBody() throws -> ByteBuffer? {
        while let part = try nextPart() {
            switch part {
            case .head: continue
            case .body(let buffer): return buffer
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
        while let buffer = try receiveBody() {
            bytes += buffer.readableBytesView
            if bytes.count > 256 << 20 { throw lost("its answer is larger than 256 MiB") }
        }
        return bytes
    }

    /// Whether a piece of the answer is here already, so that reading it does not block.
    func hasBufferedPart() throws -> Bool {
        if bufferedPart == nil { bufferedPart = try channel.readInbound(as: HTTPClientResponsePart.self) }
        return bufferedPart != nil
    }

    private var bufferedPart: HTTPClientResponsePart?
    private var atEnd = false

    private func nextPart() throws -> HTTPClientResponsePart? {
        while true {
            if try hasBufferedPart() {
                defer { bufferedPart = nil }
                return bufferedPart
            }
            if atEnd { return nil }
            try receive()
        }
    }

    /// Makes the decoder if need be, and tells it of the requests that are answered next.
    private func prepareDecoder() throws {
        if !hasDecoder {
            hasDecoder = true
            try channel.pipeline.syncOperations.addHandler(decoder)
            // The decoder starts when the channel becomes active.
            _ = try channel.connect(to: SocketAddress(unixDomainSocketPath: "/")).wait()
        }
        for head in unannounced {
            try channel.writeOutbound(HTTPClientRequestPart.head(head))
            _ = try channel.readOutbound(as: HTTPClientRequestPart.self)
        }
        unannounced = []
    }

    /// Reads once from the socket, waiting if need be, and feeds the decoder.
    private func receive() throws {
        try prepareDecoder()
        var buffer = channel.allocator.buffer(capacity: 1 << 16)
        let raw = descriptor
        let count = try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 1 << 16) { memory in
            while true {
                let count = read(raw, memory.baseAddress, memory.count)
                if count >= 0 { return count }
                if errno == EAGAIN {
                    var wait = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
                    poll(&wait, 1, -1)
                } else if errno == ECONNRESET {
                    return 0
                } else if errno != EINTR {
                    throw lost(goReason(errno))
                }
            }
        }
        do {
            if count == 0 {
                atEnd = true
                // Ends a body that lasts until the connection closes.
                _ = try channel.finish(acceptAlreadyClosed: true)
            } else {
                try channel.writeInbound(buffer)
            }
        } catch let error as HTTPParserError {
            throw lost(
                error == .invalidEOFState
                    ? "it closed the connection in the middle of an answer" : "it does not speak HTTP (\(error))")
        }
    }

    /// Takes the connection out of HTTP after a `101 Switching Protocols`.
    ///
    /// - Returns: bytes of the new protocol that came with the answer.
    func hijack() throws -> [UInt8] {
        while let part = try nextPart() {
            if case .end = part { break }
        }
        _ = channel.pipeline.syncOperations.removeHandler(decoder)
        channel.embeddedEventLoop.run()
        var early: [UInt8] = []
        while let buffer = try channel.readInbound(as: ByteBuffer.self) { early += buffer.readableBytesView }
        return early
    }

    private func lost(_ reason: String) -> CommandFailure {
        CommandFailure("lost the connection to the mycontainer daemon at \(host.display): \(reason)")
    }
}
