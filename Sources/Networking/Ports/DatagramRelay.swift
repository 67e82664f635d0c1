import NIOCore
import NIOPosix

/// Passes UDP datagrams of one host port to and from the container. Each client has a socket of its own towards the
/// container, until nothing comes for a while.
final class DatagramRelay: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    /// Clients beyond this are ignored until others have been silent for long enough.
    static let maximumClients = 1024
    /// As docker-proxy's.
    static let silence = TimeAmount.seconds(90)
    /// Datagrams that wait for one client's socket to be made.
    private static let maximumQueue = 16

    private enum Client {
        case connecting([ByteBuffer])
        case connected(any Channel)
    }

    private let container: SocketAddress
    private let channels: RelayChannels
    private var clients: [SocketAddress: Client] = [:]

    private init(_ container: SocketAddress, _ channels: RelayChannels) {
        self.container = container
        self.channels = channels
    }

    /// - Parameter descriptor: a bound socket, owned from here on.
    static func start(
        _ descriptor: Int32, to container: SocketAddress, _ channels: RelayChannels, _ group: any EventLoopGroup
    ) throws -> any Channel {
        try DatagramBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(DatagramRelay(container, channels))
                }
            }
            .withBoundSocket(descriptor).wait()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let datagram = unwrapInboundIn(data)
        let client = datagram.remoteAddress
        switch clients[client] {
        case .connected(let channel):
            channel.writeAndFlush(AddressedEnvelope(remoteAddress: container, data: datagram.data), promise: nil)
        case .connecting(let queue):
            if queue.count < DatagramRelay.maximumQueue { clients[client] = .connecting(queue + [datagram.data]) }
        case nil:
            guard clients.count < DatagramRelay.maximumClients else { return }
            clients[client] = .connecting([datagram.data])
            connect(client, context)
        }
    }

    private func connect(_ client: SocketAddress, _ context: ChannelHandlerContext) {
        let (relay, host) = (NIOLoopBound(self, eventLoop: context.eventLoop), context.channel)
        let (container, channels) = (container, channels)
        DatagramBootstrap(group: context.eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([
                        IdleStateHandler(allTimeout: DatagramRelay.silence),
                        DatagramReply(to: client, through: host),
                    ])
                }
            }
            // Connected to the container, so that nobody else's datagrams reach the client.
            .connect(to: container)
            .whenComplete { result in
                guard case .success(let channel) = result, case .connecting(let queue) = relay.value.clients[client],
                    channels.add(channel, maximum: DatagramRelay.maximumClients)
                else {
                    relay.value.clients[client] = nil
                    if case .success(let channel) = result { channel.close(promise: nil) }
                    return
                }
                relay.value.clients[client] = .connected(channel)
                channel.closeFuture.whenComplete { _ in relay.value.clients[client] = nil }
                for data in queue {
                    channel.write(AddressedEnvelope(remoteAddress: container, data: data), promise: nil)
                }
                channel.flush()
            }
    }

    /// An ICMP error for an earlier datagram: the socket itself is sound.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}

/// Sends what a container answers back to one client.
private final class DatagramReply: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let client: SocketAddress
    private let host: any Channel

    init(to client: SocketAddress, through host: any Channel) {
        self.client = client
        self.host = host
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let answer = AddressedEnvelope(remoteAddress: client, data: unwrapInboundIn(data).data)
        host.writeAndFlush(answer, promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
    }

    /// The container refuses (ICMP): the next datagram of the client tries again with a socket of its own.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
