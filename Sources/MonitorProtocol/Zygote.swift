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
//    daemon's end, call `start(bundle:ownNetwork:monitorEnd:)` with the other and close that. From there on there is no difference
//    to a monitor that was executed: same socket, lock, records. Its stderr is `<bundle>/monitor.log`.
// 3. When `start` throws, the zygote is gone (or refused): execute `mycontainer-runtime monitor --bundle DIR` instead,
//    with the same end as descriptor 3, and start a new zygote for later containers.
//
// 4. Some time after a start, when the machine is less busy: `prepare()`, so that the next one finds what the zygote keeps
//    ready.
//
// It is also what enters network namespaces, being single-threaded: `networkNamespace(path:)` makes or opens one and
// brings back descriptors that stay in it.
//
// Monitors are not the daemon's children, and do not end with zygote or daemon. A zygote ends when its daemon closes the
// socket. A daemon that was started again (perhaps from a newer version) starts a zygote of its own.

public enum ZygoteRequest: Codable, Sendable {
    /// Asks for the monitor of the container whose bundle is this directory, absolute; its end of the
    /// ``MonitorChannel`` travels beside it. `ownNetwork`: the container gets a network namespace of its own, of this
    /// user namespace and with nothing but loopback, which the zygote may have ready.
    case monitor(bundle: String, ownNetwork: Bool)
    /// Asks for descriptors in the network namespace that is pinned at this path; nil: in a new one, which
    /// `owner` owns, or the zygote's own user namespace.
    case networkNamespace(path: String?, owner: NamespaceOwner?)
    /// Says that there is time to make what is kept ready. Not answered.
    case prepare
}

public enum ZygoteReply: Codable, Sendable {
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
    /// - Parameters:
    ///   - ownNetwork: whether its configuration asks for a new network namespace, in this user namespace.
    ///   - monitorEnd: the monitor's end of its channel; it stays the caller's, who closes it.
    /// - Returns: the monitor's pid, for messages only: whether a monitor lives is what its lock says.
    /// - Throws: when the zygote is gone or could not fork; nothing was started then.
    public func start(bundle: String, ownNetwork: Bool, monitorEnd: Int32) throws(ChannelError) -> Int32 {
        try turn.withLock { (_) throws(ChannelError) in
            try channel.send(ZygoteRequest.monitor(bundle: bundle, ownNetwork: ownNetwork), descriptor: monitorEnd)
            switch try channel.receive(ZygoteReply.self).message {
            case .started(let pid): return pid
            case .failed(let failure):
                throw .system(SystemError("start a monitor", errno: failure.errno))
            case .descriptor, .networkNamespaceIsOpen: throw ZygoteClient.unexpected
            }
        }
    }

    /// Lets the zygote make what it keeps ready; does not wait for it. One that is gone makes nothing.
    public func prepare() {
        turn.withLock { _ in try? channel.send(ZygoteRequest.prepare, blocking: false) }
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
