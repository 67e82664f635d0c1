import Glibc
import LinuxKernel
import Synchronization

/// The kernel's links of one daemon: bridges, and the interfaces of its containers.
///
/// Every call is a few messages on a netlink socket and blocks for well under a millisecond, unless the kernel's one
/// lock for all links (RTNL) is held by somebody else. May be used from several threads.
public final class Links: Sendable {
    /// 8 hex digits that all names carry.
    public let instance: String
    let socket: NetlinkSocket
    /// Whether forwarding is turned on where it is off.
    let enablesForwarding: Bool
    let sharding = Mutex(())

    /// Works in the network namespace of the calling thread from here on.
    ///
    /// - Parameter enablesForwarding: false: the host's settings stay, and without them containers reach nothing beyond it.
    public init(instance: String, enablesForwarding: Bool = true) throws(NetworkingError) {
        self.instance = instance
        self.enablesForwarding = enablesForwarding
        do throws(SystemError) {
            socket = try NetlinkSocket()
        } catch {
            throw NetworkingError(.system, "networks can't be set up: \(error)")
        }
    }

    // MARK: Names

    /// What the names of links begin with, before the instance.
    enum NamePrefix: String, CaseIterable {
        case bridge = "br"
        case veth = "ve"
        case ifb = "if"
    }

    private static let randomDigits = 5
    static let maximumNameAttempts = 16

    func randomName(_ prefix: NamePrefix) -> String {
        let digits = String(UInt32.random(in: 0..<(1 << 20)), radix: 16)
        let zeros = String(repeating: "0", count: Links.randomDigits - digits.utf8.count)
        return prefix.rawValue + instance + zeros + digits
    }

    /// The ifb that belongs to the host's end of a veth pair.
    static func ifbName(_ hostName: String) -> String {
        NamePrefix.ifb.rawValue + hostName.dropFirst(NamePrefix.veth.rawValue.count)
    }

    /// What the aliases of our bridges begin with.
    var aliasPrefix: String { "mycontainer \(instance) " }

    private func isOurs(_ link: Link) -> Bool {
        let hasName = NamePrefix.allCases.contains { link.name.hasPrefix($0.rawValue + instance) }
        return hasName && link.name.utf8.count == maximumLinkNameLength
            || link.alias?.hasPrefix(aliasPrefix) == true
    }

    // MARK: The host

    /// Names of the links in the daemon's namespace that carry our instance: bridges, veths, ifbs. What no record names
    /// is to be removed.
    public func leftovers() throws(NetworkingError) -> [String] {
        let links = try links()
        let names = Set(links.map(\.name))
        // A bridge's shards go with it, and are nobody's leftovers before.
        return links.filter { isOurs($0) && shardedBridge($0).map(names.contains) != true }.map(\.name)
    }

    /// Removes a link of the daemon's namespace, a bridge with its shards; no error where it is gone.
    public func remove(_ name: String) throws(NetworkingError) {
        try removeShards(of: name)
        try sentence("the interface \(name) can't be removed") { () throws(NetlinkError) in
            try socket.remove([.name(name)])
        }
    }

    /// The subnets that the host has addresses in or routes to, default routes left out; those on our own bridges too.
    public func hostNetworks() throws(NetworkingError) -> [HostNetwork] {
        try sentence("the host's addresses and routes can't be read") { () throws(NetlinkError) in
            let names = try socket.links().reduce(into: [Int32: String]()) { $0[$1.index] = $1.name }
            var networks = try socket.addresses().map {
                HostNetwork(network: $0.address.network, interface: names[$0.index])
            }
            for isIPv6 in [false, true] {
                networks += try socket.routes(ipv6: isIPv6).filter { !$0.isDefault }.map {
                    HostNetwork(network: $0.destination, interface: $0.index.flatMap { names[$0] })
                }
            }
            return networks.filter { !$0.network.address.isLoopback && !$0.network.address.isLinkLocal }
        }
    }

    func links() throws(NetworkingError) -> [Link] {
        try sentence("the host's interfaces can't be listed") { () throws(NetlinkError) in try socket.links() }
    }

    func link(_ name: String) throws(NetworkingError) -> Link? {
        try sentence("the interface \(name) can't be looked at") { () throws(NetlinkError) in
            try socket.link(.name(name))
        }
    }
}

/// Runs `body`, whose failure becomes a sentence that begins with `beginning`.
func sentence<Result>(
    _ beginning: @autoclosure () -> String, _ body: () throws(NetlinkError) -> Result
) throws(NetworkingError) -> Result {
    do throws(NetlinkError) {
        return try body()
    } catch {
        throw NetworkingError(error, beginning())
    }
}

extension NetworkingError {
    init(_ error: NetlinkError, _ beginning: String) {
        let advice: String
        switch error.errno {
        case EPERM: advice = "; the daemon needs CAP_NET_ADMIN in its network namespace"
        case EOPNOTSUPP: advice = "; this kernel lacks it, perhaps as a module that can't be loaded"
        default: advice = ""
        }
        self.init(.system, "\(beginning): \(error.reason)\(advice)")
    }
}

extension NetlinkSocket {
    func links() throws(NetlinkError) -> [Link] {
        try dump("list interfaces", .listLinks()).compactMap(Link.init)
    }

    /// nil where there is none.
    func link(_ reference: LinkReference) throws(NetlinkError) -> Link? {
        do throws(NetlinkError) {
            return Link(try get("look at an interface", .getLink(reference)))
        } catch {
            if error.errno == ENODEV { return nil }
            throw error
        }
    }

    func addresses() throws(NetlinkError) -> [InterfaceAddress] {
        try dump("list addresses", .listAddresses()).compactMap(InterfaceAddress.init)
    }

    func routes(ipv6: Bool) throws(NetlinkError) -> [Route] {
        do throws(NetlinkError) {
            return try dump("list routes", .listRoutes(ipv6: ipv6)).compactMap(Route.init)
        } catch {
            // Without the ipv6 module there is nobody to ask.
            if ipv6, error.errno == EOPNOTSUPP || error.errno == EAFNOSUPPORT { return [] }
            throw error
        }
    }

    /// Removes links; those that are gone already don't count.
    func remove(_ references: [LinkReference]) throws(NetlinkError) {
        try performAll(references.map { .removeLink($0) }, tolerating: [ENODEV])
    }

    /// Sends the messages at once and throws the first failure that isn't tolerated.
    func performAll(_ messages: [NetlinkMessage], tolerating: Set<Int32> = []) throws(NetlinkError) {
        for case let failure? in try perform(messages) where !tolerating.contains(failure.errno) { throw failure }
    }
}
