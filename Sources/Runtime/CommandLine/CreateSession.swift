import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// The common part of `create` and `run`: reads the bundle, makes the cgroup, starts the process, writes the state.
struct CreateSession {
    let id: String
    let bundle: String
    private(set) var spec: RuntimeSpec
    private let specBytes: [UInt8]
    private let flags: Flags
    private let options: RuntimeCommandLine.GlobalOptions
    private let foreground: Bool
    private let pidFile: String?
    private let consoleSocket: String?
    private let pidfdSocket: String?

    init(
        _ id: String, _ flags: Flags, _ options: RuntimeCommandLine.GlobalOptions, foreground: Bool = false
    ) throws(CommandError) {
        self.id = id
        self.options = options
        self.flags = flags
        self.foreground = foreground
        pidFile = flags.path("pid-file")
        consoleSocket = flags.path("console-socket")
        pidfdSocket = flags.path("pidfd-socket")
        bundle = try Self.absolute(flags.value("bundle") ?? ".")
        let path = flags.value("config") ?? "config.json"
        (spec, specBytes) = try SpecFile.read(path.hasPrefix(bytes: "/") ? path : "\(bundle)/\(path)")
        guard spec.process != nil else { throw CommandError("config.json has no process") }
        guard spec.linux?.netDevices?.isEmpty ?? true else {
            throw CommandError("linux.netDevices is not supported: move the device with a createRuntime hook")
        }
        guard (spec.linux?.memoryPolicy?.mode ?? "").isEmpty else {
            throw CommandError("linux.memoryPolicy is not supported: start the program with numactl")
        }
        guard spec.linux?.intelRdt == nil else { throw CommandError("linux.intelRdt is not supported on this host") }
        try SeccompAgent.require(spec.linux?.seccomp)
        if let sets = spec.process?.capabilities {
            spec.process?.capabilities = sets.grantable(options.log)
        }
        let wantsTerminal = spec.process?.terminal ?? false
        if wantsTerminal && !foreground && consoleSocket == nil {
            throw CommandError("cannot allocate a terminal for a detached container without --console-socket")
        }
        if !wantsTerminal && consoleSocket != nil {
            throw CommandError("--console-socket was given, but process.terminal is not set")
        }
    }

    static func absolute(_ path: String) throws(CommandError) -> String {
        guard let resolved = realpath(path, nil) else {
            throw CommandError("cannot use \(path): \(String(cString: strerror(errno)))")
        }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// - Returns: the started process; its state and pid file are written.
    func launch(in store: borrowing ContainerStore, gate: StartGate?) throws(CommandError) -> StartedProcess {
        let made = try NewCgroup.make(options.cgroups, id: id, spec, options.log)
        do throws(SystemError) {
            try made.cgroup?.delegate(spec)
        } catch {
            made.undo()
            throw CommandError("\(error)")
        }
        do throws(StartFailure) {
            let handle = if let cgroup = made.cgroup { try CgroupHandle(cgroup) } else { CgroupHandle() }
            options.log.debug("starting the container's first process")
            var process = try ContainerProcess.start(
                try description(handle.placement, gate),
                supervisor: SeccompAgent.named(by: spec.linux?.seccomp, context, status: "creating"))
            // It is the agent's alone: calls fail when that goes.
            _ = process.seccompListener.take()
            let state = ContainerState(
                id: id, pid: process.pid, startTicks: ProcessStatus(process.pid)?.startTicks ?? 0, bundle: bundle,
                cgroupPath: made.cgroup?.path ?? "", systemdUnit: made.scope?.unit, systemdSlice: made.scope?.slice,
                created: Clock.now(), noNewKeyring: flags.has("no-new-keyring"))
            do throws(CommandError) {
                try write(state, store, &process)
            } catch {
                ContainerProcess.abandon(process.pidfd.raw)
                throw StartFailure(stage: "state", errno: 0, message: error.message)
            }
            options.log.debug("the container's first process is \(process.pid)")
            return process
        } catch {
            made.undo()
            throw CommandError(error.message)
        }
    }

    private func description(_ placement: CgroupPlacement, _ gate: StartGate?) throws(StartFailure) -> ContainerLaunch {
        let process = spec.process ?? RuntimeSpec.Process()
        let size = ForegroundRelay.startSize(process.consoleSize, foreground: foreground)
        var launch = ContainerLaunch(
            spec: spec, bundle: bundle, cgroup: placement,
            stdio: process.terminal ?? false
                ? .terminal(width: size.width, height: size.height)
                : .descriptors(input: 0, output: 1, error: 2),
            preservedDescriptors: preserved, noPivot: flags.has("no-pivot"),
            noNewKeyring: flags.has("no-new-keyring"), createWorkingDirectory: true, gate: gate)
        let context = self.context
        launch.seccomp = try CompiledFilters.filter(for: spec.linux?.seccomp, options)
        guard let hooks = spec.hooks else { return launch }
        launch.hooks = context
        let early = (hooks.prestart ?? []) + (hooks.createRuntime ?? [])
        guard !early.isEmpty else { return launch }
        launch.prepared = { pid throws(StartFailure) in
            let document = context.document(pid: pid, status: "creating")
            try HookRunner.run(hooks.prestart, kind: "prestart", document: document)
            try HookRunner.run(hooks.createRuntime, kind: "createRuntime", document: document)
        }
        return launch
    }

    private var context: HookContext {
        HookContext(id: id, bundle: bundle, annotations: spec.annotations ?? [:])
    }

    private var preserved: Int32 {
        // LISTEN_FDS is systemd's socket activation (sd_listen_fds(3)): as with runc, those pass through.
        let listening = getenv("LISTEN_FDS").flatMap { Int32(String(cString: $0)) } ?? 0
        return (flags.value("preserve-fds").flatMap { Int32($0) } ?? 0) + max(0, listening)
    }

    private func write(
        _ state: ContainerState, _ store: borrowing ContainerStore, _ process: inout StartedProcess
    ) throws(CommandError) {
        do throws(SystemError) {
            try Files.write("\(store.directory)/\(ContainerStore.specName)", specBytes)
        } catch {
            throw CommandError("cannot keep the configuration: \(error)")
        }
        try store.write(state)
        try PidFile.write(process.pid, pidFile)
        if let path = consoleSocket, let terminal = process.terminal.take() {
            try LocalSocket.send(terminal.raw, to: path, payload: "/dev/ptmx")
        }
        if let path = pidfdSocket {
            try LocalSocket.send(process.pidfd.raw, to: path, payload: "pidfd")
        }
    }
}

enum PidFile {
    static func write(_ pid: pid_t, _ path: String?) throws(CommandError) {
        guard let path else { return }
        do throws(SystemError) {
            try Files.replace(path, with: Array(String(pid).utf8))
        } catch {
            throw CommandError("cannot write the pid file: \(error)")
        }
    }
}

/// The FIFOs between `create` and `start`.
enum Gate {
    struct Ends: ~Copyable {
        let command: FileDescriptor
        let status: FileDescriptor
    }

    /// Both are opened read-write, so that neither side waits for the other to open.
    static func make(in directory: String) throws(CommandError) -> Ends {
        do throws(SystemError) {
            let command = "\(directory)/\(ContainerStore.commandName)"
            let status = "\(directory)/\(ContainerStore.statusName)"
            try checked("mkfifo") { mkfifo(command, 0o600) }
            try checked("mkfifo") { mkfifo(status, 0o600) }
            return Ends(command: try FileDescriptor(command, O_RDWR), status: try FileDescriptor(status, O_RDWR))
        } catch {
            throw CommandError("cannot make the start gate: \(error)")
        }
    }

    /// Lets the container go on and waits until it has executed the user's program.
    static func open(in directory: String) throws(StartFailure) {
        let command = "\(directory)/\(ContainerStore.commandName)"
        let status = "\(directory)/\(ContainerStore.statusName)"
        let gate = try at("start", "cannot start the container") { () throws(SystemError) in
            // Reading first: when our byte arrives the other side may be gone in a moment.
            let reader = try FileDescriptor(status, O_RDONLY | O_NONBLOCK)
            let writer = try FileDescriptor(command, O_WRONLY | O_NONBLOCK)
            _ = fcntl(reader.raw, F_SETFL, 0)
            unlink(command)
            try checked("write") { Glibc.write(writer.raw, "0", 1) }
            return reader
        }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(gate.raw, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            if count <= 0 { break }
            bytes += buffer[..<count]
        }
        unlink(status)
        if let start = bytes.firstIndex(of: SetupMessage.failed.rawValue),
            let failure = StartFailure(packet: bytes[start...])
        {
            throw failure
        }
        if bytes.first != SetupMessage.executing.rawValue {
            throw StartFailure(stage: "start", errno: 0, message: "the container's process ended before its start")
        }
    }
}
