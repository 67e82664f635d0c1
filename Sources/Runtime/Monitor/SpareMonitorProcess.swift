import Glibc
import LinuxKernel
import MonitorProtocol

/// A monitor that the zygote forks ahead. It waits for its container; until then it is a copy of the zygote and no more.
enum SpareMonitorProcess {
    /// - Returns: its pid, and the end of the channel where it is told of its container. The monitor ends with that.
    static func fork(_ supplies: MonitorSupplies) throws(SystemError) -> (pid: Int32, channel: Int32) {
        let (own, other) = try MonitorChannel.pair().split { ($0.release().release(), $1.release().release()) }
        let end = FileDescriptor(owning: other)
        do throws(SystemError) {
            switch try Process.clone([]) {
            case .child:
                exit(wait(MonitorChannel(adopting: end), supplies))
            case .parent(let pid, let pidfd):
                _ = consume pidfd
                return (pid, own)
            }
        } catch {
            close(own)
            throw error
        }
    }

    /// The child's part. Whatever does not depend on the container is done while there is time.
    private static func wait(_ channel: consuming MonitorChannel, _ supplies: MonitorSupplies) -> Int32 {
        Monitor.settle()
        // A copy of the zygote's channel would hide the zygote's end from the daemon.
        guard (try? Monitor.closeDescriptors(except: [channel.rawDescriptor] + supplies.descriptors)) != nil else {
            return 1
        }
        Rehearsal.run(supplies.cgroups)
        var supplies = supplies
        while true {
            switch SpareMonitor.next(channel) {
            case .network(let namespace): supplies = supplies.with(network: namespace)
            case .container(let bundle, let end):
                _ = consume channel
                return Monitor.run(bundle: bundle, socket: end, supplies: supplies, hasLog: false)
            case nil: return 0
            }
        }
    }
}
