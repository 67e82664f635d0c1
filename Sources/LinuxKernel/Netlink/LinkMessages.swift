import CLinux
import Glibc

/// Which link is meant.
public enum LinkReference: Sendable, Equatable {
    case name(String)
    case index(Int32)
}

/// A veth pair to be made.
public struct VethPair: Sendable {
    /// The end in the socket's namespace.
    public var name: String
    /// The bridge that it becomes a port of, by index.
    public var master: Int32?
    public var peerName: String
    public var peerMAC: MACAddress?
    /// The namespace of the other end, a descriptor.
    public var peerNamespace: Int32
    /// In bytes, of both ends.
    public var mtu: Int?

    public init(
        name: String, master: Int32?, peerName: String, peerMAC: MACAddress?, peerNamespace: Int32, mtu: Int?
    ) {
        self.name = name
        self.master = master
        self.peerName = peerName
        self.peerMAC = peerMAC
        self.peerNamespace = peerNamespace
        self.mtu = mtu
    }
}

/// What to change of a link; nil leaves a property alone.
public struct LinkChange: Sendable {
    public var isUp: Bool?
    public var name: String?
    public var mtu: Int?
    public var mac: MACAddress?
    /// A bridge's index; 0 takes the link out of its bridge.
    public var master: Int32?
    /// Moves the link there: a descriptor.
    public var namespace: Int32?
    /// Free text that `ip link` shows.
    public var alias: String?
    /// Whether the link makes an IPv6 link-local address for itself.
    public var makesIPv6Address: Bool?
    /// Packets from and to 127.0.0.0/8 are routed over the link (ip-sysctl, `route_localnet`).
    public var routesLoopback: Bool?
    /// The neighbours are told of the link's IPv4 addresses when it is set up (ip-sysctl, `arp_notify`).
    public var announcesAddresses: Bool?
    /// A bridge port sends frames also back where they came from.
    public var hairpin: Bool?
    /// A bridge port reaches no other isolated port.
    public var isolated: Bool?

    public init() {}
}

/// A link as the kernel describes it.
public struct Link: Sendable, Equatable {
    public var index: Int32
    public var name: String
    public var isUp: Bool
    public var mtu: Int
    public var mac: MACAddress?
    /// Index of the bridge (or bond …) that it is a port of.
    public var master: Int32?
    /// `bridge`, `veth`, `macvlan` …; nil for hardware and the loopback.
    public var kind: String?
    public var alias: String?
    public var statistics: LinkStatistics
}

/// Counters since the link was made (linux/if_link.h, `struct rtnl_link_stats64`).
public struct LinkStatistics: Sendable, Equatable {
    public var receivedPackets: UInt64 = 0
    public var sentPackets: UInt64 = 0
    public var receivedBytes: UInt64 = 0
    public var sentBytes: UInt64 = 0
    public var receiveErrors: UInt64 = 0
    public var sendErrors: UInt64 = 0
    public var receiveDropped: UInt64 = 0
    public var sendDropped: UInt64 = 0

    public init() {}
}

/// The longest name of a link, without the NUL (IFNAMSIZ - 1).
public let maximumLinkNameLength = 15

extension NetlinkMessage {
    /// `struct ifinfomsg`.
    private mutating func appendLinkHeader(index: Int32 = 0, flags: UInt32 = 0, change: UInt32 = 0) {
        append(UInt8(AF_UNSPEC))
        append(UInt8(0))
        append(UInt16(0))
        append(index)
        append(flags)
        append(change)
    }

    private mutating func append(_ link: LinkReference, flags: UInt32 = 0, change: UInt32 = 0) {
        switch link {
        case .index(let index): appendLinkHeader(index: index, flags: flags, change: change)
        case .name(let name):
            appendLinkHeader(flags: flags, change: change)
            attribute(IFLA_IFNAME, text: name)
        }
    }

    private static func make(_ name: String, _ fill: (inout NetlinkMessage) -> Void) -> NetlinkMessage {
        var message = NetlinkMessage(type: RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL)
        message.appendLinkHeader()
        message.attribute(IFLA_IFNAME, text: name)
        fill(&message)
        return message
    }

    private mutating func kind(_ kind: String, _ data: ((inout NetlinkMessage) -> Void)? = nil) {
        nested(IFLA_LINKINFO) {
            $0.attribute(IFLA_INFO_KIND, text: kind)
            if let data { $0.nested(IFLA_INFO_DATA, data) }
        }
    }

    // MARK: New links. All of them are down.

    /// A bridge without spanning tree. A MAC address of its own keeps it from taking over that of its lowest port.
    public static func makeBridge(name: String, mac: MACAddress, mtu: Int?) -> NetlinkMessage {
        make(name) {
            $0.attribute(IFLA_ADDRESS, mac.bytes)
            if let mtu { $0.attribute(IFLA_MTU, UInt32(mtu)) }
            $0.kind("bridge") {
                $0.attribute(IFLA_BR_STP_STATE, UInt32(0))
                $0.attribute(IFLA_BR_FORWARD_DELAY, UInt32(0))
            }
        }
    }

    /// A veth pair, with its other end in another namespace and this one in its bridge, by one message.
    public static func makeVeth(_ pair: VethPair) -> NetlinkMessage {
        make(pair.name) {
            if let mtu = pair.mtu { $0.attribute(IFLA_MTU, UInt32(mtu)) }
            if let master = pair.master { $0.attribute(IFLA_MASTER, master) }
            $0.kind("veth") {
                $0.nested(Int(VETH_INFO_PEER)) {
                    $0.appendLinkHeader()
                    $0.attribute(IFLA_IFNAME, text: pair.peerName)
                    if let mac = pair.peerMAC { $0.attribute(IFLA_ADDRESS, mac.bytes) }
                    if let mtu = pair.mtu { $0.attribute(IFLA_MTU, UInt32(mtu)) }
                    $0.attribute(IFLA_NET_NS_FD, pair.peerNamespace)
                }
            }
        }
    }

    /// A macvlan on the link `parent`, in the namespace that the descriptor `namespace` refers to.
    public static func makeMacvlan(
        name: String, parent: Int32, mode: MacvlanMode, mac: MACAddress, mtu: Int?, namespace: Int32
    ) -> NetlinkMessage {
        make(name) {
            $0.attribute(IFLA_LINK, parent)
            $0.attribute(IFLA_ADDRESS, mac.bytes)
            if let mtu { $0.attribute(IFLA_MTU, UInt32(mtu)) }
            $0.attribute(IFLA_NET_NS_FD, namespace)
            $0.kind("macvlan") { $0.attribute(Int(IFLA_MACVLAN_MODE), mode.rawValue) }
        }
    }

    /// An intermediate functional block: where the ingress of another link is queued.
    public static func makeIfb(name: String) -> NetlinkMessage {
        make(name) { $0.kind("ifb") }
    }

    // MARK: Existing links

    public static func changeLink(_ link: LinkReference, _ change: LinkChange) -> NetlinkMessage {
        var message = NetlinkMessage(type: RTM_NEWLINK)
        let up = UInt32(IFF_UP)
        message.append(link, flags: change.isUp == true ? up : 0, change: change.isUp == nil ? 0 : up)
        if let name = change.name { message.attribute(IFLA_IFNAME, text: name) }
        if let mtu = change.mtu { message.attribute(IFLA_MTU, UInt32(mtu)) }
        if let mac = change.mac { message.attribute(IFLA_ADDRESS, mac.bytes) }
        if let master = change.master { message.attribute(IFLA_MASTER, master) }
        if let namespace = change.namespace { message.attribute(IFLA_NET_NS_FD, namespace) }
        if let alias = change.alias { message.attribute(IFLA_IFALIAS, text: alias) }
        message.appendFamilySettings(change)
        if change.hairpin != nil || change.isolated != nil {
            message.nested(IFLA_LINKINFO) {
                $0.attribute(IFLA_INFO_SLAVE_KIND, text: "bridge")
                $0.nested(IFLA_INFO_SLAVE_DATA) {
                    if let hairpin = change.hairpin { $0.attribute(IFLA_BRPORT_MODE, UInt8(hairpin ? 1 : 0)) }
                    if let isolated = change.isolated { $0.attribute(IFLA_BRPORT_ISOLATED, UInt8(isolated ? 1 : 0)) }
                }
            }
        }
        return message
    }

    private mutating func appendFamilySettings(_ change: LinkChange) {
        let ipv4: [(setting: Int, value: Bool)] = [
            (NetlinkMessage.routeLocalnet, change.routesLoopback),
            (NetlinkMessage.arpNotify, change.announcesAddresses),
        ].compactMap { setting, value in value.map { (setting, $0) } }
        guard change.makesIPv6Address != nil || !ipv4.isEmpty else { return }
        nested(IFLA_AF_SPEC) {
            if let makes = change.makesIPv6Address {
                let mode = makes ? IN6_ADDR_GEN_MODE_EUI64 : IN6_ADDR_GEN_MODE_NONE
                $0.nested(Int(AF_INET6)) { $0.attribute(IFLA_INET6_ADDR_GEN_MODE, UInt8(mode.rawValue)) }
            }
            if !ipv4.isEmpty {
                $0.nested(Int(AF_INET)) {
                    $0.nested(Int(IFLA_INET_CONF)) {
                        for (setting, value) in ipv4 { $0.attribute(setting, UInt32(value ? 1 : 0)) }
                    }
                }
            }
        }
    }

    // `IPV4_DEVCONF_*` of linux/ip.h, which can't be imported beside glibc's headers.
    private static let arpNotify = 22
    private static let routeLocalnet = 26

    public static func removeLink(_ link: LinkReference) -> NetlinkMessage {
        var message = NetlinkMessage(type: RTM_DELLINK)
        message.append(link)
        return message
    }

    public static func getLink(_ link: LinkReference) -> NetlinkMessage {
        var message = NetlinkMessage(type: RTM_GETLINK)
        message.append(link)
        return message
    }

    /// All links, for ``NetlinkSocket/dump(_:_:)``.
    public static func listLinks() -> NetlinkMessage {
        var message = NetlinkMessage(type: RTM_GETLINK, flags: NLM_F_ROOT | NLM_F_MATCH)
        message.appendLinkHeader()
        return message
    }
}

extension Link {
    /// nil for what isn't a link.
    public init?(_ reply: NetlinkReply) {
        guard reply.type == RTM_NEWLINK, let index: Int32 = reply.payload.number(at: 4),
            let flags: UInt32 = reply.payload.number(at: 8)
        else { return nil }
        let attributes = reply.attributes(after: 16)
        guard let name = attributes.text(IFLA_IFNAME) else { return nil }
        self.index = index
        self.name = name
        isUp = flags & UInt32(IFF_UP) != 0
        mtu = Int(attributes.number(IFLA_MTU) as UInt32? ?? 0)
        mac = attributes[IFLA_ADDRESS].flatMap { MACAddress(bytes: $0) }
        master = attributes.number(IFLA_MASTER)
        kind = attributes.nested(IFLA_LINKINFO)?.text(IFLA_INFO_KIND)
        alias = attributes.text(IFLA_IFALIAS)
        statistics = attributes[IFLA_STATS64].map(LinkStatistics.init) ?? LinkStatistics()
    }
}

extension LinkStatistics {
    init(_ bytes: ArraySlice<UInt8>) {
        func counter(_ position: Int) -> UInt64 { bytes.number(at: position * 8) ?? 0 }
        receivedPackets = counter(0)
        sentPackets = counter(1)
        receivedBytes = counter(2)
        sentBytes = counter(3)
        receiveErrors = counter(4)
        sendErrors = counter(5)
        receiveDropped = counter(6)
        sendDropped = counter(7)
    }
}
