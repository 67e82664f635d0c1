/// The functions of Go's `text/template` and those that docker's formatting page adds, on JSON values.
enum TemplateFunctions {
    static let names: Set<String> = [
        "json", "split", "join", "title", "lower", "upper", "pad", "padlen", "truncate",
        "print", "printf", "println", "len", "index", "slice", "urlquery",
        "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "html", "js", "call",
    ]

    static func call(_ name: String, _ arguments: [OrderedJSON]) throws(TemplateError) -> OrderedJSON {
        func expect(_ count: Int) throws(TemplateError) {
            if arguments.count != count {
                throw TemplateError("wrong number of args for \(name): want \(count) got \(arguments.count)")
            }
        }
        func text(_ index: Int) throws(TemplateError) -> String {
            guard let text = arguments[index].string else {
                throw TemplateError("error calling \(name): \(print(arguments[index])) is not a string")
            }
            return text
        }
        func number(_ index: Int) throws(TemplateError) -> Int {
            guard let number = arguments[index].integer.flatMap(Int.init(exactly:)) else {
                throw TemplateError("error calling \(name): \(print(arguments[index])) is not a number")
            }
            return number
        }
        /// That many blanks, none for a negative number.
        func blanks(_ index: Int, less taken: Int = 0) throws(TemplateError) -> String {
            let count = try number(index)
            guard count <= 1_000_000 else { throw TemplateError("error calling \(name): a width of \(count)") }
            return String(repeating: " ", count: max(0, max(0, count) - taken))
        }
        switch name {
        case "json":
            try expect(1)
            return .string(arguments[0].text)
        case "lower":
            try expect(1)
            return .string(try text(0).lowercased())
        case "upper":
            try expect(1)
            return .string(try text(0).uppercased())
        case "title":
            try expect(1)
            return .string(titled(try text(0)))
        case "split":
            try expect(2)
            return .array(split(try text(0), try text(1)).map(OrderedJSON.string))
        case "join":
            try expect(2)
            return .string(arguments[0].elements.map { $0.string ?? print($0) }.joined(separator: try text(1)))
        case "pad":
            try expect(3)
            let text = try text(0)
            if text.isEmpty { return .string("") }
            return .string(try blanks(1) + text + blanks(2))
        case "padlen":
            try expect(2)
            let text = try text(0)
            return .string(try text + blanks(1, less: text.count))
        case "truncate":
            try expect(2)
            return .string(String(try text(0).prefix(max(0, try number(1)))))
        case "print": return .string(printed(arguments))
        case "println": return .string(arguments.map(print).joined(separator: " ") + "\n")
        case "printf": return .string(try format(arguments))
        case "urlquery":
            let text = percentEncoded(printed(arguments))
            return .string(text.split(separator: "%20", omittingEmptySubsequences: false).joined(separator: "+"))
        case "html": return .string(printed(arguments).map { htmlEscapes[$0] ?? String($0) }.joined())
        case "js": return .string(printed(arguments).unicodeScalars.map(escapedForScript).joined())
        case "call":
            guard let value = arguments.first else {
                throw TemplateError("wrong number of args for call: want at least 1 got 0")
            }
            throw TemplateError("error calling call: non-function value of type \(typeName(value))")
        case "len":
            try expect(1)
            return .integer(Int64(try length(arguments[0])))
        case "index": return try index(arguments)
        case "slice": return try slice(arguments)
        case "not":
            try expect(1)
            return .bool(!isTrue(arguments[0]))
        case "and", "or":
            if arguments.isEmpty { throw TemplateError("wrong number of args for \(name): want at least 1 got 0") }
            let decisive = arguments.first { isTrue($0) == (name == "or") }
            return decisive ?? arguments[arguments.count - 1]
        case "eq":
            if arguments.count < 2 { throw TemplateError("missing argument for comparison") }
            for other in arguments.dropFirst() where try areEqual(arguments[0], other) { return .bool(true) }
            return .bool(false)
        case "ne":
            try expect(2)
            return .bool(!(try areEqual(arguments[0], arguments[1])))
        case "lt", "le", "gt", "ge":
            try expect(2)
            let order = try compare(arguments[0], arguments[1])
            return .bool(
                name == "lt" ? order < 0 : name == "le" ? order <= 0 : name == "gt" ? order > 0 : order >= 0)
        default: throw TemplateError("function \(quoted(name)) not defined")
        }
    }

    /// Go's notion of truth: anything but nil, false, zero and the empty.
    static func isTrue(_ value: OrderedJSON) -> Bool {
        switch value {
        case .null: false
        case .bool(let value): value
        case .integer(let number): number != 0
        case .number(let text): Double(text) != 0
        case .string(let text): !text.isEmpty
        case .array(let elements): !elements.isEmpty
        case .object(let object): !object.members.isEmpty
        }
    }

    /// A value as Go prints one: `map[a:1 b:2]` with sorted keys, `[a b]`, `<no value>`.
    static func print(_ value: OrderedJSON) -> String {
        switch value {
        case .null: "<no value>"
        case .bool(let value): value ? "true" : "false"
        case .integer(let number): String(number)
        case .number(let text): text
        case .string(let text): text
        case .array(let elements): "[" + elements.map(print).joined(separator: " ") + "]"
        case .object(let object):
            "map["
                + object.members.sorted { $0.key < $1.key }.map { "\($0.key):\(print($0.value))" }
                .joined(separator: " ") + "]"
        }
    }

    /// Operands side by side, with a space between two that are both no strings (Go's `fmt.Sprint`).
    private static func printed(_ arguments: [OrderedJSON]) -> String {
        var result = ""
        for (index, argument) in arguments.enumerated() {
            if index > 0 && argument.string == nil && arguments[index - 1].string == nil { result += " " }
            result += print(argument)
        }
        return result
    }

    private static let htmlEscapes: [Character: String] = [
        "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&#34;", "'": "&#39;", "\0": "\u{FFFD}",
    ]

    private static func escapedForScript(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\\", "'", "\"": "\\\(scalar)"
        case "<", ">", "&", "=": "\\u00" + String(scalar.value, radix: 16, uppercase: true)
        case _ where scalar.value < 0x20:
            "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16, uppercase: true)
        default: String(Character(scalar))
        }
    }

    /// Splits at every occurrence of `separator`; into characters where it is empty.
    static func split(_ text: String, _ separator: String) -> [String] {
        if separator.isEmpty { return text.map { String($0) } }
        return text.split(separator: separator, omittingEmptySubsequences: false).map(String.init)
    }

    private static func titled(_ text: String) -> String {
        var result = ""
        var startsWord = true
        for character in text {
            result += startsWord ? character.uppercased() : String(character)
            startsWord = !(character.isLetter || character.isNumber || character == "_" || character == "'")
        }
        return result
    }

    private static func length(_ value: OrderedJSON) throws(TemplateError) -> Int {
        switch value {
        case .string(let text): text.utf8.count
        case .array(let elements): elements.count
        case .object(let object): object.members.count
        case .null: 0
        default: throw TemplateError("error calling len: len of type \(typeName(value))")
        }
    }

    private static func index(_ arguments: [OrderedJSON]) throws(TemplateError) -> OrderedJSON {
        guard var value = arguments.first else { throw TemplateError("error calling index: no value") }
        for key in arguments.dropFirst() {
            switch (value, key) {
            case (.object(let object), .string(let name)):
                // A map of strings, such as labels, has an empty one for what it lacks.
                let isOfStrings = object.members.allSatisfy { $0.value.string != nil }
                value = object[name] ?? (isOfStrings ? .string("") : .null)
            case (.array(let elements), .integer(let position)):
                guard elements.indices.contains(Int(position)) else {
                    throw TemplateError("error calling index: index out of range: \(position)")
                }
                value = elements[Int(position)]
            case (.string(let text), .integer(let position)):
                let bytes = Array(text.utf8)
                guard bytes.indices.contains(Int(position)) else {
                    throw TemplateError("error calling index: index out of range: \(position)")
                }
                value = .integer(Int64(bytes[Int(position)]))
            case (.null, _): throw TemplateError("error calling index: index of untyped nil")
            default: throw TemplateError("error calling index: can't index \(print(value)) with \(print(key))")
            }
        }
        return value
    }

    private static func slice(_ arguments: [OrderedJSON]) throws(TemplateError) -> OrderedJSON {
        guard let value = arguments.first else { throw TemplateError("error calling slice: no value") }
        let count = try length(value)
        let bounds = arguments.dropFirst().compactMap(\.integer)
        let low = Int(bounds.first ?? 0)
        let high = bounds.count > 1 ? Int(bounds[1]) : count
        guard bounds.count < 3, bounds.count == arguments.count - 1 else {
            throw TemplateError("error calling slice: its bounds are one or two numbers")
        }
        if let bound = [low, high].first(where: { !(0...count).contains($0) }) {
            throw TemplateError("error calling slice: index out of range: \(bound)")
        }
        if low > high { throw TemplateError("error calling slice: invalid slice index: \(low) > \(high)") }
        switch value {
        case .array(let elements): return .array(Array(elements[low..<high]))
        case .string(let text): return .string(String(decoding: Array(text.utf8)[low..<high], as: UTF8.self))
        default: throw TemplateError("error calling slice: can't slice \(print(value))")
        }
    }

    private static func areEqual(_ left: OrderedJSON, _ right: OrderedJSON) throws(TemplateError) -> Bool {
        switch (left, right) {
        case (.null, _), (_, .null), (.bool, .bool), (.string, .string): return left == right
        case (.integer, .integer), (.number, .integer), (.integer, .number), (.number, .number):
            return left.double == right.double
        default: throw TemplateError("error calling eq: incompatible types for comparison")
        }
    }

    private static func compare(_ left: OrderedJSON, _ right: OrderedJSON) throws(TemplateError) -> Int {
        if let left = left.string, let right = right.string { return left < right ? -1 : left == right ? 0 : 1 }
        guard let left = left.double, let right = right.double else {
            throw TemplateError("error calling lt: incompatible types for comparison")
        }
        return left < right ? -1 : left == right ? 0 : 1
    }

    /// Go's `fmt.Sprintf` for the verbs that JSON has a use for.
    private static func format(_ arguments: [OrderedJSON]) throws(TemplateError) -> String {
        guard let pattern = arguments.first?.string else {
            throw TemplateError("error calling printf: the first argument is the format, a string")
        }
        var values = arguments.dropFirst()
        var result = ""
        var rest = pattern[...]
        while let character = rest.popFirst() {
            guard character == "%" else {
                result.append(character)
                continue
            }
            let flags = rest.prefix { "-+# 0".contains($0) }
            rest = rest.dropFirst(flags.count)
            let width = rest.prefix(while: \.isNumber)
            rest = rest.dropFirst(width.count)
            var precision: Int?
            if rest.first == "." {
                let digits = rest.dropFirst().prefix(while: \.isNumber)
                precision = digits.isEmpty ? 0 : Int(digits) ?? .max
                rest = rest.dropFirst(1 + digits.count)
            }
            guard let verb = rest.popFirst() else { return result + "%!(NOVERB)" }
            if verb == "%" {
                result.append("%")
                continue
            }
            guard let value = values.popFirst() else {
                result += "%!\(verb)(MISSING)"
                continue
            }
            // Go's bound for both.
            guard let width = width.isEmpty ? 0 : Int(width), width <= 1_000_000, precision ?? 0 <= 1_000_000 else {
                result += "%!(BADWIDTH)"
                continue
            }
            var text = formatted(value, verb, precision, flags)
            let missing = width - text.count
            if missing > 0 {
                if flags.contains("-") {
                    text += String(repeating: " ", count: missing)
                } else if flags.contains("0") && value.double != nil {
                    let sign = text.hasPrefix("-") ? "-" : ""
                    text = sign + String(repeating: "0", count: missing) + text.dropFirst(sign.count)
                } else {
                    text = String(repeating: " ", count: missing) + text
                }
            }
            result += text
        }
        if !values.isEmpty {
            result += "%!(EXTRA " + values.map(print).joined(separator: ", ") + ")"
        }
        return result
    }

    private static func formatted(_ value: OrderedJSON, _ verb: Character, _ precision: Int?, _ flags: Substring)
        -> String
    {
        let plus = flags.contains("+") && (value.double ?? -1) >= 0 ? "+" : ""
        switch (verb, value) {
        case ("v", _), ("s", .string), ("s", .array), ("s", .object):
            return plus + String(print(value).prefix(precision ?? .max))
        case ("d", .integer(let number)): return plus + String(number)
        case ("x", .integer(let number)): return String(number, radix: 16)
        case ("X", .integer(let number)): return String(number, radix: 16, uppercase: true)
        case ("o", .integer(let number)): return String(number, radix: 8)
        case ("b", .integer(let number)): return String(number, radix: 2)
        case ("c", .integer(let number)):
            return Unicode.Scalar(UInt32(clamping: number)).map { String(Character($0)) } ?? "\u{FFFD}"
        case ("q", .string(let text)): return quoted(text)
        case ("q", .array(let elements)):
            return "[" + elements.map { quoted($0.string ?? print($0)) }.joined(separator: " ") + "]"
        case ("x", .string(let text)):
            return text.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        case ("T", _): return typeName(value)
        case ("t", .bool(let flag)): return flag ? "true" : "false"
        case ("f", _) where value.double != nil:
            return plus + fixed(value.double ?? 0, decimals: precision ?? 6)
        case ("g", _) where value.double != nil:
            return plus + significant(value.double ?? 0, digits: precision ?? 15)
        default: return "%!\(verb)(\(typeName(value))=\(print(value)))"
        }
    }

    static func typeName(_ value: OrderedJSON) -> String {
        switch value {
        case .null: "<nil>"
        case .bool: "bool"
        case .integer: "int"
        case .number: "float64"
        case .string: "string"
        case .array: "[]interface {}"
        case .object: "map[string]interface {}"
        }
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
func percentEncoded(_ text: String) -> String {
    var result = ""
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), 48...57,
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
            result.append(Character(Unicode.Scalar(byte)))
        default:
            let hex = String(byte, radix: 16, uppercase: true)
            result += "%" + (hex.count < 2 ? "0" : "") + hex
        }
    }
    return result
}
