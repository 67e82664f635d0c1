import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// A process that enters a running container: runs in the child and never returns.
///
/// The container's processes may see it from the moment it is in their pid namespace: it is not dumpable, so that they
/// can't trace it (unless they hold CAP_SYS_PTRACE over the host's user namespace), and it closes every descriptor of
/// the host before it looks anything up (CVE-2016-9962, CVE-2024-21626).
struct EntryProcess {
    let entry: ContainerEntry
    let namespaces: NamespaceSet
    let seccomp: SeccompFilter?
    var channel: SetupChannel

    mutating func run() -> Never {
        do {
            try setUp()
        } catch {
            channel.fail(error)
        }
    }

    private mutating func setUp() throws(StartFailure) -> Never {
        let process = entry.process
        umask(0)
        try entry.cgroup.enterLegacy()
        if let list = process.execCPUAffinity?.initial {
            try Scheduling.setAffinity(list)
        } else {
            Scheduling.resetAffinity()
        }
        let proc = try at("proc", "the runtime needs the host's /proc") { () throws(SystemError) in
            try FileDescriptor("/proc", O_RDONLY | O_DIRECTORY)
        }
        if let domain = entry.spec.linux?.personality { try Scheduling.apply(domain) }
        // While the ids are the host's: a new user namespace couldn't.
        if let score = process.oomScoreAdj { try Privileges.setOutOfMemoryScore(score, "self", proc.raw) }
        var setup = ChildSetup(
            channel: channel, process: process, stdio: entry.stdio,
            preservedDescriptors: entry.preservedDescriptors, noNewKeyring: entry.noNewKeyring)
        setsid()
        if entry.mapsFiles, namespaces.contains(.user) {
            try Privileges.applyLimits(of: process)
            let linux = entry.spec.linux
            let maps = IdentityMaps(uids: linux?.uidMappings ?? [], gids: linux?.gidMappings ?? [])
            try ContainerIdentities(maps: maps, namespace: -1).takeOver(entry.stdio)
        }
        try enterNamespaces()
        try setup.joinKeyring(proc.raw)
        let root = try at("rootfs", "cannot open the container's root") { () throws(SystemError) in
            try FileDescriptor("/", clinux_o_path() | O_DIRECTORY)
        }
        try connectStreams(setup, root.raw)
        let identity = try self.identity(root.raw)
        let privileges = Privileges(
            process: process, identity: identity, seccomp: seccomp, hostProc: proc.raw, channel: channel)
        try privileges.applyHostSettings(includingOutOfMemoryScore: false)
        if namespaces.contains(.user) || identity.uid != 0 { setup.giveStreams(to: identity.uid) }
        if let list = process.execCPUAffinity?.final { try Scheduling.setAffinity(list) }
        var none: [Int32] = []
        _ = proc.release()
        _ = root.release()
        try setup.closeDescriptors(keeping: &none)
        channel = setup.channel
        let user = try setup.becomeUser(identity, seccomp)
        let executable = try Executable(process, environment: setup.process.environment(home: identity.home))
        try user.loadLateFilter()
        LinuxKernel.Process.resetSignals()
        channel.send(.executing)
        channel.fail(executable.execute())
    }

    private func enterNamespaces() throws(StartFailure) {
        try at("namespace", "cannot enter the container's namespaces") { () throws(SystemError) in
            // All at once, through the pidfd: no path of the container's is involved (setns(2), Linux 5.8).
            try LinuxKernel.Process.enter(entry.target, namespaces)
        }
        guard namespaces.contains(.user) else { return }
        try at("user namespace", "cannot become root of the user namespace") { () throws(SystemError) in
            try LinuxKernel.Process.setGroup(0)
            try LinuxKernel.Process.setUser(0)
            try LinuxKernel.Process.setDumpable(false)
        }
    }

    private func connectStreams(_ setup: ChildSetup, _ root: Int32) throws(StartFailure) {
        switch entry.stdio {
        case .descriptors(let input, let output, let error):
            try setup.placeStreams(input, output, error)
        case .terminal(let width, let height):
            let devpts = try at("console", "the container has no /dev/pts") { () throws(SystemError) in
                let directory = try RootedPath.open("dev/pts", in: root, flags: O_RDONLY | O_DIRECTORY)
                guard try FilesystemType.of(directory.raw) == FilesystemType.devpts else {
                    throw SystemError("it is no devpts", errno: ENODEV)
                }
                return directory
            }
            _ = try setup.openTerminal(
                devpts: devpts.raw, width: width, height: height, withMount: false, controlling: true)
        }
    }

    private func identity(_ root: Int32) throws(StartFailure) -> Identity {
        if let request = entry.identity {
            return try Identity(request, fallback: entry.process.user, root: root)
        }
        var identity = Identity(entry.process.user)
        if !entry.process.hasHome { identity.findHome(root: root) }
        return identity
    }
}
