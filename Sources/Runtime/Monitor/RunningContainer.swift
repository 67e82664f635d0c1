import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// The kernel's side of a container that runs: its first process, cgroup and root mount.
final class RunningContainer {
    /// Host pid of the container's first process: the reaper, or the user's.
    let pid: Int32
    /// Host pid of the user's process.
    let userPid: Int32
    let cgroup: ContainerCgroup
    /// The container has no pid namespace of its own: others survive the end of its first process.
    let sharesPids: Bool
    private let pidfd: FileDescriptor
    private let root: FileDescriptor?
    private let memoryWatch: OutOfMemoryWatch?
    private var kernelLog: FileDescriptor?
    private(set) var oomKills: UInt64 = 0
    private(set) var oomVictims: [String] = []
    private let startedAt = MonitorClock.monotonic()

    init(_ started: consuming StartedProcess, cgroup: ContainerCgroup, sharesPids: Bool) {
        pid = started.pid
        userPid = started.userPid
        self.cgroup = cgroup
        self.sharesPids = sharesPids
        root = started.root
        pidfd = started.pidfd
        memoryWatch = (try? cgroup.watchOutOfMemory()) ?? nil
    }

    var rootDescriptor: Int32 { raw(root) }
    var pidDescriptor: Int32 { pidfd.raw }

    /// For epoll; -1 without a memory controller.
    var memoryDescriptor: Int32 {
        descriptor(of: memoryWatch)
    }

    /// Sends a signal to the user's process. The reaper forwards what it can; SIGKILL ends the container as a whole.
    func signal(_ number: Int32) throws(SystemError) {
        if number == SIGKILL {
            // PID 1 of its own namespace takes everything with it; otherwise only the cgroup knows what belongs to it.
            if sharesPids { killAll() }
            return try Process.signal(pidfd: pidfd.raw, SIGKILL)
        }
        if number == SIGSTOP, userPid != pid {
            // It can't be caught, so it can't be forwarded.
            let process = try Process.openPidfd(userPid)
            guard parent(of: userPid) == pid else { throw SystemError("find the process", errno: ESRCH) }
            return try Process.signal(pidfd: process.raw, SIGSTOP)
        }
        try Process.signal(pidfd: pidfd.raw, number)
    }

    func wait() -> ExitStatus? {
        (try? Process.wait(pidfd: pidfd.raw, block: false)) ?? nil
    }

    /// SIGKILL to everything in the container's cgroup.
    func killAll() {
        do {
            try cgroup.kill()
        } catch {
            Monitor.complain(error.message)
        }
    }

    /// Starts a further process; see ``ContainerEntrance``.
    /// - Parameters:
    ///   - subgroup: name of the cgroup below the container's that it is born into.
    ///   - target: a pidfd of the container's first process.
    func exec(
        _ exec: MonitorRequest.Exec, spec: RuntimeSpec, stdio: Stdio, seccomp: SeccompFilter?, subgroup: String?,
        target: Int32, supervisor: (any SeccompSupervisor)?, forParent: @escaping (pid_t) -> Void
    ) throws(StartFailure) -> StartedProcess {
        let group: CgroupSubgroup?
        do throws(CgroupError) {
            group = try subgroup.map { (name) throws(CgroupError) in try cgroup.makeSubgroup(name) }
        } catch {
            throw StartFailure(stage: "cgroup", errno: error.errno, message: error.message)
        }
        let handle = try CgroupHandle(cgroup, subgroup: group)
        var entry = ContainerEntry(
            process: exec.process, spec: spec, target: target, targetPid: pid, cgroup: handle.placement, stdio: stdio,
            seccomp: seccomp, unconfined: exec.unconfined, identity: IdentityRequest(exec.user, exec.groups),
            mapsFiles: true)
        entry.forParent = forParent
        return try ContainerProcess.exec(entry, supervisor: supervisor)
    }

    /// Opens what a monitor without privileges could not.
    func prepareForConfinement() { kernelLog = try? FileDescriptor("/dev/kmsg", O_RDONLY | O_NONBLOCK) }

    /// Where its files are in each hierarchy.
    var cgroupDirectories: [String] {
        let layout = cgroup.layout
        return Set(layout.placements.values.map(\.mountPoint) + [layout.unifiedMountPoint].compactMap { $0 })
            .map { $0 + cgroup.path }
    }

    /// Memory ran out, or might have: true when the kernel has killed since the last call.
    func checkMemory() -> Bool {
        acknowledge(memoryWatch)
        let kills = cgroup.oomKillCount()
        guard kills > oomKills else { return false }
        oomKills = kills
        oomVictims = KernelLog.memoryVictims(in: raw(kernelLog), of: cgroup.path, since: startedAt)
        return true
    }

    private func descriptor(of watch: borrowing OutOfMemoryWatch?) -> Int32 {
        switch watch {
        case .some(let watch): watch.descriptor.raw
        case .none: -1
        }
    }

    private func acknowledge(_ watch: borrowing OutOfMemoryWatch?) {
        switch watch {
        case .some(let watch): watch.acknowledge()
        case .none: break
        }
    }

    private func parent(of process: Int32) -> Int32? {
        // proc(5): `pid (name) state ppid …`; the name may contain anything, the last parenthesis ends it.
        guard let text = try? Bundle.readSmall("/proc/\(process)/stat"), let end = text.lastIndex(of: UInt8(ascii: ")"))
        else { return nil }
        let fields = text[(end + 1)...].split(separator: UInt8(ascii: " "))
        return fields.count > 1 ? Int32(String(decoding: fields[1], as: UTF8.self)) : nil
    }
}

/// The kernel's log, which alone names the victims of the OOM killer.
enum KernelLog {
    private static let maximumVictims = 16

    /// Names of the processes killed for memory in the cgroup `path` after `since` (CLOCK_MONOTONIC, nanoseconds), in
    /// order. Empty where the log can't be read (`kernel.dmesg_restrict` in a container, for one).
    /// - Parameter log: /dev/kmsg, opened without waiting; -1 where it can't be.
    static func memoryVictims(in log: Int32, of path: String, since: Int64) -> [String] {
        // From its beginning.
        guard log >= 0, lseek(log, 0, SEEK_SET) >= 0 else { return [] }
        var victims: [String] = []
        // One read is one record (Documentation/ABI/testing/dev-kmsg):
        // `6,1234,5140900,-;oom-kill:constraint=…,oom_memcg=PATH,task_memcg=PATH,task=NAME,pid=…`, time in microseconds.
        var record = [UInt8](repeating: 0, count: 8192)
        while victims.count < maximumVictims {
            let count = read(log, &record, record.count)
            if count < 0, errno == EPIPE || errno == EINTR { continue }
            guard count > 0 else { break }
            let line = String(decoding: record[..<count], as: UTF8.self)
            guard line.contains("oom-kill:"), line.contains("task_memcg=\(path)") else { continue }
            let head = line.prefix(while: { $0 != ";" }).split(byte: ",")
            guard head.count > 2, let microseconds = Int64(head[2]), microseconds * 1000 >= since else { continue }
            if let start = line.firstRange(of: ",task="),
                let end = line[start.upperBound...].firstRange(of: ",pid=")
            {
                victims.append(String(line[start.upperBound..<end.lowerBound]))
            }
        }
        return victims
    }
}
