/// The networks that a new container joins, by name.
public struct NetworkingConfig: WireObject {
    public var endpointsConfig: [String: EndpointSettings]?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("EndpointsConfig", &endpointsConfig)
    }
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("IPAMConfig", &ipamConfig)
        try fields("Links", &links)
        try fields("Aliases", &aliases)
        try fields("MacAddress", &macAddress)
        try fields("DriverOpts", &driverOpts)
        try fields("GwPriority", &gwPriority)
        try fields("NetworkID", &networkID)
        try fields("EndpointID", &endpointID)
        try fields("Gateway", &gateway)
        try fields("IPAddress", &ipAddress)
        try fields("IPPrefixLen", &ipPrefixLen)
        try fields("IPv6Gateway", &ipv6Gateway)
        try fields("GlobalIPv6Address", &globalIPv6Address)
        try fields("GlobalIPv6PrefixLen", &globalIPv6PrefixLen)
        try fields("DNSNames", &dnsNames)
    }

    /// Addresses that the user asked for.
    public struct IPAMConfig: WireObject {
        public var ipv4Address = ""
        public var ipv6Address = ""
        public var linkLocalIPs: [String]?

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("IPv4Address", &ipv4Address, .omitEmpty)
            try fields("IPv6Address", &ipv6Address, .omitEmpty)
            try fields("LinkLocalIPs", &linkLocalIPs, .omitEmpty)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Bridge", &bridge)
        try fields("SandboxID", &sandboxID)
        try fields("SandboxKey", &sandboxKey)
        try fields("Ports", &ports)
        try fields("HairpinMode", &hairpinMode)
        try fields("LinkLocalIPv6Address", &linkLocalIPv6Address)
        try fields("LinkLocalIPv6PrefixLen", &linkLocalIPv6PrefixLen)
        try fields("SecondaryIPAddresses", &secondaryIPAddresses)
        try fields("SecondaryIPv6Addresses", &secondaryIPv6Addresses)
        try fields("EndpointID", &endpointID)
        try fields("Gateway", &gateway)
        try fields("GlobalIPv6Address", &globalIPv6Address)
        try fields("GlobalIPv6PrefixLen", &globalIPv6PrefixLen)
        try fields("IPAddress", &ipAddress)
        try fields("IPPrefixLen", &ipPrefixLen)
        try fields("IPv6Gateway", &ipv6Gateway)
        try fields("MacAddress", &macAddress)
        try fields("Networks", &networks)
    }
}

/// An address with its prefix length.
public struct NetworkAddress: WireObject {
    public var addr = ""
    public var prefixLen = 0

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Addr", &addr)
        try fields("PrefixLen", &prefixLen)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Name", &name)
        try fields("Id", &id)
        try fields("Created", &created)
        try fields("Scope", &scope)
        try fields("Driver", &driver)
        try fields("EnableIPv4", &enableIPv4)
        try fields("EnableIPv6", &enableIPv6)
        try fields("IPAM", &ipam)
        try fields("Internal", &`internal`)
        try fields("Attachable", &attachable)
        try fields("Ingress", &ingress)
        try fields("ConfigFrom", &configFrom)
        try fields("ConfigOnly", &configOnly)
        try fields("Containers", &containers)
        try fields("Options", &options)
        try fields("Labels", &labels)
    }

    public struct ConfigReference: WireObject {
        public var network = ""

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws { try fields("Network", &network) }
    }

    public struct EndpointResource: WireObject {
        public var name = ""
        public var endpointID = ""
        public var macAddress = ""
        public var ipv4Address = ""
        public var ipv6Address = ""

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("Name", &name)
            try fields("EndpointID", &endpointID)
            try fields("MacAddress", &macAddress)
            try fields("IPv4Address", &ipv4Address)
            try fields("IPv6Address", &ipv6Address)
        }
    }
}

/// How a network's addresses are given out.
public struct IPAM: WireObject {
    public var driver = "default"
    public var options: [String: String]?
    public var config: [Pool]?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Driver", &driver)
        try fields("Options", &options)
        try fields("Config", &config)
    }

    public struct Pool: WireObject {
        public var subnet = ""
        public var ipRange = ""
        public var gateway = ""
        public var auxiliaryAddresses: [String: String]?

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("Subnet", &subnet, .omitEmpty)
            try fields("IPRange", &ipRange, .omitEmpty)
            try fields("Gateway", &gateway, .omitEmpty)
            try fields("AuxiliaryAddresses", &auxiliaryAddresses, .omitEmpty)
        }
    }
}
