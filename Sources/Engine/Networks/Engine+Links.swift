import EngineAPI
import LinuxKernel
import Networking

/// `--link` beyond its name: the way to the other's exposed ports where a network keeps its containers apart, and the
/// other's address in /etc/hosts when that is started again.
extension Engine {
    /// A container that runs, or is about to, and what it has of the host's networks.
    typealias Member = (record: ContainerRecord, state: NetworkState)

    private var members: [Member] {
        registry.all.compactMap { container in container.network.map { (container.record, $0) } }
    }

    /// What the links among `members` open on networks whose containers don't reach each other otherwise.
    func linkedPorts(_ members: [Member]) -> Set<LinkedPort> {
        var result: Set<LinkedPort> = []
        for (record, state) in members {
            for endpoint in state.endpoints {
                guard let network = networks.network(endpoint.network), network.keepsApart,
                    let client = endpoint.ipv4?.address
                else { continue }
                for (target, _) in linkTargets(record, in: network) {
                    guard let other = members.first(where: { $0.record.id == target.id }),
                        let server = other.state.endpoint(network.id)?.ipv4?.address
                    else { continue }
                    for (port, transport) in exposedPorts(other.record) {
                        result.insert(LinkedPort(client: client, server: server, transport: transport, port: port))
                    }
                }
            }
        }
        return result
    }

    /// On the default network links are the container's, on others those of its place there.
    private func linkTargets(
        _ record: ContainerRecord, in network: NetworkRecord
    ) -> [(container: Container, alias: String)] {
        let links = network.isPredefined ? record.hostConfig.links : networks(of: record)[network.name]?.links
        return (links ?? []).compactMap { try? linkTarget($0) }
    }

    private func exposedPorts(_ record: ContainerRecord) -> [(UInt16, TransportProtocol)] {
        let keys = (record.config.exposedPorts ?? [:]).keys.map { $0 } + (record.hostConfig.portBindings ?? [:]).keys
        return Set(keys).compactMap { try? PortRules.parse($0) }
    }

    /// A container has its places in its networks: what its own links and those of others to it say now holds.
    func openLinks(of record: ContainerRecord, _ state: NetworkState) throws {
        if state.endpoints.contains(where: { networks.network($0.network)?.keepsApart ?? false }) {
            try hostNetworks.link(linkedPorts(members))
        }
        if let place = state.endpoints.first(where: { $0.networkName == "bridge" }) { tellLinked(record, place) }
    }

    /// Closes what leads from and to an endpoint that goes.
    func closeLinks(of endpoint: NetworkState.Endpoint) {
        guard networks.network(endpoint.network)?.keepsApart ?? false else { return }
        hostNetworks.unlink(Set(endpoint.addresses.map(\.address)))
    }

    /// Whoever is linked to a container on the default network has its new address in /etc/hosts.
    private func tellLinked(_ record: ContainerRecord, _ place: NetworkState.Endpoint) {
        for (other, state) in members where state.endpoint(place.network) != nil {
            guard let network = networks.network(place.network) else { return }
            for (target, alias) in linkTargets(other, in: network) where target.id == record.id {
                let lines = linkLines(record, place, alias: alias)
                editHosts(other) { HostsFile.replacing(alias, by: lines, in: $0) }
            }
        }
    }

    /// What a linked container is called in /etc/hosts.
    func linkLines(_ record: ContainerRecord, _ place: NetworkState.Endpoint, alias: String) -> [HostsFile.Line] {
        var names: [String] = []
        for name in [alias, record.config.hostname, record.name] where !name.isEmpty && !names.contains(name) {
            names.append(name)
        }
        return place.addresses.map { HostsFile.Line(address: $0.address.description, names: names) }
    }
}

extension NetworkRecord {
    /// Whether its containers reach each other by links only.
    var keepsApart: Bool { driver == .bridge && !options.allowsInterContainer }
}
