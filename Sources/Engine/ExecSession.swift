import EngineAPI
import MonitorProtocol
import Synchronization

/// One `exec`, from its creation to a while after its end.
final class ExecSession: Sendable {
    let id: String
    let containerID: String
    let request: ExecCreateRequest

    private struct State {
        var status: Status = .created
        var pid: Int32 = 0
        var exitCode: Int32?
        var check: MonitorMessage.CheckOutcome?
        var waiting: [CheckedContinuation<Void, Never>] = []
        var endedAt: Int64 = 0
    }

    enum Status: Sendable { case created, starting, running, ended }

    private let state = Mutex(State())

    init(id: String, containerID: String, request: ExecCreateRequest) {
        self.id = id
        self.containerID = containerID
        self.request = request
    }

    /// The command as events tell it: the program, a space, the arguments.
    var commandLine: String {
        let words = request.cmd ?? []
        return (words.first ?? "") + " " + words.dropFirst().joined(separator: " ")
    }

    var status: Status { state.withLock { $0.status } }
    var isRunning: Bool { status == .running || status == .starting }
    var pid: Int32 { state.withLock { $0.pid } }
    var exitCode: Int32? { state.withLock { $0.exitCode } }
    /// On the monotonic clock, 0 before its end.
    var endedAt: Int64 { state.withLock { $0.endedAt } }

    /// Whether the caller is the one who starts it.
    func begin() -> Bool {
        state.withLock { state in
            guard state.status == .created else { return false }
            state.status = .starting
            return true
        }
    }

    func started(pid: Int32) {
        state.withLock { state in
            guard state.status == .starting else { return }
            state.status = .running
            state.pid = pid
        }
    }

    /// `check` is what a health check brought.
    func ended(exitCode: Int32, check: MonitorMessage.CheckOutcome? = nil) {
        let waiting = state.withLock { state in
            state.status = .ended
            state.endedAt = Clock.monotonic()
            state.pid = 0
            state.exitCode = exitCode
            state.check = check
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Returns when it has ended, at the latest with its container.
    func waitForEnd() async {
        await withCheckedContinuation { continuation in
            let over = state.withLock { state in
                if state.status == .ended { return true }
                state.waiting.append(continuation)
                return false
            }
            if over { continuation.resume() }
        }
    }

    /// What a health check brought, at its end. nil where the container ended first.
    func checkOutcome() async -> MonitorMessage.CheckOutcome? {
        await waitForEnd()
        return state.withLock { $0.check }
    }

    /// What the container's end makes of it.
    func containerEnded() {
        if isRunning { ended(exitCode: 137) }
    }
}
