import Engine
import NIOCore
import NIOHTTP1
import NIOPosix

/// The Engine API on unix sockets: decodes requests, calls the engine, encodes what it says.
public final class APIServer: Sendable {
    /// Between these many bytes waiting for a slow reader a stream pauses and goes on.
    static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 64 << 10, high: 256 << 10)

    private let group: MultiThreadedEventLoopGroup
    private let channels: [any Channel]
    private let sockets: [ListeningSocket]

    /// Serves the engine on the sockets.
    public static func start(_ engine: Engine, on sockets: [ListeningSocket]) async throws -> APIServer {
        try await start(Router(engine), on: sockets)
    }

    static func start(_ router: Router, on sockets: [ListeningSocket], threads: Int = 2) async throws -> APIServer {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    // Without it, no descriptor left means a loop that takes all of a processor.
                    try channel.pipeline.syncOperations.addHandler(
                        AcceptBackoffHandler(shouldForwardIOErrorCaught: false))
                }
            }
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.writeBufferWaterMark, value: waterMark)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard router.connections.take(1) else {
                        return try refuse(channel, router.refusals)
                    }
                    channel.closeFuture.whenComplete { _ in router.connections.give(back: 1) }
                    let decoder = ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes))
                    let encoder = HTTPResponseEncoder()
                    try channel.pipeline.syncOperations.addHandlers([
                        encoder, decoder, ConnectionHandler(router: router, decoder: decoder, encoder: encoder),
                    ])
                }
            }
        var channels: [any Channel] = []
        for socket in sockets {
            channels.append(try await bootstrap.withBoundSocket(socket.descriptor).get())
            // NIO has just made the queue as short as its own default, whatever its options say of it.
            try socket.listen()
        }
        return APIServer(group: group, channels: channels, sockets: sockets)
    }

    private static func refuse(_ channel: any Channel, _ refusals: Allowance) throws {
        guard refusals.take(1) else { return channel.close(promise: nil) }
        channel.closeFuture.whenComplete { _ in refusals.give(back: 1) }
        try channel.pipeline.syncOperations.addHandler(RefusalHandler())
    }

    private init(group: MultiThreadedEventLoopGroup, channels: [any Channel], sockets: [ListeningSocket]) {
        self.group = group
        self.channels = channels
        self.sockets = sockets
    }

    /// Stops accepting, removes the sockets' files and ends every connection.
    public func stop() async {
        for socket in sockets { socket.removeFile() }
        for channel in channels { try? await channel.close() }
        try? await group.shutdownGracefully()
    }
}
