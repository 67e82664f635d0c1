import CLinux
import Glibc

/// Which connections of the kernel's table (conntrack) are asked for, by the packet that each began with.
public struct ConnectionFilter: Hashable, Sendable {
    public let isIPv6: Bool
    /// `IPPROTO_*`
    public let transport: UInt8
    /// The port they went to; nil: any.
    public let port: UInt16?

    public init(isIPv6: Bool, transport: UInt8, port: UInt16?) {
        self.isIPv6 = isIPv6
        self.transport = transport
        self.port = port
    }
}

/// One connection of the kernel's table.
public struct TrackedConnection: Sendable {
    /// Where its first packet went to.
    public let destination: IPAddress
    public let port: UInt16
    /// Who answers: the same address, unless the destination was translated.
    public let responder: IPAddress
    /// `CTA_TUPLE_ORIG`
    let tuple: NetlinkAttributes

    /// nil when it isn't one of the filter's. A kernel before 5.8 dumps all that there are.
    init?(_ reply: NetlinkReply, _ filter: ConnectionFilter) {
        let attributes = reply.attributes(after: 4)
        guard let tuple = attributes.nested(Int(CTA_TUPLE_ORIG.rawValue)),
            let answer = attributes.nested(Int(CTA_TUPLE_REPLY.rawValue)),
            let ports = tuple.nested(Int(CTA_TUPLE_PROTO.rawValue)),
            let number: UInt8 = ports.number(Int(CTA_PROTO_NUM.rawValue)), number == filter.transport,
            let port: UInt16 = ports.number(Int(CTA_PROTO_DST_PORT.rawValue)),
            filter.port == nil || filter.port == UInt16(bigEndian: port),
            let destination = tuple.nested(Int(CTA_TUPLE_IP.rawValue))?
                .address(Int((filter.isIPv6 ? CTA_IP_V6_DST : CTA_IP_V4_DST).rawValue)),
            let responder = answer.nested(Int(CTA_TUPLE_IP.rawValue))?
                .address(Int((filter.isIPv6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC).rawValue))
        else { return nil }
        self.destination = destination
        self.port = UInt16(bigEndian: port)
        self.responder = responder
        self.tuple = tuple
    }
}

extension NetlinkMessage {
    /// Asks for the connections that a filter means; to be sent to a socket of `NETLINK_NETFILTER`.
    static func connections(_ filter: ConnectionFilter) -> NetlinkMessage {
        var message = conntrack(IPCTNL_MSG_CT_GET, NLM_F_DUMP, filter)
        message.nested(Int(CTA_TUPLE_ORIG.rawValue)) { tuple in
            tuple.nested(Int(CTA_TUPLE_PROTO.rawValue)) { ports in
                ports.attribute(Int(CTA_PROTO_NUM.rawValue), filter.transport)
                if let port = filter.port { ports.attribute(Int(CTA_PROTO_DST_PORT.rawValue), port.bigEndian) }
            }
        }
        // What counts: CTA_FILTER_F_CTA_PROTO_NUM and _DST_PORT of the kernel's net/netfilter/nf_internals.h.
        let counts = UInt32(1 << 3) | (filter.port == nil ? 0 : UInt32(1 << 5))
        message.nested(Int(CTA_FILTER.rawValue)) { flags in
            flags.attribute(Int(CTA_FILTER_ORIG_FLAGS.rawValue), counts)
            flags.attribute(Int(CTA_FILTER_REPLY_FLAGS.rawValue), UInt32(0))
        }
        return message
    }

    /// Makes the kernel forget the connection that began with `tuple`, the value of a `CTA_TUPLE_ORIG`.
    static func deletion(of tuple: NetlinkAttributes, _ filter: ConnectionFilter) -> NetlinkMessage {
        var message = conntrack(IPCTNL_MSG_CT_DELETE, 0, filter)
        message.attribute(Int(CTA_TUPLE_ORIG.rawValue) | Int(NLA_F_NESTED), tuple.bytes)
        return message
    }

    private static func conntrack(
        _ type: cntl_msg_types, _ flags: Int32, _ filter: ConnectionFilter
    ) -> NetlinkMessage {
        var message = NetlinkMessage(type: Int(NFNL_SUBSYS_CTNETLINK) << 8 | Int(type.rawValue), flags: flags)
        // struct nfgenmsg
        message.append(UInt8(filter.isIPv6 ? AF_INET6 : AF_INET))
        message.append(UInt8(NFNETLINK_V0))
        message.append(UInt16(0))
        return message
    }
}

extension NetlinkSocket {
    /// Makes the kernel forget connections, so that their next packet finds the rules of now: a connection's addresses
    /// are translated as its first packet's were. The socket is one of `NETLINK_NETFILTER`.
    public func forgetConnections(
        _ filter: ConnectionFilter, where isMeant: (TrackedConnection) -> Bool
    ) throws(NetlinkError) {
        let found = try dump("list connections", .connections(filter)).compactMap { TrackedConnection($0, filter) }
        let failures = try perform(found.filter(isMeant).map { .deletion(of: $0.tuple, filter) }).compactMap { $0 }
        // One that ended by itself meanwhile is no failure.
        if let failure = failures.first(where: { $0.errno != ENOENT }) { throw failure }
    }
}
