import EngineAPI

/// `network create|connect|disconnect|ls|rm`.
enum NetworkCommands {
    // MARK: create

    private static let attachable = Flag.toggle("attachable", "Enable manual container attachment")
    private static let auxiliary = Flag.list(
        "aux-address", type: "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver")
    private static let driver = Flag.string("driver", short: "d", "Driver to manage the Network", initially: "bridge")
        .completed(by: .words(["bridge", "macvlan"]))
    private static let gateway = list("gateway", "IPv4 or IPv6 Gateway for the master subnet", check: parseAddress)
    private static let isInternal = Flag.toggle("internal", "Restrict external access to the network")
    private static let range = list("ip-range", "Allocate container ip from a sub-range")
    private static let ipamDriver = Flag.string(
        "ipam-driver", "IP Address Management Driver", initially: "default")
    private static let ipamOption = Flag.list("ipam-opt", type: "map", "Set IPAM driver specific options")
    private static let ipv4 = optionalToggle("ipv4", "Enable or disable IPv4 address assignment")
    private static let ipv6 = optionalToggle("ipv6", "Enable or disable IPv6 address assignment")
    private static let label = Flag.list("label", "Set metadata on a network", check: parseLabel)
    private static let option = Flag.list("opt", short: "o", type: "map", "Set driver specific options")
    private static let subnet = list("subnet", "Subnet in CIDR format that represents a network segment")
    // Of swarm mode: sent on, and refused by the daemon.
    private static let scope = Flag.string("scope", "Control the network's scope").hidden
    private static let configFrom = Flag.string(
        "config-from", "The network from which to copy the configuration"
    ).hidden
    private static let configOnly = Flag.toggle("config-only", "Create a configuration only network").hidden
    private static let ingress = Flag.toggle("ingress", "Create swarm routing-mesh network").hidden

    /// A list whose words may hold several values, separated by commas.
    private static func list(
        _ name: String, _ help: String,
        check: @escaping @Sendable (String) throws(InvalidValue) -> String = { word throws(InvalidValue) in word }
    ) -> Flag<[String]> {
        Flag(name, type: "strings", help, initial: []) { value, word throws(InvalidValue) in
            for field in try csvFields(word) { value.append(try check(field)) }
        }
    }

    private static func optionalToggle(_ name: String, _ help: String) -> Flag<Bool?> {
        Flag(name, type: "", help, initial: nil, impliedValue: "true") { value, word throws(InvalidValue) in
            value = try parseBool(word)
        }
    }

    static var create: Command {
        Command(
            spellings: ["network create"], summary: "Create a network", usage: "[OPTIONS] NETWORK",
            details: "Options that the bridge driver knows (--opt): com.docker.network.bridge.name, .enable_icc, "
                + ".enable_ip_masquerade, .host_binding_ipv4, .gateway_mode_ipv4, .gateway_mode_ipv6, and for every "
                + "driver com.docker.network.driver.mtu and com.docker.network.container_iface_prefix. The macvlan "
                + "driver has parent and macvlan_mode.",
            options: [
                attachable.option, auxiliary.option, configFrom.option, configOnly.option, driver.option,
                gateway.option, ingress.option, isInternal.option, range.option, ipamDriver.option, ipamOption.option,
                ipv4.option, ipv6.option, label.option, option.option, scope.option, subnet.option,
            ], operands: .exactly(1)
        ) { invocation in
            let request = try NetworkCreateRequest {
                $0.name = invocation.operands[0]
                $0.driver = invocation[driver]
                $0.options = dictionary(invocation[option])
                $0.ipam = try ipam(invocation)
                $0.internal = invocation[isInternal]
                $0.enableIPv4 = invocation[ipv4]
                $0.enableIPv6 = invocation[ipv6]
                $0.attachable = invocation[attachable]
                $0.ingress = invocation[ingress]
                $0.scope = invocation[scope]
                $0.configOnly = invocation[configOnly]
                let source = invocation[configFrom]
                $0.configFrom = source.isEmpty ? nil : NetworkInspect.ConfigReference { $0.network = source }
                $0.labels = dictionary(invocation[label])
            }
            let network = try invocation.engine().json(.POST, "/networks/create", body: JSON.encode(request))
            output((network["Id"].string ?? "") + "\n")
            return 0
        }
    }

    /// Ranges, gateways and auxiliary addresses go to the subnet that they are in.
    private static func ipam(_ invocation: Invocation) throws(CommandFailure) -> IPAM {
        let subnets = invocation[subnet]
        if subnets.count < max(invocation[range].count, invocation[gateway].count) {
            throw CommandFailure("every ip-range or gateway must have a corresponding subnet")
        }
        var pools: [(block: AddressBlock, pool: IPAM.Pool)] = []
        for text in subnets {
            guard let block = AddressBlock(text) else {
                throw CommandFailure("invalid subnet: invalid CIDR address: \(text)")
            }
            if pools.contains(where: { $0.block.contains(block) || block.contains($0.block) }) {
                throw CommandFailure("multiple overlapping subnet configuration is not supported")
            }
            pools.append(
                (
                    block,
                    IPAM.Pool {
                        $0.subnet = text
                        $0.auxiliaryAddresses = [:]
                    }
                ))
        }
        func place(_ text: String, _ what: String) throws(CommandFailure) -> Int {
            guard let block = AddressBlock(text) ?? AddressBlock(address: text) else {
                throw CommandFailure("invalid \(what): \(text)")
            }
            guard let index = pools.firstIndex(where: { $0.block.contains(block) }) else {
                throw CommandFailure("no matching subnet for \(what) \(text)")
            }
            return index
        }
        for text in invocation[range] {
            let index = try place(text, "range")
            if !pools[index].pool.ipRange.isEmpty {
                throw CommandFailure(
                    "cannot configure multiple ranges (\(text), \(pools[index].pool.ipRange)) on the same subnet "
                        + "(\(pools[index].pool.subnet))")
            }
            pools[index].pool.ipRange = text
        }
        for text in invocation[gateway] {
            let index = try place(text, "gateway")
            if !pools[index].pool.gateway.isEmpty {
                throw CommandFailure(
                    "cannot configure multiple gateways (\(text), \(pools[index].pool.gateway)) for the same subnet "
                        + "(\(pools[index].pool.subnet))")
            }
            pools[index].pool.gateway = text
        }
        for (name, text) in dictionary(invocation[auxiliary]).sorted(by: { $0.key < $1.key }) where !text.isEmpty {
            pools[try place(text, "aux-address")].pool.auxiliaryAddresses?[name] = text
        }
        return IPAM {
            $0.driver = invocation[ipamDriver]
            $0.options = dictionary(invocation[ipamOption])
            $0.config = pools.map(\.pool)
        }
    }

    // MARK: connect, disconnect, rm

    private static let alias = list("alias", "Add network-scoped alias for the container")
    private static let driverOption = list("driver-opt", "driver options for the network")
    private static let priority = Flag.integer(
        "gw-priority",
        "Highest gw-priority provides the default gateway. Accepts positive and negative values.")
    private static let address = Flag.string("ip", "IPv4 address (e.g., \"172.30.100.104\")")
    private static let address6 = Flag.string("ip6", "IPv6 address (e.g., \"2001:db8::33\")")
    private static let link = Flag.list("link", "Add link to another container", check: parseLink)
    private static let linkLocal = list(
        "link-local-ip", "Add a link-local address for the container", check: parseAddress)

    static var connect: Command {
        Command(
            spellings: ["network connect"], summary: "Connect a container to a network",
            usage: "[OPTIONS] NETWORK CONTAINER",
            options: [
                alias.option, driverOption.option, priority.option, address.option, address6.option, link.option,
                linkLocal.option,
            ], operands: .exactly(2), completion: .networks
        ) { invocation in
            var driverOptions: [String: String] = [:]
            for word in invocation[driverOption] {
                let (name, value) = cut(word, "=")
                guard let value, !trimmed(name).isEmpty else {
                    throw CommandFailure("invalid key/value pair format in driver options")
                }
                driverOptions[trimmed(name)] = trimmed(value)
            }
            var addresses = EndpointSettings.IPAMConfig()
            addresses.ipv4Address = invocation[address]
            addresses.ipv6Address = invocation[address6]
            addresses.linkLocalIPs = invocation[linkLocal].isEmpty ? nil : invocation[linkLocal]
            let request = NetworkConnectRequest {
                $0.container = invocation.operands[1]
                $0.endpointConfig = EndpointSettings {
                    $0.ipamConfig = addresses
                    $0.links = invocation.arguments.isGiven(link) ? invocation[link] : nil
                    $0.aliases = invocation[alias]
                    $0.driverOpts = driverOptions
                    $0.gwPriority = Int(invocation[priority])
                }
            }
            try invocation.engine().call(
                .POST, "/networks/\(pathPart(invocation.operands[0]))/connect", document: request)
            return 0
        }
    }

    private static let forceDisconnect = Flag.toggle(
        "force", short: "f", "Force the container to disconnect from a network")

    static var disconnect: Command {
        Command(
            spellings: ["network disconnect"], summary: "Disconnect a container from a network",
            usage: "[OPTIONS] NETWORK CONTAINER", options: [forceDisconnect.option], operands: .exactly(2),
            completion: .networks
        ) { invocation in
            let request = NetworkDisconnectRequest {
                $0.container = invocation.operands[1]
                $0.force = invocation[forceDisconnect]
            }
            try invocation.engine().call(
                .POST, "/networks/\(pathPart(invocation.operands[0]))/disconnect", document: request)
            return 0
        }
    }

    private static let force = Flag.toggle("force", short: "f", "Do not error if the network does not exist")

    static var remove: Command {
        Command(
            spellings: ["network rm", "network remove"], summary: "Remove one or more networks",
            usage: "NETWORK [NETWORK...]", options: [force.option], operands: .atLeast(1), completion: .networks
        ) { invocation in
            let engine = try invocation.engine()
            var failures: [String] = []
            for name in invocation.operands {
                do {
                    try engine.call(.DELETE, "/networks/\(pathPart(name))")
                    output(name + "\n")
                } catch let error as DaemonError {
                    if invocation[force] && error.isNotFound { continue }
                    failures.append("\(error)")
                }
            }
            return try LifecycleCommands.finish(failures)
        }
    }

    // MARK: ls

    private static let quiet = Flag.toggle("quiet", short: "q", "Only display network IDs")
    private static let filter = Flag.filter("Provide filter values (e.g. \"driver=bridge\")")

    static let kind = ListKind(
        headers: [
            "ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6",
            "Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
        ],
        columns: ["ID", "Name", "Driver", "Scope"], quietField: "ID",
        raw: [("network_id", "ID"), ("name", "Name"), ("driver", "Driver"), ("scope", "Scope")])

    static func row(_ network: OrderedJSON, truncates: Bool) -> ListRow {
        let labels = network["Labels"].members
        let id = network["Id"].string ?? ""
        return ListRow(
            [
                "ID": truncates ? shortID(id) : id, "Name": network["Name"].string ?? "",
                "Driver": network["Driver"].string ?? "", "Scope": network["Scope"].string ?? "",
                "IPv4": "\(network["EnableIPv4"].bool ?? true)", "IPv6": "\(network["EnableIPv6"].bool ?? false)",
                "Internal": "\(network["Internal"].bool ?? false)", "Labels": labelText(labels),
                "CreatedAt": goTime(network["Created"].string ?? ""),
            ], methods: ListRow.labelMethod { labels })
    }

    /// A time as Go prints one: `2026-01-02 03:04:05.678 +0000 UTC`.
    private static func goTime(_ text: String) -> String {
        let (day, rest) = cut(text, "T")
        guard let clock = rest, clock.hasSuffix("Z") else { return text }
        return "\(day) \(clock.dropLast()) +0000 UTC"
    }

    static var list: Command {
        Command(
            spellings: ["network ls", "network list"], summary: "List networks", usage: "[OPTIONS]",
            options: [filter.option, ListFormat.format.option, ListFormat.noTruncation.option, quiet.option],
            operands: .none
        ) { invocation in
            let answer = try invocation.engine().json(.GET, "/networks", ["filters": invocation[filter].query])
            let networks = answer.elements.sorted { ($0["Name"].string ?? "") < ($1["Name"].string ?? "") }
            let truncates = !invocation[ListFormat.noTruncation]
            output(
                try kind.render(
                    networks.map { row($0, truncates: truncates) },
                    format: invocation.format("networksFormat", quiet: invocation[quiet]), quiet: invocation[quiet]))
            return 0
        }
    }
}
