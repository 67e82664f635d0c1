import CLinux
import Glibc

/// An address of an interface.
public struct InterfaceAddress: Sendable, Equatable {
    public var index: Int32
    /// With the prefix of its subnet.
    public var address: IPNetwork
}

/// A unicast route of the main table.
public struct Route: Sendable, Equatable {
    public var destination: IPNetwork
    public var gateway: IPAddress?
    /// The interface that it leaves by; nil for several next hops.
    public var index: Int32?
    /// Who made it (linux/rtnetlink.h, `RTPROT_*`).
    public var origin: UInt8

    /// Learnt from a router's advertisement.
    public var isFromRouterAdvertisement: Bool { origin == RTPROT_RA }
    public var isDefault: Bool { destination.prefixLength == 0 }
}

extension NetlinkMessage {
    private static func address(
        type: Int, flags: Int32, _ address: IPNetwork, index: Int32, options: UInt32
    ) -> NetlinkMessage {
        var message = NetlinkMessage(type: type, flags: flags)
        // struct ifaddrmsg: family, prefix length, flags, scope, index.
        message.append(UInt8(address.isIPv6 ? AF_INET6 : AF_INET))
        message.append(UInt8(address.prefixLength))
        message.append(UInt8(0))
        message.append(UInt8(RT_SCOPE_UNIVERSE.rawValue))
        message.append(index)
        message.attribute(Int(IFA_LOCAL), address.address.bytes)
        message.attribute(Int(IFA_ADDRESS), address.address.bytes)
        if !address.isIPv6, address.prefixLength < 31 {
            message.attribute(Int(IFA_BROADCAST), address.lastAddress.bytes)
        }
        if options != 0 { message.attribute(Int(IFA_FLAGS), options) }
        return message
    }

    /// Adds an address. IPv6: without duplicate address detection, which would keep it unusable for a second, and which
    /// our own address management makes pointless.
    public static func addAddress(_ address: IPNetwork, index: Int32) -> NetlinkMessage {
        .address(
            type: RTM_NEWADDR, flags: NLM_F_CREATE | NLM_F_EXCL, address, index: index,
            options: address.isIPv6 ? UInt32(IFA_F_NODAD) : 0)
    }

    public static func removeAddress(_ address: IPNetwork, index: Int32) -> NetlinkMessage {
        .address(type: RTM_DELADDR, flags: 0, address, index: index, options: 0)
    }

    /// All addresses of all interfaces, for ``NetlinkSocket/dump(_:_:)``.
    public static func listAddresses() -> NetlinkMessage {
        var message = NetlinkMessage(type: RTM_GETADDR, flags: NLM_F_ROOT | NLM_F_MATCH)
        message.append(UInt64(0))
        return message
    }

    /// `struct rtmsg`.
    private mutating func appendRouteHeader(
        family: Int32, prefixLength: Int, table: Int32, origin: Int32, scope: UInt32, type: UInt32
    ) {
        append(UInt8(family))
        append(UInt8(prefixLength))
        append(UInt8(0))
        append(UInt8(0))
        append(UInt8(table))
        append(UInt8(origin))
        append(UInt8(scope))
        append(UInt8(type))
        append(UInt32(0))
    }

    private static func route(
        type: Int, flags: Int32, to destination: IPNetwork, via gateway: IPAddress?, index: Int32
    ) -> NetlinkMessage {
        var message = NetlinkMessage(type: type, flags: flags)
        message.appendRouteHeader(
            family: destination.isIPv6 ? AF_INET6 : AF_INET, prefixLength: destination.prefixLength,
            table: Int32(RT_TABLE_MAIN.rawValue), origin: RTPROT_BOOT,
            scope: gateway == nil && !destination.isIPv6
                ? UInt32(RT_SCOPE_LINK.rawValue) : UInt32(RT_SCOPE_UNIVERSE.rawValue),
            type: UInt32(RTN_UNICAST))
        if destination.prefixLength > 0 {
            message.attribute(Int(RTA_DST.rawValue), destination.firstAddress.bytes)
        }
        if let gateway { message.attribute(Int(RTA_GATEWAY.rawValue), gateway.bytes) }
        message.attribute(Int(RTA_OIF.rawValue), index)
        return message
    }

    /// Adds a route, or replaces the one to the same destination. Without a gateway the destination is on the link.
    public static func setRoute(to destination: IPNetwork, via gateway: IPAddress?, index: Int32) -> NetlinkMessage {
        .route(type: RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_REPLACE, to: destination, via: gateway, index: index)
    }

    public static func removeRoute(_ route: Route) -> NetlinkMessage {
        .route(type: RTM_DELROUTE, flags: 0, to: route.destination, via: route.gateway, index: route.index ?? 0)
    }

    /// All routes of a family, for ``NetlinkSocket/dump(_:_:)``.
    public static func listRoutes(ipv6: Bool) -> NetlinkMessage {
        var message = NetlinkMessage(type: RTM_GETROUTE, flags: NLM_F_ROOT | NLM_F_MATCH)
        message.appendRouteHeader(
            family: ipv6 ? AF_INET6 : AF_INET, prefixLength: 0, table: 0, origin: 0, scope: 0, type: 0)
        return message
    }
}

extension InterfaceAddress {
    /// nil for what isn't an address.
    public init?(_ reply: NetlinkReply) {
        guard reply.type == RTM_NEWADDR, let prefix: UInt8 = reply.payload.number(at: 1),
            let index: Int32 = reply.payload.number(at: 4)
        else { return nil }
        let attributes = reply.attributes(after: 8)
        // On a point-to-point link IFA_ADDRESS is the other side's.
        guard let address = attributes.address(Int(IFA_LOCAL)) ?? attributes.address(Int(IFA_ADDRESS)),
            let network = IPNetwork(address, prefixLength: Int(prefix))
        else { return nil }
        self.index = index
        self.address = network
    }
}

extension Route {
    /// nil for what isn't a unicast route of the main table.
    public init?(_ reply: NetlinkReply) {
        guard reply.type == RTM_NEWROUTE, let family: UInt8 = reply.payload.number(at: 0),
            let prefix: UInt8 = reply.payload.number(at: 1), let shortTable: UInt8 = reply.payload.number(at: 4),
            let origin: UInt8 = reply.payload.number(at: 5), let type: UInt8 = reply.payload.number(at: 7)
        else { return nil }
        let attributes = reply.attributes(after: 12)
        let table: UInt32 = attributes.number(Int(RTA_TABLE.rawValue)) ?? UInt32(shortTable)
        let any = Int32(family) == AF_INET6 ? IPAddress.anyIPv6 : .anyIPv4
        guard table == UInt32(RT_TABLE_MAIN.rawValue), type == UInt8(RTN_UNICAST),
            let destination = IPNetwork(
                attributes.address(Int(RTA_DST.rawValue)) ?? any, prefixLength: Int(prefix))
        else { return nil }
        self.destination = destination
        gateway = attributes.address(Int(RTA_GATEWAY.rawValue))
        index = attributes.number(Int(RTA_OIF.rawValue))
        self.origin = origin
    }
}
