import Engine
import Glibc
import NIOCore
import NIOPosix

/// Joins a client's connection with a container's streams, in both directions, with back-pressure, and half-close.
enum Splice {
    /// How often, and how many times, to look whether the client has read the head.
    private static let headInterval = TimeAmount.microseconds(500)
    private static let headLooks = 40

    /// Sends the head that was written and, once the client has read it, the streams.
    ///
    /// Clients that read the head through a buffer and then the socket beneath it (docker-py does) lose what arrives
    /// together with the head. dockerd is too slow for that to happen; here a container's first output may be quicker
    /// than the client. One that does not read for 20 ms has had its chance.
    static func start(client: SpliceHandler, _ upgrade: Upgrade, eventLoop: any EventLoop) {
        client.flush()
        sendWhenRead(NIOLoopBound(client, eventLoop: eventLoop), upgrade, eventLoop, looks: headLooks)
    }

    private static func sendWhenRead(
        _ client: NIOLoopBound<SpliceHandler>, _ upgrade: Upgrade, _ eventLoop: any EventLoop, looks: Int
    ) {
        if looks == 0 || !client.value.hasUnreadOutput { return send(client, upgrade, eventLoop) }
        eventLoop.scheduleTask(in: headInterval) { sendWhenRead(client, upgrade, eventLoop, looks: looks - 1) }
    }

    /// Sends the replay, then joins the two ends. Both live on one event loop, so nothing is locked or handed over.
    private static func send(
        _ connection: NIOLoopBound<SpliceHandler>, _ upgrade: Upgrade, _ eventLoop: any EventLoop
    ) {
        let client = connection.value
        if !upgrade.message.isEmpty { client.write(ByteBuffer(bytes: upgrade.message)) }
        client.flush()
        guard let replay = upgrade.replay else {
            join(connection, upgrade, eventLoop)
            return
        }
        client.task = Task {
            do {
                for try await chunk in replay {
                    try await withCheckedThrowingContinuation { continuation in
                        eventLoop.execute {
                            connection.value.write(ByteBuffer(bytes: chunk), continuation)
                        }
                    }
                }
            } catch {
                // The client went away, or the log could not be read: what follows is still worth having.
            }
            eventLoop.execute { join(connection, upgrade, eventLoop) }
        }
    }

    private static func join(
        _ connection: NIOLoopBound<SpliceHandler>, _ upgrade: Upgrade, _ eventLoop: any EventLoop
    ) {
        let client = connection.value
        client.task = nil
        guard client.isOpen, let descriptor = upgrade.attachment?.takeDescriptor() else {
            return client.sourceEnded()
        }
        let container = NIOLoopBound(SpliceHandler(side: .container), eventLoop: eventLoop)
        ClientBootstrap(group: eventLoop)
            .channelOption(.autoRead, value: false)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.writeBufferWaterMark, value: APIServer.waterMark)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(container.value)
                }
            }
            .withConnectedSocket(descriptor)
            .whenComplete { result in
                // Nothing can be written before the channel is active, which it is now. NIO closes the descriptor
                // when it fails.
                if case .success = result {
                    connection.value.join(container.value)
                } else {
                    connection.value.sourceEnded()
                }
            }
    }
}

/// One end of a splice.
final class SpliceHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Side {
        /// The keys that detach, nil for none, and what happens then.
        case client([UInt8]?, detached: @Sendable () -> Void)
        case container
    }

    /// How long a client that has everything may go on sending. A socket that is closed with unread bytes in it would
    /// give the client an error in place of the end.
    private static let lingering = TimeAmount.seconds(10)

    private let isClient: Bool
    private var detach: DetachSequence?
    private let detached: @Sendable () -> Void
    private var context: ChannelHandlerContext?
    private var peer: SpliceHandler?
    /// Bytes that came before there was a peer.
    private var early: [ByteBuffer] = []
    private var inputEnded = false
    private var outputEnded = false
    /// Reading waits until the peer can take more.
    private var readPaused = false
    private var writer: CheckedContinuation<Void, any Error>?
    /// The replay, while it runs.
    var task: Task<Void, Never>?

    init(side: Side) {
        switch side {
        case .client(let keys, let detached):
            isClient = true
            detach = keys.map { DetachSequence($0) }
            self.detached = detached
        case .container:
            isClient = false
            detach = nil
            detached = {}
        }
    }

    var isOpen: Bool { context?.channel.isActive ?? false }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    /// Joins this client with the container's end; only now either is read.
    func join(_ container: SpliceHandler) {
        peer = container
        container.peer = self
        for buffer in early { container.write(buffer) }
        early = []
        container.flush()
        if inputEnded { container.sourceEnded() }
        for buffer in container.early { write(buffer) }
        container.early = []
        flush()
        if container.inputEnded { sourceEnded() }
        if !isOpen { container.close() }
        container.context?.read()
        context?.read()
    }

    // MARK: This end as a source

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        if outputEnded && isClient { return }
        if detach != nil {
            let (bytes, wasTyped) = detach!.process(buffer.readableBytesView)
            buffer = ByteBuffer(bytes: bytes)
            if wasTyped {
                detached()
                peer?.close()
                return sourceEnded()
            }
        }
        if let peer { peer.write(buffer) } else { early.append(buffer) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guard let peer else { return }
        peer.flush()
        readNext()
    }

    private func readNext() {
        guard let context, !inputEnded else { return }
        readPaused = !(peer?.canWrite ?? true)
        if !readPaused { context.read() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event as? ChannelEvent == .inputClosed else { return context.fireUserInboundEventTriggered(event) }
        inputEnded = true
        if outputEnded { return close() }
        peer?.sourceEnded()
    }

    func channelInactive(context: ChannelHandlerContext) {
        inputEnded = true
        task?.cancel()
        task = nil
        resumeWriter(throwing: ChannelError.ioOnClosedChannel)
        // A client that has gone takes its attachment with it; a container that has gone leaves output to send.
        if isClient { peer?.close() } else { peer?.sourceEnded() }
        peer = nil
        self.context = nil
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    // MARK: This end as a sink

    private var canWrite: Bool { context?.channel.isWritable ?? true }

    func write(_ buffer: ByteBuffer) {
        guard !outputEnded, buffer.readableBytes > 0 else { return }
        context?.write(wrapOutboundOut(buffer), promise: nil)
    }

    func flush() { context?.flush() }

    /// Whether the other side has bytes of ours still to read (unix(7), SIOCOUTQ).
    var hasUnreadOutput: Bool {
        guard isOpen, let pipeline = context?.pipeline.syncOperations else { return false }
        var count: Int32 = 0
        let result = try? pipeline.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { socket in
            ioctl(socket, UInt(TIOCOUTQ), &count)
        }
        return result == 0 && count > 0
    }

    /// Writes and goes on when there is room for more.
    func write(_ buffer: ByteBuffer, _ continuation: CheckedContinuation<Void, any Error>) {
        guard isOpen else { return continuation.resume(throwing: ChannelError.ioOnClosedChannel) }
        write(buffer)
        flush()
        if canWrite { continuation.resume() } else { writer = continuation }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            resumeWriter()
            if let peer, peer.readPaused { peer.readNext() }
        }
        context.fireChannelWritabilityChanged()
    }

    private func resumeWriter(throwing error: (any Error)? = nil) {
        guard let writer else { return }
        self.writer = nil
        if let error { writer.resume(throwing: error) } else { writer.resume() }
    }

    /// Nothing more will be written: closes this half once what was written has gone out.
    func sourceEnded() {
        guard let context, !outputEnded else { return }
        let end = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in end.value.shutdown() }
        outputEnded = true
    }

    private func shutdown() {
        guard let context else { return }
        if inputEnded { return close() }
        context.close(mode: .output, promise: nil)
        guard isClient else { return }
        let end = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: Self.lingering) { end.value.close() }
        // What the client still sends is thrown away.
        peer = nil
        context.read()
    }

    private func close() { context?.close(promise: nil) }
}
