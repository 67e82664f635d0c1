import LinuxKernel

/// What a network asks of the address manager for one of its subnets.
public struct SubnetRequest: Hashable, Sendable {
    public var isIPv6: Bool
    /// nil: from the pools (IPv4), or a unique local /64 (IPv6).
    public var subnet: IPNetwork?
    /// The part of the subnet from which addresses are chosen; others of the subnet can only be asked for.
    public var range: IPNetwork?
    /// nil: the first usable address.
    public var gateway: IPAddress?
    /// False for a network whose bridge has no address (`gateway_mode=isolated`): then there is no gateway.
    public var hasGateway: Bool
    /// Addresses that something else in the subnet has, by name.
    public var auxiliary: [String: IPAddress]

    public init(
        isIPv6: Bool = false, subnet: IPNetwork? = nil, range: IPNetwork? = nil, gateway: IPAddress? = nil,
        hasGateway: Bool = true, auxiliary: [String: IPAddress] = [:]
    ) {
        self.isIPv6 = subnet?.isIPv6 ?? isIPv6
        self.subnet = subnet
        self.range = range
        self.gateway = gateway
        self.hasGateway = hasGateway
        self.auxiliary = auxiliary
    }

    /// Asks for a subnet that was granted earlier, for example by the daemon before this one.
    public init(_ subnet: Subnet) {
        self.init(
            subnet: subnet.network, range: subnet.range, gateway: subnet.gateway, hasGateway: subnet.gateway != nil,
            auxiliary: subnet.auxiliary)
    }
}

/// A subnet that a network was granted.
public struct Subnet: Hashable, Sendable, Codable {
    /// The subnet's own address and its prefix length.
    public let network: IPNetwork
    public let range: IPNetwork?
    public let gateway: IPAddress?
    public let auxiliary: [String: IPAddress]
}
