import NIOCore
import NIOPosix
import Synchronization

/// Accepts TCP connections at one host port and passes their bytes to and from the container.
enum StreamRelay {
    /// Connections beyond this are closed at once: each costs the daemon two descriptors.
    static let maximumConnections = 1024

    /// - Parameter descriptor: a listening socket, owned from here on.
    static func start(
        _ descriptor: Int32, to container: SocketAddress, _ channels: RelayChannels, _ group: any EventLoopGroup
    ) throws -> any Channel {
        try ServerBootstrap.resting(group: group)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { client in
                guard channels.add(client, maximum: maximumConnections) else { return client.close() }
                return client.eventLoop.makeCompletedFuture {
                    let near = RelayHandler(writer: client) { connect($0, to: container) }
                    try client.pipeline.syncOperations.addHandler(near)
                }
            }
            .withBoundSocket(descriptor).wait()
    }

    private static func connect(_ near: RelayHandler, to container: SocketAddress) {
        let client = near.writer
        let near = NIOLoopBound(near, eventLoop: client.eventLoop)
        ClientBootstrap(group: client.eventLoop)
            .connectTimeout(.seconds(10))
            .channelOption(.autoRead, value: false)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let far = RelayHandler(writer: channel)
                    far.partner = near.value
                    near.value.partner = far
                    try channel.pipeline.syncOperations.addHandler(far)
                }
            }
            .connect(to: container)
            .whenComplete { result in
                switch result {
                case .failure: client.close(promise: nil)
                case .success(let channel):
                    if !client.isActive { return channel.close(promise: nil) }
                    client.read()
                    channel.read()
                }
            }
    }
}

/// One end of a relayed connection. Both ends live on one event loop. What one end reads the other writes, and the one
/// reads on when the other is writable.
final class RelayHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let writer: any Channel
    var partner: RelayHandler?
    private var waits = false
    private var inputEnded = false
    private var whenActive: ((RelayHandler) -> Void)?

    /// - Parameter whenActive: called once the channel is active. An accepted one is so some time after it was
    ///   initialized, when its event loop is not the listener's: what is done before may find it closed.
    init(writer: any Channel, whenActive: ((RelayHandler) -> Void)? = nil) {
        self.writer = writer
        self.whenActive = whenActive
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        whenActive.take()?(self)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        partner?.writer.write(unwrapInboundIn(data), promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guard let partner else { return }
        partner.writer.flush()
        if partner.writer.isWritable { context.read() } else { waits = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard context.channel.isWritable, let partner, partner.waits else { return }
        partner.waits = false
        partner.writer.read()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .some(.inputClosed) = event as? ChannelEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        inputEnded = true
        guard let partner else { return context.close(promise: nil) }
        // Closing the output throws away what was not written yet: an empty write comes behind it all.
        let isOver = partner.inputEnded
        let (mine, other) = (writer, partner.writer)
        other.writeAndFlush(ByteBuffer()).whenComplete { _ in
            other.close(mode: isOver ? .all : .output, promise: nil)
            if isOver { mine.writeAndFlush(ByteBuffer()).whenComplete { _ in mine.close(promise: nil) } }
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        let other = partner
        partner = nil
        other?.partner = nil
        guard let writer = other?.writer else { return }
        writer.writeAndFlush(ByteBuffer()).whenComplete { _ in writer.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

extension ServerBootstrap {
    /// One that rests for a second when a connection can't be accepted: with no descriptor left it would try again at once,
    /// over and over, and take all of a processor.
    static func resting(group: any EventLoopGroup) -> ServerBootstrap {
        ServerBootstrap(group: group).serverChannelInitializer { server in
            server.eventLoop.makeCompletedFuture {
                try server.pipeline.syncOperations.addHandler(
                    AcceptBackoffHandler(shouldForwardIOErrorCaught: false))
            }
        }
    }
}

/// The connections of a relay, to be ended with it.
final class RelayChannels: Sendable {
    private let open = Mutex<[ObjectIdentifier: any Channel]?>([:])

    /// False when the relay has ended, or has `maximum` already.
    func add(_ channel: any Channel, maximum: Int) -> Bool {
        let id = ObjectIdentifier(channel)
        let isAdded = open.withLock { open in
            guard let count = open?.count, count < maximum else { return false }
            open![id] = channel
            return true
        }
        if isAdded { channel.closeFuture.whenComplete { _ in self.open.withLock { _ = $0?.removeValue(forKey: id) } } }
        return isAdded
    }

    func closeAll() {
        let channels = open.withLock { open in
            defer { open = nil }
            return open.map { Array($0.values) } ?? []
        }
        for channel in channels { channel.close(promise: nil) }
    }
}
