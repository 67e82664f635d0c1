import CLinux

/// A request to the kernel: `struct nlmsghdr`, a fixed part, and attributes (linux/netlink.h). Numbers are in the
/// machine's order unless the attribute says otherwise.
public struct NetlinkMessage: Sendable {
    public private(set) var bytes: [UInt8]

    static let headerSize = 16
    private static let typeOffset = 4
    private static let flagsOffset = 6
    private static let sequenceOffset = 8

    /// - Parameter flags: `NLM_F_*`; `NLM_F_REQUEST` is added.
    init(type: Int, flags: Int32 = 0) {
        bytes = Array(repeating: 0, count: NetlinkMessage.headerSize)
        bytes.reserveCapacity(256)
        put(UInt16(type), at: NetlinkMessage.typeOffset)
        put(UInt16(flags) | UInt16(NLM_F_REQUEST), at: NetlinkMessage.flagsOffset)
    }

    // MARK: Building

    /// Appends a number of the fixed part.
    mutating func append<Number: FixedWidthInteger>(_ number: Number) {
        withUnsafeBytes(of: number) { bytes.append(contentsOf: $0) }
    }

    mutating func attribute(_ type: Int, _ value: some Collection<UInt8>) {
        append(UInt16(4 + value.count))
        append(UInt16(type))
        bytes.append(contentsOf: value)
        pad()
    }

    mutating func attribute<Number: FixedWidthInteger>(_ type: Int, _ value: Number) {
        withUnsafeBytes(of: value) { attribute(type, $0) }
    }

    /// A string with the NUL that most of the kernel's policies want.
    mutating func attribute(_ type: Int, text: String) {
        attribute(type, Array(text.utf8) + [0])
    }

    /// An attribute of attributes.
    mutating func nested(_ type: Int, _ fill: (inout NetlinkMessage) -> Void) {
        let start = bytes.count
        append(UInt16(0))
        append(UInt16(type) | UInt16(NLA_F_NESTED))
        fill(&self)
        put(UInt16(bytes.count - start), at: start)
    }

    private mutating func pad() {
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    private mutating func put<Number: FixedWidthInteger>(_ number: Number, at offset: Int) {
        withUnsafeBytes(of: number) { source in
            bytes.replaceSubrange(offset..<offset + source.count, with: source)
        }
    }

    // MARK: Sending

    /// The message as it goes out.
    func finished(sequence: UInt32, acknowledge: Bool) -> [UInt8] {
        var message = self
        message.put(UInt32(message.bytes.count), at: 0)
        message.put(sequence, at: NetlinkMessage.sequenceOffset)
        if acknowledge {
            let flags = UInt16(bytes[NetlinkMessage.flagsOffset]) | UInt16(bytes[NetlinkMessage.flagsOffset + 1]) << 8
            message.put(UInt16(littleEndian: flags) | UInt16(NLM_F_ACK), at: NetlinkMessage.flagsOffset)
        }
        return message.bytes
    }
}

/// A message from the kernel. Every access is checked against its length: a container's names are in there.
public struct NetlinkReply: Sendable {
    public let type: Int
    let flags: Int32
    let sequence: UInt32
    /// What follows the header.
    public let payload: ArraySlice<UInt8>

    /// The messages of one packet; what is cut short ends the list.
    static func split(_ packet: ArraySlice<UInt8>) -> [NetlinkReply] {
        var replies: [NetlinkReply] = []
        var rest = packet
        while let length: UInt32 = rest.number(at: 0), length >= NetlinkMessage.headerSize, Int(length) <= rest.count,
            let type: UInt16 = rest.number(at: 4), let flags: UInt16 = rest.number(at: 6),
            let sequence: UInt32 = rest.number(at: 8)
        {
            let end = rest.startIndex + Int(length)
            replies.append(
                NetlinkReply(
                    type: Int(type), flags: Int32(flags), sequence: sequence,
                    payload: rest[(rest.startIndex + NetlinkMessage.headerSize)..<end]))
            rest = rest[min(rest.endIndex, rest.startIndex + (Int(length) + 3) & ~3)...]
        }
        return replies
    }

    /// The attributes after a fixed part of `size` bytes.
    func attributes(after size: Int) -> NetlinkAttributes {
        NetlinkAttributes(bytes: payload.dropFirst((size + 3) & ~3))
    }
}

/// A list of attributes as received.
public struct NetlinkAttributes: Sequence, Sendable {
    let bytes: ArraySlice<UInt8>

    public struct Iterator: IteratorProtocol {
        var rest: ArraySlice<UInt8>

        public mutating func next() -> (type: Int, value: ArraySlice<UInt8>)? {
            guard let length: UInt16 = rest.number(at: 0), let type: UInt16 = rest.number(at: 2), length >= 4,
                Int(length) <= rest.count
            else { return nil }
            let value = rest[(rest.startIndex + 4)..<(rest.startIndex + Int(length))]
            rest = rest[Swift.min(rest.endIndex, rest.startIndex + (Int(length) + 3) & ~3)...]
            // The two highest bits are flags (linux/netlink.h, NLA_TYPE_MASK).
            return (Int(type & 0x3FFF), value)
        }
    }

    public func makeIterator() -> Iterator { Iterator(rest: bytes) }

    /// The first attribute of this type.
    subscript(type: Int) -> ArraySlice<UInt8>? { first { $0.type == type }?.value }

    func nested(_ type: Int) -> NetlinkAttributes? { self[type].map(NetlinkAttributes.init(bytes:)) }

    func number<Number: FixedWidthInteger>(_ type: Int) -> Number? { self[type]?.number(at: 0) }

    /// A string up to its NUL.
    func text(_ type: Int) -> String? {
        self[type].map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    func address(_ type: Int) -> IPAddress? { self[type].flatMap { IPAddress(bytes: $0) } }
}

extension ArraySlice<UInt8> {
    /// The number at `offset` from the slice's start; nil where the slice is too short.
    func number<Number: FixedWidthInteger>(at offset: Int) -> Number? {
        guard offset >= 0, offset + MemoryLayout<Number>.size <= count else { return nil }
        return withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: Number.self) }
    }
}
