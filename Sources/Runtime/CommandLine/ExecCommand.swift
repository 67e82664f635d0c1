import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// exec: another process in a running container.
struct ExecCommand {
    let options: RuntimeCommandLine.GlobalOptions

    private static let valued: Set<String> = [
        "console-socket", "cwd", "env", "user", "additional-gids", "process", "pid-file", "process-label", "apparmor",
        "cap", "preserve-fds", "cgroup", "pidfd-socket",
    ]
    private static let boolean: Set<String> = ["tty", "detach", "no-new-privs", "ignore-paused", "no-subreaper"]
    private static let aliases = [
        "e": "env", "t": "tty", "u": "user", "g": "additional-gids", "p": "process", "d": "detach", "c": "cap",
    ]

    /// Whatever fails before the program runs ends with 255, so that callers can tell it from the program's own code.
    func run(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        do throws(CommandError) {
            return try execute(arguments)
        } catch {
            throw CommandError(error.message, exitCode: 255)
        }
    }

    private func execute(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let flags = try Flags(arguments, valued: Self.valued, boolean: Self.boolean, aliases: Self.aliases)
        let store = try ContainerStore.open(try flags.container(), root: options.root)
        let state = try store.readState()
        let status = state.status(in: store)
        guard let target = state.openProcess() else {
            throw CommandError("cannot exec in a stopped container")
        }
        if status == .paused && !flags.has("ignore-paused") {
            throw CommandError("cannot exec in a paused container (use --ignore-paused to override)")
        }
        let spec = try store.readSpec()
        var process = try self.process(flags, spec)
        if let sets = process.capabilities { process.capabilities = sets.grantable(options.log) }
        let terminal = process.terminal ?? false
        let detach = flags.has("detach")
        if terminal && detach && flags.value("console-socket") == nil {
            throw CommandError("cannot allocate a terminal for a detached process without --console-socket")
        }
        store.unlock()
        let relay = detach ? nil : ForegroundRelay()
        do throws(StartFailure) {
            let handle =
                if let cgroup = try cgroup(state, flags.value("cgroup")) { try CgroupHandle(cgroup) } else {
                    CgroupHandle()
                }
            let size = ForegroundRelay.startSize(process.consoleSize, foreground: !detach)
            var entry = ContainerEntry(
                process: process, spec: spec, target: target.raw, targetPid: state.pid, cgroup: handle.placement,
                stdio: terminal
                    ? .terminal(width: size.width, height: size.height)
                    : .descriptors(input: 0, output: 1, error: 2),
                preservedDescriptors: flags.value("preserve-fds").flatMap { Int32($0) } ?? 0,
                noNewKeyring: state.noNewKeyring)
            let context = HookContext(id: state.id, bundle: state.bundle, annotations: spec.annotations ?? [:])
            entry.seccomp = try CompiledFilters.filter(for: spec.linux?.seccomp, options)
            var started = try ContainerProcess.exec(
                entry, supervisor: SeccompAgent.named(by: spec.linux?.seccomp, context, status: status.rawValue))
            _ = started.seccompListener.take()
            do throws(CommandError) {
                try PidFile.write(started.pid, flags.value("pid-file"))
                if let path = flags.value("console-socket"), let terminal = started.terminal.take() {
                    try LocalSocket.send(terminal.raw, to: path, payload: "/dev/ptmx")
                }
                if let path = flags.value("pidfd-socket") {
                    try LocalSocket.send(started.pidfd.raw, to: path, payload: "pidfd")
                }
                guard let relay else { return 0 }
                return try relay.run(pidfd: started.pidfd.raw, terminal: started.terminal.take()).code
            } catch {
                ContainerProcess.abandon(started.pidfd.raw)
                throw StartFailure(stage: "exec", errno: 0, message: error.message)
            }
        } catch {
            throw CommandError("exec failed: \(error.message)")
        }
    }

    private func cgroup(_ state: ContainerState, _ below: String?) throws(StartFailure) -> ContainerCgroup? {
        if state.cgroupPath.isEmpty { return nil }
        do throws(CgroupError) {
            var path = state.cgroupPath
            // runc's form: CONTROLLERS:PATH or PATH, below the container's own.
            if let below, let part = below.split(byte: ":").last {
                guard !part.split(byte: "/").contains("..") else {
                    throw CgroupError("--cgroup \(below) leaves the container's cgroup", errno: EINVAL)
                }
                path += "/" + part.split(byte: "/").joined(separator: "/")
            }
            return try ContainerCgroup(layout: try CgroupLayout.detect(), path: path)
        } catch {
            throw StartFailure(stage: "cgroup", errno: error.errno, message: error.message)
        }
    }

    /// From `--process`, or the container's own process with what the flags change.
    private func process(_ flags: Flags, _ spec: RuntimeSpec) throws(CommandError) -> RuntimeSpec.Process {
        if let path = flags.value("process") {
            guard let bytes = Files.read(path) else {
                throw CommandError("cannot read \(path): \(String(cString: strerror(errno)))")
            }
            do {
                return try JSONDecoder().decode(RuntimeSpec.Process.self, from: Data(bytes))
            } catch {
                throw CommandError("\(path) does not describe a process: \(error)")
            }
        }
        guard var process = spec.process, flags.rest.count > 1 else {
            throw CommandError("exec needs a command to run")
        }
        process.args = Array(flags.rest.dropFirst())
        process.terminal = flags.has("tty")
        process.consoleSize = nil
        process.oomScoreAdj = nil
        if let cwd = flags.value("cwd") { process.cwd = cwd }
        for variable in flags.values["env"] ?? [] {
            let name = variable.prefix { $0 != "=" } + "="
            process.env = (process.env ?? []).filter { !$0.hasPrefix(name) } + [variable]
        }
        if let user = flags.value("user") {
            let parts = user.split(byte: ":").map { UInt32($0) }
            guard let uid = parts.first ?? nil, parts.count < 3, let gid = parts.count > 1 ? parts[1] : process.user.gid
            else { throw CommandError("--user takes UID[:GID] in numbers, not \(user)") }
            process.user.uid = uid
            process.user.gid = gid
        }
        for text in flags.values["additional-gids"] ?? [] {
            guard let gid = UInt32(text) else { throw CommandError("--additional-gids takes numbers, not \(text)") }
            process.user.additionalGids = (process.user.additionalGids ?? []) + [gid]
        }
        if flags.has("no-new-privs") { process.noNewPrivileges = true }
        if let profile = flags.value("apparmor") { process.apparmorProfile = profile }
        if let label = flags.value("process-label") { process.selinuxLabel = label }
        if let names = flags.values["cap"] {
            var sets = process.capabilities ?? RuntimeSpec.Capabilities()
            sets.bounding = (sets.bounding ?? []) + names
            sets.effective = (sets.effective ?? []) + names
            sets.permitted = (sets.permitted ?? []) + names
            process.capabilities = sets
        }
        return process
    }
}
