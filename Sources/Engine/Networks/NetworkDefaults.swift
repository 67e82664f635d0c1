import EngineAPI
import LinuxKernel
import Networking

/// What the daemon's settings say about networks; the names in errors are dockerd's flags. Most are about the default
/// network, as dockerd's are.
public struct NetworkDefaults: Sendable, Equatable {
    /// `--bip`, `--bip6`: the default network's gateway, with its subnet's prefix length.
    public var bridgeAddress4: IPNetwork?
    public var bridgeAddress6: IPNetwork?
    /// `--fixed-cidr`, `--fixed-cidr-v6`: the part of the subnet that its containers get addresses from.
    public var range4: IPNetwork?
    public var range6: IPNetwork?
    /// `--ipv6`: whether the default network has IPv6.
    public var enablesIPv6 = false
    /// `--mtu` in bytes; 0 takes the kernel's.
    public var mtu = 0
    /// `--icc`
    public var allowsInterContainer = true
    /// `--ip-masq`
    public var masquerades = true
    /// `--ip`: the host's address of ports that name none; nil: all.
    public var publishAddress: IPAddress?
    /// `--default-address-pool`: what networks without a subnet get theirs from.
    public var pools: [AddressPool] = []
    /// `--ip-forward`: whether forwarding is turned on where it is off.
    public var enablesForwarding = true
    /// `--iptables`: whether the host's firewall gets rules of ours.
    public var usesFirewall = true
    /// `--dns`, `--dns-search`, `--dns-opt`: for containers that name none.
    public var resolver = ResolvConf.Overrides()

    public init() {}

    // MARK: Reading

    /// The address of `--bip` or `--bip6`.
    public static func bridgeAddress(_ text: String, isIPv6: Bool) throws(EngineError) -> IPNetwork {
        let option = isIPv6 ? "bip6" : "bip"
        guard let address = IPNetwork(text), address.isIPv6 == isIPv6 else {
            throw .invalid(
                "invalid \(option) \"\(text)\": it is an IPv\(isIPv6 ? 6 : 4) address with the prefix length of its subnet, "
                    + "as in \(isIPv6 ? "fd00:17::1/64" : "172.20.0.1/16")")
        }
        guard address.address.bitWidth - address.prefixLength >= 2, address.address != address.firstAddress,
            isIPv6 || address.address != address.lastAddress
        else {
            throw .invalid(
                "invalid \(option) \(address): the bridge needs an address of its own in a subnet with room for containers"
            )
        }
        return address
    }

    /// The subnet of `--fixed-cidr` or `--fixed-cidr-v6`.
    public static func range(_ text: String, isIPv6: Bool) throws(EngineError) -> IPNetwork {
        guard let range = IPNetwork(text), range.isIPv6 == isIPv6 else {
            throw .invalid(
                "invalid fixed-cidr\(isIPv6 ? "-v6" : "") \"\(text)\": it is an IPv\(isIPv6 ? 6 : 4) subnet, as in "
                    + (isIPv6 ? "fd00:17::/80" : "172.20.1.0/24"))
        }
        return range.network
    }

    /// `base=10.10.0.0/16,size=24`
    public static func pool(_ text: String) throws(EngineError) -> AddressPool {
        var values: [String: String] = [:]
        for part in text.split(byte: ",") {
            let sides = part.split(byte: "=", maxSplits: 1).map(String.init)
            guard sides.count == 2, ["base", "size"].contains(sides[0]), values[sides[0]] == nil else {
                throw invalidPool(text)
            }
            values[sides[0]] = sides[1]
        }
        guard let base = values["base"], let size = values["size"].flatMap({ Int($0) }) else {
            throw invalidPool(text)
        }
        return try pool(base: base, size: size)
    }

    public static func pool(base: String, size: Int) throws(EngineError) -> AddressPool {
        guard let network = IPNetwork(base) else { throw invalidPool("base=\(base),size=\(size)") }
        guard let pool = AddressPool(base: network, size: size), network.address.bitWidth - size >= 2 else {
            throw .invalid(
                "invalid default-address-pool base=\(base),size=\(size): the size is the prefix length of each network, so "
                    + "it is from \(network.prefixLength) to \(network.address.bitWidth - 2)")
        }
        return pool
    }

    private static func invalidPool(_ text: String) -> EngineError {
        .invalid("invalid default-address-pool \"\(text)\": it must be as in base=10.10.0.0/16,size=24")
    }

    public static func mtu(_ number: Int) throws(EngineError) -> Int {
        guard number == 0 || (68...65_535).contains(number) else {
            throw .invalid("invalid mtu \(number): it is a number of bytes from 68 to 65535")
        }
        return number
    }

    public static func publishAddress(_ text: String) throws(EngineError) -> IPAddress? {
        guard let address = IPAddress(text), !address.isIPv6 else {
            throw .invalid("invalid ip \"\(text)\": it is an IPv4 address of this host, or 0.0.0.0 for all")
        }
        return address.isUnspecified ? nil : address
    }

    public static func resolver(
        servers: [String], search: [String], options: [String]
    ) throws(EngineError) -> ResolvConf.Overrides {
        for server in servers where IPAddress(server) == nil {
            throw .invalid("invalid dns \"\(server)\": it is the IP address of a name server")
        }
        for (name, words) in [("dns-search", search), ("dns-opt", options)] {
            for word in words where word.isEmpty || word.contains(where: \.isWhitespace) {
                throw .invalid("invalid \(name) \"\(word)\": it is one word")
            }
        }
        return ResolvConf.Overrides(servers: servers, search: search, options: options)
    }

    /// What can't be together.
    public func validate() throws(EngineError) {
        for (address, range, suffix) in [(bridgeAddress4, range4, ""), (bridgeAddress6, range6, "-v6")] {
            guard let address, let range else { continue }
            guard range.prefixLength >= address.prefixLength, address.contains(range.address) else {
                throw .invalid("fixed-cidr\(suffix) \(range) is not within the bridge's subnet \(address.network)")
            }
        }
        guard enablesIPv6 || bridgeAddress6 == nil && range6 == nil else {
            throw .invalid("bip6 and fixed-cidr-v6 are for a default network with IPv6: they need --ipv6")
        }
    }

    // MARK: The default network

    /// The options of the default network, by docker's names.
    var bridgeOptions: [String: String] {
        var options = [
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": "\(allowsInterContainer)",
            "com.docker.network.bridge.enable_ip_masquerade": "\(masquerades)",
            "com.docker.network.bridge.host_binding_ipv4": publishAddress?.description ?? "0.0.0.0",
        ]
        if mtu != 0 { options["com.docker.network.driver.mtu"] = "\(mtu)" }
        return options
    }

    /// What is asked for the default network's subnets: nothing where the flags say nothing.
    var bridgePools: [IPAM.Pool] {
        var pools: [IPAM.Pool] = []
        for (address, range) in [(bridgeAddress4, range4), (bridgeAddress6, range6)] {
            // Without an address for the bridge, the range is the subnet.
            guard let subnet = address?.network ?? range else { continue }
            pools.append(
                IPAM.Pool {
                    $0.subnet = subnet.description
                    $0.ipRange = range?.description ?? ""
                    $0.gateway = address?.address.description ?? ""
                })
        }
        return pools
    }

    /// Whether the default network's subnets are what the flags ask for, or what was chosen where they ask for nothing.
    func agrees(with network: NetworkRecord) -> Bool {
        let stored = network.subnets
        guard network.document.enableIPv6 == enablesIPv6, !stored.isEmpty else { return false }
        for isIPv6 in enablesIPv6 ? [false, true] : [false] {
            let wanted = bridgePools.first { (IPNetwork($0.subnet)?.isIPv6 ?? false) == isIPv6 }
            guard let request = stored.first(where: { $0.isIPv6 == isIPv6 }) else { return false }
            let range = (isIPv6 ? range6 : range4)
            guard request.range == range else { return false }
            guard let wanted else { continue }
            let gateway = IPAddress(wanted.gateway)
            guard request.subnet == IPNetwork(wanted.subnet), gateway == nil || gateway == request.gateway else {
                return false
            }
        }
        return true
    }
}
