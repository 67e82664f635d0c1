import Glibc
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
// 4. When the machine is less busy: `spare()` forks a monitor ahead. It is given its container without the zygote
//    (``SpareMonitor/run(bundle:network:monitorEnd:)``), and with it an `emptyNetwork()` where the container is to have one.
//
// It is also what enters network namespaces, being single-threaded: `networkNamespace(path:)` makes or opens one and
// brings back descriptors that stay in it.
//
// Monitors are not the daemon's children, and do not end with zygote or daemon. A zygote ends when its daemon closes the
// socket. A daemon that was started again (perhaps from a newer version) starts a zygote of its own.

public enum ZygoteRequest: Codable, Sendable {
    /// Asks for the monitor of the container whose bundle is this directory, absolute; its end of the
    /// ``MonitorChannel`` travels beside it.
    case monitor(bundle: String)
    /// Asks for a monitor whose container will be named later. The end of its channel comes with the answer.
    case spare
    /// Asks for a network namespace, owned by the zygote's user namespace, in which nothing but loopback is.
    case emptyNetwork
    /// Asks for descriptors in the network namespace that is pinned at this path; nil: in a new one, which
    /// `owner` owns, or the zygote's own user namespace.
    case networkNamespace(path: String?, owner: NamespaceOwner?)
}

public enum ZygoteReply: Codable, Sendable {
    /// With the end of its channel for a spare one.
    case started(pid: Int32)
    case failed(StartFailure)
    /// One of a namespace's descriptors travels beside it; more follow, then ``networkNamespaceIsOpen``.
    case descriptor(NetworkNamespaceDescriptors.Kind)
    case networkNamespaceIsOpen
}

/// Descriptors that were opened in a network namespace and stay in it wherever they are used.
public struct NetworkNamespaceDescriptors: ~Copyable, Sendable {
    public enum Kind: String, Codable, Sendable, CaseIterable {
        /// The namespace itself.
        case namespace
        /// A `NETLINK_ROUTE` socket.
        case netlink
        /// The directory /proc/sys/net/ipv6/conf as seen there; absent where the kernel has no IPv6.
        case ipv6Settings
        /// What is reached inside as 127.0.0.11:53; both absent where something has that already.
        case resolverUDP
        case resolverTCP
    }

    private var descriptors: [Kind: Int32] = [:]

    public init() {}

    /// Adds one and closes what was there.
    public mutating func put(_ kind: Kind, _ descriptor: consuming FileDescriptor) {
        if let old = descriptors.updateValue(descriptor.release(), forKey: kind) { close(old) }
    }

    /// Gives one away.
    public mutating func take(_ kind: Kind) -> FileDescriptor? {
        descriptors.removeValue(forKey: kind).map { FileDescriptor(owning: $0) }
    }

    /// Sends them one by one, and that these were all.
    public borrowing func send(over channel: borrowing MonitorChannel) throws(ChannelError) {
        for kind in Kind.allCases {
            guard let descriptor = descriptors[kind] else { continue }
            try channel.send(ZygoteReply.descriptor(kind), descriptor: descriptor)
        }
        try channel.send(ZygoteReply.networkNamespaceIsOpen)
    }

    deinit {
        for descriptor in descriptors.values { close(descriptor) }
    }
}

/// What became of a wish for a network namespace.
public enum NetworkNamespaceAnswer: ~Copyable, Sendable {
    case open(NetworkNamespaceDescriptors)
    /// The zygote lives but could not do it.
    case refused(StartFailure)
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
    @discardableResult
    public func start(bundle: String, monitorEnd: Int32) throws(ChannelError) -> Int32 {
        var answer = try ask(.monitor(bundle: bundle), descriptor: monitorEnd)
        guard case .started(let pid) = answer.message, answer.takeDescriptor() == nil else {
            throw ZygoteClient.unexpected
        }
        return pid
    }

    /// A monitor that waits for its container. Blocks for the length of a fork.
    public func spare() throws(ChannelError) -> SpareMonitor {
        var answer = try ask(.spare)
        guard case .started(let pid) = answer.message, let end = answer.takeDescriptor() else {
            throw ZygoteClient.unexpected
        }
        return SpareMonitor(pid: pid, channel: MonitorChannel(adopting: end))
    }

    /// A network namespace that nobody is in, loopback up. Blocks for a millisecond.
    public func emptyNetwork() throws(ChannelError) -> FileDescriptor {
        var answer = try ask(.emptyNetwork)
        guard case .descriptor(.namespace) = answer.message, let namespace = answer.takeDescriptor() else {
            throw ZygoteClient.unexpected
        }
        return namespace
    }

    private func ask(
        _ request: ZygoteRequest, descriptor: Int32? = nil
    ) throws(ChannelError) -> ReceivedMessage<ZygoteReply> {
        try turn.withLock { (_) throws(ChannelError) in
            try channel.send(request, descriptor: descriptor)
            let answer = try channel.receive(ZygoteReply.self)
            if case .failed(let failure) = answer.message {
                throw .system(SystemError(failure.message, errno: failure.errno))
            }
            return answer
        }
    }

    /// Makes a network namespace whose loopback is up, or opens the one that is pinned at `path`. Blocks for a
    /// millisecond.
    /// - Throws: when the zygote is gone.
    public func networkNamespace(
        path: String?, owner: NamespaceOwner? = nil
    ) throws(ChannelError) -> NetworkNamespaceAnswer {
        try turn.withLock { (_) throws(ChannelError) in
            try channel.send(ZygoteRequest.networkNamespace(path: path, owner: owner))
            var descriptors = NetworkNamespaceDescriptors()
            while true {
                var reply = try channel.receive(ZygoteReply.self)
                switch reply.message {
                case .descriptor(let kind):
                    guard let descriptor = reply.takeDescriptor() else { throw ZygoteClient.unexpected }
                    descriptors.put(kind, descriptor)
                case .networkNamespaceIsOpen: return .open(descriptors)
                case .failed(let failure): return .refused(failure)
                case .started: throw ZygoteClient.unexpected
                }
            }
        }
    }

    private static let unexpected = ChannelError.malformed("the zygote answered something else", sequence: nil)
}
