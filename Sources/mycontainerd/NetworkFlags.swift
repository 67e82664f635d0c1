import ArgumentParser
import Engine

/// The daemon's flags about networks.
struct NetworkFlags: ParsableArguments {
    @Option(help: "Address of the default network's bridge, with the prefix length of its subnet")
    var bip: String?

    @Option(help: "The same in IPv6")
    var bip6: String?

    @Option(help: "Subnet that containers of the default network get their IPv4 addresses from")
    var fixedCidr: String?

    @Option(help: "The same in IPv6")
    var fixedCidrV6: String?

    @Flag(inversion: .prefixedNo, help: "Give the default network IPv6")
    var ipv6: Bool?

    @Option(help: "MTU of the default network, in bytes")
    var mtu: Int?

    @Flag(inversion: .prefixedNo, help: "Let containers of the default network reach each other (default)")
    var icc: Bool?

    @Option(
        help: "Address of the host where ports of the default network are published that name none (default 0.0.0.0)")
    var ip: String?

    @Flag(inversion: .prefixedNo, help: "Let what leaves the default network take the host's address (default)")
    var ipMasq: Bool?

    @Flag(inversion: .prefixedNo, help: "Turn on the kernel's forwarding where it is off (default)")
    var ipForward: Bool?

    @Flag(
        inversion: .prefixedNo,
        help: "Add rules to the host's firewall (default); without, ports are relayed by the daemon")
    var iptables: Bool?

    @Option(help: "Where networks without a subnet get theirs from: base=CIDR,size=PREFIX-LENGTH; may be repeated")
    var defaultAddressPool: [String] = []

    @Option(help: "Name server of containers that name none; may be repeated")
    var dns: [String] = []

    @Option(help: "Search domain of containers that name none; may be repeated")
    var dnsSearch: [String] = []

    @Option(help: "Resolver option of containers that name none; may be repeated")
    var dnsOpt: [String] = []

    /// Those that take `=true` and `=false`.
    static let switches = ["ipv6", "icc", "ip-masq", "ip-forward", "iptables"]

    /// What each says, under the name that it has in the configuration file.
    var given: [(key: String, text: String?)] {
        func text(_ list: [String]) -> String? { list.isEmpty ? nil : "[\(list.joined(separator: " "))]" }
        return [
            ("bip", bip), ("bip6", bip6), ("fixed-cidr", fixedCidr), ("fixed-cidr-v6", fixedCidrV6),
            ("ipv6", ipv6.map { "\($0)" }), ("mtu", mtu.map { "\($0)" }), ("icc", icc.map { "\($0)" }), ("ip", ip),
            ("ip-masq", ipMasq.map { "\($0)" }), ("ip-forward", ipForward.map { "\($0)" }),
            ("iptables", iptables.map { "\($0)" }), ("default-address-pools", text(defaultAddressPool)),
            ("dns", text(dns)), ("dns-search", text(dnsSearch)), ("dns-opts", text(dnsOpt)),
        ]
    }
}

extension NetworkDefaults {
    /// Flags and configuration file in one.
    init(_ flags: NetworkFlags, _ file: ConfigurationFile) throws {
        self.init()
        bridgeAddress4 = try (flags.bip ?? file.text("bip")).map { try Self.bridgeAddress($0, isIPv6: false) }
        bridgeAddress6 = try (flags.bip6 ?? file.text("bip6")).map { try Self.bridgeAddress($0, isIPv6: true) }
        range4 = try (flags.fixedCidr ?? file.text("fixed-cidr")).map { try Self.range($0, isIPv6: false) }
        range6 = try (flags.fixedCidrV6 ?? file.text("fixed-cidr-v6")).map { try Self.range($0, isIPv6: true) }
        enablesIPv6 = flags.ipv6 ?? file.flag("ipv6") ?? false
        mtu = try Self.mtu(flags.mtu ?? file.number("mtu") ?? 0)
        allowsInterContainer = flags.icc ?? file.flag("icc") ?? true
        publishAddress = try (flags.ip ?? file.text("ip")).flatMap { try Self.publishAddress($0) }
        masquerades = flags.ipMasq ?? file.flag("ip-masq") ?? true
        enablesForwarding = flags.ipForward ?? file.flag("ip-forward") ?? true
        usesFirewall = flags.iptables ?? file.flag("iptables") ?? true
        pools =
            flags.defaultAddressPool.isEmpty
            ? try file.pools("default-address-pools").map { try Self.pool(base: $0.base, size: $0.size) }
            : try flags.defaultAddressPool.map { try Self.pool($0) }
        resolver = try Self.resolver(
            servers: flags.dns.isEmpty ? file.list("dns") ?? [] : flags.dns,
            search: flags.dnsSearch.isEmpty ? file.list("dns-search") ?? [] : flags.dnsSearch,
            options: flags.dnsOpt.isEmpty ? file.list("dns-opts") ?? [] : flags.dnsOpt)
        try validate()
    }
}
