import Glibc
import LinuxKernel
import NIOCore
import NIOPosix

/// A container whose queries are answered. Belongs to the resolver's event loop.
final class ServedContainer {
    let id: String
    var settings: Resolver.Settings
    /// Addresses of `settings.servers`; nil where the host's are asked.
    var servers: [SocketAddress]?
    /// The sockets inside; nil before they are registered.
    var datagrams: (any Channel)?
    var listener: (any Channel)?
    var connections: [ObjectIdentifier: any Channel] = [:]
    /// Queries that wait for an upstream server, by number: the lowest is the oldest.
    var forwards: [UInt64: Forward] = [:]
    var isStopped = false

    init(_ id: String, _ settings: Resolver.Settings) {
        self.id = id
        self.settings = settings
    }
}

/// Where an answer goes.
enum ReplyPath {
    case datagram(any Channel, SocketAddress)
    case stream(StreamServer)

    var isDatagram: Bool { if case .datagram = self { true } else { false } }

    /// Sends an answer, or with nil says that there won't be one.
    func send(_ reply: ByteBuffer?) {
        switch self {
        case .datagram(let channel, let client):
            // A full socket means that nobody reads; a resolver asks again.
            guard let reply, channel.isWritable else { return }
            channel.writeAndFlush(AddressedEnvelope(remoteAddress: client, data: reply), promise: nil)
        case .stream(let server): server.send(reply)
        }
    }
}

/// The resolver's state and decisions, all of it on one event loop, which is why it needs no lock.
final class ResolverCore: @unchecked Sendable {
    let loop: any EventLoop
    let limits: Resolver.Limits
    let report: @Sendable (String) -> Void
    var health = UpstreamHealth()
    private let names: NameTable
    private let hostFile: HostFile
    private let port: Int
    private var hostServers: [SocketAddress]?
    private var containers: [String: ServedContainer] = [:]
    private var forwards = 0
    private var connections = 0
    private var sequence: UInt64 = 0
    private var shuffler = SplitMix()

    init(
        loop: any EventLoop, names: NameTable, hostFile: String, limits: Resolver.Limits, port: Int,
        report: @escaping @Sendable (String) -> Void
    ) {
        self.loop = loop
        self.names = names
        self.limits = limits
        self.port = port
        self.report = report
        self.hostFile = HostFile(hostFile, loop: loop, report: report)
    }

    /// Follows the host's file from now on.
    func start() {
        hostFile.start()
        hostFile.onChange = { [weak self] in self?.hostServers = nil }
    }

    func stop() {
        for id in Array(containers.keys) { stop(id) }
        hostFile.stop()
    }

    // MARK: Containers

    func serve(_ id: String, datagrams: Int32, stream: Int32, _ settings: Resolver.Settings) {
        stop(id)
        let container = ServedContainer(id, settings)
        container.servers = explicitServers(settings, id)
        containers[id] = container
        let bound = NIOLoopBound(container, eventLoop: loop)

        DatagramBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(DatagramServer(self, bound.value))
                }
            }
            .withBoundSocket(datagrams)
            .assumeIsolated().whenComplete { self.opened($0, for: container, "UDP") { container.datagrams = $0 } }

        ServerBootstrap.resting(group: loop)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(StreamServer(self, bound.value))
                }
            }
            .withBoundSocket(stream)
            .assumeIsolated().whenComplete { self.opened($0, for: container, "TCP") { container.listener = $0 } }
    }

    private func opened(
        _ result: Result<any Channel, any Error>, for container: ServedContainer, _ transport: String,
        _ keep: (any Channel) -> Void
    ) {
        switch result {
        case .success(let channel) where container.isStopped: channel.close(promise: nil)
        case .success(let channel): keep(channel)
        case .failure(let error):
            report("container \(container.id.prefix(12)) has no DNS over \(transport): \(error)")
        }
    }

    func update(_ id: String, _ settings: Resolver.Settings) {
        guard let container = containers[id] else { return }
        container.settings = settings
        container.servers = explicitServers(settings, id)
    }

    func stop(_ id: String) {
        guard let container = containers.removeValue(forKey: id) else { return }
        container.isStopped = true
        for forward in Array(container.forwards.values) { forward.abandon() }
        container.datagrams?.close(promise: nil)
        container.listener?.close(promise: nil)
        for connection in Array(container.connections.values) { connection.close(promise: nil) }
    }

    private func explicitServers(_ settings: Resolver.Settings, _ id: String) -> [SocketAddress]? {
        settings.servers.isEmpty ? nil : addresses(settings.servers, "container \(id.prefix(12))")
    }

    private func servers(for container: ServedContainer) -> [SocketAddress] {
        if let servers = container.servers { return servers }
        if let hostServers { return hostServers }
        let host = hostFile.current
        let servers = addresses(host.nameservers, "the host's resolv.conf")
        if hostFile.isFollowed { hostServers = servers }
        return servers
    }

    private func addresses(_ servers: [String], _ whose: String) -> [SocketAddress] {
        servers.compactMap { server in
            if let address = SocketAddress(server: server, port: port) { return address }
            report("DNS server \(server) of \(whose) is left out: it is not an address of this host's networks")
            return nil
        }
    }

    // MARK: Connections

    /// - Returns: false when there are too many.
    func admit(_ channel: any Channel, of container: ServedContainer) -> Bool {
        guard !container.isStopped, connections < limits.connections,
            container.connections.count < limits.connectionsPerContainer
        else { return false }
        connections += 1
        container.connections[ObjectIdentifier(channel)] = channel
        return true
    }

    func closed(_ channel: any Channel, of container: ServedContainer) {
        if container.connections.removeValue(forKey: ObjectIdentifier(channel)) != nil { connections -= 1 }
    }

    // MARK: Queries

    /// Answers a message, at once or later; a malformed one never.
    func receive(_ message: ByteBuffer, from container: ServedContainer, _ path: ReplyPath) {
        let parsed = message.withUnsafeReadableBytes { bytes in
            Result { () throws(DNSQuery.Fault) in try DNSQuery(bytes) }
        }
        let query: DNSQuery
        switch parsed {
        case .success(let parsed): query = parsed
        case .failure(.ignored): return path.send(nil)
        case .failure(.refused(let code)): return path.send(DNSAnswer.refusal(message, code))
        }
        let limit = path.isDatagram ? query.datagramLimit : DNS.largestMessage
        if let (code, records) = ownAnswer(query, for: container) {
            return path.send(DNSAnswer.make(query, message, code, records, limit: limit))
        }
        guard container.settings.forwards, admitForward(of: container) else {
            return path.send(DNSAnswer.make(query, message, .serverFailure, limit: limit))
        }
        forwards += 1
        sequence += 1
        let forward = Forward(self, container, sequence, query, message, path)
        container.forwards[sequence] = forward
        forward.start(servers(for: container))
    }

    func finished(_ forward: Forward) {
        if forward.container.forwards.removeValue(forKey: forward.sequence) != nil { forwards -= 1 }
    }

    /// What we know ourselves; nil where the upstream servers are to be asked.
    private func ownAnswer(
        _ query: DNSQuery, for container: ServedContainer
    ) -> (DNS.Code, [DNSAnswer.Record])? {
        // An unknown version of EDNS gets BADVERS from whoever writes the answer.
        if let edns = query.edns, edns.version > 0 { return (.noError, []) }
        guard query.recordClass == DNS.RecordClass.internet || query.recordClass == DNS.RecordClass.any,
            let name = query.name
        else { return nil }
        if let address = query.reversedAddress {
            switch names.reverse(address, for: container.id) {
            case .name(let name): return (.noError, [.pointer(name)])
            case .nobody: return (.nameError, [])
            case .elsewhere: return nil
            }
        }
        if var addresses = names.addresses(of: name, for: container.id) {
            // A name that is ours is so for every type: asking others for its HTTPS record, say, would get NXDOMAIN,
            // which denies the name itself.
            switch query.type {
            case DNS.RecordType.a: addresses.removeAll(where: \.isIPv6)
            case DNS.RecordType.aaaa: addresses.removeAll { !$0.isIPv6 }
            case DNS.RecordType.any: break
            default: addresses = []
            }
            if addresses.count > 1 { addresses.shuffle(using: &shuffler) }
            return (.noError, addresses.map { .address($0) })
        }
        let wantsAddress = query.type == DNS.RecordType.a || query.type == DNS.RecordType.aaaa
        return container.settings.ndotsIsSet && query.labels == 1 && wantsAddress ? (.nameError, []) : nil
    }

    /// Makes room for one more query that is forwarded.
    ///
    /// At a limit the oldest query gives way, with SERVFAIL, if it has waited longer than a living server takes.
    /// Younger ones don't, or a flood faster than the servers would let none of its queries come to an answer. When
    /// all containers together are at the limit, it is the one with the most queries that gives way.
    private func admitForward(of container: ServedContainer) -> Bool {
        if container.forwards.count >= limits.queriesPerContainer {
            guard evictOldest(of: container, evenIfYoung: false) else { return false }
        }
        if forwards >= limits.queries {
            guard let heaviest = containers.values.max(by: { $0.forwards.count < $1.forwards.count }) else {
                return false
            }
            let isFairer = heaviest.forwards.count > container.forwards.count + 1
            guard evictOldest(of: heaviest, evenIfYoung: isFairer) else { return false }
        }
        return true
    }

    private func evictOldest(of container: ServedContainer, evenIfYoung: Bool) -> Bool {
        guard let number = container.forwards.keys.min(), let oldest = container.forwards[number],
            evenIfYoung || oldest.isOverdue
        else { return false }
        oldest.giveUp()
        return true
    }
}

/// Steele, Lea and Flood's SplitMix64: fair enough for the order of addresses, without a system call for each number.
private struct SplitMix: RandomNumberGenerator {
    private var state = UInt64.random(in: .min ... .max)

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

extension SocketAddress {
    /// A server as resolv.conf names it, an IPv6 zone (`fe80::1%eth0`) included; nil for what is no address.
    fileprivate init?(server: String, port: Int) {
        let parts = server.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let plain = try? SocketAddress(ipAddress: parts[0], port: port) else { return nil }
        guard parts.count == 2 else {
            self = plain
            return
        }
        guard case .v6(let address) = plain else { return nil }
        var zoned = address.address
        zoned.sin6_scope_id = if_nametoindex(parts[1])
        guard zoned.sin6_scope_id != 0 else { return nil }
        self = SocketAddress(zoned)
    }
}
