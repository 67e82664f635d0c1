import NIOCore
import NIOHTTP1
import NIOWebSocket

/// How a container's streams travel over a WebSocket (RFC 6455): raw, without Docker's frames, since messages have
/// boundaries of their own.
struct WebSocketFormat: Sendable {
    /// Since API 1.28; text before.
    let isBinary: Bool
    /// Whether output comes in Docker's frames, which are taken off.
    let isFramed: Bool

    /// What a client may send in one frame, in bytes.
    private static let maximumFrame = 1 << 20

    /// What makes a request's answer a handshake.
    ///
    /// - Returns: a failure for a request that is no handshake.
    static func handshake(for head: HTTPRequestHead, on channel: any Channel) -> EventLoopFuture<HTTPHeaders> {
        NIOWebSocketServerUpgrader(
            shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture([:]) },
            upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() }
        ).buildUpgradeResponse(channel: channel, upgradeRequest: head, initialResponseHeaders: [:])
    }

    /// Puts the protocol between the socket and `client`, whose bytes are the messages' from then on.
    func install(before client: SpliceHandler, in pipeline: ChannelPipeline.SynchronousOperations) throws {
        try pipeline.addHandlers(
            [
                ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: Self.maximumFrame)), WebSocketFrameEncoder(),
                WebSocketProtocolErrorHandler(), WebSocketHandler(self),
            ], position: .before(client))
    }
}

/// Makes messages of bytes and bytes of messages.
private final class WebSocketHandler: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = WebSocketFrame

    private let opcode: WebSocketOpcode
    private var stripper: StreamFrameStripper?
    private var saidClose = false

    init(_ format: WebSocketFormat) {
        opcode = format.isBinary ? .binary : .text
        stripper = format.isFramed ? StreamFrameStripper() : nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.opcode {
        case .binary, .text, .continuation: context.fireChannelRead(wrapInboundOut(frame.unmaskedData))
        case .ping:
            let pong = WebSocketFrame(fin: true, opcode: .pong, data: frame.unmaskedData)
            context.writeAndFlush(wrapOutboundOut(pong), promise: nil)
        case .connectionClose:
            // After it nothing may be sent: the client is gone, not only its input.
            sayClose(context, nil)
            context.flush()
            context.close(promise: nil)
        default: break
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let buffer = unwrapOutboundIn(data)
        // Nothing is written when the streams have ended.
        guard buffer.readableBytes > 0 else { return sayClose(context, promise) }
        let payload = stripper?.strip(buffer) ?? buffer
        guard payload.readableBytes > 0, !saidClose else {
            promise?.succeed()
            return
        }
        context.write(wrapOutboundOut(WebSocketFrame(fin: true, opcode: opcode, data: payload)), promise: promise)
    }

    private func sayClose(_ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?) {
        guard !saidClose else {
            promise?.succeed()
            return
        }
        saidClose = true
        var reason = context.channel.allocator.buffer(capacity: 2)
        reason.write(webSocketErrorCode: .normalClosure)
        context.write(
            wrapOutboundOut(WebSocketFrame(fin: true, opcode: .connectionClose, data: reason)), promise: promise)
    }
}

/// Takes Docker's stream frames off, wherever a chunk of them begins and ends: stream byte, three zeros, big-endian
/// length.
struct StreamFrameStripper {
    private var header: [UInt8] = []
    private var left = 0

    mutating func strip(_ buffer: ByteBuffer) -> ByteBuffer {
        var input = buffer
        var output = ByteBuffer()
        while input.readableBytes > 0 {
            if left > 0 {
                var part = input.readSlice(length: min(left, input.readableBytes))!
                left -= part.readableBytes
                output.writeBuffer(&part)
                continue
            }
            header += input.readBytes(length: min(8 - header.count, input.readableBytes))!
            guard header.count == 8 else { break }
            left = header[4...].reduce(0) { $0 << 8 | Int($1) }
            header = []
        }
        return output
    }
}
