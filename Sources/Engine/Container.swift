import EngineAPI
import Glibc
import MonitorProtocol
import Synchronization

/// One container in memory.
///
/// Readers take a snapshot and never wait. What changes it goes through `queue`, one operation after the other; the one
/// exception is the exit, which comes when it comes and is a single transition under the lock.
final class Container: Sendable {
    let id: String
    /// Life-cycle operations, in order.
    let queue = SerialQueue()

    private struct State {
        var record: ContainerRecord
        var run: ActiveRun?
        /// When the last start began, on the monotonic clock; nil where that was another daemon's.
        var begun: Int64?
        var network: NetworkRun?
        /// The networks of the last run being given back.
        var networkRelease: Task<Void, Never>?
        var waiters: [ObjectIdentifier: WaitTicket] = [:]
        /// Clients that attached before the start.
        var waitingAttachments: [WaitingAttachment] = []
        var execs: [String: ExecSession] = [:]
        /// The pending automatic restart.
        var restart: Task<Void, Never>?
        /// A user's `restart` is at its stop.
        var isRestarted = false
        /// Runs the health checks of the run in progress.
        var healthChecks: Task<Void, Never>?
        var removed = false
    }

    private let state: Mutex<State>
    /// Held while the record is written, so that what is on disk is never older than what was written before.
    let persistence = Mutex(())

    init(_ record: ContainerRecord) {
        id = record.id
        state = Mutex(State(record: record))
    }

    /// A consistent copy of everything stored.
    var record: ContainerRecord { state.withLock { $0.record } }
    var lifecycle: Lifecycle { state.withLock { $0.record.status.lifecycle } }
    var isRemoved: Bool { state.withLock { $0.removed } }
    var activeRun: ActiveRun? { state.withLock { $0.run } }
    var begun: Int64? { state.withLock { $0.begun } }

    func setBegun(_ time: Int64) { state.withLock { $0.begun = time } }

    /// Changes the record and returns what it was before and is after.
    @discardableResult
    func update<T: Sendable>(_ change: (inout ContainerRecord) throws -> T) rethrows -> T {
        try state.withLock { try change(&$0.record) }
    }

    /// What a run has of the host's networks.
    var network: NetworkState? { state.withLock { $0.network?.state } }
    var networkRun: NetworkRun? { state.withLock { $0.network } }

    func setNetwork(_ network: NetworkRun?) { state.withLock { $0.network = network } }

    /// Changes the networks of a run that goes on.
    ///
    /// - Returns: false when it has ended in the meantime; then nothing has changed.
    func replaceNetwork(_ network: NetworkRun) -> Bool {
        state.withLock { state in
            if state.network == nil { return false }
            state.network = network
            return true
        }
    }

    var networkRelease: Task<Void, Never>? { state.withLock { $0.networkRelease } }

    func setNetworkRelease(_ task: Task<Void, Never>) { state.withLock { $0.networkRelease = task } }

    /// Gives the networks of the run to whoever undoes them: only the first one to ask gets them.
    func takeNetwork() -> NetworkRun? {
        state.withLock { state in
            defer { state.network = nil }
            return state.network
        }
    }

    func setActiveRun(_ run: ActiveRun?) { state.withLock { $0.run = run } }

    /// Lets go of a monitor that has gone, and of the socket to it.
    func endRun(of monitor: MonitorClient) {
        let ended = state.withLock { state -> ActiveRun? in
            guard let run = state.run, run.monitor === monitor else { return nil }
            state.run = nil
            return run
        }
        withExtendedLifetime(ended) {}
    }

    // MARK: Waiting

    /// Registers a waiter; what already holds is answered at once.
    func wait(_ condition: WaitCondition) -> WaitTicket {
        let ticket = WaitTicket(condition)
        let answer = state.withLock { state -> WaitResponse? in
            let lifecycle = state.record.status.lifecycle
            let met =
                switch condition {
                case .notRunning: state.removed || !(lifecycle.isRunning || lifecycle.isStarting)
                case .nextExit, .removed: state.removed
                }
            if met { return Container.answer(lifecycle) }
            state.waiters[ObjectIdentifier(ticket)] = ticket
            return nil
        }
        if let answer { ticket.finish(.success(answer)) }
        return ticket
    }

    func forget(_ ticket: WaitTicket) {
        _ = state.withLock { $0.waiters.removeValue(forKey: ObjectIdentifier(ticket)) }
    }

    /// Answers those who wait for an exit.
    func announceExit() { announce { $0 != .removed } }

    /// Answers those who wait for it not to run; what never ran has not exited.
    func announceFailedStart() { announce { $0 == .notRunning } }

    /// The container is gone.
    func announceRemoval() {
        state.withLock { $0.removed = true }
        announce { _ in true }
    }

    private func announce(_ isMet: (WaitCondition) -> Bool) {
        let (tickets, answer) = state.withLock { state -> ([WaitTicket], WaitResponse) in
            let met = state.waiters.values.filter { isMet($0.condition) }
            for ticket in met { state.waiters.removeValue(forKey: ObjectIdentifier(ticket)) }
            return (met, Container.answer(state.record.status.lifecycle))
        }
        for ticket in tickets { ticket.finish(.success(answer)) }
    }

    private static func answer(_ lifecycle: Lifecycle) -> WaitResponse {
        // An error here would be one of waiting: why a container ended is for `inspect` to say.
        WaitResponse(statusCode: Int64(lifecycle.exitCode))
    }

    // MARK: Attachments made before the start

    /// Keeps an attachment for the next start.
    ///
    /// - Returns: false when a start is under way, which has taken those that waited for it, or has come to its end.
    func addWaitingAttachment(_ attachment: WaitingAttachment) -> Bool {
        state.withLock { state in
            let lifecycle = state.record.status.lifecycle
            if lifecycle.isStarting || lifecycle.isRunning && state.run != nil { return false }
            // Clients may come and go for as long as it isn't started.
            state.waitingAttachments.removeAll { $0.hasLeft }
            state.waitingAttachments.append(attachment)
            return true
        }
    }

    func takeWaitingAttachments() -> [WaitingAttachment] {
        state.withLock { state in
            defer { state.waitingAttachments = [] }
            return state.waitingAttachments
        }
    }

    // MARK: Execs

    var execs: [String: ExecSession] { state.withLock { $0.execs } }

    func add(_ exec: ExecSession) { state.withLock { $0.execs[exec.id] = exec } }

    func removeExec(_ id: String) { _ = state.withLock { $0.execs.removeValue(forKey: id) } }

    /// The container's end is the end of all that runs in it; they can be asked for their codes until the next start.
    func endExecs() { for exec in execs.values { exec.containerEnded() } }

    /// Forgets those of the last run.
    func removeExecs() { state.withLock { $0.execs = [:] } }

    /// Forgets all that have ended but the last ones, whose clients may still ask how they did.
    func forgetExecs(but count: Int) {
        state.withLock { state in
            let ended = state.execs.values.filter { $0.status == .ended }
            guard ended.count > count else { return }
            for exec in ended.sorted(by: { $0.endedAt < $1.endedAt }).dropLast(count) { state.execs[exec.id] = nil }
        }
    }

    // MARK: Automatic restart

    func setRestart(_ task: Task<Void, Never>?) {
        let previous = state.withLock { state in
            let previous = state.restart
            state.restart = task
            return previous
        }
        previous?.cancel()
    }

    /// Whether a user's `restart` is ending the run: with `--rm`, the container stays for the next one.
    var isRestarted: Bool { state.withLock { $0.isRestarted } }

    func setRestarted(_ isRestarted: Bool) { state.withLock { $0.isRestarted = isRestarted } }

    // MARK: Health

    /// Replaces what checks the container's health; nil ends the checks.
    func setHealthChecks(_ task: Task<Void, Never>?) {
        let previous = state.withLock { state in
            defer { state.healthChecks = task }
            return state.healthChecks
        }
        previous?.cancel()
    }
}

/// A run in progress: the monitor that carries it and the task that listens to it.
struct ActiveRun: Sendable {
    let monitor: MonitorClient
    /// Ends when the monitor has gone and its bundle is cleaned up.
    let supervision: Task<Void, Never>
}

/// A client that attached before the container was started: the monitor's end of its stream.
struct WaitingAttachment: Sendable {
    let streams: MonitorRequest.Attach
    let descriptor: OwnedDescriptor

    /// Whether the daemon's end is closed.
    var hasLeft: Bool {
        var end = pollfd(fd: descriptor.raw, events: 0, revents: 0)
        return poll(&end, 1, 0) == 1 && end.revents & Int16(POLLHUP) != 0
    }
}

/// One `wait` in progress.
final class WaitTicket: Sendable {
    let condition: WaitCondition

    private struct State {
        var result: Result<WaitResponse, any Error>?
        var continuation: CheckedContinuation<WaitResponse, any Error>?
    }

    private let state = Mutex(State())

    init(_ condition: WaitCondition) { self.condition = condition }

    func finish(_ result: Result<WaitResponse, any Error>) {
        let continuation = state.withLock { state -> CheckedContinuation<WaitResponse, any Error>? in
            guard state.result == nil else { return nil }
            state.result = result
            defer { state.continuation = nil }
            return state.continuation
        }
        continuation?.resume(with: result)
    }

    /// The answer; to be called once. Ends with `CancellationError` when the task is cancelled.
    func value() async throws -> WaitResponse {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let result = state.withLock { state -> Result<WaitResponse, any Error>? in
                    if let result = state.result { return result }
                    state.continuation = continuation
                    return nil
                }
                if let result { continuation.resume(with: result) }
            }
        } onCancel: {
            finish(.failure(CancellationError()))
        }
    }

    /// The answer, or nil when `nanoseconds` have passed first; a negative number waits for ever.
    func value(within nanoseconds: Int64) async throws -> WaitResponse? {
        if nanoseconds < 0 { return try await value() }
        let timer = Task {
            try await Task.sleep(nanoseconds: UInt64(nanoseconds))
            finish(.failure(TimedOut()))
        }
        defer { timer.cancel() }
        do {
            return try await value()
        } catch is TimedOut {
            return nil
        }
    }

    private struct TimedOut: Error {}
}
