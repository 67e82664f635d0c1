import Glibc
import LinuxKernel

/// A Linux bridge has 1,023 ports at most (BR_MAX_PORTS of net/bridge/br_private.h). What comes beyond that hangs on
/// further bridges, its shards, each tied to the network's bridge by a veth pair. They are one Ethernet: addresses,
/// routes and rules know the network's bridge only.
extension Links {
    private func shardAlias(_ bridge: String) -> String { "\(aliasPrefix)shard of \(bridge)" }

    /// The bridge that a link is a shard of, or ties a shard to.
    func shardedBridge(_ link: Link) -> String? {
        let prefix = shardAlias("")
        guard let alias = link.alias, alias.hasPrefix(prefix) else { return nil }
        return String(alias.dropFirst(prefix.count))
    }

    /// Shards and what ties them to the bridge.
    private func shardLinks(of bridge: String) throws(NetworkingError) -> [Link] {
        try links().filter { shardedBridge($0) == bridge }
    }

    func removeShards(of bridge: String) throws(NetworkingError) {
        let shards = try shardLinks(of: bridge)
        try sentence("the bridge \(bridge)'s shards can't be removed") { () throws(NetlinkError) in
            try socket.remove(shards.map { .index($0.index) })
        }
    }

    /// The newest first: it is the one that has room, if any has.
    func shards(of bridge: Link) throws(NetworkingError) -> [Link] {
        try shardLinks(of: bridge.name).filter { $0.kind == "bridge" }.reversed()
    }

    /// A new shard, tied to the bridge. The caller holds ``sharding``.
    func makeShard(of bridge: Link, isolated: Bool) throws(NetworkingError) -> Link {
        let beginning = "the bridge \(bridge.name) has all of its 1,023 ports and can't be extended"
        // The cable needs a port of the full bridge: a container moves to the shard.
        let movable = try links().first { $0.master == bridge.index && $0.kind == "veth" && $0.alias == nil }
        guard let movable else {
            throw NetworkingError(.conflict, "\(beginning): none of them is a container's, which could move")
        }
        let name = try newBridgeName()
        // Both ends of the cable stay in the daemon's namespace.
        let cable = (bridge: randomName(.veth), shard: randomName(.veth))
        var property = LinkChange()
        property.isUp = true
        property.makesIPv6Address = Sysctl.hasIPv6 ? false : nil
        property.alias = shardAlias(bridge.name)
        do throws(NetworkingError) {
            return try sentence(beginning) { () throws(NetlinkError) in
                try socket.performAll([
                    .makeBridge(name: name, mac: .random(), mtu: bridge.mtu), .changeLink(.name(name), property),
                ])
                guard let shard = try socket.link(.name(name)) else {
                    throw NetlinkError("find \(name)", errno: ENODEV)
                }
                try makeCable(cable.shard, cable.bridge, shard, property)
                try exchange(movable, for: cable.bridge, bridge, shard, isolated: isolated)
                return shard
            }
        } catch {
            try? sentence(beginning) { () throws(NetlinkError) in
                try socket.remove([.name(cable.bridge), .name(name)])
            }
            throw error
        }
    }

    private func makeCable(
        _ name: String, _ other: String, _ shard: Link, _ property: LinkChange
    ) throws(NetlinkError) {
        let own: FileDescriptor
        do throws(SystemError) {
            own = try FileDescriptor("/proc/thread-self/ns/net", O_RDONLY)
        } catch {
            throw NetlinkError("open the daemon's network namespace", errno: error.errno)
        }
        let pair = VethPair(
            name: name, master: shard.index, peerName: other, peerMAC: nil, peerNamespace: own.raw, mtu: shard.mtu)
        try socket.performAll([
            .makeVeth(pair), .changeLink(.name(name), property), .changeLink(.name(other), property),
        ])
    }

    /// Moves a container's port to the shard, and puts the cable to the shard in its place.
    private func exchange(
        _ movable: Link, for cable: String, _ bridge: Link, _ shard: Link, isolated: Bool
    ) throws(NetlinkError) {
        func port(_ link: LinkReference, of master: Link) -> [NetlinkMessage] {
            var change = LinkChange()
            change.master = master.index
            // A port's properties are lost with its bridge.
            return [.changeLink(link, change), .changeLink(link, portProperties(isolated: isolated))]
        }
        do throws(NetlinkError) {
            try socket.performAll(port(.index(movable.index), of: shard) + port(.name(cable), of: bridge))
        } catch {
            try? socket.performAll(port(.index(movable.index), of: bridge))
            throw error
        }
    }
}
