import Glibc
import LinuxKernel
import Synchronization

/// Descriptors that were opened inside a network namespace and stay in it wherever they are used.
public struct SandboxDescriptors: ~Copyable, Sendable {
    /// The namespace itself.
    public var namespace: FileDescriptor
    /// A `NETLINK_ROUTE` socket.
    public var netlink: FileDescriptor
    /// The container's `/proc/sys/net/ipv6/conf`; nil where the host has no IPv6.
    public var ipv6Settings: FileDescriptor?
    /// What the container reaches as 127.0.0.11:53. nil where something in the namespace had that already.
    public var resolver: ResolverSockets?

    public init(
        namespace: consuming FileDescriptor, netlink: consuming FileDescriptor,
        ipv6Settings: consuming FileDescriptor?, resolver: consuming ResolverSockets?
    ) {
        self.namespace = namespace
        self.netlink = netlink
        self.ipv6Settings = ipv6Settings
        self.resolver = resolver
    }
}

/// Where a container's names are asked for: bound, the TCP one listening, both non-blocking.
public struct ResolverSockets: ~Copyable, Sendable {
    public var udp: FileDescriptor
    public var tcp: FileDescriptor

    public init(udp: consuming FileDescriptor, tcp: consuming FileDescriptor) {
        self.udp = udp
        self.tcp = tcp
    }
}

/// Makes and opens network namespaces. Namespaces are entered by single-threaded programs only, so the daemon has its
/// zygote do it. Both calls block for about a millisecond.
public protocol SandboxProvider: Sendable {
    /// A new namespace whose loopback is up. It lives as long as the descriptors, unless a ``Sandbox`` pins it.
    /// - Parameter owner: the user namespace that owns it; nil: the caller's.
    func make(owner: NamespaceOwner?) throws(NetworkingError) -> SandboxDescriptors
    /// The namespace that is pinned at `path`.
    func open(path: String) throws(NetworkingError) -> SandboxDescriptors
}

/// A container's network namespace, pinned by a bind mount at `path` and configured from here through a netlink socket
/// that was opened inside.
public final class Sandbox: Sendable {
    /// `<exec-root>/netns/<16 hex>`: what `config.json` names, and `nsenter --net=` takes.
    public let path: String
    private let open: Mutex<OpenSandbox?>

    /// Pins a namespace that was just made at `path`, an absolute path that doesn't exist.
    public init(pinning descriptors: consuming SandboxDescriptors, at path: String) throws(NetworkingError) {
        self.path = path
        do throws(SystemError) {
            try Pin.make(descriptors.namespace.raw, path)
        } catch {
            throw NetworkingError(.system, "the network namespace can't be pinned at \(path): \(error.reason)")
        }
        open = Mutex(OpenSandbox(descriptors))
    }

    /// Opens a namespace that an earlier daemon pinned at `path`.
    public init(path: String, provider: any SandboxProvider) throws(NetworkingError) {
        self.path = path
        open = Mutex(OpenSandbox(try provider.open(path: path)))
    }

    /// Duplicates of the sockets on which the container's resolver is served; nil where something in the container had
    /// 127.0.0.11:53 before.
    public func resolverSockets() throws(NetworkingError) -> ResolverSockets? {
        try use { (inside) throws(NetworkingError) in try inside.resolverSockets() }
    }

    /// What passed through the container's interfaces, by name, without the loopback.
    public func counters() throws(NetworkingError) -> [String: InterfaceCounters] {
        try use { (inside) throws(NetworkingError) in try inside.counters() }
    }

    /// Closes the descriptors and takes the pin away: the namespace goes with the last process in it. May be called
    /// again; afterwards everything else throws.
    public func remove() throws(NetworkingError) {
        close()
        do throws(SystemError) {
            try Pin.remove(path)
        } catch {
            throw NetworkingError(.system, "the network namespace \(path) can't be removed: \(error.reason)")
        }
    }

    /// Closes the descriptors; the namespace stays pinned for the next daemon.
    public func close() {
        open.withLock { $0 = nil }
    }

    func use<Value: ~Copyable>(
        _ body: (borrowing OpenSandbox) throws(NetworkingError) -> Value
    ) throws(NetworkingError) -> Value {
        try open.withLock { (state) throws(NetworkingError) in
            guard state != nil else {
                throw NetworkingError(.notFound, "the container's network namespace \(path) was removed")
            }
            return try body(state!)
        }
    }
}

/// What passed through an interface, as the side that owns it sees directions.
public struct InterfaceCounters: Sendable, Equatable, Codable {
    public var receivedBytes: UInt64 = 0
    public var receivedPackets: UInt64 = 0
    public var receiveErrors: UInt64 = 0
    public var receiveDropped: UInt64 = 0
    public var sentBytes: UInt64 = 0
    public var sentPackets: UInt64 = 0
    public var sendErrors: UInt64 = 0
    public var sendDropped: UInt64 = 0

    public init() {}
}
