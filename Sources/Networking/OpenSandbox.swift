import Glibc
import LinuxKernel

/// What is done inside a network namespace through descriptors that were opened there.
struct OpenSandbox: ~Copyable {
    let namespace: FileDescriptor
    let netlink: NetlinkSocket
    private let ipv6Settings: FileDescriptor?
    private let resolver: ResolverSockets?

    init(_ descriptors: consuming SandboxDescriptors) {
        namespace = descriptors.namespace
        netlink = NetlinkSocket(adopting: descriptors.netlink)
        ipv6Settings = descriptors.ipv6Settings
        resolver = descriptors.resolver
    }

    func resolverSockets() throws(NetworkingError) -> ResolverSockets? {
        switch resolver {
        case .none: return nil
        case .some(let sockets):
            do throws(SystemError) {
                return ResolverSockets(udp: try sockets.udp.duplicate(), tcp: try sockets.tcp.duplicate())
            } catch {
                throw NetworkingError(.system, "the container's names can't be served: \(error)")
            }
        }
    }

    /// The ifb through which the container's own interface receives, where it has no end on the host.
    static func ifbName(_ interfaceName: String) -> String {
        String("ifb-\(interfaceName)".prefix(maximumLinkNameLength))
    }

    func counters() throws(NetworkingError) -> [String: InterfaceCounters] {
        let links = try sentence("the container's interfaces can't be listed") { () throws(NetlinkError) in
            try netlink.links()
        }
        return links.reduce(into: [:]) { result, link in
            if link.name != "lo", link.kind != "ifb" { result[link.name] = InterfaceCounters(link.statistics) }
        }
    }

    func has(_ name: String) throws(NetworkingError) -> Bool {
        try sentence("the container's interface \(name) can't be looked at") { () throws(NetlinkError) in
            try netlink.link(.name(name)) != nil
        }
    }

    func rename(_ name: String, _ newName: String) throws(NetworkingError) {
        try sentence("the container's interface can't be named \(newName)") { () throws(NetlinkError) in
            guard let link = try netlink.link(.name(name)) else { throw NetlinkError("find \(name)", errno: ENODEV) }
            var change = LinkChange()
            change.name = newName
            try netlink.performAll([.changeLink(.index(link.index), change)])
        }
    }

    func remove(_ name: String) throws(NetworkingError) {
        try sentence("the container's interface \(name) can't be removed") { () throws(NetlinkError) in
            try netlink.remove([.name(name)])
        }
    }

    /// Gives the interface its addresses and routes, and sets it up.
    func configure(_ plan: EndpointPlan) throws(NetworkingError) {
        let name = plan.interfaceName
        if plan.addresses.contains(where: \.isIPv6) { try enableIPv6(name) }
        try sentence("the interface \(name) can't be configured") { () throws(NetlinkError) in
            guard let link = try netlink.link(.name(name)) else { throw NetlinkError("find \(name)", errno: ENODEV) }
            // Neighbours may know the address with the MAC address of who had it before.
            var announcing = LinkChange()
            announcing.announcesAddresses = true
            var up = LinkChange()
            up.isUp = true
            var messages: [NetlinkMessage] = plan.addresses.map { .addAddress($0, index: link.index) }
            messages += [.changeLink(.index(link.index), announcing), .changeLink(.index(link.index), up)]
            messages += plan.routes.map { .setRoute(to: $0.destination, via: $0.gateway, index: link.index) }
            for gateway in plan.gateways {
                messages += defaultRoute(gateway, index: link.index, addresses: plan.addresses)
            }
            try netlink.performAll(messages)
        }
    }

    /// A gateway outside the interface's subnets is made reachable first.
    private func defaultRoute(_ gateway: IPAddress, index: Int32, addresses: [IPNetwork]) -> [NetlinkMessage] {
        let everything = IPNetwork(gateway.isIPv6 ? .anyIPv6 : .anyIPv4, prefixLength: 0)!
        let route = NetlinkMessage.setRoute(to: everything, via: gateway, index: index)
        let isReachable = gateway.isLinkLocal || addresses.contains { $0.contains(gateway) }
        return isReachable ? [route] : [.setRoute(to: IPNetwork(host: gateway), via: nil, index: index), route]
    }

    /// New interfaces of a sandbox have IPv6 off. No duplicate address detection: addresses are ours to hand out, and it
    /// takes a second. No router advertisements: a neighbour could be the router (CVE-2020-13401).
    private func enableIPv6(_ name: String) throws(NetworkingError) {
        switch ipv6Settings {
        case .none: try Sysctl.requireIPv6()
        case .some(let directory):
            for (setting, value) in [("accept_dad", "0"), ("accept_ra", "0"), ("disable_ipv6", "0")] {
                try Sysctl.write(
                    "\(name)/\(setting)", value, below: directory.raw, "the interface \(name) can't have IPv6")
            }
        }
    }

    func setDefaultRoutes(_ routes: [DefaultRoute]) throws(NetworkingError) {
        try sentence("the container's default routes can't be changed") { () throws(NetlinkError) in
            let links = try netlink.links().reduce(into: [String: Int32]()) { $0[$1.name] = $1.index }
            let addresses = try netlink.addresses()
            var messages: [NetlinkMessage] = []
            for isIPv6 in [false, true] {
                for old in try netlink.routes(ipv6: isIPv6) where old.isDefault && old.index != nil {
                    let stays = routes.contains {
                        $0.gateway == old.gateway && links[$0.interfaceName] == old.index
                    }
                    if !stays { messages.append(.removeRoute(old)) }
                }
            }
            for route in routes {
                guard let index = links[route.interfaceName] else {
                    throw NetlinkError("find \(route.interfaceName)", errno: ENODEV)
                }
                messages += defaultRoute(
                    route.gateway, index: index, addresses: addresses.filter { $0.index == index }.map(\.address))
            }
            try netlink.performAll(messages, tolerating: [ESRCH])
        }
    }
}

extension InterfaceCounters {
    init(_ statistics: LinkStatistics) {
        receivedBytes = statistics.receivedBytes
        receivedPackets = statistics.receivedPackets
        receiveErrors = statistics.receiveErrors
        receiveDropped = statistics.receiveDropped
        sentBytes = statistics.sentBytes
        sentPackets = statistics.sentPackets
        sendErrors = statistics.sendErrors
        sendDropped = statistics.sendDropped
    }
}
