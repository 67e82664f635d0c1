import Glibc
import Testing

@Suite("Networks: bridges, names, connecting and disconnecting")
struct NetworkTests {
    @Test("Containers on the default bridge reach each other by address, their host and nothing by name")
    func defaultBridge() throws {
        try withDaemon { daemon in
            try daemon.serveWeb("web")
            try daemon.idle("client")
            let web = try daemon.address("web")
            #expect(try daemon.fetch(from: "client", web) == "web")
            #expect(try daemon.pings("client", web))
            #expect(!(try daemon.pings("client", "web")))
            #expect(try daemon.fetch(web, 80) == "web")
            // What inspect says is what the container has.
            let endpoint = try daemon.inspect("client")["NetworkSettings"]["Networks"]["bridge"]
            let seen = try daemon.must("exec", "client", "ip", "address", "show", "eth0")
            let address = try #require(endpoint["IPAddress"].string)
            #expect(seen.contains("inet \(address)/\(endpoint["IPPrefixLen"].int ?? 0) "))
            #expect(seen.contains(try #require(endpoint["MacAddress"].string)))
            let gateway = try #require(endpoint["Gateway"].string)
            #expect(try daemon.must("exec", "client", "ip", "route").contains("default via \(gateway) dev eth0"))
            #expect(try daemon.pings("client", gateway))
            #expect(try daemon.must("exec", "client", "cat", "/etc/hosts").contains(address))
            #expect(try daemon.inspect("client")["NetworkSettings"]["IPAddress"].string == address)
        }
    }

    @Test("A network can be removed as soon as its last container has ended")
    func removedAtOnce() throws {
        try withDaemon { daemon in
            for _ in 0..<10 {
                try daemon.must("network", "create", "net")
                try daemon.must("run", "--rm", "--network", "net", "busybox", "true")
                try daemon.idle("box", "--network", "net")
                try daemon.must("rm", "-f", "box")
                try daemon.must("network", "rm", "net")
            }
        }
    }

    @Test("On a network of one's own, names, aliases and ids are found, and those of other networks are not")
    func names() throws {
        try withDaemon { daemon in
            try daemon.must("network", "create", "front")
            try daemon.must("network", "create", "back")
            try daemon.serveWeb("Web", "--network", "front", "--network-alias", "www")
            try daemon.idle("client", "--network", "front")
            try daemon.serveWeb("db", "--network", "back")
            let web = try daemon.address("Web", in: "front")
            let id = try #require(try daemon.inspect("Web")["Id"].string).prefix(12)
            for name in ["Web", "web", "WWW", "www.front", String(id)] {
                #expect(try daemon.resolve(name, in: "client") == [web], "\(name)")
            }
            #expect(try daemon.fetch(from: "client", "web") == "Web")
            #expect(try daemon.pings("client", "www"))
            #expect(try daemon.must("exec", "client", "nslookup", web).contains("name = Web.front"))
            #expect(try daemon.must("exec", "client", "cat", "/etc/resolv.conf").contains("nameserver 127.0.0.11"))
            // Neither its name nor its address is reached from another network.
            #expect(try daemon.resolve("db", in: "client").isEmpty)
            let db = try daemon.address("db", in: "back")
            #expect(try daemon.fetch(from: "client", db, within: 3) == nil)
            #expect(!(try daemon.pings("client", db)))
            // What ends is forgotten.
            try daemon.must("rm", "-f", "Web")
            #expect(try daemon.resolve("web", in: "client").isEmpty)
        }
    }

    @Test("An alias that several containers share is a service: all addresses, each comes first")
    func roundRobin() throws {
        try withDaemon { daemon in
            try daemon.must("network", "create", "net")
            try daemon.idle("client", "--network", "net")
            for index in 1...3 { try daemon.serveWeb("web\(index)", "--network", "net", "--network-alias", "web") }
            let all = try (1...3).map { try daemon.address("web\($0)", in: "net") }.sorted()
            #expect(try daemon.resolve("web", in: "client") == all)
            let loop = "for i in $(seq 60); do wget -q -O - http://web/; done"
            let answers = try daemon.must("exec", "client", "sh", "-c", loop).split(separator: "\n")
            #expect(answers.count == 60)
            #expect(Set(answers) == ["web1", "web2", "web3"])
            try daemon.must("stop", "-t", "0", "web2")
            #expect(try daemon.resolve("web", in: "client").count == 2)
        }
    }

    @Test("A link gives a neighbour another name, for one container alone")
    func links() throws {
        try withDaemon { daemon in
            try daemon.must("network", "create", "net")
            try daemon.serveWeb("web", "--network", "net")
            try daemon.idle("client", "--network", "net", "--link", "web:shop")
            try daemon.idle("other", "--network", "net")
            #expect(try daemon.fetch(from: "client", "shop") == "web")
            #expect(try daemon.resolve("shop", in: "other").isEmpty)
        }
    }

    @Test("A running container joins a network and leaves it")
    func connectAndDisconnect() throws {
        try withDaemon { daemon in
            try daemon.must("network", "create", "--subnet", "10.77.0.0/24", "back")
            try daemon.serveWeb("db", "--network", "back")
            try daemon.idle("client")
            #expect(try daemon.fetch(from: "client", "db", within: 3) == nil)
            try daemon.must("network", "connect", "--ip", "10.77.0.99", "--alias", "me", "back", "client")
            #expect(try daemon.address("client", in: "back") == "10.77.0.99")
            #expect(try daemon.must("exec", "client", "ip", "-4", "address", "show", "eth1").contains("10.77.0.99/24"))
            #expect(try daemon.fetch(from: "client", "db") == "db")
            #expect(try daemon.resolve("me", in: "db") == ["10.77.0.99"])
            #expect(try daemon.must("network", "inspect", "back", "-f", "{{len .Containers}}") == "2")
            try daemon.must("network", "disconnect", "back", "client")
            #expect(try daemon.cli("exec", "client", "ip", "link", "show", "eth1").status != 0)
            #expect(try daemon.fetch(from: "client", "db", within: 3) == nil)
            #expect(try daemon.resolve("me", in: "db").isEmpty)
            #expect(try daemon.must("network", "inspect", "back", "-f", "{{len .Containers}}") == "1")
            #expect(try daemon.cli("network", "disconnect", "back", "client").status == 1)
        }
    }

    @Test("A container keeps its networks, its address and its names when it is started again")
    func restart() throws {
        try withDaemon { daemon in
            try daemon.must("network", "create", "--subnet", "10.78.0.0/24", "net")
            try daemon.serveWeb("web", "--network", "net", "--ip", "10.78.0.7", "-p", "8080:80")
            try daemon.idle("client", "--network", "net")
            for verb in [["restart", "-t", "0"], ["kill"], ["start"]] {
                #expect(try daemon.cli(arguments: verb + ["web"]).status == 0)
                if verb == ["kill"] {
                    try daemon.must("wait", "web")
                    #expect(try daemon.resolve("web", in: "client").isEmpty)
                    #expect(try daemon.fetch("127.0.0.1", 8080) == nil)
                    continue
                }
                #expect(try daemon.address("web", in: "net") == "10.78.0.7")
                #expect(try eventually { try daemon.fetch(from: "client", "web") == "web" })
                #expect(try daemon.fetch("127.0.0.1", 8080) == "web")
            }
        }
    }

    @Test("Namespaces of others: host, none and another container's")
    func otherNamespaces() throws {
        try withDaemon { daemon in
            try daemon.serveWeb("web")
            let web = try daemon.address("web")
            #expect(try daemon.must("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net") == "lo")
            let shared = try daemon.must(
                "run", "--rm", "--network", "container:web", "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1/")
            #expect(shared == "web")
            let host = try daemon.must("run", "--rm", "--network", "host", "busybox", "ip", "-o", "link")
            #expect(host.split(separator: "\n").count == (try daemon.interfaces()).count)
            #expect(
                try daemon.must(
                    "run", "--rm", "--network", "host", "busybox", "wget", "-q", "-O", "-", "http://\(web)/") == "web")
        }
    }

    @Test("An internal network has neighbours, and no way out or in")
    func internalNetwork() throws {
        try withDaemon { daemon in
            let outside = try Outside(daemon)
            try daemon.must("network", "create", "--internal", "inner")
            try daemon.serveWeb("web", "--network", "inner")
            try daemon.idle("client", "--network", "inner")
            try daemon.idle("free")
            #expect(try daemon.fetch(from: "client", "web") == "web")
            #expect(!(try daemon.pings("client", Outside.address)))
            // Its twin, on a network that is not internal, gets there, with the host's address for its own.
            #expect(try daemon.pings("free", Outside.address))
            #expect(try outside.fetch(try daemon.address("web", in: "inner"), 80) == nil)
        }
    }

    @Test("A macvlan is on its parent's network like a machine of its own, before and after the daemon is killed")
    func macvlan() throws {
        try withDaemon { daemon in
            let outside = try Outside(daemon)
            try daemon.must(
                "network", "create", "-d", "macvlan", "-o", "parent=uplink", "--subnet", "192.0.2.0/24",
                "--gateway", Outside.address, "--ip-range", "192.0.2.64/26", "wire")
            try daemon.serveWeb("web", "--network", "wire", "--ip", "192.0.2.99", "--network-rate-in", "100mbit")
            try daemon.idle("client", "--network", "wire")
            for _ in 1...2 {
                #expect(try outside.fetch("192.0.2.99", 80) == "web")
                #expect(try daemon.fetch(from: "client", "web") == "web")
                #expect(try daemon.pings("client", Outside.address))
                daemon.kill()
                try daemon.start()
            }
            let client = try daemon.inspect("client")["NetworkSettings"]["Networks"]["wire"]
            #expect(try outside.run("ip", "neighbour").output.contains(try #require(client["MacAddress"].string)))
            try daemon.must("rm", "-f", "web")
            #expect(try outside.fetch("192.0.2.99", 80) == nil)
            let nowhere = try daemon.cli("network", "create", "-d", "macvlan", "-o", "parent=nowhere", "other")
            #expect(nowhere.status == 1 && nowhere.error.contains("the host has no interface of that name"))
        }
    }

    @Test("IPv6: addresses, names and neighbours")
    func ipv6() throws {
        try withDaemon { daemon in
            try daemon.must("network", "create", "--ipv6", "six")
            try daemon.serveWeb("web", "--network", "six", "-p", "8080:80")
            try daemon.idle("client", "--network", "six")
            let endpoint = try daemon.inspect("web")["NetworkSettings"]["Networks"]["six"]
            let address = try #require(endpoint["GlobalIPv6Address"].string)
            #expect(address.contains(":"))
            #expect(try daemon.resolve("web", in: "client").contains(address))
            #expect(try daemon.cli("exec", "client", "ping6", "-c", "1", "-W", "2", "web").status == 0)
            #expect(try daemon.fetch(from: "client", "[\(address)]") == "web")
            #expect(try daemon.fetch("[::1]", 8080) == "web")
        }
    }

    @Test("What can't be is refused with docker's sentences, and nothing is left of it")
    func refusals() throws {
        try withDaemon { daemon in
            try daemon.must("network", "create", "--subnet", "10.79.0.0/24", "net")
            try daemon.idle("user", "--network", "net", "--ip", "10.79.0.5")
            let cases: [(Int32, String, [String])] = [
                (1, "network with name net already exists", ["network", "create", "net"]),
                (1, "overlaps", ["network", "create", "--subnet", "10.79.0.0/16", "other"]),
                (1, "invalid", ["network", "create", "--subnet", "10.80.0.0/33", "other"]),
                (1, "active endpoints", ["network", "rm", "net"]),
                (1, "network nowhere not found", ["network", "inspect", "nowhere"]),
                (1, "network nowhere not found", ["network", "rm", "nowhere"]),
                (1, "No such container: nobody", ["network", "connect", "net", "nobody"]),
                (1, "pre-defined", ["network", "rm", "bridge"]),
                (125, "network nowhere not found", ["run", "--rm", "--network", "nowhere", "busybox", "true"]),
                (
                    125, "Address already in use",
                    ["run", "--rm", "--network", "net", "--ip", "10.79.0.5", "busybox", "true"]
                ),
                (
                    125, "no configured subnet",
                    ["run", "--rm", "--network", "net", "--ip", "10.80.0.5", "busybox", "true"]
                ),
                (125, "user-defined networks only", ["run", "--rm", "--ip", "172.17.0.9", "busybox", "true"]),
            ]
            for (status, sentence, words) in cases {
                let outcome = try daemon.cli(arguments: words)
                #expect(
                    outcome.status == status && outcome.error.lowercased().contains(sentence.lowercased()),
                    "\(words.joined(separator: " ")): \(outcome.status) \(outcome.error)")
            }
            #expect(try daemon.must("ps", "-aq").split(separator: "\n").count == 1)
            #expect(try daemon.must("network", "ls", "-q").split(separator: "\n").count == 4)
            // Unused is what no running container is in.
            #expect(!(try daemon.must("network", "prune", "-f").contains("net")))
            try daemon.must("kill", "user")
            try daemon.must("wait", "user")
            #expect(try daemon.must("network", "prune", "-f").contains("net"))
            #expect(try daemon.must("network", "ls", "--format", "{{.Name}}") == "bridge\nhost\nnone")
            // A network may be made after the containers that are to be in it, and is checked then.
            try daemon.must("create", "--name", "early", "--network", "later", "busybox", "true")
            let early = try daemon.cli("start", "early")
            #expect(early.status == 1 && early.error.contains("network later not found"), "\(early.error)")
            try daemon.must("network", "create", "later")
            #expect(try daemon.cli("start", "-a", "early").status == 0)
            let orphan = try daemon.cli("start", "user")
            #expect(orphan.status == 1 && orphan.error.contains("network net not found"), "\(orphan.error)")
        }
    }

    @Test("What is sent and received is limited to the rate that was asked for")
    func rates() throws {
        try withDaemon { daemon in
            try daemon.must("network", "create", "net")
            try daemon.serveFile("free")
            try daemon.serveFile("slow", "--network-rate-out", "40mbit")
            try daemon.idle("client", "--network", "net")
            try daemon.idle("slowed", "--network", "net", "--network-rate-in", "40mbit")
            for (server, client) in [("slow", "client"), ("free", "slowed")] {
                try daemon.expectRate(from: server, to: client, atLeast: 36e6, atMost: 44e6)
            }
            try daemon.expectRate(from: "free", to: "client", atLeast: 88e6)
            // Changed while it runs.
            #expect(try daemon.must("stats", "--no-stream", "slow").contains("-- / 40Mbit"))
            try daemon.must("update", "--network-rate-out", "80mbit", "slow")
            let counters = try daemon.api("GET", "/containers/slow/stats?stream=0&one-shot=1").json()["networks"][
                "eth0"]
            #expect(counters["tx_rate_limit"].int == 80_000_000 && counters["rx_rate_limit"] == .null)
            #expect(try daemon.inspect("slow")["HostConfig"]["NetworkRateOut"].int == 80_000_000)
            #expect(!(try daemon.must("stats", "--no-stream", "free").contains("LIMIT\n")))
            try daemon.expectRate(from: "slow", to: "client", atLeast: 72e6, atMost: 88e6)
        }
    }

    @Test("After all containers and networks, nothing of them is on the host")
    func leavesNothing() throws {
        try withDaemon { daemon in
            let before = try daemon.interfaces()
            try daemon.must("network", "create", "net")
            for index in 0..<5 { try daemon.idle("box\(index)", "--network", "net", "-p", "80") }
            try daemon.must("update", "--network-rate-out", "10mbit", "box1")
            try daemon.must("network", "connect", "bridge", "box0")
            #expect(try daemon.interfaces().count > before.count + 5)
            try daemon.must("rm", "-f", "box0", "box1", "box2", "box3", "box4")
            try daemon.must("network", "rm", "net")
            #expect(daemon.stop())
            #expect(try daemon.interfaces() == before)
            // What users put into the chain that is theirs stays.
            let tables = try daemon.inside("nft", "list", "tables")
            #expect(tables.output.contains("mycontainer-user"), "\(tables.error)")
            #expect(!tables.output.contains(try Leaks.instance(of: daemon)))
            #expect(Leaks.names(daemon.execRoot + "/netns").isEmpty)
        }
    }
}

extension TestDaemon {
    /// Bytes that `serveFile` has to offer.
    private static let fileSize = 16_000_000

    /// Starts a container in the network `net` whose web server has a large file.
    fileprivate func serveFile(_ name: String, _ flags: String...) throws {
        let script = "mkdir /www; head -c \(Self.fileSize) /dev/zero >/www/file; exec httpd -f -p 80 -h /www"
        let arguments = ["run", "-d", "--name", name, "--network", "net"] + flags + ["busybox", "sh", "-c", script]
        #expect(try cli(arguments: arguments).status == 0)
        #expect(try eventually { try cli("exec", name, "wget", "-q", "--spider", "http://127.0.0.1/file").status == 0 })
    }

    /// Fails where the rate is once above `most`, or five times below `least`: a limit that isn't kept shows at any time,
    /// but that there is no lower one only shows on a machine that has time to send.
    fileprivate func expectRate(
        from server: String, to client: String, atLeast least: Double, atMost most: Double = .infinity,
        at location: SourceLocation = #_sourceLocation
    ) throws {
        var rates: [Double] = []
        repeat {
            rates.append(try rate(from: server, to: client))
        } while rates.count < 5 && rates.last! < least
        #expect(rates.last! >= least && rates.max()! <= most, "\(server) to \(client)", sourceLocation: location)
    }

    /// Bits per second on the wire while one container gets the file from another: each 1448 bytes in frames of 1514.
    fileprivate func rate(from server: String, to client: String) throws -> Double {
        let start = Clock.now
        try must("exec", client, "wget", "-q", "-O", "/dev/null", "http://\(server)/file")
        return Double(Self.fileSize) * 8 / 1448 * 1514 / (Double(Clock.now - start) / 1e9)
    }
}
