import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// The container's first process, from clone3 to the user's program: runs in the child and never returns.
struct FirstProcess {
    let launch: ContainerLaunch
    let created: NamespaceSet
    let joined: [(kind: NamespaceSet, descriptor: Int32)]
    let root: Int32
    let binds: [Int: Int32]
    let identities: ContainerIdentities?
    let seccomp: SeccompFilter?
    var channel: SetupChannel

    private var linux: RuntimeSpec.Linux { launch.spec.linux ?? RuntimeSpec.Linux() }
    private var usesUserNamespace: Bool { created.contains(.user) || joined.contains { $0.kind == .user } }

    mutating func run() -> Never {
        do {
            try setUp()
        } catch {
            channel.fail(error)
        }
    }

    private mutating func setUp() throws(StartFailure) -> Never {
        guard let process = launch.spec.process else {
            throw StartFailure(stage: "config", errno: EINVAL, message: "the configuration has no process")
        }
        umask(0)
        try launch.cgroup.enterLegacy()
        Scheduling.resetAffinity()
        try enterNamespaces(process)
        if launch.prepared != nil {
            channel.send(.namespacesExist)
            channel.waitToProceed()
        }
        setsid()
        var setup = ChildSetup(
            channel: channel, process: process, stdio: launch.stdio,
            preservedDescriptors: launch.preservedDescriptors, noNewKeyring: launch.noNewKeyring)
        let proc = try hostProc()
        try setup.joinKeyring(proc)
        try applyNames()
        if created.contains(.network) {
            try at("network", "cannot set the loopback interface up") { () throws(SystemError) in
                do throws(SystemError) {
                    try NetworkInterface.setUp("lo")
                } catch {
                    // Without CAP_NET_ADMIN in the outer namespaces: rather no loopback than no container.
                    if error.errno != EPERM { throw error }
                }
            }
        }
        try Sysctl.apply(linux.sysctl ?? [:], proc: proc)
        let identity = try root >= 0 ? assembleRoot(process, setup, proc) : enterJoinedMounts(process, setup)
        if let domain = linux.personality { try Scheduling.apply(domain) }
        let privileges = Privileges(
            process: process, identity: identity, seccomp: seccomp, hostProc: proc, channel: channel)
        try privileges.applyHostSettings(
            includingOutOfMemoryScore: !usesUserNamespace, labelsNextExec: !launch.reaper)
        let change = launch.reaper ? SecurityLabels.Change(process, proc) : nil
        let confinement = try change?.open(proc)
        if root >= 0 { try changeRoot() }
        if usesUserNamespace || identity.uid != 0 { setup.giveStreams(to: identity.uid) }
        try finish(process, identity, change, confinement, &setup)
    }

    // MARK: Namespaces

    private mutating func enterNamespaces(_ process: RuntimeSpec.Process) throws(StartFailure) {
        if usesUserNamespace, let score = process.oomScoreAdj {
            // While the ids are the host's, which own the file as long as the process isn't dumpable. In a new user
            // namespace they are unmapped but still root's.
            let proc = try hostProc()
            defer { close(proc) }
            try Privileges.setOutOfMemoryScore(score, "self", proc)
        }
        if let identities {
            try Privileges.applyLimits(of: process)
            identities.takeOver(launch.stdio)
        }
        // The user namespace first, since it gives the right to enter the others; mounts last, since paths change.
        for entry in joined.sorted(by: { Self.rank($0.kind) < Self.rank($1.kind) }) where entry.kind != .pid {
            try at("namespace", "cannot join a namespace") { () throws(SystemError) in
                try LinuxKernel.Process.enter(entry.descriptor, entry.kind)
            }
            if entry.kind == .user { try becomeNamespaceRoot() }
        }
        if created.contains(.user) {
            channel.send(.needsMapping)
            channel.waitToProceed()
            try becomeNamespaceRoot()
        }
        // What belongs to a user namespace has to be made inside it.
        if created.contains(.pid) && joined.contains(where: { $0.kind == .user }) { try moveIntoPidNamespace() }
        // A cgroup namespace begins at the groups of its maker, so it is made here, inside them.
        var rest = created.intersection(.cgroup)
        if usesUserNamespace { rest = created.subtracting([.user, .pid, .time]) }
        guard !rest.isEmpty else { return }
        try at("namespace", "cannot make the container's namespaces") { () throws(SystemError) in
            try LinuxKernel.Process.unshare(rest)
        }
    }

    /// A pid namespace that belongs to a joined user namespace can only be made from inside, for a child: that goes on
    /// as the container's first process, a child of the runtime's itself, and this one ends.
    private mutating func moveIntoPidNamespace() throws(StartFailure) {
        let isChild = try at("clone", "cannot make a pid namespace") { () throws(SystemError) in
            try LinuxKernel.Process.cloneSibling(.pid)
        }
        guard isChild else { _exit(0) }
        channel.send(.replaced)
        channel.waitToProceed()
    }

    private static func rank(_ kind: NamespaceSet) -> Int { kind == .user ? 0 : kind == .mount ? 2 : 1 }

    private func becomeNamespaceRoot() throws(StartFailure) {
        try at("user namespace", "cannot become root of the user namespace") { () throws(SystemError) in
            try LinuxKernel.Process.setGroup(0)
            try LinuxKernel.Process.setUser(0)
            // The change of ids made the process dumpable's opposite already; say it again all the same.
            try LinuxKernel.Process.setDumpable(false)
        }
    }

    private func hostProc() throws(StartFailure) -> Int32 {
        try at("proc", "the runtime needs the host's /proc") { () throws(SystemError) in
            let proc = try FileDescriptor("/proc", O_RDONLY | O_DIRECTORY)
            guard try FilesystemType.of(proc.raw) == FilesystemType.proc else {
                throw SystemError("open /proc", errno: ENOTSUP)
            }
            return proc.release()
        }
    }

    private func applyNames() throws(StartFailure) {
        if let name = launch.spec.hostname, !name.isEmpty {
            try at("hostname", "cannot set the hostname \(name)") { () throws(SystemError) in
                try checked("sethostname") { sethostname(name, name.utf8.count) }
            }
        }
        if let name = launch.spec.domainname, !name.isEmpty {
            try at("hostname", "cannot set the domain name \(name)") { () throws(SystemError) in
                try checked("setdomainname") { setdomainname(name, name.utf8.count) }
            }
        }
    }

    // MARK: Root filesystem

    private func assembleRoot(
        _ process: RuntimeSpec.Process, _ setup: ChildSetup, _ proc: Int32
    ) throws(StartFailure) -> Identity {
        let isPrivate = linux.rootfsPropagation?.hasSuffix("private") ?? false
        try at("rootfs", "cannot place the container's root") { () throws(SystemError) in
            // Nothing mounted in here may appear on the host.
            try Mount.setPropagation("/", isPrivate ? .isPrivate : .slave)
            // On the working directory, which the runtime chose: even the path `.` might be out of a user namespace's
            // reach, the directory itself is not.
            try Mount.attach(root, on: AT_FDCWD)
        }
        let label = SecurityLabels.mountLabel(linux, proc)
        var filesystem = RootFilesystem(
            spec: launch.spec, root: root, binds: binds, userNamespace: usesUserNamespace, cgroup: launch.cgroup,
            hostProc: proc, label: label)
        try filesystem.assemble()
        try connectStreams(setup, devpts: filesystem.devpts)
        try filesystem.seal()
        let identity = try resolveIdentity(process, root)
        if launch.createWorkingDirectory { try makeWorkingDirectory(process) }
        try runContainerHooks()
        let hidden = HiddenPaths(root: root, kernelMounts: filesystem.kernelMounts, label: label)
        try hidden.makeReadOnly(linux.readonlyPaths ?? [])
        try hidden.hide(linux.maskedPaths ?? [])
        if launch.spec.root?.readonly ?? false {
            try at("rootfs", "cannot make the root read-only") { () throws(SystemError) in
                try Mount.change(root, MountAttributes(set: MountAttributes.readOnly))
            }
        }
        return identity
    }

    private func connectStreams(_ setup: ChildSetup, devpts: Int32) throws(StartFailure) {
        switch launch.stdio {
        case .descriptors(let input, let output, let error):
            try setup.placeStreams(input, output, error)
        case .terminal(let width, let height):
            var instance = devpts
            if instance < 0 {
                instance = try at("console", "the container has no /dev/pts") { () throws(SystemError) in
                    try RootedPath.open("dev/pts", in: root, flags: O_RDONLY | O_DIRECTORY).release()
                }
            }
            let tree = try setup.openTerminal(
                devpts: instance, width: width, height: height, withMount: true, controlling: !launch.reaper)
            guard let tree else { return }
            try at("console", "cannot bind the console to /dev/console") { () throws(SystemError) in
                let target = try RootedPath.ensure("dev/console", in: root, kind: .file, followLinks: false)
                try Mount.attach(tree.raw, on: target.raw)
            }
        }
    }

    private func resolveIdentity(
        _ process: RuntimeSpec.Process, _ root: Int32
    ) throws(StartFailure) -> Identity {
        if let request = launch.identity {
            return try Identity(request, fallback: process.user, root: root)
        }
        var identity = Identity(process.user)
        if !process.hasHome { identity.findHome(root: root) }
        return identity
    }

    private func makeWorkingDirectory(_ process: RuntimeSpec.Process) throws(StartFailure) {
        guard process.cwd.hasPrefix(bytes: "/"), process.cwd != "/" else { return }
        umask(0o022)
        defer { umask(0) }
        try at("chdir", "cannot make the working directory \(process.cwd)") { () throws(SystemError) in
            do throws(SystemError) {
                let directory = try RootedPath.ensure(process.cwd, in: root, kind: .directory)
                var status = stat()
                try checked("stat") { fstat(directory.raw, &status) }
                if status.st_mode & S_IFMT != S_IFDIR { throw SystemError("mkdir", errno: ENOTDIR) }
            } catch {
                // A magic link (/proc/self/fd/N) is no place to make anything in: chdir will judge it.
                if error.errno != ELOOP { throw error }
            }
        }
    }

    private func enterJoinedMounts(
        _ process: RuntimeSpec.Process, _ setup: ChildSetup
    ) throws(StartFailure) -> Identity {
        let here = try at("rootfs", "cannot open the joined root") { () throws(SystemError) in
            try FileDescriptor("/", clinux_o_path() | O_DIRECTORY)
        }
        switch launch.stdio {
        case .descriptors(let input, let output, let error): try setup.placeStreams(input, output, error)
        case .terminal(let width, let height):
            let devpts = try at("console", "the container has no /dev/pts") { () throws(SystemError) in
                try RootedPath.open("dev/pts", in: here.raw, flags: O_RDONLY | O_DIRECTORY)
            }
            _ = try setup.openTerminal(
                devpts: devpts.raw, width: width, height: height, withMount: false,
                controlling: !launch.reaper)
        }
        return try resolveIdentity(process, here.raw)
    }

    private func changeRoot() throws(StartFailure) {
        try at("pivot_root", "cannot change to the container's root") { () throws(SystemError) in
            if launch.noPivot {
                try checked("fchdir") { fchdir(root) }
                let top = try FileDescriptor("/", clinux_o_path() | O_DIRECTORY)
                try Mount.attach(root, on: top.raw)
                try checked("chroot") { chroot(".") }
                try checked("chdir") { chdir("/") }
            } else {
                try LinuxKernel.Process.pivotRoot(to: root)
            }
            switch linux.rootfsPropagation {
            case "shared": try Mount.change(root, propagation: .shared)
            case "rshared": try Mount.change(root, propagation: .shared, recursive: true)
            case "slave": try Mount.change(root, propagation: .slave)
            case "rslave": try Mount.change(root, propagation: .slave, recursive: true)
            case "unbindable": try Mount.change(root, propagation: .unbindable)
            case "runbindable": try Mount.change(root, propagation: .unbindable, recursive: true)
            default: break
            }
        }
    }

    // MARK: The end

    private func runContainerHooks() throws(StartFailure) {
        guard let context = launch.hooks, let hooks = launch.spec.hooks?.createContainer else { return }
        try HookRunner.run(
            hooks, kind: "createContainer", document: context.document(pid: getpid(), status: "creating"))
    }

    private mutating func finish(
        _ process: RuntimeSpec.Process, _ identity: Identity, _ change: SecurityLabels.Change?,
        _ confinement: consuming FileDescriptor?, _ setup: inout ChildSetup
    ) throws(StartFailure) -> Never {
        var extra: [Int32] = launch.gate.map { [$0.command, $0.status] } ?? []
        // The copy that closing leaves is the last of them.
        if let confinement { extra.append(confinement.release()) }
        try setup.closeDescriptors(keeping: &extra)
        channel = setup.channel
        let user = try setup.becomeUser(identity, seccomp)
        let environment = setup.process.environment(home: identity.home)
        let executable = try Executable(process, environment: environment)
        // A listener travels over the setup socket, in whose place the gate puts a FIFO.
        let notifies = seccomp?.notifies ?? false
        if notifies { try user.loadLateFilter() }
        if launch.gate != nil { waitAtGate(command: extra[0], status: extra[1]) }
        if let context = launch.hooks, let hooks = launch.spec.hooks?.startContainer {
            try HookRunner.run(
                hooks, kind: "startContainer", document: context.document(pid: getpid(), status: "created"),
                environment: environment)
        }
        if !notifies { try user.loadLateFilter() }
        if launch.reaper { try becomeReaper(executable, change, extra.last) }
        LinuxKernel.Process.resetSignals()
        channel.send(.executing)
        channel.fail(executable.execute())
    }

    /// - Parameter descriptor: what the change is made with.
    private func becomeReaper(
        _ executable: Executable, _ change: SecurityLabels.Change?, _ descriptor: Int32?
    ) throws(StartFailure) -> Never {
        var terminal = false
        if case .terminal = launch.stdio { terminal = true }
        // Not the monitor's command line, which names a path of the host.
        LinuxKernel.Process.setTitle("mycontainer-init")
        let channel = self.channel
        if let change, let descriptor { try change.beforeFork(descriptor) }
        try at("reaper", "cannot fork the user's process") { () throws(SystemError) in
            try Reaper.run(
                statusDescriptor: channel.descriptor, terminal: terminal, isConfined: launch.confinesReaper,
                forked: { if let change, let descriptor { change.afterFork(descriptor) } },
                program: {
                    channel.send(.executing)
                    channel.fail(executable.execute())
                })
        }
    }

    /// `create` ends here; what follows is `start`'s to hear.
    private mutating func waitAtGate(command: Int32, status: Int32) {
        channel.send(.waiting)
        close(channel.descriptor)
        channel.descriptor = status
        var byte: UInt8 = 0
        while true {
            let count = read(command, &byte, 1)
            if count == 1 { break }
            if count < 0 && errno == EINTR { continue }
            _exit(1)
        }
        close(command)
    }
}
