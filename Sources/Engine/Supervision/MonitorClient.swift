import Glibc
import LinuxKernel
import MonitorProtocol
import Synchronization

/// The daemon's end of one container's monitor.
///
/// Requests are answered by sequence number; events come in order through `events`, which ends when the monitor has
/// gone. What is received is dispatched by the one thread of a ``MonitorReader``.
final class MonitorClient: Sendable {
    /// A reply and the descriptor that may have come with it.
    struct Reply: Sendable {
        var body: MonitorMessage.Body
        var descriptor: OwnedDescriptor?
    }

    private struct State {
        var nextSequence: UInt64 = 1
        var pending: [UInt64: CheckedContinuation<Reply, any Error>] = [:]
        /// Replies that came before anyone asked for them: requests are queued before the monitor is spawned.
        var early: [UInt64: Reply] = [:]
        var announced: Set<UInt64> = []
        var closed = false
    }

    let events: AsyncStream<MonitorMessage.Body>
    private let eventSource: AsyncStream<MonitorMessage.Body>.Continuation
    private let channel: MonitorChannel
    private let state = Mutex(State())
    private let execEnded: @Sendable (String, ExitRecord, MonitorMessage.CheckOutcome?) -> Void

    var rawDescriptor: Int32 { channel.rawDescriptor }

    /// - Parameter execEnded: called on the reader's thread as soon as an exec's end is known, before any reply that
    ///   the monitor sent after it is delivered. It must not block.
    init(
        _ channel: consuming MonitorChannel,
        execEnded: @escaping @Sendable (String, ExitRecord, MonitorMessage.CheckOutcome?) -> Void
    ) {
        self.channel = channel
        self.execEnded = execEnded
        (events, eventSource) = AsyncStream.makeStream(of: MonitorMessage.Body.self)
    }

    /// Sends a request whose reply is fetched later with ``reply(to:)``.
    func send(_ body: MonitorRequest.Body, descriptor: Int32? = nil) throws(EngineError) -> UInt64 {
        let sequence = state.withLock { state -> UInt64 in
            let sequence = state.nextSequence
            state.nextSequence += 1
            state.announced.insert(sequence)
            return sequence
        }
        do throws(ChannelError) {
            // Never blocking: a monitor that was stopped by someone must not take a thread of the daemon with it.
            try channel.send(
                MonitorRequest(sequence: sequence, body: body), descriptor: descriptor, blocking: false)
        } catch {
            _ = state.withLock { $0.announced.remove(sequence) }
            throw MonitorClient.unreachable("\(error)")
        }
        return sequence
    }

    /// The reply to a request that was sent; throws when the monitor goes away first.
    func reply(to sequence: UInt64) async throws -> Reply {
        try await withCheckedThrowingContinuation { continuation in
            let outcome = state.withLock { state -> Result<Reply, any Error>? in
                state.announced.remove(sequence)
                if let reply = state.early.removeValue(forKey: sequence) { return .success(reply) }
                if state.closed { return .failure(MonitorClient.unreachable("it has ended")) }
                state.pending[sequence] = continuation
                return nil
            }
            if let outcome { continuation.resume(with: outcome) }
        }
    }

    /// Sends a request and waits for the reply. A `.failed` reply is thrown as the `StartFailure` that it carries.
    @discardableResult
    func request(_ body: MonitorRequest.Body, descriptor: Int32? = nil) async throws -> Reply {
        let reply = try await reply(to: try send(body, descriptor: descriptor))
        if case .failed(let failure) = reply.body { throw failure }
        return reply
    }

    /// The same of a request that a monitor answers at once, unless somebody has stopped it.
    /// - Parameter nanoseconds: how long that is waited for; then it is said that the monitor does not answer.
    func request(_ body: MonitorRequest.Body, within nanoseconds: UInt64) async throws {
        let sequence = try send(body)
        let timer = Task {
            try await Task.sleep(nanoseconds: nanoseconds)
            let waiting = state.withLock { $0.pending.removeValue(forKey: sequence) }
            waiting?.resume(throwing: MonitorClient.unreachable("it does not answer (has somebody stopped it?)"))
        }
        defer { timer.cancel() }
        if case .failed(let failure) = try await reply(to: sequence).body { throw failure }
    }

    /// Ends the conversation; the monitor goes on.
    func disconnect() {
        channel.shutdown()
    }

    /// Receives everything that is there. Returns false when the conversation is over.
    func receiveAvailable() -> Bool {
        while true {
            do throws(ChannelError) {
                var received = try channel.receive(MonitorMessage.self, blocking: false)
                dispatch(received.message, OwnedDescriptor(received.takeDescriptor()))
            } catch {
                switch error {
                case .wouldBlock: return true
                case .malformed, .tooLarge: continue
                default: return false
                }
            }
        }
    }

    private func dispatch(_ message: MonitorMessage, _ descriptor: OwnedDescriptor?) {
        guard message.sequence != 0 else {
            if case .execExited(let id, let record, let check) = message.body {
                execEnded(id, record, check)
                return
            }
            eventSource.yield(message.body)
            return
        }
        let reply = Reply(body: message.body, descriptor: descriptor)
        let continuation = state.withLock { state -> CheckedContinuation<Reply, any Error>? in
            if let waiting = state.pending.removeValue(forKey: message.sequence) { return waiting }
            if state.announced.contains(message.sequence) { state.early[message.sequence] = reply }
            return nil
        }
        continuation?.resume(returning: reply)
    }

    /// The monitor has gone: whoever waits hears of it.
    func close() {
        let waiting = state.withLock { state -> [CheckedContinuation<Reply, any Error>] in
            state.closed = true
            defer { state.pending.removeAll() }
            return Array(state.pending.values)
        }
        for continuation in waiting { continuation.resume(throwing: MonitorClient.unreachable("it has ended")) }
        eventSource.finish()
    }

    private static func unreachable(_ why: String) -> EngineError {
        EngineError(.unavailable, "the container's monitor can't be reached: \(why)")
    }
}

/// A file descriptor that can be passed around, closed with its last reference.
final class OwnedDescriptor: Sendable {
    private let descriptor: FileDescriptor

    var raw: Int32 { descriptor.raw }

    init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

    /// A second descriptor (close-on-exec) for the same open file, which the caller closes.
    func duplicate() throws(SystemError) -> Int32 { try descriptor.duplicate().release() }

    convenience init?(_ descriptor: consuming FileDescriptor?) {
        guard let descriptor else { return nil }
        self.init(descriptor)
    }
}
