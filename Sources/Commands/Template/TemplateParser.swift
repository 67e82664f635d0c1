/// One piece of a parsed template.
indirect enum TemplateNode: Sendable {
    case text(String)
    case action(Pipeline)
    case branch(Branch, Pipeline, then: [TemplateNode], otherwise: [TemplateNode])
    case leaveLoop
    case nextRound
    /// `{{template "name" pipeline}}`
    case call(name: String, Pipeline?, place: String)

    enum Branch: Sendable { case `if`, with, range }
}

/// `$x := command | command …`
struct Pipeline: Sendable {
    var variables: [String] = []
    /// `=` rather than `:=`.
    var assigns = false
    var commands: [[Operand]] = []
}

/// One word of a command, and the fields taken from it: `.State.Pid`, `$c.Name`, `(index .Mounts 0).Source`.
struct Operand: Sendable {
    indirect enum Base: Sendable {
        case dot
        case variable(String)
        case literal(OrderedJSON)
        case function(String)
        case pipeline(Pipeline)
    }
    let base: Base
    var fields: [String] = []
    /// Where an error about it is said to be: its first token, or the first field of a chain.
    var place: String
}

/// Builds the tree; recursive descent over what the lexer found.
struct TemplateParser {
    private var tokens: ArraySlice<TemplateToken>
    private var loops = 0
    /// What `{{define}}` and `{{block}}` named.
    private var named: [String: [TemplateNode]] = [:]

    private init(_ tokens: [TemplateToken]) { self.tokens = tokens[...] }

    static func parse(_ source: String) throws(TemplateError) -> (main: [TemplateNode], named: [String: [TemplateNode]])
    {
        var parser = TemplateParser(try templateTokens(source))
        let (nodes, end) = try parser.nodes()
        if let end { throw TemplateError("template: :1: unexpected {{\(end.keyword)}}") }
        return (nodes, parser.named)
    }

    /// What closed a list of nodes.
    private enum End {
        case end
        case `else`(ArraySlice<ActionToken>)
        var keyword: String { if case .end = self { "end" } else { "else" } }
    }

    private mutating func nodes() throws(TemplateError) -> ([TemplateNode], End?) {
        var result: [TemplateNode] = []
        while let token = tokens.popFirst() {
            guard case .action(let action) = token else {
                if case .text(let text) = token { result.append(.text(text)) }
                continue
            }
            guard case .word(let keyword)? = action.first?.kind else {
                result.append(.action(try pipeline(action[...])))
                continue
            }
            switch keyword {
            case "if", "with", "range": result.append(try branch(keyword, action.dropFirst()))
            case "end": return (result, .end)
            case "else": return (result, .else(action.dropFirst()))
            case "break", "continue":
                if loops == 0 { throw TemplateError("template: :1: {{\(keyword)}} outside {{range}}") }
                result.append(keyword == "break" ? .leaveLoop : .nextRound)
            case "define", "block", "template":
                if let node = try named(keyword, action.dropFirst()) { result.append(node) }
            default: result.append(.action(try pipeline(action[...])))
            }
        }
        return (result, nil)
    }

    /// `{{define "x"}}…{{end}}`, `{{template "x" .}}`, and `{{block "x" .}}…{{end}}`, which is both.
    private mutating func named(_ keyword: String, _ action: ArraySlice<ActionToken>) throws(TemplateError)
        -> TemplateNode?
    {
        guard let first = action.first, case .string(let name) = first.kind else {
            throw TemplateError(
                "template: :1: unexpected \(action.first.map { "\($0.kind)" } ?? "end") in \(keyword) clause")
        }
        let rest = action.dropFirst()
        if keyword != "template" {
            let outer = loops
            loops = 0
            let (body, end) = try nodes()
            loops = outer
            guard case .end? = end else { throw TemplateError("template: :1: unexpected EOF") }
            named[name] = body
            if keyword == "define" { return nil }
        }
        return .call(name: name, rest.isEmpty ? nil : try pipeline(rest), place: first.place)
    }

    private mutating func branch(_ keyword: String, _ condition: ArraySlice<ActionToken>) throws(TemplateError)
        -> TemplateNode
    {
        let kind: TemplateNode.Branch = keyword == "if" ? .if : keyword == "with" ? .with : .range
        if condition.isEmpty { throw TemplateError("template: :1: missing value for \(keyword)") }
        let pipeline = try pipeline(condition)
        if kind == .range { loops += 1 }
        let (then, end) = try nodes()
        if kind == .range { loops -= 1 }
        switch end {
        case nil: throw TemplateError("template: :1: unexpected EOF")
        case .end: return .branch(kind, pipeline, then: then, otherwise: [])
        case .else(let rest):
            if case .word(let next)? = rest.first?.kind, next == "if" || next == "with" {
                // `{{else if}}` shares the `{{end}}` of the outer one.
                let inner = try branch(next, rest.dropFirst())
                return .branch(kind, pipeline, then: then, otherwise: [inner])
            }
            let (otherwise, close) = try nodes()
            guard case .end? = close else { throw TemplateError("template: :1: unexpected EOF") }
            return .branch(kind, pipeline, then: then, otherwise: otherwise)
        }
    }

    private func pipeline(_ tokens: ArraySlice<ActionToken>) throws(TemplateError) -> Pipeline {
        var rest = tokens
        let result = try pipeline(&rest)
        if let token = rest.first { throw TemplateError("template: :1: unexpected \(token.kind) in a command") }
        return result
    }

    private func pipeline(_ rest: inout ArraySlice<ActionToken>) throws(TemplateError) -> Pipeline {
        var result = Pipeline()
        declaration(&rest, &result)
        while true {
            let command = try command(&rest)
            if command.isEmpty { throw TemplateError("template: :1: missing value for command") }
            result.commands.append(command)
            if rest.first?.kind != .pipe { return result }
            rest = rest.dropFirst()
        }
    }

    /// `$x :=`, `$x =`, `$i, $x :=`; consumes nothing where there is none.
    private func declaration(_ rest: inout ArraySlice<ActionToken>, _ pipeline: inout Pipeline) {
        var scan = rest
        var names: [String] = []
        while case .variable(let name)? = scan.first?.kind {
            names.append(name)
            scan = scan.dropFirst()
            if scan.first?.kind == .comma {
                scan = scan.dropFirst()
                continue
            }
            if scan.first?.kind == .declare || scan.first?.kind == .assign {
                pipeline.variables = names
                pipeline.assigns = scan.first?.kind == .assign
                rest = scan.dropFirst()
            }
            return
        }
    }

    private func command(_ rest: inout ArraySlice<ActionToken>) throws(TemplateError) -> [Operand] {
        var operands: [Operand] = []
        while let token = rest.first {
            func add(_ base: Operand.Base, _ fields: [String] = []) {
                operands.append(Operand(base: base, fields: fields, place: token.place))
            }
            switch token.kind {
            case .pipe, .close: return operands
            case .dot: add(.dot)
            case .field(let name, let precededBySpace):
                if !precededBySpace, !operands.isEmpty {
                    // The error is about the first field of a chain.
                    let last = operands.count - 1
                    let begun = if case .dot = operands[last].base { 1 } else { 0 }
                    if operands[last].fields.count == begun { operands[last].place = token.place }
                    operands[last].fields.append(name)
                } else {
                    add(.dot, [name])
                }
            case .variable(let name): add(.variable(name))
            case .string(let text): add(.literal(.string(text)))
            case .number(let text): add(.literal(try number(text)))
            case .word("true"): add(.literal(.bool(true)))
            case .word("false"): add(.literal(.bool(false)))
            case .word("nil"): add(.literal(.null))
            case .word(let name):
                if !TemplateFunctions.names.contains(name) {
                    throw TemplateError("template: :1: function \(quoted(name)) not defined")
                }
                add(.function(name))
            case .open:
                rest = rest.dropFirst()
                let inner = try pipeline(&rest)
                if rest.first?.kind != .close { throw TemplateError("template: :1: unclosed left paren") }
                add(.pipeline(inner))
            case .declare, .assign, .comma: throw TemplateError("template: :1: unexpected \(token.kind) in operand")
            }
            rest = rest.dropFirst()
        }
        return operands
    }

    private func number(_ text: String) throws(TemplateError) -> OrderedJSON {
        if let value = Int64(text) { return .integer(value) }
        if text.lowercased().hasPrefix("0x"), let value = Int64(text.dropFirst(2), radix: 16) { return .integer(value) }
        guard let value = Double(text) else { throw TemplateError("template: :1: bad number syntax: \(quoted(text))") }
        guard value.isFinite else { throw TemplateError("template: :1: illegal number syntax: \(quoted(text))") }
        // As it is printed, not as it was written: 1e3 is 1000.
        return .number(Int64(exactly: value).map(String.init) ?? "\(value)")
    }
}
