import Glibc
import Testing

@Suite("Networks outlive the daemon")
struct NetworkRecoveryTests {
    @Test("Killed, the daemon finds addresses, names and ports again, which meanwhile went on working")
    func killed() throws {
        try withDaemon { daemon in
            let outside = try Outside(daemon)
            try daemon.must("network", "create", "net")
            try daemon.serveWeb("web", "--network", "net", "--network-alias", "www", "-p", "8080:80")
            try daemon.idle("client", "--network", "net")
            try daemon.must("network", "connect", "bridge", "client")
            let before = try ["web", "client"].map { try daemon.inspect($0)["NetworkSettings"]["Networks"] }
            let web = try daemon.address("web", in: "net")
            let interfaces = try daemon.interfaces()
            daemon.kill()
            // No daemon lives, and packets flow.
            #expect(try outside.fetch(Outside.hostAddress, 8080) == "web")
            try daemon.start()
            #expect(try ["web", "client"].map { try daemon.inspect($0)["NetworkSettings"]["Networks"] } == before)
            #expect(try daemon.interfaces() == interfaces)
            #expect(try daemon.resolve("www", in: "client") == [web])
            #expect(try daemon.fetch(from: "client", "web") == "web")
            #expect(try outside.fetch(Outside.hostAddress, 8080) == "web")
            #expect(try daemon.must("port", "web", "80").contains("0.0.0.0:8080"))
            // It still knows what is taken.
            let conflict = try daemon.cli("run", "--rm", "-p", "8080:80", "busybox", "true")
            #expect(conflict.status == 125 && conflict.error.contains("8080"))
            try daemon.idle("new", "--network", "net")
            let addresses = try ["web", "client", "new"].map { try daemon.address($0, in: "net") }
            #expect(Set(addresses).count == 3)
            try daemon.must("network", "disconnect", "bridge", "client")
            try daemon.must("rm", "-f", "web")
            #expect(try outside.fetch(Outside.hostAddress, 8080) == nil)
        }
    }

    @Test("What ended while no daemon lived is cleared away, and a restart policy brings it back with its network")
    func endedMeanwhile() throws {
        try withDaemon { daemon in
            try daemon.must("network", "create", "--subnet", "10.81.0.0/24", "net")
            try daemon.serveWeb("back", "--network", "net", "--ip", "10.81.0.7", "--restart", "always", "-p", "8080:80")
            try daemon.idle("gone", "--network", "net", "-p", "8081:80")
            try daemon.idle("client", "--network", "net")
            let pids = try ["back", "gone"].map { try #require(try daemon.inspect($0)["State"]["Pid"].int) }
            daemon.kill()
            for pid in pids { Glibc.kill(pid_t(pid), SIGKILL) }
            #expect(eventually { pids.allSatisfy { !exists("/proc/\($0)/ns/net") } })
            try daemon.start()
            #expect(try eventually { try daemon.fetch(from: "client", "back") == "back" })
            #expect(try daemon.address("back", in: "net") == "10.81.0.7")
            #expect(try daemon.fetch("127.0.0.1", 8080) == "back")
            #expect(try daemon.resolve("gone", in: "client").isEmpty)
            // Its port is free again.
            try daemon.serveWeb("heir", "-p", "8081:80")
            #expect(try daemon.fetch("127.0.0.1", 8081) == "heir")
        }
    }

    @Test("A network stays, with its subnet, when the daemon is started again")
    func networksStay() throws {
        try withDaemon { daemon in
            try daemon.must("network", "create", "--label", "kept=yes", "net")
            let before = try daemon.api("GET", "/networks/net").json()
            #expect(daemon.stop())
            try daemon.start()
            #expect(try daemon.api("GET", "/networks/net").json() == before)
            try daemon.serveWeb("web", "--network", "net")
        }
    }

    @Test("Rules that another program flushes come back")
    func flushedRules() throws {
        try withDaemon { daemon in
            try daemon.serveWeb("web", "-p", "8080:80")
            try daemon.setUp(["nft", "flush", "ruleset"])
            #expect(try eventually { try daemon.fetch("127.0.0.1", 8080) == "web" })
        }
    }

    @Test("Names that are not here are asked of the host's servers, and a dead one holds nobody up")
    func upstream() throws {
        try withDaemon { daemon in
            let server = try NameServer(daemon)
            try daemon.must("network", "create", "net")
            try daemon.idle("client", "--network", "net", "--dns", "127.0.0.9", "--dns", "127.0.0.1")
            try daemon.serveWeb("web", "--network", "net")
            #expect(try daemon.resolve("www.example", in: "client") == ["192.0.2.77"])
            #expect(try daemon.resolve("web", in: "client") == [try daemon.address("web", in: "net")])
            // Many at once.
            let flood = "for i in $(seq 100); do nslookup host$i.example >/dev/null & done; wait; echo done"
            #expect(try daemon.must("exec", "client", "sh", "-c", flood) == "done")
            #expect(try daemon.resolve("www.example", in: "client") == ["192.0.2.77"])
            // Somebody whose server is silent asks as much as it can: others are answered.
            try daemon.setUp(["ip", "address", "add", "192.0.2.53/32", "dev", "lo"])
            try daemon.setUp(["nft", "add table inet silence"])
            try daemon.setUp(["nft", "add chain inet silence input { type filter hook input priority 0; }"])
            try daemon.setUp(["nft", "add rule inet silence input ip daddr 192.0.2.53 drop"])
            try daemon.idle("stuck", "--network", "net", "--dns", "192.0.2.53")
            let questions = "for i in $(seq 400); do nslookup host$i.example >/dev/null & done; echo asked; wait"
            let stuck = try daemon.spawn(["exec", "stuck", "sh", "-c", questions])
            try stuck.waitFor("asked")
            #expect(try daemon.resolve("www.example", in: "client") == ["192.0.2.77"])
            #expect(try daemon.resolve("web", in: "client") == [try daemon.address("web", in: "net")])
            #expect(try daemon.resolve("web", in: "stuck") == [try daemon.address("web", in: "net")])
            try daemon.must("rm", "-f", "stuck")
            _ = try stuck.finish()
            server.end()
            #expect(try daemon.resolve("web", in: "client") == [try daemon.address("web", in: "net")])
            #expect(try daemon.resolve("www.example", in: "client").isEmpty)
        }
    }
}

/// A DNS server on the daemon's host that has one answer to every question for an IPv4 address.
private final class NameServer {
    private let command: Command

    init(_ daemon: TestDaemon) throws {
        let program = """
            import socket
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(("127.0.0.1", 53))
            print("ready", flush=True)
            while True:
                q, client = s.recvfrom(4096)
                end = 12
                while q[end]:
                    end += 1 + q[end]
                end += 5
                is_a = q[end - 4:end - 2] == b"\\0\\1"
                answer = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4" + socket.inet_aton("192.0.2.77") if is_a else b""
                s.sendto(q[:2] + b"\\x81\\x80\\0\\1\\0" + bytes([is_a]) + b"\\0\\0\\0\\0" + q[12:end] + answer, client)
            """
        command = try Command(
            "/usr/bin/nsenter", ["--net=" + daemon.network, "--", "python3", "-c", program],
            environment: ["PATH": daemon.environment["PATH"]!])
        try command.waitFor("ready")
    }

    func end() {
        command.signal(SIGKILL)
        _ = try? command.finish()
    }
}
