/// The networks that a new container joins, by name.
public struct NetworkingConfig: WireObject {
    public var endpointsConfig: [String: EndpointSettings]?

    public init() {}

    public static let fields = Fields<Self> { $0("EndpointsConfig", \.endpointsConfig) }
}

/// A container's place in one network.
public struct EndpointSettings: WireObject {
    public var ipamConfig: IPAMConfig?
    public var links: [String]?
    public var aliases: [String]?
    public var macAddress = ""
    public var driverOpts: [String: String]?
    public var gwPriority = 0
    public var networkID = ""
    public var endpointID = ""
    public var gateway = ""
    public var ipAddress = ""
    public var ipPrefixLen = 0
    public var ipv6Gateway = ""
    public var globalIPv6Address = ""
    public var globalIPv6PrefixLen = 0
    public var dnsNames: [String]?

    public init() {}

    public static let fields = Fields<Self> {
        $0("IPAMConfig", \.ipamConfig)
        $0("Links", \.links)
        $0("Aliases", \.aliases)
        $0("MacAddress", \.macAddress)
        $0("DriverOpts", \.driverOpts)
        $0("GwPriority", \.gwPriority)
        $0("NetworkID", \.networkID)
        $0("EndpointID", \.endpointID)
        $0("Gateway", \.gateway)
        $0("IPAddress", \.ipAddress)
        $0("IPPrefixLen", \.ipPrefixLen)
        $0("IPv6Gateway", \.ipv6Gateway)
        $0("GlobalIPv6Address", \.globalIPv6Address)
        $0("GlobalIPv6PrefixLen", \.globalIPv6PrefixLen)
        $0("DNSNames", \.dnsNames)
    }

    /// Addresses that the user asked for.
    public struct IPAMConfig: WireObject {
        public var ipv4Address = ""
        public var ipv6Address = ""
        public var linkLocalIPs: [String]?

        public init() {}

        public static let fields = Fields<Self> {
            $0("IPv4Address", \.ipv4Address, .omitEmpty)
            $0("IPv6Address", \.ipv6Address, .omitEmpty)
            $0("LinkLocalIPs", \.linkLocalIPs, .omitEmpty)
        }
    }
}

/// The network part of an inspected container.
public struct NetworkSettings: WireObject {
    public var bridge = ""
    public var sandboxID = ""
    public var sandboxKey = ""
    /// `80/tcp` to host addresses; null: exposed but not published.
    public var ports: [String: [PortBinding]?]? = [:]
    public var hairpinMode = false
    public var linkLocalIPv6Address = ""
    public var linkLocalIPv6PrefixLen = 0
    public var secondaryIPAddresses: [NetworkAddress]?
    public var secondaryIPv6Addresses: [NetworkAddress]?
    // The default bridge network's, kept for old clients.
    public var endpointID = ""
    public var gateway = ""
    public var globalIPv6Address = ""
    public var globalIPv6PrefixLen = 0
    public var ipAddress = ""
    public var ipPrefixLen = 0
    public var ipv6Gateway = ""
    public var macAddress = ""
    public var networks: [String: EndpointSettings]?

    public init() {}

    public static let fields = Fields<Self> {
        $0("Bridge", \.bridge)
        $0("SandboxID", \.sandboxID)
        $0("SandboxKey", \.sandboxKey)
        $0("Ports", \.ports)
        $0("HairpinMode", \.hairpinMode)
        $0("LinkLocalIPv6Address", \.linkLocalIPv6Address)
        $0("LinkLocalIPv6PrefixLen", \.linkLocalIPv6PrefixLen)
        $0("SecondaryIPAddresses", \.secondaryIPAddresses)
        $0("SecondaryIPv6Addresses", \.secondaryIPv6Addresses)
        $0("EndpointID", \.endpointID)
        $0("Gateway", \.gateway)
        $0("GlobalIPv6Address", \.globalIPv6Address)
        $0("GlobalIPv6PrefixLen", \.globalIPv6PrefixLen)
        $0("IPAddress", \.ipAddress)
        $0("IPPrefixLen", \.ipPrefixLen)
        $0("IPv6Gateway", \.ipv6Gateway)
        $0("MacAddress", \.macAddress)
        $0("Networks", \.networks)
    }
}

/// An address with its prefix length.
public struct NetworkAddress: WireObject {
    public var addr = ""
    public var prefixLen = 0

    public init() {}

    public static let fields = Fields<Self> {
        $0("Addr", \.addr)
        $0("PrefixLen", \.prefixLen)
    }
}

/// A network, in lists and inspected.
public struct NetworkInspect: WireObject {
    public var name = ""
    public var id = ""
    /// RFC 3339 with nanoseconds.
    public var created = Timestamp.never
    public var scope = "local"
    public var driver = ""
    public var enableIPv4 = true
    public var enableIPv6 = false
    public var ipam = IPAM()
    public var `internal` = false
    public var attachable = false
    public var ingress = false
    public var configFrom = ConfigReference()
    public var configOnly = false
    public var containers: [String: EndpointResource]? = [:]
    public var options: [String: String]? = [:]
    public var labels: [String: String]? = [:]

    public init() {}

    public static let fields = Fields<Self> {
        $0("Name", \.name)
        $0("Id", \.id)
        $0("Created", \.created)
        $0("Scope", \.scope)
        $0("Driver", \.driver)
        $0("EnableIPv4", \.enableIPv4)
        $0("EnableIPv6", \.enableIPv6)
        $0("IPAM", \.ipam)
        $0("Internal", \.internal)
        $0("Attachable", \.attachable)
        $0("Ingress", \.ingress)
        $0("ConfigFrom", \.configFrom)
        $0("ConfigOnly", \.configOnly)
        $0("Containers", \.containers)
        $0("Options", \.options)
        $0("Labels", \.labels)
    }

    public struct ConfigReference: WireObject {
        public var network = ""

        public init() {}

        public static let fields = Fields<Self> { $0("Network", \.network) }
    }

    public struct EndpointResource: WireObject {
        public var name = ""
        public var endpointID = ""
        public var macAddress = ""
        public var ipv4Address = ""
        public var ipv6Address = ""

        public init() {}

        public static let fields = Fields<Self> {
            $0("Name", \.name)
            $0("EndpointID", \.endpointID)
            $0("MacAddress", \.macAddress)
            $0("IPv4Address", \.ipv4Address)
            $0("IPv6Address", \.ipv6Address)
        }
    }
}

/// How a network's addresses are given out.
public struct IPAM: WireObject {
    public var driver = "default"
    public var options: [String: String]?
    public var config: [Pool]?

    public init() {}

    public static let fields = Fields<Self> {
        $0("Driver", \.driver)
        $0("Options", \.options)
        $0("Config", \.config)
    }

    public struct Pool: WireObject {
        public var subnet = ""
        public var ipRange = ""
        public var gateway = ""
        public var auxiliaryAddresses: [String: String]?

        public init() {}

        public static let fields = Fields<Self> {
            $0("Subnet", \.subnet, .omitEmpty)
            $0("IPRange", \.ipRange, .omitEmpty)
            $0("Gateway", \.gateway, .omitEmpty)
            $0("AuxiliaryAddresses", \.auxiliaryAddresses, .omitEmpty)
        }
    }
}
