import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// create, start, run, kill, delete.
struct LifecycleCommands {
    let options: RuntimeCommandLine.GlobalOptions

    private static let createValued: Set<String> = [
        "bundle", "config", "console-socket", "pid-file", "preserve-fds", "pidfd-socket",
    ]
    private static let createBoolean: Set<String> = ["no-pivot", "no-new-keyring", "detach", "keep", "no-subreaper"]
    private static let createAliases = ["b": "bundle", "d": "detach", "f": "config"]

    func create(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let flags = try Flags(
            arguments, valued: Self.createValued, boolean: Self.createBoolean, aliases: Self.createAliases)
        let store = try ContainerStore.create(try flags.container(), root: options.root)
        do throws(CommandError) {
            let session = try CreateSession(store.id, flags, options)
            let gate = try Gate.make(in: store.directory)
            _ = try session.launch(in: store, gate: StartGate(command: gate.command.raw, status: gate.status.raw))
        } catch {
            store.remove()
            throw error
        }
        return 0
    }

    func start(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let flags = try Flags(arguments, valued: [], boolean: [])
        let store = try ContainerStore.open(try flags.container(), root: options.root)
        let state = try store.readState()
        let status = state.status(in: store)
        guard status == .created else {
            throw CommandError("cannot start a container in the \(status.rawValue) state")
        }
        do throws(StartFailure) {
            try Gate.open(in: store.directory)
        } catch {
            throw CommandError(error.message)
        }
        let spec = try store.readSpec()
        try runHooks(spec.hooks?.poststart, "poststart", state, "running", spec)
        return 0
    }

    func run(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let flags = try Flags(
            arguments, valued: Self.createValued, boolean: Self.createBoolean, aliases: Self.createAliases)
        let store = try ContainerStore.create(try flags.container(), root: options.root)
        let detach = flags.has("detach")
        let keep = flags.has("keep")
        let code: Int32
        do throws(CommandError) {
            let session = try CreateSession(store.id, flags, options, foreground: !detach)
            // Signals meanwhile are for the container: they wait until it can get them.
            let relay = detach ? nil : ForegroundRelay()
            var process = try session.launch(in: store, gate: nil)
            let state = try store.readState()
            try runHooks(session.spec.hooks?.poststart, "poststart", state, "running", session.spec)
            if detach { return 0 }
            store.unlock()
            code = try relay!.run(pidfd: process.pidfd.raw, terminal: process.terminal.take()).code
            if keep { return code }
            try destroy(store, state, session.spec)
        } catch {
            // A container that was started but failed later is killed with its cgroup.
            if let state = try? store.readState() {
                try? terminate(state)
                try? destroy(store, state, nil)
            }
            store.remove()
            throw error
        }
        return code
    }

    func kill(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let flags = try Flags(arguments, valued: [], boolean: ["all"], aliases: ["a": "all"])
        let store = try ContainerStore.open(try flags.container(), root: options.root)
        // runc takes --all after the id, too.
        let words = flags.rest.dropFirst().filter { $0 != "--all" && $0 != "-a" }
        let all = flags.has("all") || words.count < flags.rest.count - 1
        let name = words.first ?? "SIGTERM"
        guard let number = Signals.number(name) else { throw CommandError("unknown signal \(name)") }
        let state = try store.readState()
        if all {
            let cgroup = try state.cgroup()
            do throws(CgroupError) {
                if number == SIGKILL {
                    try cgroup.kill()
                } else {
                    for pid in try cgroup.processes() { Glibc.kill(pid, number) }
                }
            } catch {
                throw CommandError(error.message)
            }
            return 0
        }
        // Without a pid namespace of its own nothing else ends what the first process started.
        let spec = try? store.readSpec()
        let isolated = spec?.linux?.namespaces?.contains { $0.type == "pid" && ($0.path ?? "").isEmpty } ?? true
        let cgroup = number == SIGKILL && !isolated ? try? state.cgroup() : nil
        guard let process = state.openProcess() else {
            if let cgroup, let left = try? cgroup.processes(), !left.isEmpty, (try? cgroup.kill()) != nil { return 0 }
            throw CommandError("container not running")
        }
        do throws(SystemError) {
            try LinuxKernel.Process.signal(pidfd: process.raw, number)
            try? cgroup?.kill()
        } catch {
            throw CommandError("cannot signal the container: \(error)")
        }
        return 0
    }

    func delete(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let flags = try Flags(arguments, valued: [], boolean: ["force"], aliases: ["f": "force"])
        let id = try flags.container()
        let force = flags.has("force")
        try ContainerStore.validate(id)
        if access("\(options.root)/\(id)/\(ContainerStore.stateName)", F_OK) < 0 {
            // Half-made by a runtime that died: its directory alone is left.
            rmdirContents("\(options.root)/\(id)")
            if force { return 0 }
        }
        let store = try ContainerStore.open(id, root: options.root)
        let state = try store.readState()
        let status = state.status(in: store)
        guard force || status == .stopped || status == .created else {
            throw CommandError("cannot delete container \(id) that is not stopped: \(status.rawValue)")
        }
        if status != .stopped { try terminate(state) }
        try destroy(store, state, nil)
        return 0
    }

    private func rmdirContents(_ directory: String) {
        for name in [ContainerStore.specName, ContainerStore.commandName, ContainerStore.statusName] {
            unlink("\(directory)/\(name)")
        }
        rmdir(directory)
    }

    /// SIGKILL, and waits until it has ended.
    private func terminate(_ state: ContainerState) throws(CommandError) {
        guard let process = state.openProcess() else { return }
        if let cgroup = try? state.cgroup(), cgroup.isFrozen { try? cgroup.thaw() }
        try? LinuxKernel.Process.signal(pidfd: process.raw, SIGKILL)
        var descriptor = pollfd(fd: process.raw, events: Int16(POLLIN), revents: 0)
        guard poll(&descriptor, 1, 10_000) > 0 else {
            throw CommandError("the container's process \(state.pid) did not end within 10 s of SIGKILL")
        }
    }

    private func destroy(
        _ store: borrowing ContainerStore, _ state: ContainerState, _ known: RuntimeSpec?
    ) throws(CommandError) {
        let spec = if let known { known } else { try store.readSpec() }
        if !state.cgroupPath.isEmpty {
            let cgroup = try state.cgroup()
            try? cgroup.kill()
            // systemd removes the group of a scope that it stops; what it leaves, or has no part in, goes here.
            try state.scope?.stop()
            do throws(CgroupError) { try cgroup.remove() } catch { throw CommandError(error.message) }
        }
        store.remove()
        // One that fails neither fails the command nor stops those after it (runtime-spec runtime.md, "Lifecycle").
        for hook in spec.hooks?.poststop ?? [] {
            do throws(CommandError) {
                try runHooks([hook], "poststop", state, "stopped", spec)
            } catch {
                options.log.warning(error.message)
            }
        }
    }

    private func runHooks(
        _ hooks: [RuntimeSpec.Hook]?, _ kind: String, _ state: ContainerState, _ status: String, _ spec: RuntimeSpec
    ) throws(CommandError) {
        guard let hooks, !hooks.isEmpty else { return }
        let context = HookContext(id: state.id, bundle: state.bundle, annotations: spec.annotations ?? [:])
        do throws(StartFailure) {
            try HookRunner.run(
                hooks, kind: kind, document: context.document(pid: status == "stopped" ? 0 : state.pid, status: status))
        } catch {
            throw CommandError(error.message)
        }
    }
}

/// Signal names and numbers (signal(7)).
enum Signals {
    private static let names = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ]

    /// A number (0 only asks whether the process is there), or a name with or without `SIG`.
    static func number(_ text: String) -> Int32? {
        if let number = Int32(text) { return (0...64).contains(number) ? number : nil }
        var name = text.uppercased()
        if name.hasPrefix("SIG") { name.removeFirst(3) }
        if let index = names.firstIndex(of: name) { return Int32(index + 1) }
        if name == "IOT" { return SIGABRT }
        if name == "POLL" { return SIGIO }
        if name.hasPrefix("RTMIN") { return Int32(name.dropFirst(6)).map { 34 + $0 } ?? (name == "RTMIN" ? 34 : nil) }
        if name.hasPrefix("RTMAX") { return Int32(name.dropFirst(6)).map { 64 - $0 } ?? (name == "RTMAX" ? 64 : nil) }
        return nil
    }
}
