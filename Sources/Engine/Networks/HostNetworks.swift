import Glibc
import LinuxKernel
import Networking
import Synchronization

/// The host's side of networks: bridges, namespaces, addresses, the firewall, published ports and name service.
///
/// Each part is made when the first container needs it. A daemon none of whose containers is on a bridge touches nothing
/// of its host, and runs where the host would not let it.
final class HostNetworks: Sendable {
    let names = NameTable()
    let addresses: Mutex<AddressManager>

    private let instance: String
    /// Where namespaces are pinned: `<exec-root>/netns`.
    private let directory: String
    private let defaults: NetworkDefaults
    private let provider: any SandboxProvider
    private let executor: WorkerPool
    private let log: @Sendable (String) -> Void

    private struct State {
        var links: Links?
        var firewall: Firewall?
        var pool: SandboxPool?
        var ports: HostPorts?
        var resolver: Resolver?
        /// Networks whose bridge is up and filtered, by id, as they were made.
        var ready: [String: NetworkRecord] = [:]
        /// How many endpoints a network has, being made or in use.
        var users: [String: Int] = [:]
    }

    private let state = Mutex(State())
    /// Bridges are made and removed one at a time.
    private let queue = SerialQueue()

    /// How many namespaces are kept ready.
    private static let readySandboxes = 3

    init(
        instance: String, directory: String, defaults: NetworkDefaults, provider: any SandboxProvider,
        executor: WorkerPool, log: @escaping @Sendable (String) -> Void
    ) {
        self.instance = instance
        self.directory = directory
        self.defaults = defaults
        self.provider = provider
        self.executor = executor
        self.log = log
        // A family of which no pool is named has the usual ones.
        let pools = defaults.pools + (defaults.pools.contains { !$0.base.isIPv6 } ? [] : AddressPool.defaults)
        addresses = Mutex(AddressManager(instance: instance, pools: pools))
    }

    // MARK: Parts

    func links() throws(NetworkingError) -> Links {
        try part(\.links) { () throws(NetworkingError) in
            try Links(instance: instance, enablesForwarding: defaults.enablesForwarding)
        }
    }

    /// nil where the daemon was told to leave the host's firewall alone.
    func firewall() throws(NetworkingError) -> Firewall? {
        guard defaults.usesFirewall else { return nil }
        return try part(\.firewall) { () throws(NetworkingError) in
            let firewall = try Firewall(instance: instance)
            let log = log
            try firewall.watch { event in
                switch event {
                case .restored: log("the firewall's rules were removed by another program and are installed again")
                case .failed(let error):
                    log("the firewall's rules were removed by another program and can't be installed again: \(error)")
                }
            }
            return firewall
        }
    }

    var ports: HostPorts {
        state.withLock { state in
            if let ports = state.ports { return ports }
            let ports = HostPorts(relaysAll: !defaults.usesFirewall)
            state.ports = ports
            return ports
        }
    }

    private var pool: SandboxPool {
        state.withLock { state in
            if let pool = state.pool { return pool }
            let pool = SandboxPool(
                provider: provider, directory: directory, ready: HostNetworks.readySandboxes, executor: executor)
            state.pool = pool
            return pool
        }
    }

    private var resolver: Resolver {
        state.withLock { state in
            if let resolver = state.resolver { return resolver }
            let resolver = Resolver(names: names, report: log)
            state.resolver = resolver
            return resolver
        }
    }

    private func part<Part: Sendable>(
        _ path: WritableKeyPath<State, Part?>, _ make: () throws(NetworkingError) -> Part
    ) throws(NetworkingError) -> Part {
        let result = state.withLock { state -> Result<Part, NetworkingError> in
            if let part = state[keyPath: path] { return .success(part) }
            do throws(NetworkingError) {
                let part = try make()
                state[keyPath: path] = part
                return .success(part)
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    // MARK: Bridges

    /// Makes sure that a network's bridge is there and filtered, and counts one more endpoint in it.
    func enter(_ network: NetworkRecord) async throws {
        let isReady = state.withLock { state -> Bool in
            guard state.ready[network.id] != nil else { return false }
            state.users[network.id, default: 0] += 1
            return true
        }
        if isReady { return }
        try await queue.run {
            try self.make(network)
            self.state.withLock { $0.users[network.id, default: 0] += 1 }
        }
    }

    /// One endpoint less.
    func leave(_ network: String) {
        state.withLock { state in
            let left = (state.users[network] ?? 1) - 1
            state.users[network] = left > 0 ? left : nil
        }
    }

    /// Makes a network's bridge now, so that what is wrong with it is found when the network is created.
    func create(_ network: NetworkRecord) async throws {
        try await queue.run { try self.make(network) }
    }

    /// The caller holds `queue`.
    private func make(_ network: NetworkRecord) throws(NetworkingError) {
        if state.withLock({ $0.ready[network.id] != nil }) { return }
        switch network.driver {
        case .bridge:
            let links = try links()
            let firewall = try firewall()
            try links.ensureBridge(network.bridgePlan)
            do throws(NetworkingError) {
                try firewall?.addNetwork(network.filter)
            } catch {
                try? links.removeBridge(network.bridgePlan)
                throw error
            }
        case .macvlan:
            if network.hasBridge { try links().ensureBridge(network.bridgePlan) }
        case .host, .none: break
        }
        state.withLock { $0.ready[network.id] = network }
    }

    /// Forgets that a bridge is up: somebody else took it away.
    func forget(_ network: NetworkRecord) { _ = state.withLock { $0.ready.removeValue(forKey: network.id) } }

    /// Takes a network's bridge and filters away, unless it has endpoints.
    ///
    /// - Returns: whether it had none.
    func remove(_ network: NetworkRecord, _ after: @Sendable () throws -> Void = {}) async throws -> Bool {
        try await queue.run {
            if self.state.withLock({ $0.users[network.id] != nil }) { return false }
            try self.dismantle(network)
            try after()
            return true
        }
    }

    private func dismantle(_ network: NetworkRecord) throws(NetworkingError) {
        // A bridge that wasn't made by this daemon may still be there from the one before.
        let wasReady = state.withLock { $0.ready.removeValue(forKey: network.id) != nil }
        guard !network.interface.isEmpty, network.hasBridge else { return }
        guard wasReady || if_nametoindex(network.interface) != 0 else { return }
        if network.driver == .bridge { try firewall()?.removeNetwork(bridge: network.interface) }
        try links().removeBridge(network.bridgePlan)
    }

    /// Takes down every bridge that has no endpoints: before the daemon ends.
    func removeIdle() async {
        let idle = state.withLock { state in state.ready.values.filter { state.users[$0.id] == nil } }
        for network in idle {
            do {
                _ = try await remove(network)
            } catch {
                log("the bridge of network \(network.name) could not be removed: \(error)")
            }
        }
        let firewall = state.withLock { state in state.ready.isEmpty ? state.firewall : nil }
        do {
            try firewall?.remove()
        } catch {
            log("the firewall's table could not be removed: \(error)")
        }
    }

    // MARK: Namespaces

    /// - Parameter owner: the user namespace that is to own it; nil: the host's.
    func sandbox(owner: NamespaceOwner?) async throws -> Sandbox { try await pool.take(owner: owner) }

    /// Makes the namespaces that were taken anew. Not while a container starts: the kernel makes interfaces and
    /// namespaces under one lock.
    func refillSandboxes() { state.withLock { $0.pool }?.refill() }

    func sandbox(at path: String) throws(NetworkingError) -> Sandbox { try Sandbox(path: path, provider: provider) }

    /// Serves the names of a container in `sandbox`.
    func serveNames(_ container: String, in sandbox: Sandbox, _ settings: Resolver.Settings) throws(NetworkingError) {
        guard let sockets = try sandbox.resolverSockets() else {
            log("container \(container): something in its network namespace has 127.0.0.11:53: names are not served")
            return
        }
        resolver.serve(container, sockets, settings)
    }

    func updateNames(_ container: String, _ settings: Resolver.Settings) {
        state.withLock { $0.resolver }?.update(container, settings)
    }

    func stopNames(_ container: String) {
        state.withLock { $0.resolver }?.stop(container)
        names.remove(container: container)
    }

    // MARK: Ports

    /// Leads packets to what has been reserved.
    func publish(_ ports: [PublishedPort]) throws(NetworkingError) {
        if !ports.isEmpty { try firewall()?.publish(ports) }
    }

    func unpublish(_ ports: [PublishedPort]) {
        if ports.isEmpty { return }
        do {
            try firewall()?.unpublish(ports)
        } catch {
            log("published ports could not be taken back: \(error)")
        }
    }

    // MARK: Links

    /// Opens ways between containers that are kept apart.
    func link(_ links: Set<LinkedPort>) throws(NetworkingError) {
        if !links.isEmpty { try firewall()?.link(links) }
    }

    func unlink(_ addresses: Set<IPAddress>) {
        do {
            try firewall()?.unlink(addresses)
        } catch {
            log("the ways of links could not be closed: \(error)")
        }
    }

    // MARK: Recovery

    /// Takes up what runs: networks with their bridges, and ports, all filtered in one step. For a daemon that has just
    /// started; `networks` are those in which containers run.
    func adopt(
        _ networks: [NetworkRecord: Int], published: Set<PublishedPort>, linked: Set<LinkedPort>
    ) throws {
        if networks.isEmpty { return }
        let links = try links()
        for network in networks.keys where network.hasBridge {
            try links.ensureBridge(network.bridgePlan)
        }
        state.withLock { state in
            for (network, count) in networks {
                state.ready[network.id] = network
                state.users[network.id] = count
            }
        }
        let filters = networks.keys.filter { $0.driver == .bridge }.map(\.filter)
        try firewall()?.install(FirewallState(networks: filters, ports: published, links: linked))
    }

    /// Removes the links and pins that bear our instance id and that nothing known has.
    func removeLeftovers(links known: Set<String>, sandboxes: Set<String>) {
        do {
            // Made with the first container on a bridge.
            let hasBeenUsed = access(directory, F_OK) == 0
            if hasBeenUsed { try pool.removeLeftovers(except: sandboxes) }
            let links = try links()
            let stale = try links.leftovers().filter { !known.contains($0) }
            for name in stale {
                try links.remove(name)
                log("removed the stale interface \(name)")
            }
            // A daemon that was killed left its table; one that ended took it away.
            if hasBeenUsed || !stale.isEmpty, state.withLock({ $0.ready.isEmpty }) {
                try firewall()?.remove()
                state.withLock { $0.firewall = nil }
            }
        } catch {
            log("what earlier containers left of the host's networks could not be removed: \(error)")
        }
    }

    func shutdown() async {
        let (resolver, pool) = state.withLock { ($0.resolver, $0.pool) }
        pool?.drain()
        await resolver?.shutDown()
        await removeIdle()
        state.withLock { state in
            state.firewall = nil
            state.links = nil
        }
    }
}

extension NetworkRecord {
    var bridgePlan: BridgePlan {
        let options = options
        let hasAddresses = driver == .bridge && options.gatewayMode4 != .isolated
        return BridgePlan(
            name: interface, gateways: hasAddresses ? gateways : [], mtu: options.mtu == 0 ? nil : options.mtu,
            networkID: id,
            isolatesPorts: !options.allowsInterContainer)
    }

    var filter: FirewallNetwork {
        let options = options
        return FirewallNetwork(
            bridge: interface, subnets: subnets.compactMap(\.subnet), isInternal: document.internal,
            allowsInterContainer: options.allowsInterContainer, masquerades: options.masquerades,
            gatewayMode4: options.gatewayMode4, gatewayMode6: options.gatewayMode6,
            hostAddress4: options.hostAddress4, hostAddress6: options.hostAddress6,
            trustedInterfaces: options.trustedInterfaces)
    }
}

extension NetworkRecord: Hashable {
    static func == (left: NetworkRecord, right: NetworkRecord) -> Bool { left.id == right.id }
    func hash(into hasher: inout Hasher) { hasher.combine(id) }
}
