import Glibc
import LinuxKernel
import MonitorProtocol

/// `mycontainer-runtime zygote`: forks monitors; see ``ZygoteClient`` for the other side.
///
/// It is single-threaded, so that a fork of it may go on running Swift, and has done beforehand what every monitor would
/// pay for again: the first decoding of JSON alone costs a fresh process more than a fork. It never sees a container's
/// documents itself, its children read their own; so no container's reaper, which is a copy of a monitor, holds
/// anything of another container.
public enum Zygote {
    /// Serves requests from `socket` until the daemon closes it.
    /// - Returns: the exit code.
    public static func run(socket: consuming FileDescriptor) -> Int32 {
        let channel = MonitorChannel(adopting: socket)
        // Sockets of the daemon's clients that were not close-on-exec would never see their end while we hold them.
        try? Process.closeDescriptors(from: channel.rawDescriptor + 1)
        signal(SIGPIPE, SIG_IGN)
        // Monitors outlive us and nobody waits for them: the kernel reaps them.
        signal(SIGCHLD, SIG_IGN)
        chdir("/")
        ProcessTitle.set(name: "mycontainer-zyg")
        let supplies = MonitorSupplies.made()
        Rehearsal.run(supplies.cgroups)
        Scratch.trim()
        Confinement.prepare()
        Memory.fillHoles()
        while true {
            do throws(ChannelError) {
                var packet = try channel.receive(ZygoteRequest.self)
                switch packet.message {
                case .monitor(let bundle):
                    guard let end = packet.takeDescriptor() else {
                        try channel.send(refusal(EBADF, "the request came without a descriptor"))
                        continue
                    }
                    try channel.send(fork(bundle, end, supplies))
                case .spare: try forkSpare(supplies, channel)
                case .emptyNetwork: try makeNetwork(channel)
                case .networkNamespace(let path, let owner):
                    try openNetworkNamespace(path, owner, channel)
                }
            } catch {
                // The daemon has gone, or is of another version than we are: it waits for an answer, and executes
                // monitors when there is nobody to give one.
                return 0
            }
        }
    }

    private static func fork(
        _ bundle: String, _ end: consuming FileDescriptor, _ supplies: MonitorSupplies
    ) -> ZygoteReply {
        do throws(SystemError) {
            switch try Process.clone([]) {
            case .child:
                // A monitor that held the zygote's channel would hide the zygote's end from the daemon.
                if end.raw != MonitorProtocol.inheritedSocket { close(MonitorProtocol.inheritedSocket) }
                Monitor.settle()
                exit(Monitor.run(bundle: bundle, socket: end, supplies: supplies, hasLog: false))
            case .parent(let pid, let pidfd):
                _ = consume pidfd
                return .started(pid: pid)
            }
        } catch {
            return refusal(error.errno, "cannot fork a monitor: \(error)")
        }
    }

    private static func forkSpare(
        _ supplies: MonitorSupplies, _ channel: borrowing MonitorChannel
    ) throws(ChannelError) {
        let spare: (pid: Int32, channel: Int32)
        do throws(SystemError) {
            spare = try SpareMonitorProcess.fork(supplies)
        } catch {
            return try channel.send(refusal(error.errno, "cannot fork a monitor: \(error)"))
        }
        // It ends with the daemon's copy of this end.
        let end = FileDescriptor(owning: spare.channel)
        try channel.send(ZygoteReply.started(pid: spare.pid), descriptor: end.raw)
    }

    private static func makeNetwork(_ channel: borrowing MonitorChannel) throws(ChannelError) {
        let namespace: FileDescriptor
        do throws(SystemError) {
            namespace = try NetworkNamespace.make()
        } catch {
            return try channel.send(refusal(error.errno, "cannot make a network namespace: \(error)"))
        }
        try channel.send(ZygoteReply.descriptor(.namespace), descriptor: namespace.raw)
    }

    private static func refusal(_ errno: Int32, _ message: String) -> ZygoteReply {
        .failed(StartFailure(stage: "zygote", errno: errno, message: message))
    }

    /// Answers with descriptors of the namespace, which are closed again here before anything else is forked.
    private static func openNetworkNamespace(
        _ path: String?, _ owner: NamespaceOwner?, _ channel: borrowing MonitorChannel
    ) throws(ChannelError) {
        let descriptors: NetworkNamespaceDescriptors
        do throws(StartFailure) {
            descriptors = try NetworkNamespace.open(path, owner: owner)
        } catch {
            return try channel.send(ZygoteReply.failed(error))
        }
        try descriptors.send(over: channel)
    }
}
