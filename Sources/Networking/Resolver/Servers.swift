import NIOCore

/// A container's UDP socket.
final class DatagramServer: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let core: ResolverCore
    private let container: ServedContainer

    init(_ core: ResolverCore, _ container: ServedContainer) {
        self.core = core
        self.container = container
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        core.receive(envelope.data, from: container, .datagram(context.channel, envelope.remoteAddress))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // That a client is gone (ECONNREFUSED) concerns no other.
    }

    func channelInactive(context: ChannelHandlerContext) {
        guard !container.isStopped else { return }
        core.report("container \(container.id.prefix(12)) has no DNS over UDP any more: its socket failed")
    }
}

/// A client's TCP connection: messages with their length before them (RFC 1035 section 4.2.2), several at a time and
/// answered in any order (RFC 7766 section 6.2.1.1).
final class StreamServer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    /// Queries of a connection that wait for their answer; more are left unread.
    private static let concurrent = 16
    /// How long a connection may bring no whole query.
    private static let idle = TimeAmount.seconds(10)

    private let core: ResolverCore
    private let container: ServedContainer
    private var context: ChannelHandlerContext?
    private var unread = ByteBuffer()
    private var waiting = 0
    private var lastQuery = NIODeadline.now()
    private var isAtEnd = false
    private var isPumping = false
    private var watchdog: Scheduled<Void>?

    init(_ core: ResolverCore, _ container: ServedContainer) {
        self.core = core
        self.container = container
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        guard core.admit(context.channel, of: container) else { return context.close(promise: nil) }
        watch()
        context.read()
    }

    func channelInactive(context: ChannelHandlerContext) {
        watchdog?.cancel()
        core.closed(context.channel, of: container)
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var data = unwrapInboundIn(data)
        unread.writeBuffer(&data)
    }

    func channelReadComplete(context: ChannelHandlerContext) { pump() }

    func channelWritabilityChanged(context: ChannelHandlerContext) { pump() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event else { return }
        isAtEnd = true
        pump()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    /// Sends the answer to one of the queries, or with nil counts it as answered.
    func send(_ reply: ByteBuffer?) {
        waiting -= 1
        guard let context else { return }
        if let reply {
            var framed = ByteBuffer(integer: UInt16(reply.readableBytes))
            framed.writeImmutableBuffer(reply)
            context.writeAndFlush(NIOAny(framed), promise: nil)
        }
        // Within `pump`, its loop goes on.
        if !isPumping { pump() }
    }

    /// Takes queries from what has come, as many as may be under way, and asks for more. A client that doesn't take
    /// its answers is not read from.
    private func pump() {
        isPumping = true
        defer { isPumping = false }
        while let context, waiting < Self.concurrent, context.channel.isWritable {
            guard let length = unread.getInteger(at: unread.readerIndex, as: UInt16.self) else { break }
            guard (DNS.headerLength...DNS.largestDatagram).contains(Int(length)) else {
                return context.close(promise: nil)
            }
            guard let message = unread.getSlice(at: unread.readerIndex + 2, length: Int(length)) else { break }
            unread.moveReaderIndex(forwardBy: 2 + Int(length))
            waiting += 1
            lastQuery = .now()
            core.receive(message, from: container, .stream(self))
        }
        unread.discardReadBytes()
        guard let context else { return }
        if isAtEnd {
            if waiting == 0, context.channel.isWritable { context.close(promise: nil) }
        } else if waiting < Self.concurrent, context.channel.isWritable {
            context.read()
        }
    }

    /// Ends the connection once it has been idle, or stuck, for long enough.
    private func watch() {
        watchdog = core.loop.assumeIsolated().scheduleTask(deadline: lastQuery + Self.idle) {
            guard let context = self.context else { return }
            if NIODeadline.now() >= self.lastQuery + Self.idle {
                context.close(promise: nil)
            } else {
                self.watch()
            }
        }
    }
}
