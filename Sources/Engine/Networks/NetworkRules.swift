import EngineAPI
import LinuxKernel

/// What `network create` checks before anything is made: dockerd's rules and sentences.
enum NetworkRules {
    /// A bound of our own: names go into SQL indices and DNS answers.
    static let maximumName = 255

    static func validate(_ request: NetworkCreateRequest) throws(EngineError) {
        guard !NetworkRecord.isPredefined(request.name), request.name != "default" else {
            throw EngineError(
                .forbidden, "operation is not permitted on predefined \(request.name) network ")
        }
        if request.name.isEmpty { throw .invalid("invalid name: name is empty") }
        guard isName(request.name) else {
            throw .invalid(
                "invalid network name \"\(request.name)\": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
        }
        guard request.scope.isEmpty || request.scope == "local" else {
            throw .invalid("invalid network scope \"\(request.scope)\": this daemon only has local networks")
        }
        guard !request.ingress, !request.configOnly, (request.configFrom?.network ?? "").isEmpty else {
            throw .invalid("config-only and ingress networks are not supported: they belong to swarm mode")
        }
        switch request.driver {
        case "", "bridge", "default", "macvlan": break
        case "host", "null":
            throw EngineError(.forbidden, "only one instance of \"\(request.driver)\" network is allowed")
        case "overlay":
            throw EngineError(
                .forbidden,
                "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this "
                    + "node to swarm and try again.")
        default:
            throw .notFound("could not find plugin \(request.driver) in v1 plugin registry: plugin not found")
        }
        guard request.enableIPv4 != false || request.enableIPv6 == true else {
            throw .invalid("IPv4 or IPv6 must be enabled")
        }
        for key in request.labels?.keys.map({ $0 }) ?? [] where key.isEmpty {
            throw .invalid("invalid label: the empty string is no label's name")
        }
        guard let ipam = request.ipam else { return }
        guard ["", "default"].contains(ipam.driver) else {
            throw .invalid("could not resolve IPAM driver \"\(ipam.driver)\": the only one here is default")
        }
        try validate(ipam.config ?? [], ipv4: request.enableIPv4 ?? true, ipv6: request.enableIPv6 ?? false)
    }

    private static func isName(_ name: String) -> Bool {
        // Unlike a container's, a network's name may have a single character.
        name.utf8.count <= maximumName && (Names.isValid(name) || Names.isValid(name + "x")) && !name.isEmpty
    }

    static func validate(_ pools: [IPAM.Pool], ipv4: Bool, ipv6: Bool) throws(EngineError) {
        var problems: [String] = []
        var subnets: [IPNetwork] = []
        for pool in pools {
            if pool.subnet.isEmpty {
                guard pool.ipRange.isEmpty, pool.gateway.isEmpty, (pool.auxiliaryAddresses ?? [:]).isEmpty else {
                    throw .invalid(
                        "invalid network config:\nno matching subnet for \(pool.gateway.isEmpty ? pool.ipRange : pool.gateway): "
                            + "an address range or a gateway needs a subnet")
                }
                continue
            }
            guard let subnet = IPNetwork(pool.subnet) else {
                problems.append("invalid subnet \(pool.subnet): invalid CIDR block notation")
                continue
            }
            if subnet.isIPv6 && !ipv6 || !subnet.isIPv6 && !ipv4 { continue }
            if subnet.address != subnet.network.address {
                problems.append("invalid subnet \(subnet): it should be \(subnet.network)")
            }
            if let other = subnets.first(where: { $0.overlaps(subnet) }) {
                problems.append("invalid subnet \(subnet): it overlaps with \(other)")
            }
            subnets.append(subnet)
            if !pool.ipRange.isEmpty { problems += rangeProblems(pool.ipRange, subnet) }
            if !pool.gateway.isEmpty, let problem = addressProblem(pool.gateway, subnet) {
                problems.append("invalid gateway \(pool.gateway): \(problem)")
            }
            for (name, address) in (pool.auxiliaryAddresses ?? [:]).sorted(by: { $0.key < $1.key }) {
                if let problem = addressProblem(address, subnet) {
                    problems.append("invalid auxiliary address \(name): \(problem)")
                }
            }
        }
        if !problems.isEmpty { throw .invalid("invalid network config:\n" + problems.joined(separator: "\n")) }
    }

    private static func rangeProblems(_ text: String, _ subnet: IPNetwork) -> [String] {
        guard let range = IPNetwork(text) else { return ["invalid ip-range \(text): invalid CIDR block notation"] }
        guard range.isIPv6 == subnet.isIPv6 else {
            return ["invalid ip-range \(range): parent subnet is an IPv\(subnet.isIPv6 ? 6 : 4) block"]
        }
        var problems: [String] = []
        if range.prefixLength < subnet.prefixLength {
            problems.append("invalid ip-range \(range): CIDR block is bigger than its parent subnet \(subnet)")
        }
        if range.address != range.network.address {
            problems.append("invalid ip-range \(range): it should be \(range.network)")
        }
        if !subnet.overlaps(range) {
            problems.append("invalid ip-range \(range): parent subnet \(subnet) doesn't contain ip-range")
        }
        return problems
    }

    private static func addressProblem(_ text: String, _ subnet: IPNetwork) -> String? {
        guard let address = IPAddress(text) else { return "it is no IP address" }
        guard address.isIPv6 == subnet.isIPv6 else { return "parent subnet is an IPv\(subnet.isIPv6 ? 6 : 4) block" }
        return subnet.contains(address) ? nil : "parent subnet \(subnet) doesn't contain this address"
    }
}

/// What is checked of a container's place in a network before it is taken.
enum EndpointRules {
    static func validate(_ settings: EndpointSettings, in network: NetworkRecord) throws(EngineError) {
        var problems: [String] = []
        let wanted = settings.ipamConfig
        let texts = [(wanted?.ipv4Address ?? "", false), (wanted?.ipv6Address ?? "", true)].filter { !$0.0.isEmpty }
        if network.isPredefined {
            if !texts.isEmpty {
                problems.append("user-specified IP address is supported on user-defined networks only")
            }
            if settings.aliases?.isEmpty == false {
                problems.append("network-scoped aliases are only supported for user-defined networks")
            }
        }
        for (text, isIPv6) in texts {
            guard let address = IPAddress(text), address.isIPv6 == isIPv6, !address.isUnspecified else {
                problems.append("invalid IPv\(isIPv6 ? 6 : 4) address: \(text)")
                continue
            }
            if !network.isPredefined, !network.subnets.contains(where: { $0.subnet?.contains(address) ?? false }) {
                problems.append("no configured subnet contains IP address \(address)")
            }
        }
        for text in wanted?.linkLocalIPs ?? [] where IPAddress(text)?.isUnspecified ?? true {
            problems.append("invalid link-local IP address: \(text)")
        }
        if !settings.macAddress.isEmpty, MACAddress(settings.macAddress) == nil {
            problems.append("invalid MAC address: \(settings.macAddress)")
        }
        for name in settings.aliases ?? [] where name.isEmpty || name.utf8.count > 253 {
            problems.append("invalid alias \"\(name)\": it is a host name")
        }
        if let name = settings.driverOpts?["com.docker.network.endpoint.ifname"],
            !NetworkOptions.isInterfaceName(name)
        {
            problems.append("invalid interface name \"\(name)\": it has at most 15 characters and no slash or blank")
        }
        if !problems.isEmpty { throw .invalid("invalid endpoint settings:\n" + problems.joined(separator: "\n")) }
    }
}

/// What goes together with a network mode.
enum NetworkModeRules {
    /// - Parameter requested: the request's own configuration: what an image exposes doesn't count.
    static func validate(_ host: HostConfig, requested: ContainerConfig) throws(EngineError) {
        if host.networkMode.hasPrefix("container:"), requested.exposedPorts?.isEmpty == false {
            throw .invalid("conflicting options: port exposing and the container type network mode")
        }
        try rates(host)
        guard host.networkMode == "none" else { return }
        for entry in host.extraHosts ?? [] where try ContainerFiles.parse(extraHost: entry).address == "host-gateway" {
            throw .invalid(
                "unable to derive the IP value for host-gateway: a container without networks has no gateway")
        }
    }

    /// Below this a packet of usual size would take seconds.
    private static let lowestRate: Int64 = 8000

    /// The rates of a container's interfaces, when it is made or changed.
    static func rates(_ host: HostConfig) throws(EngineError) {
        let limits = host.resources
        for (name, rate, burst) in [
            ("in", limits.networkRateIn, limits.networkBurstIn), ("out", limits.networkRateOut, limits.networkBurstOut),
        ] where rate != 0 || burst != 0 {
            let mode = host.networkMode
            guard mode != "host", mode != "none", !mode.hasPrefix("container:") else {
                throw .invalid(
                    "network-rate-\(name) can't be set: a container with network mode \(mode) has no interfaces of its "
                        + "own")
            }
            guard rate >= lowestRate else {
                throw .invalid("invalid network-rate-\(name) \(rate): it is at least \(lowestRate) bits per second")
            }
            guard burst >= 0, burst <= Int64(UInt32.max) else {
                throw .invalid("invalid burst of network-rate-\(name) \(burst): it is at most 4 GiB")
            }
        }
    }
}
