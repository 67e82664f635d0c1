/// The little JSON that `json-file` needs: strings, and the string members of one flat-ish object. Written out because
/// a general decoder costs ten times as much for each line of a log.
enum JSONText {
    /// Adds the inside of a JSON string, escaped as dockerd escapes it (also `<`, `>`, `&`, U+2028 and U+2029); bytes
    /// that are not UTF-8 become U+FFFD.
    static func appendEscaped(_ text: UnsafeRawBufferPointer, to output: inout [UInt8]) {
        var index = 0
        var plain = 0
        func flush(_ end: Int) {
            if end > plain { output.append(contentsOf: UnsafeRawBufferPointer(rebasing: text[plain..<end])) }
        }
        while index < text.count {
            let byte = text[index]
            if byte < 0x80 {
                if byte >= 0x20, byte != 0x22, byte != 0x5C, byte != 0x3C, byte != 0x3E, byte != 0x26 {
                    index += 1
                    continue
                }
                flush(index)
                switch byte {
                case 0x22, 0x5C: output.append(contentsOf: [0x5C, byte])
                case 0x0A: output.append(contentsOf: [0x5C, UInt8(ascii: "n")])
                case 0x0D: output.append(contentsOf: [0x5C, UInt8(ascii: "r")])
                default: output.append(contentsOf: [0x5C, 0x75, 0x30, 0x30, hex(byte >> 4), hex(byte & 15)])
                }
                index += 1
                plain = index
                continue
            }
            let length = sequenceLength(text, index)
            if length == 0 {
                flush(index)
                output.append(contentsOf: "\\ufffd".utf8)
                index += 1
                plain = index
            } else if length == 3, byte == 0xE2, text[index + 1] == 0x80, text[index + 2] & 0xFE == 0xA8 {
                flush(index)
                output.append(contentsOf: "\\u202".utf8)
                output.append(hex(text[index + 2] & 15))
                index += 3
                plain = index
            } else {
                index += length
            }
        }
        flush(index)
    }

    /// The values of the string members called `names`, unescaped, in that order; nil unless `text` is one object.
    static func stringMembers(_ text: UnsafeRawBufferPointer, of names: [StaticString]) -> [[UInt8]?]? {
        var cursor = Cursor(text: text, index: 0)
        var values = [[UInt8]?](repeating: nil, count: names.count)
        guard cursor.take(0x7B) else { return nil }
        if cursor.take(0x7D) { return cursor.atEnd ? values : nil }
        repeat {
            guard let name = cursor.string(), cursor.take(0x3A) else { return nil }
            let slot = names.firstIndex {
                name.elementsEqual(UnsafeBufferPointer(start: $0.utf8Start, count: $0.utf8CodeUnitCount))
            }
            if let slot, cursor.peek() == 0x22 {
                guard let value = cursor.string() else { return nil }
                values[slot] = value
            } else {
                guard cursor.skipValue(depth: 0) else { return nil }
            }
        } while cursor.take(0x2C)
        guard cursor.take(0x7D), cursor.atEnd else { return nil }
        return values
    }

    private struct Cursor {
        let text: UnsafeRawBufferPointer
        var index: Int

        mutating func peek() -> UInt8? {
            while index < text.count, text[index] == 0x20 || (0x09...0x0D).contains(text[index]) { index += 1 }
            return index < text.count ? text[index] : nil
        }

        var atEnd: Bool {
            mutating get { peek() == nil }
        }

        mutating func take(_ byte: UInt8) -> Bool {
            guard peek() == byte else { return false }
            index += 1
            return true
        }

        mutating func string() -> [UInt8]? {
            guard take(0x22) else { return nil }
            var value: [UInt8] = []
            var plain = index
            func flush(_ end: Int) {
                if end > plain { value.append(contentsOf: UnsafeRawBufferPointer(rebasing: text[plain..<end])) }
            }
            while index < text.count {
                switch text[index] {
                case 0x22:
                    flush(index)
                    index += 1
                    return value
                case 0x5C:
                    flush(index)
                    guard index + 1 < text.count, let scalar = escape() else { return nil }
                    value.append(contentsOf: String(Character(scalar)).utf8)
                    plain = index
                default: index += 1
                }
            }
            return nil
        }

        /// Reads one escape sequence (a surrogate pair is two); a lone surrogate is U+FFFD.
        private mutating func escape() -> Unicode.Scalar? {
            let kind = text[index + 1]
            index += 2
            switch kind {
            case 0x22, 0x5C, 0x2F: return Unicode.Scalar(kind)
            case UInt8(ascii: "n"): return "\n"
            case UInt8(ascii: "r"): return "\r"
            case UInt8(ascii: "t"): return "\t"
            case UInt8(ascii: "b"): return "\u{8}"
            case UInt8(ascii: "f"): return "\u{c}"
            case UInt8(ascii: "u"):
                guard let unit = hexDigits() else { return nil }
                if unit & 0xFC00 == 0xD800, index + 1 < text.count, text[index] == 0x5C, text[index + 1] == 0x75 {
                    let resume = index
                    index += 2
                    guard let low = hexDigits() else { return nil }
                    if low & 0xFC00 == 0xDC00 {
                        return Unicode.Scalar(0x10000 + (unit & 0x3FF) << 10 + (low & 0x3FF))
                    }
                    index = resume
                }
                return Unicode.Scalar(unit) ?? "\u{FFFD}"
            default: return nil
            }
        }

        private mutating func hexDigits() -> UInt32? {
            guard index + 4 <= text.count else { return nil }
            var value: UInt32 = 0
            for _ in 0..<4 {
                guard let digit = Character(Unicode.Scalar(text[index])).hexDigitValue else { return nil }
                value = value << 4 | UInt32(digit)
                index += 1
            }
            return value
        }

        mutating func skipValue(depth: Int) -> Bool {
            guard depth < 8, let first = peek() else { return false }
            switch first {
            case 0x22: return string() != nil
            case 0x7B, 0x5B:
                let end: UInt8 = first == 0x7B ? 0x7D : 0x5D
                index += 1
                if take(end) { return true }
                repeat {
                    if first == 0x7B {
                        guard string() != nil, take(0x3A) else { return false }
                    }
                    guard skipValue(depth: depth + 1) else { return false }
                } while take(0x2C)
                return take(end)
            default:
                let start = index
                while index < text.count, !"{}[],:\" ".utf8.contains(text[index]) { index += 1 }
                return index > start
            }
        }
    }

    private static func hex(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? 48 + nibble : 87 + nibble
    }

    /// Length of the valid UTF-8 sequence at `index` (Unicode 16, table 3-7), 0 if there is none.
    private static func sequenceLength(_ text: UnsafeRawBufferPointer, _ index: Int) -> Int {
        let first = text[index]
        let (length, low, high): (Int, UInt8, UInt8) =
            switch first {
            case 0xC2...0xDF: (2, 0x80, 0xBF)
            case 0xE0: (3, 0xA0, 0xBF)
            case 0xED: (3, 0x80, 0x9F)
            case 0xE1...0xEF: (3, 0x80, 0xBF)
            case 0xF0: (4, 0x90, 0xBF)
            case 0xF1...0xF3: (4, 0x80, 0xBF)
            case 0xF4: (4, 0x80, 0x8F)
            default: (0, 0, 0)
            }
        guard length > 0, index + length <= text.count, text[index + 1] >= low, text[index + 1] <= high else {
            return 0
        }
        for offset in 2..<max(length, 2) where text[index + offset] & 0xC0 != 0x80 { return 0 }
        return length
    }
}
