import NIOCore
import Synchronization

/// How much of one thing all connections together may have: a client that takes what it can get must not take it from the
/// containers, or from the daemon itself.
final class Allowance: Sendable {
    private let limit: Int
    private let used = Atomic(0)

    init(_ limit: Int) { self.limit = limit }

    /// Takes so much, or nothing at all.
    func take(_ amount: Int) -> Bool {
        if used.add(amount, ordering: .relaxed).newValue <= limit { return true }
        give(back: amount)
        return false
    }

    var taken: Int { used.load(ordering: .relaxed) }

    func give(back amount: Int) { used.subtract(amount, ordering: .relaxed) }
}

/// Answers a connection that is one too many, and ends it: when the client does, or soon.
final class RefusalHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelActive(context: ChannelHandlerContext) {
        let body =
            #"{"message":"too many connections: the daemon keeps the rest of its descriptors for containers"}"# + "\n"
        let text =
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            + "Content-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n" + body
        // A socket that is closed before its request was read would take the answer with it.
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text))).whenComplete { _ in
            channel.close(mode: .output, promise: nil)
        }
        context.eventLoop.scheduleTask(in: ConnectionHandler.lingering) { channel.close(promise: nil) }
        context.read()
    }

    func channelReadComplete(context: ChannelHandlerContext) { context.read() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event as? ChannelEvent == .inputClosed { context.close(promise: nil) }
    }
}
