import LinuxKernel
import Testing

@testable import Networking

@Suite struct AddressManagerTests {
    private let id0 = String(repeating: "a1", count: 32)
    private let id1 = String(repeating: "b2", count: 32)

    private func network(_ text: String) -> IPNetwork { IPNetwork(text)! }
    private func address(_ text: String) -> IPAddress { IPAddress(text)! }

    /// The message of what must be refused.
    private func refusal(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "nothing was refused"
        } catch { return "\(error)" }
    }

    @Test func poolsAreUsedInDockersOrderAndThenMore() throws {
        var manager = AddressManager(instance: "0011aabb")
        var subnets: [IPNetwork] = []
        for number in 0..<300 {
            let id = "\(number)" + String(repeating: "0", count: 61)
            subnets.append(try manager.addNetwork(id, name: "n\(number)", [SubnetRequest()])[0].network)
        }
        #expect(subnets[0] == network("172.17.0.0/16"))
        #expect(subnets[1] == network("172.18.0.0/16"))
        #expect(subnets[14] == network("172.31.0.0/16"))
        #expect(subnets[15] == network("192.168.0.0/20"))
        #expect(subnets[30] == network("192.168.240.0/20"))
        #expect(subnets[31] == network("10.0.0.0/24"))
        #expect(subnets[299] == network("10.1.12.0/24"))
        #expect(Set(subnets).count == 300)
    }

    @Test func avoidsWhatTheHostHas() throws {
        var manager = AddressManager(instance: "0011aabb")
        let host = ["172.17.5.0/24", "172.16.0.0/14", "172.20.1.1/32"].map(network)
        #expect(
            try manager.addNetwork(id0, name: "a", [SubnetRequest()], avoiding: host)[0].network
                == network("172.21.0.0/16"))
        // A default route overlaps everything; only an owner that passes it would find the pools empty.
        let refused = refusal {
            _ = try manager.addNetwork(id1, name: "b", [SubnetRequest()], avoiding: [network("0.0.0.0/0")])
        }
        #expect(refused.hasPrefix("all predefined address pools have been fully subnetted"))
    }

    @Test func aPoolIsSearchedPastLargeAndSmallObstacles() {
        let pool = AddressPool(base: network("10.0.0.0/8"), size: 24)!
        #expect(pool.firstFree(among: []) == network("10.0.0.0/24"))
        #expect(pool.firstFree(among: [network("10.0.0.0/9"), network("10.128.0.7/32")]) == network("10.128.1.0/24"))
        #expect(pool.firstFree(among: [network("8.0.0.0/5")]) == nil)
        #expect(pool.firstFree(among: [network("10.0.0.0/9"), network("10.128.0.0/9")]) == nil)
        let top = AddressPool(base: network("255.255.255.0/24"), size: 32)!
        #expect(top.firstFree(among: [network("255.255.255.0/24")]) == nil)
        #expect(AddressPool(base: network("10.0.0.0/8"), size: 7) == nil)
    }

    @Test func gatewayIsFirstAndContainersFollow() throws {
        var manager = AddressManager(instance: "0011aabb")
        let subnet = try manager.addNetwork(id0, name: "a", [SubnetRequest()])[0]
        #expect(subnet.gateway == address("172.17.0.1"))
        #expect(try manager.allocate(in: id0) == network("172.17.0.2/16"))
        #expect(try manager.allocate(in: id0) == network("172.17.0.3/16"))
    }

    @Test func releasedAddressesRestBeforeTheyAreUsedAgain() throws {
        var manager = AddressManager(instance: "0011aabb")
        _ = try manager.addNetwork(id0, name: "a", [SubnetRequest(subnet: network("10.9.0.0/29"))])
        let all = try (0..<5).map { _ in try manager.allocate(in: id0).address }
        #expect(all.map(\.description) == (2...6).map { "10.9.0.\($0)" })
        #expect(refusal { _ = try manager.allocate(in: id0) }.hasPrefix("no available IPv4 addresses"))
        manager.release(all[3], in: id0)
        manager.release(all[1], in: id0)
        manager.release(all[1], in: id0)
        #expect(try manager.allocate(in: id0).address == all[3])
        #expect(try manager.allocate(in: id0).address == all[1])
        #expect(refusal { _ = try manager.allocate(in: id0) }.contains("address pools: a (\(id0))"))
    }

    @Test func restingAddressesAreBounded() throws {
        var manager = AddressManager(instance: "0011aabb")
        _ = try manager.addNetwork(id0, name: "a", [SubnetRequest()])
        var seen: [IPAddress] = []
        for _ in 0..<(SubnetLeases.restingMaximum + 2) {
            let next = try manager.allocate(in: id0).address
            seen.append(next)
            manager.release(next, in: id0)
        }
        #expect(Set(seen).count == SubnetLeases.restingMaximum + 1)
        #expect(seen.last == seen.first)
    }

    @Test func preferredAddresses() throws {
        var manager = AddressManager(instance: "0011aabb")
        _ = try manager.addNetwork(id0, name: "a", [SubnetRequest(subnet: network("10.9.0.0/24"))])
        #expect(try manager.allocate(in: id0, preferred: address("10.9.0.2")) == network("10.9.0.2/24"))
        #expect(try manager.allocate(in: id0) == network("10.9.0.3/24"))
        #expect(
            refusal { _ = try manager.allocate(in: id0, preferred: address("10.9.0.2")) }
                == "Address already in use: 10.9.0.2")
        #expect(
            refusal { _ = try manager.allocate(in: id0, preferred: address("10.9.0.1")) }
                == "Address already in use: 10.9.0.1")
        #expect(
            refusal { _ = try manager.allocate(in: id0, preferred: address("10.8.0.1")) }
                == "invalid address 10.8.0.1: It does not belong to any of this network's subnets")
        for reserved in ["10.9.0.0", "10.9.0.255"] {
            #expect(
                refusal { _ = try manager.allocate(in: id0, preferred: address(reserved)) }.contains("broadcast"))
        }
        // Asked for again by the one who had it.
        manager.release(address("10.9.0.2"), in: id0)
        #expect(try manager.allocate(in: id0, preferred: address("10.9.0.2")) == network("10.9.0.2/24"))
    }

    @Test func rangesGatewaysAndAuxiliaryAddresses() throws {
        var manager = AddressManager(instance: "0011aabb")
        let subnet = try manager.addNetwork(
            id0, name: "a",
            [
                SubnetRequest(
                    subnet: network("172.28.0.0/16"), range: network("172.28.5.0/29"),
                    gateway: address("172.28.5.4"), auxiliary: ["printer": address("172.28.5.1")])
            ])[0]
        #expect(subnet.gateway == address("172.28.5.4"))
        let chosen = try (0..<6).map { _ in try manager.allocate(in: id0).address.description }
        #expect(chosen == [0, 2, 3, 5, 6, 7].map { "172.28.5.\($0)" })
        #expect(throws: NetworkingError.self) { try manager.allocate(in: id0) }
        // Of the subnet, though not of the range.
        #expect(try manager.allocate(in: id0, preferred: address("172.28.9.9")).address == address("172.28.9.9"))
        manager.release(address("172.28.9.9"), in: id0)
        #expect(throws: NetworkingError.self) { try manager.allocate(in: id0) }
        // A reserved address can't be released by mistake.
        manager.release(address("172.28.5.1"), in: id0)
        #expect(throws: NetworkingError.self) { try manager.allocate(in: id0, preferred: address("172.28.5.1")) }
    }

    @Test func refusesWhatIsOutside() {
        var manager = AddressManager(instance: "0011aabb")
        let requests = [
            SubnetRequest(subnet: network("10.9.0.0/24"), range: network("10.8.0.0/28")),
            SubnetRequest(subnet: network("10.9.0.0/24"), range: network("10.9.0.0/16")),
            SubnetRequest(subnet: network("10.9.0.0/24"), gateway: address("10.8.0.1")),
            SubnetRequest(subnet: network("10.9.0.0/24"), auxiliary: ["a": address("10.8.0.1")]),
            SubnetRequest(
                subnet: network("10.9.0.0/24"), gateway: address("10.9.0.1"), auxiliary: ["a": address("10.9.0.1")]),
            SubnetRequest(subnet: network("10.9.0.0/32")),
        ]
        for request in requests {
            #expect(throws: NetworkingError.self) { try manager.addNetwork(id0, name: "a", [request]) }
        }
        // None of it left anything behind.
        #expect(manager.subnets(of: id0).isEmpty)
        #expect(throws: Never.self) {
            try manager.addNetwork(id0, name: "a", [SubnetRequest(subnet: network("10.9.0.0/24"))])
        }
    }

    @Test func overlapsAreRefusedUntilTheNetworkIsGone() throws {
        var manager = AddressManager(instance: "0011aabb")
        _ = try manager.addNetwork(id0, name: "a", [SubnetRequest(subnet: network("10.9.0.0/24"))])
        let inside = SubnetRequest(subnet: network("10.9.0.128/25"))
        #expect(
            refusal { _ = try manager.addNetwork(id1, name: "b", [inside]) }
                == "invalid pool request: Pool overlaps with other one on this address space")
        manager.removeNetwork(id0)
        #expect(try manager.addNetwork(id1, name: "b", [inside])[0].gateway == address("10.9.0.129"))
        // Two of one network's own.
        #expect(throws: NetworkingError.self) {
            try manager.addNetwork(
                id0, name: "a",
                [SubnetRequest(subnet: network("10.7.0.0/16")), SubnetRequest(subnet: network("10.7.1.0/24"))])
        }
    }

    @Test func uniqueLocalPrefixes() throws {
        var manager = AddressManager(instance: "0011aabb")
        var same = AddressManager(instance: "0011aabb")
        var another = AddressManager(instance: "0011aabc")
        let request = SubnetRequest(isIPv6: true)
        let subnet = try manager.addNetwork(id0, name: "a", [SubnetRequest(), request])[1]
        #expect(subnet.network.prefixLength == 64)
        #expect(network("fd00::/8").contains(subnet.network.address))
        #expect(subnet.gateway == subnet.network.firstAddress.advanced(by: 1))
        #expect(try same.addNetwork(id0, name: "a", [request])[0] == subnet)
        #expect(try another.addNetwork(id0, name: "a", [request])[0].network != subnet.network)
        #expect(
            try manager.allocate(in: id0, isIPv6: true).address == subnet.network.firstAddress.advanced(by: 2))
        // The host has that very prefix: the next is taken.
        let moved = try another.addNetwork(id1, name: "b", [request])[0].network
        var third = AddressManager(instance: "0011aabc")
        let avoided = try third.addNetwork(id1, name: "b", [request], avoiding: [moved, network("::/0")])[0].network
        #expect(avoided != moved && avoided.prefixLength == 64)
    }

    @Test func subnetsSurviveInRecords() throws {
        var manager = AddressManager(instance: "0011aabb")
        let granted = try manager.addNetwork(
            id0, name: "a",
            [SubnetRequest(auxiliary: ["x": address("172.17.0.9")]), SubnetRequest(isIPv6: true, hasGateway: false)])
        var later = AddressManager(instance: "0011aabb")
        #expect(
            try later.addNetwork(id0, name: "a", granted.map(SubnetRequest.init), avoiding: granted.map(\.network))
                == granted)
        #expect(granted[1].gateway == nil)
        #expect(try later.allocate(in: id0, isIPv6: true).address == granted[1].network.firstAddress.advanced(by: 1))
    }

    @Test func tinySubnets() throws {
        var manager = AddressManager(instance: "0011aabb")
        // RFC 3021: both addresses of a /31 are hosts.
        let pair = try manager.addNetwork(id0, name: "a", [SubnetRequest(subnet: network("10.9.0.0/31"))])[0]
        #expect(pair.gateway == address("10.9.0.0"))
        #expect(try manager.allocate(in: id0) == network("10.9.0.1/31"))
        #expect(throws: NetworkingError.self) { try manager.allocate(in: id0) }
        _ = try manager.addNetwork(id1, name: "b", [SubnetRequest(subnet: network("10.9.1.0/32"), hasGateway: false)])
        #expect(try manager.allocate(in: id1) == network("10.9.1.0/32"))
    }

    /// Behind the last address of IPv6 there is no number, and behind all there are no pieces of a pool of everything.
    @Test func theLastAddressThereIs() throws {
        var manager = AddressManager(instance: "0011aabb")
        let end = address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
        let range = SubnetRequest(
            subnet: network("ffff:ffff:ffff:ffff::/64"), range: IPNetwork(host: end), hasGateway: false)
        _ = try manager.addNetwork(id0, name: "a", [range])
        for _ in 0..<2 {
            #expect(try manager.allocate(in: id0, isIPv6: true).address == end)
            #expect(throws: NetworkingError.self) { try manager.allocate(in: id0, isIPv6: true) }
            manager.release(end, in: id0)
        }
        manager.removeNetwork(id0)
        let full = SubnetRequest(
            subnet: IPNetwork(end, prefixLength: 127), auxiliary: ["a": end, "b": end.advanced(by: -1)!])
        #expect(
            refusal { _ = try manager.addNetwork(id0, name: "a", [full]) }.contains("no address left for a gateway"))
        #expect(AddressPool(base: network("::/0"), size: 0) == nil)
    }

    @Test func anUnknownNetwork() {
        var manager = AddressManager(instance: "0011aabb")
        #expect(throws: NetworkingError.self) { try manager.allocate(in: id0) }
        manager.release(address("10.0.0.1"), in: id0)
        manager.removeNetwork(id0)
    }
}
