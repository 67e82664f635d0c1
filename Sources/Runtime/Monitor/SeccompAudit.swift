import FoundationEssentials
import LinuxKernel
import MonitorProtocol

/// Lets a container's system calls through and keeps account of those that its profile would have refused.
///
/// The filter that the container has asks us about each of them; what it is asked for here is what the real filter, run on
/// the same call, answers.
final class SeccompAudit: SeccompSupervisor {
    /// Different calls that are told apart: a hostile program can try any number.
    private static let maximumCalls = 1024
    /// How long a report may be behind: nanoseconds.
    private static let delay: Int64 = 200_000_000

    private struct Key: Hashable {
        let number: UInt32
        let architecture: UInt32
        let answer: SeccompAnswer
    }

    private let loop: EventLoop
    private let enforced: SeccompFilter
    private let path: String
    private var calls: [Key: SeccompReport.Call] = [:]
    private var isSaving = false

    private final class Listener {
        let descriptor: FileDescriptor
        var token: EventLoop.Token = 0
        init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
    }

    init(loop: EventLoop, enforced: SeccompFilter, path: String) {
        self.loop = loop
        self.enforced = enforced
        self.path = path
        // An empty report: there is an audit, and it has found nothing yet.
        save()
    }

    var answersItself: Bool { true }

    func begin(_ listener: Int32, pid: Int32) {}

    /// Answers on this listener until no process has its filter any more.
    func watch(_ listener: consuming FileDescriptor) throws(StartFailure) {
        let held = Listener(listener)
        held.token = try at("seccomp", "cannot watch the seccomp listener") { () throws(SystemError) in
            try loop.watch(held.descriptor.raw, .readable) { ready in
                if ready.contains(.readable) {
                    self.answer(held.descriptor.raw)
                } else {
                    // The handler held the listener: it is closed with the watch.
                    self.loop.remove(held.token)
                }
            }
        }
    }

    /// Answers one call that waits on the listener.
    func answer(_ listener: Int32) {
        do throws(SystemError) {
            guard let notification = try SeccompListener.receive(listener) else { return }
            SeccompListener.letThrough(notification, on: listener)
            record(notification.call)
        } catch {
            Monitor.complain("seccomp audit: \(error)")
        }
    }

    private func record(_ call: SeccompCall) {
        guard let answer = enforced.answer(to: call), !answer.lets else { return }
        let key = Key(number: call.number, architecture: call.architecture, answer: answer)
        if calls[key] == nil {
            guard calls.count < Self.maximumCalls else { return }
            calls[key] = SeccompReport.Call(
                name: call.name, architecture: call.architectureName, answer: answer.description, count: 0,
                arguments: call.arguments)
        }
        calls[key]!.count += 1
        guard !isSaving else { return }
        isSaving = true
        _ = loop.after(Self.delay) { self.save() }
    }

    /// Writes the report.
    func save() {
        isSaving = false
        let report = SeccompReport(
            calls: calls.values.sorted { ($0.name, $0.architecture) < ($1.name, $1.architecture) })
        do {
            try Files.replace(path, with: Array(try JSONEncoder().encode(report)))
        } catch {
            Monitor.complain("the report of the seccomp audit can't be written: \(error)")
        }
    }
}
