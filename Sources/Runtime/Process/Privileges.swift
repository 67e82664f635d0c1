import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// The last steps before the user's program: limits, identity, capabilities, seccomp, in the only order that works.
struct Privileges {
    let process: RuntimeSpec.Process
    let identity: Identity
    let seccomp: SeccompFilter?
    /// The host's /proc; also valid after the root has changed.
    let hostProc: Int32
    /// Whether the kernel lets this process change its groups (not in a user namespace that denies it).
    let channel: SetupChannel

    /// What needs privileges over the host: to be called first.
    /// - Parameter labelsNextExec: whether the next program that this process executes is the user's. A reaper's labels are
    ///   the process's own, and come last (``SecurityLabels/change(_:to:)``).
    func applyHostSettings(
        includingOutOfMemoryScore: Bool, labelsNextExec: Bool = true
    ) throws(StartFailure) {
        if includingOutOfMemoryScore, let score = process.oomScoreAdj {
            try Self.setOutOfMemoryScore(score, "self", hostProc)
        }
        try Self.applyLimits(of: process)
        if let scheduler = process.scheduler { try Scheduling.apply(scheduler) }
        if let priority = process.ioPriority { try Scheduling.apply(priority) }
        if labelsNextExec, let profile = process.apparmorProfile, !profile.isEmpty {
            try SecurityLabels.applyAppArmor(profile, hostProc)
        }
        if let label = process.selinuxLabel, !label.isEmpty { try SecurityLabels.applySELinux(label, hostProc) }
    }

    /// Becomes the user. Without no-new-privileges the filter is loaded first, while that is still allowed; with it last
    /// (`loadLateFilter`), so that it needn't allow what happens here.
    func drop() throws(StartFailure) {
        var sets = process.capabilities ?? RuntimeSpec.Capabilities()
        // Whoever asked for a name couldn't know whether it is root: others get what execve(2) would leave them.
        if identity.isResolved {
            sets = Capabilities.specification(bounding: sets.bounding ?? [], uid: identity.uid)
        }
        let noNewPrivileges = process.noNewPrivileges ?? false
        if !noNewPrivileges { try loadFilter() }
        try at("capabilities", "cannot limit the capabilities") { () throws(SystemError) in
            try Capabilities.prepare(sets)
        }
        try becomeUser()
        try at("capabilities", "cannot set the capabilities") { () throws(SystemError) in
            try Capabilities.apply(sets)
        }
        if noNewPrivileges {
            try at("no-new-privileges", "cannot forbid new privileges") { () throws(SystemError) in
                try LinuxKernel.Process.setNoNewPrivileges()
            }
        }
        umask(process.user.umask.map { mode_t($0) } ?? 0o022)
    }

    private func becomeUser() throws(StartFailure) {
        let sentence = "cannot become user \(identity.uid) with group \(identity.gid)"
        do throws(SystemError) {
            do throws(SystemError) {
                try LinuxKernel.Process.setGroups(identity.groups)
            } catch {
                // A user namespace whose setgroups is denied: nothing to give up, nothing to add.
                if error.errno != EPERM || !identity.groups.isEmpty { throw error }
            }
            try LinuxKernel.Process.setGroup(identity.gid)
            try LinuxKernel.Process.setUser(identity.uid)
        } catch {
            let groups = identity.groups.map(String.init).joined(separator: ", ")
            throw StartFailure(
                stage: "user", errno: error.errno,
                message: error.errno == EINVAL
                    ? "\(sentence) and groups \(groups): the container's user namespace doesn't have all of these ids, map "
                        + "more of them (--userns auto:size=N)" : "\(sentence): \(error)")
        }
    }

    func loadLateFilter() throws(StartFailure) {
        if process.noNewPrivileges ?? false { try loadFilter() }
    }

    private func loadFilter() throws(StartFailure) {
        guard let seccomp else { return }
        let listener = try at("seccomp", "cannot load the seccomp filter") { () throws(SystemError) in
            try seccomp.load()
        }
        if let listener {
            channel.send(.seccompListener, passing: listener)
            close(listener)
        }
    }

    /// Writes `/proc/<who>/oom_score_adj`.
    static func setOutOfMemoryScore(_ score: Int, _ who: String, _ proc: Int32) throws(StartFailure) {
        try at("oom_score_adj", "cannot set oom_score_adj to \(score)") { () throws(SystemError) in
            let file = try FileDescriptor("\(who)/oom_score_adj", O_RDWR, relativeTo: proc)
            // The same value needs no privilege (lowering it does: CAP_SYS_RESOURCE).
            var current = [UInt8](repeating: 0, count: 16)
            let count = max(0, read(file.raw, &current, 16))
            let text = String(score)
            if String(decoding: current[..<count], as: UTF8.self) == text + "\n" { return }
            try checked("write oom_score_adj") { write(file.raw, text, text.utf8.count) }
        }
    }

    /// Raising one takes CAP_SYS_RESOURCE over the host; what is as it should be already takes nothing.
    static func applyLimits(of process: RuntimeSpec.Process) throws(StartFailure) {
        for limit in process.rlimits ?? [] { try apply(limit) }
    }

    private static let resources: [String: Int32] = [
        "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
        "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
        "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14,
        "RLIMIT_RTTIME": 15,
    ]

    private static func apply(_ limit: RuntimeSpec.Rlimit) throws(StartFailure) {
        guard let resource = resources[limit.type] else {
            throw StartFailure(stage: "rlimit", errno: EINVAL, message: "unknown resource limit \(limit.type)")
        }
        var value = rlimit(rlim_cur: rlim_t(limit.soft), rlim_max: rlim_t(limit.hard))
        try at(
            "rlimit",
            "cannot set \(limit.type) to \(limit.soft):\(limit.hard), which may be above what this host allows"
        ) { () throws(SystemError) in
            try checked("prlimit") { clinux_prlimit(resource, &value, nil) }
        }
    }
}
