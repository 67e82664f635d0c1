/// Why a `--format` template is refused; the sentences follow Go's `text/template`.
struct TemplateError: Error, Equatable {
    let message: String
    init(_ message: String) { self.message = message }
}

/// What a template is made of, before its structure is known.
enum TemplateToken: Equatable {
    case text(String)
    /// The tokens between `{{` and `}}`.
    case action([ActionToken])
}

/// A token of an action, and where it is: `line:column`, the column counted from zero as Go does.
struct ActionToken: Equatable {
    let kind: Kind
    let place: String

    enum Kind: Equatable {
        /// A name without a dot: a function, a keyword or a literal such as `true`.
        case word(String)
        /// `.Name`; `precededBySpace` tells `.A .B` (two operands) from `.A.B` (a chain).
        case field(String, precededBySpace: Bool)
        case dot
        case variable(String)
        case string(String)
        case number(String)
        case open
        /// A closing parenthesis.
        case close
        case pipe, declare, assign, comma
    }
}

/// Splits a template into its text and its actions, with `{{-` and `-}}` trimming and `{{/* */}}` left out.
func templateTokens(_ source: String) throws(TemplateError) -> [TemplateToken] {
    var tokens: [TemplateToken] = []
    var rest = source[...]
    var trimsNext = false
    while true {
        guard let start = rest.firstRange(of: "{{") else {
            append(text: rest, to: &tokens, trimsStart: trimsNext, trimsEnd: false)
            return tokens
        }
        var inside = rest[start.upperBound...]
        let trimsEnd = inside.first == "-" && inside.dropFirst().first?.isWhitespace == true
        append(text: rest[..<start.lowerBound], to: &tokens, trimsStart: trimsNext, trimsEnd: trimsEnd)
        if trimsEnd { inside = inside.dropFirst() }
        let isComment = inside.drop(while: \.isWhitespace).hasPrefix(bytes: "/*")
        guard let end = isComment ? inside.firstRange(of: "}}")?.lowerBound : actionEnd(inside) else {
            throw TemplateError("template: :1: unclosed action")
        }
        var body = inside[..<end]
        trimsNext = body.last == "-" && body.dropLast().last?.isWhitespace == true
        if trimsNext { body = body.dropLast() }
        rest = inside[end...].dropFirst(2)
        if !isComment { tokens.append(.action(try actionTokens(body))) }
    }
}

private func append(text: Substring, to tokens: inout [TemplateToken], trimsStart: Bool, trimsEnd: Bool) {
    var text = text
    if trimsStart { text = text.drop(while: \.isWhitespace) }
    if trimsEnd { while text.last?.isWhitespace == true { text.removeLast() } }
    if !text.isEmpty { tokens.append(.text(String(text))) }
}

/// Where the `}}` of an action is, not counting those inside string literals.
private func actionEnd(_ source: Substring) -> Substring.Index? {
    var index = source.startIndex
    var quote: Character?
    while index < source.endIndex {
        let character = source[index]
        if let open = quote {
            if character == "\\" && open != "`" {
                index = source.index(after: index)
                if index == source.endIndex { return nil }
            } else if character == open {
                quote = nil
            }
        } else if character == "\"" || character == "`" || character == "'" {
            quote = character
        } else if source[index...].hasPrefix("}}") {
            return index
        }
        index = source.index(after: index)
    }
    return nil
}

private func actionTokens(_ source: Substring) throws(TemplateError) -> [ActionToken] {
    var tokens: [ActionToken] = []
    var rest = source
    func place(_ index: Substring.Index) -> String {
        let before = source.base[..<index]
        let line = before.split(separator: "\n", omittingEmptySubsequences: false)
        return "\(line.count):\(line.last?.utf8.count ?? 0)"
    }
    var precededBySpace = true
    func isWordPart(_ character: Character) -> Bool { character.isLetter || character.isNumber || character == "_" }
    while let character = rest.first {
        let hadSpace = precededBySpace
        precededBySpace = false
        let start = rest.startIndex
        func add(_ kind: ActionToken.Kind) { tokens.append(ActionToken(kind: kind, place: place(start))) }
        switch character {
        case _ where character.isWhitespace:
            precededBySpace = true
            rest = rest.dropFirst()
        case "(": add(.open); rest = rest.dropFirst()
        case ")": add(.close); rest = rest.dropFirst()
        case "|": add(.pipe); rest = rest.dropFirst()
        case ",": add(.comma); rest = rest.dropFirst()
        case "=": add(.assign); rest = rest.dropFirst()
        case ":" where rest.dropFirst().first == "=": add(.declare); rest = rest.dropFirst(2)
        case "\"", "`", "'":
            add(try literal(&rest, character))
        case ".":
            let name = rest.dropFirst().prefix(while: isWordPart)
            rest = rest.dropFirst(1 + name.count)
            add(name.isEmpty ? .dot : .field(String(name), precededBySpace: hadSpace))
        case "$":
            let name = rest.dropFirst().prefix(while: isWordPart)
            rest = rest.dropFirst(1 + name.count)
            add(.variable("$" + name))
        case "0"..."9", "-", "+":
            let number = rest.dropFirst().prefix { isWordPart($0) || $0 == "." }
            add(.number(String(character) + number))
            rest = rest.dropFirst(1 + number.count)
        case _ where isWordPart(character):
            let word = rest.prefix(while: isWordPart)
            add(.word(String(word)))
            rest = rest.dropFirst(word.count)
        default:
            throw TemplateError("template: :1: unexpected \"\(character)\" in operand")
        }
    }
    return tokens
}

/// A quoted, raw or character literal at the start of `rest`.
private func literal(_ rest: inout Substring, _ quote: Character) throws(TemplateError) -> ActionToken.Kind {
    rest = rest.dropFirst()
    var text = ""
    while let character = rest.popFirst() {
        if character == quote {
            if quote != "'" { return .string(text) }
            guard let scalar = text.unicodeScalars.first, text.unicodeScalars.count == 1 else { break }
            return .number(String(scalar.value))
        }
        guard character == "\\" && quote != "`" else {
            text.append(character)
            continue
        }
        guard let escaped = rest.popFirst() else { break }
        switch escaped {
        case "n": text += "\n"
        case "t": text += "\t"
        case "r": text += "\r"
        case "a": text += "\u{7}"
        case "b": text += "\u{8}"
        case "f": text += "\u{c}"
        case "v": text += "\u{b}"
        case "x", "u", "U":
            let width = escaped == "x" ? 2 : escaped == "u" ? 4 : 8
            guard let code = UInt32(rest.prefix(width), radix: 16), let scalar = Unicode.Scalar(code) else {
                throw TemplateError("template: :1: invalid syntax in a string")
            }
            text.unicodeScalars.append(scalar)
            rest = rest.dropFirst(width)
        default: text.append(escaped)
        }
    }
    throw TemplateError("template: :1: unterminated quoted string")
}
