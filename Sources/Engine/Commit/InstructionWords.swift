/// Words of a Dockerfile's instructions: how they are told apart, and how variables and quotes in them are resolved
/// (https://docs.docker.com/reference/dockerfile/#environment-replacement).
enum InstructionWords {
    /// Splits at white space that is neither quoted nor escaped. Quotes and escapes stay.
    static func split(_ text: String) -> [String] {
        var words: [String] = []
        var word = ""
        var quote: Character?
        var isEscaped = false
        for character in text {
            if isEscaped {
                isEscaped = false
            } else if character == "\\", quote != "'" {
                isEscaped = true
            } else if let open = quote {
                if character == open { quote = nil }
            } else if character == "'" || character == "\"" {
                quote = character
            } else if character.isWhitespace {
                if !word.isEmpty { words.append(word) }
                word = ""
                continue
            }
            word.append(character)
        }
        if !word.isEmpty { words.append(word) }
        return words
    }

    /// Puts in the values of variables and takes quotes and escapes away.
    ///
    /// - Parameter value: of a variable, nil for one that isn't set, which counts as empty.
    static func expand(_ word: String, _ value: @escaping (String) -> String?) throws(EngineError) -> String {
        var expansion = Expansion(rest: word[...], value: value)
        return try expansion.run(until: nil)
    }

    private struct Expansion {
        var rest: Substring
        let value: (String) -> String?

        /// Up to an unquoted `end`, which is taken too, or to the end of the word.
        mutating func run(until end: Character?) throws(EngineError) -> String {
            var result = ""
            while let character = rest.popFirst() {
                switch character {
                case _ where character == end: return result
                case "'":
                    guard let closing = rest.firstIndex(of: "'") else { throw unterminated("single-quote") }
                    result += rest[..<closing]
                    rest = rest[closing...].dropFirst()
                case "\"": result += try quoted()
                case "$": result += try variable()
                case "\\": if let escaped = rest.popFirst() { result.append(escaped) }
                default: result.append(character)
                }
            }
            if end != nil { throw unterminated("variable") }
            return result
        }

        private mutating func quoted() throws(EngineError) -> String {
            var result = ""
            while let character = rest.popFirst() {
                switch character {
                case "\"": return result
                case "$": result += try variable()
                case "\\":
                    // Within double quotes a backslash escapes only what means something there.
                    guard let next = rest.popFirst() else { throw unterminated("double-quote") }
                    if !["\"", "$", "\\"].contains(next) { result.append("\\") }
                    result.append(next)
                default: result.append(character)
                }
            }
            throw unterminated("double-quote")
        }

        private mutating func variable() throws(EngineError) -> String {
            guard rest.first == "{" else {
                let name = takeName()
                return name.isEmpty ? "$" : value(name) ?? ""
            }
            rest.removeFirst()
            let name = takeName()
            guard !name.isEmpty, let next = rest.popFirst() else { throw .invalid("syntax error: bad substitution") }
            let current = value(name)
            if next == "}" { return current ?? "" }
            // `:` makes an empty value count as none.
            let modifier = next == ":" ? rest.popFirst() : next
            let isSet = next == ":" ? !(current ?? "").isEmpty : current != nil
            let word = try run(until: "}")
            switch modifier {
            case "-": return isSet ? current ?? "" : word
            case "+": return isSet ? word : ""
            case "?":
                guard isSet else { throw .invalid("\(name): \(word.isEmpty ? "not allowed to be unset" : word)") }
                return current ?? ""
            default: throw .invalid("unsupported modifier (\(modifier.map(String.init) ?? "")) in substitution")
            }
        }

        private mutating func takeName() -> String {
            guard let first = rest.first, first == "_" || first.isASCII && first.isLetter else {
                // A positional parameter is one digit; there are none, so it is empty.
                guard let digit = rest.first, digit.isASCII, digit.isNumber else { return "" }
                rest.removeFirst()
                return String(digit)
            }
            let name = rest.prefix { $0 == "_" || $0.isASCII && ($0.isLetter || $0.isNumber) }
            rest = rest[name.endIndex...]
            return String(name)
        }

        private func unterminated(_ what: String) -> EngineError {
            .invalid("unexpected end of statement while looking for matching \(what)")
        }
    }
}
