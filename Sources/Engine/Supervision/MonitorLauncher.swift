import Glibc
import LinuxKernel
import MonitorProtocol
import Networking
import Synchronization

/// Starts `mycontainer-runtime monitor` processes.
///
/// The daemon has many threads, so nothing of it runs between fork and exec: `posix_spawn` only.
final class MonitorLauncher: Sendable {
    /// What is executed: the runtime's path, or a descriptor of it on a detached read-only mount.
    private let executable: String
    private let mount: OwnedDescriptor?
    private let zygote = Mutex(ZygoteState.none)
    private let ready = Mutex(Ready())

    /// What is made ahead for one start.
    private struct Ready: ~Copyable {
        var monitor: SpareMonitor?
        /// A network namespace that nobody is in.
        var network: OwnedDescriptor?
    }

    /// `runtimePath` is looked at once: a container that could write to the runtime through `/proc/<pid>/exe` would
    /// own the host (CVE-2019-5736), so it is executed from a detached mount that can't be written. Where the kernel
    /// refuses that (before 5.12, no CAP_SYS_ADMIN), it is executed by its path.
    init(runtimePath: String) throws(EngineError) {
        guard access(runtimePath, X_OK) == 0 else {
            throw EngineError(
                .internal,
                "the runtime \(runtimePath) can't be executed: \(String(cString: strerror(errno))); "
                    + "install mycontainer-runtime beside mycontainerd or name it with --runtime")
        }
        if let clone = try? Mount.cloneTree(runtimePath, recursive: false),
            (try? Mount.change(clone.raw, MountAttributes(set: MountAttributes.readOnly))) != nil
        {
            mount = OwnedDescriptor(clone)
            executable = "/proc/self/fd/\(mount!.raw)"
        } else {
            mount = nil
            executable = runtimePath
        }
    }

    /// Gives the container whose bundle is `bundle` a monitor with `channel` as its connection: the one that waits for
    /// a container, or one that the zygote forks. It is no child of this process.
    ///
    /// - Parameter ownNetwork: whether the bundle asks for a new network namespace in the daemon's user namespace.
    /// - Returns: false where there is no zygote, or it ended over it, perhaps with a monitor forked.
    func fork(bundle: String, ownNetwork: Bool, channel: Int32) -> Bool {
        if let spare = ready.withLock({ $0.monitor.take() }) {
            // A namespace is one container's: this one has it, or nobody.
            let network = ownNetwork ? ready.withLock { $0.network.take() } : nil
            defer { withExtendedLifetime(network) {} }
            do throws(ChannelError) {
                try spare.run(bundle: bundle, network: network?.raw, monitorEnd: channel)
                return true
            } catch {
                // It was killed while it waited.
            }
        }
        guard let zygote = currentZygote() else { return false }
        do throws(ChannelError) {
            try zygote.client.start(bundle: bundle, monitorEnd: channel)
            return true
        } catch {
            retire(zygote)
            return false
        }
    }

    /// Makes what the next start finds ready. A start that comes meanwhile waits for it.
    func prepare() {
        guard let zygote = currentZygote() else { return }
        // What fails here fails again for whoever needs it, and is dealt with there.
        try? ready.withLock { ready in
            if ready.network == nil { ready.network = OwnedDescriptor(try zygote.client.emptyNetwork()) }
            if ready.monitor == nil { ready.monitor = try zygote.client.spare() }
        }
    }

    /// Executes a monitor.
    ///
    /// - Returns: the pid to reap.
    func spawn(bundle: String, channel: Int32) throws(EngineError) -> pid_t {
        try spawn(["monitor", "--bundle", bundle], channel: channel, log: "\(bundle)/monitor.log")
    }

    /// Ends the zygote and what waits for a container; monitors go on.
    func stop() {
        ready.withLock { $0 = Ready() }
        let current = zygote.withLock { state in
            defer { state = .stopped }
            if case .running(let zygote) = state { return zygote as RunningZygote? }
            return nil
        }
        current?.end()
    }

    // MARK: The zygote

    private enum ZygoteState {
        case none
        case running(RunningZygote)
        case stopped
    }

    /// The zygote and its pid, which is this process's child.
    private final class RunningZygote: Sendable {
        let client: ZygoteClient
        private let channel: OwnedDescriptor
        private let pid: pid_t

        init(client: ZygoteClient, channel: OwnedDescriptor, pid: pid_t) {
            self.client = client
            self.channel = channel
            self.pid = pid
        }

        /// It ends at the end of its channel, at once.
        func end() {
            shutdown(channel.raw, Int32(SHUT_RDWR))
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        }
    }

    private func currentZygote() -> RunningZygote? {
        zygote.withLock { state in
            switch state {
            case .running(let zygote): return zygote
            case .stopped: return nil
            case .none:
                guard let started = startZygote() else { return nil }
                state = .running(started)
                return started
            }
        }
    }

    /// nil where it can't be started: then every monitor is a process of its own, which takes a little longer.
    private func startZygote() -> RunningZygote? {
        guard let pair = try? MonitorChannel.pair() else { return nil }
        let (daemon, other) = pair.split { (OwnedDescriptor($0.release()), OwnedDescriptor($1.release())) }
        guard let own = try? daemon.duplicate(),
            let pid = try? spawn(["zygote"], channel: other.raw, log: "/dev/null")
        else { return nil }
        let client = ZygoteClient(channel: MonitorChannel(adopting: FileDescriptor(owning: own)))
        return RunningZygote(client: client, channel: daemon, pid: pid)
    }

    private func retire(_ gone: RunningZygote) {
        let isCurrent = zygote.withLock { state -> Bool in
            guard case .running(let current) = state, current === gone else { return false }
            state = .none
            return true
        }
        if isCurrent { gone.end() }
    }

    // MARK: Processes

    /// POSIX_SPAWN_SETSID of spawn.h, which hides it without _GNU_SOURCE.
    private static let setSession: Int16 = 0x80

    private func spawn(_ arguments: [String], channel: Int32, log: String) throws(EngineError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // dup2 to itself would keep close-on-exec elsewhere; posix_spawn clears it (POSIX.1-2024).
        posix_spawn_file_actions_adddup2(&actions, channel, MonitorProtocol.inheritedSocket)
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) | MonitorLauncher.setSession)

        let environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SWIFT_BACKTRACE=enable=no"]
        var pid: pid_t = 0
        let result = withCStrings(["mycontainer-runtime"] + arguments) { argv in
            withCStrings(environment) { envp in
                posix_spawn(&pid, executable, &actions, &attributes, argv, envp)
            }
        }
        guard result == 0 else {
            throw EngineError(
                SystemError("posix_spawn \(executable)", errno: result), while: "start the container's monitor")
        }
        return pid
    }
}

/// Network namespaces are entered by the zygote, which has one thread.
extension MonitorLauncher: SandboxProvider {
    func make(owner: NamespaceOwner?) throws(NetworkingError) -> SandboxDescriptors {
        try networkNamespace(nil, owner: owner)
    }

    func open(path: String) throws(NetworkingError) -> SandboxDescriptors {
        try networkNamespace(path, owner: nil)
    }

    /// A zygote that is gone is replaced, once.
    private func networkNamespace(
        _ path: String?, owner: NamespaceOwner?
    ) throws(NetworkingError) -> SandboxDescriptors {
        for _ in 0..<2 {
            guard let zygote = currentZygote() else { break }
            let answer: NetworkNamespaceAnswer
            do throws(ChannelError) {
                answer = try zygote.client.networkNamespace(path: path, owner: owner)
            } catch {
                retire(zygote)
                continue
            }
            switch consume answer {
            case .refused(let failure): throw NetworkingError(.system, failure.message)
            case .open(var descriptors):
                guard let namespace = descriptors.take(.namespace), let netlink = descriptors.take(.netlink) else {
                    throw NetworkingError(.system, "the zygote sent a network namespace without its descriptors")
                }
                var resolver: ResolverSockets?
                if let udp = descriptors.take(.resolverUDP), let tcp = descriptors.take(.resolverTCP) {
                    resolver = ResolverSockets(udp: udp, tcp: tcp)
                }
                return SandboxDescriptors(
                    namespace: namespace, netlink: netlink, ipv6Settings: descriptors.take(.ipv6Settings),
                    resolver: resolver)
            }
        }
        throw NetworkingError(
            .system,
            "no network namespace can be made: the daemon's helper process (mycontainer-runtime zygote) doesn't start or ends"
        )
    }
}

/// Calls `body` with a NULL-terminated array of C strings.
func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    return pointers.withUnsafeMutableBufferPointer { body($0.baseAddress!) }
}
