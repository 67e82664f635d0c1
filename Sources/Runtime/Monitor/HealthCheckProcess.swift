import Glibc
import LinuxKernel
import MonitorProtocol

/// What sets a health check apart from another exec: the beginning of its output is kept, its time is limited, and it
/// has a cgroup of its own below the container's, so that nothing it started outlives the end of its time, whatever
/// sessions and parents that has given itself.
final class HealthCheckProcess {
    /// How long processes that were killed are awaited, in nanoseconds. What is stuck in the kernel longer than that
    /// leaves its (empty) group to the container's end.
    private static let killTime: Int64 = 100_000_000

    let group: CgroupSubgroup
    private let loop: EventLoop
    private let limits: MonitorRequest.Check
    private let output: Output
    private var kept: [UInt8] = []
    private var isCut = false
    private var timedOut = false
    private var timer: EventLoop.Token?

    init(
        loop: EventLoop, limits: MonitorRequest.Check, id: String, cgroup: ContainerCgroup, output: Output
    ) throws(StartFailure) {
        self.loop = loop
        self.limits = limits
        self.output = output
        do throws(CgroupError) {
            group = try cgroup.makeSubgroup("health-\(id.prefix(12))")
        } catch {
            throw StartFailure(stage: "cgroup", errno: error.errno, message: error.message)
        }
        output.capture = { [unowned self] bytes in self.keep(bytes) }
    }

    /// The process runs: its time begins.
    func begin() {
        timer = loop.after(limits.timeout) {
            self.timer = nil
            self.timedOut = true
            do throws(CgroupError) {
                try self.group.kill()
            } catch {
                Monitor.complain(error.message)
            }
        }
    }

    /// It was never started.
    func abandon() {
        output.capture = nil
        group.remove()
    }

    /// It has ended. A check that ended in time may leave something running, as with dockerd: that becomes part of the
    /// container.
    func finish() -> MonitorMessage.CheckOutcome {
        if let timer { loop.cancel(timer) }
        output.capture = nil
        if timedOut {
            group.awaitEnd(timeout: HealthCheckProcess.killTime)
        } else {
            group.releaseProcesses()
        }
        group.remove()
        return MonitorMessage.CheckOutcome(
            timedOut: timedOut, output: String(decoding: kept, as: UTF8.self), isCut: isCut)
    }

    private func keep(_ bytes: UnsafeRawBufferPointer) {
        let room = limits.maximumOutput - kept.count
        kept.append(contentsOf: bytes.prefix(room))
        if bytes.count > room { isCut = true }
    }
}
