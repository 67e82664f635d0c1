import Glibc
import LinuxKernel

extension Links {
    /// `br<instance><5 hex>`, not taken when it is made.
    public func newBridgeName() throws(NetworkingError) -> String {
        for _ in 0..<Links.maximumNameAttempts {
            let name = randomName(.bridge)
            if try link(name) == nil { return name }
        }
        throw NetworkingError(.conflict, "no free name for a bridge was found")
    }

    /// Makes the bridge, or brings one that exists into the shape that the plan says; up afterwards. Forwarding is turned
    /// on where it is off.
    /// - Throws: `.conflict` when the name is taken by something that isn't a bridge, or by another network's.
    public func ensureBridge(_ plan: BridgePlan) throws(NetworkingError) {
        let hasIPv6 = plan.gateways.contains { $0.isIPv6 }
        if hasIPv6 { try Sysctl.requireIPv6() }
        guard (1...maximumLinkNameLength).contains(plan.name.utf8.count) else {
            throw NetworkingError(
                .invalid,
                "the bridge name \"\(plan.name)\" is refused: an interface's name has 1 to \(maximumLinkNameLength) bytes"
            )
        }
        let (bridge, isNew) = try findOrMake(plan)
        do throws(NetworkingError) {
            try configure(bridge, plan, isOurs: isNew || bridge.alias?.hasPrefix(aliasPrefix) == true)
            if enablesForwarding {
                try enableForwarding(ipv6: false)
                if hasIPv6 { try enableForwarding(ipv6: true) }
            }
        } catch {
            if isNew { try? remove(plan.name) }
            throw error
        }
    }

    private func findOrMake(_ plan: BridgePlan) throws(NetworkingError) -> (Link, isNew: Bool) {
        if let existing = try link(plan.name) { return (try accept(existing, plan), false) }
        let failure = try sentence("the bridge \(plan.name) can't be made") { () throws(NetlinkError) in
            try socket.perform([.makeBridge(name: plan.name, mac: .random(), mtu: plan.mtu)])[0]
        }
        if let failure, failure.errno != EEXIST {
            throw NetworkingError(failure, "the bridge \(plan.name) can't be made")
        }
        guard let made = try link(plan.name) else {
            throw NetworkingError(.system, "the bridge \(plan.name) was removed by somebody as it was made")
        }
        return failure == nil ? (made, true) : (try accept(made, plan), false)
    }

    private func accept(_ existing: Link, _ plan: BridgePlan) throws(NetworkingError) -> Link {
        guard existing.kind == "bridge" else {
            throw NetworkingError(
                .conflict,
                "the bridge name \(plan.name) is taken by an interface that isn't a bridge (\(existing.kind ?? "hardware")); "
                    + "choose another name for the network's bridge")
        }
        if let alias = existing.alias, alias.hasPrefix("mycontainer "), alias != aliasPrefix + plan.networkID {
            throw NetworkingError(
                .conflict,
                "the bridge name \(plan.name) is taken by another network (\(alias)); choose another name")
        }
        return existing
    }

    /// - Parameter isOurs: also takes away addresses that aren't in the plan, and marks the bridge.
    private func configure(_ bridge: Link, _ plan: BridgePlan, isOurs: Bool) throws(NetworkingError) {
        let hasIPv6 = plan.gateways.contains { $0.isIPv6 }
        // Before it is up, so that no packet leaves for an address that nobody wanted. Containers must not be able to
        // give the host a router (CVE-2020-13401).
        if hasIPv6 {
            try Sysctl.write("ipv6/conf/\(plan.name)/disable_ipv6", "0", "the bridge \(plan.name) can't have IPv6")
            try? Sysctl.write("ipv6/conf/\(plan.name)/accept_dad", "0", "")
        } else if isOurs {
            try? Sysctl.write("ipv6/conf/\(plan.name)/disable_ipv6", "1", "")
        }
        if isOurs { try? Sysctl.write("ipv6/conf/\(plan.name)/accept_ra", "0", "") }
        if plan.isolatesPorts {
            let consequence = "containers on the bridge \(plan.name), which are kept apart, can't be linked"
            try Sysctl.write("ipv4/conf/\(plan.name)/proxy_arp_pvlan", "1", consequence)
            // Who answers for others waits for them to answer first, 0.8 s by default; here they can't.
            try Sysctl.write("ipv4/neigh/\(plan.name)/proxy_delay", "0", consequence)
        }

        var change = LinkChange()
        change.isUp = true
        // What is published on the host's 127.0.0.1 is rewritten to the container's address and leaves over the bridge.
        change.routesLoopback = true
        if let mtu = plan.mtu, mtu != bridge.mtu { change.mtu = mtu }
        if isOurs, bridge.alias == nil { change.alias = aliasPrefix + plan.networkID }
        try sentence("the bridge \(plan.name) can't be configured") { () throws(NetlinkError) in
            let current = try socket.addresses().filter { $0.index == bridge.index && !$0.address.address.isLinkLocal }
            let surplus = isOurs ? current.filter { !plan.gateways.contains($0.address) } : []
            try socket.performAll(
                surplus.map { .removeAddress($0.address, index: bridge.index) }, tolerating: [EADDRNOTAVAIL])
            let missing = plan.gateways.filter { gateway in !current.contains { $0.address == gateway } }
            try socket.performAll(
                [.changeLink(.index(bridge.index), change)]
                    + missing.map { .addAddress($0, index: bridge.index) }, tolerating: [EEXIST])
        }
    }

    /// Removes the bridge unless it wasn't made by us (then only the plan's addresses go); no error where it is gone.
    public func removeBridge(_ plan: BridgePlan) throws(NetworkingError) {
        try removeShards(of: plan.name)
        guard let bridge = try link(plan.name), bridge.kind == "bridge" else { return }
        try sentence("the bridge \(plan.name) can't be removed") { () throws(NetlinkError) in
            if bridge.alias?.hasPrefix(aliasPrefix) == true {
                try socket.remove([.index(bridge.index)])
            } else {
                try socket.performAll(
                    plan.gateways.map { .removeAddress($0, index: bridge.index) },
                    tolerating: [EADDRNOTAVAIL, ENODEV])
            }
        }
    }

    // MARK: Forwarding

    /// The kernel forwards packets between interfaces from here on.
    /// - Throws: a sentence that says what to do, where the host doesn't allow to change it.
    public func enableForwarding(ipv6: Bool) throws(NetworkingError) {
        let name = ipv6 ? "ipv6/conf/all/forwarding" : "ipv4/ip_forward"
        if ipv6 { try Sysctl.requireIPv6() }
        if Sysctl.read(name) == "1" { return }
        if ipv6 { try keepAdvertisedRoutes() }
        try Sysctl.write(
            name, "1",
            "\(ipv6 ? "IPv6" : "IPv4") forwarding is off on this host and can't be turned on, so containers would reach "
                + "nothing beyond it (set the sysctl net.\(name.replacingSlashes) to 1)")
    }

    /// A host that forwards IPv6 stops listening to routers (ip-sysctl, `accept_ra`) and would lose its default route:
    /// interfaces that have one from there are told to go on listening.
    private func keepAdvertisedRoutes() throws(NetworkingError) {
        let names = try sentence("the host's IPv6 routes can't be read") { () throws(NetlinkError) in
            let indices = Set(try socket.routes(ipv6: true).filter(\.isFromRouterAdvertisement).compactMap(\.index))
            return indices.isEmpty ? [] : try socket.links().filter { indices.contains($0.index) }.map(\.name)
        }
        for name in names where Sysctl.read("ipv6/conf/\(name)/accept_ra") == "1" {
            try Sysctl.write(
                "ipv6/conf/\(name)/accept_ra", "2",
                "\(name) has its routes from a router's advertisements and would lose them with IPv6 forwarding")
        }
    }
}

extension String {
    /// A sysctl's path as users write it.
    fileprivate var replacingSlashes: String { String(map { $0 == "/" ? "." : $0 }) }
}
