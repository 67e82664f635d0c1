import EngineAPI
import LinuxKernel
import Networking
import Testing

@testable import Engine

@Suite struct NetworkDefaultsTests {
    @Test func readsWhatDockerdReads() throws {
        #expect(try NetworkDefaults.bridgeAddress("172.20.0.1/16", isIPv6: false) == IPNetwork("172.20.0.1/16"))
        #expect(try NetworkDefaults.range("172.20.1.7/24", isIPv6: false) == IPNetwork("172.20.1.0/24"))
        #expect(
            try NetworkDefaults.pool("base=10.10.0.0/16,size=24")
                == AddressPool(base: IPNetwork("10.10.0.0/16")!, size: 24))
        #expect(
            try NetworkDefaults.pool("size=64,base=fd00:5::/48")
                == AddressPool(base: IPNetwork("fd00:5::/48")!, size: 64))
        #expect(try NetworkDefaults.publishAddress("0.0.0.0") == nil)
        #expect(try NetworkDefaults.publishAddress("192.0.2.1") == IPAddress("192.0.2.1"))
        #expect(try NetworkDefaults.mtu(1400) == 1400)
    }

    @Test func refusesWithASentence() {
        func says(_ words: String, _ body: () throws -> Void) -> Bool { refusal(body)?.contains(words) ?? false }
        for text in ["172.20.0.1", "172.20.0.0/16", "172.20.255.255/16", "172.20.0.1/31", "fd00::1/64", ""] {
            #expect(says("invalid bip") { _ = try NetworkDefaults.bridgeAddress(text, isIPv6: false) }, "\(text)")
        }
        #expect(says("invalid bip6") { _ = try NetworkDefaults.bridgeAddress("172.20.0.1/16", isIPv6: true) })
        #expect(says("invalid fixed-cidr ") { _ = try NetworkDefaults.range("here", isIPv6: false) })
        for text in [
            "10.0.0.0/8", "base=10.0.0.0/8", "base=10.0.0.0/8,size=x", "base=x,size=24", "base=10.0.0.0/8,size=4",
            "base=10.0.0.0/8,size=31", "base=10.0.0.0/8,size=24,size=25", "base=10.0.0.0/8,size=24,kind=x",
        ] {
            #expect(says("invalid default-address-pool") { _ = try NetworkDefaults.pool(text) }, "\(text)")
        }
        for number in [-1, 1, 67, 65_536] {
            #expect(says("invalid mtu") { _ = try NetworkDefaults.mtu(number) }, "\(number)")
        }
        #expect(says("invalid ip ") { _ = try NetworkDefaults.publishAddress("::1") })
        #expect(says("invalid dns ") { _ = try NetworkDefaults.resolver(servers: ["x"], search: [], options: []) })
        #expect(
            says("invalid dns-search") { _ = try NetworkDefaults.resolver(servers: [], search: ["a b"], options: []) })
        #expect(says("invalid dns-opt ") { _ = try NetworkDefaults.resolver(servers: [], search: [], options: [""]) })
        var defaults = NetworkDefaults()
        defaults.bridgeAddress4 = IPNetwork("172.20.0.1/16")
        defaults.range4 = IPNetwork("172.21.0.0/24")
        #expect(
            says("fixed-cidr 172.21.0.0/24 is not within the bridge's subnet 172.20.0.0/16") { try defaults.validate() }
        )
        defaults = NetworkDefaults()
        defaults.range6 = IPNetwork("fd00::/80")
        #expect(says("they need --ipv6") { try defaults.validate() })
    }

    @Test func knowsWhetherTheDefaultNetworkIsAsAsked() {
        func network(_ subnet: String, gateway: String, range: String = "") -> NetworkRecord {
            var document = NetworkInspect()
            document.driver = "bridge"
            document.ipam.config = [
                IPAM.Pool {
                    $0.subnet = subnet
                    $0.gateway = gateway
                    $0.ipRange = range
                }
            ]
            return NetworkRecord(document: document, interface: "br0")
        }
        var defaults = NetworkDefaults()
        let chosen = network("172.17.0.0/16", gateway: "172.17.0.1")
        #expect(defaults.agrees(with: chosen))
        defaults.bridgeAddress4 = IPNetwork("172.20.0.1/16")
        #expect(!defaults.agrees(with: chosen))
        #expect(defaults.agrees(with: network("172.20.0.0/16", gateway: "172.20.0.1")))
        #expect(!defaults.agrees(with: network("172.20.0.0/16", gateway: "172.20.0.2")))
        defaults.range4 = IPNetwork("172.20.1.0/24")
        #expect(!defaults.agrees(with: network("172.20.0.0/16", gateway: "172.20.0.1")))
        #expect(defaults.agrees(with: network("172.20.0.0/16", gateway: "172.20.0.1", range: "172.20.1.0/24")))
        // What was narrowed is chosen anew when nobody narrows it any more.
        #expect(
            !NetworkDefaults().agrees(with: network("172.20.0.0/16", gateway: "172.20.0.1", range: "172.20.1.0/24")))
        defaults = NetworkDefaults()
        defaults.enablesIPv6 = true
        #expect(!defaults.agrees(with: chosen))
    }

    @Test func anAddressOfTheHostsIsNoneWhenItMeansAll() throws {
        var document = NetworkInspect()
        document.driver = "bridge"
        document.options = NetworkDefaults().bridgeOptions
        #expect(NetworkRecord(document: document, interface: "").options == NetworkOptions())
        var defaults = NetworkDefaults()
        defaults.publishAddress = IPAddress("127.0.0.1")
        defaults.allowsInterContainer = false
        defaults.mtu = 1400
        document.options = defaults.bridgeOptions
        let options = NetworkRecord(document: document, interface: "").options
        #expect(options.hostBinding == "127.0.0.1" && !options.allowsInterContainer && options.mtu == 1400)
    }

    @Test func aLinkedContainersNewAddressTakesTheOldOnesPlace() {
        let text = "127.0.0.1\tlocalhost\n10.0.0.2\tshop 0123456789ab web\n10.0.0.3\tshopper\n"
        let line = HostsFile.Line(address: "10.0.0.9", names: ["shop", "web"])
        #expect(
            HostsFile.replacing("shop", by: [line], in: text)
                == "127.0.0.1\tlocalhost\n10.0.0.3\tshopper\n10.0.0.9\tshop web\n")
    }
}
