import EngineAPI
import FoundationEssentials
import LinuxKernel
import Networking
import OCI

/// What a running container has of the host's networks.
///
/// It is run state: it lies in the container's bundle, is read by the next daemon, and goes when the container ends. What
/// the user asked for is in the container's record.
struct NetworkState: Sendable, Codable {
    /// Path of the file that pins the network namespace.
    var sandbox: String
    /// In the order of their interfaces.
    var endpoints: [Endpoint]
    var ports: [PublishedPort]

    /// A container's place in one network.
    struct Endpoint: Sendable, Codable {
        var id: String
        /// The network's id.
        var network: String
        var networkName: String
        var attachment = Networking.Attachment(hostName: nil, interfaceName: "")
        /// nil where there is no interface.
        var mac: MACAddress?
        /// With the prefix lengths of their subnets.
        var addresses: [IPNetwork] = []
        /// The network's own addresses, which lead out of it.
        var gateways: [IPAddress] = []
        /// Whether the container's default route goes through this network.
        var isGateway = false

        init(id: String, network: NetworkRecord) {
            self.id = id
            self.network = network.id
            networkName = network.name
        }

        var ipv4: IPNetwork? { addresses.first { !$0.isIPv6 } }
        var ipv6: IPNetwork? { addresses.first(where: \.isIPv6) }
    }

    static let fileName = "network.json"

    var gateway: Endpoint? { endpoints.first(where: \.isGateway) }

    func endpoint(_ network: String) -> Endpoint? { endpoints.first { $0.network == network } }

    func write(to bundle: String) throws {
        try Files.replace("\(bundle)/\(NetworkState.fileName)", JSONTextEncoder.encode(self))
    }

    /// nil where the container has no networks of its own.
    static func read(from bundle: String) -> NetworkState? {
        guard let bytes = try? Files.read("\(bundle)/\(fileName)") else { return nil }
        return try? JSONDecoder().decode(NetworkState.self, from: Data(bytes))
    }
}

extension EndpointSettings {
    /// The settings that the user gave, with what this run made of them.
    func operational(_ endpoint: NetworkState.Endpoint?, network id: String) -> EndpointSettings {
        var settings = self
        settings.networkID = id
        guard let endpoint else { return settings }
        settings.endpointID = endpoint.id
        settings.macAddress = endpoint.mac?.description ?? ""
        settings.gateway = endpoint.gateways.first { !$0.isIPv6 }?.description ?? ""
        settings.ipv6Gateway = endpoint.gateways.first(where: \.isIPv6)?.description ?? ""
        if let address = endpoint.ipv4 {
            settings.ipAddress = address.address.description
            settings.ipPrefixLen = address.prefixLength
        }
        if let address = endpoint.ipv6 {
            settings.globalIPv6Address = address.address.description
            settings.globalIPv6PrefixLen = address.prefixLength
        }
        return settings
    }
}

extension PublishedPort {
    /// `80/tcp`
    var key: String { "\(containerPort)/\(transport.rawValue)" }
}
