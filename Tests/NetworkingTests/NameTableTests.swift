import LinuxKernel
import Testing

@testable import Networking

@Suite struct NameTableTests {
    let table = NameTable()

    func address(_ text: String) -> IPAddress { IPAddress(text)! }

    func add(
        _ container: String, _ names: [String], _ addresses: [String], network: String = "n1", named: String = "Front",
        links: [String: String] = [:]
    ) {
        table.add(
            NameTable.Endpoint(
                container: container, network: network, networkName: named, names: names,
                addresses: addresses.map(address), links: links, subnets: [IPNetwork("10.1.0.0/16")!]))
    }

    func ask(_ name: String, from container: String = "c1") -> [String]? {
        table.addresses(of: name, for: container)?.map(\.description)
    }

    @Test func findsNamesAliasesAndIDsOnSharedNetworksOnly() {
        add("c1", ["client"], ["10.1.0.2"])
        add("c2", ["Web", "www", "0123456789ab"], ["10.1.0.3", "fd00::3"])
        add("c3", ["db"], ["10.2.0.3"], network: "n2", named: "back")
        for name in ["web", "www", "0123456789ab", "web.front", "www.front"] {
            #expect(ask(name) == ["10.1.0.3", "fd00::3"], "\(name)")
        }
        #expect(ask("client") == ["10.1.0.2"])
        for name in ["db", "db.back", "web.back", "web.fron", "webfront", "front", ".front", "", "web.front.front"] {
            #expect(ask(name) == nil, "\(name)")
        }
        #expect(ask("web", from: "nobody") == nil)
    }

    @Test func gathersAService() {
        add("c1", ["client"], ["10.1.0.2"])
        for index in 3...5 { add("c\(index)", ["web-\(index)", "web"], ["10.1.0.\(index)"]) }
        #expect(ask("web") == ["10.1.0.3", "10.1.0.4", "10.1.0.5"])
        #expect(ask("web-4") == ["10.1.0.4"])
        table.remove(container: "c4")
        #expect(ask("web") == ["10.1.0.3", "10.1.0.5"])
        #expect(ask("web-4") == nil)
    }

    @Test func asksTheNetworksInTheirOrder() {
        add("c1", ["client"], ["10.1.0.2"])
        add("c1", ["client"], ["10.2.0.2"], network: "n2", named: "back")
        add("c2", ["web"], ["10.2.0.9"], network: "n2", named: "back")
        add("c3", ["web"], ["10.1.0.9"])
        #expect(ask("web") == ["10.1.0.9"])
        #expect(ask("web.back") == ["10.2.0.9"])
        // Replacing an endpoint keeps its place.
        add("c1", ["client"], ["10.1.0.22"])
        #expect(ask("web") == ["10.1.0.9"])
        #expect(ask("client") == ["10.1.0.22"])
        table.remove(container: "c1", network: "n1")
        #expect(ask("web") == ["10.2.0.9"])
    }

    @Test func namesWithDotsAreWhole() {
        add("c1", ["a.b"], ["10.1.0.2"], named: "b.c")
        #expect(ask("a.b") == ["10.1.0.2"])
        #expect(ask("a.b.b.c") == ["10.1.0.2"])
    }

    @Test func linksAreTheContainersOwn() {
        add("c1", ["client"], ["10.1.0.2"], links: ["Database": "PG"])
        add("c2", ["pg"], ["10.1.0.3"])
        add("c4", ["other"], ["10.1.0.4"])
        #expect(ask("database") == ["10.1.0.3"])
        #expect(ask("database.front") == ["10.1.0.3"])
        #expect(ask("database", from: "c4") == nil)
    }

    @Test func hostsAreTheContainersOwn() {
        add("c1", ["client"], ["10.1.0.2"])
        add("c2", ["other"], ["10.1.0.3"])
        table.setHosts(["Host.Docker.Internal": [address("10.1.0.1")]], container: "c1")
        #expect(ask("host.docker.internal") == ["10.1.0.1"])
        #expect(ask("host.docker.internal", from: "c2") == nil)
        table.remove(container: "c1")
        #expect(ask("host.docker.internal") == nil)
    }

    @Test func knowsWhoHasAnAddress() {
        add("c1", ["client"], ["10.1.0.2"])
        add("c2", ["Web", "www"], ["10.1.0.3", "fd00::3"])
        #expect(table.reverse(address("10.1.0.3"), for: "c1") == .name("Web.Front"))
        #expect(table.reverse(address("fd00::3"), for: "c1") == .name("Web.Front"))
        #expect(table.reverse(address("10.1.0.99"), for: "c1") == .nobody)
        #expect(table.reverse(address("10.9.0.3"), for: "c1") == .elsewhere)
        #expect(table.reverse(address("10.1.0.3"), for: "nobody") == .elsewhere)
        // Its successor has the address before it is gone.
        add("c3", ["next"], ["10.1.0.3"])
        table.remove(container: "c2")
        #expect(table.reverse(address("10.1.0.3"), for: "c1") == .name("next.Front"))
    }
}

@Suite struct ResolvConfTests {
    @Test func readsAndWrites() {
        let conf = ResolvConf(
            parsing: """
                # comment
                ; comment
                nameserver 192.0.2.1
                nameserver\tfe80::1%eth0
                nameserver bogus
                nameserver
                domain old.example
                search a.example  b.example
                options edns0 ndots:2
                options timeout:1
                sortlist 192.0.2.0
                """)
        #expect(conf.nameservers == ["192.0.2.1", "fe80::1%eth0"])
        #expect(conf.search == ["a.example", "b.example"])
        #expect(conf.options == ["edns0", "ndots:2", "timeout:1"])
        #expect(conf.option("ndots") == "2" && conf.option("edns0") == "" && conf.option("rotate") == nil)
        #expect(
            conf.text == """
                nameserver 192.0.2.1
                nameserver fe80::1%eth0
                search a.example b.example
                options edns0 ndots:2 timeout:1
                sortlist 192.0.2.0

                """)
        #expect(ResolvConf(path: "/nonexistent/resolv.conf") == ResolvConf())
    }

    @Test func namesTheEmbeddedResolverOnUserDefinedNetworks() {
        let host = ResolvConf(parsing: "nameserver 192.0.2.1\nsearch example\noptions edns0\n")
        let plain = host.forContainer(.embeddedResolver, .init())
        #expect(plain.file.text == "nameserver 127.0.0.11\nsearch example\noptions edns0 ndots:0\n")
        #expect(plain.resolver == Resolver.Settings())
        let own = host.forContainer(
            .embeddedResolver, .init(servers: ["198.51.100.1"], search: ["."], options: ["ndots:3"]))
        #expect(own.file.text == "nameserver 127.0.0.11\noptions ndots:3\n")
        #expect(own.resolver == Resolver.Settings(servers: ["198.51.100.1"], ndotsIsSet: true))
        let broken = host.forContainer(.embeddedResolver, .init(options: ["ndots:-1", "ndots"]))
        #expect(broken.file.options == ["ndots:0"] && broken.resolver?.ndotsIsSet == false)
    }

    @Test func keepsTheHostsServersOnTheDefaultBridge() {
        let mixed = ResolvConf(
            parsing: "nameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver ::1\n")
        #expect(mixed.forContainer(.defaultBridge(ipv6: false), .init()).file.nameservers == ["192.0.2.1"])
        #expect(
            mixed.forContainer(.defaultBridge(ipv6: true), .init()).file.nameservers == ["192.0.2.1", "2001:db8::1"])
        #expect(mixed.forContainer(.defaultBridge(ipv6: true), .init()).resolver == nil)
        #expect(
            mixed.forContainer(.defaultBridge(ipv6: false), .init(servers: ["127.0.0.1"])).file.nameservers == [
                "127.0.0.1"
            ])
        #expect(mixed.forContainer(.host, .init(search: ["x"])).file.search == ["x"])
        // Only a stub on the host's loopback: it is asked for the container.
        let stub = ResolvConf(parsing: "nameserver 127.0.0.53\n").forContainer(.defaultBridge(ipv6: false), .init())
        #expect(stub.file.nameservers == ["127.0.0.11"] && stub.resolver == Resolver.Settings())
        // A host without DNS has none for containers.
        let none = ResolvConf().forContainer(.defaultBridge(ipv6: false), .init())
        #expect(none.file.nameservers.isEmpty && none.resolver == nil)
    }
}
