import CNetfilter
import Glibc
import LinuxKernel

/// A thread that hears of changes to the ruleset, and says when something of our table was deleted by another task.
///
/// The kernel sends a notice for each thing in a transaction and then one for the transaction, with the name of the
/// task that made it. Ours are known by that name: a thread id would not do, since the kernel counts it in the first
/// PID namespace.
final class FirewallWatcher: Sendable {
    private let stop: StopEvent

    /// - Parameter onLost: called on the watcher's thread.
    init(table: String, taskName: String, onLost: @escaping @Sendable () -> Void) throws(NetworkingError) {
        do {
            let socket = try NetfilterSocket(groups: NetfilterSocket.rulesetGroup)
            stop = try StopEvent()
            let work = Work(socket: socket, stop: stop, table: table, taskName: taskName, onLost: onLost)
            try DetachedThread.start(stackSize: 512 << 10) {
                netfilter_set_task_name("nft-watcher")
                work.run()
            }
        } catch {
            throw NetworkingError(.system, "changes of the nftables ruleset can't be watched: \(error)")
        }
    }

    deinit { stop.signal() }

    /// Held by both sides: either may go first.
    private final class StopEvent: Sendable {
        let descriptor: FileDescriptor

        init() throws(SystemError) {
            descriptor = FileDescriptor(owning: try checked("make an eventfd") { eventfd(0, Int32(EFD_CLOEXEC)) })
        }

        func signal() {
            var one = UInt64(1)
            write(descriptor.raw, &one, 8)
        }
    }

    private final class Work: Sendable {
        let socket: NetfilterSocket
        let stop: StopEvent
        let table: String
        let taskName: String
        let onLost: @Sendable () -> Void

        init(
            socket: consuming NetfilterSocket, stop: StopEvent, table: String, taskName: String,
            onLost: @escaping @Sendable () -> Void
        ) {
            self.socket = socket
            self.stop = stop
            self.table = table
            self.taskName = taskName
            self.onLost = onLost
        }

        func run() {
            var isTouched = false
            while true {
                var polled = [
                    pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0),
                    pollfd(fd: stop.descriptor.raw, events: Int16(POLLIN), revents: 0),
                ]
                guard poll(&polled, 2, -1) >= 0 || errno == EINTR else { return }
                if polled[1].revents != 0 { return }
                if polled[0].revents == 0 { continue }
                do throws(SystemError) {
                    for notice in try socket.notices() {
                        if notice.table == table, NetfilterSocket.deletions.contains(notice.message) {
                            isTouched = true
                        }
                        guard notice.message == NetfilterSocket.newGeneration else { continue }
                        if isTouched, notice.taskName != taskName { onLost() }
                        isTouched = false
                    }
                } catch {
                    // Notices were lost (ENOBUFS): whatever they said, the table is right once it was made again.
                    isTouched = false
                    guard error.errno == ENOBUFS else { return }
                    onLost()
                }
            }
        }
    }
}
