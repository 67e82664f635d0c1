import EngineAPI
import Glibc
import LinuxKernel
import Networking

/// Networks as users see them: list, inspect, create, remove, prune.
extension Engine {
    /// Networks, oldest first. `verbose` adds the containers in them, as old clients expect of a list.
    public func networks(filters: Filters, verbose: Bool = false) async throws -> [NetworkInspect] {
        try await perform {
            let filter = try NetworkFilter(filters)
            let users = self.networkUsers()
            return self.networks.all.filter { filter.matches($0, isUsed: users[$0.id] != nil) }
                .map { network in
                    // A host that can't have bridges has a list all the same.
                    self.wire((try? self.settled(network)) ?? network, verbose ? users[network.id] ?? [] : [])
                }
        }
    }

    public func inspectNetwork(_ term: String) async throws -> NetworkInspect {
        try await perform {
            let network = try self.settled(try self.networks.resolve(term))
            return self.wire(network, self.networkUsers()[network.id] ?? [])
        }
    }

    /// Makes a network and, unless the host can't, its bridge.
    ///
    /// - Throws: `EngineError` in dockerd's words; nothing is left behind.
    public func createNetwork(_ request: NetworkCreateRequest) async throws -> NetworkCreateResponse {
        try await perform {
            try NetworkRules.validate(request)
            let id = Identifier.random()
            try self.networks.reserve(request.name, for: id)
            do {
                let network = try self.granted(request, id: id)
                try await self.hostNetworks.create(network)
                do {
                    try self.store.set([network])
                } catch {
                    _ = try? await self.hostNetworks.remove(network)
                    throw error
                }
                self.networks.set(network)
                self.post(network, "create")
                return NetworkCreateResponse(id: id)
            } catch {
                self.hostNetworks.addresses.withLock { $0.removeNetwork(id) }
                self.networks.release(request.name, of: id)
                throw error
            }
        }
    }

    /// A network's record with the subnets it was granted.
    private func granted(_ request: NetworkCreateRequest, id: String) throws -> NetworkRecord {
        let driver = request.driver == "macvlan" ? NetworkRecord.Driver.macvlan : .bridge
        let options = try NetworkOptions(request.options ?? [:], driver: driver)
        var document = NetworkInspect()
        document.name = request.name
        document.id = id
        document.created = Timestamp.format(Clock.wall())
        document.driver = driver.rawValue
        document.enableIPv4 = request.enableIPv4 ?? true
        document.enableIPv6 = request.enableIPv6 ?? false
        document.internal = request.internal
        document.attachable = request.attachable
        document.options = request.options ?? [:]
        document.labels = request.labels ?? [:]
        document.ipam.options = request.ipam?.options
        document.ipam.config = try subnets(request, options, id: id)

        var network = NetworkRecord(document: document, interface: "")
        if driver == .macvlan, !options.parent.isEmpty {
            guard if_nametoindex(options.parent) != 0 else {
                throw EngineError.invalid(
                    "invalid parent interface \(options.parent): the host has no interface of that name")
            }
            network.interface = options.parent
        } else if options.bridgeName.isEmpty {
            network.interface = try hostNetworks.links().newBridgeName()
        } else {
            if let other = networks.all.first(where: { $0.interface == options.bridgeName }) {
                throw EngineError.conflict(
                    "cannot create network \(id) (\(options.bridgeName)): conflicts with network \(other.id) "
                        + "(\(other.interface)): networks have same bridge name")
            }
            network.interface = options.bridgeName
        }
        return network
    }

    /// The subnets of a new network: those that were asked for, and one of each other family that it has.
    private func subnets(
        _ request: NetworkCreateRequest, _ options: NetworkOptions, id: String
    ) throws -> [IPAM.Pool] {
        let (ipv4, ipv6) = (request.enableIPv4 ?? true, request.enableIPv6 ?? false)
        var wanted: [SubnetRequest] = []
        for pool in request.ipam?.config ?? [] {
            guard let subnet = IPNetwork(pool.subnet), subnet.isIPv6 ? ipv6 : ipv4 else { continue }
            wanted.append(
                SubnetRequest(
                    subnet: subnet, range: IPNetwork(pool.ipRange), gateway: IPAddress(pool.gateway),
                    hasGateway: (subnet.isIPv6 ? options.gatewayMode6 : options.gatewayMode4) != .isolated,
                    auxiliary: (pool.auxiliaryAddresses ?? [:]).compactMapValues { IPAddress($0) }))
        }
        for (isIPv6, isEnabled, mode) in [(false, ipv4, options.gatewayMode4), (true, ipv6, options.gatewayMode6)]
        where isEnabled && !wanted.contains(where: { $0.isIPv6 == isIPv6 }) {
            wanted.append(SubnetRequest(isIPv6: isIPv6, hasGateway: mode != .isolated))
        }
        let needsChoice = wanted.contains { $0.subnet == nil }
        // The default network chooses first, so that it has the addresses that people know.
        if needsChoice, request.name != "bridge", let first = networks.named("bridge") { _ = try settled(first) }
        let host = needsChoice ? try hostNetworks.links().hostNetworks().map(\.network) : []
        let requests = wanted
        let granted = try hostNetworks.addresses.withLock {
            try $0.addNetwork(id, name: request.name, requests, avoiding: host)
        }
        return granted.map { subnet in
            IPAM.Pool {
                $0.subnet = subnet.network.description
                $0.ipRange = subnet.range?.description ?? ""
                $0.gateway = subnet.gateway?.description ?? ""
                let auxiliary = subnet.auxiliary.mapValues(\.description)
                $0.auxiliaryAddresses = auxiliary.isEmpty ? nil : auxiliary
            }
        }
    }

    public func removeNetwork(_ term: String) async throws {
        try await perform {
            let network = try self.networks.resolve(term)
            guard !network.isPredefined else {
                throw EngineError(.forbidden, "\(network.name) is a pre-defined network and cannot be removed")
            }
            guard try await self.remove(network) else { throw self.activeEndpoints(network) }
        }
    }

    /// - Returns: false when it has endpoints.
    private func remove(_ network: NetworkRecord) async throws -> Bool {
        let isGone = try await hostNetworks.remove(network) {
            try self.store.deleteNetwork(network.id)
            self.networks.remove(network)
            self.hostNetworks.addresses.withLock { $0.removeNetwork(network.id) }
        }
        if isGone { post(network, "destroy") }
        return isGone
    }

    private func activeEndpoints(_ network: NetworkRecord) -> EngineError {
        let users = (networkUsers()[network.id] ?? []).map { user in
            "name:\"\(user.record.name)\" id:\"\(Identifier.short(user.endpoint.id))\""
        }
        let list = users.isEmpty ? "one that is being made" : users.sorted().joined(separator: ", ")
        return EngineError(
            .forbidden, "error while removing network: network \(network.name) has active endpoints (\(list))")
    }

    public func pruneNetworks(filters: Filters) async throws -> NetworksPruneReport {
        try await perform {
            if let unknown = filters.firstUnknown(["label", "label!", "until"]) {
                throw InvalidFilter(key: unknown)
            }
            let until = try PruneRules.until(filters)
            var report = NetworksPruneReport()
            for network in self.networks.all where !network.isPredefined {
                let created = Timestamp.parseParameter(network.document.created, now: 0) ?? 0
                guard created < until, PruneRules.labels(filters, network.document.labels ?? [:]) else { continue }
                // As dockerd does: networks that only stopped containers are in are unused.
                do {
                    if try await self.remove(network) {
                        report.networksDeleted = (report.networksDeleted ?? []) + [network.name]
                    }
                } catch {
                    self.log("network \(network.name) could not be removed: \(error)")
                }
            }
            self.post(type: "network", action: "prune", id: "", attributes: ["reclaimed": "0"])
            return report
        }
    }

    // MARK: The default network

    /// A network with its subnets chosen: those of the network `bridge` are chosen when they are first asked for, among
    /// what the host's routes leave free.
    func settled(_ network: NetworkRecord) throws -> NetworkRecord {
        guard network.driver == .bridge, network.interface.isEmpty else { return network }
        return try settlement.withLock { _ in
            if let now = networks.network(network.id), !now.interface.isEmpty { return now }
            var request = NetworkCreateRequest()
            request.name = network.name
            request.enableIPv6 = network.document.enableIPv6
            request.ipam = IPAM()
            request.ipam?.config = configuration.networks.bridgePools
            var settled = network
            do {
                settled.document.ipam.config = try subnets(request, NetworkOptions(), id: network.id)
                settled.interface = try hostNetworks.links().newBridgeName()
                try store.set([settled])
            } catch {
                hostNetworks.addresses.withLock { $0.removeNetwork(network.id) }
                throw error
            }
            networks.set(settled)
            return settled
        }
    }

    /// Reads the networks from the database; the first time, there are none but the three that always are.
    func loadNetworks() throws {
        let (records, unreadable) = try store.networks()
        for (id, reason) in unreadable {
            log("network \(id) can't be read from the database and is left alone: \(reason)")
        }
        var missing: [NetworkRecord] = []
        for name in NetworkRecord.predefinedNames where !records.contains(where: { $0.name == name }) {
            var document = NetworkInspect()
            document.name = name
            document.id = Identifier.random()
            document.created = Timestamp.format(Clock.wall())
            document.driver = name == "none" ? "null" : name
            document.ipam.config = nil
            missing.append(NetworkRecord(document: document, interface: ""))
        }
        if !missing.isEmpty { try store.set(missing) }
        for network in records + missing {
            networks.set(network)
            if network.subnets.isEmpty { continue }
            do {
                _ = try hostNetworks.addresses.withLock {
                    try $0.addNetwork(network.id, name: network.name, network.subnets)
                }
            } catch {
                log("network \(network.name): \(error)")
            }
        }
    }

    /// Gives the default network what the daemon's flags say about it, unless containers run in it: they have its
    /// addresses and its bridge.
    func configureDefaultNetwork() throws {
        guard let network = networks.named("bridge") else { return }
        let defaults = configuration.networks
        var changed = network
        changed.document.options = defaults.bridgeOptions
        changed.document.enableIPv6 = defaults.enablesIPv6
        let keepsSubnets = network.interface.isEmpty || defaults.agrees(with: network)
        if !keepsSubnets {
            changed.document.ipam.config = nil
            changed.interface = ""
        }
        if keepsSubnets, changed.document == network.document { return }
        let isUsed = registry.all.contains { container in
            MonitorLock.isHeld(paths.bundle(container.id))
                && NetworkState.read(from: paths.bundle(container.id))?.endpoint(network.id) != nil
        }
        if isUsed {
            log(
                "the daemon's settings for the default network differ from what it was made with; they hold from the next "
                    + "start of the daemon at which no container runs in it")
            return
        }
        if !keepsSubnets { hostNetworks.addresses.withLock { $0.removeNetwork(network.id) } }
        for pool in defaults.bridgePools {
            let subnet = IPNetwork(pool.subnet)
            let other = networks.all.first { other in
                other.id != network.id
                    && other.subnets.contains { $0.subnet.map { subnet?.overlaps($0) ?? false } ?? false }
            }
            if let other {
                throw EngineError.conflict(
                    "the default network can't have the subnet \(pool.subnet), which --bip or --fixed-cidr asks for: it "
                        + "overlaps with that of the network \(other.name)")
            }
        }
        try store.set([changed])
        networks.set(changed)
    }

    // MARK: Who is where

    struct NetworkUser: Sendable {
        let record: ContainerRecord
        let endpoint: NetworkState.Endpoint
    }

    /// The running containers of each network, by its id.
    func networkUsers() -> [String: [NetworkUser]] {
        var users: [String: [NetworkUser]] = [:]
        for container in registry.all {
            let record = container.record
            if let state = container.network {
                for endpoint in state.endpoints {
                    users[endpoint.network, default: []].append(NetworkUser(record: record, endpoint: endpoint))
                }
            } else if record.lifecycle.isRunning, let network = networks.named(record.hostConfig.networkMode),
                network.isPredefined, network.driver != .bridge
            {
                let none = NetworkState.Endpoint(id: record.id, network: network)
                users[network.id, default: []].append(NetworkUser(record: record, endpoint: none))
            }
        }
        return users
    }

    private func wire(_ network: NetworkRecord, _ users: [NetworkUser]) -> NetworkInspect {
        var document = network.document
        for user in users {
            document.containers?[user.record.id] = NetworkInspect.EndpointResource {
                $0.name = user.record.name
                $0.endpointID = user.endpoint.id
                $0.macAddress = user.endpoint.mac?.description ?? ""
                $0.ipv4Address = user.endpoint.ipv4?.description ?? ""
                $0.ipv6Address = user.endpoint.ipv6?.description ?? ""
            }
        }
        return document
    }

    func post(_ network: NetworkRecord, _ action: String, container: String? = nil) {
        var attributes = ["name": network.name, "type": network.document.driver]
        if let container { attributes["container"] = container }
        post(type: "network", action: action, id: network.id, attributes: attributes)
    }
}

/// `network ls --filter`.
struct NetworkFilter: Sendable {
    private let filters: Filters
    private let dangling: Bool?

    private static let known: Set<String> = ["dangling", "driver", "id", "label", "name", "scope", "type"]

    init(_ filters: Filters) throws {
        if let unknown = filters.firstUnknown(NetworkFilter.known) { throw InvalidFilter(key: unknown) }
        if filters["dangling"].count > 1 {
            throw EngineError.invalid("got more than one value for filter key \"dangling\"")
        }
        if let text = filters["dangling"].first {
            guard ["0", "1", "true", "false"].contains(text) else {
                throw EngineError.invalid(
                    "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")")
            }
            dangling = text == "1" || text == "true"
        } else {
            dangling = nil
        }
        for type in filters["type"] where !["builtin", "custom"].contains(type) {
            throw EngineError.invalid("invalid filter: 'type'='\(type)'")
        }
        self.filters = filters
    }

    func matches(_ network: NetworkRecord, isUsed: Bool) -> Bool {
        if let dangling, dangling == (network.isPredefined || isUsed) { return false }
        let names = filters["name"]
        let ids = filters["id"]
        return filters.matchesExactly("driver", network.document.driver)
            && filters.matchesExactly("scope", network.document.scope)
            && filters.matchesExactly("type", network.isPredefined ? "builtin" : "custom")
            && filters.matchesLabels("label", network.document.labels ?? [:])
            && (names.isEmpty || names.contains { NamePattern.matches($0, network.name) })
            && (ids.isEmpty || ids.contains { network.id.hasPrefix($0) || network.id == $0 })
    }
}
