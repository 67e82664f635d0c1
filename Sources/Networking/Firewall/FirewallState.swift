import LinuxKernel

/// What is filtered and translated at one bridge.
public struct FirewallNetwork: Hashable, Sendable {
    /// How the outside reaches containers. The names are Docker's, for `com.docker.network.bridge.gateway_mode_ipv4`.
    public enum GatewayMode: String, Hashable, Sendable, Codable {
        /// Only through published ports of the host; what leaves takes the host's address.
        case nat
        /// As `nat`, and every port can also be reached directly where a route leads to it.
        case natUnprotected = "nat-unprotected"
        /// No translation: published ports, and ICMP, can be reached at the container's own address.
        case routed
        /// The bridge has no address of the host's: containers reach one another only.
        case isolated
    }

    /// The name of the bridge's interface.
    public var bridge: String
    public var subnets: [IPNetwork]
    /// `--internal`: nothing is forwarded in or out.
    public var isInternal: Bool
    /// `com.docker.network.bridge.enable_icc`
    public var allowsInterContainer: Bool
    /// `com.docker.network.bridge.enable_ip_masquerade`
    public var masquerades: Bool
    public var gatewayMode4: GatewayMode
    public var gatewayMode6: GatewayMode
    /// `com.docker.network.host_ipv4`: what leaves takes this address, instead of the outgoing interface's.
    public var hostAddress4: IPAddress?
    /// `com.docker.network.host_ipv6`
    public var hostAddress6: IPAddress?
    /// Interfaces from which containers may be reached directly, as from the bridge
    /// (`com.docker.network.bridge.trusted_host_interfaces`).
    public var trustedInterfaces: [String]

    public init(
        bridge: String, subnets: [IPNetwork], isInternal: Bool = false, allowsInterContainer: Bool = true,
        masquerades: Bool = true, gatewayMode4: GatewayMode = .nat, gatewayMode6: GatewayMode = .nat,
        hostAddress4: IPAddress? = nil, hostAddress6: IPAddress? = nil, trustedInterfaces: [String] = []
    ) {
        self.bridge = bridge
        self.subnets = subnets
        self.isInternal = isInternal
        self.allowsInterContainer = allowsInterContainer
        self.masquerades = masquerades
        self.gatewayMode4 = gatewayMode4
        self.gatewayMode6 = gatewayMode6
        self.hostAddress4 = hostAddress4
        self.hostAddress6 = hostAddress6
        self.trustedInterfaces = trustedInterfaces
    }

    func mode(isIPv6: Bool) -> GatewayMode { isIPv6 ? gatewayMode6 : gatewayMode4 }
}

/// A way from one container to a port of another on a network whose containers don't reach each other otherwise
/// (`--link`). IPv4, as in Docker.
public struct LinkedPort: Hashable, Sendable {
    public var client: IPAddress
    public var server: IPAddress
    public var transport: TransportProtocol
    public var port: UInt16

    public init(client: IPAddress, server: IPAddress, transport: TransportProtocol, port: UInt16) {
        self.client = client
        self.server = server
        self.transport = transport
        self.port = port
    }
}

/// All that our table says.
public struct FirewallState: Equatable, Sendable {
    public var networks: [FirewallNetwork]
    public var ports: Set<PublishedPort>
    public var links: Set<LinkedPort>

    public init(
        networks: [FirewallNetwork] = [], ports: Set<PublishedPort> = [], links: Set<LinkedPort> = []
    ) {
        self.networks = networks
        self.ports = ports
        self.links = links
    }
}
