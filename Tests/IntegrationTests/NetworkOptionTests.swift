import Glibc
import Testing

@Suite("Networks as the daemon's flags have them")
struct NetworkOptionTests {
    @Test("The default network has the addresses, MTU, ports and name servers that the flags say")
    func defaultNetwork() throws {
        let flags = [
            "--bip", "10.99.0.1/24", "--fixed-cidr", "10.99.0.64/26", "--mtu", "1400", "--ip", "127.0.0.1",
            "--dns", "192.0.2.53", "--dns-search", "corp.example", "--dns-opt", "ndots:3",
            "--default-address-pool", "base=10.98.0.0/16,size=24",
        ]
        try withDaemon(flags) { daemon in
            let outside = try Outside(daemon)
            try daemon.serveWeb("web", "-p", "8080:80")
            #expect(try daemon.address("web") == "10.99.0.64")
            let seen = try daemon.must("exec", "web", "ip", "address", "show", "eth0")
            #expect(seen.contains("mtu 1400") && seen.contains("inet 10.99.0.64/24 "))
            #expect(try daemon.must("exec", "web", "ip", "route").contains("default via 10.99.0.1 "))
            #expect(try daemon.fetch("127.0.0.1", 8080) == "web")
            #expect(try outside.fetch(Outside.hostAddress, 8080) == nil)
            let servers = "nameserver 192.0.2.53\nsearch corp.example\noptions ndots:3"
            #expect(try daemon.must("exec", "web", "cat", "/etc/resolv.conf") == servers)
            let none = ["run", "--rm", "--network", "none", "busybox", "cat", "/etc/resolv.conf"]
            #expect(try daemon.cli(arguments: none).line == servers)
            let own = try daemon.must("run", "--rm", "--dns", "192.0.2.9", "busybox", "cat", "/etc/resolv.conf")
            #expect(own.contains("nameserver 192.0.2.9\nsearch corp.example"))
            try daemon.must("network", "create", "net")
            #expect(
                try daemon.must("network", "inspect", "net", "-f", "{{(index .IPAM.Config 0).Subnet}}")
                    == "10.98.0.0/24")

            // What runs keeps what it has; from the first start without it the new settings hold.
            daemon.kill()
            daemon.extraArguments = ["--bip", "10.97.0.1/24"]
            try daemon.start()
            #expect(try daemon.fetch("127.0.0.1", 8080) == "web")
            #expect(daemon.logText.contains("settings for the default network differ"))
            try daemon.must("rm", "-f", "web")
            #expect(daemon.stop())
            try daemon.start()
            try daemon.serveWeb("web")
            #expect(try daemon.address("web") == "10.97.0.2")
            // A subnet that another network has stops the daemon at once.
            try daemon.must("rm", "-f", "web")
            #expect(daemon.stop())
            daemon.extraArguments = ["--bip", "10.98.0.1/16"]
            #expect(throws: CommandFailure.self) { try daemon.start() }
            #expect(daemon.logText.contains("overlaps with that of the network net"))
            daemon.extraArguments = []
        }
    }

    @Test("The configuration file says the same, and what makes no sense is refused with a sentence")
    func configurationFile() throws {
        let daemon = try TestDaemon()
        defer { #expect(daemon.tearDown().isEmpty) }
        let file = daemon.directory + "/daemon.json"
        func validate(_ text: String, _ flags: String...) throws -> Outcome {
            try writeFile(file, text)
            return try Command(
                TestDaemon.programs + "/mycontainerd", ["--validate", "--config-file", file] + flags,
                environment: daemon.environment
            ).finish()
        }
        let good = """
            {"bip": "10.99.0.1/24", "fixed-cidr": "10.99.0.0/25", "mtu": 1400, "icc": false, "ip": "127.0.0.1",
             "ipv6": true, "fixed-cidr-v6": "fd00:99::/64", "ip-masq": true, "ip-forward": false, "iptables": true,
             "default-address-pools": [{"base": "10.98.0.0/16", "size": 24}],
             "dns": ["192.0.2.53"], "dns-search": ["corp.example"], "dns-opts": ["ndots:3"]}
            """
        #expect(try validate(good).output.contains("configuration OK"))
        for (text, sentence) in [
            (#"{"bip": "10.99.0.1"}"#, "invalid bip \"10.99.0.1\""), (#"{"mtu": 12}"#, "invalid mtu 12"),
            (#"{"mtu": "1400"}"#, "the value of mtu in the configuration file"),
            (#"{"default-address-pools": [{"base": "10.98.0.0/16", "size": 8}]}"#, "invalid default-address-pool"),
            (#"{"default-address-pools": ["10.98.0.0/16"]}"#, "wrong type"),
            (#"{"dns": ["example.org"]}"#, "invalid dns \"example.org\""),
            (#"{"fixed-cidr-v6": "fd00:99::/64"}"#, "need --ipv6"),
        ] {
            let outcome = try validate(text)
            #expect(outcome.status == 1 && outcome.error.contains(sentence), "\(text): \(outcome.error)")
        }
        let twice = try validate(#"{"icc": true}"#, "--icc=false")
        #expect(twice.error.contains("icc: (from flag: false, from file: true)"), "\(twice.error)")
    }

    @Test("Where containers are kept apart, a link opens the way to what the other exposes, and to nothing else")
    func linksWithoutICC() throws {
        try withDaemon(["--icc=false"]) { daemon in
            try daemon.must("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "net")
            for network in ["bridge", "net"] {
                let web = "web-" + network
                try daemon.serveWeb(web, "--network", network, "--expose", "80")
                try daemon.idle("linked-" + network, "--network", network, "--link", web + ":shop")
                #expect(try daemon.fetch(from: "linked-" + network, "shop") == web)
            }
            try daemon.idle("other")
            #expect(try daemon.fetch(from: "other", try daemon.address("web-bridge"), within: 3) == nil)
            #expect(!(try daemon.pings("linked-bridge", "shop")))
            // The way follows the one it leads to, which has another address then, and outlives the daemon.
            try daemon.must("kill", "web-bridge")
            try daemon.must("wait", "web-bridge")
            try daemon.idle("between")
            try daemon.must("start", "web-bridge")
            #expect(try eventually { try daemon.fetch(from: "linked-bridge", "shop") == "web-bridge" })
            daemon.kill()
            try daemon.start()
            for network in ["bridge", "net"] {
                #expect(try daemon.fetch(from: "linked-" + network, "shop") == "web-" + network)
            }
            // Whoever gets the address next is not reached.
            try daemon.must("rm", "-f", "web-net")
            #expect(
                !(try daemon.inside("nft", "list", "ruleset").output.contains(
                    try daemon.address("linked-net", in: "net"))))
        }
    }

    @Test("Without rules in the firewall and without forwarding, ports are relayed")
    func withoutFirewall() throws {
        try withDaemon(["--iptables=false", "--ip-forward=false"]) { daemon in
            let outside = try Outside(daemon)
            try daemon.setUp(["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"])
            try daemon.serveWeb("web", "-p", "8080:80")
            for host in ["127.0.0.1", "[::1]", Outside.hostAddress] { #expect(try daemon.fetch(host, 8080) == "web") }
            #expect(try outside.fetch(Outside.hostAddress, 8080) == "web")
            #expect(try daemon.inside("nft", "list", "tables").output == "")
            #expect(try daemon.inside("sysctl", "-n", "net.ipv4.ip_forward").line == "0")
            let sctp = try daemon.cli("run", "--rm", "-p", "9000:9000/sctp", "busybox", "true")
            #expect(sctp.status == 125 && sctp.error.contains("--iptables=false"), "\(sctp.error)")
            daemon.kill()
            try daemon.start()
            #expect(try outside.fetch(Outside.hostAddress, 8080) == "web")
        }
    }
}

@Suite("What a host lacks is said in a sentence, and containers without networks run")
struct NetworkFailureTests {
    /// Runs containers without a network, and one with, whose error is to hold `sentence`.
    private func expect(
        _ sentence: String, of words: [String] = ["run", "--rm", "busybox", "true"], status: Int32 = 125,
        flags: [String] = [], preparation: String?, at location: SourceLocation = #_sourceLocation
    ) throws {
        try withDaemon(flags, preparation: preparation) { daemon in
            for network in ["none", "host"] {
                let outcome = try daemon.cli("run", "--rm", "--network", network, "busybox", "echo", "runs")
                #expect(outcome.line == "runs", "\(outcome.error)", sourceLocation: location)
            }
            let outcome = try daemon.cli(arguments: words)
            #expect(
                outcome.status == status && outcome.error.contains(sentence), "\(outcome.status): \(outcome.error)",
                sourceLocation: location)
            // Nothing of it stays.
            #expect(try daemon.interfaces() == ["lo"], sourceLocation: location)
        }
    }

    @Test("The firewall's library")
    func library() throws {
        let library = try host("sh", "-c", "ldconfig -p | sed -n 's/.*libnftables.so.1 .*=> //p' | head -n 1")
        try expect("install libnftables1", preparation: "mount --bind /dev/null \(library)")
    }

    @Test("Forwarding")
    func forwarding() throws {
        try expect(
            "IPv4 forwarding is off on this host and can't be turned on",
            preparation: "echo 0 >/proc/sys/net/ipv4/ip_forward; mount --bind /proc/sys/net/ipv4/ip_forward "
                + "/proc/sys/net/ipv4/ip_forward; mount -o remount,bind,ro /proc/sys/net/ipv4/ip_forward")
    }

    @Test("IPv6")
    func ipv6() throws {
        try expect(
            "this host has no IPv6", of: ["network", "create", "--ipv6", "net"], status: 1,
            // As a kernel that was started with ipv6.disable=1 shows it.
            preparation: """
                mount -t tmpfs none /mnt
                for part in core ipv4 netfilter; do
                    mkdir /mnt/$part && mount --bind /proc/sys/net/$part /mnt/$part
                done
                mount --rbind /mnt /proc/sys/net
                """)
    }

    @Test("A bridge's name that is taken")
    func bridgeName() throws {
        try withDaemon { daemon in
            try daemon.setUp(["ip", "link", "add", "taken", "type", "ifb"])
            daemon.onEnd { _ = try? daemon.inside("ip", "link", "del", "taken") }
            let create = ["network", "create", "-o", "com.docker.network.bridge.name=taken", "net"]
            let outcome = try daemon.cli(arguments: create)
            #expect(
                outcome.status == 1 && outcome.error.contains("the bridge name taken is taken by"), "\(outcome.error)")
            #expect(try daemon.must("network", "ls", "--format", "{{.Name}}") == "bridge\nhost\nnone")
        }
    }

    @Test("Addresses: of the pools and of a network")
    func addresses() throws {
        try withDaemon(["--default-address-pool", "base=10.96.0.0/28,size=29"]) { daemon in
            // The default network has the first of the two pieces.
            try daemon.must("network", "create", "net")
            let second = try daemon.cli("network", "create", "more")
            #expect(
                second.status == 1 && second.error.contains("all predefined address pools have been fully subnetted"))
            try daemon.must("network", "create", "--subnet", "10.95.0.0/30", "tiny")
            try daemon.idle("only", "--network", "tiny")
            let outcome = try daemon.cli("run", "--rm", "--network", "tiny", "busybox", "true")
            #expect(outcome.status == 125 && outcome.error.contains("no available IPv4 addresses"), "\(outcome.error)")
            try daemon.must("rm", "-f", "only")
            try daemon.must("run", "--rm", "--network", "tiny", "busybox", "true")
        }
    }
}
