import Glibc
import LinuxKernel
import Testing

@testable import Networking

/// Real packets through the real kernel, in namespaces of their own.
@Suite(.enabled(if: canMakeNamespaces), .serialized)
struct FirewallTests {
    @Test func publishedPortIsReachedFromOutsideWithTheClientsAddress() throws {
        let world = try Topology()
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        #expect(try world.isClosed(from: world.outside, "198.51.100.1", 8080, server))
        let reservation = try world.publish(nil, 8080)
        #expect(try world.reaches(from: world.outside, "198.51.100.1", 8080, server) == "198.51.100.2")

        try world.firewall.unpublish(reservation.ports)
        reservation.release()
        #expect(try world.isClosed(from: world.outside, "198.51.100.1", 8080, server))
    }

    /// libnftables waits with select(2), which ends the process at a descriptor from 1,024 on.
    @Test(.enabled("the limit of open files is below 2048") { mayOpen(2048) })
    func worksBesideAThousandDescriptors() throws {
        var taken: [Int32] = []
        defer { for descriptor in taken { close(descriptor) } }
        while taken.last ?? 0 < 1100 {
            taken.append(try checked("dup") { fcntl(2, F_DUPFD_CLOEXEC, 3) })
        }
        let world = try Topology()
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        try world.publish(nil, 8080)
        #expect(try world.reaches(from: world.outside, "198.51.100.1", 8080, server) == "198.51.100.2")
    }

    private static func mayOpen(_ count: UInt) -> Bool {
        var limit = rlimit()
        return getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 && limit.rlim_cur >= count
    }

    @Test func publishedPortIsReachedOverIPv6() throws {
        let world = try Topology()
        let server = try TestSocket.listen(in: world.web, "::", 80)
        try world.publish(nil, 8080)
        #expect(try world.reaches(from: world.outside, "2001:db8::1", 8080, server) == "2001:db8::2")
        #expect(try world.reaches(from: world.host, "2001:db8::1", 8080, server) == "2001:db8::1")
    }

    @Test func datagramsReachThePublishedPort() throws {
        let world = try Topology()
        let server = try TestSocket.datagram(in: world.web, "0.0.0.0", 53)
        try world.publish(nil, 5353, to: 53, .udp)
        let client = try TestSocket.connecting(in: world.outside, to: "198.51.100.1", 5353, SOCK_DGRAM)
        try client.send("question")
        #expect(try server.echo() == "198.51.100.2")
        // The client's socket is connected: an answer from another address would not come through.
        #expect(try client.receive().text == "question")
    }

    @Test func aClientThatSentTooEarlyIsHeardLater() throws {
        let world = try Topology()
        let server = try TestSocket.datagram(in: world.web, "0.0.0.0", 53)
        let client = try TestSocket.connecting(in: world.outside, to: "198.51.100.1", 5353, SOCK_DGRAM)
        try client.send("early")
        // A flow of the same port to somebody else stays.
        let elsewhere = try TestSocket.datagram(in: world.outside, "0.0.0.0", 5353)
        let flow = try TestSocket.connecting(in: world.peer, to: "198.51.100.2", 5353, SOCK_DGRAM)
        try flow.send("kept")
        #expect(try elsewhere.receive().text == "kept")

        let reservation = try world.publish(nil, 5353, to: 53, .udp)
        // The first answer may be the refusal of the early one.
        while (try? client.send("late")) == nil {}
        #expect(try server.receive().text == "late")
        #expect(try world.connections(5353).count == 2)

        try world.firewall.unpublish(reservation.ports)
        #expect(try world.connections(5353) == ["198.51.100.2"])
    }

    @Test func aNetworkThatTheKernelRefusesIsInNobodysWay() throws {
        let world = try Topology()
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        // An address of the other family is nothing that IPv4 could be translated to.
        let impossible = FirewallNetwork(
            bridge: "br-x", subnets: [IPNetwork("172.31.0.0/24")!], hostAddress4: IPAddress("2001:db8::1"))
        #expect(throws: NetworkingError.self) { try world.firewall.addNetwork(impossible) }
        try world.publish(nil, 8080)
        #expect(try world.reaches(from: world.outside, "198.51.100.1", 8080, server) != nil)
        #expect(!(try world.firewall.listing().contains("br-x")))
    }

    @Test func theHostReachesItByLoopbackAndByItsAddresses() throws {
        let world = try Topology()
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        try world.publish(nil, 8080)
        #expect(try world.reaches(from: world.host, "127.0.0.1", 8080, server) == "172.30.0.1")
        #expect(try world.reaches(from: world.host, "198.51.100.1", 8080, server) != nil)
        #expect(try world.reaches(from: world.host, "172.30.0.2", 80, server) == "172.30.0.1")
    }

    @Test func aPortOfOneAddressIsNotReachedAtAnother() throws {
        let world = try Topology()
        try world.host.run("ip", "addr", "add", "198.51.100.9/24", "dev", "out")
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        try world.publish("198.51.100.9", 8080)
        #expect(try world.reaches(from: world.outside, "198.51.100.9", 8080, server) != nil)
        #expect(try world.isClosed(from: world.outside, "198.51.100.1", 8080, server))
        #expect(try world.isClosed(from: world.host, "127.0.0.1", 8080, server))
    }

    /// CVE-2025-54388, CVE-2020-8558 and what Docker 28 closed.
    @Test func aLoopbackPortIsReachedFromThisHostOnly() throws {
        let world = try Topology()
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        try world.publish("127.0.0.1", 8080)
        #expect(try world.reaches(from: world.host, "127.0.0.1", 8080, server) == "172.30.0.1")
        #expect(try world.isClosed(from: world.outside, "198.51.100.1", 8080, server))
        // Straight to the container, by a route.
        #expect(try world.isClosed(from: world.outside, "172.30.0.2", 80, server))
        // To 127.0.0.1 on the wire: the attacker's own loopback is out of the way, the host's is open to such packets.
        try world.outside.set("ipv4/conf/all/route_localnet", "1")
        try world.host.set("ipv4/conf/all/route_localnet", "1")
        try world.outside.run("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
        try world.outside.run("ip", "route", "add", "127.0.0.1/32", "via", "198.51.100.1", "src", "198.51.100.2")
        #expect(
            try world.isClosed(from: world.outside, "127.0.0.1", 8080, server, source: "198.51.100.2"))
        // From a container, to the host's own loopback.
        let hosts = try TestSocket.listen(in: world.host, "127.0.0.1", 9000)
        try world.peer.set("ipv4/conf/all/route_localnet", "1")
        try world.peer.run("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
        try world.peer.run("ip", "route", "add", "127.0.0.1/32", "via", "172.30.0.1", "src", "172.30.0.3")
        #expect(try world.isClosed(from: world.peer, "127.0.0.1", 9000, hosts, source: "172.30.0.3"))
    }

    @Test func nobodyOnABridgePassesForTheHostsLoopback() throws {
        let world = try Topology()
        // Without these the kernel itself drops such packets.
        for (name, value) in [("accept_local", "1"), ("rp_filter", "0")] {
            try world.host.set("ipv4/conf/br0/\(name)", value)
            try world.host.set("ipv4/conf/all/\(name)", value)
        }
        try world.peer.set("ipv4/conf/all/route_localnet", "1")
        let server = try TestSocket.datagram(in: world.host, "172.30.0.1", 9000)
        let liar = try TestSocket.connecting(in: world.peer, to: "172.30.0.1", 9000, SOCK_DGRAM, from: "127.0.0.1")
        let honest = try TestSocket.connecting(in: world.peer, to: "172.30.0.1", 9000, SOCK_DGRAM)
        try liar.send("false")
        try honest.send("true")
        #expect(try server.receive().text == "true")
    }

    /// With br_netfilter, packets are rewritten while they are still frames of the bridge.
    @Test(arguments: [false, true]) func containersReachPublishedPortsByTheHostsAddress(_ filtersFrames: Bool) throws {
        let world = try Topology(filtersFrames: filtersFrames)
        if filtersFrames {
            for port in ["v0", "v1"] {
                try world.host.run("ip", "link", "set", port, "type", "bridge_slave", "hairpin", "on")
            }
        }
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        try world.publish(nil, 8080)
        // A neighbour, the container itself, and one on another network.
        #expect(try world.reaches(from: world.peer, "198.51.100.1", 8080, server) == "172.30.0.1")
        #expect(try world.reaches(from: world.web, "198.51.100.1", 8080, server) == "172.30.0.1")
        #expect(try world.reaches(from: world.other, "198.51.100.1", 8080, server) == "172.30.0.1")
        #expect(try world.reaches(from: world.other, "172.30.0.1", 8080, server) == "172.30.0.1")
    }

    @Test func networksAreApart() throws {
        let world = try Topology()
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        #expect(try world.reaches(from: world.peer, "172.30.0.2", 80, server) == "172.30.0.3")
        #expect(try world.isClosed(from: world.other, "172.30.0.2", 80, server))
        #expect(try world.isClosed(from: world.outside, "172.30.0.2", 80, server))
    }

    @Test func whatLeavesTakesTheHostsAddress() throws {
        let world = try Topology()
        let server = try TestSocket.listen(in: world.outside, "0.0.0.0", 80)
        let server6 = try TestSocket.listen(in: world.outside, "2001:db8::2", 81)
        #expect(try world.reaches(from: world.web, "198.51.100.2", 80, server) == "198.51.100.1")
        #expect(try world.reaches(from: world.web, "2001:db8::2", 81, server6) == "2001:db8::1")
    }

    @Test func withoutMasqueradingItKeepsItsOwnAndAnswersComeBack() throws {
        var network = Topology.network0
        network.masquerades = false
        let world = try Topology(network)
        let server = try TestSocket.listen(in: world.outside, "0.0.0.0", 80)
        #expect(try world.reaches(from: world.web, "198.51.100.2", 80, server) == "172.30.0.2")
    }

    @Test func leavesWithTheAddressThatTheNetworkNames() throws {
        var network = Topology.network0
        network.hostAddress4 = IPAddress("198.51.100.9")
        let world = try Topology(network)
        try world.host.run("ip", "addr", "add", "198.51.100.9/24", "dev", "out")
        let server = try TestSocket.listen(in: world.outside, "0.0.0.0", 80)
        #expect(try world.reaches(from: world.web, "198.51.100.2", 80, server) == "198.51.100.9")
    }

    @Test func internalNetworksHaveNoWayOutOrIn() throws {
        var network = Topology.network0
        network.isInternal = true
        let world = try Topology(network)
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        let outside = try TestSocket.listen(in: world.outside, "0.0.0.0", 80)
        let otherServer = try TestSocket.listen(in: world.other, "0.0.0.0", 80)
        #expect(try world.reaches(from: world.peer, "172.30.0.2", 80, server) != nil)
        #expect(try world.reaches(from: world.host, "172.30.0.2", 80, server) != nil)
        #expect(try world.isClosed(from: world.web, "198.51.100.2", 80, outside))
        #expect(try world.isClosed(from: world.outside, "172.30.0.2", 80, server))
        #expect(try world.isClosed(from: world.web, "172.31.0.2", 80, otherServer))
        #expect(try world.isClosed(from: world.other, "172.30.0.2", 80, server))
    }

    @Test func containersAreApartWhereTheNetworkSaysSo() throws {
        var network = Topology.network0
        network.allowsInterContainer = false
        let world = try Topology(network)
        // Frames between the ports of a bridge pass the filter where br_netfilter sends them there. Elsewhere they are
        // stopped at the ports (`isolated`), which isn't the firewall's part.
        try world.host.run("ip", "link", "set", "v0", "type", "bridge_slave", "isolated", "on")
        try world.host.run("ip", "link", "set", "v1", "type", "bridge_slave", "isolated", "on")
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        #expect(try world.isClosed(from: world.peer, "172.30.0.2", 80, server))
        // But a published port is open to all.
        try world.publish(nil, 8080)
        #expect(try world.reaches(from: world.peer, "198.51.100.1", 8080, server) != nil)
    }

    @Test func linkedContainersReachTheirPortAlone() throws {
        var network = Topology.network0
        network.allowsInterContainer = false
        let world = try Topology(network)
        for port in ["v0", "v1"] {
            try world.host.run("ip", "link", "set", port, "type", "bridge_slave", "isolated", "on")
        }
        // What BridgePlan.isolatesPorts sets.
        try world.host.set("ipv4/conf/br0/proxy_arp_pvlan", "1")
        try world.host.set("ipv4/neigh/br0/proxy_delay", "0")
        let (linked, other) = (
            try TestSocket.listen(in: world.web, "0.0.0.0", 80), try TestSocket.listen(in: world.web, "0.0.0.0", 81)
        )
        let (web, peer) = (IPAddress("172.30.0.2")!, IPAddress("172.30.0.3")!)
        try world.firewall.link([LinkedPort(client: peer, server: web, transport: .tcp, port: 80)])
        #expect(try world.reaches(from: world.peer, "172.30.0.2", 80, linked) == "172.30.0.3")
        #expect(try world.isClosed(from: world.peer, "172.30.0.2", 81, other))
        // Not the other way round.
        let back = try TestSocket.listen(in: world.peer, "0.0.0.0", 80)
        #expect(try world.isClosed(from: world.web, "172.30.0.3", 80, back))
        // It comes back with the table, and goes with either address.
        try world.firewall.addNetwork(Topology.network0)
        try world.firewall.addNetwork(network)
        #expect(try world.reaches(from: world.peer, "172.30.0.2", 80, linked) == "172.30.0.3")
        try world.firewall.unlink([web])
        #expect(try world.isClosed(from: world.peer, "172.30.0.2", 80, linked))
    }

    @Test func framesBetweenContainersAreFilteredWhereTheKernelDoes() throws {
        var network = Topology.network0
        network.allowsInterContainer = false
        let world = try Topology(network, filtersFrames: true)
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        // Without br_netfilter in the kernel there is nothing to see.
        if try world.host.inside({ access("/proc/sys/net/bridge/bridge-nf-call-iptables", F_OK) }) != 0 { return }
        #expect(try world.isClosed(from: world.peer, "172.30.0.2", 80, server))
        try world.publish(nil, 8080)
        #expect(try world.reaches(from: world.peer, "198.51.100.1", 8080, server) != nil)
    }

    @Test func routedNetworksShowPublishedPortsAtTheContainersAddress() throws {
        var network = Topology.network0
        network.gatewayMode4 = .routed
        let world = try Topology(network)
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        let closed = try TestSocket.listen(in: world.web, "0.0.0.0", 81)
        #expect(try world.isClosed(from: world.outside, "172.30.0.2", 80, server))
        let first = try world.publish("0.0.0.0", 8080)
        let second = try world.publish("0.0.0.0", 8081)
        #expect(try world.reaches(from: world.outside, "172.30.0.2", 80, server) == "198.51.100.2")
        #expect(try world.isClosed(from: world.outside, "172.30.0.2", 81, closed))
        #expect(try world.isClosed(from: world.outside, "198.51.100.1", 8080, server))
        // Two ports of the host lead to it: it is open until both are gone.
        try world.firewall.unpublish(first.ports)
        #expect(try world.reaches(from: world.outside, "172.30.0.2", 80, server) != nil)
        try world.firewall.unpublish(second.ports)
        #expect(try world.isClosed(from: world.outside, "172.30.0.2", 80, server))
    }

    @Test func unprotectedNetworksAreOpenToRoutes() throws {
        var network = Topology.network0
        network.gatewayMode4 = .natUnprotected
        let world = try Topology(network)
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        #expect(try world.reaches(from: world.outside, "172.30.0.2", 80, server) == "198.51.100.2")
    }

    @Test func trustedInterfacesReachContainersDirectly() throws {
        var network = Topology.network0
        network.trustedInterfaces = ["out"]
        let world = try Topology(network)
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        #expect(try world.isClosed(from: world.other, "172.30.0.2", 80, server))
        #expect(try world.reaches(from: world.outside, "172.30.0.2", 80, server) == "198.51.100.2")
    }

    @Test func theHostsOwnDropRulesHold() throws {
        let world = try Topology()
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        try world.publish(nil, 8080)
        try world.host.run("nft", "add table inet admin")
        try world.host.run(
            "nft", "add chain inet admin forward { type filter hook forward priority filter + 10; policy accept; }")
        try world.host.run("nft", "add rule inet admin forward ip saddr 198.51.100.2 drop")
        #expect(try world.isClosed(from: world.outside, "198.51.100.1", 8080, server))
        try world.host.run("nft", "flush chain inet admin forward")
        #expect(try world.reaches(from: world.outside, "198.51.100.1", 8080, server) != nil)
    }

    @Test func theUsersChainHoldsAndStays() throws {
        let world = try Topology()
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        try world.publish(nil, 8080)
        try world.host.run(
            "nft",
            "add rule inet mycontainer-user forward meta l4proto tcp ct original proto-dst 8080 ip saddr 198.51.100.2 drop"
        )
        #expect(try world.isClosed(from: world.outside, "198.51.100.1", 8080, server))
        try world.firewall.install(FirewallState(networks: [Topology.network0]))
        try world.firewall.remove()
        #expect(try world.host.run("nft", "list table inet mycontainer-user").contains("198.51.100.2"))
    }

    @Test func aNetworkGoesWithItsChainsAndPorts() throws {
        let world = try Topology()
        try world.publish(nil, 8080)
        try world.firewall.removeNetwork(bridge: "br0")
        let listing = try world.firewall.listing()
        #expect(!listing.contains("br0") && !listing.contains("8080"))
        #expect(listing.contains("br1"))
        try world.firewall.addNetwork(Topology.network0)
        try world.publish(nil, 8081)
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        #expect(try world.reaches(from: world.outside, "198.51.100.1", 8081, server) != nil)
    }

    @Test func aNetworkThatChangesTakesItsPortsAlong() throws {
        let world = try Topology()
        try world.publish(nil, 8080)
        var network = Topology.network0
        network.gatewayMode4 = .routed
        try world.firewall.addNetwork(network)
        let server = try TestSocket.listen(in: world.web, "0.0.0.0", 80)
        #expect(try world.reaches(from: world.outside, "172.30.0.2", 80, server) == "198.51.100.2")
    }
}

@Suite struct RulesetTests {
    private let ruleset = Ruleset(instance: "0011aabb")

    private func port(_ host: String, _ container: String, _ transport: TransportProtocol = .tcp) -> PublishedPort {
        PublishedPort(
            transport: transport, hostAddress: IPAddress(host)!, hostPort: 8080,
            containerAddress: IPAddress(container)!,
            containerPort: 80, bridge: "br0")
    }

    @Test func aPublishedPortIsOneElement() {
        let network = Topology.network0
        #expect(
            ruleset.elements(of: port("0.0.0.0", "172.30.0.2"), on: network)
                == [RulesetElement(set: "published-any4", key: "tcp . 8080", value: "172.30.0.2 . 80")])
        #expect(
            ruleset.elements(of: port("::", "fd00:30::2", .sctp), on: network)
                == [RulesetElement(set: "published-any6", key: "sctp . 8080", value: "fd00:30::2 . 80")])
        #expect(
            ruleset.elements(of: port("127.0.0.1", "172.30.0.2", .udp), on: network)
                == [RulesetElement(set: "published4", key: "127.0.0.1 . udp . 8080", value: "172.30.0.2 . 80")])
        // Those that a relay carries.
        #expect(ruleset.elements(of: port("::1", "fd00:30::2"), on: network) == [])
        #expect(ruleset.elements(of: port("::", "172.30.0.2"), on: network) == [])
    }

    @Test func internalNetworksPublishNothing() {
        var network = Topology.network0
        network.isInternal = true
        #expect(ruleset.elements(of: port("0.0.0.0", "172.30.0.2"), on: network) == [])
    }

    @Test func elementsOfOneSetGoTogether() {
        let elements = [
            RulesetElement(set: "a", key: "2", value: "x"), RulesetElement(set: "b", key: "3"),
            RulesetElement(set: "a", key: "1", value: "y"),
        ]
        #expect(
            ruleset.addition(of: elements)
                == "add element inet mycontainer-0011aabb a { 1 : y, 2 : x }\n"
                + "add element inet mycontainer-0011aabb b { 3 }\n")
        #expect(ruleset.removal(of: [RulesetElement]()) == "")
    }

    @Test(arguments: ["br*", "a\"b", "a;b", "a b", "", "a{b", "a123456789012345"])
    func namesThatNftWouldMisreadAreRefused(_ name: String) {
        #expect(throws: NetworkingError.self) { try Ruleset.check(FirewallNetwork(bridge: name, subnets: [])) }
        #expect(throws: NetworkingError.self) {
            try Ruleset.check(FirewallNetwork(bridge: "br0", subnets: [], trustedInterfaces: ["eth0", name]))
        }
    }

    @Test(arguments: ["br-1f_2.x", "eth0.10", "docker0"]) func namesOfEveryDayPass(_ name: String) throws {
        try Ruleset.check(FirewallNetwork(bridge: name, subnets: []))
    }
}
