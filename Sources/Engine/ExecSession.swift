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
    }

    enum Status: Sendable { case created, starting, running, ended }

    private let state = Mutex(State())

    init(id: String, containerID: String, request: ExecCreateRequest) {
        self.id = id
        self.containerID = containerID
        self.request = request
    }

    var status: Status { state.withLock { $0.status } }
    var isRunning: Bool { status == .running || status == .starting }
    var pid: Int32 { state.withLock { $0.pid } }
    var exitCode: Int32? { state.withLock { $0.exitCode } }

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

    func ended(exitCode: Int32) {
        state.withLock { state in
            state.status = .ended
            state.pid = 0
            state.exitCode = exitCode
        }
    }

    /// The container's end is the end of all that runs in it.
    func containerEnded() {
        if isRunning { ended(exitCode: 137) }
    }
}
