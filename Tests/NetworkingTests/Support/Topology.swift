import Glibc
import LinuxKernel
import NIOPosix
import Synchronization

@testable import Networking

/// A small world: a host with two bridges and three containers, and a machine outside.
///
///     outside 198.51.100.2 ──── 198.51.100.1 host ── br0 172.30.0.1/24, fd00:30::1/64 ── web .2, ::2 · peer .3, ::3
///             2001:db8::2       2001:db8::1          br1 172.31.0.1/24 ───────────────── other .2 (no IPv6)
///
/// The outside has routes to the containers' subnets by way of the host, as an attacker on the same link would.
final class Topology: Sendable {
    let outside: NetworkNamespace
    let host: NetworkNamespace
    let web: NetworkNamespace
    let peer: NetworkNamespace
    let other: NetworkNamespace
    let firewall: Firewall
    /// The host's ports; its relays' threads are the host's too.
    let ports: HostPorts
    private let group: MultiThreadedEventLoopGroup
    private let reservations = Mutex<[PortReservation]>([])

    static let network0 = FirewallNetwork(
        bridge: "br0", subnets: [IPNetwork("172.30.0.0/24")!, IPNetwork("fd00:30::/64")!])
    static let network1 = FirewallNetwork(bridge: "br1", subnets: [IPNetwork("172.31.0.0/24")!])

    init(
        _ network0: FirewallNetwork = network0, _ network1: FirewallNetwork = network1, filtersFrames: Bool = false
    ) throws {
        outside = try NetworkNamespace()
        host = try NetworkNamespace()
        web = try NetworkNamespace()
        peer = try NetworkNamespace()
        other = try NetworkNamespace()
        firewall = try host.inside { try Firewall(instance: "0011aabb") }
        group = try host.inside { MultiThreadedEventLoopGroup(numberOfThreads: 1) }
        ports = HostPorts(group: group)

        // Duplicate address detection takes a second, in which a router sends nothing over IPv6.
        for namespace in [outside, host, web, peer, other] { try namespace.set("ipv6/conf/default/accept_dad", "0") }
        // Where the kernel has br_netfilter: whether frames within a bridge pass the rules.
        try? host.set("bridge/bridge-nf-call-iptables", filtersFrames ? "1" : "0")
        try? host.set("bridge/bridge-nf-call-ip6tables", filtersFrames ? "1" : "0")
        try host.set("ipv4/ip_forward", "1")
        try host.set("ipv6/conf/all/forwarding", "1")
        try host.run("ip", "link", "add", "out", "type", "veth", "peer", "name", "eth0", "netns", "\(outside.pid)")
        try host.run("ip", "addr", "add", "198.51.100.1/24", "dev", "out")
        try host.run("ip", "addr", "add", "2001:db8::1/64", "dev", "out", "nodad")
        try host.run("ip", "link", "set", "out", "up")
        try outside.run("ip", "addr", "add", "198.51.100.2/24", "dev", "eth0")
        try outside.run("ip", "addr", "add", "2001:db8::2/64", "dev", "eth0", "nodad")
        try outside.run("ip", "link", "set", "eth0", "up")
        for subnet in ["172.30.0.0/24", "172.31.0.0/24"] {
            try outside.run("ip", "route", "add", subnet, "via", "198.51.100.1")
        }
        try outside.run("ip", "-6", "route", "add", "fd00:30::/64", "via", "2001:db8::1")

        try addBridge("br0", "172.30.0.1/24", "fd00:30::1/64")
        try addBridge("br1", "172.31.0.1/24", nil)
        try attach(web, "br0", "v0", "172.30.0.2/24", "fd00:30::2/64", "172.30.0.1", "fd00:30::1")
        try attach(peer, "br0", "v1", "172.30.0.3/24", "fd00:30::3/64", "172.30.0.1", "fd00:30::1")
        try attach(other, "br1", "v2", "172.31.0.2/24", nil, "172.31.0.1", nil)
        try firewall.install(FirewallState(networks: [network0, network1]))
    }

    deinit {
        reservations.withLock { $0.forEach { $0.release() } }
        group.shutdownGracefully { _ in }
    }

    private func addBridge(_ name: String, _ address4: String, _ address6: String?) throws {
        try host.run("ip", "link", "add", name, "type", "bridge")
        try host.run("ip", "addr", "add", address4, "dev", name)
        if let address6 { try host.run("ip", "addr", "add", address6, "dev", name, "nodad") }
        try host.run("ip", "link", "set", name, "up")
        try host.set("ipv4/conf/\(name)/route_localnet", "1")
    }

    private func attach(
        _ container: NetworkNamespace, _ bridge: String, _ port: String, _ address4: String, _ address6: String?,
        _ gateway4: String, _ gateway6: String?
    ) throws {
        try host.run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", "\(container.pid)")
        try host.run("ip", "link", "set", port, "master", bridge, "up")
        try container.run("ip", "addr", "add", address4, "dev", "eth0")
        if let address6 { try container.run("ip", "addr", "add", address6, "dev", "eth0", "nodad") }
        try container.run("ip", "link", "set", "eth0", "up")
        try container.run("ip", "route", "add", "default", "via", gateway4)
        if let gateway6 { try container.run("ip", "-6", "route", "add", "default", "via", gateway6) }
    }

    /// Publishes a port of `web` (br0).
    @discardableResult
    func publish(
        _ host: String?, _ hostPort: UInt16, to containerPort: UInt16 = 80, _ transport: TransportProtocol = .tcp,
        ipv6: Bool = true
    ) throws -> PortReservation {
        let ports = ports
        let reservation = try self.host.inside {
            try ports.reserve([
                PortRequest(
                    transport: transport, hostAddress: host.flatMap { IPAddress($0) }, hostPorts: hostPort...hostPort,
                    containerPort: containerPort, containerIPv4: IPAddress("172.30.0.2"),
                    containerIPv6: ipv6 ? IPAddress("fd00:30::2") : nil, bridge: "br0")
            ])[0]
        }
        reservations.withLock { $0.append(reservation) }
        try firewall.publish(reservation.ports)
        try self.host.inside { try reservation.activate() }
        return reservation
    }

    /// Where the UDP flows of a port went to, as the host's kernel knows them.
    func connections(_ port: UInt16) throws -> [String] {
        try host.inside {
            var found: [String] = []
            try NetlinkSocket(family: .netfilter).forgetConnections(
                ConnectionFilter(isIPv6: false, transport: UInt8(IPPROTO_UDP), port: port)
            ) {
                found.append("\($0.destination)")
                return false
            }
            return found
        }
    }

    /// Who a listener sees when a connection reaches it; nil when none does for as long as one can wait.
    func reaches(
        from client: NetworkNamespace, _ address: String, _ port: UInt16, _ listener: TestSocket
    ) throws -> String? {
        let socket = try? TestSocket.connected(in: client, to: address, port)
        return try withExtendedLifetime(socket) { try socket == nil ? nil : listener.accept().from }
    }

    /// Whether no connection comes about. A dropped packet says nothing: only "yes" costs time, and only "yes" can be
    /// wrong.
    func isClosed(
        from client: NetworkNamespace, _ address: String, _ port: UInt16, _ listener: TestSocket,
        source: String? = nil
    ) throws -> Bool {
        // No route, or refused at once.
        guard let socket = try? TestSocket.connecting(in: client, to: address, port, from: source) else { return true }
        return !socket.isConnected() && !listener.hasInput
    }
}
