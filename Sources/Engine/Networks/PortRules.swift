import EngineAPI
import LinuxKernel
import Networking

/// A port that is to be published: one of the container's, and where on the host.
struct PublishRequest: Sendable, Equatable {
    var transport: TransportProtocol
    var containerPort: UInt16
    /// nil: wherever the network publishes by default.
    var hostAddress: IPAddress?
    /// Any one of these; nil: a free one of the ephemeral range.
    var hostPorts: ClosedRange<UInt16>?

    var key: String { "\(containerPort)/\(transport.rawValue)" }
}

/// How ports are written in the API: `80/tcp`, `8000-8010`.
enum PortRules {
    /// How many ports one container may publish: each is a socket of the daemon's.
    static let maximumPublished = 20_000

    /// `80`, `80/tcp`, `53/udp`.
    static func parse(_ text: String) throws(EngineError) -> (port: UInt16, transport: TransportProtocol) {
        let parts = text.split(byte: "/", omittingEmptySubsequences: false)
        let name = parts.count == 2 ? parts[1].lowercased() : "tcp"
        guard parts.count <= 2, let port = parts.first.flatMap({ UInt16($0) }), port > 0 else {
            throw .invalid("invalid port specification: \"\(text)\"")
        }
        guard let transport = TransportProtocol(rawValue: name) else {
            throw .invalid("invalid proto: \(name): \"\(text)\" is no tcp, udp or sctp port")
        }
        return (port, transport)
    }

    /// `80/tcp`
    static func key(_ port: UInt16, _ transport: TransportProtocol) -> String { "\(port)/\(transport.rawValue)" }

    /// `8000` or `8000-8010`.
    static func range(_ text: String) throws(EngineError) -> ClosedRange<UInt16>? {
        if text.isEmpty || text == "0" { return nil }
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count <= 2, let low = parts.first.flatMap({ UInt16($0) }), low > 0,
            let high = parts.last.flatMap({ UInt16($0) }), low <= high
        else { throw .invalid("invalid port specification: \"\(text)\"") }
        return low...high
    }

    /// The bindings as requests, in the order of the container's ports.
    static func requests(_ bindings: [String: [PortBinding]?]) throws(EngineError) -> [PublishRequest] {
        var result: [PublishRequest] = []
        for (key, list) in bindings {
            let (port, transport) = try parse(key)
            for binding in list ?? [] {
                var address: IPAddress?
                if !binding.hostIP.isEmpty {
                    address = IPAddress(binding.hostIP)
                    guard address != nil else { throw .invalid("invalid IP address: \(binding.hostIP)") }
                }
                result.append(
                    PublishRequest(
                        transport: transport, containerPort: port, hostAddress: address,
                        hostPorts: try range(binding.hostPort)))
            }
        }
        guard result.count <= maximumPublished else {
            throw .invalid(
                "\(result.count) ports can't be published: the limit is \(maximumPublished) for a container; use "
                    + "--network host for more")
        }
        return result.sorted { left, right in
            (left.containerPort, left.transport.rawValue, left.hostPorts?.lowerBound ?? 0)
                < (right.containerPort, right.transport.rawValue, right.hostPorts?.lowerBound ?? 0)
        }
    }

    /// What a container publishes: its bindings, and with `--publish-all` every exposed port that has none.
    static func requests(_ record: ContainerRecord) throws(EngineError) -> [PublishRequest] {
        var bindings = record.hostConfig.portBindings ?? [:]
        if record.hostConfig.publishAllPorts {
            for port in record.config.exposedPorts?.keys.map({ $0 }) ?? [] {
                let (number, transport) = try parse(port)
                let key = PortRules.key(number, transport)
                if (bindings[key] ?? nil)?.isEmpty ?? true { bindings[key] = [PortBinding()] }
            }
        }
        return try requests(bindings)
    }

    /// Published ports as bindings.
    static func bindings(_ ports: [PublishedPort]) -> [String: [PortBinding]?] {
        var result: [String: [PortBinding]?] = [:]
        for port in ports {
            let binding = PortBinding(hostIP: port.hostAddress.description, hostPort: String(port.hostPort))
            result[port.key] = ((result[port.key] ?? nil) ?? []) + [binding]
        }
        return result
    }

    /// The bindings with every key in full (`80/tcp`).
    static func normalized(_ bindings: [String: [PortBinding]?]) throws(EngineError) -> [String: [PortBinding]?] {
        var result: [String: [PortBinding]?] = [:]
        for (key, list) in bindings {
            let (port, transport) = try parse(key)
            let full = PortRules.key(port, transport)
            result[full] = ((result[full] ?? nil) ?? []) + (list ?? [])
        }
        _ = try requests(result)
        return result
    }
}
