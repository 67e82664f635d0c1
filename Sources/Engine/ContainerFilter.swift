import EngineAPI
import ImageStore
import OCI

/// `ps --filter`.
struct ContainerFilter: Sendable {
    private let filters: Filters
    private let before: Int64?
    private let since: Int64?
    private let ancestors: Set<String>?
    private let exitCodes: [Int32]
    private let isTask: Bool?
    private let exposed: [PortFilter]
    private let published: [PortFilter]
    /// Filters on status ask for containers that don't run.
    let includesStopped: Bool

    private static let known: Set<String> = [
        "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
        "publish",
        "since", "status", "volume",
    ]
    private static let statuses: Set<String> = [
        "created", "running", "paused", "restarting", "removing", "exited", "dead",
    ]

    init(_ filters: Filters, registry: ContainerRegistry, images: ImageStore) throws {
        if let unknown = filters.firstUnknown(ContainerFilter.known) {
            throw EngineError.invalid("invalid filter '\(unknown)'")
        }
        for status in filters["status"] where !ContainerFilter.statuses.contains(status) {
            throw EngineError.invalid(
                "invalid filter 'status=\(status)': invalid value for state (\(status)): must be one of created, running, "
                    + "paused, restarting, removing, exited, dead")
        }
        for health in filters["health"] where !["starting", "healthy", "unhealthy", "none"].contains(health) {
            throw EngineError.invalid(
                "invalid filter 'health=\(health)': invalid value for health (\(health)): must be one of none, starting, "
                    + "healthy, unhealthy")
        }
        exitCodes = try filters["exited"].map { text in
            guard let code = Int32(text) else { throw EngineError.invalid("invalid filter 'exited=\(text)'") }
            return code
        }
        isTask = try filters.flag("is-task")
        exposed = try filters["expose"].map { text throws(EngineError) in try PortFilter(text) }
        published = try filters["publish"].map { text throws(EngineError) in try PortFilter(text) }
        self.filters = filters
        before = try filters["before"].map { try registry.resolve($0).record.document.created }.min()
        since = try filters["since"].map { try registry.resolve($0).record.document.created }.max()
        if filters.contains("ancestor") {
            ancestors = ContainerFilter.descendants(filters["ancestor"], images)
        } else {
            ancestors = nil
        }
        includesStopped =
            filters.contains("status") || filters.contains("exited")
            || (filters["before"] + filters["since"]).isEmpty == false
    }

    /// Ids of the named images and of every image that has one's layers at its bottom.
    private static func descendants(_ names: [String], _ images: ImageStore) -> Set<String> {
        var result: Set<String> = []
        for name in names {
            guard let image = try? images.resolve(name) else { continue }
            result.insert(image.id.description)
            guard let top = image.chainID else { continue }
            for other in images.images() where other.layers.contains(where: { $0.chainID == top }) {
                result.insert(other.id.description)
            }
        }
        return result
    }

    func matches(_ record: ContainerRecord) -> Bool {
        if let before, record.document.created >= before { return false }
        if let since, record.document.created <= since { return false }
        if let ancestors, !ancestors.contains(record.document.imageID) { return false }
        if isTask == true { return false }
        if !exitCodes.isEmpty {
            guard case .exited(let exit) = record.lifecycle, exitCodes.contains(exit.exitCode) else { return false }
        }
        guard filters.matchesExactly("status", record.lifecycle.status), filters.matchesPrefix("id", record.id),
            filters.matchesLabels("label", record.config.labels ?? [:]),
            filters.matchesExactly("isolation", "default"),
            filters.matchesExactly("health", record.status.health?.state.rawValue ?? "none")
        else { return false }
        let names = filters["name"]
        guard names.isEmpty || names.contains(where: { NamePattern.matches($0, record.name) }) else { return false }
        let volumes = filters["volume"]
        let mounts = record.document.mounts.map(\.point)
        guard
            volumes.isEmpty
                || volumes.contains(where: { wanted in
                    mounts.contains { $0.name == wanted || $0.source == wanted || $0.destination == wanted }
                })
        else { return false }
        guard !exposed.isEmpty else { return true }
        return (record.config.exposedPorts ?? [:]).keys.contains { key in
            guard let (port, transport) = try? PortRules.parse(key) else { return false }
            return exposed.contains { $0.contains(port, transport.rawValue) }
        }
    }

    /// Whether ``matches(networks:ports:)`` has anything to say.
    var concernsNetworks: Bool { filters.contains("network") || !published.isEmpty }

    /// The filters on what a run has: networks, by name or id, and published ports.
    func matches(networks: [String: EndpointSettings], ports: [Port]) -> Bool {
        let wanted = filters["network"]
        guard wanted.isEmpty || networks.contains(where: { wanted.contains($0.key) || $0.value.isIn(wanted) }) else {
            return false
        }
        guard !published.isEmpty else { return true }
        return ports.contains { port in
            port.publicPort != 0 && published.contains { $0.contains(port.publicPort, port.type) }
        }
    }
}

extension EndpointSettings {
    fileprivate func isIn(_ ids: [String]) -> Bool { !networkID.isEmpty && ids.contains { networkID.hasPrefix($0) } }
}

/// `80`, `80/udp`, `8000-8010/tcp`.
private struct PortFilter: Sendable {
    private let ports: ClosedRange<UInt16>
    private let transport: String

    init(_ text: String) throws(EngineError) {
        let parts = text.split(byte: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2, let range = try PortRules.range(parts[0]) else {
            throw .invalid("invalid port specification: \"\(text)\"")
        }
        ports = range
        transport = parts.count == 2 ? parts[1].lowercased() : "tcp"
    }

    func contains(_ port: UInt16, _ transport: String) -> Bool { ports.contains(port) && transport == self.transport }
}

/// Docker's name filters are regular expressions, nearly always plain text or `^/?name$`.
enum NamePattern {
    static func matches(_ pattern: String, _ name: String) -> Bool {
        // A name is matched with and without its slash, as dockerd does.
        guard let expression = try? Regex(pattern) else { return name.contains(pattern) }
        return name.firstMatch(of: expression) != nil || ("/" + name).firstMatch(of: expression) != nil
    }
}
