import EngineAPI
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

extension Engine {
    /// Execs that ended and may still be inspected, in each container.
    private static let rememberedExecs = 64
    /// Execs of one container that exist at the same time.
    private static let maximumExecs = 1024

    /// Returns the exec's id.
    public func createExec(_ id: String, _ request: ExecCreateRequest) async throws -> String {
        let container = try registry.resolve(id)
        return try await perform {
            let record = container.record
            try Engine.checkRunning(record)
            guard let command = request.cmd, !command.isEmpty else {
                throw EngineError.invalid("No exec command specified")
            }
            for entry in request.env ?? [] where entry.isEmpty || entry.hasPrefix(bytes: "=") {
                throw EngineError.invalid("invalid environment variable: \(entry)")
            }
            for text in command + (request.env ?? []) + [request.workingDir, request.user] where text.utf8.contains(0) {
                throw EngineError.invalid("invalid exec configuration: there is a NUL byte in it")
            }
            container.forgetExecs(but: Engine.rememberedExecs)
            guard container.execs.count < Engine.maximumExecs else {
                throw EngineError.conflict(
                    "container \(record.id) has \(Engine.maximumExecs) execs that were not started or have not ended")
            }
            let exec = ExecSession(id: Identifier.random(), containerID: record.id, request: request)
            container.add(exec)
            self.post(record, "exec_create: " + exec.commandLine, extra: ["execID": exec.id])
            return exec.id
        }
    }

    private static func checkRunning(_ record: ContainerRecord) throws {
        if record.lifecycle.isPaused {
            throw EngineError.conflict("Container \(record.id) is paused, unpause the container before exec")
        }
        if record.lifecycle.isRestarting {
            throw EngineError.conflict("container \(record.id) is restarting, wait until the container is running")
        }
        guard record.lifecycle.run != nil else {
            throw EngineError.conflict("container \(record.id) is not running")
        }
    }

    private func exec(_ id: String) throws -> (Container, ExecSession) {
        for container in registry.all {
            if let exec = container.execs[id] { return (container, exec) }
        }
        throw EngineError.notFound("No such exec instance: \(id)")
    }

    /// `size` is columns and rows of the terminal. nil when `detach`.
    public func startExec(
        _ id: String, detach: Bool, tty: Bool, size: (width: UInt16, height: UInt16)?
    ) async throws -> Attachment? {
        let (container, exec) = try exec(id)
        return try await perform {
            try Engine.checkRunning(container.record)
            guard let run = container.activeRun else {
                throw EngineError.conflict("container \(container.id) is not running")
            }
            guard exec.begin() else {
                throw EngineError.conflict("exec command \(id) has already run or is running")
            }
            let own: OwnedDescriptor?
            do {
                let request = try self.monitorExec(container.record, exec, detach: detach, size: size)
                own = try await self.start(exec, request, detach: detach, in: container, run.monitor)
            } catch {
                let failure = error as? StartFailure
                // It may have ended with its container instead.
                if exec.isRunning {
                    exec.ended(exitCode: failure?.stage == "exec" && failure?.errno == ENOENT ? 127 : 126)
                }
                throw failure.map(EngineError.init) ?? error
            }
            if detach { return nil }
            return Attachment(descriptor: own, isTerminal: exec.request.tty) {
                self.post(container.record, "exec_detach", extra: ["execID": exec.id])
            }
        }
    }

    /// Has the monitor start it.
    ///
    /// - Returns: this side of its streams, nil when `detach`.
    private func start(
        _ exec: ExecSession, _ request: MonitorRequest.Exec, detach: Bool, in container: Container,
        _ monitor: MonitorClient
    ) async throws -> OwnedDescriptor? {
        var own: OwnedDescriptor?
        let sequence: UInt64
        if detach {
            sequence = try monitor.send(.exec(request))
        } else {
            let (mine, other) = try StreamPair.make()
            own = mine
            sequence = try monitor.send(.exec(request), descriptor: other.raw)
            withExtendedLifetime(other) {}
        }
        post(container.record, "exec_start: " + exec.commandLine, extra: ["execID": exec.id])
        switch try await monitor.reply(to: sequence).body {
        case .started(let pid, _): exec.started(pid: pid)
        case .failed(let failure): throw failure
        default: throw EngineError.internal("the container's monitor gave an answer that makes no sense")
        }
        return own
    }

    func monitorExec(
        _ record: ContainerRecord, _ exec: ExecSession, detach: Bool, size: (width: UInt16, height: UInt16)?,
        check: MonitorRequest.Check? = nil
    ) throws -> MonitorRequest.Exec {
        let request = exec.request
        var process = RuntimeSpec.Process()
        process.terminal = request.tty
        process.args = request.cmd
        let base = SpecGenerator.environment(
            record.config.env ?? [], hostname: record.config.hostname, terminal: request.tty)
        process.env = SpecGenerator.merge(environment: base, with: request.env ?? [])
        process.cwd =
            !request.workingDir.isEmpty
            ? request.workingDir : record.config.workingDir.isEmpty ? "/" : record.config.workingDir
        if let size {
            process.consoleSize = RuntimeSpec.ConsoleSize(height: UInt(size.height), width: UInt(size.width))
        } else if let asked = request.consoleSize, asked.count == 2 {
            process.consoleSize = RuntimeSpec.ConsoleSize(height: asked[0], width: asked[1])
        }
        let user = request.user.isEmpty ? record.config.user : request.user
        let host = record.hostConfig
        let privileged = request.privileged || host.privileged
        process.capabilities = try SpecGenerator.capabilities(
            add: host.capAdd ?? [], drop: host.capDrop ?? [], privileged: privileged, user: user)
        let security = try SecurityOptions(host.securityOpt ?? [])
        process.noNewPrivileges = security.noNewPrivileges
        // The container's, for a privileged exec too, as with dockerd.
        process.selinuxLabel = labels(of: record)?.process
        process.apparmorProfile = appArmor.profile(asked: security.appArmorProfile, privileged: host.privileged)
        process.rlimits = try SpecGenerator.rlimits(host.ulimits ?? [])
        process.oomScoreAdj = host.oomScoreAdj
        return MonitorRequest.Exec(
            id: exec.id, process: process,
            attach: MonitorRequest.Attach(
                stdin: !detach && request.attachStdin, stdout: !detach && request.attachStdout,
                stderr: !detach && request.attachStderr),
            user: user.isEmpty ? "0" : user, groups: host.groupAdd,
            exitRecordPath: "\(paths.bundle(record.id))/exec-\(exec.id).json", unconfined: privileged, check: check)
    }

    func execExited(
        _ container: Container, _ id: String, _ record: ExitRecord, _ check: MonitorMessage.CheckOutcome?
    ) {
        guard let exec = container.execs[id] else { return }
        exec.ended(exitCode: record.exitCode, check: check)
        if check != nil { container.removeExec(id) }
        unlink("\(paths.bundle(container.id))/exec-\(id).json")
        post(container.record, "exec_die", extra: ["execID": id, "exitCode": String(record.exitCode)])
    }

    public func inspectExec(_ id: String) async throws -> ExecInspect {
        let (container, exec) = try exec(id)
        if exec.status == .running {
            // A client asks as soon as its stream has ended, which may be before the end is known here: whatever the
            // monitor said before its answer to this has arrived with it. One that doesn't answer ends with its container.
            do {
                guard let run = container.activeRun else { throw EngineError.conflict("the container has ended") }
                _ = try await run.monitor.request(.hello(version: MonitorProtocol.version))
            } catch {
                await exec.waitForEnd()
            }
        }
        var result = ExecInspect()
        result.id = exec.id
        result.running = exec.isRunning
        result.exitCode = exec.exitCode.map(Int.init)
        result.processConfig.tty = exec.request.tty
        result.processConfig.entrypoint = exec.request.cmd?.first ?? ""
        result.processConfig.arguments = Array((exec.request.cmd ?? []).dropFirst())
        result.processConfig.privileged = exec.request.privileged
        result.processConfig.user = exec.request.user
        result.openStdin = exec.request.attachStdin
        result.openStdout = exec.request.attachStdout
        result.openStderr = exec.request.attachStderr
        result.canRemove = exec.status == .ended
        result.containerID = container.id
        result.detachKeys = exec.request.detachKeys
        result.pid = Int(exec.pid)
        return result
    }

    public func resizeExec(_ id: String, width: UInt16, height: UInt16) async throws {
        let (container, exec) = try exec(id)
        try await perform {
            guard exec.isRunning, let run = container.activeRun else {
                throw EngineError.conflict("exec \(id) is not running")
            }
            try await run.monitor.request(.resize(exec: exec.id, width: width, height: height))
        }
    }
}
