/// The SHA-256 digest of some content, written `sha256:<64 lower-case hex digits>` (image-spec descriptor.md, "Digests").
///
/// SHA-256 is the only algorithm that registries use; any other is refused by name when parsed.
public struct Digest: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The 64 lower-case hexadecimal digits, without the algorithm.
    public let hex: String

    /// Reads `sha256:<hex>`.
    public init(parsing text: some StringProtocol) throws(InvalidDigest) {
        guard let colon = text.firstIndex(byte: ":") else {
            throw InvalidDigest(text: String(text), reason: "it must look like sha256:<64 hex digits>")
        }
        guard text[..<colon] == "sha256" else {
            throw InvalidDigest(text: String(text), reason: "only the sha256 algorithm is supported")
        }
        let digits = text[text.utf8.index(after: colon)...]
        guard Digest.isHex(digits) else {
            throw InvalidDigest(text: String(text), reason: "sha256: is followed by exactly 64 lower-case hex digits")
        }
        hex = String(digits)
    }

    /// The digest with these 64 lower-case hex digits, or nil when they are not.
    public init?(hex: some StringProtocol) {
        guard Digest.isHex(hex) else { return nil }
        self.hex = String(hex)
    }

    /// The digest whose value is these 32 bytes.
    public init(bytes: some Collection<UInt8>) {
        precondition(bytes.count == 32, "a SHA-256 value has 32 bytes")
        let digits = Array("0123456789abcdef".utf8)
        hex = String(unsafeUninitializedCapacity: 64) { buffer in
            for (index, byte) in bytes.enumerated() {
                buffer[2 * index] = digits[Int(byte >> 4)]
                buffer[2 * index + 1] = digits[Int(byte & 15)]
            }
            return 64
        }
    }

    public var description: String { "sha256:" + hex }

    /// The first 12 hex digits: how Docker shows an ID to people.
    public var short: String { String(hex.prefix(12)) }

    public static func < (left: Digest, right: Digest) -> Bool { left.hex < right.hex }

    private static func isHex(_ text: some StringProtocol) -> Bool {
        text.utf8.count == 64
            && text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (97...102).contains($0) }
    }
}

/// Text that should have been a digest.
public struct InvalidDigest: Error, Sendable, CustomStringConvertible {
    public let text: String
    public let reason: String

    public var description: String { "invalid digest \"\(text.prefix(100))\": \(reason)" }
}

extension Digest: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        do {
            try self.init(parsing: text)
        } catch {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: error.description)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
