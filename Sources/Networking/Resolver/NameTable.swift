import LinuxKernel
import Synchronization

/// Who is called what on which network: what the embedded resolver answers from.
///
/// The engine writes it as containers come and go, the resolver's event loop reads it. Only endpoints of running
/// containers belong here, and none of the default bridge's, where Docker resolves no names.
public final class NameTable: Sendable {
    /// One container's place on one network.
    public struct Endpoint: Sendable, Equatable {
        /// The container's full id.
        public var container: String
        /// The network's full id.
        public var network: String
        public var networkName: String
        /// What others on the network may call it: its name first (which reverse look-ups answer), then aliases and
        /// the id's first 12 digits. Several containers may share an alias: a service.
        public var names: [String]
        /// Its IPv4 and IPv6 addresses on this network.
        public var addresses: [IPAddress]
        /// `--link` on this network: what this container calls another, to that other's name.
        public var links: [String: String]
        /// The network's subnets. Reverse look-ups of addresses in them end here: nobody outside can know.
        public var subnets: [IPNetwork]

        public init(
            container: String, network: String, networkName: String, names: [String], addresses: [IPAddress],
            links: [String: String] = [:], subnets: [IPNetwork] = []
        ) {
            self.container = container
            self.network = network
            self.networkName = networkName
            self.names = names
            self.addresses = addresses
            self.links = links
            self.subnets = subnets
        }
    }

    /// What is known of an address.
    enum Reverse: Equatable {
        /// `container.network`.
        case name(String)
        /// In a subnet of the asking container's networks, but nobody's.
        case nobody
        /// None of our business: for the upstream servers.
        case elsewhere
    }

    fileprivate struct Network: Sendable {
        /// By lower-cased name, in the order in which endpoints came.
        var members: [String: [Member]] = [:]
        var reverse: [IPAddress: Owner] = [:]
    }

    fileprivate struct Owner: Sendable {
        var container: String
        /// `container.network`, as the user spelled both.
        var name: String
    }

    fileprivate struct Member: Sendable {
        var container: String
        var addresses: [IPAddress]
    }

    fileprivate struct Container: Sendable {
        /// In the order in which they were connected; names and links are lower-cased.
        var endpoints: [Endpoint] = []
        var hosts: [String: [IPAddress]] = [:]
    }

    fileprivate struct State: Sendable {
        var networks: [String: Network] = [:]
        var containers: [String: Container] = [:]
    }

    private let state = Mutex(State())

    public init() {}

    /// Adds an endpoint, in place of the same container's on the same network.
    public func add(_ endpoint: Endpoint) {
        var endpoint = endpoint
        let display = endpoint.names.first.map { "\($0).\(endpoint.networkName)" }
        endpoint.names = endpoint.names.map { $0.lowercased() }.uniqued()
        endpoint.networkName = endpoint.networkName.lowercased()
        endpoint.links = Dictionary(
            endpoint.links.map { ($0.key.lowercased(), $0.value.lowercased()) }, uniquingKeysWith: { $1 })
        state.withLock { state in
            let position = state.withdraw(endpoint.container, endpoint.network)
            var endpoints = state.containers[endpoint.container, default: Container()].endpoints
            endpoints.insert(endpoint, at: min(position ?? endpoints.count, endpoints.count))
            state.containers[endpoint.container, default: Container()].endpoints = endpoints
            for name in endpoint.names {
                state.networks[endpoint.network, default: Network()].members[name, default: []].append(
                    Member(container: endpoint.container, addresses: endpoint.addresses))
            }
            guard let display else { return }
            for address in endpoint.addresses {
                state.networks[endpoint.network, default: Network()].reverse[address] =
                    Owner(container: endpoint.container, name: display)
            }
        }
    }

    /// Forgets a container's place on one network.
    public func remove(container: String, network: String) {
        state.withLock { _ = $0.withdraw(container, network) }
    }

    /// Forgets a container.
    public func remove(container: String) {
        state.withLock { state in
            for endpoint in state.containers[container]?.endpoints ?? [] {
                _ = state.withdraw(container, endpoint.network)
            }
            state.containers[container] = nil
        }
    }

    /// Names that only this container sees, whatever its networks: its `--add-host` entries, `host.docker.internal`
    /// among them, for programs that ask DNS and never read /etc/hosts.
    public func setHosts(_ hosts: [String: [IPAddress]], container: String) {
        let lowered = Dictionary(hosts.map { ($0.key.lowercased(), $0.value) }, uniquingKeysWith: { $0 + $1 })
        state.withLock { $0.containers[container, default: Container()].hosts = lowered }
    }

    /// The addresses, IPv4 and IPv6, of what `container` calls `name` (in lower case, without a dot at the end).
    ///
    /// As Docker does it: `name` on any of the container's networks, in the order in which they were connected, the
    /// container's own links first; else `name` without `.network` on that network. The first network that knows it
    /// answers alone.
    ///
    /// - Returns: nil where the name isn't ours; never empty but for a container without addresses.
    func addresses(of name: String, for container: String) -> [IPAddress]? {
        state.withLock { state -> [IPAddress]? in
            guard let asking = state.containers[container] else { return nil }
            if let addresses = asking.hosts[name] { return addresses }
            for endpoint in asking.endpoints {
                if let addresses = state.addresses(of: name, seenFrom: endpoint) { return addresses }
            }
            for endpoint in asking.endpoints {
                let suffix = endpoint.networkName.utf8.count + 1
                guard name.utf8.count > suffix, name.hasSuffix(endpoint.networkName),
                    name.utf8.dropLast(suffix - 1).last == UInt8(ascii: ".")
                else { continue }
                let prefix = String(name.utf8.dropLast(suffix)) ?? ""
                if let addresses = state.addresses(of: prefix, seenFrom: endpoint) { return addresses }
            }
            return nil
        }
    }

    /// Who has `address`, as far as `container` may know.
    func reverse(_ address: IPAddress, for container: String) -> Reverse {
        state.withLock { state -> Reverse in
            guard let asking = state.containers[container] else { return .elsewhere }
            for endpoint in asking.endpoints {
                if let name = state.networks[endpoint.network]?.reverse[address]?.name { return .name(name) }
            }
            let ours = asking.endpoints.contains { $0.subnets.contains { $0.contains(address) } }
            return ours ? .nobody : .elsewhere
        }
    }
}

extension NameTable.State {
    /// Takes an endpoint out; where among its container's it stood.
    fileprivate mutating func withdraw(_ container: String, _ network: String) -> Int? {
        guard let index = containers[container]?.endpoints.firstIndex(where: { $0.network == network }),
            let endpoint = containers[container]?.endpoints.remove(at: index)
        else { return nil }
        for name in endpoint.names {
            networks[network]?.members[name]?.removeAll { $0.container == container }
            if networks[network]?.members[name]?.isEmpty == true { networks[network]?.members[name] = nil }
        }
        for address in endpoint.addresses where networks[network]?.reverse[address]?.container == container {
            networks[network]?.reverse[address] = nil
        }
        if networks[network]?.members.isEmpty == true { networks[network] = nil }
        return index
    }

    fileprivate func addresses(of name: String, seenFrom endpoint: NameTable.Endpoint) -> [IPAddress]? {
        guard let members = networks[endpoint.network]?.members[endpoint.links[name] ?? name] else { return nil }
        return members.count == 1 ? members[0].addresses : members.flatMap(\.addresses).uniqued()
    }
}

extension Array where Element: Hashable {
    /// The elements without repetitions, in their order.
    fileprivate func uniqued() -> [Element] {
        var seen = Set<Element>(minimumCapacity: count)
        return filter { seen.insert($0).inserted }
    }
}
