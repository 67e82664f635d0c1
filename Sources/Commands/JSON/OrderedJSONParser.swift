/// Why text is no JSON, and where.
struct JSONSyntaxError: Error, CustomStringConvertible {
    let reason: String
    /// Bytes from the start.
    let offset: Int
    var description: String { "\(reason) at byte \(offset)" }
}

extension OrderedJSON {
    /// Parses the one JSON value that `bytes` (UTF-8) holds, RFC 8259, with at most 512 levels of nesting.
    init(parsing bytes: some Collection<UInt8>) throws(JSONSyntaxError) {
        var parser = JSONParser(Array(bytes))
        self = try parser.document()
    }
}

private struct JSONParser {
    private let bytes: [UInt8]
    private var position = 0
    private var depth = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(JSONSyntaxError) -> OrderedJSON {
        let value = try self.value()
        skipSpace()
        if position < bytes.count { throw error("something follows the JSON value") }
        return value
    }

    private func error(_ reason: String) -> JSONSyntaxError { JSONSyntaxError(reason: reason, offset: position) }

    private mutating func skipSpace() {
        while position < bytes.count, [9, 10, 13, 32].contains(bytes[position]) { position += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func value() throws(JSONSyntaxError) -> OrderedJSON {
        skipSpace()
        guard position < bytes.count else { throw error("the JSON ends too early") }
        switch bytes[position] {
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "-"), 48...57: return try number()
        default: throw error("unexpected character")
        }
    }

    private mutating func literal(_ word: StaticString, _ value: OrderedJSON) throws(JSONSyntaxError) -> OrderedJSON {
        let end = position + word.utf8CodeUnitCount
        let expected = UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
        guard end <= bytes.count, bytes[position..<end].elementsEqual(expected) else { throw error("unknown word") }
        position = end
        return value
    }

    private mutating func enter() throws(JSONSyntaxError) {
        position += 1
        depth += 1
        if depth > 512 { throw error("more than 512 levels of nesting") }
    }

    private mutating func object() throws(JSONSyntaxError) -> OrderedJSON {
        try enter()
        defer { depth -= 1 }
        var result = JSONObject()
        skipSpace()
        if take("}") { return .object(result) }
        while true {
            skipSpace()
            guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
                throw error("a member's name is missing")
            }
            let key = try string()
            skipSpace()
            if !take(":") { throw error("a colon is missing") }
            result.members.append((key: key, value: try value()))
            skipSpace()
            if take("}") { return .object(result) }
            if !take(",") { throw error("a comma is missing") }
        }
    }

    private mutating func array() throws(JSONSyntaxError) -> OrderedJSON {
        try enter()
        defer { depth -= 1 }
        var result: [OrderedJSON] = []
        skipSpace()
        if take("]") { return .array(result) }
        while true {
            result.append(try value())
            skipSpace()
            if take("]") { return .array(result) }
            if !take(",") { throw error("a comma is missing") }
        }
    }

    private mutating func number() throws(JSONSyntaxError) -> OrderedJSON {
        let start = position
        while position < bytes.count {
            switch bytes[position] {
            case 48...57, UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"):
                position += 1
                continue
            default: break
            }
            break
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if let integer = Int64(text), text != "-0" { return .integer(integer) }
        if Double(text) == nil { throw error("no number") }
        return .number(text)
    }

    private mutating func string() throws(JSONSyntaxError) -> String {
        position += 1
        let start = position
        // Nearly every string has no escape: find its end and make it in one step.
        while position < bytes.count, bytes[position] != UInt8(ascii: "\""), bytes[position] != UInt8(ascii: "\\") {
            if bytes[position] < 0x20 { throw error("a control character in a string") }
            position += 1
        }
        if take("\"") { return String(decoding: bytes[start..<position - 1], as: UTF8.self) }
        var text = Array(bytes[start..<position])
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if byte == UInt8(ascii: "\"") { return String(decoding: text, as: UTF8.self) }
            if byte == UInt8(ascii: "\\") {
                try escape(into: &text)
            } else if byte < 0x20 {
                throw error("a control character in a string")
            } else {
                text.append(byte)
            }
        }
        throw error("a string does not end")
    }

    private mutating func escape(into text: inout [UInt8]) throws(JSONSyntaxError) {
        guard position < bytes.count else { throw error("a string does not end") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "u"):
            var code = UInt32(try codeUnit())
            if (0xD800...0xDBFF).contains(code), take("\\") {
                if !take("u") { throw error("half a surrogate pair") }
                let low = UInt32(try codeUnit())
                guard (0xDC00...0xDFFF).contains(low) else { throw error("half a surrogate pair") }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            // A lone surrogate is no character: U+FFFD, as Go reads it.
            text += String(Unicode.Scalar(code) ?? "\u{FFFD}").utf8
        default: throw error("unknown escape")
        }
    }

    private mutating func codeUnit() throws(JSONSyntaxError) -> UInt16 {
        guard position + 4 <= bytes.count,
            let value = UInt16(String(decoding: bytes[position..<position + 4], as: UTF8.self), radix: 16)
        else { throw error("four hexadecimal digits are missing") }
        position += 4
        return value
    }
}
