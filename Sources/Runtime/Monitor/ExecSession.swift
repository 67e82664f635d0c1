import Glibc
import LinuxKernel
import MonitorProtocol

/// A further process in the container, with streams, a client and an exit record of its own.
final class ExecSession {
    /// How long output is awaited after the process has ended, while others (its background children) still hold its
    /// streams. dockerd waits as long.
    static let drainTime: Int64 = 2_000_000_000

    let id: String
    let streams: ProcessStreams
    let pid: Int32
    private let loop: EventLoop
    private let pidfd: FileDescriptor
    private let startedAt: Int64
    private var record: ExitRecordFile?
    private var token: EventLoop.Token = 0
    private var timer: EventLoop.Token?
    private var status: ExitStatus?
    private var finishedAt: Int64 = 0

    /// Called once, when the record is on disk.
    var finished: ((ExitRecord) -> Void)?

    init(
        loop: EventLoop, id: String, streams: ProcessStreams, started: consuming StartedProcess, startedAt: Int64,
        record: consuming ExitRecordFile
    ) throws(SystemError) {
        self.loop = loop
        self.id = id
        self.streams = streams
        self.startedAt = startedAt
        self.record = consume record
        pid = started.userPid
        pidfd = started.pidfd
        token = try loop.watch(pidfd.raw, .readable) { _ in self.reap(block: false) }
    }

    /// The container has ended and with it this process: `reap` it without waiting for more output.
    func containerEnded() {
        reap(block: true)
        finish()
    }

    private func reap(block: Bool) {
        guard status == nil, let ended = try? Process.wait(pidfd: pidfd.raw, block: block) else { return }
        status = ended
        finishedAt = MonitorClock.realtime()
        loop.remove(token)
        streams.output.ended = { self.finish() }
        streams.processEnded()
        if streams.output.isRunning { timer = loop.after(ExecSession.drainTime) { self.finish() } }
    }

    private func finish() {
        guard let finished = finished.take(), let status else { return }
        if let timer { loop.cancel(timer) }
        streams.output.finish()
        let result = ExitRecord(status, startedAt: startedAt, finishedAt: finishedAt)
        if let record = record.take() {
            do {
                try record.commit(result)
            } catch {
                Monitor.complain("the exit record of exec \(id) is lost: \(error)")
            }
        }
        finished(result)
    }
}

extension ExitRecord {
    init(_ status: ExitStatus, startedAt: Int64, finishedAt: Int64) {
        var signal: Int32 = 0
        if case .signaled(let number) = status { signal = number }
        self.init(
            exitCode: status.code, signal: signal, oomKilled: false, startedAt: startedAt, finishedAt: finishedAt)
    }
}
