import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// Starts processes in containers.
///
/// Only for single-threaded programs: the child goes on running Swift after `clone3`. The calls block until the user's
/// program has been executed (or, with a gate, until everything up to that is done), which is when the setup socket
/// reports end of file; a failure names its stage and errno and leaves no process behind.
public enum ContainerProcess {
    /// Starts a container's first process: namespaces, cgroup, root filesystem, identity and limits as configured.
    public static func start(_ launch: ContainerLaunch) throws(StartFailure) -> StartedProcess {
        try start(launch, supervisor: nil)
    }

    /// - Parameter supervisor: who answers what the container's seccomp filter asks.
    static func start(
        _ launch: ContainerLaunch, supervisor: (any SeccompSupervisor)?
    ) throws(StartFailure) -> StartedProcess {
        let linux = launch.spec.linux ?? RuntimeSpec.Linux()
        try Sysctl.validate(linux.sysctl ?? [:], linux.namespaces ?? [])
        try Sysctl.refuseHostSettings(launch.spec)
        let seccomp = if let ready = launch.seccomp { ready } else { try compile(linux.seccomp) }
        try enter(launch.bundle)
        let preparation = try Preparation.make(launch)
        let root = try preparation.duplicateRoot()
        // Nobody in the container may trace a process that still has the host's privileges, nor look into its
        // descriptors (CVE-2016-9962); exec makes the user's program dumpable again.
        try at("setup", "cannot make the runtime untraceable") { () throws(SystemError) in
            try LinuxKernel.Process.setDumpable(false)
        }
        let pair = try SetupListener.pair()
        if preparation.root >= 0 { try enter(Preparation.mountPoint(launch)) }
        // The cgroup namespace comes later, after the process is in its cgroups; with a user namespace all others but
        // the pid namespace do, since they are to belong to its root.
        var namespaces = preparation.created.subtracting([.cgroup, .time])
        if namespaces.contains(.user) { namespaces.formIntersection([.user, .pid]) }
        if preparation.joined.contains(where: { $0.kind == .user }) { namespaces = [] }
        let side = try TimeNamespace.with(
            preparation.created.contains(.time) ? linux.timeOffsets ?? [:] : nil
        ) { () throws(StartFailure) in
            try PidNamespace.pointing(preparation.joined) { () throws(StartFailure) in
                try at("clone", "cannot make the container's first process") { () throws(SystemError) in
                    try LinuxKernel.Process.clone(namespaces, intoCgroup: launch.cgroup.unified)
                }
            }
        }
        switch consume side {
        case .child:
            var child = FirstProcess(
                launch: launch, created: preparation.created, joined: preparation.joined, root: preparation.root,
                binds: preparation.binds, identities: preparation.identities, seccomp: seccomp,
                channel: SetupChannel(descriptor: pair.child.raw))
            child.run()
        case .parent(var pid, var pidfd):
            var listener = pair.takeListener()
            do {
                try enter(launch.bundle)
                let outcome = try listener.run(supervisor: supervisor) { (replacement) throws(StartFailure) in
                    let successor = try at("clone", "cannot watch the container's first process") {
                        () throws(SystemError) in try LinuxKernel.Process.openPidfd(replacement)
                    }
                    _ = try? LinuxKernel.Process.wait(pidfd: pidfd.raw)
                    pid = replacement
                    pidfd = successor
                } needsMapping: { (pid) throws(StartFailure) in
                    try UserNamespace.map(pid, uids: linux.uidMappings ?? [], gids: linux.gidMappings ?? [])
                } namespacesExist: { (pid) throws(StartFailure) in
                    try launch.prepared?(pid)
                }
                return StartedProcess(
                    pid: pid, userPid: outcome == .executed ? listener.userPid : pid, pidfd: pidfd, root: root,
                    terminal: listener.terminal.take(), seccompListener: listener.seccompListener.take())
            } catch {
                abandon(pidfd.raw)
                throw error
            }
        }
    }

    private static func enter(_ directory: String) throws(StartFailure) {
        try at("bundle", "cannot use the directory \(directory)") { () throws(SystemError) in
            try checked("chdir") { chdir(directory) }
        }
    }

    /// Starts another process in a running container.
    public static func exec(_ entry: ContainerEntry) throws(StartFailure) -> StartedProcess {
        try exec(entry, supervisor: nil)
    }

    static func exec(
        _ entry: ContainerEntry, supervisor: (any SeccompSupervisor)?
    ) throws(StartFailure) -> StartedProcess {
        let seccomp: SeccompFilter? =
            if entry.unconfined { nil } else if let ready = entry.seccomp { ready } else {
                try compile(entry.spec.linux?.seccomp)
            }
        let namespaces = try namespaces(of: entry)
        try at("setup", "cannot make the runtime untraceable") { () throws(SystemError) in
            try LinuxKernel.Process.setDumpable(false)
        }
        let pair = try SetupListener.pair()
        let side = try cloneIntoPidNamespace(of: entry, namespaces)
        switch consume side {
        case .child:
            var child = EntryProcess(
                entry: entry, namespaces: namespaces.subtracting(.pid), seccomp: seccomp,
                channel: SetupChannel(descriptor: pair.child.raw))
            child.run()
        case .parent(let pid, let pidfd):
            var listener = pair.takeListener()
            do {
                _ = try listener.run(supervisor: supervisor)
                return StartedProcess(
                    pid: pid, userPid: pid, pidfd: pidfd, root: nil, terminal: listener.terminal.take(),
                    seccompListener: listener.seccompListener.take())
            } catch {
                abandon(pidfd.raw)
                throw error
            }
        }
    }

    /// The namespaces that the container has and the runtime is not in.
    private static func namespaces(of entry: ContainerEntry) throws(StartFailure) -> NamespaceSet {
        var result: NamespaceSet = []
        for namespace in entry.spec.linux?.namespaces ?? [] {
            if let kind = Preparation.kinds[namespace.type] { result.insert(kind) }
        }
        // Entering the user namespace that one is in already is an error (setns(2), EINVAL).
        if result.contains(.user) {
            var own = stat()
            var theirs = stat()
            if stat("/proc/self/ns/user", &own) == 0, stat("/proc/\(entry.targetPid)/ns/user", &theirs) == 0,
                own.st_ino == theirs.st_ino
            {
                result.remove(.user)
            }
        }
        return result
    }

    private static func cloneIntoPidNamespace(
        of entry: ContainerEntry, _ namespaces: NamespaceSet
    ) throws(StartFailure) -> LinuxKernel.Process.Side {
        let joined = namespaces.contains(.pid) ? [(kind: NamespaceSet.pid, descriptor: entry.target)] : []
        return try PidNamespace.pointing(joined) { () throws(StartFailure) in
            try at("clone", "cannot make a process in the container") { () throws(SystemError) in
                try LinuxKernel.Process.clone([], intoCgroup: entry.cgroup.unified)
            }
        }
    }

    static func compile(_ policy: RuntimeSpec.Seccomp?) throws(StartFailure) -> SeccompFilter? {
        guard let policy else { return nil }
        do {
            return try SeccompFilter.compile(policy)
        } catch {
            throw StartFailure(stage: "seccomp", errno: EINVAL, message: error.message)
        }
    }

    /// Leaves no process behind.
    static func abandon(_ pidfd: Int32) {
        try? LinuxKernel.Process.signal(pidfd: pidfd, SIGKILL)
        _ = try? LinuxKernel.Process.wait(pidfd: pidfd)
    }
}
