import EngineAPI
import LinuxKernel
import Networking

/// Changes to the networks of a container, which may be running: connect, disconnect, ports, rates.
extension Engine {
    /// - Parameter term: the network, by name or id.
    public func connectNetwork(_ term: String, _ request: NetworkConnectRequest) async throws {
        let network = try networks.resolve(term)
        let container = try registry.resolve(request.container)
        try await perform {
            try await container.queue.run {
                try await self.connect(container, network, request.endpointConfig ?? EndpointSettings())
            }
        }
    }

    private func connect(
        _ container: Container, _ network: NetworkRecord, _ wanted: EndpointSettings
    ) async throws {
        let record = container.record
        try checkRemoval(record)
        let settings = try settledEndpoint(wanted, in: try settled(network))
        if record.lifecycle.isRunning, container.network?.endpoint(network.id) != nil {
            throw EngineError(
                .forbidden, "endpoint with name \(record.name) already exists in network \(network.name)")
        }
        try checkSharing(record, with: network)
        var memberships = networks(of: record)
        memberships[network.name] = settings
        let changed = memberships
        if record.lifecycle.isRunning {
            guard container.networkRun != nil || record.hostConfig.networkMode != "host" else {
                throw Engine.sharesItsNetwork
            }
            try await attach(container, record, Membership(network: network, settings: settings), all: changed)
        }
        container.update { $0.document.networks = changed }
        try persist(container)
        if !record.lifecycle.isRunning { return }
        post(network, "connect", container: container.id)
    }

    private func checkRemoval(_ record: ContainerRecord) throws(EngineError) {
        switch record.lifecycle {
        case .removing, .dead:
            throw .conflict(
                "Container \(record.id) is marked for removal and cannot be connected or disconnected to the network")
        default: break
        }
    }

    /// What can't be combined.
    private func checkSharing(_ record: ContainerRecord, with network: NetworkRecord) throws(EngineError) {
        let mode = record.hostConfig.networkMode
        if network.driver == .host, mode != "host" {
            throw .invalid(
                "cannot connect container to host network - container must be created in host network mode")
        }
        if mode == "host" || mode.hasPrefix("container:") { throw Engine.sharesItsNetwork }
        let others = networks(of: record).keys.filter { $0 != network.name }
        if !others.isEmpty, network.driver == .none || others.contains("none") { throw Engine.isPrivate }
    }

    /// Gives a running container one more interface.
    private func attach(
        _ container: Container, _ record: ContainerRecord, _ membership: Membership, all: [String: EndpointSettings]
    ) async throws {
        guard var run = container.networkRun, let sandbox = run.sandbox else {
            throw EngineError.conflict(
                "container \(container.id) was started without a network that others could be added to: restart it")
        }
        let taken = run.state.endpoints.map(\.attachment.interfaceName)
        var endpoint = try await reserveEndpoint(membership, besides: taken)
        do {
            endpoint.attachment = try attach(endpoint, membership, record, to: sandbox)
        } catch {
            giveBack(endpoint)
            throw error
        }
        run.state.endpoints.append(endpoint)
        run.hasFixedAddress = run.hasFixedAddress || membership.settings.hasFixedAddress
        do {
            // A daemon that finds an interface of which the container's record doesn't know takes it away.
            try settle(run, of: container)
            try reroute(&run, record, all)
            try settle(run, of: container)
            try openLinks(of: record, run.state)
        } catch {
            detach(endpoint, from: sandbox, of: container.id)
            giveBack(endpoint)
            throw error
        }
        addHosts(record, endpoint)
        var changed = record
        changed.document.networks = all
        enterNames(changed, endpoint)
        // A container that was on the default network only had no use for the resolver until now.
        let (file, resolver) = resolvConf(changed, run.state)
        if let resolver { try introduceResolver(changed, run, file, resolver) }
    }

    private func introduceResolver(
        _ record: ContainerRecord, _ run: NetworkRun, _ file: ResolvConf, _ settings: Resolver.Settings
    ) throws {
        try Files.write(paths.container(record.id) + "/resolv.conf", file.text, mode: 0o644)
        try serveNames(record, run, settings)
    }

    /// Takes a container out of a network; with `force` also out of one that is gone.
    public func disconnectNetwork(_ term: String, _ request: NetworkDisconnectRequest) async throws {
        let container = try registry.resolve(request.container)
        let network: NetworkRecord?
        do {
            network = try networks.resolve(term)
        } catch {
            guard request.force else { throw error }
            network = nil
        }
        try await perform {
            try await container.queue.run { try self.disconnect(container, network, name: network?.name ?? term) }
        }
    }

    private func disconnect(_ container: Container, _ network: NetworkRecord?, name: String) throws {
        let record = container.record
        try checkRemoval(record)
        if network?.driver == .host, record.hostConfig.networkMode == "host" {
            throw EngineError.invalid(
                "cannot disconnect container from host network - container was created in host network mode")
        }
        var memberships = networks(of: record)
        guard memberships.removeValue(forKey: name) != nil else {
            throw EngineError(
                .forbidden, "container \(container.id) is not connected to network \(name)")
        }
        let changed = memberships
        // Before anything is undone: whoever finds the rest undoes it.
        container.update { $0.document.networks = changed }
        try persist(container)
        if var run = container.networkRun, let network,
            let index = run.state.endpoints.firstIndex(where: { $0.network == network.id })
        {
            let endpoint = run.state.endpoints.remove(at: index)
            if endpoint.isGateway { dropPorts(&run) }
            closeLinks(of: endpoint)
            detach(endpoint, from: run.sandbox, of: container.id)
            hostNetworks.names.remove(container: container.id, network: network.id)
            try reroute(&run, record, changed)
            try settle(run, of: container)
            giveBack(endpoint)
            removeHosts(record, endpoint)
            post(network, "disconnect", container: container.id)
        }
    }

    /// Chooses the way out again, and moves the default routes and the published ports to it; `always`: even where it
    /// seems to be the one that it was.
    func reroute(
        _ run: inout NetworkRun, _ record: ContainerRecord, _ settings: [String: EndpointSettings],
        always: Bool = false
    ) throws {
        let before = run.state.gateway?.network
        let memberships = run.state.endpoints.compactMap { endpoint in
            networks.network(endpoint.network).map {
                Membership(network: $0, settings: settings[$0.name] ?? EndpointSettings())
            }
        }
        electGateway(&run.state, memberships)
        guard always || run.state.gateway?.network != before, let sandbox = run.sandbox else { return }
        try hostNetworks.links().setDefaultRoutes(run.defaultRoutes, in: sandbox)
        dropPorts(&run)
        guard let way = run.state.gateway, let network = networks.network(way.network), network.driver == .bridge else {
            return
        }
        try publish(try PortRules.requests(record), record, &run, through: way, of: network)
    }

    private func dropPorts(_ run: inout NetworkRun) {
        hostNetworks.unpublish(run.state.ports)
        for reservation in run.reservations { reservation.release() }
        run.reservations = []
        run.state.ports = []
    }

    /// Reserves ports and leads packets to them.
    private func publish(
        _ wanted: [PublishRequest], _ record: ContainerRecord, _ run: inout NetworkRun,
        through endpoint: NetworkState.Endpoint, of network: NetworkRecord
    ) throws {
        let reservations = try reservePorts(wanted, endpoint: endpoint, network: network)
        let ports = reservations.flatMap(\.ports)
        do {
            try hostNetworks.publish(ports)
            for reservation in reservations { try reservation.activate() }
        } catch {
            hostNetworks.unpublish(ports)
            for reservation in reservations { reservation.release() }
            throw error
        }
        run.reservations += reservations
        run.state.ports += ports
    }

    /// What a run has now is what inspect shows and what the next daemon will find.
    func settle(_ run: NetworkRun, of container: Container) throws {
        guard container.replaceNetwork(run) else {
            throw EngineError.conflict("container \(container.id) is not running: it has ended in the meantime")
        }
        try run.state.write(to: paths.bundle(container.id))
    }

    // MARK: Ports of a running container

    /// Publishes ports of a container that may be running; they stay published when it is started again.
    ///
    /// - Returns: the host's addresses of these ports.
    public func addPorts(_ id: String, _ request: PortChangeRequest) async throws -> PortChangeRequest {
        let container = try registry.resolve(id)
        return try await perform {
            try await container.queue.run { try self.addPorts(container, request) }
        }
    }

    private func addPorts(_ container: Container, _ request: PortChangeRequest) throws -> PortChangeRequest {
        let bindings = try PortRules.normalized(request.portBindings)
        let wanted = try PortRules.requests(bindings)
        guard !wanted.isEmpty else { throw EngineError.invalid("no port specified: there is nothing to publish") }
        let record = container.record
        try checkRemoval(record)
        let mode = record.hostConfig.networkMode
        guard mode != "host", mode != "none", !mode.hasPrefix("container:") else {
            throw EngineError.invalid(
                "ports of a container with network mode \(mode) can't be published: it has no network of its own")
        }
        var published: [PublishedPort] = []
        if record.lifecycle.isRunning {
            guard var run = container.networkRun, let way = run.state.gateway,
                let network = networks.network(way.network), network.driver == .bridge
            else {
                throw EngineError.conflict(
                    "container \(container.id) has no bridge network with a gateway: there is no way in to publish")
            }
            let before = run.state.ports.count
            try publish(wanted, record, &run, through: way, of: network)
            published = Array(run.state.ports[before...])
            do {
                try settle(run, of: container)
            } catch {
                hostNetworks.unpublish(published)
                throw error
            }
        }
        container.update { record in
            var all = record.document.hostConfig.portBindings ?? [:]
            for (key, list) in bindings {
                all[key] = ((all[key] ?? nil) ?? []) + (list ?? [])
                record.document.config.exposedPorts = (record.document.config.exposedPorts ?? [:])
                    .merging([key: EmptyObject()]) { old, _ in old }
            }
            record.document.hostConfig.portBindings = all
        }
        try persist(container)
        post(container.record, "update")
        return PortChangeRequest(portBindings: PortRules.bindings(published))
    }

    /// Takes published ports back.
    ///
    /// - Returns: what was published of them.
    public func removePorts(_ id: String, _ request: PortChangeRequest) async throws -> PortChangeRequest {
        let container = try registry.resolve(id)
        return try await perform {
            try await container.queue.run { try self.removePorts(container, request) }
        }
    }

    private func removePorts(_ container: Container, _ request: PortChangeRequest) throws -> PortChangeRequest {
        // A port without host ports stands for all that lead to it.
        let bindings = try PortRules.normalized(request.portBindings).mapValues { list in
            list?.isEmpty ?? true ? [PortBinding()] : list
        }
        let wanted = try PortRules.requests(bindings)
        guard !wanted.isEmpty else { throw EngineError.invalid("no port specified: there is nothing to take back") }
        let record = container.record
        try checkRemoval(record)
        var gone: [PublishedPort] = []
        if var run = container.networkRun {
            gone = run.state.ports.filter { port in wanted.contains { $0.covers(port) } }
            if !gone.isEmpty {
                hostNetworks.unpublish(gone)
                let set = Set(gone)
                for reservation in run.reservations { reservation.release { set.contains($0) } }
                run.state.ports.removeAll { set.contains($0) }
                try settle(run, of: container)
            }
        }
        var configured = record.hostConfig.portBindings ?? [:]
        var wasConfigured = false
        for (key, list) in configured {
            let kept = try (list ?? []).filter { binding in
                let requests = try PortRules.requests([key: [binding]])
                return !requests.contains { request in wanted.contains { $0.covers(request) } }
            }
            wasConfigured = wasConfigured || kept.count != (list ?? []).count
            configured[key] = kept.isEmpty ? .none : .some(kept)
        }
        guard wasConfigured || !gone.isEmpty else {
            throw EngineError.notFound("No public port '\(wanted[0].key)' published for \(record.name)")
        }
        let left = configured
        container.update { $0.document.hostConfig.portBindings = left }
        try persist(container)
        post(container.record, "update")
        return PortChangeRequest(portBindings: PortRules.bindings(gone))
    }

    // MARK: Rates

    /// Sets the rates of a running container's interfaces as its record has them.
    func applyRates(_ container: Container) throws {
        guard let run = container.networkRun, let sandbox = run.sandbox else { return }
        let rates = container.record.hostConfig.rateLimits
        for endpoint in run.state.endpoints {
            try hostNetworks.links().setRates(rates, of: endpoint.attachment, in: sandbox)
        }
    }
}

extension PublishRequest {
    /// Whether a published port is what this asks for.
    func covers(_ port: PublishedPort) -> Bool {
        transport == port.transport && containerPort == port.containerPort
            && (hostAddress == nil || hostAddress == port.hostAddress) && (hostPorts?.contains(port.hostPort) ?? true)
    }

    /// Whether another request asks for no more than this one.
    func covers(_ other: PublishRequest) -> Bool {
        transport == other.transport && containerPort == other.containerPort
            && (hostAddress == nil || hostAddress == other.hostAddress)
            && (hostPorts == nil || hostPorts == other.hostPorts)
    }
}

extension HostConfig {
    /// The rates of each of the container's interfaces.
    var rateLimits: RateLimits {
        func limit(_ rate: Int64, _ burst: Int64) -> RateLimit? {
            rate > 0 ? RateLimit(bitsPerSecond: UInt64(rate), burst: burst > 0 ? UInt64(burst) : nil) : nil
        }
        return RateLimits(
            ingress: limit(resources.networkRateIn, resources.networkBurstIn),
            egress: limit(resources.networkRateOut, resources.networkBurstOut))
    }
}
