import CLinux
import Glibc

/// Where a queueing discipline sits on its link.
public enum QueuePosition: Sendable {
    /// What the link sends.
    case root
    /// What the link receives.
    case ingress

    var parent: UInt32 { self == .root ? 0xFFFF_FFFF : 0xFFFF_FFF1 }  // TC_H_ROOT, TC_H_INGRESS
    var handle: UInt32 { self == .root ? 0x0001_0000 : 0xFFFF_0000 }
}

/// A queueing discipline as the kernel describes it.
public struct QueueDiscipline: Sendable, Equatable {
    public var index: Int32
    /// `tbf`, `ingress`, `noqueue` …
    public var kind: String
    /// `tbf` only: bytes a second.
    public var bytesPerSecond: UInt64?
}

extension NetlinkMessage {
    /// `struct tcmsg`.
    private mutating func appendQueueHeader(index: Int32, handle: UInt32, parent: UInt32, info: UInt32 = 0) {
        append(UInt8(AF_UNSPEC))
        append(UInt8(0))
        append(UInt16(0))
        append(index)
        append(handle)
        append(parent)
        append(info)
    }

    /// Shapes what the link sends with a token bucket (tc-tbf(8)), also in place of an earlier one.
    /// - Parameters:
    ///   - burst: bytes that may go at once; the largest packet must fit.
    ///   - limit: bytes that may wait.
    public static func setTokenBucket(
        index: Int32, bytesPerSecond: UInt64, burst: UInt32, limit: UInt32
    ) -> NetlinkMessage {
        var message = NetlinkMessage(type: RTM_NEWQDISC, flags: NLM_F_CREATE | NLM_F_REPLACE)
        message.appendQueueHeader(index: index, handle: QueuePosition.root.handle, parent: QueuePosition.root.parent)
        message.attribute(Int(TCA_KIND), text: "tbf")
        message.nested(Int(TCA_OPTIONS)) {
            var parameters = tc_tbf_qopt()
            // With a link layer named the kernel computes what older ones wanted as a table.
            parameters.rate.linklayer = 1  // TC_LINKLAYER_ETHERNET
            parameters.rate.rate = UInt32(clamping: bytesPerSecond)
            parameters.limit = limit
            $0.attribute(Int(TCA_TBF_PARMS), withUnsafeBytes(of: parameters) { Array($0) })
            $0.attribute(Int(TCA_TBF_BURST), burst)
            if bytesPerSecond > UInt64(UInt32.max) { $0.attribute(Int(TCA_TBF_RATE64), bytesPerSecond) }
        }
        return message
    }

    /// Gives the link an ingress discipline, on which filters can be hung.
    public static func makeIngress(index: Int32) -> NetlinkMessage {
        var message = NetlinkMessage(type: RTM_NEWQDISC, flags: NLM_F_CREATE | NLM_F_EXCL)
        message.appendQueueHeader(
            index: index, handle: QueuePosition.ingress.handle, parent: QueuePosition.ingress.parent)
        message.attribute(Int(TCA_KIND), text: "ingress")
        return message
    }

    /// Sends all that the link receives through the other link first (tc-u32(8) with a key that
    /// everything matches, tc-mirred(8)). The link needs ``makeIngress(index:)`` before.
    public static func redirectIngress(index: Int32, to other: Int32) -> NetlinkMessage {
        var message = NetlinkMessage(type: RTM_NEWTFILTER, flags: NLM_F_CREATE | NLM_F_EXCL)
        let everyProtocol = UInt32(UInt16(0x0003).bigEndian)  // ETH_P_ALL
        message.appendQueueHeader(
            index: index, handle: 0, parent: QueuePosition.ingress.handle, info: 1 << 16 | everyProtocol)
        message.attribute(Int(TCA_KIND), text: "u32")
        message.nested(Int(TCA_OPTIONS)) {
            // struct tc_u32_sel: flags, a shift, the number of keys; then the key's mask, value and two offsets.
            var selector = [UInt8](repeating: 0, count: 32)
            selector[0] = UInt8(TC_U32_TERMINAL)
            selector[2] = 1
            $0.attribute(Int(TCA_U32_SEL), selector)
            $0.nested(Int(TCA_U32_ACT)) {
                $0.nested(1) {
                    $0.attribute(Int(TCA_ACT_KIND), text: "mirred")
                    $0.nested(Int(TCA_ACT_OPTIONS)) {
                        var parameters = tc_mirred()
                        parameters.action = TC_ACT_STOLEN
                        parameters.eaction = TCA_EGRESS_REDIR
                        parameters.ifindex = UInt32(other)
                        $0.attribute(Int(TCA_MIRRED_PARMS), withUnsafeBytes(of: parameters) { Array($0) })
                    }
                }
            }
        }
        return message
    }

    public static func removeQueue(index: Int32, at position: QueuePosition) -> NetlinkMessage {
        var message = NetlinkMessage(type: RTM_DELQDISC)
        message.appendQueueHeader(index: index, handle: position.handle, parent: position.parent)
        return message
    }

    /// The disciplines of all links, for ``NetlinkSocket/dump(_:_:)``.
    public static func listQueues() -> NetlinkMessage {
        var message = NetlinkMessage(type: RTM_GETQDISC, flags: NLM_F_ROOT | NLM_F_MATCH)
        message.appendQueueHeader(index: 0, handle: 0, parent: 0)
        return message
    }
}

extension QueueDiscipline {
    /// nil for what isn't a discipline.
    public init?(_ reply: NetlinkReply) {
        guard reply.type == RTM_NEWQDISC, let index: Int32 = reply.payload.number(at: 4) else { return nil }
        let attributes = reply.attributes(after: 20)
        guard let kind = attributes.text(Int(TCA_KIND)) else { return nil }
        self.index = index
        self.kind = kind
        if kind == "tbf", let options = attributes.nested(Int(TCA_OPTIONS)) {
            // struct tc_tbf_qopt begins with a tc_ratespec, whose rate is behind eight bytes.
            let rate: UInt32? = options[Int(TCA_TBF_PARMS)]?.number(at: 8)
            bytesPerSecond = options.number(Int(TCA_TBF_RATE64)) ?? rate.map(UInt64.init)
        }
    }
}
