import Glibc
import Testing

@Suite("Published ports")
struct NetworkPortTests {
    @Test("A port is reached from its host, from outside, and from containers by the host's address")
    func published() throws {
        try withDaemon { daemon in
            let outside = try Outside(daemon)
            try daemon.serveWeb("web", "-p", "8080:80")
            try daemon.idle("client")
            #expect(try daemon.fetch("127.0.0.1", 8080) == "web")
            #expect(try daemon.fetch(Outside.hostAddress, 8080) == "web")
            #expect(try outside.fetch(Outside.hostAddress, 8080) == "web")
            #expect(try daemon.fetch(from: "client", Outside.hostAddress, 8080) == "web")
            // Back to itself, by way of the host.
            #expect(try daemon.fetch(from: "web", Outside.hostAddress, 8080) == "web")
            // The container sees who asks.
            #expect(try daemon.cli("logs", "web").error.contains("\(Outside.address)]:"))
            #expect(try daemon.must("port", "web") == "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080")
            #expect(
                try daemon.must("ps", "--filter", "name=web", "--format", "{{.Ports}}").contains("0.0.0.0:8080->80/tcp")
            )
            try daemon.must("rm", "-f", "web")
            #expect(try daemon.fetch("127.0.0.1", 8080) == nil)
            #expect(try outside.fetch(Outside.hostAddress, 8080) == nil)
        }
    }

    @Test("Containers of two hosts with a router between them reach each other by their hosts' ports alone")
    func twoHosts() throws {
        try withDaemon { first in
            try withDaemon { second in
                let daemons = [first, second]
                _ = try Router(daemons)
                for daemon in daemons {
                    // The same subnet on both: nothing of it may show outside.
                    try daemon.serveWeb("web", "-p", "8080:80")
                    try daemon.idle("client")
                }
                #expect(try first.address("web") == second.address("web"))
                for (here, there) in [(0, 1), (1, 0)] {
                    let host = Router.hostAddresses[there]
                    #expect(try daemons[here].fetch(from: "client", host, 8080) == "web")
                    #expect(try daemons[here].fetch(host, 8080) == "web")
                    #expect(try daemons[here].fetch(from: "client", host, 80, within: 3) == nil)
                    // Over there they come from this host's address, which is kept.
                    #expect(try daemons[there].cli("logs", "web").error.contains("\(Router.hostAddresses[here])]:"))
                }
            }
        }
    }

    @Test("A port on 127.0.0.1 is this host's alone")
    func loopbackOnly() throws {
        try withDaemon { daemon in
            let outside = try Outside(daemon)
            try daemon.serveWeb("web", "-p", "127.0.0.1:8081:80")
            #expect(try daemon.fetch("127.0.0.1", 8081) == "web")
            #expect(try outside.fetch(Outside.hostAddress, 8081) == nil)
            // Somebody on the cable who sends to 127.0.0.1 or the container's own address by way of the host.
            let web = try daemon.address("web")
            try outside.run("ip", "route", "add", web, "via", Outside.hostAddress)
            #expect(try outside.fetch(web, 80) == nil)
            for setting in ["all", "default", "eth0"] {
                try outside.run("sysctl", "-q", "-w", "net.ipv4.conf.\(setting).route_localnet=1")
            }
            try outside.run("ip", "link", "set", "lo", "down")
            try outside.run("ip", "route", "flush", "table", "local")
            try outside.run("ip", "route", "add", "127.0.0.0/8", "via", Outside.hostAddress, "dev", "eth0")
            #expect(try outside.fetch("127.0.0.1", 8081) == nil)
        }
    }

    @Test("Ports of the kernel's choice, ranges, UDP, and all that an image exposes")
    func otherForms() throws {
        try withDaemon(images: ["busybox", "debian"]) { daemon in
            try daemon.serveWeb("any", "-p", "80")
            let line = try daemon.must("port", "any", "80/tcp").split(separator: "\n").first
            let port = try #require(line?.split(separator: ":").last.flatMap { Int($0) })
            #expect(try daemon.fetch("127.0.0.1", port) == "any")
            try daemon.serveWeb("range", "-p", "9000-9001:80-81")
            #expect(try daemon.fetch("127.0.0.1", 9000) == "range")
            try daemon.serveWeb("exposed", "--expose", "80", "-P")
            let exposed = try daemon.must("port", "exposed", "80").split(separator: "\n").first?.split(separator: ":")
                .last
            #expect(try daemon.fetch("127.0.0.1", try #require(exposed.flatMap { Int($0) })) == "exposed")
            try daemon.must(
                "run", "-d", "--name", "udp", "-p", "5353:53/udp", "debian", "perl", "-e", Self.echoServer)
            let client = """
                import socket
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                s.settimeout(1)
                s.sendto(b"hello", ("127.0.0.1", 5353))
                print(s.recv(100).decode())
                """
            #expect(try eventually { try daemon.inside("python3", "-c", client).line == "hello" })
        }
    }

    /// A program that echoes datagrams on port 53 of all addresses, and listens there for TCP.
    private static let echoServer = """
        use IO::Socket::INET;
        my $tcp = IO::Socket::INET->new(LocalPort => 53, Proto => "tcp", Listen => 5) or die "tcp: $!";
        my $udp = IO::Socket::INET->new(LocalPort => 53, Proto => "udp") or die "udp: $!";
        print STDOUT "ready\n"; STDOUT->flush();
        while (my $peer = $udp->recv(my $text, 1500)) { $udp->send($text, 0, $peer) }
        """

    @Test("SCTP packets come to the container with their sender's address, and its answers from the host's port")
    func sctp() throws {
        try withDaemon(images: ["busybox", "debian"]) { daemon in
            let outside = try Outside(daemon)
            let kernelHasIt = try host("python3", "-c", SCTP.probe) == "True"
            if !kernelHasIt { print("this kernel has no SCTP: its packets are made by hand") }
            try daemon.must(
                "run", "-d", "--name", "web", "-p", "9899:9900/sctp", "debian", "perl", "-e",
                SCTP.library + (kernelHasIt ? SCTP.server : SCTP.rawServer))
            #expect(try eventually { try daemon.must("logs", "web").contains("ready") })
            #expect(try daemon.must("port", "web", "9900/sctp") == "0.0.0.0:9899")
            let client = kernelHasIt ? SCTP.client : SCTP.rawClient
            #expect(try outside.run("python3", "-c", client).line == "answer from port 9899 of \(Outside.hostAddress)")
            #expect(try daemon.must("logs", "web").contains("from \(Outside.address) to port 9900"))
        }
    }

    @Test("A port that is taken is found before the container starts")
    func conflicts() throws {
        try withDaemon { daemon in
            try daemon.serveWeb("web", "-p", "8080:80")
            let second = try daemon.cli("run", "-d", "--name", "second", "-p", "8080:80", "busybox", "sleep", "1000")
            #expect(second.status == 125)
            #expect(second.error.contains("Bind for 0.0.0.0:8080 failed: port is already allocated"), "\(second.error)")
            #expect(try daemon.inspect("second")["State"]["Status"].string == "created")
            // A program of the host's.
            let listener = try Command(
                "/usr/bin/nsenter", ["--net=" + daemon.network, "--", "busybox", "nc", "-l", "-p", "8088"],
                environment: ["PATH": daemon.environment["PATH"]!])
            #expect(try eventually { try daemon.inside("busybox", "netstat", "-ltn").output.contains(":8088") })
            let third = try daemon.cli("run", "-d", "--name", "third", "-p", "8088:80", "busybox", "sleep", "1000")
            #expect(third.status == 125)
            #expect(third.error.contains("address already in use"), "\(third.error)")
            listener.signal(SIGKILL)
            _ = try listener.finish()
            #expect(try eventually { try daemon.cli("start", "third").status == 0 })
            try daemon.must("rm", "-f", "web")
            try daemon.must("start", "second")
        }
    }

    @Test("Ports of a running container are published and taken back")
    func changed() throws {
        try withDaemon { daemon in
            try daemon.serveWeb("web")
            #expect(try daemon.fetch("127.0.0.1", 8090) == nil)
            try daemon.must("port", "add", "web", "8090:80")
            #expect(try daemon.fetch("127.0.0.1", 8090) == "web")
            #expect(try daemon.must("port", "web").contains("80/tcp -> 0.0.0.0:8090"))
            try daemon.must("port", "rm", "web", "8090:80")
            #expect(try daemon.fetch("127.0.0.1", 8090) == nil)
            #expect(try daemon.must("port", "web") == "")
        }
    }

    @Test("Containers may serve names themselves, on the port that the resolver has")
    func ownNameServer() throws {
        try withDaemon(images: ["busybox", "debian"]) { daemon in
            try daemon.must("network", "create", "net")
            for network in ["bridge", "net"] {
                let name = "dns-" + network
                try daemon.must(
                    "run", "-d", "--name", name, "--network", network, "debian", "perl", "-e", Self.echoServer)
                #expect(try eventually { try daemon.must("logs", name).contains("ready") })
                #expect(try daemon.inspect(name)["State"]["Running"].bool == true)
            }
            // The resolver still answers, beside it.
            let own = try daemon.must("exec", "dns-net", "getent", "ahostsv4", "dns-net")
            #expect(own.hasPrefix(try daemon.address("dns-net", in: "net") + " "))
        }
    }
}
