import CLinux
import Glibc
import Synchronization

/// A request that the kernel refused: the errno, and what the kernel says about it where it does (extended
/// acknowledgement, linux/netlink.h).
public struct NetlinkError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What was asked, for example `add an address to eth0`.
    public var operation: String
    public var errno: Int32
    /// The kernel's own words; nil where it has none.
    public var explanation: String?

    public init(_ operation: String, errno: Int32, explanation: String? = nil) {
        self.operation = operation
        self.errno = errno
        self.explanation = explanation
    }

    public var reason: String {
        let text = String(cString: strerror(errno))
        guard let explanation else { return text }
        return "\(explanation) (\(text))"
    }

    public var description: String { "\(operation): \(reason)" }
}

/// A netlink socket. It belongs to the network namespace in which it was opened, whoever uses it from wherever.
///
/// The kernel handles a request inside `sendmsg`, so that its answer is there when the call returns: nothing here ever
/// waits for one, and a socket that somebody flooded can't hold its owner up. May be used from several threads, which
/// take turns.
public final class NetlinkSocket: Sendable {
    private let descriptor: FileDescriptor
    private let state = Mutex(State())

    private struct State {
        var sequence: UInt32 = 0
        var buffer: [UInt8] = []
    }

    /// What the kernel fills at most for one `recv` (net/netlink/af_netlink.c).
    private static let bufferSize = 32 << 10
    /// Packets from somebody else, or from requests that failed, that are skipped before it is given up.
    private static let maximumForeign = 4096
    private static let maximumDumpAttempts = 10

    /// The part of the kernel that is spoken to (netlink(7)).
    public enum Family: Sendable {
        /// Links, addresses, routes, queues.
        case route
        /// nftables.
        case netfilter

        var number: Int32 { self == .route ? NETLINK_ROUTE : NETLINK_NETFILTER }
    }

    /// Opens a socket in the calling thread's network namespace.
    public convenience init(family: Family = .route) throws(SystemError) {
        self.init(adopting: try NetlinkSocket.open(family: family))
    }

    /// A fresh socket, to be handed to whoever adopts it.
    public static func open(family: Family = .route) throws(SystemError) -> FileDescriptor {
        FileDescriptor(
            owning: try checked("open a netlink socket") {
                socket(AF_NETLINK, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), family.number)
            })
    }

    public init(adopting descriptor: consuming FileDescriptor) {
        self.descriptor = descriptor
        // Without them errors have no words, and come with a copy of the request; dumps are filtered by us.
        for option in [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK] {
            var on: Int32 = 1
            _ = setsockopt(self.descriptor.raw, SOL_NETLINK, option, &on, socklen_t(MemoryLayout<Int32>.size))
        }
    }

    // MARK: Requests

    /// Sends the messages in one system call. The kernel handles them in order, and goes on after one that fails.
    /// - Parameter acknowledging: the message whose answer is the last; absent: the last message's.
    /// - Returns: for each message how it failed, nil where it didn't.
    public func perform(
        _ messages: [NetlinkMessage], acknowledging: Int? = nil
    ) throws(NetlinkError) -> [NetlinkError?] {
        var failures = [NetlinkError?](repeating: nil, count: messages.count)
        guard !messages.isEmpty else { return failures }
        let last = acknowledging ?? messages.count - 1
        try transact(messages, acknowledging: last) { reply, index throws(NetlinkError) in
            guard reply.type == NLMSG_ERROR else { return false }
            failures[index] = NetlinkSocket.failure(reply)
            return index == last
        }
        return failures
    }

    /// As ``perform(_:)``; throws the first failure.
    public func request(_ operation: @autoclosure () -> String, _ messages: NetlinkMessage...) throws(NetlinkError) {
        if var failure = try perform(messages).compactMap({ $0 }).first {
            failure.operation = operation()
            throw failure
        }
    }

    /// Asks for one object.
    public func get(_ operation: @autoclosure () -> String, _ message: NetlinkMessage) throws(NetlinkError)
        -> NetlinkReply
    {
        var result: NetlinkReply?
        var failure: NetlinkError?
        try transact([message], acknowledging: 0) { reply, _ throws(NetlinkError) in
            if reply.type == NLMSG_ERROR {
                failure = NetlinkSocket.failure(reply)
                return true
            }
            result = reply
            return false
        }
        if var failure {
            failure.operation = operation()
            throw failure
        }
        guard let result else { throw NetlinkError(operation(), errno: ENODATA) }
        return result
    }

    /// Asks for all objects of a kind. A list that changed while it was read is read again.
    public func dump(_ operation: @autoclosure () -> String, _ message: NetlinkMessage) throws(NetlinkError)
        -> [NetlinkReply]
    {
        for _ in 0..<NetlinkSocket.maximumDumpAttempts {
            var replies: [NetlinkReply] = []
            var failure: NetlinkError?
            var interrupted = false
            try transact([message], acknowledging: nil) { reply, _ throws(NetlinkError) in
                if reply.flags & NLM_F_DUMP_INTR != 0 { interrupted = true }
                switch reply.type {
                case Int(NLMSG_ERROR):
                    failure = NetlinkSocket.failure(reply)
                    return true
                case Int(NLMSG_DONE):
                    return true
                default:
                    replies.append(reply)
                    return false
                }
            }
            if var failure {
                failure.operation = operation()
                throw failure
            }
            if !interrupted { return replies }
        }
        throw NetlinkError(operation(), errno: EAGAIN)
    }

    // MARK: The conversation

    /// Sends, and hands every reply to `receive` with the index of its message, until that returns true.
    private func transact(
        _ messages: [NetlinkMessage], acknowledging: Int?,
        _ receive: (NetlinkReply, Int) throws(NetlinkError) -> Bool
    ) throws(NetlinkError) {
        let result: Result<Void, NetlinkError> = state.withLock { state in
            do throws(NetlinkError) {
                let first = state.sequence &+ 1
                state.sequence &+= UInt32(messages.count)
                try send(messages, first: first, acknowledging: acknowledging)
                var foreign = 0
                while true {
                    guard let replies = try nextPacket(&state.buffer) else {
                        foreign += 1
                        if foreign > NetlinkSocket.maximumForeign {
                            throw NetlinkError("talk to the kernel over netlink", errno: ENOBUFS)
                        }
                        continue
                    }
                    for reply in replies {
                        let index = Int(reply.sequence &- first)
                        guard messages.indices.contains(index) else {
                            foreign += 1
                            continue
                        }
                        if try receive(reply, index) { return .success(()) }
                    }
                    if foreign > NetlinkSocket.maximumForeign {
                        throw NetlinkError("talk to the kernel over netlink", errno: ENOBUFS)
                    }
                }
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    private func send(
        _ messages: [NetlinkMessage], first: UInt32, acknowledging: Int?
    ) throws(NetlinkError) {
        var packet: [UInt8] = []
        for (index, message) in messages.enumerated() {
            packet += message.finished(sequence: first &+ UInt32(index), acknowledge: index == acknowledging)
        }
        var kernel = sockaddr_nl()
        kernel.nl_family = sa_family_t(AF_NETLINK)
        let sent = withUnsafePointer(to: &kernel) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                while true {
                    let sent = sendto(
                        descriptor.raw, packet, packet.count, Int32(MSG_NOSIGNAL), generic,
                        socklen_t(MemoryLayout<sockaddr_nl>.size))
                    if sent >= 0 || Glibc.errno != EINTR { return sent }
                }
            }
        }
        guard sent == packet.count else { throw NetlinkError("send a netlink message", errno: Glibc.errno) }
    }

    /// The messages of the next packet; nil when it didn't come from the kernel, or some were lost before it.
    private func nextPacket(_ buffer: inout [UInt8]) throws(NetlinkError) -> [NetlinkReply]? {
        if buffer.isEmpty { buffer = Array(repeating: 0, count: NetlinkSocket.bufferSize) }
        var sender = sockaddr_nl()
        let length = withUnsafeMutablePointer(to: &sender) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                while true {
                    var size = socklen_t(MemoryLayout<sockaddr_nl>.size)
                    let length = recvfrom(
                        descriptor.raw, &buffer, buffer.count, Int32(MSG_DONTWAIT | MSG_TRUNC),
                        generic, &size)
                    if length >= 0 || Glibc.errno != EINTR { return length }
                }
            }
        }
        if length < 0 {
            if Glibc.errno == ENOBUFS { return nil }
            throw NetlinkError("receive a netlink message", errno: Glibc.errno)
        }
        guard length <= buffer.count else { throw NetlinkError("receive a netlink message", errno: EMSGSIZE) }
        // A container with CAP_NET_ADMIN may send to the socket that we have in its namespace.
        guard sender.nl_pid == 0 else { return nil }
        return NetlinkReply.split(buffer[..<length])
    }

    /// What an acknowledgement says: nil for success. `struct nlmsgerr`: the negative errno, the request's header, then
    /// attributes if the flags say so.
    private static func failure(_ reply: NetlinkReply) -> NetlinkError? {
        guard let code: Int32 = reply.payload.number(at: 0) else { return NetlinkError("netlink", errno: EBADMSG) }
        guard code != 0 else { return nil }
        let hasAttributes = reply.flags & NLM_F_ACK_TLVS != 0 && reply.flags & NLM_F_CAPPED != 0
        let explanation =
            hasAttributes
            ? reply.attributes(after: 4 + NetlinkMessage.headerSize).text(Int(NLMSGERR_ATTR_MSG.rawValue)) : nil
        return NetlinkError("netlink", errno: -code, explanation: explanation)
    }
}
