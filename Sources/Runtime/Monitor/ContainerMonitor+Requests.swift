import ContainerLog
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

extension ContainerMonitor {
    /// Carries one request out and answers it.
    func handle(_ request: MonitorRequest, _ descriptor: consuming FileDescriptor?, from connection: Connection) {
        do throws(StartFailure) {
            if connection.version == 0 {
                guard case .hello(let version) = request.body else {
                    throw StartFailure(stage: "protocol", errno: EPROTO, message: "the first request must be hello")
                }
                connection.version = try agree(version)
                return connection.reply(request.sequence, .hello(status(connection.version)))
            }
            switch request.body {
            case .hello:
                connection.reply(request.sequence, .hello(status(connection.version)))
            case .attach(let attach):
                let position = try self.attach(attach, descriptor)
                connection.reply(request.sequence, .attached(position))
            case .start:
                let pid = try start(root: descriptor)
                connection.reply(request.sequence, .started(pid: pid, startedAt: startedAt))
                confine()
            case .signal(let number):
                try signal(number)
                connection.reply(request.sequence, .done)
            case .resize(let exec, let width, let height):
                try resize(exec, width: width, height: height)
                connection.reply(request.sequence, .done)
            case .exec(let exec):
                let (pid, time) = try startExec(exec, descriptor)
                connection.reply(request.sequence, .started(pid: pid, startedAt: time))
            case .rootfs:
                guard let container, container.rootDescriptor >= 0 else {
                    throw StartFailure(stage: "rootfs", errno: 0, message: "the container does not run")
                }
                connection.reply(request.sequence, .rootfs, descriptor: container.rootDescriptor)
            case .abandon:
                guard state == .ready else {
                    throw StartFailure(
                        stage: "abandon", errno: EBUSY, message: "the container was started; stop it instead")
                }
                connection.reply(request.sequence, .done)
                abandon()
            }
        } catch {
            connection.reply(request.sequence, .failed(error))
            // A container that failed to start has been undone; its monitor has nothing left to do.
            if case .start = request.body, state == .exited { leave() }
        }
        trimSoon()
    }

    /// The version to speak: the lower of both, at least the one before ours.
    private func agree(_ version: Int) throws(StartFailure) -> Int {
        let common = min(version, MonitorProtocol.version)
        guard common >= max(1, MonitorProtocol.version - 1) else {
            throw StartFailure(
                stage: "protocol", errno: EPROTONOSUPPORT,
                message: "this container's monitor speaks version \(MonitorProtocol.version), not \(version)")
        }
        return common
    }

    private func status(_ version: Int) -> MonitorMessage.Status {
        MonitorMessage.Status(
            version: version, id: document.id, state: state, pid: container?.pid ?? 0,
            userPid: container?.userPid ?? 0, startedAt: startedAt, execs: execs.mapValues(\.pid))
    }

    private func attach(
        _ attach: MonitorRequest.Attach, _ descriptor: consuming FileDescriptor?
    ) throws(StartFailure) -> LogPosition? {
        guard state != .exited else {
            throw StartFailure(stage: "attach", errno: ESRCH, message: "the container has ended")
        }
        return streams.add(try client(attach, descriptor, framed: streams.output.framed))
    }

    func client(
        _ attach: MonitorRequest.Attach, _ descriptor: consuming FileDescriptor?, framed: Bool
    ) throws(StartFailure) -> AttachedClient {
        guard let socket = descriptor else {
            throw StartFailure(stage: "attach", errno: EBADF, message: "attach came without a descriptor")
        }
        let count = execs.values.reduce(streams.output.clients.count) { $0 + $1.streams.output.clients.count }
        guard count < ContainerMonitor.maximumClients else {
            throw StartFailure(
                stage: "attach", errno: EMFILE,
                message: "\(count) clients are attached to the container already: detach some first")
        }
        do {
            return try AttachedClient(loop: loop, socket: socket, attach: attach, framed: framed)
        } catch {
            throw StartFailure(stage: "attach", errno: error.errno, message: "cannot attach: \(error)")
        }
    }

    private func resize(_ exec: String?, width: UInt16, height: UInt16) throws(StartFailure) {
        guard let exec else { return try streams.resize(width: width, height: height) }
        guard let session = execs[exec] else {
            throw StartFailure(stage: "resize", errno: ESRCH, message: "exec \(exec) does not run")
        }
        try session.streams.resize(width: width, height: height)
    }

    private func signal(_ number: Int32) throws(StartFailure) {
        guard let container, state == .running else {
            throw StartFailure(stage: "signal", errno: ESRCH, message: "the container does not run")
        }
        do {
            try container.signal(number)
        } catch {
            throw StartFailure(
                stage: "signal", errno: error.errno, message: "cannot send signal \(number) to the container: \(error)")
        }
    }

    /// Starts a further process.
    private func startExec(
        _ exec: MonitorRequest.Exec, _ descriptor: consuming FileDescriptor?
    ) throws(StartFailure) -> (Int32, Int64) {
        guard let container, let entrance, state == .running else {
            throw StartFailure(stage: "exec", errno: ESRCH, message: "the container does not run")
        }
        try checkRoom(for: exec, container.cgroup)
        let terminal = exec.process.terminal ?? false
        let attached = descriptor != nil
        let output = Output(
            loop: loop, framed: !terminal, cutOffTime: document.streams.slowClientTimeout ?? Output.defaultCutOffTime)
        let size = exec.process.consoleSize
        let streams = ProcessStreams(
            loop: loop, output: output, terminal: terminal,
            size: (UInt16(clamping: size?.width ?? 0), UInt16(clamping: size?.height ?? 0)),
            openInput: attached && exec.attach.stdin, inputEndsWithClient: true,
            discardsOutput: exec.check == nil && !(attached && (exec.attach.stdout || exec.attach.stderr)))
        var record: ExitRecordFile? = try at("exec", "cannot prepare the exec") { () throws(SystemError) in
            try ExitRecordFile(path: exec.exitRecordPath)
        }
        let check = try exec.check.map { limits throws(StartFailure) in
            try HealthCheckProcess(loop: loop, limits: limits, id: exec.id, cgroup: container.cgroup, output: output)
        }
        let client = attached ? try self.client(exec.attach, descriptor, framed: !terminal) : nil
        if let client { _ = streams.add(client) }
        do throws(StartFailure) {
            let stdio = try at("stdio", "cannot make the standard streams") { () throws(SystemError) in
                try streams.prepare()
            }
            let time = MonitorClock.realtime()
            var entered: ContainerEntrance.Entered? = try entrance.exec(
                exec, stdio: stdio, subgroup: check?.group.name)
            if let audit, let listener = entered?.process.seccompListener.take() {
                try audit.watch(listener)
            }
            let session = try at("exec", "cannot watch the process") { () throws(SystemError) in
                var started = entered.take()!
                try streams.begin(terminal: started.process.terminal.take(), peer: started.terminalPeer.take())
                return try ExecSession(
                    loop: loop, id: exec.id, streams: streams, started: started.process, startedAt: time,
                    record: record.take()!)
            }
            execs[exec.id] = session
            session.finished = { record in self.execFinished(session, record, check) }
            check?.begin()
            return (session.pid, time)
        } catch {
            output.finish()
            check?.abandon()
            record.take()?.abandon()
            throw error
        }
    }

    private func checkRoom(for exec: MonitorRequest.Exec, _ cgroup: ContainerCgroup) throws(StartFailure) {
        guard execs[exec.id] == nil else {
            throw StartFailure(stage: "exec", errno: EEXIST, message: "exec \(exec.id) runs already")
        }
        // Its setup would be frozen too, and the monitor wait for it.
        guard !cgroup.isFrozen else {
            throw StartFailure(
                stage: "exec", errno: EBUSY, message: "the container is paused: unpause it before the exec")
        }
        guard execs.count < ContainerMonitor.maximumExecs else {
            throw StartFailure(
                stage: "exec", errno: EAGAIN, message: "\(execs.count) exec processes run in the container already")
        }
    }

    private func execFinished(_ session: ExecSession, _ record: ExitRecord, _ check: HealthCheckProcess?) {
        execs[session.id] = nil
        broadcast(.execExited(id: session.id, record, check: check?.finish()))
        let output = session.streams.output
        lingering.append(contentsOf: output.clients)
        output.clientClosed = {
            self.lingering.removeAll(where: \.closed)
            self.stopWhenFlushed()
        }
        trimSoon()
    }
}
