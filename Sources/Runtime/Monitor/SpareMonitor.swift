import Glibc
import LinuxKernel
import MonitorProtocol

/// A monitor that a zygote has forked before anybody asked for one. It waits for its container; until then it is a copy of
/// the zygote and no more. It ends when the zygote closes its end.
struct SpareMonitor: ~Copyable {
    let pid: Int32
    private let channel: MonitorChannel

    /// What it is told: a descriptor travels beside each.
    enum Assignment: Codable {
        /// The container's network namespace; before the other.
        case network
        /// The directory of the container's bundle, and the monitor's end of the ``MonitorChannel``.
        case container(bundle: String)
    }

    private init(pid: Int32, channel: consuming MonitorChannel) {
        self.pid = pid
        self.channel = channel
    }

    /// nil where it can't be forked: the next monitor is, when it is needed.
    static func fork(_ supplies: MonitorSupplies) -> SpareMonitor? {
        guard let pair = try? MonitorChannel.pair() else { return nil }
        let (own, other) = pair.split { ($0.release().release(), $1.release().release()) }
        let end = FileDescriptor(owning: other)
        do throws(SystemError) {
            switch try Process.clone([]) {
            case .child:
                exit(wait(MonitorChannel(adopting: end), supplies))
            case .parent(let pid, let pidfd):
                _ = consume pidfd
                return SpareMonitor(pid: pid, channel: MonitorChannel(adopting: FileDescriptor(owning: own)))
            }
        } catch {
            close(own)
            return nil
        }
    }

    /// Gives it its container.
    ///
    /// - Returns: false where it is gone.
    borrowing func run(_ bundle: String, _ end: borrowing FileDescriptor, _ supplies: MonitorSupplies) -> Bool {
        do throws(ChannelError) {
            if let network = supplies.networkDescriptor {
                try channel.send(Assignment.network, descriptor: network)
            }
            try channel.send(Assignment.container(bundle: bundle), descriptor: end.raw)
            return true
        } catch {
            return false
        }
    }

    /// The child's part. Whatever does not depend on the container is done while there is time.
    private static func wait(_ channel: consuming MonitorChannel, _ supplies: MonitorSupplies) -> Int32 {
        Monitor.settle()
        // A copy of the zygote's channel would hide the zygote's end from the daemon.
        guard (try? Monitor.closeDescriptors(except: [channel.rawDescriptor] + supplies.descriptors)) != nil else {
            return 1
        }
        Rehearsal.run()
        var supplies = supplies
        while true {
            guard var packet = try? channel.receive(Assignment.self), let descriptor = packet.takeDescriptor() else {
                return 0
            }
            switch packet.message {
            case .network: supplies = supplies.with(network: descriptor)
            case .container(let bundle):
                _ = consume channel
                return Monitor.run(bundle: bundle, socket: descriptor, supplies: supplies, hasLog: false)
            }
        }
    }
}
