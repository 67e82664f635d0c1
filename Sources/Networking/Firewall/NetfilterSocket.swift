import CNetfilter
import Glibc
import LinuxKernel

/// What the kernel says about a change of its nftables ruleset.
struct RulesetNotice: Equatable {
    /// `NFT_MSG_*` of linux/netfilter/nf_tables.h
    let message: UInt8
    /// The table that was touched, if the message is about a thing in a table.
    let table: String?
    /// With `NFT_MSG_NEWGEN`, the name of the task that made the transaction.
    let taskName: String?
}

/// A raw NETLINK_NETFILTER socket: for what libnftables can't say, which is mostly to listen.
struct NetfilterSocket: ~Copyable {
    private let descriptor: FileDescriptor

    static let newGeneration = UInt8(15)
    private static let getGeneration = UInt16(16)
    /// Deletions of tables, chains, rules, sets and elements.
    static let deletions: Set<UInt8> = [2, 5, 8, 11, 14]

    private static let subsystem = UInt16(10)
    /// `NFNLGRP_NFTABLES` as a bit of `nl_groups`
    static let rulesetGroup = UInt32(1) << 6

    init(groups: UInt32) throws(SystemError) {
        descriptor = try NetfilterSocket.open(groups)
    }

    private static func open(_ groups: UInt32) throws(SystemError) -> FileDescriptor {
        let opened = FileDescriptor(
            owning: try checked("open a netfilter socket") {
                socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), NETLINK_NETFILTER)
            })
        let raw = opened.raw
        var address = sockaddr_nl()
        address.nl_family = sa_family_t(AF_NETLINK)
        address.nl_groups = groups
        try checked("bind a netfilter socket") {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(raw, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
                }
            }
        }
        if groups != 0 {
            // `flush ruleset` says one message a rule and element. What doesn't fit is lost, which is noticed.
            var size = Int32(4 << 20)
            setsockopt(raw, SOL_SOCKET, SO_RCVBUFFORCE, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        return opened
    }

    var raw: Int32 { descriptor.raw }

    /// Sends `NFT_MSG_GETGEN` and waits for the answer.
    func requestGeneration() throws(SystemError) {
        // struct nlmsghdr, struct nfgenmsg: 20 bytes.
        var request = [UInt8](repeating: 0, count: 20)
        let flags = UInt16(NLM_F_REQUEST | NLM_F_ACK)
        request.withUnsafeMutableBytes { bytes in
            bytes.storeBytes(of: 20, as: UInt32.self)
            bytes.storeBytes(
                of: NetfilterSocket.subsystem << 8 | NetfilterSocket.getGeneration, toByteOffset: 4, as: UInt16.self)
            bytes.storeBytes(of: flags, toByteOffset: 6, as: UInt16.self)
        }
        try checked("ask for the generation of the nftables ruleset") { send(raw, request, request.count, 0) }
        while true {
            for message in try receive() where message.type == UInt16(NLMSG_ERROR) {
                let code = message.payload.withUnsafeBytes { $0.loadUnaligned(as: Int32.self) }
                if code != 0 { throw SystemError("ask for the generation of the nftables ruleset", errno: -code) }
                return
            }
        }
    }

    private struct Message {
        let type: UInt16
        let payload: ArraySlice<UInt8>
    }

    private func receive() throws(SystemError) -> [Message] {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = try checked("read from a netfilter socket") { recv(raw, &buffer, buffer.count, 0) }
        var messages: [Message] = []
        var offset = 0
        while offset + 16 <= count {
            let (length, type) = buffer.withUnsafeBytes {
                (
                    Int($0.loadUnaligned(fromByteOffset: offset, as: UInt32.self)),
                    $0.loadUnaligned(fromByteOffset: offset + 4, as: UInt16.self)
                )
            }
            guard length >= 16, offset + length <= count else { break }
            messages.append(Message(type: type, payload: buffer[(offset + 16)..<(offset + length)]))
            offset += (length + 3) & ~3
        }
        return messages
    }

    /// Waits for the next notices.
    ///
    /// - Throws: `ENOBUFS` when some were lost.
    func notices() throws(SystemError) -> [RulesetNotice] {
        try receive().compactMap { message in
            guard message.type >> 8 == NetfilterSocket.subsystem else { return nil }
            return NetfilterSocket.parse(UInt8(truncatingIfNeeded: message.type), Array(message.payload))
        }
    }

    /// `payload` is a struct nfgenmsg and attributes. The table's name is attribute 1 of every object;
    /// `NFTA_GEN_PROC_NAME` is 3.
    static func parse(_ message: UInt8, _ payload: [UInt8]) -> RulesetNotice {
        var strings: [UInt16: String] = [:]
        var offset = 4
        while offset + 4 <= payload.count {
            let length = Int(payload[offset]) | Int(payload[offset + 1]) << 8
            let type = (UInt16(payload[offset + 2]) | UInt16(payload[offset + 3]) << 8) & 0x3FFF
            guard length >= 4, offset + length <= payload.count else { break }
            if type == 1 || type == 3 {
                let text = payload[(offset + 4)..<(offset + length)].prefix { $0 != 0 }
                strings[type] = String(decoding: text, as: UTF8.self)
            }
            offset += (length + 3) & ~3
        }
        let isGeneration = message == newGeneration
        return RulesetNotice(
            message: message, table: isGeneration ? nil : strings[1], taskName: isGeneration ? strings[3] : nil)
    }
}
