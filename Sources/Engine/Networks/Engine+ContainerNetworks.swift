import EngineAPI
import LinuxKernel
import Networking

/// Which networks a container is in, as its record has it and as `inspect` shows it.
extension Engine {
    /// What the networks of a new container are: those that the request names, by their names, with the one of the
    /// network mode among them. A network that doesn't exist is one that the start will look for: a client takes a 404
    /// here for an image that is missing, and pulls it.
    ///
    /// - Throws: in dockerd's words, what can't be: addresses out of a network's subnets, one network twice.
    func settleNetworks(
        _ request: NetworkingConfig?, mode: String
    ) throws(EngineError) -> [String: EndpointSettings] {
        var wanted = request?.endpointsConfig ?? [:]
        if mode.hasPrefix("container:") {
            guard wanted.isEmpty else { throw Engine.sharesItsNetwork }
            return [:]
        }
        let main = try network(called: mode)
        var settled: [String: EndpointSettings] = [:]
        // What is asked of the network mode may be under the mode's own spelling.
        if let settings = wanted.removeValue(forKey: "default") { wanted[mode] = wanted[mode] ?? settings }
        for (term, settings) in wanted {
            let network = try network(called: term)
            let name = network?.name ?? term
            guard settled[name] == nil else {
                throw .invalid("network \"\(name)\" is specified multiple times")
            }
            settled[name] = try settledEndpoint(settings, in: network)
        }
        // Networks that are named stand in for the default one, as in dockerd.
        let mainName = main?.name ?? mode
        if settled[mainName] == nil, settled.isEmpty || mainName != "bridge" {
            settled[mainName] = try settledEndpoint(EndpointSettings(), in: main)
        }
        let drivers = settled.keys.compactMap { networks.named($0)?.driver }
        if drivers.count > 1 {
            if drivers.contains(.host) { throw Engine.sharesItsNetwork }
            if drivers.contains(.none) { throw Engine.isPrivate }
        }
        return settled
    }

    /// nil where there is none.
    private func network(called term: String) throws(EngineError) -> NetworkRecord? {
        do {
            return try networks.resolve(term)
        } catch {
            guard error.kind == .notFound else { throw error }
            return nil
        }
    }

    static let sharesItsNetwork = EngineError.invalid(
        "container sharing network namespace with another container or host cannot be connected to any other network")
    static let isPrivate = EngineError.invalid(
        "container cannot be connected to multiple networks with one of the networks in private (none) mode")

    /// What the user gave, checked as far as the network is known, without what a run made of it.
    func settledEndpoint(
        _ settings: EndpointSettings, in network: NetworkRecord?
    ) throws(EngineError) -> EndpointSettings {
        if let network { try EndpointRules.validate(settings, in: network) }
        var kept = EndpointSettings()
        kept.ipamConfig = settings.ipamConfig
        if let wanted = kept.ipamConfig {
            kept.ipamConfig?.ipv4Address = IPAddress(wanted.ipv4Address)?.description ?? ""
            kept.ipamConfig?.ipv6Address = IPAddress(wanted.ipv6Address)?.description ?? ""
        }
        for link in settings.links ?? [] { _ = try linkTarget(link) }
        kept.links = settings.links
        kept.aliases = settings.aliases
        kept.macAddress = MACAddress(settings.macAddress)?.description ?? ""
        kept.driverOpts = settings.driverOpts
        kept.gwPriority = settings.gwPriority
        kept.networkID = network?.id ?? ""
        return kept
    }

    /// `name[:alias]`: the container that a link leads to, and what it is called.
    func linkTarget(_ link: String) throws(EngineError) -> (container: Container, alias: String) {
        let parts = link.split(byte: ":", omittingEmptySubsequences: false).map(String.init)
        guard let name = parts.first, !name.isEmpty, parts.count <= 2 else {
            throw .invalid("bad format for links: \(link)")
        }
        let container: Container
        do {
            container = try registry.resolve(name)
        } catch {
            throw .invalid("could not get container for \(name): \(error.message)")
        }
        // Old clients send a path as alias: `/web/db`.
        let alias = parts.count == 2 ? parts[1].split(byte: "/").last.map(String.init) : nil
        return (container, alias ?? container.record.name)
    }

    /// A container's networks as the user set them up, by name; records of before there were any say it by their mode.
    func networks(of record: ContainerRecord) -> [String: EndpointSettings] {
        if let networks = record.document.networks { return networks }
        let mode = record.hostConfig.networkMode
        return mode.hasPrefix("container:") ? [:] : [mode: EndpointSettings()]
    }

    /// The same, with the addresses and interfaces of a container that runs.
    func endpoints(_ record: ContainerRecord, _ state: NetworkState?) -> [String: EndpointSettings] {
        var result: [String: EndpointSettings] = [:]
        for (name, settings) in networks(of: record) {
            let id = networks.named(name)?.id ?? settings.networkID
            // A container is in a network from its first start on.
            let known = record.status.hasBeenStarted || state != nil ? id : ""
            var shown = settings.operational(state?.endpoint(id), network: known)
            if !NetworkRecord.isPredefined(name), !id.isEmpty { shown.dnsNames = dnsNames(record, settings) }
            result[name] = shown
        }
        return result
    }

    /// What others on a user-defined network may call a container, its name first.
    func dnsNames(_ record: ContainerRecord, _ settings: EndpointSettings) -> [String] {
        var names = [record.name]
        for name in (settings.aliases ?? []) + [record.shortID, record.config.hostname]
        where !name.isEmpty && !names.contains(name) { names.append(name) }
        return names
    }

    /// The network part of `inspect`.
    func networkSettings(_ container: Container, _ record: ContainerRecord) -> NetworkSettings {
        var settings = NetworkSettings()
        let state = container.network
        settings.networks = endpoints(record, state)
        if let run = record.lifecycle.run, record.hostConfig.networkMode != "host" {
            settings.sandboxKey = state?.sandbox ?? "/proc/\(run.pid)/ns/net"
            settings.sandboxID = container.id
        }
        if record.lifecycle.isRunning { settings.ports = portMap(record, state) }
        guard let bridge = settings.networks?["bridge"] else { return settings }
        settings.endpointID = bridge.endpointID
        settings.gateway = bridge.gateway
        settings.globalIPv6Address = bridge.globalIPv6Address
        settings.globalIPv6PrefixLen = bridge.globalIPv6PrefixLen
        settings.ipAddress = bridge.ipAddress
        settings.ipPrefixLen = bridge.ipPrefixLen
        settings.ipv6Gateway = bridge.ipv6Gateway
        settings.macAddress = bridge.macAddress
        return settings
    }

    /// Exposed and published ports; null for what is exposed only.
    private func portMap(_ record: ContainerRecord, _ state: NetworkState?) -> [String: [PortBinding]?] {
        var result: [String: [PortBinding]?] = [:]
        guard !networks(of: record).isEmpty else { return result }
        for key in record.config.exposedPorts?.keys.map({ $0 }) ?? [] {
            guard let (port, transport) = try? PortRules.parse(key) else { continue }
            result.updateValue(nil, forKey: PortRules.key(port, transport))
        }
        return result.merging(PortRules.bindings(state?.ports ?? [])) { $1 }
    }

    /// The ports of a running container as `ps` lists them.
    func listedPorts(_ record: ContainerRecord, _ state: NetworkState?) -> [Port] {
        guard record.lifecycle.isRunning, record.hostConfig.networkMode != "host" else { return [] }
        var result: [Port] = []
        for (key, bindings) in portMap(record, state).sorted(by: { $0.key < $1.key }) {
            guard let (number, transport) = try? PortRules.parse(key) else { continue }
            for binding in bindings ?? [PortBinding()] {
                result.append(
                    Port {
                        $0.ip = binding.hostIP
                        $0.privatePort = number
                        $0.publicPort = UInt16(binding.hostPort) ?? 0
                        $0.type = transport.rawValue
                    })
            }
        }
        return result
    }
}
