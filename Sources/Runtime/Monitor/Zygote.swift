import Glibc
import LinuxKernel
import MonitorProtocol

/// `mycontainer-runtime zygote`: forks monitors; see ``ZygoteClient`` for the other side.
///
/// One monitor is forked ahead and waits for its container (``SpareMonitor``). What is kept ready is made when the daemon
/// says that there is time: right after a fork, the scheduler would let the child wait for it.
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
        Rehearsal.run()
        Scratch.trim()
        Confinement.prepare()
        var supplies = MonitorSupplies.made()
        supplies.refill()
        Memory.fillHoles()
        var spare: SpareMonitor?
        var hasTime = true
        while true {
            do throws(ChannelError) {
                // Whoever waits goes first.
                if hasTime && !channel.hasPacket {
                    if supplies.refill() { continue }
                    if spare == nil { spare = SpareMonitor.fork(supplies.withoutNetwork) }
                    hasTime = false
                    continue
                }
                var packet = try channel.receive(ZygoteRequest.self)
                switch packet.message {
                case .prepare: hasTime = true
                case .monitor(let bundle, let ownNetwork):
                    guard let end = packet.takeDescriptor() else {
                        try channel.send(
                            ZygoteReply.failed(
                                StartFailure(
                                    stage: "zygote", errno: EBADF, message: "the request came without a descriptor")))
                        continue
                    }
                    // A namespace is one container's: this one has it, or nobody.
                    let own = ownNetwork ? supplies.withNetwork() : supplies.withoutNetwork
                    if let spare = spare.take(), spare.run(bundle, end, own) {
                        try channel.send(ZygoteReply.started(pid: spare.pid))
                    } else {
                        try channel.send(fork(bundle, end, own))
                    }
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
            return .failed(
                StartFailure(stage: "zygote", errno: error.errno, message: "cannot fork a monitor: \(error)"))
        }
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
