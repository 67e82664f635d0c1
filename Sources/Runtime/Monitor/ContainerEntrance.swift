import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// Starts further processes in a container for its monitor, which has given up the privileges that takes.
///
/// It is a fork of the monitor from before, holds the host's privileges, and does nothing with them but enter this
/// container when it is asked to. It never sees what the container says. What it starts are the monitor's children
/// (CLONE_PARENT), which waits for them as ever. It ends with the monitor.
final class ContainerEntrance {
    /// monitor → entrance.
    private enum Request: Codable {
        /// One of the process's standard streams travels beside it, input first.
        case stream
        /// The process, with the streams that came or a terminal of this size.
        case exec(MonitorRequest.Exec, subgroup: String?, columns: UInt16, rows: UInt16)
    }

    /// entrance → monitor.
    private enum Reply: Codable {
        /// Beside it travels the terminal's master, and its other side.
        case terminal
        case terminalPeer
        /// Beside it travels the listener of its seccomp filter.
        case seccompListener
        /// Beside it travels a pidfd of the process.
        case started(pid: Int32)
        /// `pid` is to be waited for.
        case failed(StartFailure, pid: Int32?)
    }

    private let channel: MonitorChannel
    private let pid: pid_t

    /// Forks the entrance to `container`.
    init(
        to container: RunningContainer, bundle: String, id: String, seccompProgram: LaunchDocument.SeccompProgram?
    ) throws(SystemError) {
        let (own, other) = try MonitorChannel.pair().split { ($0.release().release(), $1.release().release()) }
        let side: Process.Side
        do throws(SystemError) {
            side = try Process.clone([])
        } catch {
            close(own)
            close(other)
            throw error
        }
        switch consume side {
        case .child:
            Server(container: container, bundle: bundle, id: id, seccompProgram: seccompProgram).run(other)
        case .parent(let pid, let pidfd):
            _ = consume pidfd
            close(other)
            channel = MonitorChannel(adopting: FileDescriptor(owning: own))
            self.pid = pid
        }
    }

    /// What was started: the process, a child of the caller's, and the other side of its terminal.
    struct Entered: ~Copyable {
        var process: StartedProcess
        var terminalPeer: FileDescriptor?
    }

    /// Starts a process; blocks until its program is executed.
    func exec(_ exec: MonitorRequest.Exec, stdio: Stdio, subgroup: String?) throws(StartFailure) -> Entered {
        do throws(ChannelError) {
            var size: (columns: UInt16, rows: UInt16) = (0, 0)
            switch stdio {
            case .descriptors(let input, let output, let error):
                for stream in [input, output, error] { try channel.send(Request.stream, descriptor: stream) }
            case .terminal(let width, let height): size = (width, height)
            }
            try channel.send(Request.exec(exec, subgroup: subgroup, columns: size.columns, rows: size.rows))
        } catch {
            throw ContainerEntrance.gone(error)
        }
        var terminal: FileDescriptor?
        var peer: FileDescriptor?
        var listener: FileDescriptor?
        while true {
            var reply: ReceivedMessage<Reply>
            do throws(ChannelError) {
                reply = try channel.receive(Reply.self)
            } catch {
                throw ContainerEntrance.gone(error)
            }
            switch reply.message {
            case .terminal: terminal = reply.takeDescriptor()
            case .terminalPeer: peer = reply.takeDescriptor()
            case .seccompListener: listener = reply.takeDescriptor()
            case .started(let pid):
                guard let pidfd = reply.takeDescriptor() else { throw ContainerEntrance.gone(.closed) }
                return Entered(
                    process: StartedProcess(
                        pid: pid, userPid: pid, pidfd: pidfd, root: nil, terminal: terminal, seccompListener: listener),
                    terminalPeer: peer)
            case .failed(let failure, let pid):
                if let pid { while waitpid(pid, nil, 0) < 0 && errno == EINTR {} }
                throw failure
            }
        }
    }

    private static func gone(_ error: ChannelError) -> StartFailure {
        StartFailure(
            stage: "exec", errno: 0, message: "the container's process that starts further ones has gone: \(error)")
    }

    /// Ends the entrance.
    func end() {
        channel.shutdown()
        while waitpid(pid, nil, 0) < 0 && errno == EINTR {}
    }

    // MARK: The other side

    private struct Server {
        let container: RunningContainer
        let bundle: String
        let id: String
        let seccompProgram: LaunchDocument.SeccompProgram?
        private static let socket: Int32 = 3
        private static let target: Int32 = 4

        /// Keeps the socket and the container's pidfd. Everything else is the monitor's: what it closes must be closed.
        func run(_ socket: Int32) -> Never {
            for (descriptor, number) in [(socket, Server.socket), (container.pidDescriptor, Server.target)].map({
                (fcntl($0.0, F_DUPFD_CLOEXEC, Server.target + 1), $0.1)
            }) where clinux_dup_to(descriptor, number) < 0 { _exit(1) }
            try? Process.closeDescriptors(from: Server.target + 1)
            ProcessTitle.set(name: "mycontainer-ent")
            let channel = MonitorChannel(adopting: FileDescriptor(owning: Server.socket))
            Memory.releaseStack()
            var streams: [Int32] = []
            while var packet = try? channel.receive(Request.self) {
                switch packet.message {
                case .stream:
                    if let stream = packet.takeDescriptor() { streams.append(stream.release()) }
                case .exec(let exec, let subgroup, let columns, let rows):
                    let stdio: Stdio =
                        streams.count == 3
                        ? .descriptors(input: streams[0], output: streams[1], error: streams[2])
                        : .terminal(width: columns, height: rows)
                    start(exec, stdio, subgroup, channel)
                    for stream in streams { close(stream) }
                    streams = []
                    Scratch.trim()
                }
            }
            _exit(0)
        }

        private func start(
            _ exec: MonitorRequest.Exec, _ stdio: Stdio, _ subgroup: String?, _ channel: borrowing MonitorChannel
        ) {
            var child: pid_t?
            do throws(StartFailure) {
                var started = try enter(exec, stdio, subgroup) { child = $0 }
                if let terminal = started.terminal.take() {
                    let peer = try at("console", "cannot open the terminal") { () throws(SystemError) in
                        FileDescriptor(
                            owning: try checked("ioctl") {
                                clinux_pty_peer(terminal.raw, O_RDWR | O_NOCTTY | O_CLOEXEC)
                            })
                    }
                    try? channel.send(Reply.terminal, descriptor: terminal.raw)
                    try? channel.send(Reply.terminalPeer, descriptor: peer.raw)
                }
                if let listener = started.seccompListener.take() {
                    try? channel.send(Reply.seccompListener, descriptor: listener.raw)
                }
                try? channel.send(Reply.started(pid: started.pid), descriptor: started.pidfd.raw)
            } catch {
                // Started or not, it must not run on unknown to anybody.
                if let child { kill(child, SIGKILL) }
                try? channel.send(Reply.failed(error, pid: child))
            }
        }

        private func enter(
            _ exec: MonitorRequest.Exec, _ stdio: Stdio, _ subgroup: String?, _ started: @escaping (pid_t) -> Void
        ) throws(StartFailure) -> StartedProcess {
            let spec = try Bundle.decode(RuntimeSpec.self, "\(bundle)/config.json")
            var filter = try seccompProgram.map { (program) throws(StartFailure) in
                SeccompFilter(program: try Bundle.read(program.path), flags: program.flags)
            }
            var supervisor: (any SeccompSupervisor)?
            if seccompProgram?.auditPath != nil {
                filter = filter?.auditing
                supervisor = SeccompPassage()
            } else if let program = seccompProgram, let path = program.listenerPath {
                let context = HookContext(id: id, bundle: bundle, annotations: spec.annotations ?? [:])
                supervisor = SeccompAgent(
                    path: path, metadata: program.listenerMetadata, context: context, status: "running")
            }
            return try container.exec(
                exec, spec: spec, stdio: stdio, seccomp: filter, subgroup: subgroup, target: Server.target,
                supervisor: supervisor, forParent: started)
        }
    }
}

/// Lets the calls of a process through that its filter asks about before its program runs: whoever audits takes over then.
private final class SeccompPassage: SeccompSupervisor {
    var answersItself: Bool { true }

    func begin(_ listener: Int32, pid: Int32) {}

    func answer(_ listener: Int32) {
        guard let notification = try? SeccompListener.receive(listener) else { return }
        SeccompListener.letThrough(notification, on: listener)
    }
}
