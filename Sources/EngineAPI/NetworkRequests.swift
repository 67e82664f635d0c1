/// The body of `POST /networks/create`.
public struct NetworkCreateRequest: WireObject {
    public var name = ""
    /// `bridge` or `macvlan`; empty for `bridge`.
    public var driver = ""
    public var scope = ""
    /// nil: yes.
    public var enableIPv4: Bool?
    /// nil: no.
    public var enableIPv6: Bool?
    public var ipam: IPAM?
    public var `internal` = false
    public var attachable = false
    public var ingress = false
    public var configOnly = false
    public var configFrom: NetworkInspect.ConfigReference?
    public var options: [String: String]?
    public var labels: [String: String]?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Name", &name)
        try fields("Driver", &driver)
        try fields("Scope", &scope)
        try fields("EnableIPv4", &enableIPv4, .omitEmpty)
        try fields("EnableIPv6", &enableIPv6, .omitEmpty)
        try fields("IPAM", &ipam)
        try fields("Internal", &`internal`)
        try fields("Attachable", &attachable)
        try fields("Ingress", &ingress)
        try fields("ConfigOnly", &configOnly)
        try fields("ConfigFrom", &configFrom)
        try fields("Options", &options)
        try fields("Labels", &labels)
    }
}

/// The answer to a network's creation.
public struct NetworkCreateResponse: WireObject {
    public var id = ""
    public var warning = ""

    public init() {}

    public init(id: String, warning: String = "") {
        self.id = id
        self.warning = warning
    }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Id", &id)
        try fields("Warning", &warning)
    }
}

/// The body of `POST /networks/{id}/connect`.
public struct NetworkConnectRequest: WireObject {
    public var container = ""
    public var endpointConfig: EndpointSettings?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Container", &container)
        try fields("EndpointConfig", &endpointConfig)
    }
}

/// The body of `POST /networks/{id}/disconnect`.
public struct NetworkDisconnectRequest: WireObject {
    public var container = ""
    /// Also from a network that is gone.
    public var force = false

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Container", &container)
        try fields("Force", &force)
    }
}

/// What `POST /networks/prune` removed, by name.
public struct NetworksPruneReport: WireObject {
    public var networksDeleted: [String]?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("NetworksDeleted", &networksDeleted)
    }
}

/// The body and the answer of `POST /containers/{name}/ports/add` and `…/ports/remove`: an endpoint of this engine's
/// own, which publishes ports of a container while it runs. As `HostConfig.PortBindings` has them.
public struct PortChangeRequest: WireObject {
    /// Container port (`80/tcp`) to host addresses; a host port that is empty stands for any free one, or, in a removal,
    /// for every one.
    public var portBindings: [String: [PortBinding]?] = [:]

    public init() {}

    public init(portBindings: [String: [PortBinding]?]) { self.portBindings = portBindings }

    public mutating func visit(_ fields: inout some FieldVisitor) throws { try fields("PortBindings", &portBindings) }
}
