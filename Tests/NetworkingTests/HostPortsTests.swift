import Glibc
import LinuxKernel
import Testing

@testable import Networking

@Suite struct PortBooksTests {
    private let any4 = IPAddress.anyIPv4
    private let any6 = IPAddress.anyIPv6
    private let one = IPAddress("192.0.2.1")!
    private let two = IPAddress("192.0.2.2")!

    @Test func oneAddressDoesNotTakeAnother() {
        var books = PortBooks()
        func take(_ transport: TransportProtocol, _ port: UInt16, _ addresses: [IPAddress]) -> Bool {
            books.takeIfFree(transport, port, addresses)
        }
        #expect(take(.tcp, 80, [one]))
        #expect(!take(.tcp, 80, [one]))
        #expect(take(.tcp, 80, [two]))
        #expect(take(.udp, 80, [one]))
        #expect(take(.tcp, 81, [one]))
        books.release(.tcp, 80, [one])
        #expect(take(.tcp, 80, [one]))
    }

    @Test func everyAddressOfAFamilyTakesAllOfIt() {
        var books = PortBooks()
        func take(_ transport: TransportProtocol, _ port: UInt16, _ addresses: [IPAddress]) -> Bool {
            books.takeIfFree(transport, port, addresses)
        }
        #expect(take(.tcp, 80, [one]))
        #expect(!take(.tcp, 80, [any4]))
        #expect(take(.tcp, 80, [any6]))
        #expect(!take(.tcp, 80, [any4, any6]))
        #expect(take(.tcp, 81, [any4, any6]))
        #expect(!take(.tcp, 81, [one]))
        #expect(!take(.tcp, 81, [IPAddress("::1")!]))
    }

    @Test func ephemeralPortsGoRound() {
        var books = PortBooks()
        #expect(books.nextEphemeral(in: 100...102) == 100)
        books.lastEphemeral = 101
        #expect(books.nextEphemeral(in: 100...102) == 102)
        books.lastEphemeral = 102
        #expect(books.nextEphemeral(in: 100...102) == 100)
        books.lastEphemeral = 7
        #expect(books.nextEphemeral(in: 100...102) == 100)
    }

    @Test func readsTheKernelsList() {
        #expect(EphemeralPorts.parse("8080,9148-9150\n") == [8080...8080, 9148...9150])
        #expect(EphemeralPorts.parse("\n") == [])
        #expect(EphemeralPorts.parse("5-3,x,70000") == [])
    }

    @Test func wherePortsLead() {
        let v4 = IPAddress("172.17.0.2")!
        let v6 = IPAddress("fd00::2")!
        func targets(_ host: String?, _ ipv4: IPAddress?, _ ipv6: IPAddress?, _ transport: TransportProtocol = .tcp)
            -> [String]
        {
            PortRequest(
                transport: transport, hostAddress: host.map { IPAddress($0)! }, containerPort: 80, containerIPv4: ipv4,
                containerIPv6: ipv6, bridge: "br0"
            ).targets().map { "\($0.host)>\($0.container)" }
        }
        #expect(targets("0.0.0.0", v4, v6) == ["0.0.0.0>172.17.0.2"])
        #expect(targets("::", v4, v6) == ["::>fd00::2"])
        #expect(targets("::1", v4, nil) == ["::1>172.17.0.2"])
        #expect(targets("::1", v4, nil, .sctp) == [])
        #expect(targets("127.0.0.1", nil, v6) == [])
    }

    @Test func whatTheKernelCantTranslateIsRelayed() {
        func port(_ host: String, _ container: String, _ transport: TransportProtocol = .tcp) -> PublishedPort {
            PublishedPort(
                transport: transport, hostAddress: IPAddress(host)!, hostPort: 8080,
                containerAddress: IPAddress(container)!, containerPort: 80, bridge: "br0")
        }
        #expect(port("0.0.0.0", "172.17.0.2").isTranslated && !port("0.0.0.0", "172.17.0.2").isRelayed)
        #expect(port("127.0.0.1", "172.17.0.2").isTranslated && !port("127.0.0.1", "172.17.0.2").isRelayed)
        // ::1 and link-local clients remain.
        #expect(port("::", "fd00::2").isTranslated && port("::", "fd00::2").isRelayed)
        #expect(!port("::", "172.17.0.2").isTranslated && port("::", "172.17.0.2").isRelayed)
        #expect(!port("::1", "fd00::2").isTranslated && port("::1", "fd00::2").isRelayed)
        #expect(!port("::", "fd00::2", .sctp).isRelayed)
        #expect(port("::", "fd00::2").description == "[::]:8080:[fd00::2]:80/tcp")
    }
}

@Suite(.enabled(if: canMakeNamespaces), .serialized)
struct HostPortsTests {
    private func request(
        _ host: String?, _ ports: ClosedRange<UInt16>?, _ transport: TransportProtocol = .tcp
    ) -> PortRequest {
        PortRequest(
            transport: transport, hostAddress: host.map { IPAddress($0)! }, hostPorts: ports, containerPort: 80,
            containerIPv4: IPAddress("172.17.0.2"), bridge: "br0")
    }

    private func refusal(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "nothing was refused"
        } catch { return "\(error)" }
    }

    @Test func conflictsSayWhatDockerSays() throws {
        let host = try NetworkNamespace()
        let ports = HostPorts()
        let program = try TestSocket.listen(in: host, "0.0.0.0", 8080)
        try host.inside {
            #expect(
                self.refusal { _ = try ports.reserve([self.request("0.0.0.0", 8080...8080)]) }
                    == "failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use")
            let held = try ports.reserve([self.request(nil, 8081...8081)])[0]
            #expect(held.ports.map(\.description) == ["0.0.0.0:8081:172.17.0.2:80/tcp", "[::]:8081:172.17.0.2:80/tcp"])
            #expect(
                self.refusal { _ = try ports.reserve([self.request("127.0.0.1", 8081...8081)]) }
                    == "Bind for 127.0.0.1:8081 failed: port is already allocated")
            // All or nothing: 8082 is free again.
            #expect(throws: NetworkingError.self) {
                try ports.reserve([self.request("0.0.0.0", 8082...8082), self.request("0.0.0.0", 8080...8080)])
            }
            try ports.reserve([self.request("0.0.0.0", 8082...8082)])[0].release()
            held.release()
            held.release()
            _ = try ports.reserve([self.request("0.0.0.0", 8081...8081)])
        }
        withExtendedLifetime(program) {}
    }

    @Test(arguments: TransportProtocol.allCases) func aHeldPortIsTakenForTheHostToo(_ transport: TransportProtocol)
        throws
    {
        let host = try NetworkNamespace()
        let ports = HostPorts()
        let held = try host.inside { try ports.reserve([self.request("0.0.0.0", 8080...8080, transport)])[0] }
        switch transport {
        case .tcp: #expect(throws: SystemError.self) { try TestSocket.listen(in: host, "127.0.0.1", 8080) }
        case .udp: #expect(throws: SystemError.self) { try TestSocket.datagram(in: host, "127.0.0.1", 8080) }
        // Whether or not the kernel has SCTP.
        case .sctp: break
        }
        #expect(throws: NetworkingError.self) {
            try host.inside { try ports.reserve([self.request("0.0.0.0", 8080...8080, transport)]) }
        }
        held.release()
        _ = try TestSocket.listen(in: host, "127.0.0.1", 8080)
    }

    @Test func rangesTakeTheFirstThatIsFree() throws {
        let host = try NetworkNamespace()
        let ports = HostPorts()
        let program = try TestSocket.listen(in: host, "0.0.0.0", 9001)
        try host.inside {
            let held = try (0..<2).map { _ in try ports.reserve([self.request("0.0.0.0", 9000...9002)])[0] }
            #expect(held.map { $0.ports[0].hostPort } == [9000, 9002])
            // The last thing that was tried was the program's port.
            #expect(
                self.refusal { _ = try ports.reserve([self.request("0.0.0.0", 9000...9002)]) }
                    == "failed to bind host port for 0.0.0.0:9001:172.17.0.2:80/tcp: address already in use")
            let other = try ports.reserve([self.request("0.0.0.0", 9003...9003)])
            #expect(
                self.refusal { _ = try ports.reserve([self.request("0.0.0.0", 9002...9003)]) }
                    == "all ports are allocated")
            withExtendedLifetime((held, other)) {}
        }
        withExtendedLifetime(program) {}
    }

    @Test func ephemeralPortsAreTheKernelsWithoutTheReservedOnes() throws {
        let host = try NetworkNamespace()
        try host.set("ipv4/ip_local_port_range", "40000 40003")
        try host.set("ipv4/ip_local_reserved_ports", "40001")
        let ports = HostPorts()
        try host.inside {
            let held = try (0..<3).map { _ in try ports.reserve([self.request(nil, nil)])[0] }
            #expect(held.map { $0.ports[0].hostPort } == [40000, 40002, 40003])
            #expect(held.allSatisfy { Set($0.ports.map(\.hostPort)).count == 1 && $0.ports.count == 2 })
            #expect(self.refusal { _ = try ports.reserve([self.request(nil, nil)]) } == "all ports are allocated")
        }
    }

    @Test func aHostWithoutIPv6GetsIPv4Only() throws {
        let host = try NetworkNamespace()
        try host.set("ipv6/conf/all/disable_ipv6", "1")
        let ports = HostPorts()
        try host.inside {
            let held = try ports.reserve([self.request(nil, 8080...8080)])[0]
            #expect(held.ports.map(\.hostAddress) == [.anyIPv4])
        }
    }

    @Test func takesOverWhatIsTakenMeanwhile() throws {
        let host = try NetworkNamespace()
        let ports = HostPorts()
        let program = try TestSocket.listen(in: host, "0.0.0.0", 8080)
        try host.inside {
            let held = ports.restore([
                PublishedPort(
                    transport: .tcp, hostAddress: .anyIPv4, hostPort: 8080,
                    containerAddress: IPAddress("172.17.0.2")!, containerPort: 80, bridge: "br0")
            ])
            #expect(held.ports.count == 1)
            #expect(
                self.refusal { _ = try ports.reserve([self.request("0.0.0.0", 8080...8080)]) }
                    == "Bind for 0.0.0.0:8080 failed: port is already allocated")
        }
        withExtendedLifetime(program) {}
    }

    @Test func anAddressThatTheHostLacks() throws {
        let host = try NetworkNamespace()
        let ports = HostPorts()
        try host.inside {
            #expect(
                self.refusal { _ = try ports.reserve([self.request("192.0.2.1", 8080...8080)]) }
                    == "failed to bind host port for 192.0.2.1:8080:172.17.0.2:80/tcp: cannot assign requested address")
        }
    }

    // MARK: Relays

    @Test(arguments: [true, false]) func theIPv6LoopbackIsRelayed(_ containerHasIPv6: Bool) throws {
        let world = try Topology()
        let server = try TestSocket.listen(in: world.web, containerHasIPv6 ? "fd00:30::2" : "172.30.0.2", 80)
        let reservation = try world.publish("::1", 8080, ipv6: containerHasIPv6)
        let client = try TestSocket.connected(in: world.host, to: "::1", 8080)
        let (accepted, from) = try server.accept()
        #expect(from == (containerHasIPv6 ? "fd00:30::1" : "172.30.0.1"))
        try client.send("question")
        #expect(try accepted.receive().text == "question")
        // Half-closed one way, the answer still comes the other.
        client.shutdownOutput()
        #expect(try accepted.receive().text == "")
        try accepted.send("answer")
        accepted.shutdownOutput()
        #expect(try client.receive().text == "answer")
        #expect(try client.receive().text == "")

        // A connection ends with its port.
        let second = try TestSocket.connected(in: world.host, to: "::1", 8080)
        _ = try server.accept()
        reservation.release()
        #expect(throws: SystemError.self) {
            if try second.receive().text == "" { throw SystemError("recv", errno: ECONNRESET) }
        }
        #expect(throws: SystemError.self) { try TestSocket.connected(in: world.host, to: "::1", 8080) }
    }

    @Test func aLotPassesTheRelay() throws {
        let world = try Topology()
        let server = try TestSocket.listen(in: world.web, "fd00:30::2", 80)
        try world.publish(nil, 8080)
        let client = try TestSocket.connected(in: world.host, to: "::1", 8080)
        let (accepted, _) = try server.accept()
        // More than all buffers on the way hold, so that reading has to wait for writing.
        let size = 16 << 20
        // On a thread of its own: other tests may block every one that tasks run on.
        startThread {
            let chunk = String(repeating: "0123456789abcdef", count: 4096)
            var sent = 0
            while sent < size, let count = try? accepted.send(chunk) { sent += count }
            accepted.shutdownOutput()
        }
        var received = 0
        while case let text = try client.receive().text, !text.isEmpty { received += text.utf8.count }
        #expect(received >= size)
    }

    @Test func clientsOnTheLinkAreRelayed() throws {
        let world = try Topology()
        let server = try TestSocket.listen(in: world.web, "fd00:30::2", 80)
        try world.publish(nil, 8080)
        try world.host.run("ip", "addr", "add", "fe80::99/64", "dev", "out", "nodad")
        try world.outside.run("ip", "addr", "add", "fe80::98/64", "dev", "eth0", "nodad")
        let index = try world.outside.inside { if_nametoindex("eth0") }
        let client = try TestSocket.connected(in: world.outside, to: "fe80::99%\(index)", 8080)
        let (_, from) = try server.accept()
        #expect(from == "fd00:30::1")
        withExtendedLifetime(client) {}
    }

    @Test func datagramsAreRelayed() throws {
        let world = try Topology()
        let server = try TestSocket.datagram(in: world.web, "172.30.0.2", 53)
        try world.publish("::1", 5353, to: 53, .udp, ipv6: false)
        let first = try TestSocket.connecting(in: world.host, to: "::1", 5353, SOCK_DGRAM)
        let second = try TestSocket.connecting(in: world.host, to: "::1", 5353, SOCK_DGRAM)
        try first.send("one")
        #expect(try server.echo() == "172.30.0.1")
        #expect(try first.receive().text == "one")
        try second.send("two")
        _ = try server.echo()
        #expect(try second.receive().text == "two")
        try first.send("three")
        _ = try server.echo()
        #expect(try first.receive().text == "three")
        #expect(!first.hasInput && !second.hasInput)
    }

    @Test func nothingReachesAPortBeforeItsContainerIsThere() throws {
        let world = try Topology()
        let ports = world.ports
        let reservation = try world.host.inside {
            try ports.reserve([
                PortRequest(
                    transport: .tcp, hostAddress: IPAddress("0.0.0.0"), hostPorts: 8080...8080, containerPort: 80,
                    containerIPv4: IPAddress("172.30.0.2"), bridge: "br0")
            ])[0]
        }
        // Neither accepted nor refused: the client's second try finds the container.
        let early = try TestSocket.connecting(in: world.outside, to: "198.51.100.1", 8080)
        #expect(!early.isConnected())
        let server = try TestSocket.listen(in: world.web, "172.30.0.2", 80)
        try world.firewall.publish(reservation.ports)
        #expect(early.isConnected(within: 60_000))
        #expect(try server.accept().from == "198.51.100.2")
    }
}
