import LinuxKernel
import Synchronization

// The zygote: `mycontainer-runtime zygote`, a runtime started once by the daemon that forks a monitor per request, in a
// third of the time that executing one takes, and with most of its memory shared with all other monitors.
//
// How a daemon uses it:
// 1. `let ends = try MonitorChannel.pair()` once; posix_spawn `mycontainer-runtime zygote` with `ends.monitor` as
//    descriptor 3 (`MonitorProtocol.inheritedSocket`), /dev/null as 0 and 1, a log as 2, in a new session and through
//    the same read-only mount as monitors; close `ends.monitor`; keep `ZygoteClient(channel: ends.daemon)`.
// 2. For a container: write the bundle, make a second pair for its monitor, queue `hello`, `attach` … `start` in the
//    daemon's end, call `start(bundle:monitorEnd:)` with the other and close that. From there on there is no difference
//    to a monitor that was executed: same socket, lock, records. Its stderr is `<bundle>/monitor.log`.
// 3. When `start` throws, the zygote is gone (or refused): execute `mycontainer-runtime monitor --bundle DIR` instead,
//    with the same end as descriptor 3, and start a new zygote for later containers.
//
// Monitors are not the daemon's children, and do not end with zygote or daemon. A zygote ends when its daemon closes the
// socket. A daemon that was started again (perhaps from a newer version) starts a zygote of its own.

/// Asks for a monitor; its end of the ``MonitorChannel`` travels beside it.
public struct ZygoteRequest: Codable, Sendable {
    /// The bundle directory, absolute.
    public var bundle: String

    public init(bundle: String) { self.bundle = bundle }
}

public enum ZygoteReply: Codable, Sendable {
    case started(pid: Int32)
    case failed(StartFailure)
}

/// The daemon's end of a conversation with its zygote. May be used from several threads, which take turns.
public final class ZygoteClient: Sendable {
    private let channel: MonitorChannel
    private let turn = Mutex(())

    public init(channel: consuming MonitorChannel) {
        self.channel = channel
    }

    /// Starts the monitor of the container whose bundle is `bundle`. Blocks for the length of a fork.
    /// - Parameter monitorEnd: the monitor's end of its channel; it stays the caller's, who closes it.
    /// - Returns: the monitor's pid, for messages only: whether a monitor lives is what its lock says.
    /// - Throws: when the zygote is gone or could not fork; nothing was started then.
    public func start(bundle: String, monitorEnd: Int32) throws(ChannelError) -> Int32 {
        let result: Result<Int32, ChannelError> = turn.withLock { _ in
            do throws(ChannelError) {
                try channel.send(ZygoteRequest(bundle: bundle), descriptor: monitorEnd)
                switch try channel.receive(ZygoteReply.self).message {
                case .started(let pid): return .success(pid)
                case .failed(let failure):
                    return .failure(.system(SystemError("start a monitor", errno: failure.errno)))
                }
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}
