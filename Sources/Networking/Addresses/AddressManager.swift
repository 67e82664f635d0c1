import LinuxKernel

/// Which network has which subnets, and which of their addresses are taken.
///
/// A value: its owner keeps it behind a lock, and rebuilds it from the network and container records when the daemon
/// starts. It never asks the kernel; what the host's own routes and addresses cover is handed to ``addNetwork``.
public struct AddressManager: Sendable {
    private struct Network {
        let name: String
        var subnets: [SubnetLeases]
    }

    private let pools: [AddressPool]
    private let globalID: UInt64
    private var networks: [String: Network] = [:]

    /// - Parameter instance: the daemon's instance id (8 hex digits); goes into the unique local IPv6 prefixes.
    public init(instance: String, pools: [AddressPool] = AddressPool.defaults) {
        self.pools = pools
        globalID = UInt64(instance, radix: 16) ?? 0
    }

    /// Grants a network its subnets, one for each request and in their order; all of them or none.
    ///
    /// - Parameters:
    ///   - id: the network's ID, 64 hex digits.
    ///   - name: for error texts.
    ///   - host: subnets of the host's routes and addresses. A subnet that is chosen avoids them; one that is asked
    ///     for by address does not, because a bridge that exists already is a route of the host.
    /// - Throws: `.invalid` for addresses outside of the subnet, `.conflict` where another network overlaps or the
    ///   pools are used up.
    public mutating func addNetwork(
        _ id: String, name: String, _ requests: [SubnetRequest], avoiding host: [IPNetwork] = []
    ) throws(NetworkingError) -> [Subnet] {
        guard networks[id] == nil else { throw NetworkingError(.conflict, "network with id \(id) already exists") }
        var subnets: [SubnetLeases] = []
        for request in requests {
            let taken = networks.values.flatMap { $0.subnets.map(\.subnet.network) } + subnets.map(\.subnet.network)
            let network: IPNetwork
            if let asked = request.subnet {
                guard asked.address.bitWidth - asked.prefixLength >= 1 || !request.hasGateway else {
                    throw NetworkingError(.invalid, "invalid subnet \(asked): it has no room for a gateway")
                }
                guard !taken.contains(where: { $0.overlaps(asked) }) else {
                    throw NetworkingError(
                        .conflict, "invalid pool request: Pool overlaps with other one on this address space")
                }
                network = asked.network
            } else if request.isIPv6 {
                if let free = try fromPools(isIPv6: true, taken: taken + host) {
                    network = free
                } else {
                    network = try uniqueLocal(for: id, taken: taken + host)
                }
            } else if let free = try fromPools(isIPv6: false, taken: taken + host) {
                network = free
            } else {
                throw AddressManager.poolsAreUsedUp
            }
            subnets.append(try SubnetLeases(network, request))
        }
        networks[id] = Network(name: name, subnets: subnets)
        return subnets.map(\.subnet)
    }

    /// Forgets a network with all its addresses. Nothing happens when there is none.
    public mutating func removeNetwork(_ id: String) { networks[id] = nil }

    /// The subnets granted to a network; empty when it is not known.
    public func subnets(of id: String) -> [Subnet] { networks[id]?.subnets.map(\.subnet) ?? [] }

    /// Takes an address: the preferred one, or the lowest that is free and was not released lately.
    ///
    /// - Returns: the address with its subnet's prefix length.
    /// - Throws: `.invalid` when the preferred address is not of this network, `.conflict` when it is in use or when
    ///   none is left.
    public mutating func allocate(
        in id: String, isIPv6: Bool = false, preferred: IPAddress? = nil
    ) throws(NetworkingError) -> IPNetwork {
        guard let network = networks[id] else { throw NetworkingError(.notFound, "network \(id) not found") }
        for index in network.subnets.indices where network.subnets[index].subnet.network.isIPv6 == isIPv6 {
            let subnet = network.subnets[index].subnet.network
            if let preferred {
                guard subnet.contains(preferred) else { continue }
                try networks[id]!.subnets[index].take(preferred)
                return IPNetwork(preferred, prefixLength: subnet.prefixLength)!
            }
            if let address = networks[id]!.subnets[index].takeNext() {
                return IPNetwork(address, prefixLength: subnet.prefixLength)!
            }
        }
        if let preferred {
            throw NetworkingError(
                .invalid, "invalid address \(preferred): It does not belong to any of this network's subnets")
        }
        throw NetworkingError(
            .conflict,
            "no available IPv\(isIPv6 ? 6 : 4) addresses on this network's address pools: \(network.name) (\(id))")
    }

    /// Gives an address back. Nothing happens when it was not taken, or is the gateway's or reserved.
    public mutating func release(_ address: IPAddress, in id: String) {
        guard let network = networks[id] else { return }
        for index in network.subnets.indices where network.subnets[index].subnet.network.contains(address) {
            networks[id]!.subnets[index].release(address)
        }
    }

    /// nil where there are no pools of this family.
    private func fromPools(isIPv6: Bool, taken: [IPNetwork]) throws(NetworkingError) -> IPNetwork? {
        let candidates = pools.filter { $0.base.isIPv6 == isIPv6 }
        if candidates.isEmpty { return nil }
        for pool in candidates {
            if let free = pool.firstFree(among: taken) { return free }
        }
        throw AddressManager.poolsAreUsedUp
    }

    private static let poolsAreUsedUp = NetworkingError(
        .conflict,
        "all predefined address pools have been fully subnetted: remove unused networks, or name a --subnet")

    /// A /64 of fd00::/8 (RFC 4193). The 40 bits of the global ID come from the network's random ID and this daemon's
    /// instance, the subnet's 16 bits from the ID too; a collision moves on to the next /64.
    private func uniqueLocal(for id: String, taken: [IPNetwork]) throws(NetworkingError) -> IPNetwork {
        let random = UInt64(id.prefix(14), radix: 16) ?? 0
        let global = (random >> 16 ^ globalID) & 0xFF_FFFF_FFFF
        var subnet = random & 0xFFFF
        for _ in 0...0xFFFF {
            let prefix = UInt128(0xFD) << 120 | UInt128(global) << 80 | UInt128(subnet) << 64
            let network = IPNetwork(.v6(prefix), prefixLength: 64)!
            if !taken.contains(where: { $0.prefixLength > 0 && $0.overlaps(network) }) { return network }
            subnet = (subnet + 1) & 0xFFFF
        }
        throw NetworkingError(.conflict, "no unique local IPv6 subnet is free: name one with --subnet")
    }
}

/// The addresses of one subnet.
struct SubnetLeases: Sendable {
    let subnet: Subnet
    /// First and last address that may be chosen.
    private let first: UInt128
    private let last: UInt128
    private var taken: Set<UInt128> = []
    private var reserved: Set<UInt128> = []
    /// Everything from `first` up to here, this one excluded, is taken, reserved or resting; nil: everything up to `last`,
    /// behind which there may be no number any more.
    private var lowest: UInt128?
    /// Released lately, the oldest first. A neighbour's ARP entry, a connection or a cached name may still mean the one
    /// who had it, so these are used last.
    private var resting: [UInt128] = []

    /// How many released addresses rest; beyond it the oldest is as good as new.
    static let restingMaximum = 256

    init(_ network: IPNetwork, _ request: SubnetRequest) throws(NetworkingError) {
        // Without the subnet's own and the broadcast address; RFC 3021's /31 and a /32 have neither. IPv6 has no
        // broadcast, and its first address is the routers' anycast (RFC 4291 2.6.1).
        let bare = network.address.bitWidth - network.prefixLength < 2
        var first = network.firstAddress.value + (bare ? 0 : 1)
        var last = network.lastAddress.value - (bare || network.isIPv6 ? 0 : 1)
        if let range = request.range {
            guard range.prefixLength >= network.prefixLength, network.contains(range.address) else {
                throw NetworkingError(.invalid, "invalid ip-range \(range): it is not within the subnet \(network)")
            }
            first = max(first, range.firstAddress.value)
            last = min(last, range.lastAddress.value)
        }
        for (name, address) in request.auxiliary {
            guard network.contains(address) else {
                throw NetworkingError(
                    .invalid, "invalid auxiliary address \(name)=\(address): it is not within the subnet \(network)")
            }
            reserved.insert(address.value)
        }
        var gateway: IPAddress?
        if request.hasGateway {
            if let asked = request.gateway {
                guard network.contains(asked) else {
                    throw NetworkingError(
                        .invalid, "invalid gateway \(asked): it is not within the subnet \(network)")
                }
                guard !reserved.contains(asked.value) else {
                    throw NetworkingError(.conflict, "the gateway \(asked) is an auxiliary address of the network too")
                }
                gateway = asked
            } else {
                var candidate = first
                while candidate < last, reserved.contains(candidate) { candidate += 1 }
                guard candidate <= last, !reserved.contains(candidate) else {
                    throw NetworkingError(.invalid, "the subnet \(network) has no address left for a gateway")
                }
                gateway = network.address.with(value: candidate)
            }
        }
        if let gateway { reserved.insert(gateway.value) }
        self.first = first
        self.last = last
        lowest = first <= last ? first : nil
        subnet = Subnet(
            network: network, range: request.range?.network, gateway: gateway, auxiliary: request.auxiliary)
    }

    mutating func take(_ address: IPAddress) throws(NetworkingError) {
        let network = subnet.network
        let bare = network.address.bitWidth - network.prefixLength < 2
        if !bare, address == network.firstAddress || (!network.isIPv6 && address == network.lastAddress) {
            throw NetworkingError(
                .invalid, "invalid address \(address): it is the subnet's own or its broadcast address (\(network))")
        }
        guard !reserved.contains(address.value), taken.insert(address.value).inserted else {
            throw NetworkingError(.conflict, "Address already in use: \(address)")
        }
        resting.removeAll { $0 == address.value }
    }

    mutating func takeNext() -> IPAddress? {
        while let candidate = lowest {
            lowest = candidate < last ? candidate + 1 : nil
            if taken.contains(candidate) || reserved.contains(candidate) || resting.contains(candidate) { continue }
            taken.insert(candidate)
            return subnet.network.address.with(value: candidate)
        }
        guard let index = resting.firstIndex(where: { (first...last).contains($0) }) else { return nil }
        let oldest = resting.remove(at: index)
        taken.insert(oldest)
        return subnet.network.address.with(value: oldest)
    }

    mutating func release(_ address: IPAddress) {
        guard taken.remove(address.value) != nil, first <= last, (first...last).contains(address.value) else { return }
        resting.append(address.value)
        guard resting.count > SubnetLeases.restingMaximum else { return }
        let rested = resting.removeFirst()
        lowest = min(lowest ?? rested, rested)
    }
}
