import FoundationEssentials
import LinuxKernel
import Testing

@Suite struct IPAddressTests {
    @Test(arguments: [
        ("0.0.0.0", "0.0.0.0"), ("172.17.0.2", "172.17.0.2"), ("255.255.255.255", "255.255.255.255"), ("::", "::"),
        ("::1", "::1"), ("FD00:0:0:0:0:0:0:1", "fd00::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
    ])
    func readsAndWrites(text: String, canonical: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == canonical)
        #expect(address.isIPv6 == text.contains(":"))
        #expect(IPAddress(bytes: address.bytes) == address)
    }

    @Test(arguments: [
        "", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "1.2.3.4 ", "1.2.3.4/8", "fe80::1%eth0", "[::1]", ":::",
        "1::2::3",
        "localhost", "1.2.3.4\0", "-1.2.3.4", "0x7f.0.0.1",
    ])
    func refuses(text: String) { #expect(IPAddress(text) == nil) }

    @Test func countsWithinItsFamily() throws {
        let address = try #require(IPAddress("172.17.255.255"))
        #expect(address.advanced(by: 1)?.description == "172.18.0.0")
        #expect(address.advanced(by: -65536)?.description == "172.16.255.255")
        #expect(IPAddress("255.255.255.255")!.advanced(by: 1) == nil)
        #expect(IPAddress("0.0.0.0")!.advanced(by: -1) == nil)
        #expect(IPAddress("::ffff:ffff")!.advanced(by: 1)?.description == "::1:0:0")
        #expect(IPAddress.v6(.max).advanced(by: 1) == nil)
    }

    @Test func sortsIPv4BeforeIPv6() {
        let sorted = ["::", "10.0.0.2", "fd00::1", "9.255.0.1"].map { IPAddress($0)! }.sorted()
        #expect(sorted.map(\.description) == ["9.255.0.1", "10.0.0.2", "::", "fd00::1"])
    }

    @Test func knowsItsRanges() {
        #expect(IPAddress("127.3.2.1")!.isLoopback && IPAddress("::1")!.isLoopback)
        #expect(!IPAddress("128.0.0.1")!.isLoopback && !IPAddress("::2")!.isLoopback)
        #expect(IPAddress("169.254.1.1")!.isLinkLocal && IPAddress("febf::1")!.isLinkLocal)
        #expect(!IPAddress("169.255.1.1")!.isLinkLocal && !IPAddress("fec0::1")!.isLinkLocal)
        #expect(IPAddress("239.1.1.1")!.isMulticast && IPAddress("ff02::1")!.isMulticast)
        #expect(!IPAddress("240.0.0.1")!.isMulticast && !IPAddress("fe80::1")!.isMulticast)
        #expect(IPAddress("0.0.0.0")!.isUnspecified && IPAddress("::")!.isUnspecified)
    }

    @Test func isAStringInJSON() throws {
        let values = [IPAddress("10.0.0.1")!, IPAddress("::1")!]
        let data = try JSONEncoder().encode(values)
        #expect(String(decoding: data, as: UTF8.self) == #"["10.0.0.1","::1"]"#)
        #expect(try JSONDecoder().decode([IPAddress].self, from: data) == values)
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([IPAddress].self, from: Data(#"["10.0.0"]"#.utf8))
        }
    }
}

@Suite struct IPNetworkTests {
    @Test func keepsTheHostPart() throws {
        let network = try #require(IPNetwork("172.17.3.1/16"))
        #expect(network.description == "172.17.3.1/16")
        #expect(network.network.description == "172.17.0.0/16")
        #expect(network.firstAddress.description == "172.17.0.0")
        #expect(network.lastAddress.description == "172.17.255.255")
        #expect(network.mask.description == "255.255.0.0")
        #expect(network.size == 65536)
    }

    @Test func reachesFromNothingToEverything() {
        #expect(IPNetwork("10.1.2.3/32")!.size == 1)
        #expect(IPNetwork(host: IPAddress("::1")!).description == "::1/128")
        #expect(IPNetwork("0.0.0.0/0")!.lastAddress.description == "255.255.255.255")
        #expect(IPNetwork("::/0")!.size == .max)
        #expect(IPNetwork("::/0")!.contains(IPAddress("ffff::")!))
        #expect(IPNetwork("fd00::/64")!.size == UInt128(1) << 64)
    }

    @Test(arguments: [
        "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8", "/8",
    ])
    func refuses(text: String) { #expect(IPNetwork(text) == nil) }

    @Test func containsAndOverlaps() {
        let network = IPNetwork("172.17.0.0/16")!
        #expect(network.contains(IPAddress("172.17.255.1")!))
        #expect(!network.contains(IPAddress("172.18.0.0")!))
        #expect(!network.contains(IPAddress("::ac11:1")!))
        #expect(network.overlaps(IPNetwork("172.17.4.0/24")!) && IPNetwork("172.17.4.0/24")!.overlaps(network))
        #expect(network.overlaps(IPNetwork("0.0.0.0/0")!))
        #expect(!network.overlaps(IPNetwork("172.16.0.0/16")!))
        #expect(!IPNetwork("0.0.0.0/0")!.overlaps(IPNetwork("::/0")!))
    }
}

@Suite struct MACAddressTests {
    @Test func readsAndWrites() {
        #expect(MACAddress("02-42-AC-11-00-02")?.description == "02:42:ac:11:00:02")
        for text in [
            "", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "02:42:ac:11:00:0g", "2:42:ac:11:00:02", "+2:42:ac:11:00:02",
        ] {
            #expect(MACAddress(text) == nil)
        }
    }

    @Test func isMadeAsDockerMakesIt() {
        #expect(MACAddress(for: IPAddress("172.17.0.2")!)?.description == "02:42:ac:11:00:02")
        #expect(MACAddress(for: IPAddress("::1")!) == nil)
    }

    @Test func randomOnesAreLocalStations() {
        for _ in 0..<100 {
            let mac = MACAddress.random()
            #expect(mac.bytes[0] & 3 == 2)
            #expect(!mac.isMulticast)
        }
    }
}
