import EngineAPI
import FoundationEssentials
import LinuxKernel
import Networking
import OCI

/// A network as it is stored: Docker's document of it, without the containers that are in it, and what its options say.
struct NetworkRecord: Sendable {
    /// As `inspect` shows it; `containers` is empty.
    var document: NetworkInspect
    /// The bridge's or the parent's name on the host; empty for `host` and `none`.
    var interface: String

    var id: String { document.id }
    var name: String { document.name }
    var driver: Driver { Driver(rawValue: document.driver) ?? .none }
    var isPredefined: Bool { NetworkRecord.isPredefined(name) }
    /// Whether there is a bridge of the host's under it: a macvlan without a parent is a network of its containers only,
    /// which a bridge without an address serves.
    var hasBridge: Bool { driver == .bridge || driver == .macvlan && options.parent.isEmpty }
    /// Whether no way leads out of it.
    var isInternal: Bool { document.internal || driver == .macvlan && options.parent.isEmpty }

    /// What makes a network's links, by the name that clients use.
    enum Driver: String, Sendable {
        case bridge
        case macvlan
        case host
        case none = "null"
    }

    static let predefinedNames = ["bridge", "host", "none"]

    static func isPredefined(_ name: String) -> Bool { predefinedNames.contains(name) }

    /// The subnets that containers get addresses from, as the address manager is asked for them.
    var subnets: [SubnetRequest] {
        (document.ipam.config ?? []).compactMap { pool in
            guard let subnet = IPNetwork(pool.subnet) else { return nil }
            let gateway = IPAddress(pool.gateway)
            return SubnetRequest(
                subnet: subnet, range: IPNetwork(pool.ipRange), gateway: gateway, hasGateway: gateway != nil,
                auxiliary: (pool.auxiliaryAddresses ?? [:]).compactMapValues { IPAddress($0) })
        }
    }

    /// The network's own addresses, with the prefix lengths of their subnets.
    var gateways: [IPNetwork] {
        subnets.compactMap { request in
            guard let subnet = request.subnet, let gateway = request.gateway else { return nil }
            return IPNetwork(gateway, prefixLength: subnet.prefixLength)
        }
    }

    var options: NetworkOptions {
        // They were checked when the network was made. Which one is the default network is no option of a driver's.
        let options = (document.options ?? [:]).filter { $0.key != "com.docker.network.bridge.default_bridge" }
        return (try? NetworkOptions(options, driver: driver)) ?? NetworkOptions()
    }

    // MARK: Stored form

    private struct Stored: Codable {
        var document: NetworkInspect
        var interface: String
    }

    func encoded() throws -> [UInt8] {
        try JSONTextEncoder.encode(Stored(document: document, interface: interface))
    }

    static func decode(_ bytes: [UInt8]) throws -> NetworkRecord {
        let stored = try JSONDecoder().decode(Stored.self, from: Data(bytes))
        return NetworkRecord(document: stored.document, interface: stored.interface)
    }
}

/// What the options of a network mean; the names are those of Docker's bridge and macvlan drivers.
struct NetworkOptions: Sendable, Equatable {
    /// The bridge's name, empty for one of our own choice.
    var bridgeName = ""
    /// Whether containers of the network reach each other.
    var allowsInterContainer = true
    var masquerades = true
    /// Host address of published ports that name none; empty for all.
    var hostBinding = ""
    /// How packets of the outside reach containers.
    var gatewayMode4 = FirewallNetwork.GatewayMode.nat
    var gatewayMode6 = FirewallNetwork.GatewayMode.nat
    /// What leaves takes this address of the host's.
    var hostAddress4: IPAddress?
    var hostAddress6: IPAddress?
    /// Interfaces of the host from which containers may be reached directly.
    var trustedInterfaces: [String] = []
    /// Bytes; 0 takes the kernel's.
    var mtu = 0
    /// The beginning of interface names in containers.
    var interfacePrefix = "eth"
    /// macvlan: the host's interface under the network; empty for one that leads nowhere.
    var parent = ""
    var macvlanMode = MacvlanMode.bridge

    init() {}

    /// - Throws: `invalid` for an option that this driver doesn't have or a value that is none.
    init(_ options: [String: String], driver: NetworkRecord.Driver) throws(EngineError) {
        for (name, value) in options.sorted(by: { $0.key < $1.key }) {
            switch (name, driver) {
            case ("com.docker.network.driver.mtu", _), ("com.docker.network.mtu", _):
                guard let number = Int(value), (0...65_535).contains(number), number == 0 || number >= 68 else {
                    throw .invalid("invalid MTU \"\(value)\" for option \(name): it is a number of bytes from 68 up")
                }
                mtu = number
            case ("com.docker.network.container_iface_prefix", _):
                guard NetworkOptions.isInterfaceName(value), value.utf8.count <= 11 else {
                    throw .invalid(
                        "invalid interface prefix \"\(value)\": it has at most 11 characters and no slash or blank")
                }
                interfacePrefix = value
            case ("com.docker.network.bridge.name", .bridge):
                guard NetworkOptions.isInterfaceName(value) else {
                    throw .invalid(
                        "invalid bridge name \"\(value)\": an interface name has at most 15 characters and no slash or "
                            + "blank")
                }
                bridgeName = value
            case ("com.docker.network.bridge.enable_icc", .bridge):
                allowsInterContainer = try NetworkOptions.flag(name, value)
            case ("com.docker.network.bridge.enable_ip_masquerade", .bridge):
                masquerades = try NetworkOptions.flag(name, value)
            case ("com.docker.network.bridge.host_binding_ipv4", .bridge):
                guard let address = IPAddress(value), !address.isIPv6 else {
                    throw .invalid("invalid IPv4 address \"\(value)\" for option \(name)")
                }
                hostBinding = address.isUnspecified ? "" : address.description
            case ("com.docker.network.bridge.gateway_mode_ipv4", .bridge),
                ("com.docker.network.bridge.gateway_mode_ipv6", .bridge):
                guard let mode = FirewallNetwork.GatewayMode(rawValue: value.isEmpty ? "nat" : value) else {
                    throw .invalid("unknown gateway mode \(value)")
                }
                if name.hasSuffix("ipv4") { gatewayMode4 = mode } else { gatewayMode6 = mode }
            case ("com.docker.network.host_ipv4", .bridge), ("com.docker.network.host_ipv6", .bridge):
                let isIPv6 = name.hasSuffix("ipv6")
                guard let address = IPAddress(value), address.isIPv6 == isIPv6 else {
                    throw .invalid("invalid IPv\(isIPv6 ? 6 : 4) address \"\(value)\" for option \(name)")
                }
                if isIPv6 { hostAddress6 = address } else { hostAddress4 = address }
            case ("com.docker.network.bridge.trusted_host_interfaces", .bridge):
                trustedInterfaces = value.split(byte: ":").map(String.init)
                for interface in trustedInterfaces where !NetworkOptions.isInterfaceName(interface) {
                    throw .invalid("invalid interface name \"\(interface)\" for option \(name)")
                }
            case ("com.docker.network.bridge.default_bridge", .bridge),
                ("com.docker.network.bridge.inhibit_ipv4", .bridge):
                guard try !NetworkOptions.flag(name, value) else {
                    throw .invalid("option \(name) is not supported")
                }
            case ("parent", .macvlan):
                guard NetworkOptions.isInterfaceName(value) else {
                    throw .invalid("invalid parent interface \"\(value)\"")
                }
                parent = value
            case ("macvlan_mode", .macvlan):
                guard let mode = MacvlanMode(value) else {
                    throw .invalid("unknown macvlan mode \"\(value)\": it is one of bridge, vepa, private, passthru")
                }
                macvlanMode = mode
            default:
                // dockerd passes unknown options to the driver, which ignores those that are not its own.
                continue
            }
        }
    }

    /// IFNAMSIZ of linux/if.h with its rules: dev_valid_name() of net/core/dev.c.
    static func isInterfaceName(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count < 16 && name != "." && name != ".."
            && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
    }

    private static func flag(_ name: String, _ value: String) throws(EngineError) -> Bool {
        switch value {
        case "1", "t", "T", "true", "TRUE", "True": return true
        case "0", "f", "F", "false", "FALSE", "False": return false
        default: throw .invalid("invalid value \"\(value)\" for option \(name): it is true or false")
        }
    }
}
