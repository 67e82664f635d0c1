import Glibc
import NIOCore
import NIOPosix

/// A query that upstream servers are asked, one after the other, until one answers. Belongs to the event loop.
///
/// Each attempt has a connected socket, and so a random port, and a random id of its own: only the server's address
/// and port, our port, the id and the question together make an answer (RFC 5452). A server that stays silent for
/// `patience` is not given up, the next one is asked besides it, and the first to answer counts.
final class Forward {
    /// How long a server may think before the next one is asked; shorter if none has answered of late.
    private static let patience = TimeAmount.seconds(1)
    private static let patienceWithSuspects = TimeAmount.milliseconds(250)
    /// When the client gets SERVFAIL; the C library's resolver waits for 5 s.
    private static let total = TimeAmount.seconds(4)
    private static let totalWithSuspects = TimeAmount.seconds(2)
    /// Attempts at least, if time allows: a packet may be lost.
    private static let attempts = 3

    let container: ServedContainer
    let sequence: UInt64
    private let core: ResolverCore
    private let query: DNSQuery
    private let message: ByteBuffer
    private let path: ReplyPath
    private let started = NIODeadline.now()

    private var servers: [SocketAddress] = []
    private var patience = Forward.patience
    private var deadline = NIODeadline.now()
    /// Attempts that were begun.
    private var asked = 0
    private var open: [Attempt] = []
    private var timer: Scheduled<Void>?
    /// A server's refusal, for want of something better.
    private var refusal: ByteBuffer?
    private var isOver = false

    init(
        _ core: ResolverCore, _ container: ServedContainer, _ sequence: UInt64, _ query: DNSQuery,
        _ message: ByteBuffer, _ path: ReplyPath
    ) {
        self.core = core
        self.container = container
        self.sequence = sequence
        self.query = query
        self.path = path
        // A copy of the few bytes that it has: the buffer it came in is much larger and wanted for the next one.
        self.message = ByteBuffer(bytes: message.readableBytesView)
    }

    /// Whether it waits for longer than a server that lives should take.
    var isOverdue: Bool { NIODeadline.now() >= started + Self.patience }

    func start(_ servers: [SocketAddress]) {
        let (ordered, allSuspect) = core.health.ordered(servers, now: started)
        self.servers = ordered
        if allSuspect { patience = Self.patienceWithSuspects }
        deadline = started + (allSuspect ? Self.totalWithSuspects : Self.total)
        if ordered.isEmpty { giveUp() } else { ask() }
    }

    /// Answers SERVFAIL, or what a server said in that sense.
    func giveUp() {
        finish(refusal ?? DNSAnswer.make(query, message, .serverFailure, limit: DNS.plainDatagram))
    }

    /// Ends without an answer.
    func abandon() { finish(nil) }

    private func finish(_ reply: ByteBuffer?) {
        guard !isOver else { return }
        isOver = true
        timer?.cancel()
        timer = nil
        for attempt in open { attempt.end() }
        open = []
        core.finished(self)
        path.send(reply)
    }

    // MARK: Asking

    private func ask() {
        let server = servers[asked % servers.count]
        asked += 1
        timer?.cancel()
        timer = core.loop.assumeIsolated().scheduleTask(deadline: min(deadline, .now() + patience)) {
            self.timePassed()
        }
        let attempt = Attempt(self, server)
        open.append(attempt)
        attempt.start(core.loop, upstreamMessage(attempt.id), isDatagram: path.isDatagram)
    }

    /// The client's message under an id of ours, announcing no larger datagrams than we take.
    private func upstreamMessage(_ id: UInt16) -> ByteBuffer {
        var asking = message
        asking.setInteger(id, at: asking.readerIndex)
        if let edns = query.edns, edns.payload > DNS.largestDatagram {
            asking.setInteger(UInt16(DNS.largestDatagram), at: asking.readerIndex + edns.payloadOffset)
        }
        return asking
    }

    private func timePassed() {
        guard !isOver else { return }
        timer = nil
        for attempt in open where !attempt.isBlamed {
            attempt.isBlamed = true
            blame(attempt.server, isCertain: false)
        }
        if NIODeadline.now() >= deadline {
            giveUp()
        } else if asked < max(servers.count, Self.attempts) {
            ask()
        } else {
            timer = core.loop.assumeIsolated().scheduleTask(deadline: deadline) { self.timePassed() }
        }
    }

    private func blame(_ server: SocketAddress, isCertain: Bool) {
        guard core.health.failed(server, isCertain: isCertain, now: .now()) else { return }
        let address = server.ipAddress ?? "\(server)"
        core.report("DNS server \(address) does not answer: it is asked after all others until it does")
    }

    // MARK: What comes back

    /// The network refused an attempt, or the server closed the connection.
    func failed(_ attempt: Attempt, _ error: (any Error)?) {
        guard !isOver else { return }
        // Want of descriptors or memory is no fault of the server's.
        let isOurs = [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains((error as? IOError)?.errnoCode ?? 0)
        if !isOurs, !attempt.isBlamed { blame(attempt.server, isCertain: true) }
        next(after: attempt)
    }

    private func next(after attempt: Attempt) {
        attempt.end()
        open.removeAll { $0 === attempt }
        if asked < servers.count {
            ask()
        } else if open.isEmpty {
            giveUp()
        }
    }

    func received(_ reply: ByteBuffer, _ attempt: Attempt) {
        guard !isOver else { return }
        let response = reply.withUnsafeReadableBytes { reply in
            message.withUnsafeReadableBytes { message in
                DNSResponse(
                    reply, id: attempt.id,
                    question: UnsafeRawBufferPointer(rebasing: message[DNS.headerLength..<query.questionEnd]))
            }
        }
        guard case .answer(let code, let isTruncated) = response else {
            // Over TCP it can't be another's; over UDP the right one may yet come.
            if !path.isDatagram { failed(attempt, nil) }
            return
        }
        if core.health.answered(attempt.server) {
            core.report("DNS server \(attempt.server.ipAddress ?? "\(attempt.server)") answers again")
        }
        let answer = clientMessage(reply, isTruncated: isTruncated)
        if code == DNS.Code.serverFailure.rawValue || code == DNS.Code.refused.rawValue {
            refusal = refusal ?? answer
            next(after: attempt)
        } else {
            finish(answer)
        }
    }

    /// A server's message as an answer to the client: with its id, its spelling of the name, and no more bytes than
    /// it takes.
    private func clientMessage(_ reply: ByteBuffer, isTruncated: Bool) -> ByteBuffer {
        var answer = reply
        answer.setInteger(query.id, at: answer.readerIndex)
        if answer.readableBytes >= query.questionEnd {
            answer.setBuffer(
                message.getSlice(at: DNS.headerLength, length: query.questionEnd - DNS.headerLength)!,
                at: answer.readerIndex + DNS.headerLength)
        }
        guard path.isDatagram, answer.readableBytes > query.datagramLimit else { return answer }
        return DNSAnswer.cut(answer, query, limit: query.datagramLimit)
    }
}

/// One server asked once.
final class Attempt {
    let server: SocketAddress
    let id = UInt16.random(in: .min ... .max)
    /// Whether its silence was held against the server already.
    var isBlamed = false
    fileprivate var channel: (any Channel)?
    private var forward: Forward?

    init(_ forward: Forward, _ server: SocketAddress) {
        self.forward = forward
        self.server = server
    }

    func start(_ loop: any EventLoop, _ message: ByteBuffer, isDatagram: Bool) {
        let bound = NIOLoopBound(self, eventLoop: loop)
        let connecting =
            if isDatagram {
                DatagramBootstrap(group: loop)
                    .channelOption(
                        .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: DNS.largestDatagram)
                    )
                    .channelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture {
                            try channel.pipeline.syncOperations.addHandler(DatagramClient(bound.value, message))
                        }
                    }
                    .connect(to: server)
            } else {
                ClientBootstrap(group: loop)
                    .channelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture {
                            try channel.pipeline.syncOperations.addHandler(StreamClient(bound.value, message))
                        }
                    }
                    .connect(to: server)
            }
        connecting.assumeIsolated().whenFailure { self.failed($0) }
    }

    fileprivate func failed(_ error: (any Error)?) { forward?.failed(self, error) }

    fileprivate func received(_ reply: ByteBuffer) { forward?.received(reply, self) }

    /// Closes the socket; nothing is heard of it any more.
    func end() {
        forward = nil
        channel?.close(promise: nil)
        channel = nil
    }
}

private final class DatagramClient: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let attempt: Attempt
    private let message: ByteBuffer

    init(_ attempt: Attempt, _ message: ByteBuffer) {
        self.attempt = attempt
        self.message = message
    }

    func handlerAdded(context: ChannelHandlerContext) { attempt.channel = context.channel }

    func channelActive(context: ChannelHandlerContext) { context.writeAndFlush(NIOAny(message), promise: nil) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { attempt.received(unwrapInboundIn(data).data) }

    /// ECONNREFUSED: the host lives, the server doesn't. The kernel tells the owner of a connected socket.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { attempt.failed(error) }

    func channelInactive(context: ChannelHandlerContext) { attempt.failed(nil) }
}

private final class StreamClient: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let attempt: Attempt
    private let message: ByteBuffer
    private var unread = ByteBuffer()

    init(_ attempt: Attempt, _ message: ByteBuffer) {
        self.attempt = attempt
        self.message = message
    }

    func handlerAdded(context: ChannelHandlerContext) { attempt.channel = context.channel }

    func channelActive(context: ChannelHandlerContext) {
        var framed = ByteBuffer(integer: UInt16(message.readableBytes))
        framed.writeImmutableBuffer(message)
        context.writeAndFlush(NIOAny(framed), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var data = unwrapInboundIn(data)
        unread.writeBuffer(&data)
        guard let reply = unread.getLengthPrefixedSlice(at: unread.readerIndex, as: UInt16.self) else { return }
        attempt.received(reply)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { attempt.failed(error) }

    func channelInactive(context: ChannelHandlerContext) { attempt.failed(nil) }
}
