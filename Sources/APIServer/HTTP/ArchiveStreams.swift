import Engine
import Glibc
import LinuxKernel
import NIOCore
import NIOPosix

/// Connects the engine, which reads and writes archives through descriptors, with bodies of requests and responses.
enum ArchiveStreams {
    /// Sends what `produce` writes to the descriptor as the response's body. What `produce` throws before it has
    /// written anything becomes an ordinary refusal.
    static func send(
        to stream: ResponseStream, _ produce: @escaping @Sendable (Int32) async throws -> Void
    ) async throws {
        let (engine, connection) = try pair()
        let producer = Task {
            defer { close(engine) }
            try await produce(engine)
        }
        do {
            let channel = try await adopt(connection, stream.eventLoop)
            try await channel.executeThenClose { inbound, _ in
                for try await buffer in inbound { try await stream.write(buffer) }
            }
        } catch {
            // The client has gone. The producer's next write fails with EPIPE, since nobody reads any more.
            producer.cancel()
            _ = await producer.result
            throw error
        }
        try await producer.value
    }

    /// Gives the request's body to `consume` through a descriptor that ends with the body.
    static func receive(
        _ body: RequestBody, _ consume: @escaping @Sendable (Int32) async throws -> Void
    ) async throws {
        let (engine, connection) = try pair()
        let consumer = Task {
            defer { close(engine) }
            try await consume(engine)
        }
        do {
            let channel = try await adopt(connection, body.eventLoop)
            try await channel.executeThenClose { inbound, outbound in
                while let buffer = try await body.next() {
                    // A consumer that has what it needs, or has failed, takes no more; it says which below.
                    guard (try? await outbound.write(buffer)) != nil else { return }
                }
                // A close would drop what still waits for room in the socket: our half ends once that is written, and
                // the consumer's when it has read all.
                outbound.finish()
                do { for try await _ in inbound {} } catch {}
            }
        } catch {
            // The client went away in the middle, which the consumer must not take for the end.
            consumer.cancel()
            _ = await consumer.result
            throw error
        }
        try await consumer.value
    }

    /// Two ends of a stream. Sockets, because they can be made close-on-exec in one step from Swift, and hold more.
    private static func pair() throws -> (engine: Int32, connection: Int32) {
        var descriptors: [Int32] = [-1, -1]
        try checked("make a socket pair") {
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &descriptors)
        }
        return (descriptors[0], descriptors[1])
    }

    private static func adopt(
        _ descriptor: Int32, _ eventLoop: any EventLoop
    ) async throws -> NIOAsyncChannel<ByteBuffer, ByteBuffer> {
        try await ClientBootstrap(group: eventLoop)
            .channelOption(.writeBufferWaterMark, value: APIServer.waterMark)
            .withConnectedSocket(descriptor) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel(
                        wrappingChannelSynchronously: channel,
                        configuration: .init(isOutboundHalfClosureEnabled: true))
                }
            }
    }
}
