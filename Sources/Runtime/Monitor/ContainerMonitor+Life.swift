import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

extension ContainerMonitor {
    /// Makes the cgroup and starts the container. What was made is undone when it fails.
    /// - Parameter root: the detached mount of its layers; nil: it is made here.
    /// - Returns: the host pid of the container's first process.
    func start(root: consuming FileDescriptor?) throws(StartFailure) -> Int32 {
        guard state == .ready, let spec = spec.take() else {
            throw StartFailure(stage: "start", errno: EALREADY, message: "the container was started before")
        }
        var descriptors = DescriptorSet()
        var mountedOverlay: Int32?
        if let root { mountedOverlay = descriptors.adopt(root) }
        // The container holds what it needs of them by then; its first process closes all that it inherits.
        defer {
            supplies = MonitorSupplies()
            descriptors = DescriptorSet()
        }
        do throws(StartFailure) {
            let cgroup = try makeCgroup(spec.linux?.resources)
            do throws(StartFailure) {
                try at("cgroup", "cannot delegate the cgroup") { () throws(SystemError) in try cgroup.delegate(spec) }
                try launch(spec, cgroup, mountedOverlay)
            } catch {
                try? cgroup.kill()
                try? cgroup.remove()
                throw error
            }
        } catch {
            state = .exited
            streams.output.finish()
            commit(ExitRecord(failure: error, at: MonitorClock.realtime()))
            throw error
        }
        return container?.pid ?? 0
    }

    private func makeCgroup(_ resources: RuntimeSpec.Resources?) throws(StartFailure) -> ContainerCgroup {
        do {
            let layout = if let known = supplies.cgroups { known } else { try CgroupLayout.detect() }
            let cgroup = try ContainerCgroup(layout: layout, path: document.cgroupPath)
            // The daemon has told its client what cannot be enforced here, before it asked for the start.
            let warnings = try cgroup.create(resources, deviceProgram: supplies.deviceProgram)
            for warning in warnings { Monitor.complain(warning) }
            return cgroup
        } catch {
            throw StartFailure(stage: "cgroup", errno: error.errno, message: error.message)
        }
    }

    private func launch(
        _ spec: RuntimeSpec, _ cgroup: ContainerCgroup, _ mountedOverlay: Int32?
    ) throws(StartFailure) {
        let handle = try CgroupHandle(cgroup)
        let stdio = try at("stdio", "cannot make the standard streams") { () throws(SystemError) in
            try streams.prepare()
        }
        // Where the pid namespace is shared, the orphans of a container without reaper come to the monitor.
        let pids = spec.linux?.namespaces?.first { $0.type == "pid" }
        let sharesPids = pids == nil || pids?.path?.isEmpty == false
        if sharesPids { try? Process.becomeSubreaper() }
        startedAt = MonitorClock.realtime()
        let filter = try seccompFilter()
        var launch = ContainerLaunch(
            spec: supplies.joiningNetwork(spec), bundle: bundle, overlay: document.overlay,
            cgroup: handle.placement, stdio: stdio, seccomp: filter, reaper: document.reaper,
            identity: IdentityRequest(document.user, document.groups), createWorkingDirectory: true,
            mapsFiles: true, confinesReaper: document.confinesReaper ?? false)
        launch.mountedOverlay = mountedOverlay
        var started = try ContainerProcess.start(launch, supervisor: seccompSupervisor)
        // The start looks at relative paths from the bundle.
        chdir("/")
        var terminal = started.terminal.take()
        let listener = started.seccompListener.take()
        let container = RunningContainer(started, cgroup: cgroup, sharesPids: sharesPids)
        self.container = container
        state = .running
        try watch(listener)
        try at("monitor", "cannot watch the container") { () throws(SystemError) in
            try streams.begin(terminal: terminal.take())
            endToken = try loop.watch(container.pidDescriptor, .readable) { _ in self.processEnded() }
            if container.memoryDescriptor >= 0 {
                memoryToken = try loop.watch(container.memoryDescriptor, .readable) { _ in self.memoryRanOut() }
            }
        }
    }

    /// Milliseconds within which a container that has ended is a short one.
    private static let shortLife: Int32 = 5

    /// The container runs: what the monitor still has to do takes hardly a privilege, and it does it with what the
    /// container says. The entrance keeps those that further processes take.
    func confine() {
        guard let container else { return }
        // Many containers run one short command, and the wall would be most of what they wait for at their end. Nothing of
        // theirs is looked at meanwhile: by then they have ended, or it stands.
        var end = pollfd(fd: container.pidDescriptor, events: Int16(POLLIN), revents: 0)
        if poll(&end, 1, ContainerMonitor.shortLife) > 0 { return }
        // What the start has left goes now: the two processes would each keep a copy.
        Scratch.trim()
        do throws(SystemError) {
            entrance = try ContainerEntrance(
                to: container, bundle: bundle, id: document.id, seccompProgram: document.seccompProgram)
            container.prepareForConfinement()
            let written = [document.log?.path, document.seccompProgram?.auditPath].compactMap { $0 }
            try Confinement.confineMonitor(
                Confinement.Places(
                    writable: [bundle] + written.map(Confinement.parent), cgroups: container.cgroupDirectories),
                forwards: document.log?.destination != nil)
        } catch {
            Monitor.complain("cannot give up what is not needed: \(error)")
        }
    }

    /// The filter's bytes, read when they are needed; for an audit, one that asks instead of refusing.
    func seccompFilter() throws(StartFailure) -> SeccompFilter? {
        guard let program = document.seccompProgram else { return nil }
        let filter = SeccompFilter(program: try Bundle.read(program.path), flags: program.flags)
        guard let path = program.auditPath else { return filter }
        if audit == nil { audit = SeccompAudit(loop: loop, enforced: filter, path: path) }
        return filter.auditing
    }

    /// Who answers what the filter asks; to be called after ``seccompFilter()``.
    var seccompSupervisor: (any SeccompSupervisor)? {
        if let audit { return audit }
        guard let program = document.seccompProgram, let path = program.listenerPath else { return nil }
        let context = HookContext(id: document.id, bundle: bundle, annotations: [:])
        return SeccompAgent(path: path, metadata: program.listenerMetadata, context: context)
    }

    private func watch(_ listener: consuming FileDescriptor?) throws(StartFailure) {
        if let audit, let listener = consume listener { try audit.watch(listener) }
    }

    private func memoryRanOut() {
        if container?.checkMemory() == true { broadcast(.outOfMemory) }
    }

    // MARK: - The end

    private func processEnded() {
        guard let container, let status = container.wait() else { return }
        exitStatus = status
        finishedAt = MonitorClock.realtime()
        state = .exited
        loop.remove(endToken)
        // Whatever is left belongs to the container and goes with it.
        container.killAll()
        for session in execs.values { session.containerEnded() }
        if container.sharesPids {
            // Orphans that came to us.
            streams.output.ended = { self.containerEnded() }
            _ = loop.after(ExecSession.drainTime) { self.containerEnded() }
        }
        streams.processEnded()
        // In a pid namespace of its own nothing outlives PID 1: what was printed has been read.
        if !container.sharesPids { containerEnded() }
    }

    private func containerEnded() {
        guard let status = exitStatus.take(), let container else { return }
        loop.remove(memoryToken)
        streams.output.finish()
        // v1 notifies before it kills, so this is where the count is final.
        if container.checkMemory() { broadcast(.outOfMemory) }
        var result = ExitRecord(status, startedAt: startedAt, finishedAt: finishedAt)
        result.oomKilled = container.oomKills > 0
        result.oomVictims = container.oomVictims
        audit?.save()
        commit(result)
        broadcast(.exited(result))
        while waitpid(-1, nil, WNOHANG) > 0 {}
        do {
            try container.cgroup.remove()
        } catch {
            Monitor.complain(error.message)
        }
        leave()
    }

    private func commit(_ result: ExitRecord) {
        guard let record = record.take() else { return }
        do {
            try record.commit(result)
        } catch {
            Monitor.complain("the container's exit record is lost: \(error)")
        }
    }
}

extension IdentityRequest {
    /// nil where the process's numeric user is used as it is.
    init?(_ user: String?, _ groups: [String]?) {
        if user == nil, groups?.isEmpty ?? true { return nil }
        self.init(user: user, groups: groups ?? [])
    }
}

extension ExitRecord {
    /// A container that never ran; codes as docker's: 127 for a command that is not there, 126 for one that can't be
    /// executed, 128 for everything else.
    init(failure: StartFailure, at time: Int64) {
        let code: Int32 = failure.stage == "exec" ? (failure.errno == ENOENT ? 127 : 126) : 128
        self.init(exitCode: code, signal: 0, oomKilled: false, startedAt: 0, finishedAt: time, failure: failure)
    }
}
