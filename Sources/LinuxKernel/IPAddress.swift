import Glibc

/// An IPv4 or IPv6 address. Its text is the canonical one (RFC 5952 for IPv6); IPv4 sorts before IPv6.
public struct IPAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let isIPv6: Bool
    /// The address as a number: 32 bits of it are used by IPv4.
    public let value: UInt128

    private init(isIPv6: Bool, value: UInt128) {
        self.isIPv6 = isIPv6
        self.value = value
    }

    /// `192.0.2.1` or `2001:db8::1`; nil for anything else, zone (`%eth0`), port and leading zeros included.
    public init?(_ text: String) {
        guard text.utf8.count < 46, !text.utf8.contains(0) else { return nil }
        let isIPv6 = text.utf8.contains(UInt8(ascii: ":"))
        var bytes: [UInt8] = Array(repeating: 0, count: isIPv6 ? 16 : 4)
        guard inet_pton(isIPv6 ? AF_INET6 : AF_INET, text, &bytes) == 1 else { return nil }
        self.init(bytes: bytes)
    }

    /// 4 or 16 bytes in network order; nil for another count.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.init(isIPv6: bytes.count == 16, value: bytes.reduce(0) { $0 << 8 | UInt128($1) })
    }

    public static func v4(_ value: UInt32) -> IPAddress { IPAddress(isIPv6: false, value: UInt128(value)) }

    public static func v4(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) -> IPAddress {
        v4(UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d))
    }

    public static func v6(_ value: UInt128) -> IPAddress { IPAddress(isIPv6: true, value: value) }

    /// `0.0.0.0`
    public static let anyIPv4 = v4(0)
    /// `::`
    public static let anyIPv6 = v6(0)

    /// 32 or 128.
    public var bitWidth: Int { isIPv6 ? 128 : 32 }

    /// In network order, 4 or 16 of them.
    public var bytes: [UInt8] {
        stride(from: bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> UInt128($0)) }
    }

    /// In 127.0.0.0/8, or ::1.
    public var isLoopback: Bool { isIPv6 ? value == 1 : value >> 24 == 127 }

    /// `0.0.0.0` or `::`
    public var isUnspecified: Bool { value == 0 }

    /// In 169.254.0.0/16 or fe80::/10.
    public var isLinkLocal: Bool { isIPv6 ? value >> 118 == 0xFE80 >> 6 : value >> 16 == 0xA9FE }

    /// In 224.0.0.0/4 or ff00::/8.
    public var isMulticast: Bool { isIPv6 ? value >> 120 == 0xFF : value >> 28 == 0xE }

    /// The address `offset` places further; nil past either end of the family's space.
    public func advanced(by offset: Int) -> IPAddress? {
        let magnitude = UInt128(offset.magnitude)
        let (result, overflow) =
            offset < 0 ? value.subtractingReportingOverflow(magnitude) : value.addingReportingOverflow(magnitude)
        guard !overflow, isIPv6 || result <= UInt128(UInt32.max) else { return nil }
        return IPAddress(isIPv6: isIPv6, value: result)
    }

    /// Another address of the same family; `value` is cut to its width.
    public func with(value: UInt128) -> IPAddress {
        IPAddress(isIPv6: isIPv6, value: isIPv6 ? value : value & UInt128(UInt32.max))
    }

    public static func < (left: IPAddress, right: IPAddress) -> Bool {
        left.isIPv6 == right.isIPv6 ? left.value < right.value : right.isIPv6
    }

    public var description: String {
        var text = [CChar](repeating: 0, count: 46)
        let bytes = bytes
        inet_ntop(isIPv6 ? AF_INET6 : AF_INET, bytes, &text, socklen_t(text.count))
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// An address and the length of its network's prefix, as in `172.17.0.1/16`. Bits beyond the prefix are kept: the value
/// says both an interface's address and a subnet; ``network`` is the subnet alone.
public struct IPNetwork: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let address: IPAddress
    /// 0 to 32, or to 128.
    public let prefixLength: Int

    /// nil when the prefix is longer than the address.
    public init?(_ address: IPAddress, prefixLength: Int) {
        guard (0...address.bitWidth).contains(prefixLength) else { return nil }
        self.address = address
        self.prefixLength = prefixLength
    }

    /// `172.17.0.0/16`; nil for anything else, an address without a prefix included.
    public init?(_ text: String) {
        let parts = text.split(byte: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(String(parts[0])),
            (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let length = Int(parts[1])
        else { return nil }
        self.init(address, prefixLength: length)
    }

    /// The one address: /32 or /128.
    public init(host address: IPAddress) {
        self.address = address
        prefixLength = address.bitWidth
    }

    public var isIPv6: Bool { address.isIPv6 }

    /// Ones where the host's part is.
    private var hostMask: UInt128 {
        let bits = address.bitWidth - prefixLength
        return bits == 128 ? .max : UInt128(1) << UInt128(bits) - 1
    }

    /// The subnet: the address with its host part cleared.
    public var network: IPNetwork {
        IPNetwork(firstAddress, prefixLength: prefixLength)!
    }

    /// The subnet's first address, which no host has in IPv4.
    public var firstAddress: IPAddress { address.with(value: address.value & ~hostMask) }

    /// The subnet's last address, IPv4's broadcast address.
    public var lastAddress: IPAddress { address.with(value: address.value | hostMask) }

    /// `255.255.0.0`, or its IPv6 counterpart.
    public var mask: IPAddress { address.with(value: ~hostMask) }

    /// How many addresses the subnet has; `UInt128.max` stands for ::/0's 2^128.
    public var size: UInt128 { hostMask == .max ? .max : hostMask + 1 }

    public func contains(_ other: IPAddress) -> Bool {
        other.isIPv6 == isIPv6 && (other.value ^ address.value) & ~hostMask == 0
    }

    /// Whether the two subnets share an address.
    public func overlaps(_ other: IPNetwork) -> Bool {
        prefixLength <= other.prefixLength ? contains(other.address) : other.contains(address)
    }

    public static func < (left: IPNetwork, right: IPNetwork) -> Bool {
        (left.address, left.prefixLength) < (right.address, right.prefixLength)
    }

    public var description: String { "\(address)/\(prefixLength)" }
}

/// A 48-bit Ethernet address.
public struct MACAddress: Hashable, Sendable, CustomStringConvertible {
    /// Six bytes.
    public let bytes: [UInt8]

    /// nil unless there are six.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 6 else { return nil }
        self.bytes = Array(bytes)
    }

    /// `02:42:ac:11:00:02`, also with `-` between the pairs; nil for anything else.
    public init?(_ text: String) {
        let parts = text.split(omittingEmptySubsequences: false) { $0 == ":" || $0 == "-" }
        let bytes = parts.compactMap { part in
            part.utf8.count == 2 && part.allSatisfy(\.isHexDigit) ? UInt8(part, radix: 16) : nil
        }
        guard parts.count == 6 else { return nil }
        self.init(bytes: bytes)
    }

    /// A random one, locally administered, of one station.
    public static func random() -> MACAddress {
        var bytes = (0..<6).map { _ in UInt8.random(in: 0...255) }
        bytes[0] = bytes[0] & 0xFC | 0x02
        return MACAddress(bytes: bytes)!
    }

    /// What Docker gives to a container with this IPv4 address: `02:42` and the address, so that a neighbour's table
    /// stays right when an address comes back. nil for IPv6.
    public init?(for address: IPAddress) {
        guard !address.isIPv6 else { return nil }
        self.init(bytes: [0x02, 0x42] + address.bytes)
    }

    /// A group's, which no interface can have.
    public var isMulticast: Bool { bytes[0] & 1 != 0 }

    public var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}

/// Values that are one string in JSON.
private func decodeText<Value>(_ decoder: any Decoder, _ parse: (String) -> Value?) throws -> Value {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let value = parse(text) else {
        throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a \(Value.self): \(text)")
    }
    return value
}

private func encodeText(_ text: String, _ encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
}

extension IPAddress: Codable {
    public init(from decoder: any Decoder) throws { self = try decodeText(decoder) { IPAddress($0) } }
    public func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
}

extension IPNetwork: Codable {
    public init(from decoder: any Decoder) throws { self = try decodeText(decoder) { IPNetwork($0) } }
    public func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
}

extension MACAddress: Codable {
    public init(from decoder: any Decoder) throws { self = try decodeText(decoder) { MACAddress($0) } }
    public func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
}
