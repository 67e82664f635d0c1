import Database
import EngineAPI
import LinuxKernel
import Networking
import Testing

@testable import Engine

@Suite struct NetworkRulesTests {
    private func creating(_ change: (inout NetworkCreateRequest) -> Void) -> String? {
        var request = NetworkCreateRequest()
        request.name = "backend"
        change(&request)
        return refusal { try NetworkRules.validate(request) }
    }

    private func pool(_ subnet: String, range: String = "", gateway: String = "", aux: String? = nil) -> IPAM {
        IPAM {
            $0.config = [
                IPAM.Pool {
                    $0.subnet = subnet
                    $0.ipRange = range
                    $0.gateway = gateway
                    $0.auxiliaryAddresses = aux.map { ["router": $0] }
                }
            ]
        }
    }

    @Test func names() {
        #expect(creating { _ in } == nil)
        #expect(creating { $0.name = "n" } == nil)
        // The space at the end is dockerd's.
        #expect(creating { $0.name = "bridge" } == "operation is not permitted on predefined bridge network ")
        #expect(creating { $0.name = "" } == "invalid name: name is empty")
        for name in ["-x", "a/b", "a b", String(repeating: "x", count: 300)] {
            #expect(creating { $0.name = name }?.contains("invalid network name") == true, "\(name)")
        }
    }

    @Test func drivers() {
        #expect(creating { $0.driver = "macvlan" } == nil)
        #expect(creating { $0.driver = "host" } == "only one instance of \"host\" network is allowed")
        #expect(creating { $0.driver = "overlay" }?.contains("not a swarm manager") == true)
        #expect(creating { $0.driver = "ipvlan" }?.contains("could not find plugin ipvlan") == true)
        #expect(creating { $0.enableIPv4 = false } == "IPv4 or IPv6 must be enabled")
    }

    @Test func subnets() {
        #expect(creating { $0.ipam = pool("10.1.0.0/16", range: "10.1.2.0/24", gateway: "10.1.0.9") } == nil)
        // Not looked at where the network has no such family.
        #expect(creating { $0.ipam = pool("fd00::1/64") } == nil)
        let refused: [(IPAM, String)] = [
            (pool("10.1.2.3/16"), "invalid subnet 10.1.2.3/16: it should be 10.1.0.0/16"),
            (pool("10.1.0.0/16", range: "10.2.0.0/24"), "parent subnet 10.1.0.0/16 doesn't contain ip-range"),
            (pool("10.1.0.0/16", range: "10.1.0.0/8"), "CIDR block is bigger than its parent subnet 10.1.0.0/16"),
            (pool("10.1.0.0/16", range: "fd00::/80"), "parent subnet is an IPv4 block"),
            (pool("10.1.0.0/16", gateway: "10.2.0.1"), "parent subnet 10.1.0.0/16 doesn't contain this address"),
            (pool("10.1.0.0/16", aux: "fd00::1"), "invalid auxiliary address router: parent subnet is an IPv4 block"),
            (pool("10.1.0.0"), "invalid subnet 10.1.0.0: invalid CIDR block notation"),
            (pool("", gateway: "10.2.0.1"), "no matching subnet for 10.2.0.1"),
        ]
        for (ipam, sentence) in refused {
            #expect(creating { $0.ipam = ipam }?.contains(sentence) == true, "\(sentence)")
        }
    }

    @Test func options() throws {
        let bridge = try NetworkOptions(
            [
                "com.docker.network.bridge.name": "br-x", "com.docker.network.bridge.enable_icc": "false",
                "com.docker.network.driver.mtu": "1400", "com.docker.network.bridge.gateway_mode_ipv6": "routed",
                "com.docker.network.container_iface_prefix": "net", "of.another.driver": "1",
            ], driver: .bridge)
        #expect(bridge.bridgeName == "br-x" && !bridge.allowsInterContainer && bridge.masquerades)
        #expect(bridge.mtu == 1400 && bridge.gatewayMode4 == .nat && bridge.gatewayMode6 == .routed)
        #expect(bridge.interfacePrefix == "net")
        for (name, value) in [
            ("bridge.name", "much-too-long-a-name"), ("bridge.name", "a/b"), ("bridge.enable_icc", "maybe"),
            ("driver.mtu", "12"), ("bridge.gateway_mode_ipv4", "x"), ("bridge.host_binding_ipv4", "::1"),
        ] {
            #expect(
                throws: EngineError.self, "\(name)=\(value)",
                performing: { try NetworkOptions(["com.docker.network." + name: value], driver: .bridge) })
        }
        #expect(try NetworkOptions(["parent": "eth0", "macvlan_mode": "vepa"], driver: .macvlan).macvlanMode == .vepa)
        #expect(throws: EngineError.self) { try NetworkOptions(["macvlan_mode": "x"], driver: .macvlan) }
    }

    @Test func rates() {
        func rates(_ mode: String, _ rate: Int64, burst: Int64 = 0) -> String? {
            refusal {
                try NetworkModeRules.rates(
                    HostConfig {
                        $0.networkMode = mode
                        $0.resources.networkRateIn = rate
                        $0.resources.networkBurstIn = burst
                    })
            }
        }
        #expect(rates("bridge", 10_000_000, burst: 65_536) == nil)
        #expect(rates("bridge", 100)?.contains("at least 8000") == true)
        #expect(rates("bridge", 0, burst: 5) != nil)
        #expect(rates("host", 10_000_000)?.contains("no interfaces of its own") == true)
    }
}

@Suite struct EndpointRulesTests {
    private func network(_ name: String, _ subnet: String) -> NetworkRecord {
        var document = NetworkInspect()
        document.name = name
        document.id = String(repeating: "1", count: 64)
        document.driver = "bridge"
        document.ipam.config = [
            IPAM.Pool {
                $0.subnet = subnet
                $0.gateway = "10.5.0.1"
            }
        ]
        return NetworkRecord(document: document, interface: "br0")
    }

    private func settings(_ change: (inout EndpointSettings) -> Void) -> EndpointSettings {
        var settings = EndpointSettings()
        change(&settings)
        return settings
    }

    @Test func addresses() {
        let own = network("backend", "10.5.0.0/16")
        let fixed = settings { $0.ipamConfig = .init { $0.ipv4Address = "10.5.7.7" } }
        #expect(refusal { try EndpointRules.validate(fixed, in: own) } == nil)
        #expect(
            refusal { try EndpointRules.validate(fixed, in: network("backend", "10.6.0.0/16")) }
                == "invalid endpoint settings:\nno configured subnet contains IP address 10.5.7.7")
        #expect(
            refusal { try EndpointRules.validate(fixed, in: network("bridge", "10.5.0.0/16")) }?
                .contains("user-specified IP address is supported on user-defined networks only") == true)
        let wrong = settings { $0.ipamConfig = .init { $0.ipv6Address = "10.5.7.7" } }
        #expect(refusal { try EndpointRules.validate(wrong, in: own) }?.contains("invalid IPv6 address") == true)
    }

    @Test func namesAndInterfaces() {
        let own = network("backend", "10.5.0.0/16")
        let aliased = settings { $0.aliases = ["db"] }
        #expect(refusal { try EndpointRules.validate(aliased, in: own) } == nil)
        #expect(
            refusal { try EndpointRules.validate(aliased, in: network("bridge", "10.5.0.0/16")) }?
                .contains("network-scoped aliases are only supported for user-defined networks") == true)
        let hardware = settings { $0.macAddress = "02:42" }
        #expect(refusal { try EndpointRules.validate(hardware, in: own) }?.contains("invalid MAC address") == true)
        let interface = settings { $0.driverOpts = ["com.docker.network.endpoint.ifname": "a/b"] }
        #expect(refusal { try EndpointRules.validate(interface, in: own) }?.contains("interface name") == true)
    }

    @Test func recordsKnowTheirSubnets() throws {
        let own = network("backend", "10.5.0.0/16")
        #expect(own.gateways.map(\.description) == ["10.5.0.1/16"])
        #expect(own.subnets.first?.subnet?.description == "10.5.0.0/16")
        let copy = try NetworkRecord.decode(try own.encoded())
        #expect(copy.document == own.document && copy.interface == "br0")
    }
}

@Suite struct PortRulesTests {
    @Test func specifications() throws {
        #expect(try PortRules.parse("80").transport == .tcp)
        #expect(try PortRules.parse("53/UDP") == (53, .udp))
        for text in ["", "0", "80/", "x/tcp", "70000", "80/quic", "80/tcp/udp"] {
            #expect(throws: EngineError.self, "\(text)", performing: { try PortRules.parse(text) })
        }
        #expect(try PortRules.range("") == nil)
        #expect(try PortRules.range("8000-8010") == 8000...8010)
        for text in ["8010-8000", "x", "1-2-3", "-5"] {
            #expect(throws: EngineError.self, "\(text)", performing: { try PortRules.range(text) })
        }
    }

    @Test func whatAContainerPublishes() throws {
        let record = makeRecord {
            $0.hostConfig.portBindings = [
                "80/tcp": [PortBinding(hostIP: "127.0.0.1", hostPort: "8080")], "90/tcp": [PortBinding()],
            ]
            $0.hostConfig.publishAllPorts = true
            $0.config.exposedPorts = ["80/tcp": .init(), "53/udp": .init()]
        }
        let requests = try PortRules.requests(record)
        #expect(requests.map(\.key) == ["53/udp", "80/tcp", "90/tcp"])
        #expect(requests[1].hostAddress?.description == "127.0.0.1" && requests[1].hostPorts == 8080...8080)
        #expect(requests[0].hostPorts == nil && requests[0].hostAddress == nil)
    }

    @Test func coverage() throws {
        let port = PublishedPort(
            transport: .tcp, hostAddress: IPAddress("0.0.0.0")!, hostPort: 8080,
            containerAddress: IPAddress("10.0.0.2")!, containerPort: 80, bridge: "br0")
        func covers(_ bindings: [String: [PortBinding]?]) throws -> Bool {
            try PortRules.requests(bindings).contains { $0.covers(port) }
        }
        #expect(try covers(["80/tcp": [PortBinding()]]))
        #expect(try covers(["80/tcp": [PortBinding(hostIP: "", hostPort: "8080")]]))
        #expect(try !covers(["80/udp": [PortBinding()]]))
        #expect(try !covers(["80/tcp": [PortBinding(hostIP: "127.0.0.1", hostPort: "8080")]]))
        #expect(try !covers(["80/tcp": [PortBinding(hostIP: "", hostPort: "8081")]]))
        #expect(PortRules.bindings([port])["80/tcp"] == [PortBinding(hostIP: "0.0.0.0", hostPort: "8080")])
    }
}

@Suite struct NetworkStateTests {
    private func state() -> NetworkState {
        var document = NetworkInspect()
        document.id = "n1"
        document.name = "backend"
        var endpoint = NetworkState.Endpoint(id: "e1", network: NetworkRecord(document: document, interface: "br0"))
        endpoint.addresses = [IPNetwork("10.5.0.2/16")!, IPNetwork("fd00::2/64")!]
        endpoint.gateways = [IPAddress("10.5.0.1")!, IPAddress("fd00::1")!]
        endpoint.mac = MACAddress("02:42:0a:05:00:02")
        endpoint.isGateway = true
        return NetworkState(sandbox: "/run/x/netns/1", endpoints: [endpoint], ports: [])
    }

    @Test func survivesTheDaemon() throws {
        let directory = TemporaryDirectory()
        try state().write(to: directory.path)
        let found = try #require(NetworkState.read(from: directory.path))
        #expect(found.sandbox == "/run/x/netns/1")
        #expect(found.gateway?.ipv6?.description == "fd00::2/64")
        try Files.write(directory.path + "/network.json", Array("{\"sandbox\":".utf8))
        #expect(NetworkState.read(from: directory.path) == nil)
    }

    @Test func isShownWithTheUsersSettings() {
        var asked = EndpointSettings()
        asked.aliases = ["db"]
        let shown = asked.operational(state().endpoints[0], network: "n1")
        #expect(shown.aliases == ["db"] && shown.networkID == "n1" && shown.endpointID == "e1")
        #expect(shown.ipAddress == "10.5.0.2" && shown.ipPrefixLen == 16 && shown.gateway == "10.5.0.1")
        #expect(shown.globalIPv6Address == "fd00::2" && shown.ipv6Gateway == "fd00::1")
        #expect(shown.macAddress == "02:42:0a:05:00:02")
        let stopped = asked.operational(nil, network: "n1")
        #expect(stopped.ipAddress.isEmpty && stopped.networkID == "n1")
    }

    @Test func recordsOfBeforeNetworksAreRead() throws {
        let record = makeRecord()
        let document = String(decoding: try record.encodedDocument(), as: UTF8.self)
        #expect(!document.contains("\"networks\""))
        let read = try ContainerRecord.decode(
            id: record.id, name: record.name, document: Array(document.utf8), status: record.encodedStatus())
        #expect(read.document.networks == nil)
    }
}

@Suite struct HostsFileTests {
    private let own = [HostsFile.Line(address: "10.5.0.2", names: ["web.example", "web"])]

    @Test func linesComeAndGo() {
        let text = HostsFile.text(own)
        #expect(text.hasPrefix("127.0.0.1\tlocalhost\n"))
        #expect(text.hasSuffix("10.5.0.2\tweb.example web\n"))
        let more = HostsFile.adding([HostsFile.Line(address: "10.6.0.2", names: ["web"])], to: text)
        #expect(more == text + "10.6.0.2\tweb\n")
        #expect(HostsFile.removing(["10.6.0.2"], from: more) == text)
    }

    @Test func whatTheContainerWroteStays() {
        let edited = HostsFile.text(own) + "# mine\n192.0.2.1 other"
        let added = HostsFile.adding([HostsFile.Line(address: "10.6.0.2", names: ["web"])], to: edited)
        #expect(added.hasSuffix("192.0.2.1 other\n10.6.0.2\tweb\n"))
        #expect(HostsFile.removing(["10.5.0.2", "10.6.0.2"], from: added).hasSuffix("# mine\n192.0.2.1 other\n"))
    }

    @Test func names() {
        #expect(HostsFile.names(hostname: "web", domainname: "example") == ["web.example", "web"])
        #expect(HostsFile.names(hostname: "", domainname: "example").isEmpty)
    }
}

@Suite struct NetworkRegistryTests {
    private func record(_ id: String, _ name: String) -> NetworkRecord {
        var document = NetworkInspect()
        document.id = id + String(repeating: "0", count: 64 - id.count)
        document.name = name
        return NetworkRecord(document: document, interface: "")
    }

    @Test func lookUps() throws {
        let registry = NetworkRegistry()
        registry.set(record("ab1", "front"))
        registry.set(record("ab2", "ab1"))
        #expect(try registry.resolve("front").name == "front")
        // A name goes before the beginning of an id.
        #expect(try registry.resolve("ab1").name == "ab1")
        #expect(try registry.resolve("ab2").name == "ab1")
        #expect(
            refusal { _ = try registry.resolve("ab") } == "network ab is ambiguous (2 matches found based on ID prefix)"
        )
        #expect(refusal { _ = try registry.resolve("nope") } == "network nope not found")
        #expect(refusal { try registry.reserve("front", for: "x") } == "network with name front already exists")
        registry.remove(record("ab1", "front"))
        #expect(refusal { try registry.reserve("front", for: "x") } == nil)
    }

    @Test func storedAndReadAgain() throws {
        let directory = TemporaryDirectory()
        let database = try Database(path: directory.path + "/state.db", migrations: StateStore.migrations)
        let store = StateStore(database: database)
        var network = record("ab1", "front")
        try store.set([network, record("cd1", "back")])
        network.interface = "br7"
        try store.set([network])
        #expect(try store.networks().records.map(\.interface).sorted() == ["", "br7"])
        try store.deleteNetwork(network.id)
        #expect(try store.networks().records.map(\.name) == ["back"])
    }
}
