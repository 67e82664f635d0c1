import CLinux
import Glibc

/// Lets a service on loopback be reached at a port that it isn't bound to, by two stateless chains of nftables: ports
/// are rewritten in packets on their way out, which on loopback is before they come in.
///
/// Requests are rewritten after, and answers before everything else that looks at outgoing packets, so that connection
/// tracking and the namespace's own rules see the same conversation with the port that was asked for.
public struct PortRewriting: Sendable {
    /// Of the service; IPv4.
    public var address: IPAddress
    /// What clients ask for.
    public var port: UInt16
    /// Where the service is bound.
    public var udpPort: UInt16
    public var tcpPort: UInt16

    public init(address: IPAddress, port: UInt16, udpPort: UInt16, tcpPort: UInt16) {
        self.address = address
        self.port = port
        self.udpPort = udpPort
        self.tcpPort = tcpPort
    }

    private static let requestPriority: Int32 = 300
    private static let answerPriority: Int32 = -300

    /// Puts the rules into a table of their own, `ip <table>`, over a socket in the namespace.
    /// - Parameter replacing: takes the place of a table that may be there. The kernel waits for all processors when it
    ///   removes one (some milliseconds), so not for a namespace that was just made.
    public func install(table: String, replacing: Bool, over socket: NetlinkSocket) throws(NetlinkError) {
        var messages: [NetlinkMessage] = [.filterBatch(NFNL_MSG_BATCH_BEGIN), .filterTable(table)]
        if replacing { messages += [.filterTable(table, remove: true), .filterTable(table)] }
        messages += [
            .filterChain(table, "requests", priority: PortRewriting.requestPriority),
            .filterChain(table, "answers", priority: PortRewriting.answerPriority),
        ]
        for (transport, bound) in [(Transport.udp, udpPort), (.tcp, tcpPort)] {
            messages.append(
                .filterRule(table, "requests") {
                    $0.matchAddress(address, at: 16)
                    $0.rewritePort(transport, at: 2, from: port, to: bound)
                })
            messages.append(
                .filterRule(table, "answers") {
                    $0.matchAddress(address, at: 12)
                    $0.rewritePort(transport, at: 0, from: bound, to: port)
                })
        }
        // Kernels before 6.10 don't acknowledge the batch's end.
        let last = messages.count - 1
        messages.append(.filterBatch(NFNL_MSG_BATCH_END))
        if let failure = try socket.perform(messages, acknowledging: last).compactMap({ $0 }).first { throw failure }
    }

    fileprivate enum Transport {
        case udp, tcp
        var number: UInt8 { self == .udp ? 17 : 6 }
        /// Where the header has its checksum (RFC 768, RFC 9293).
        var checksumOffset: UInt32 { self == .udp ? 6 : 16 }
    }
}

// nf_tables speaks in big-endian numbers; expressions work on 16-byte registers (linux/netfilter/nf_tables.h).
extension NetlinkMessage {
    private static let register = UInt32(NFT_REG_1.rawValue)

    /// `struct nfgenmsg`.
    private mutating func appendFilterHeader(family: Int32, resource: UInt16 = 0) {
        append(UInt8(family))
        append(UInt8(NFNETLINK_V0))
        append(resource.bigEndian)
    }

    fileprivate static func filterBatch(_ type: Int32) -> NetlinkMessage {
        var message = NetlinkMessage(type: Int(type))
        message.appendFilterHeader(family: AF_UNSPEC, resource: UInt16(NFNL_SUBSYS_NFTABLES))
        return message
    }

    private static func filter(_ type: UInt32, flags: Int32) -> NetlinkMessage {
        var message = NetlinkMessage(type: Int(NFNL_SUBSYS_NFTABLES) << 8 | Int(type), flags: flags)
        message.appendFilterHeader(family: AF_INET)
        return message
    }

    fileprivate static func filterTable(_ name: String, remove: Bool = false) -> NetlinkMessage {
        var message =
            remove
            ? filter(NFT_MSG_DELTABLE.rawValue, flags: 0) : filter(NFT_MSG_NEWTABLE.rawValue, flags: NLM_F_CREATE)
        message.attribute(Int(NFTA_TABLE_NAME.rawValue), text: name)
        return message
    }

    /// A base chain on outgoing packets.
    fileprivate static func filterChain(_ table: String, _ name: String, priority: Int32) -> NetlinkMessage {
        var message = filter(NFT_MSG_NEWCHAIN.rawValue, flags: NLM_F_CREATE)
        message.attribute(Int(NFTA_CHAIN_TABLE.rawValue), text: table)
        message.attribute(Int(NFTA_CHAIN_NAME.rawValue), text: name)
        message.nested(Int(NFTA_CHAIN_HOOK.rawValue)) {
            $0.attribute(Int(NFTA_HOOK_HOOKNUM.rawValue), UInt32(3).bigEndian)  // NF_INET_LOCAL_OUT
            $0.attribute(Int(NFTA_HOOK_PRIORITY.rawValue), priority.bigEndian)
        }
        message.attribute(Int(NFTA_CHAIN_TYPE.rawValue), text: "filter")
        return message
    }

    fileprivate static func filterRule(
        _ table: String, _ chain: String, _ expressions: (inout NetlinkMessage) -> Void
    ) -> NetlinkMessage {
        var message = filter(NFT_MSG_NEWRULE.rawValue, flags: NLM_F_CREATE | NLM_F_APPEND)
        message.attribute(Int(NFTA_RULE_TABLE.rawValue), text: table)
        message.attribute(Int(NFTA_RULE_CHAIN.rawValue), text: chain)
        message.nested(Int(NFTA_RULE_EXPRESSIONS.rawValue), expressions)
        return message
    }

    private mutating func expression(_ name: String, _ data: (inout NetlinkMessage) -> Void) {
        nested(Int(NFTA_LIST_ELEM.rawValue)) {
            $0.attribute(Int(NFTA_EXPR_NAME.rawValue), text: name)
            $0.nested(Int(NFTA_EXPR_DATA.rawValue), data)
        }
    }

    private mutating func compare(_ value: [UInt8]) {
        expression("cmp") {
            $0.attribute(Int(NFTA_CMP_SREG.rawValue), NetlinkMessage.register.bigEndian)
            $0.attribute(Int(NFTA_CMP_OP.rawValue), UInt32(NFT_CMP_EQ.rawValue).bigEndian)
            $0.nested(Int(NFTA_CMP_DATA.rawValue)) { $0.attribute(Int(NFTA_DATA_VALUE.rawValue), value) }
        }
    }

    private mutating func load(_ base: nft_payload_bases, offset: UInt32, length: UInt32) {
        expression("payload") {
            $0.attribute(Int(NFTA_PAYLOAD_DREG.rawValue), NetlinkMessage.register.bigEndian)
            $0.attribute(Int(NFTA_PAYLOAD_BASE.rawValue), base.rawValue.bigEndian)
            $0.attribute(Int(NFTA_PAYLOAD_OFFSET.rawValue), offset.bigEndian)
            $0.attribute(Int(NFTA_PAYLOAD_LEN.rawValue), length.bigEndian)
        }
    }

    /// - Parameter offset: in the IPv4 header: 12 is the source, 16 the destination.
    fileprivate mutating func matchAddress(_ address: IPAddress, at offset: UInt32) {
        load(NFT_PAYLOAD_NETWORK_HEADER, offset: offset, length: 4)
        compare(address.bytes)
    }

    /// - Parameter offset: in the transport's header: 0 is the source port, 2 the destination's.
    fileprivate mutating func rewritePort(
        _ transport: PortRewriting.Transport, at offset: UInt32, from old: UInt16, to new: UInt16
    ) {
        expression("meta") {
            $0.attribute(Int(NFTA_META_DREG.rawValue), NetlinkMessage.register.bigEndian)
            $0.attribute(Int(NFTA_META_KEY.rawValue), UInt32(NFT_META_L4PROTO.rawValue).bigEndian)
        }
        compare([transport.number])
        load(NFT_PAYLOAD_TRANSPORT_HEADER, offset: offset, length: 2)
        compare([UInt8(old >> 8), UInt8(old & 0xFF)])
        expression("immediate") {
            $0.attribute(Int(NFTA_IMMEDIATE_DREG.rawValue), NetlinkMessage.register.bigEndian)
            $0.nested(Int(NFTA_IMMEDIATE_DATA.rawValue)) {
                $0.attribute(Int(NFTA_DATA_VALUE.rawValue), [UInt8(new >> 8), UInt8(new & 0xFF)])
            }
        }
        expression("payload") {
            $0.attribute(Int(NFTA_PAYLOAD_SREG.rawValue), NetlinkMessage.register.bigEndian)
            $0.attribute(Int(NFTA_PAYLOAD_BASE.rawValue), NFT_PAYLOAD_TRANSPORT_HEADER.rawValue.bigEndian)
            $0.attribute(Int(NFTA_PAYLOAD_OFFSET.rawValue), offset.bigEndian)
            $0.attribute(Int(NFTA_PAYLOAD_LEN.rawValue), UInt32(2).bigEndian)
            $0.attribute(
                Int(NFTA_PAYLOAD_CSUM_TYPE.rawValue), UInt32(NFT_PAYLOAD_CSUM_INET.rawValue).bigEndian)
            $0.attribute(Int(NFTA_PAYLOAD_CSUM_OFFSET.rawValue), transport.checksumOffset.bigEndian)
        }
    }
}
