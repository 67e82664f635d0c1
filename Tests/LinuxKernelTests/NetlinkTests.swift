import CLinux
import Glibc
import Testing

@testable import LinuxKernel

/// A message as the kernel writes it.
private func message(type: UInt16, length: UInt32? = nil, payload: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    func append(_ number: some FixedWidthInteger) { withUnsafeBytes(of: number) { bytes.append(contentsOf: $0) } }
    append(length ?? UInt32(16 + payload.count))
    append(type)
    append(UInt16(0))
    append(UInt32(7))
    append(UInt32(0))
    return bytes + payload
}

private func attribute(_ type: UInt16, _ value: [UInt8], length: UInt16? = nil) -> [UInt8] {
    var bytes: [UInt8] = []
    withUnsafeBytes(of: length ?? UInt16(4 + value.count)) { bytes.append(contentsOf: $0) }
    withUnsafeBytes(of: type) { bytes.append(contentsOf: $0) }
    return bytes + value + [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
}

/// Whatever is in a packet, nothing outside it is read.
@Suite struct NetlinkParsingTests {
    @Test func splitsAPacket() {
        let packet = message(type: 16, payload: [1, 2, 3, 4, 5]) + [0, 0, 0] + message(type: 3, payload: [])
        let replies = NetlinkReply.split(packet[...])
        #expect(replies.map(\.type) == [16, 3])
        #expect(replies.map(\.sequence) == [7, 7])
        #expect(Array(replies[0].payload) == [1, 2, 3, 4, 5])
        #expect(replies[1].payload.isEmpty)
    }

    @Test(arguments: [0, 1, 15, 17, 400, UInt32.max])
    func stopsAtALengthThatCantBe(length: UInt32) {
        let packet = message(type: 16, payload: []) + message(type: 17, length: length, payload: [])
        #expect(NetlinkReply.split(packet[...]).map(\.type) == [16])
    }

    @Test func stopsWhereThePacketIsCutShort() {
        let whole = message(type: 16, payload: [UInt8](repeating: 9, count: 40))
        for count in 0..<whole.count { #expect(NetlinkReply.split(whole[..<count]).isEmpty) }
    }

    @Test func readsAttributes() {
        let list = NetlinkAttributes(
            bytes: (attribute(3, Array("eth0\0".utf8)) + attribute(4 | 0x8000, [1, 0, 0, 0]) + attribute(5, []))[...])
        #expect(list.map(\.type) == [3, 4, 5])
        #expect(list.text(3) == "eth0")
        #expect(list.number(4) as UInt32? == 1)
        #expect(list.number(4) as UInt64? == nil)
        #expect(list.number(5) as UInt8? == nil)
        #expect(list[6] == nil)
        #expect(list.address(4)?.description == "1.0.0.0" && list.address(3) == nil)
    }

    @Test(arguments: [0, 3, 9, UInt16.max])
    func stopsAtAnAttributeThatIsTooLong(length: UInt16) {
        let list = NetlinkAttributes(bytes: (attribute(1, [1]) + attribute(2, [1, 2, 3, 4], length: length))[...])
        #expect(list.map(\.type) == [1])
    }

    @Test func whatIsShorterThanItsKindIsNothing() {
        for type in [RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWQDISC] {
            for count in 0..<12 {
                let packet = message(type: UInt16(type), payload: [UInt8](repeating: 0xFF, count: count))
                for reply in NetlinkReply.split(packet[...]) {
                    #expect(Link(reply) == nil && InterfaceAddress(reply) == nil && QueueDiscipline(reply) == nil)
                    #expect(Route(reply) == nil)
                }
            }
        }
    }
}

@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct NetlinkSocketTests {
    @Test func makesAndDescribesLinks() throws {
        try inNetworkNamespace {
            let socket = try NetlinkSocket()
            let mac = MACAddress("02:00:00:00:00:01")!
            try socket.request("make a bridge", .makeBridge(name: "bridge0", mac: mac, mtu: 1400))
            let bridge = try #require(Link(try socket.get("look", .getLink(.name("bridge0")))))
            #expect(bridge.kind == "bridge" && bridge.mac == mac && bridge.mtu == 1400 && !bridge.isUp)
            var change = LinkChange()
            change.isUp = true
            change.alias = "what it is for"
            change.name = "bridge1"
            try socket.request("change it", .changeLink(.index(bridge.index), change))
            let changed = try socket.dump("list", .listLinks()).compactMap(Link.init)
            #expect(Set(changed.map(\.name)) == ["lo", "bridge1"])
            #expect(changed.contains { $0.isUp && $0.alias == "what it is for" && $0.index == bridge.index })
            try socket.request("remove it", .removeLink(.name("bridge1")))
            #expect(throws: NetlinkError("look", errno: ENODEV)) {
                try socket.get("look", .getLink(.index(bridge.index)))
            }
        }
    }

    @Test func everyMessageOfABatchIsTriedAndAnswered() throws {
        try inNetworkNamespace {
            let socket = try NetlinkSocket()
            let failures = try socket.perform([
                .makeIfb(name: "a"), .makeIfb(name: "a"), .removeLink(.name("none")), .makeIfb(name: "b"),
            ])
            #expect(failures.map { $0?.errno } == [nil, EEXIST, ENODEV, nil])
            #expect(try socket.dump("list", .listLinks()).count == 3)
            #expect(try socket.perform([]).isEmpty)
        }
    }

    @Test func errorsCarryTheKernelsWords() throws {
        try inNetworkNamespace {
            let socket = try NetlinkSocket()
            let error = #expect(throws: NetlinkError.self) {
                try socket.request(
                    "add a route", .setRoute(to: IPNetwork("10.0.0.0/8")!, via: IPAddress("192.0.2.1")!, index: 1))
            }
            #expect(error?.errno == ENETUNREACH)
            #expect(error?.explanation?.isEmpty == false)
            #expect(error.map { "\($0)".hasPrefix("add a route: \($0.explanation!) (") } == true)
        }
    }

    @Test func keepsAddressesAndRoutes() throws {
        try inNetworkNamespace {
            let socket = try NetlinkSocket()
            var up = LinkChange()
            up.isUp = true
            try socket.request("make", .makeIfb(name: "a"), .changeLink(.name("a"), up))
            let index = try #require(Link(try socket.get("look", .getLink(.name("a"))))).index
            let addresses = [IPNetwork("10.1.0.2/16")!, IPNetwork("fd00:1::2/64")!]
            for address in addresses { try socket.request("add", .addAddress(address, index: index)) }
            let kept = try socket.dump("list", .listAddresses()).compactMap(InterfaceAddress.init)
            #expect(addresses.allSatisfy { kept.contains(InterfaceAddress(index: index, address: $0)) })

            try socket.request(
                "route", .setRoute(to: IPNetwork("0.0.0.0/0")!, via: IPAddress("10.1.0.1")!, index: index),
                .setRoute(to: IPNetwork("192.0.2.0/24")!, via: nil, index: index))
            let routes = try socket.dump("list", .listRoutes(ipv6: false)).compactMap(Route.init)
            #expect(routes.contains { $0.isDefault && $0.gateway == IPAddress("10.1.0.1") && $0.index == index })
            #expect(routes.contains { $0.destination == IPNetwork("192.0.2.0/24") && $0.gateway == nil })
            try socket.request("remove", .removeRoute(routes.first(where: \.isDefault)!))
            #expect(
                try !socket.dump("list", .listRoutes(ipv6: false)).compactMap(Route.init).contains(where: \.isDefault))
            try socket.request("remove", .removeAddress(addresses[1], index: index))
            #expect(
                try !socket.dump("list", .listAddresses()).compactMap(InterfaceAddress.init)
                    .contains { $0.address == addresses[1] })
        }
    }

    @Test func shapesBeyondFourGigabytesASecond() throws {
        try inNetworkNamespace {
            let socket = try NetlinkSocket()
            try socket.request("make", .makeIfb(name: "a"))
            let index = try #require(Link(try socket.get("look", .getLink(.name("a"))))).index
            for rate: UInt64 in [1_000_000, 5_000_000_000] {
                try socket.request(
                    "shape", .setTokenBucket(index: index, bytesPerSecond: rate, burst: 100_000, limit: 200_000))
                let queues = try socket.dump("list", .listQueues()).compactMap(QueueDiscipline.init)
                #expect(queues.contains(QueueDiscipline(index: index, kind: "tbf", bytesPerSecond: rate)))
            }
            try socket.request("remove", .removeQueue(index: index, at: .root))
            #expect(
                try !socket.dump("list", .listQueues()).compactMap(QueueDiscipline.init).contains { $0.kind == "tbf" })
        }
    }

    /// A container with CAP_NET_ADMIN may send to the socket that we have in its namespace.
    @Test func believesTheKernelOnly() throws {
        try inNetworkNamespace {
            let descriptor = try NetlinkSocket.open()
            let raw = dup(descriptor.raw)
            defer { close(raw) }
            let socket = NetlinkSocket(adopting: descriptor)
            // It has its address from its first request on.
            try socket.request("make", .makeIfb(name: "a"))
            var own = sockaddr_nl()
            var length = socklen_t(MemoryLayout<sockaddr_nl>.size)
            withUnsafeMutablePointer(to: &own) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(raw, $0, &length) }
            }
            // Acknowledgements of requests to come, all of them refusals; more than the socket's buffer holds.
            let stranger = try NetlinkSocket.open()
            var delivered = 0
            for sequence in UInt32(1)...2000 {
                var packet = message(type: UInt16(NLMSG_ERROR), payload: [0xFF, 0xFF, 0xFF, 0xFF])
                withUnsafeBytes(of: sequence) { packet.replaceSubrange(8..<12, with: $0) }
                let sent = withUnsafePointer(to: &own) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        sendto(stranger.raw, packet, packet.count, Int32(MSG_DONTWAIT), $0, length)
                    }
                }
                if sent > 0 { delivered += 1 }
            }
            #expect(delivered > 0)
            _ = try? socket.dump("list", .listLinks())
            try socket.request("make", .makeIfb(name: "b"))
            #expect(try socket.dump("list", .listLinks()).count == 3)
        }
    }
}
