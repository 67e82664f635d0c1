import Glibc
import LinuxKernel
import Testing

@testable import Networking

private let instance = "0123abcd"

private func plan(_ name: String, ipv6: Bool = false) -> BridgePlan {
    BridgePlan(
        name: name, gateways: [IPNetwork("172.30.0.1/16")!] + (ipv6 ? [IPNetwork("fd00:1::1/64")!] : []),
        networkID: "net1")
}

private func endpoint(
    _ bridge: String, _ last: UInt8, interface: String = "eth0", ipv6: Bool = false, isolated: Bool = false
) -> EndpointPlan {
    let address = IPAddress.v4(172, 30, 0, last)
    return EndpointPlan(
        parent: .bridge(bridge), interfaceName: interface, mac: MACAddress(for: address)!,
        addresses: [IPNetwork(address, prefixLength: 16)!] + (ipv6 ? [IPNetwork("fd00:1::\(last)/64")!] : []),
        gateways: [IPAddress("172.30.0.1")!] + (ipv6 ? [IPAddress("fd00:1::1")!] : []), isolated: isolated)
}

/// Sends a datagram from one namespace to another address and gives what arrived there.
private func pass(
    _ host: TestHost, from sender: Sandbox?, to receiver: Sandbox, _ address: String, text: String = "hello"
) throws -> String {
    let target = IPAddress(address)!
    let listening = try host.inside(receiver) { () throws -> Box in
        let socket = try InternetSocket(ipv6: target.isIPv6)
        try socket.bind(target, 4000)
        return Box(socket)
    }
    let send = {
        let socket = try InternetSocket(ipv6: target.isIPv6)
        try socket.connect(target, 4000)
        try socket.send(text)
    }
    if let sender { try host.inside(sender, send) } else { try send() }
    return try listening.socket.receive()
}

private final class Box {
    let socket: InternetSocket
    init(_ socket: consuming InternetSocket) { self.socket = socket }
}

@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct BridgeTests {
    @Test func isMadeOnceAndRemoved() throws {
        try TestHost.run { _ in
            let links = try Links(instance: instance)
            let name = try links.newBridgeName()
            #expect(name.hasPrefix("br\(instance)") && name.utf8.count == 15)
            var plan = plan(name, ipv6: true)
            plan.mtu = 1400
            try links.ensureBridge(plan)
            let made = try #require(try links.link(name))
            #expect(made.isUp && made.kind == "bridge" && made.mtu == 1400)
            #expect(TestHost.sysctl("ipv4/ip_forward") == "1")
            #expect(TestHost.sysctl("ipv6/conf/all/forwarding") == "1")
            #expect(TestHost.sysctl("ipv4/conf/\(name)/route_localnet") == "1")
            #expect(TestHost.sysctl("ipv6/conf/\(name)/accept_ra") == "0")
            let subnets = try links.hostNetworks()
            for subnet in ["172.30.0.0/16", "fd00:1::/64"] {
                #expect(subnets.contains(HostNetwork(network: IPNetwork(subnet)!, interface: name)))
            }

            // Again, with other gateways: the same bridge, and only what is wanted on it.
            plan.gateways = [IPNetwork("172.31.0.1/16")!]
            plan.mtu = 1300
            try links.ensureBridge(plan)
            let again = try #require(try links.link(name))
            #expect(again.index == made.index && again.mac == made.mac && again.mtu == 1300)
            #expect(try links.hostNetworks().map(\.network.network).allSatisfy { $0 == IPNetwork("172.31.0.0/16") })
            #expect(try links.leftovers() == [name])

            try links.removeBridge(plan)
            #expect(try links.link(name) == nil)
            try links.removeBridge(plan)
            #expect(try links.leftovers().isEmpty)
        }
    }

    @Test func withoutIPv6AddressesHasNone() throws {
        try TestHost.run { _ in
            let links = try Links(instance: instance)
            try links.ensureBridge(plan("plain"))
            #expect(TestHost.sysctl("ipv6/conf/plain/disable_ipv6") == "1")
            #expect(TestHost.sysctl("ipv6/conf/all/forwarding") == "0")
        }
    }

    @Test func aNameThatIsTakenIsAConflict() throws {
        try TestHost.run { _ in
            let links = try Links(instance: instance)
            try links.socket.request("make", .makeIfb(name: "taken"))
            let notABridge = #expect(throws: NetworkingError.self) { try links.ensureBridge(plan("taken")) }
            #expect(notABridge?.kind == .conflict)
            #expect(notABridge?.message.contains("isn't a bridge (ifb)") == true)

            try links.ensureBridge(plan("mine"))
            var other = plan("mine")
            other.networkID = "net2"
            let anothers = #expect(throws: NetworkingError.self) { try links.ensureBridge(other) }
            #expect(anothers?.kind == .conflict && anothers?.message.contains("net1") == true)
            #expect(throws: NetworkingError.self) { try links.ensureBridge(plan("sixteen-letters!")) }
        }
    }

    @Test func anAdministratorsBridgeIsUsedAndLeft() throws {
        try TestHost.run { _ in
            let links = try Links(instance: instance)
            let own = IPNetwork("10.9.0.1/24")!
            try links.socket.request("make", .makeBridge(name: "office", mac: .random(), mtu: nil))
            let index = try #require(try links.link("office")).index
            try links.socket.request("address", .addAddress(own, index: index))
            try links.ensureBridge(plan("office"))
            try links.ensureBridge(plan("office"))
            #expect(try links.leftovers().isEmpty)
            try links.removeBridge(plan("office"))
            #expect(try links.socket.addresses().filter { $0.index == index }.map(\.address) == [own])
        }
    }
}

@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct EndpointTests {
    @Test func containersReachEachOtherAndTheHost() throws {
        try TestHost.run { host in
            let links = try Links(instance: instance)
            try links.ensureBridge(plan("net", ipv6: true))
            let first = try host.sandbox(1)
            let second = try host.sandbox(2)
            let attachment = try links.attach(endpoint("net", 2, ipv6: true), to: first)
            _ = try links.attach(endpoint("net", 3, ipv6: true), to: second)
            #expect(attachment.interfaceName == "eth0")
            #expect(attachment.hostName?.hasPrefix("ve\(instance)") == true && attachment.hostName?.utf8.count == 15)
            // IPv6 at once: no address is tentative.
            for address in ["172.30.0.3", "fd00:1::3"] {
                #expect(try pass(host, from: first, to: second, address) == "hello")
                #expect(try pass(host, from: nil, to: second, address) == "hello")
            }
            let link = try #require(
                try first.use { (open) throws(NetworkingError) in
                    try sentence("look") { () throws(NetlinkError) in try open.netlink.link(.name("eth0")) }
                })
            #expect(link.mac?.description == "02:42:ac:1e:00:02" && link.mtu == 1500 && link.isUp)
            // Five octets of text, UDP, IP and Ethernet headers.
            let sent = try #require(try first.counters()["eth0"])
            #expect(sent.sentPackets >= 2 && sent.sentBytes >= 2 * (5 + 8 + 20 + 14))
            #expect(try first.counters().keys.sorted() == ["eth0"])
        }
    }

    @Test func withoutIPv6AddressesAnInterfaceHasNone() throws {
        try TestHost.run { host in
            let links = try Links(instance: instance)
            try links.ensureBridge(plan("net", ipv6: true))
            let plain = try host.sandbox(1)
            let both = try host.sandbox(2)
            _ = try links.attach(endpoint("net", 2), to: plain)
            _ = try links.attach(endpoint("net", 3, ipv6: true), to: both)
            #expect(try host.inside(plain) { TestHost.sysctl("ipv6/conf/eth0/disable_ipv6") } == "1")
            #expect(try host.inside(plain) { TestHost.sysctl("ipv6/conf/lo/disable_ipv6") } == "0")
            #expect(try host.inside(both) { TestHost.sysctl("ipv6/conf/eth0/disable_ipv6") } == "0")
            #expect(try host.inside(both) { TestHost.sysctl("ipv6/conf/eth0/accept_ra") } == "0")
            let onHost = try links.socket.addresses().filter { $0.address.isIPv6 && $0.address.address.isLinkLocal }
            let ports = Set(try links.leftovers()).subtracting(["net"])
            let names = try links.socket.links().filter { link in onHost.contains { $0.index == link.index } }
            #expect(names.allSatisfy { !ports.contains($0.name) })
        }
    }

    @Test func isolatedPortsReachTheHostOnly() throws {
        try TestHost.run { host in
            let links = try Links(instance: instance)
            try links.ensureBridge(plan("net"))
            let sandboxes = try (1...3).map { try host.sandbox($0) }
            for (index, sandbox) in sandboxes.enumerated() {
                _ = try links.attach(endpoint("net", UInt8(index + 2), isolated: index < 2), to: sandbox)
                try host.inside(sandbox) { try TestHost.askNeighboursQuickly("eth0") }
            }
            #expect(try pass(host, from: nil, to: sandboxes[0], "172.30.0.2") == "hello")
            #expect(try pass(host, from: sandboxes[2], to: sandboxes[0], "172.30.0.2") == "hello")
            // No answer to the question for the neighbour's address is an error of the socket that asked.
            let error = #expect(throws: SystemError.self) {
                try host.inside(sandboxes[0]) {
                    try InternetSocket(type: SOCK_STREAM).connect(IPAddress("172.30.0.3")!, 4000)
                }
            }
            #expect(error?.errno == EHOSTUNREACH)
            // Where it is reached, nothing listens.
            let refused = #expect(throws: SystemError.self) {
                try host.inside(sandboxes[2]) {
                    try InternetSocket(type: SOCK_STREAM).connect(IPAddress("172.30.0.3")!, 4000)
                }
            }
            #expect(refused?.errno == ECONNREFUSED)
        }
    }

    @Test func aFullBridgeIsExtended() throws {
        try TestHost.run { host in
            let links = try Links(instance: instance)
            try links.ensureBridge(plan("net"))
            let sandboxes = try (1...3).map { try host.sandbox($0) }
            let first = try links.attach(endpoint("net", 2), to: sandboxes[0])
            let index = try #require(try links.link("net")).index
            var port = LinkChange()
            port.master = index
            let others = (1...1022).map { "port\($0)" }
            let failures = try links.socket.perform(
                others.flatMap { [.makeIfb(name: $0), .changeLink(.name($0), port)] })
            #expect(failures.allSatisfy { $0 == nil })
            let second = try links.attach(endpoint("net", 3), to: sandboxes[1])
            let third = try links.attach(endpoint("net", 4), to: sandboxes[2])

            // The shard has the second, the third and one that made room for the cable, and is nobody's leftover.
            let shards = try links.shards(of: #require(try links.link("net")))
            #expect(shards.count == 1)
            let masters = try [first, second, third].map { try links.link($0.hostName!)?.master }
            #expect(masters == Array(repeating: shards.first?.index, count: 3))
            #expect(
                try Set(links.leftovers()) == Set(["net", first.hostName!, second.hostName!, third.hostName!]))
            #expect(try pass(host, from: sandboxes[0], to: sandboxes[1], "172.30.0.3") == "hello")
            #expect(try pass(host, from: nil, to: sandboxes[1], "172.30.0.3") == "hello")
            #expect(try pass(host, from: nil, to: sandboxes[0], "172.30.0.2") == "hello")
            let distant = try #require(try links.socket.links().first { $0.master == index && $0.kind == "veth" })
            #expect(links.shardedBridge(distant) == "net")

            try links.removeBridge(plan("net"))
            #expect(
                try Set(links.leftovers()) == Set([first.hostName!, second.hostName!, third.hostName!]))
        }
    }

    @Test func severalNetworksAndTheWayOut() throws {
        try TestHost.run { host in
            let links = try Links(instance: instance)
            try links.ensureBridge(plan("one"))
            try links.ensureBridge(
                BridgePlan(name: "two", gateways: [IPNetwork("172.31.0.1/16")!], networkID: "net2"))
            let sandbox = try host.sandbox(1)
            _ = try links.attach(endpoint("one", 2), to: sandbox)
            var second = endpoint("two", 2, interface: "eth1")
            second.addresses = [IPNetwork("172.31.0.2/16")!]
            second.gateways = []
            second.routes = [EndpointRoute(destination: IPNetwork("192.0.2.0/24")!, gateway: IPAddress("172.31.0.9")!)]
            let attachment = try links.attach(second, to: sandbox)

            func defaults() throws -> [IPAddress?] {
                try sandbox.use { (open) throws(NetworkingError) in
                    try sentence("look") { () throws(NetlinkError) in try open.netlink.routes(ipv6: false) }
                }.filter(\.isDefault).map(\.gateway)
            }
            #expect(try defaults() == [IPAddress("172.30.0.1")])
            try links.setDefaultRoutes(
                [DefaultRoute(gateway: IPAddress("172.31.0.1")!, interfaceName: "eth1")], in: sandbox)
            #expect(try defaults() == [IPAddress("172.31.0.1")])
            try links.setDefaultRoutes([], in: sandbox)
            #expect(try defaults().isEmpty)
            // A gateway beyond the interface's subnets is reached on the link.
            try links.setDefaultRoutes(
                [DefaultRoute(gateway: IPAddress("198.51.100.1")!, interfaceName: "eth0")], in: sandbox)
            #expect(try defaults() == [IPAddress("198.51.100.1")])

            try links.detach(attachment, from: sandbox)
            #expect(try sandbox.counters().keys.sorted() == ["eth0"])
            try links.detach(attachment, from: sandbox)
        }
    }

    @Test func aFailureLeavesNothing() throws {
        try TestHost.run { host in
            let links = try Links(instance: instance)
            try links.ensureBridge(plan("net"))
            let sandbox = try host.sandbox(1)
            var wrong = endpoint("net", 2)
            wrong.routes = [EndpointRoute(destination: IPNetwork("10.0.0.0/8")!, gateway: IPAddress("192.0.2.1")!)]
            let error = #expect(throws: NetworkingError.self) { try links.attach(wrong, to: sandbox) }
            #expect(error?.message.hasPrefix("the interface eth0 can't be configured: ") == true)
            #expect(try sandbox.counters().isEmpty)
            #expect(try links.leftovers() == ["net"])

            #expect(throws: NetworkingError.self) { try links.attach(endpoint("none", 2), to: sandbox) }
            _ = try links.attach(endpoint("net", 2), to: sandbox)
            let taken = #expect(throws: NetworkingError.self) { try links.attach(endpoint("net", 3), to: sandbox) }
            #expect(taken?.kind == .conflict)
            #expect(taken?.message.contains("has an interface of that name already") == true)
            #expect(try links.leftovers().count == 2)
        }
    }

    @Test func theInterfaceGoesWithItsSandbox() throws {
        try TestHost.run { host in
            let links = try Links(instance: instance)
            try links.ensureBridge(plan("net"))
            let sandbox = try host.sandbox(1)
            _ = try links.attach(endpoint("net", 2), to: sandbox)
            let path = sandbox.path
            // As by a daemon that was started again.
            sandbox.close()
            #expect(throws: NetworkingError.self) { try sandbox.counters() }
            let reopened = try Sandbox(path: path, provider: ThreadProvider())
            #expect(try reopened.counters().keys.sorted() == ["eth0"])
            try reopened.remove()
            try reopened.remove()
            #expect(access(path, F_OK) != 0)
            for name in try links.leftovers() { try links.remove(name) }
            #expect(try links.leftovers().isEmpty)
            try links.remove("net")
        }
    }

    @Test func macvlanSitsOnItsParent() throws {
        try TestHost.run { host in
            let links = try Links(instance: instance)
            // A veth pair stands for the cable: its other end is the network outside.
            let outside = try host.sandbox(1)
            let cable = try links.attach(
                {
                    var plan = endpoint("net", 9)
                    plan.gateways = []
                    return plan
                }(),
                to: try {
                    try links.ensureBridge(plan("net")); return outside
                }())
            let parent = try #require(cable.hostName)
            let alone = try #require(try links.link(parent))
            var change = LinkChange()
            change.master = 0
            try links.socket.request("leave the bridge", .changeLink(.index(alone.index), change))

            let sandbox = try host.sandbox(2)
            var inner = endpoint("", 2)
            inner.parent = .macvlan(parent: parent, mode: .bridge)
            inner.rates = RateLimits(
                ingress: RateLimit(bitsPerSecond: 80_000_000), egress: RateLimit(bitsPerSecond: 8_000_000))
            let attachment = try links.attach(inner, to: sandbox)
            #expect(attachment == Attachment(hostName: nil, interfaceName: "eth0"))
            #expect(try pass(host, from: sandbox, to: outside, "172.30.0.9") == "hello")
            #expect(try pass(host, from: outside, to: sandbox, "172.30.0.2") == "hello")
            #expect(try sandbox.counters().keys.sorted() == ["eth0"])
            try links.detach(attachment, from: sandbox)
            #expect(try sandbox.counters().isEmpty)
            inner.parent = .macvlan(parent: "none", mode: .bridge)
            let error = #expect(throws: NetworkingError.self) { try links.attach(inner, to: sandbox) }
            #expect(error?.kind == .notFound)
        }
    }
}

@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct RateTests {
    private static func buckets(_ links: Links) throws -> [String: UInt64] {
        let names = try links.socket.links().reduce(into: [Int32: String]()) { $0[$1.index] = $1.name }
        return try links.socket.dump("list", .listQueues()).compactMap(QueueDiscipline.init)
            .reduce(into: [:]) { if let rate = $1.bytesPerSecond { $0[names[$1.index]!] = rate } }
    }

    @Test func areSetChangedAndTakenAway() throws {
        try TestHost.run { host in
            let links = try Links(instance: instance)
            try links.ensureBridge(plan("net"))
            let sandbox = try host.sandbox(1)
            let other = try host.sandbox(2)
            var limited = endpoint("net", 2)
            limited.rates.egress = RateLimit(bitsPerSecond: 8_000_000)
            let attachment = try links.attach(limited, to: sandbox)
            _ = try links.attach(endpoint("net", 3), to: other)
            let veth = try #require(attachment.hostName)
            let ifb = "if" + veth.dropFirst(2)
            #expect(try RateTests.buckets(links) == [ifb: 1_000_000])
            // What leaves goes through the ifb and on.
            #expect(try pass(host, from: sandbox, to: other, "172.30.0.3") == "hello")
            #expect(try #require(try links.link(ifb)).statistics.sentPackets > 0)

            try links.setRates(
                RateLimits(
                    ingress: RateLimit(bitsPerSecond: 40_000_000_000), egress: RateLimit(bitsPerSecond: 16_000_000)),
                of: attachment, in: sandbox)
            #expect(try RateTests.buckets(links) == [ifb: 2_000_000, veth: 5_000_000_000])
            #expect(try pass(host, from: other, to: sandbox, "172.30.0.2") == "hello")

            try links.setRates(RateLimits(), of: attachment, in: sandbox)
            #expect(try RateTests.buckets(links).isEmpty)
            #expect(try links.link(ifb) == nil)
            #expect(try pass(host, from: sandbox, to: other, "172.30.0.3") == "hello")

            try links.setRates(limited.rates, of: attachment, in: sandbox)
            try links.detach(attachment, from: sandbox)
            #expect(try links.link(ifb) == nil && links.link(veth) == nil)
        }
    }

    @Test func aBucketHoldsAtLeastAPacket() {
        let small = TokenBucket(RateLimit(bitsPerSecond: 1, burst: 1), mtu: 9000)
        #expect(small.bytesPerSecond == 1 && small.burst > 9000 && small.limit > small.burst)
        let usual = TokenBucket(RateLimit(bitsPerSecond: 800_000_000), mtu: 1500)
        #expect(usual == TokenBucket(RateLimit(bitsPerSecond: 800_000_000, burst: 1_000_000), mtu: 1500))
        let huge = TokenBucket(RateLimit(bitsPerSecond: .max, burst: .max), mtu: 1500)
        #expect(huge.burst > 1 << 29 && huge.limit > huge.burst)
    }
}

@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct SandboxPoolTests {
    @Test func sandboxesArePinnedWhenTakenAndOthersSweptAway() async throws {
        var template = Array("/tmp/networking-pool-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let directory = String(decoding: template.dropLast().map(UInt8.init), as: UTF8.self)
        let pins = directory + "/netns"
        defer {
            rmdir(pins)
            rmdir(directory)
        }
        let pool = SandboxPool(
            provider: ThreadProvider(), directory: pins, ready: 2, executor: globalConcurrentExecutor)
        let first = try await pool.take()
        let second = try await pool.take()
        #expect(first.path != second.path && first.path.hasPrefix(pins + "/"))
        #expect(try first.counters().isEmpty)
        pool.drain()
        let third = try await pool.take()
        // As left by a daemon that was killed between making the file and mounting on it.
        let torn = pins + "/0000000000000000"
        close(open(torn, O_CREAT | O_WRONLY, 0o600))
        try pool.removeLeftovers(except: [third.path])
        for path in [first.path, second.path, torn] { #expect(access(path, F_OK) != 0) }
        #expect(try Sandbox(path: third.path, provider: ThreadProvider()).counters().isEmpty)
        try third.remove()
        #expect(rmdir(pins) == 0 && rmdir(directory) == 0)
    }
}
