import Engine
import EngineAPI
import NIOCore
import NIOHTTP1

/// What a route answers.
enum Reply: Sendable {
    /// A whole document.
    case document(HTTPResponseStatus, HTTPHeaders, [UInt8])
    /// A body of unknown length. The head goes out with the first write, or at `start()`; an error thrown before that
    /// becomes an ordinary refusal, one thrown after it cuts the connection.
    case stream(HTTPHeaders, @Sendable (ResponseStream) async throws -> Void)
    /// The connection becomes a raw stream.
    case upgrade(Upgrade)

    static func nothing(_ status: HTTPResponseStatus = .noContent, headers: HTTPHeaders = [:]) -> Reply {
        .document(status, headers, [])
    }

    static func json(_ value: some WireValue, status: HTTPResponseStatus = .ok) -> Reply {
        do {
            var bytes = try JSON.encode(value)
            bytes.append(UInt8(ascii: "\n"))
            return .document(status, ["Content-Type": "application/json"], bytes)
        } catch {
            return .text("the answer could not be written: \(error)", status: .internalServerError)
        }
    }

    static func text(_ text: String, status: HTTPResponseStatus = .ok) -> Reply {
        .document(status, ["Content-Type": "text/plain; charset=utf-8"], Array(text.utf8))
    }

    /// Documents that follow each other, a line each.
    static func jsonLines(_ body: @escaping @Sendable (ResponseStream) async throws -> Void) -> Reply {
        .stream(["Content-Type": "application/json"], body)
    }
}

/// A connection that turns into a container's streams.
struct Upgrade: Sendable {
    let contentType: String
    /// Sent first.
    let replay: LogStream?
    /// Owns the other end.
    let attachment: Attachment?
    /// Sent in place of a stream when there is none: an error that came too late for a status.
    let message: [UInt8]
    /// Keys that end the attachment without ending anything else; nil where there is no terminal.
    let detachKeys: [UInt8]?
    /// nil for a plain connection.
    let webSocket: WebSocketFormat?

    init(
        contentType: String, attachment: Attachment, detachKeys: [UInt8]?, webSocket: WebSocketFormat? = nil
    ) {
        self.contentType = contentType
        self.webSocket = webSocket
        self.attachment = attachment
        self.replay = attachment.replay
        self.message = []
        self.detachKeys = attachment.isTerminal ? detachKeys : nil
    }

    init(contentType: String, message: [UInt8]) {
        self.contentType = contentType
        self.message = message
        attachment = nil
        replay = nil
        detachKeys = nil
        webSocket = nil
    }
}

/// Media types of raw streams.
enum StreamMediaType {
    static let raw = "application/vnd.docker.raw-stream"
    static let multiplexed = "application/vnd.docker.multiplexed-stream"

    /// Frames are announced as such since API 1.42.
    static func of(terminal: Bool, version: APIVersion) -> String {
        terminal || version < APIVersion(1, 42) ? raw : multiplexed
    }
}

/// The body of a streamed response, with back-pressure: a write returns when the connection can take more.
struct ResponseStream: Sendable {
    let connection: NIOLoopBound<ConnectionHandler>
    let eventLoop: any EventLoop

    /// Sends the head now, so that the client knows that its request was accepted.
    func start() async throws { try await write(ByteBuffer()) }

    func write(_ bytes: some Sequence<UInt8> & Sendable) async throws { try await write(ByteBuffer(bytes: bytes)) }

    /// Writes a document and a newline.
    func writeLine(_ value: some WireValue) async throws {
        var buffer = ByteBuffer(bytes: try JSON.encode(value))
        buffer.writeInteger(UInt8(ascii: "\n"))
        try await write(buffer)
    }

    /// - Throws: `ChannelError` when the client has gone.
    func write(_ buffer: ByteBuffer) async throws {
        try await withCheckedThrowingContinuation { continuation in
            eventLoop.execute { connection.value.write(buffer, continuation) }
        }
    }
}

/// The body of a streamed request; what is not asked for is not read from the socket.
struct RequestBody: Sendable {
    let connection: NIOLoopBound<ConnectionHandler>
    let eventLoop: any EventLoop

    /// The next part, nil at the end.
    ///
    /// - Throws: `ChannelError` when the client went away in the middle.
    func next() async throws -> ByteBuffer? {
        try await withCheckedThrowingContinuation { continuation in
            eventLoop.execute { connection.value.readBody(continuation) }
        }
    }
}
