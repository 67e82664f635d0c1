import LinuxKernel

/// A bridge as it shall be.
public struct BridgePlan: Sendable, Equatable {
    /// 15 bytes at most. ``Links/newBridgeName()`` makes one; a user may also ask for a name.
    public var name: String
    /// The host's addresses on the bridge, with the prefixes of the network's subnets: its gateways.
    public var gateways: [IPNetwork]
    /// In bytes; nil: the kernel's 1500.
    public var mtu: Int?
    /// Written into the link's alias, so that `ip link` says whose it is and only ours are ever removed.
    public var networkID: String
    /// Its ports are isolated: the host answers for their neighbours' addresses, so that what the firewall lets pass
    /// between two of them goes by way of the host (a private VLAN, RFC 3069). IPv4 only.
    public var isolatesPorts: Bool

    public init(
        name: String, gateways: [IPNetwork], mtu: Int? = nil, networkID: String, isolatesPorts: Bool = false
    ) {
        self.name = name
        self.gateways = gateways
        self.mtu = mtu
        self.networkID = networkID
        self.isolatesPorts = isolatesPorts
    }
}

/// What a container's interface hangs on.
public enum EndpointParent: Sendable, Equatable {
    /// A veth pair whose other end is a port of this bridge.
    case bridge(String)
    /// A macvlan on this host interface.
    case macvlan(parent: String, mode: MacvlanMode)
}

/// A container's interface as it shall be.
public struct EndpointPlan: Sendable, Equatable {
    public var parent: EndpointParent
    /// What the container sees: `eth0`.
    public var interfaceName: String
    public var mac: MACAddress
    /// Addresses with the prefixes of their subnets; at most one of each family is usual.
    public var addresses: [IPNetwork]
    /// Default routes go through these, at most one of each family. Empty: this isn't the container's way out.
    public var gateways: [IPAddress]
    public var routes: [EndpointRoute]
    /// In bytes; nil: as the bridge has it.
    public var mtu: Int?
    /// Reaches the bridge itself but no other isolated port (`com.docker.network.bridge.enable_icc=false`).
    public var isolated: Bool
    public var rates: RateLimits

    public init(
        parent: EndpointParent, interfaceName: String, mac: MACAddress, addresses: [IPNetwork],
        gateways: [IPAddress] = [], routes: [EndpointRoute] = [], mtu: Int? = nil, isolated: Bool = false,
        rates: RateLimits = RateLimits()
    ) {
        self.parent = parent
        self.interfaceName = interfaceName
        self.mac = mac
        self.addresses = addresses
        self.gateways = gateways
        self.routes = routes
        self.mtu = mtu
        self.isolated = isolated
        self.rates = rates
    }
}

/// A route inside the container besides those that its addresses and gateways bring.
public struct EndpointRoute: Sendable, Equatable {
    public var destination: IPNetwork
    /// nil: the destination is on the link.
    public var gateway: IPAddress?

    public init(destination: IPNetwork, gateway: IPAddress?) {
        self.destination = destination
        self.gateway = gateway
    }
}

/// A container's way out of one family.
public struct DefaultRoute: Sendable, Equatable {
    public var gateway: IPAddress
    public var interfaceName: String

    public init(gateway: IPAddress, interfaceName: String) {
        self.gateway = gateway
        self.interfaceName = interfaceName
    }
}

/// A rate that traffic is shaped to by a token bucket (tc-tbf(8)).
public struct RateLimit: Sendable, Equatable, Codable {
    public var bitsPerSecond: UInt64
    /// Bytes that may go at once; nil: what passes in 10 ms, at least ten packets.
    public var burst: UInt64?

    public init(bitsPerSecond: UInt64, burst: UInt64? = nil) {
        self.bitsPerSecond = bitsPerSecond
        self.burst = burst
    }
}

/// The limits of one interface, as the container sees directions; nil: no limit.
public struct RateLimits: Sendable, Equatable, Codable {
    /// What comes into the container.
    public var ingress: RateLimit?
    /// What leaves the container.
    public var egress: RateLimit?

    public init(ingress: RateLimit? = nil, egress: RateLimit? = nil) {
        self.ingress = ingress
        self.egress = egress
    }

    public var isUnlimited: Bool { ingress == nil && egress == nil }
}

/// What ``Links/attach(_:to:)`` made; belongs into the container's record.
public struct Attachment: Sendable, Equatable, Codable {
    /// The host's end of the veth pair, `ve<instance><5 hex>`; nil for a macvlan, which the host doesn't see.
    public var hostName: String?
    /// The container's end.
    public var interfaceName: String

    public init(hostName: String?, interfaceName: String) {
        self.hostName = hostName
        self.interfaceName = interfaceName
    }
}

/// A subnet that the host has an address in or a route to.
public struct HostNetwork: Sendable, Equatable {
    public var network: IPNetwork
    /// nil for routes without one (`blackhole`, several next hops).
    public var interface: String?

    public init(network: IPNetwork, interface: String?) {
        self.network = network
        self.interface = interface
    }
}
