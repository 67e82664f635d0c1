import LinuxKernel

/// One element of one of our sets or maps, as nft's language has it.
struct RulesetElement: Hashable {
    let set: String
    let key: String
    /// What a map's key leads to.
    var value: String?
}

/// Writes our table in nft's language.
///
/// Base chains are few and the same for any number of networks: verdict maps lead from an interface or an address to
/// the chains of its network. A published port is one element of one map, looked up by hash.
///
/// Our table only ever drops. An `accept` ends its own base chain and no other, so that a drop of the host's own
/// tables holds whatever we say; and what we would let pass, others still may drop.
struct Ruleset {
    let table: String

    /// The table that belongs to the user. Made when it is missing, never changed after.
    static let userTable = "mycontainer-user"

    init(instance: String) { table = "mycontainer-\(instance)" }

    /// The whole table but for its elements. The networks' chains stand in the same block: nft 1.0.6 doesn't find a
    /// chain that another command of the same script adds when an element leads to it.
    func skeleton(_ networks: [FirewallNetwork]) -> String {
        "table inet \(table) {\n" + sets + baseChains + networks.map(chains(of:)).joined() + "}\n"
    }

    /// Their suffix in names, what nft calls the family, and the type of its addresses.
    private static let families = [("4", "ip", "ipv4_addr"), ("6", "ip6", "ipv6_addr")]

    private var sets: String {
        var text = ""
        for (suffix, _, type) in Ruleset.families {
            text += """
                map published\(suffix) { type \(type) . inet_proto . inet_service : \(type) . inet_service; }
                map published-any\(suffix) { type inet_proto . inet_service : \(type) . inet_service; }
                set routed\(suffix) { type \(type) . inet_proto . inet_service; }

                """
        }
        text += """
            set linked { type ipv4_addr . ipv4_addr . inet_proto . inet_service; }
            set bridges { type ifname; }
            map into { type ifname : verdict; }
            map out-of { type ifname : verdict; }
            map leaving { type ifname : verdict; }
            map entering { type ifname : verdict; }

            """
        return text
    }

    private var baseChains: String {
        var text = """
            chain loopback {
                type filter hook prerouting priority raw; policy accept;
                iifname != "lo" ip daddr 127.0.0.0/8 drop
                iifname != "lo" ip saddr 127.0.0.0/8 drop
            }
            chain published {
                ip6 daddr ::1 return
                ip6 saddr fe80::/10 return

            """
        for (suffix, family, _) in Ruleset.families {
            let ports = "meta l4proto { tcp, udp, sctp } dnat \(family) to"
            text += """
                    \(ports) \(family) daddr . meta l4proto . th dport map @published\(suffix)
                    \(ports) meta l4proto . th dport map @published-any\(suffix)

                """
        }
        text += """
            }
            chain arriving {
                type nat hook prerouting priority dstnat; policy accept;
                fib daddr type local jump published
            }
            chain local {
                type nat hook output priority -100; policy accept;
                fib daddr type local jump published
            }
            chain forwarded {
                type filter hook forward priority filter; policy accept;
                iifname vmap @out-of
                oifname vmap @into
            }
            chain departing {
                type nat hook postrouting priority srcnat; policy accept;
                ip saddr 127.0.0.0/8 oifname @bridges masquerade
                ct status dnat oifname vmap @entering
                iifname vmap @leaving
            }

            """
        return text
    }

    /// Adds one network's chains to a table that exists.
    func addition(of network: FirewallNetwork) -> String { "table inet \(table) {\n\(chains(of: network))}\n" }

    /// The chains of one network; its elements lead to them.
    private func chains(of network: FirewallNetwork) -> String {
        let bridge = quoted(network.bridge)
        var into = ["ct state established,related accept"]
        if network.isInternal {
            into.append("iifname != \(bridge) drop")
        } else {
            into.append("ct status dnat accept")
        }
        if !network.allowsInterContainer {
            into.append("iifname \(bridge) ip saddr . ip daddr . meta l4proto . th dport @linked accept")
        }
        into.append("iifname \(bridge) \(network.allowsInterContainer ? "accept" : "drop")")
        if !network.isInternal {
            if !network.trustedInterfaces.isEmpty {
                into.append("iifname { \(network.trustedInterfaces.map(quoted).joined(separator: ", ")) } accept")
            }
            for (isIPv6, family, icmp) in [(false, "ip", "icmp"), (true, "ip6", "ipv6-icmp")] {
                let suffix = isIPv6 ? "6" : "4"
                switch network.mode(isIPv6: isIPv6) {
                case .nat, .isolated: break
                case .natUnprotected: into.append("meta nfproto \(isIPv6 ? "ipv6" : "ipv4") accept")
                case .routed:
                    into.append("meta nfproto \(isIPv6 ? "ipv6" : "ipv4") meta l4proto \(icmp) accept")
                    into.append("\(family) daddr . meta l4proto . th dport @routed\(suffix) accept")
                }
            }
        }
        into.append("drop")

        // To a published port and back into the same network: the answer has to come back this way. Where br_netfilter
        // rewrites frames between two ports, there is no incoming interface to ask for.
        let entering = network.subnets.map { "\($0.isIPv6 ? "ip6" : "ip") saddr \($0.network) masquerade" }
        var leaving: [String] = []
        for subnet in network.subnets {
            let mode = network.mode(isIPv6: subnet.isIPv6)
            guard network.masquerades, !network.isInternal, mode == .nat || mode == .natUnprotected else { continue }
            let family = subnet.isIPv6 ? "ip6" : "ip"
            let source = subnet.isIPv6 ? network.hostAddress6 : network.hostAddress4
            let action = source.map { "snat \(family) to \($0)" } ?? "masquerade"
            leaving.append("oifname != \(bridge) \(family) saddr \(subnet.network) \(action)")
        }

        let out = network.isInternal ? ["oifname != \(bridge) drop"] : []
        return [("into", into), ("out-of", out), ("entering", entering), ("leaving", leaving)]
            .map { "chain \($0)-\(network.bridge) {\n\($1.joined(separator: "\n"))\n}\n" }
            .joined()
    }

    func removal(of network: FirewallNetwork) -> String {
        ["into", "out-of", "entering", "leaving"].map {
            "delete chain inet \(table) \($0)-\(network.bridge)\n"
        }.joined()
    }

    /// What a network has in sets and maps.
    func elements(of network: FirewallNetwork) -> [RulesetElement] {
        let bridge = quoted(network.bridge)
        var elements = [RulesetElement(set: "bridges", key: bridge)]
        elements += ["into", "out-of", "entering", "leaving"].map {
            RulesetElement(set: $0, key: bridge, value: "jump \($0)-\(network.bridge)")
        }
        return elements
    }

    /// What a published port has in maps: one element, or none where only a relay can carry it.
    func elements(of port: PublishedPort, on network: FirewallNetwork?) -> [RulesetElement] {
        if network?.isInternal ?? false { return [] }
        let suffix = port.containerAddress.isIPv6 ? "6" : "4"
        let transport = port.transport.rawValue
        if network?.mode(isIPv6: port.containerAddress.isIPv6) == .routed {
            let key = "\(port.containerAddress) . \(transport) . \(port.containerPort)"
            return [RulesetElement(set: "routed\(suffix)", key: key)]
        }
        guard port.isTranslated else { return [] }
        let value = "\(port.containerAddress) . \(port.containerPort)"
        if port.hostAddress.isUnspecified {
            return [RulesetElement(set: "published-any\(suffix)", key: "\(transport) . \(port.hostPort)", value: value)]
        }
        let key = "\(port.hostAddress) . \(transport) . \(port.hostPort)"
        return [RulesetElement(set: "published\(suffix)", key: key, value: value)]
    }

    func element(of link: LinkedPort) -> RulesetElement {
        RulesetElement(
            set: "linked", key: "\(link.client) . \(link.server) . \(link.transport.rawValue) . \(link.port)")
    }

    func addition(of elements: some Collection<RulesetElement>) -> String { commands("add", elements) }

    func removal(of elements: some Collection<RulesetElement>) -> String { commands("delete", elements) }

    /// One command a set, its elements together.
    private func commands(_ verb: String, _ elements: some Collection<RulesetElement>) -> String {
        Dictionary(grouping: elements, by: \.set).sorted { $0.key < $1.key }.map { set, elements in
            let texts = elements.map { $0.value == nil ? $0.key : "\($0.key) : \($0.value!)" }.sorted()
            return "\(verb) element inet \(table) \(set) { \(texts.joined(separator: ", ")) }\n"
        }.joined()
    }

    /// Names of interfaces are written into nft's language, which has no escapes in its strings, and in which a final `*`
    /// stands for any ending.
    static func check(_ network: FirewallNetwork) throws(NetworkingError) {
        for name in [network.bridge] + network.trustedInterfaces {
            let isPlain = name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
                case UInt8(ascii: "0")...UInt8(ascii: "9"): true
                case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."): true
                default: false
                }
            }
            guard isPlain, (1...15).contains(name.utf8.count) else {
                throw NetworkingError(
                    .invalid,
                    "the interface name \"\(name)\" can't be filtered: it may have 15 letters, digits, '.', '_' and '-'"
                )
            }
        }
    }

    private func quoted(_ interface: String) -> String { "\"\(interface)\"" }
}
