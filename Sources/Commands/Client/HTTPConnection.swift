import Glibc
import LinuxKernel
import NIOCore
import NIOEmbedded
import NIOHTTP1

/// One HTTP/1.1 connection over a blocking socket. NIO's codec runs in an `EmbeddedChannel`: the library parses and
/// writes, and there is neither an event loop nor a thread, whose start would cost more than most requests.
final class HTTPConnection {
    private let socket: UnixSocket
    private let channel = EmbeddedChannel()
    private let decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes))
    private let host: Host
    /// Whether the connection can take another request: the last answer has been read to its end.
    private(set) var isIdle = true
    private var closesAfterAnswer = false

    init(_ host: Host) throws {
        self.host = host
        socket = try UnixSocket(connectingTo: host)
        try channel.pipeline.syncOperations.addHandlers([HTTPRequestEncoder(), decoder])
        // The codec starts when the channel becomes active.
        _ = try channel.connect(to: SocketAddress(unixDomainSocketPath: "/")).wait()
    }

    var descriptor: Int32 { socket.descriptor.raw }

    // MARK: Request

    func sendHead(_ method: HTTPMethod, _ target: String, _ headers: HTTPHeaders) throws {
        isIdle = false
        var headers = headers
        headers.add(name: "Host", value: "mycontainer")
        headers.add(name: "User-Agent", value: "mycontainer")
        try write(.head(HTTPRequestHead(version: .http1_1, method: method, uri: target, headers: headers)))
    }

    func sendBody(_ bytes: some Sequence<UInt8>) throws {
        try write(.body(.byteBuffer(channel.allocator.buffer(bytes: bytes))))
    }

    /// Ends the request and gives everything of it that is still buffered to the daemon.
    func endRequest() throws { try write(.end(nil)) }

    private func write(_ part: HTTPClientRequestPart) throws {
        try channel.writeOutbound(part)
        var pending: [UInt8] = []
        while let data = try channel.readOutbound(as: IOData.self) {
            guard case .byteBuffer(let buffer) = data else { continue }
            pending += buffer.readableBytesView
        }
        // One small write for a head, its body and its end would need buffering here; the daemon answers only after
        // the end, so heads are held back until more follows.
        held += pending
        if case .head = part { return }
        if case .end = part {
            try flush()
        } else if held.count > 1 << 15 {
            try flush()
        }
    }

    private var held: [UInt8] = []

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

    /// Reads once from the socket, waiting if need be, and feeds the decoder.
    private func receive() throws {
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
            throw lost("it does not speak HTTP (\(error))")
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
