import Glibc
import LinuxKernel
import Synchronization
import Testing

@testable import Networking

/// A resolver that serves containers on sockets of this test, with upstream servers of this test.
private final class Bench: Sendable {
    let names = NameTable()
    let resolver: Resolver
    let reports: Reports
    /// The port of all upstream servers; 127.0.0.1, .2, … tell them apart.
    let port: UInt16

    final class Reports: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func add(_ line: String) { lines.withLock { $0.append(line) } }
    }

    init(port: UInt16, limits: Resolver.Limits = .init(), hostFile: String = "/nonexistent/resolv.conf") {
        let reports = Reports()
        self.reports = reports
        self.port = port
        resolver = Resolver(names: names, hostFile: hostFile, limits: limits, port: Int(port)) { reports.add($0) }
    }

    /// Starts serving; the sockets that a container would reach as 127.0.0.11.
    func serve(
        _ container: String = "c1", servers: [String] = [], forwards: Bool = true, ndotsIsSet: Bool = false
    ) throws -> Served {
        let udp = try LoopbackSocket()
        let tcp = try LoopbackSocket(stream: true)
        resolver.serve(
            container, udp: udp.handOver(), tcp: tcp.handOver(),
            Resolver.Settings(servers: servers, forwards: forwards, ndotsIsSet: ndotsIsSet))
        return Served(udp: udp, tcp: tcp)
    }

    func add(_ container: String, _ names: [String], _ addresses: [String]) {
        self.names.add(
            NameTable.Endpoint(
                container: container, network: "n1", networkName: "net", names: names,
                addresses: addresses.map { IPAddress($0)! }, subnets: [IPNetwork("10.1.0.0/16")!]))
    }
}

private struct Served {
    let udp: LoopbackSocket
    let tcp: LoopbackSocket

    func ask(_ query: [UInt8]) throws -> Decoded {
        let client = try LoopbackSocket()
        client.send(query, to: udp)
        return try Decoded(try #require(client.receive(), "no answer"))
    }

    func ask(_ name: String, _ type: Int = 1, edns: Int? = nil) throws -> Decoded {
        try ask(Wire.query(name, type, id: Int.random(in: 0...65535), edns: edns))
    }

    func connect() throws -> LoopbackSocket {
        let client = LoopbackSocket(client: ())
        try #require(client.connect(to: tcp))
        return client
    }

    func askStream(_ query: [UInt8]) throws -> Decoded {
        let client = try connect()
        client.write(framed(query))
        return try Decoded(try #require(client.readMessage(), "no answer"))
    }
}

/// Runs `body` with a bench, and ends what it started.
private func withBench(
    port: UInt16, limits: Resolver.Limits = .init(), hostFile: String = "/nonexistent/resolv.conf",
    servers: [FakeServer] = [], _ body: (Bench) throws -> Void
) async throws {
    let bench = Bench(port: port, limits: limits, hostFile: hostFile)
    let result = Result { try body(bench) }
    await bench.resolver.shutDown()
    for server in servers { server.end() }
    try result.get()
}

private let silent: FakeServer.Behaviour = { _, _ in [] }
private func addresses(_ last: UInt8) -> FakeServer.Behaviour {
    { query, _ in [Wire.answer(query, [[192, 0, 2, last]])] }
}

@Suite struct OwnNameTests {
    @Test func answersForContainersOverBothTransports() async throws {
        let upstream = try FakeServer(answering: addresses(1))
        try await withBench(port: upstream.port, servers: [upstream]) { bench in
            bench.add("c1", ["client"], ["10.1.0.2"])
            bench.add("c2", ["Web", "0123456789ab"], ["10.1.0.3", "fd00::3"])
            bench.add("c4", ["four"], ["10.1.0.4"])
            let served = try bench.serve(servers: ["127.0.0.1"])
            for ask in [served.ask(_:), served.askStream(_:)] as [([UInt8]) throws -> Decoded] {
                let answer = try ask(Wire.query("wEB", 1, id: 0xABCD))
                #expect(answer.id == 0xABCD && answer.name == "wEB" && answer.addresses == ["10.1.0.3"])
                #expect(try ask(Wire.query("web.net", 28)).addresses == ["fd00::3"])
                #expect(try ask(Wire.query("0123456789AB", 255)).addresses.sorted() == ["10.1.0.3", "fd00::3"])
                #expect(try ask(Wire.query("3.0.1.10.in-addr.arpa", 12)).answers.map(\.target) == ["Web.net"])
                // There is the name, but nothing of the type: NOERROR, not NXDOMAIN.
                for type in [28, 15, 16, 65] {
                    let nothing = try ask(Wire.query("four", type))
                    #expect(nothing.code == 0 && nothing.answers.isEmpty && nothing.flags == 0x8180, "type \(type)")
                }
                #expect(try ask(Wire.query("99.0.1.10.in-addr.arpa", 12)).code == 3)
            }
            #expect(upstream.queries.isEmpty)
            // What changes is seen at once.
            bench.names.remove(container: "c2")
            bench.add("c3", ["web"], ["10.1.0.33"])
            #expect(try served.ask("web").addresses == ["10.1.0.33"])
        }
    }

    @Test func rotatesAService() async throws {
        try await withBench(port: 9) { bench in
            bench.add("c1", ["client"], ["10.1.0.2"])
            for index in 3...5 { bench.add("c\(index)", ["web-\(index)", "web"], ["10.1.0.\(index)"]) }
            let served = try bench.serve()
            var first = Set<String>()
            // Each comes first once in three; that one does not in 200 has a probability of 10⁻³⁵.
            for _ in 0..<200 {
                let answer = try served.ask("web").addresses
                #expect(answer.sorted() == ["10.1.0.3", "10.1.0.4", "10.1.0.5"])
                first.insert(answer[0])
            }
            #expect(first.count == 3)
        }
    }

    @Test func givesAServiceOfHundredsOverTCP() async throws {
        try await withBench(port: 9) { bench in
            bench.add("c1", ["client"], ["10.1.0.2"])
            for index in 0..<300 { bench.add("s\(index)", ["web"], ["10.1.\(1 + index / 200).\(index % 200)"]) }
            let served = try bench.serve()
            let datagram = try served.ask("web")
            #expect(datagram.isTruncated && datagram.addresses.count == 30)
            #expect(try served.ask("web", edns: 4096).addresses.count == (4096 - 12 - 9 - 11) / 16)
            let stream = try served.askStream(Wire.query("web", 1))
            #expect(!stream.isTruncated && Set(stream.addresses).count == 300)
        }
    }

    @Test func saysNothingToRubbishAndGoesOn() async throws {
        try await withBench(port: 9) { bench in
            bench.add("c1", ["client"], ["10.1.0.2"])
            let served = try bench.serve()
            let client = try LoopbackSocket()
            for (_, message) in DNSQueryTests.malformed where !message.isEmpty { client.send(message, to: served.udp) }
            client.send([UInt8](repeating: 0xC0, count: 60000), to: served.udp)
            client.send(Wire.query("client", 1, id: 77), to: served.udp)
            // The one answer that comes is the proper query's.
            #expect(try Decoded(try #require(client.receive())).id == 77)
        }
    }

    @Test func servesManyQueriesOfAConnectionAndItsHalfClosedEnd() async throws {
        try await withBench(port: 9) { bench in
            bench.add("c1", ["client"], ["10.1.0.2"])
            let served = try bench.serve()
            let client = try served.connect()
            startThread {
                client.write((0..<3000).flatMap { framed(Wire.query("client", 1, id: $0)) })
                shutdown(client.descriptor, Int32(SHUT_WR))
            }
            for id in 0..<3000 { #expect(try Decoded(try #require(client.readMessage())).id == id) }
            #expect(client.read(1) == nil)
        }
    }

    @Test(arguments: [[0, 0], [0, 5, 1, 2, 3, 4, 5], [0xFF, 0xFF]] as [[UInt8]])
    func closesAConnectionThatTalksNonsense(_ bytes: [UInt8]) async throws {
        try await withBench(port: 9) { bench in
            let served = try bench.serve()
            let client = try served.connect()
            client.write(bytes)
            #expect(client.read(1) == nil)
        }
    }

    @Test func limitsConnections() async throws {
        var limits = Resolver.Limits()
        limits.connectionsPerContainer = 3
        try await withBench(port: 9, limits: limits) { bench in
            bench.add("c1", ["client"], ["10.1.0.2"])
            let served = try bench.serve()
            let query = framed(Wire.query("client", 1))
            var open = try (0..<3).map { _ in try served.connect() }
            for connection in open {
                connection.write(query)
                #expect(connection.readMessage() != nil)
            }
            let surplus = try served.connect()
            #expect(surplus.read(1) == nil)
            open.removeLast()
            // There is room again once the server has seen the end.
            #expect(
                try eventually {
                    let next = try served.connect()
                    return next.write(query) && next.readMessage() != nil
                })
        }
    }
}

@Suite struct ForwardingTests {
    @Test func asksUpstreamUnderAnotherIDAndKeepsTheClientsOwn() async throws {
        // A server that answers in lower case.
        let upstream = try FakeServer { query, _ in
            [Wire.answer(Wire.query("www.example", 1, id: Int(query[0]) << 8 | Int(query[1])), [[192, 0, 2, 7]])]
        }
        try await withBench(port: upstream.port, servers: [upstream]) { bench in
            let served = try bench.serve(servers: ["127.0.0.1"])
            for _ in 0..<20 {
                let answer = try served.ask(Wire.query("WWW.example", 1, id: 0x1234, edns: 65000))
                #expect(answer.id == 0x1234 && answer.name == "WWW.example" && answer.addresses == ["192.0.2.7"])
            }
            let ids = Set(upstream.queries.map { Int($0[0]) << 8 | Int($0[1]) })
            #expect(ids.count > 10 && upstream.clientPorts.count > 10)
            // The rest of the query is the client's, but for the size of datagrams.
            #expect(
                upstream.queries.allSatisfy { $0.dropFirst(2) == Wire.query("WWW.example", 1, edns: 4096).dropFirst(2) }
            )
            #expect(try served.askStream(Wire.query("WWW.example", 1)).addresses == ["192.0.2.7"])
        }
    }

    @Test func believesOnlyTheServerThatItAsked() async throws {
        let stranger = try LoopbackSocket()
        let upstream = try FakeServer { query, client in
            guard let client else { return [] }
            // A stranger who knows the id, the question and the port, and lacks only the server's address.
            let forged = Wire.answer(query, [[6, 6, 6, 6]])
            _ = LoopbackSocket.with("127.0.0.1", client) {
                Int32(sendto(stranger.descriptor, forged, forged.count, 0, $0, $1))
            }
            let id = Int(query[0]) << 8 | Int(query[1])
            return [
                Wire.answer(query, [[6, 6, 6, 1]], id: id ^ 1),
                Wire.answer(Wire.query("evil.example", 1, id: id), [[6, 6, 6, 2]]),
                Wire.answer(query, [[6, 6, 6, 3]]).dropLast(),
                Wire.answer(query, [[192, 0, 2, 1]]),
            ]
        }
        try await withBench(port: upstream.port, servers: [upstream]) { bench in
            let served = try bench.serve(servers: ["127.0.0.1"])
            #expect(try served.ask("www.example").addresses == ["192.0.2.1"])
        }
    }

    @Test func goesOnToTheNextServerAndRemembersTheDeadOne() async throws {
        let dead = try FakeServer("127.0.0.1", answering: silent)
        let living = try FakeServer("127.0.0.2", port: dead.port, answering: addresses(2))
        try await withBench(port: dead.port, servers: [dead, living]) { bench in
            let served = try bench.serve(servers: ["127.0.0.1", "127.0.0.2"])
            // One lost packet is forgiven, two are not.
            #expect(try served.ask("a.example").addresses == ["192.0.2.2"])
            #expect(try served.ask("b.example").addresses == ["192.0.2.2"])
            #expect(dead.queries.count == 2)
            for _ in 0..<20 { #expect(try served.ask("c.example").addresses == ["192.0.2.2"]) }
            #expect(dead.queries.count == 2)
            #expect(bench.reports.all.contains { $0.contains("127.0.0.1 does not answer") })
            // Another container's queries know it, too.
            let other = try bench.serve("c2", servers: ["127.0.0.1", "127.0.0.2"])
            #expect(try other.ask("d.example").addresses == ["192.0.2.2"])
            #expect(dead.queries.count == 2)
        }
    }

    @Test func takesALateAnswerOfTheFirstServer() async throws {
        let first = try FakeServer("127.0.0.1") { query, _ in
            usleep(1_300_000)
            return [Wire.answer(query, [[192, 0, 2, 1]])]
        }
        let second = try FakeServer("127.0.0.2", port: first.port, answering: silent)
        try await withBench(port: first.port, servers: [first, second]) { bench in
            let served = try bench.serve(servers: ["127.0.0.1", "127.0.0.2"])
            #expect(try served.ask("slow.example").addresses == ["192.0.2.1"])
            #expect(second.queries.count == 1)
        }
    }

    @Test func goesOnAtOnceWhereNobodyListensOrTheServerRefuses() async throws {
        let failing = try FakeServer("127.0.0.1") { query, _ in [Wire.answer(query, code: 2)] }
        let refusing = try FakeServer("127.0.0.2", port: failing.port) { query, _ in [Wire.answer(query, code: 5)] }
        let living = try FakeServer("127.0.0.4", port: failing.port, answering: addresses(4))
        try await withBench(port: failing.port, servers: [failing, refusing, living]) { bench in
            // Nobody is at 127.0.0.3.
            let served = try bench.serve(servers: ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"])
            #expect(try served.ask("www.example").addresses == ["192.0.2.4"])
            #expect(try served.askStream(Wire.query("www.example", 1)).addresses == ["192.0.2.4"])
            // With nobody left to ask, the first refusal is the answer.
            bench.resolver.update("c1", .init(servers: ["127.0.0.2", "127.0.0.3"]))
            #expect(try eventually { try served.ask("www.example").code == 5 })
            bench.resolver.update("c1", .init(servers: ["127.0.0.3", "127.0.0.5"]))
            #expect(try eventually { try served.ask("www.example").code == 2 })
            #expect(try served.askStream(Wire.query("www.example", 1)).code == 2)
            bench.resolver.update("c1", .init(servers: ["not an address"]))
            #expect(
                eventually { bench.reports.all.contains { $0.contains("DNS server not an address of container c1") } })
            #expect(try served.ask("www.example").code == 2)
        }
    }

    @Test func givesUpOnSilenceInTheEnd() async throws {
        let dead = try FakeServer(answering: silent)
        try await withBench(port: dead.port, servers: [dead]) { bench in
            let served = try bench.serve(servers: ["127.0.0.1"])
            let answer = try served.ask("www.example")
            #expect(answer.code == 2 && answer.answers.isEmpty)
            // It was asked again, for a packet may be lost.
            #expect(dead.queries.count == 3)
        }
    }

    @Test func passesNegativeAnswersOn() async throws {
        let upstream = try FakeServer { query, _ in [Wire.answer(query, code: 3)] }
        let second = try FakeServer("127.0.0.2", port: upstream.port, answering: addresses(2))
        try await withBench(port: upstream.port, servers: [upstream, second]) { bench in
            bench.add("c1", ["client"], ["10.1.0.2"])
            let served = try bench.serve(servers: ["127.0.0.1", "127.0.0.2"])
            #expect(try served.ask("nobody").code == 3)
            #expect(try served.ask("4.4.4.10.in-addr.arpa", 12).code == 3)
            #expect(upstream.queries.count == 2 && second.queries.isEmpty)
        }
    }

    @Test func keepsInternalAndSingleLabelNamesToItself() async throws {
        let upstream = try FakeServer(answering: addresses(1))
        try await withBench(port: upstream.port, servers: [upstream]) { bench in
            bench.add("c1", ["client"], ["10.1.0.2"])
            let served = try bench.serve(servers: ["127.0.0.1"], forwards: false)
            #expect(try served.ask("www.example").code == 2)
            #expect(try served.ask("client").addresses == ["10.1.0.2"])
            // With ndots set, a name without a dot is the search list's business.
            bench.resolver.update("c1", .init(servers: ["127.0.0.1"], ndotsIsSet: true))
            #expect(try eventually { try served.ask("nobody").code == 3 })
            #expect(upstream.queries.isEmpty)
            #expect(try served.ask("nobody", 16).addresses == ["192.0.2.1"])
            #expect(try served.ask("nobody.example").addresses == ["192.0.2.1"])
            #expect(upstream.queries.count == 2)
            bench.resolver.update("c1", .init(servers: ["127.0.0.1"]))
            #expect(try eventually { try served.ask("nobody").addresses == ["192.0.2.1"] })
        }
    }

    @Test func letsTheClientRetryOverTCP() async throws {
        let many = (1...100).map { [192, 0, 2, UInt8($0)] }
        let upstream = try FakeServer { query, client in
            if client == nil { return [Wire.answer(query, many)] }
            // One server truncates, another has never heard of limits.
            let name = Wire.name("polite.example")
            let isPolite = query[12...].starts(with: name)
            return [isPolite ? Wire.answer(query, Array(many.prefix(2)), extraFlags: 0x200) : Wire.answer(query, many)]
        }
        try await withBench(port: upstream.port, servers: [upstream]) { bench in
            let served = try bench.serve(servers: ["127.0.0.1"])
            let polite = try served.ask("polite.example")
            #expect(polite.isTruncated && polite.addresses.count == 2)
            let long = try served.ask("long.example")
            #expect(long.isTruncated && long.addresses.count == (512 - 12 - 18) / 16)
            #expect(try served.ask("long.example", edns: 4096).addresses.count == 100)
            let whole = try served.askStream(Wire.query("long.example", 1))
            #expect(!whole.isTruncated && whole.addresses.count == 100)
        }
    }

    @Test func followsTheHostsFile() async throws {
        // A name whose bytes are more than its characters.
        var template = Array("/tmp/nämes-XXXXXX".utf8CString)
        let directory = String(cString: try #require(mkdtemp(&template)))
        defer {
            for name in ["resolv.conf", "a", "b", "new"] { unlink("\(directory)/\(name)") }
            rmdir(directory)
        }
        func write(_ name: String, _ text: String) throws {
            let file = try LinuxKernel.FileDescriptor("\(directory)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
            #expect(Glibc.write(file.raw, text, text.utf8.count) == text.utf8.count)
        }
        let first = try FakeServer("127.0.0.1", answering: addresses(1))
        let second = try FakeServer("127.0.0.2", port: first.port, answering: addresses(2))
        try write("a", "nameserver 127.0.0.1\n")
        try write("b", "nameserver 127.0.0.2\n")
        symlink("a", "\(directory)/resolv.conf")
        try await withBench(port: first.port, hostFile: "\(directory)/resolv.conf", servers: [first, second]) { bench in
            let served = try bench.serve()
            func turns(to address: String) throws -> Bool {
                try eventually { try served.ask("www.example").addresses == [address] }
            }
            #expect(try turns(to: "192.0.2.1"))
            // Written in place, behind the link.
            try write("a", "nameserver 127.0.0.2\n")
            #expect(try turns(to: "192.0.2.2"))
            // Replaced by renaming, behind the link.
            try write("new", "nameserver 127.0.0.1\n")
            rename("\(directory)/new", "\(directory)/a")
            #expect(try turns(to: "192.0.2.1"))
            // The link itself replaced.
            symlink("b", "\(directory)/new")
            rename("\(directory)/new", "\(directory)/resolv.conf")
            #expect(try turns(to: "192.0.2.2"))
            // Gone, and back as a file.
            unlink("\(directory)/resolv.conf")
            #expect(try eventually { try served.ask("www.example").code == 2 })
            try write("resolv.conf", "nameserver 127.0.0.1\n")
            #expect(try turns(to: "192.0.2.1"))
        }
    }
}

@Suite struct ResolverLimitTests {
    /// Sends `count` queries at once; how many were answered with SERVFAIL until `enough` were.
    private func flood(_ served: Served, _ client: LoopbackSocket, _ count: Int) {
        for id in 0..<count { client.send(Wire.query("flood\(id).example", 1, id: id), to: served.udp) }
    }

    @Test func boundsWhatOneContainerHasUnderWay() async throws {
        let dead = try FakeServer(answering: silent)
        var limits = Resolver.Limits()
        limits.queriesPerContainer = 8
        try await withBench(port: dead.port, limits: limits, servers: [dead]) { bench in
            bench.add("c1", ["client"], ["10.1.0.2"])
            let served = try bench.serve(servers: ["127.0.0.1"])
            let client = try LoopbackSocket()
            flood(served, client, 100)
            // All are answered; those beyond the limit at once, while the eight wait.
            var ids = Set<Int>()
            for _ in 0..<92 {
                let answer = try Decoded(try #require(client.receive()))
                #expect(answer.code == 2)
                ids.insert(answer.id)
            }
            #expect(ids == Set(8..<100))
            #expect(Set(dead.queries.map { $0.dropFirst(12) }).count <= 8)
            // What is known here is answered all the while.
            #expect(try served.ask("client").addresses == ["10.1.0.2"])
            for _ in 0..<8 { ids.insert(try Decoded(try #require(client.receive())).id) }
            #expect(ids == Set(0..<100))
        }
    }

    @Test func anOldQueryGivesWayToANewOne() async throws {
        let upstream = try FakeServer { query, _ in
            query[12...].starts(with: Wire.name("good.example")) ? [Wire.answer(query, [[192, 0, 2, 1]])] : []
        }
        var limits = Resolver.Limits()
        limits.queriesPerContainer = 2
        try await withBench(port: upstream.port, limits: limits, servers: [upstream]) { bench in
            let served = try bench.serve(servers: ["127.0.0.1"])
            let client = try LoopbackSocket()
            flood(served, client, 2)
            // Both were asked again: they have waited for longer than a server takes.
            #expect(eventually { upstream.queries.count >= 4 })
            #expect(try served.ask("good.example").addresses == ["192.0.2.1"])
            #expect(try Decoded(try #require(client.receive())).code == 2)
        }
    }

    @Test func aFloodLeavesRoomForOtherContainers() async throws {
        let upstream = try FakeServer { query, _ in
            query[12...].starts(with: Wire.name("good.example")) ? [Wire.answer(query, [[192, 0, 2, 1]])] : []
        }
        var limits = Resolver.Limits()
        limits.queries = 8
        try await withBench(port: upstream.port, limits: limits, servers: [upstream]) { bench in
            let served = try bench.serve(servers: ["127.0.0.1"])
            let client = try LoopbackSocket()
            flood(served, client, 50)
            for _ in 0..<42 { #expect(try Decoded(try #require(client.receive())).code == 2) }
            let other = try bench.serve("c2", servers: ["127.0.0.1"])
            #expect(try other.ask("good.example").addresses == ["192.0.2.1"])
        }
    }

    @Test func leavesNoDescriptorBehind() async throws {
        // Its own process-wide count would see other tests' descriptors, so it looks for its own sockets.
        let upstream = try FakeServer(answering: addresses(1))
        var ports: [UInt16] = []
        try await withBench(port: upstream.port, servers: [upstream]) { bench in
            for index in 0..<5 {
                let served = try bench.serve("c\(index)", servers: ["127.0.0.1"])
                ports += [served.udp.port, served.tcp.port]
                #expect(try served.ask("www.example").addresses == ["192.0.2.1"])
                #expect(try served.askStream(Wire.query("www.example", 1)).addresses == ["192.0.2.1"])
                if index == 0 {
                    // Served again under the same id: the sockets served before are closed.
                    let again = try bench.serve("c0", servers: ["127.0.0.1"])
                    ports += [again.udp.port, again.tcp.port]
                    #expect(try again.ask("www.example").addresses == ["192.0.2.1"])
                }
                if index == 1 { bench.resolver.stop("c1") }
            }
            ports += Array(upstream.clientPorts)
        }
        #expect(upstream.clientPorts.count >= 5)
        // What was left open stays so; what somebody else on this machine got from the kernel meanwhile does not.
        for port in Set(ports) {
            #expect(eventually { (try? LoopbackSocket(port: port)) != nil }, "UDP port \(port) is still held")
        }
    }
}
