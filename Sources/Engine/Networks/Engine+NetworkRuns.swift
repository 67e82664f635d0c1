import EngineAPI
import LinuxKernel
import Networking

/// What a run takes of the host's networks when it starts, and gives back when it ends.
extension Engine {
    /// A network that a container is to be in, with what the user said about its place there.
    struct Membership: Sendable {
        let network: NetworkRecord
        let settings: EndpointSettings
    }

    /// The networks with interfaces that a container is in, in the order of their interfaces: the one of its network
    /// mode first.
    private func memberships(of record: ContainerRecord) throws(EngineError) -> [Membership] {
        var result: [Membership] = []
        let mode = record.hostConfig.networkMode
        let main = (try? networks.resolve(mode))?.name
        for (name, settings) in networks(of: record).sorted(by: {
            ($0.key != main ? 1 : 0, $0.key) < ($1.key != main ? 1 : 0, $1.key)
        }) {
            guard let network = networks.named(name) else {
                throw .notFound("failed to set up container networking: network \(name) not found")
            }
            // What could not be checked while there was no such network.
            if settings.networkID.isEmpty { try EndpointRules.validate(settings, in: network) }
            switch network.driver {
            case .bridge, .macvlan: result.append(Membership(network: network, settings: settings))
            case .host, .none: continue
            }
        }
        return result
    }

    /// Takes addresses, host ports and a namespace for a container that starts: all that its bundle has to say. What it
    /// took when it fails has been given back.
    ///
    /// - Parameter owner: the container's user namespace, which owns its network.
    /// - Returns: nil for a container without networks of its own.
    func reserveNetworks(
        _ container: Container, _ record: ContainerRecord, owner: NamespaceOwner?
    ) async throws -> NetworkRun? {
        let memberships = try memberships(of: record)
        if memberships.isEmpty { return nil }
        await container.networkRelease?.value
        var run = NetworkRun()
        do {
            for membership in memberships {
                let taken = run.state.endpoints.map(\.attachment.interfaceName)
                run.hasFixedAddress = run.hasFixedAddress || membership.settings.hasFixedAddress
                run.state.endpoints.append(try await reserveEndpoint(membership, besides: taken))
            }
            electGateway(&run.state, memberships)
            if let way = run.state.gateway, let network = networks.network(way.network), network.driver == .bridge {
                run.reservations = try reservePorts(try PortRules.requests(record), endpoint: way, network: network)
                run.state.ports = run.reservations.flatMap(\.ports)
            }
            let sandbox = try await hostNetworks.sandbox(owner: owner)
            run.sandbox = sandbox
            run.state.sandbox = sandbox.path
            return run
        } catch {
            release(run, of: container.id)
            throw error
        }
    }

    /// Sets up in the kernel what was reserved, and serves names. All of it is given back when it fails.
    func joinNetworks(_ container: Container, _ record: ContainerRecord, _ reserved: NetworkRun) throws {
        var run = reserved
        do {
            guard let sandbox = run.sandbox else { return }
            let settings = networks(of: record)
            for index in run.state.endpoints.indices {
                let endpoint = run.state.endpoints[index]
                guard let network = networks.network(endpoint.network) else {
                    throw EngineError.notFound("network \(endpoint.networkName) not found")
                }
                let membership = Membership(network: network, settings: settings[network.name] ?? EndpointSettings())
                run.state.endpoints[index].attachment = try attach(endpoint, membership, record, to: sandbox)
            }
            // Before it runs: what a container that lives has is known from its bundle.
            try run.state.write(to: paths.bundle(record.id))
            container.setNetwork(run)
            try hostNetworks.publish(run.state.ports)
            for reservation in run.reservations { try reservation.activate() }
            try introduce(record, run)
            try openLinks(of: record, run.state)
        } catch {
            _ = container.takeNetwork()
            release(run, of: container.id)
            throw error
        }
        for endpoint in run.state.endpoints {
            if let joined = networks.network(endpoint.network) { post(joined, "connect", container: record.id) }
        }
    }

    /// Takes an address of each family in a network, whose bridge is up afterwards.
    func reserveEndpoint(
        _ membership: Membership, besides interfaces: [String]
    ) async throws -> NetworkState.Endpoint {
        let network = try settled(membership.network)
        let settings = membership.settings
        try EndpointRules.validate(settings, in: network)
        try await hostNetworks.enter(network)
        var endpoint = NetworkState.Endpoint(id: Identifier.random(), network: network)
        do {
            let wanted = settings.ipamConfig
            let families = [
                (isIPv6: false, network.document.enableIPv4, wanted?.ipv4Address ?? ""),
                (isIPv6: true, network.document.enableIPv6, wanted?.ipv6Address ?? ""),
            ]
            for (isIPv6, isEnabled, text) in families where isEnabled {
                let address = try hostNetworks.addresses.withLock { addresses throws(NetworkingError) in
                    try addresses.allocate(in: network.id, isIPv6: isIPv6, preferred: IPAddress(text))
                }
                endpoint.addresses.append(address)
            }
            endpoint.gateways = network.gateways.filter { gateway in
                endpoint.addresses.contains { gateway.contains($0.address) }
            }.map(\.address)
            endpoint.mac =
                MACAddress(settings.macAddress) ?? endpoint.ipv4.flatMap { MACAddress(for: $0.address) } ?? .random()
            let name = try interfaceName(settings, network.options.interfacePrefix, besides: interfaces)
            endpoint.attachment = Networking.Attachment(hostName: nil, interfaceName: name)
        } catch {
            giveBack(endpoint)
            throw error
        }
        return endpoint
    }

    /// The name that the user asked for, or the first free one with the network's prefix.
    private func interfaceName(
        _ settings: EndpointSettings, _ prefix: String, besides taken: [String]
    ) throws(EngineError) -> String {
        if let name = settings.driverOpts?["com.docker.network.endpoint.ifname"] {
            guard !taken.contains(name), name != "lo" else {
                throw .conflict("the interface name \(name) is taken in the container's network namespace")
            }
            return name
        }
        var number = 0
        while taken.contains(prefix + String(number)) { number += 1 }
        return prefix + String(number)
    }

    /// Settles which network the container's default routes go through: the one with the highest priority, among equals
    /// one with both families, then the first by name. Internal networks and those without a gateway are none.
    func electGateway(_ state: inout NetworkState, _ memberships: [Membership]) {
        func rank(_ endpoint: NetworkState.Endpoint) -> (Int, Int, String)? {
            guard !endpoint.gateways.isEmpty,
                let membership = memberships.first(where: { $0.network.id == endpoint.network }),
                !membership.network.isInternal
            else { return nil }
            return (-membership.settings.gwPriority, -endpoint.gateways.count, endpoint.networkName)
        }
        let best = state.endpoints.indices.compactMap { index in rank(state.endpoints[index]).map { ($0, index) } }
            .min { $0.0 < $1.0 }?.1
        for index in state.endpoints.indices { state.endpoints[index].isGateway = index == best }
    }

    func attach(
        _ endpoint: NetworkState.Endpoint, _ membership: Membership, _ record: ContainerRecord, to sandbox: Sandbox
    ) throws -> Networking.Attachment {
        let network = networks.network(endpoint.network) ?? membership.network
        let options = network.options
        let parent: EndpointParent =
            network.hasBridge
            ? .bridge(network.interface) : .macvlan(parent: network.interface, mode: options.macvlanMode)
        let plan = EndpointPlan(
            parent: parent, interfaceName: endpoint.attachment.interfaceName, mac: endpoint.mac ?? .random(),
            addresses: endpoint.addresses + linkLocalAddresses(membership.settings),
            gateways: endpoint.isGateway ? endpoint.gateways : [], mtu: options.mtu == 0 ? nil : options.mtu,
            isolated: !options.allowsInterContainer, rates: record.hostConfig.rateLimits)
        do {
            return try hostNetworks.links().attach(plan, to: sandbox)
        } catch {
            // Somebody may have taken the bridge away: then the next start makes it again.
            hostNetworks.forget(network)
            throw error
        }
    }

    private func linkLocalAddresses(_ settings: EndpointSettings) -> [IPNetwork] {
        (settings.ipamConfig?.linkLocalIPs ?? []).compactMap { text in
            IPAddress(text).flatMap { IPNetwork($0, prefixLength: $0.isIPv6 ? 64 : 16) }
        }
    }

    /// Finds host ports and keeps them from everybody else.
    func reservePorts(
        _ wanted: [PublishRequest], endpoint: NetworkState.Endpoint, network: NetworkRecord
    ) throws(NetworkingError) -> [PortReservation] {
        if wanted.isEmpty { return [] }
        let binding = IPAddress(network.options.hostBinding)
        return try hostNetworks.ports.reserve(
            wanted.map { request in
                PortRequest(
                    transport: request.transport, hostAddress: request.hostAddress ?? binding,
                    hostPorts: request.hostPorts, containerPort: request.containerPort,
                    containerIPv4: endpoint.ipv4?.address, containerIPv6: endpoint.ipv6?.address,
                    bridge: network.interface)
            })
    }

    // MARK: The end of a run

    /// A run has ended: its ports are free when this returns, the rest follows in the background, unless somebody could
    /// be waiting for one of its addresses.
    func leaveNetworks(_ container: Container) {
        guard let run = container.takeNetwork() else { return }
        releasePorts(run, of: container.id)
        for endpoint in run.state.endpoints {
            if let network = networks.network(endpoint.network) {
                post(network, "disconnect", container: container.id)
            }
        }
        if run.hasFixedAddress {
            releaseLinks(run, of: container.id)
        } else {
            let networks = Set(run.state.endpoints.map(\.network))
            container.setNetworkRelease(hostNetworks.release(networks) { self.releaseLinks(run, of: container.id) })
        }
    }

    /// Gives back everything that a run has, or what it had before it failed.
    func release(_ run: NetworkRun, of id: String) {
        releasePorts(run, of: id)
        releaseLinks(run, of: id)
    }

    private func releasePorts(_ run: NetworkRun, of id: String) {
        hostNetworks.stopNames(id)
        hostNetworks.unpublish(run.state.ports)
        for reservation in run.reservations { reservation.release() }
        // From here on the networks can be removed, whatever is still cleared away.
        for endpoint in run.state.endpoints {
            closeLinks(of: endpoint)
            hostNetworks.leave(endpoint.network)
        }
    }

    private func releaseLinks(_ run: NetworkRun, of id: String) {
        // Interfaces go with their namespace, many at a time and without anybody waiting. Only where something else is
        // in the namespace, or an address must not be there twice, each one is removed by itself.
        let isShared = registry.all.contains { $0.record.hostConfig.networkMode == "container:" + id }
        if isShared || run.hasFixedAddress {
            for endpoint in run.state.endpoints { detach(endpoint, from: run.sandbox, of: id) }
        }
        do {
            try run.sandbox?.remove()
        } catch {
            log("the network namespace of container \(id) could not be removed: \(error)")
        }
        for endpoint in run.state.endpoints { sweep(after: endpoint, of: id) }
        for endpoint in run.state.endpoints { releaseAddresses(endpoint) }
    }

    private func sweep(after endpoint: NetworkState.Endpoint, of id: String) {
        do {
            try hostNetworks.links().sweep(after: endpoint.attachment)
        } catch {
            log("container \(id): \(error)")
        }
    }

    func detach(_ endpoint: NetworkState.Endpoint, from sandbox: Sandbox?, of id: String) {
        do {
            try hostNetworks.links().detach(endpoint.attachment, from: sandbox)
        } catch {
            log("container \(id): its interface in network \(endpoint.networkName) could not be removed: \(error)")
        }
    }

    /// An endpoint is gone, or was never finished: its addresses are free, and its network has one less.
    func giveBack(_ endpoint: NetworkState.Endpoint) {
        releaseAddresses(endpoint)
        hostNetworks.leave(endpoint.network)
    }

    private func releaseAddresses(_ endpoint: NetworkState.Endpoint) {
        hostNetworks.addresses.withLock { addresses in
            for address in endpoint.addresses { addresses.release(address.address, in: endpoint.network) }
        }
    }
}

extension EndpointSettings {
    var hasFixedAddress: Bool {
        ipamConfig?.ipv4Address.isEmpty == false || ipamConfig?.ipv6Address.isEmpty == false || !macAddress.isEmpty
    }
}
