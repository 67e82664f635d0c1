import Glibc
import LinuxKernel
import NIOCore
import NIOPosix
import Synchronization

/// The embedded DNS server, 127.0.0.11 in the containers of user-defined networks.
///
/// It listens, UDP and TCP, on sockets that were opened inside a container's network namespace; what the container's
/// networks know it answers from the name table, all else it asks the container's upstream servers, from the daemon's
/// own namespace, so that a server on the host's loopback interface can be one. It keeps no answers.
///
/// One thread does the work. It is started with the first container that is served.
public final class Resolver: Sendable {
    /// How one container's names are resolved.
    public struct Settings: Sendable, Equatable {
        /// `--dns`: asked instead of the host's servers. Empty: the host's resolv.conf as it is when a query comes.
        public var servers: [String]
        /// False for a container whose networks are all internal: what they don't know is SERVFAIL.
        public var forwards: Bool
        /// Whether `ndots` was set by the user or the host: then names without a dot are not asked of the upstream
        /// servers, as in Docker, and the container's own resolver goes on with its search domains.
        public var ndotsIsSet: Bool

        public init(servers: [String] = [], forwards: Bool = true, ndotsIsSet: Bool = false) {
            self.servers = servers
            self.forwards = forwards
            self.ndotsIsSet = ndotsIsSet
        }
    }

    /// What a flood can't exceed.
    public struct Limits: Sendable {
        /// Queries being asked of upstream servers, for one container.
        public var queriesPerContainer = 256
        /// The same for all containers. One holds up to four descriptors, one for each attempt.
        public var queries = 1024
        /// TCP connections of one container, and of all.
        public var connectionsPerContainer = 32
        public var connections = 512

        /// These limits, or lower ones where the process may have few descriptors: names take half of them at most.
        public init() {
            var descriptors = rlimit()
            guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &descriptors) == 0 else { return }
            let allowed = Int(clamping: descriptors.rlim_cur)
            queries = max(16, min(queries, allowed / 12))
            connections = max(16, min(connections, allowed / 12))
        }
    }

    public let names: NameTable
    private let hostFile: String
    private let limits: Limits
    private let port: Int
    private let report: @Sendable (String) -> Void
    private let running = Mutex<Running?>(nil)

    private struct Running: Sendable {
        var group: MultiThreadedEventLoopGroup
        var core: ResolverCore
    }

    /// - Parameters:
    ///   - names: what is answered from.
    ///   - hostFile: the host's resolv.conf, followed as it changes.
    ///   - report: gets a sentence for what an operator should know, seldom. Called on the resolver's thread: it must
    ///     not block.
    public convenience init(
        names: NameTable, hostFile: String = "/etc/resolv.conf", limits: Limits = Limits(),
        report: @escaping @Sendable (String) -> Void
    ) {
        self.init(names: names, hostFile: hostFile, limits: limits, port: 53, report: report)
    }

    /// - Parameter port: the upstream servers' port.
    init(
        names: NameTable, hostFile: String, limits: Limits, port: Int, report: @escaping @Sendable (String) -> Void
    ) {
        self.names = names
        self.hostFile = hostFile
        self.limits = limits
        self.port = port
        self.report = report
    }

    /// Serves a container on its two sockets, bound to 127.0.0.11:53 inside; TCP need not listen yet. What was
    /// served under this id before is stopped. Never blocks: queries that come before the thread gets to it wait in
    /// the sockets.
    public func serve(
        _ container: String, udp: consuming LinuxKernel.FileDescriptor, tcp: consuming LinuxKernel.FileDescriptor,
        _ settings: Settings
    ) {
        // A connection that comes before the thread gets to it must not be refused.
        _ = listen(tcp.raw, 64)
        let core = core()
        let datagrams = udp.release()
        let stream = tcp.release()
        core.loop.execute { core.serve(container, datagrams: datagrams, stream: stream, settings) }
    }

    /// Changes a served container's settings, as when it joins its first network that isn't internal.
    public func update(_ container: String, _ settings: Settings) {
        guard let core = running.withLock({ $0?.core }) else { return }
        core.loop.execute { core.update(container, settings) }
    }

    /// Stops serving a container and closes its sockets; what waits for an answer gets none. Never blocks.
    public func stop(_ container: String) {
        guard let core = running.withLock({ $0?.core }) else { return }
        core.loop.execute { core.stop(container) }
    }

    /// Stops everything and ends the thread; returns when every socket is closed. May be used again afterwards.
    public func shutDown() async {
        guard let ending = running.withLock({ $0.take() }) else { return }
        ending.core.loop.execute { ending.core.stop() }
        try? await ending.group.shutdownGracefully()
    }

    private func core() -> ResolverCore {
        running.withLock { running in
            if let running { return running.core }
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let core = ResolverCore(
                loop: group.next(), names: names, hostFile: hostFile, limits: limits, port: port, report: report)
            core.loop.execute { core.start() }
            running = Running(group: group, core: core)
            return core
        }
    }
}
