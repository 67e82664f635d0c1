/// Any JSON, with what `JSONDecoder` loses and `inspect`, `--format` and `{{json}}` show: the order of an object's
/// members and the spelling of its numbers. It costs a fifth of a Foundation decode, which `ps` with hundreds of
/// containers and every `run` feel. (Requests are encoded from `EngineAPI`'s types.)
enum OrderedJSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    /// A number that is no `Int64`, as it was spelled.
    case number(String)
    case string(String)
    case array([OrderedJSON])
    case object(JSONObject)
}

/// An object's members in order.
struct JSONObject: Sendable, Equatable {
    var members: [(key: String, value: OrderedJSON)]

    init(_ members: [(String, OrderedJSON)] = []) { self.members = members.map { (key: $0.0, value: $0.1) } }

    /// Of members with one name the last counts, as in Go.
    subscript(key: String) -> OrderedJSON? { members.last { $0.key == key }?.value }

    /// Two objects are equal when they have the same members, whatever their order.
    static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.members.count == right.members.count && left.members.allSatisfy { right[$0.key] == $0.value }
    }
}

extension OrderedJSON {
    /// A member of an object; null where there is none or where this is no object.
    subscript(key: String) -> OrderedJSON {
        if case .object(let object) = self { return object[key] ?? .null }
        return .null
    }

    /// The text of a string, nil for anything else.
    var string: String? {
        if case .string(let text) = self { return text }
        return nil
    }

    var integer: Int64? {
        if case .integer(let number) = self { return number }
        return nil
    }

    /// An unsigned counter; the kernel's "no limit" exceeds `Int64`.
    var unsigned: UInt64? {
        switch self {
        case .integer(let number): UInt64(exactly: number)
        case .number(let text): UInt64(text)
        default: nil
        }
    }

    var double: Double? {
        switch self {
        case .integer(let number): Double(number)
        case .number(let text): Double(text)
        default: nil
        }
    }

    var bool: Bool? {
        if case .bool(let value) = self { return value }
        return nil
    }

    /// The elements of an array; none for anything else.
    var elements: [OrderedJSON] {
        if case .array(let elements) = self { return elements }
        return []
    }

    /// The members of an object; none for anything else.
    var members: [(key: String, value: OrderedJSON)] {
        if case .object(let object) = self { return object.members }
        return []
    }

    var isNull: Bool { self == .null }
}

extension OrderedJSON {
    /// Compact JSON.
    var text: String {
        var bytes: [UInt8] = []
        write(to: &bytes, indentation: nil, depth: 0)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Compact JSON in which `<`, `>` and `&` are escaped, as Go writes it where it may end up in a page.
    var textForPages: String {
        text.unicodeScalars.map { scalar in
            ["<", ">", "&"].contains(scalar) ? "\\u00" + String(scalar.value, radix: 16) : String(Character(scalar))
        }.joined()
    }

    /// JSON on several lines, as Go's `json.MarshalIndent` lays it out.
    func text(indentation: String) -> String {
        var bytes: [UInt8] = []
        write(to: &bytes, indentation: Array(indentation.utf8), depth: 0)
        return String(decoding: bytes, as: UTF8.self)
    }

    private func write(to bytes: inout [UInt8], indentation: [UInt8]?, depth: Int) {
        func line(_ depth: Int, _ bytes: inout [UInt8]) {
            guard let indentation else { return }
            bytes.append(10)
            for _ in 0..<depth { bytes += indentation }
        }
        switch self {
        case .null: bytes += "null".utf8
        case .bool(let value): bytes += (value ? "true" : "false").utf8
        case .integer(let number): bytes += String(number).utf8
        case .number(let text): bytes += text.utf8
        case .string(let text): OrderedJSON.write(text, to: &bytes)
        case .array(let elements):
            bytes.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                line(depth + 1, &bytes)
                element.write(to: &bytes, indentation: indentation, depth: depth + 1)
            }
            if !elements.isEmpty { line(depth, &bytes) }
            bytes.append(UInt8(ascii: "]"))
        case .object(let object):
            bytes.append(UInt8(ascii: "{"))
            for (index, member) in object.members.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                line(depth + 1, &bytes)
                OrderedJSON.write(member.key, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                if indentation != nil { bytes.append(UInt8(ascii: " ")) }
                member.value.write(to: &bytes, indentation: indentation, depth: depth + 1)
            }
            if !object.members.isEmpty { line(depth, &bytes) }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 8: bytes += "\\b".utf8
            case 9: bytes += "\\t".utf8
            case 10: bytes += "\\n".utf8
            case 12: bytes += "\\f".utf8
            case 13: bytes += "\\r".utf8
            case 0..<0x20:
                let hex = String(byte, radix: 16)
                bytes += ("\\u00" + (hex.count < 2 ? "0" : "") + hex).utf8
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
