/// One piece of a parsed template.
indirect enum TemplateNode: Sendable {
    case text(String)
    case action(Pipeline)
    case branch(Branch, Pipeline, then: [TemplateNode], otherwise: [TemplateNode])
    case leaveLoop
    case nextRound

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
}

/// Builds the tree; recursive descent over what the lexer found.
struct TemplateParser {
    private var tokens: ArraySlice<TemplateToken>
    private var loops = 0

    static func parse(_ source: String) throws(TemplateError) -> [TemplateNode] {
        var parser = TemplateParser(tokens: try templateTokens(source)[...])
        let (nodes, end) = try parser.nodes()
        if let end { throw TemplateError("template: :1: unexpected {{\(end.keyword)}}") }
        return nodes
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
            guard case .word(let keyword)? = action.first else {
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
            case "define", "template", "block":
                throw TemplateError("template: :1: {{\(keyword)}} has no use in --format and is not supported")
            default: result.append(.action(try pipeline(action[...])))
            }
        }
        return (result, nil)
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
            if case .word(let next)? = rest.first, next == "if" || next == "with" {
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
        if let token = rest.first { throw TemplateError("template: :1: unexpected \(token) in a command") }
        return result
    }

    private func pipeline(_ rest: inout ArraySlice<ActionToken>) throws(TemplateError) -> Pipeline {
        var result = Pipeline()
        declaration(&rest, &result)
        while true {
            let command = try command(&rest)
            if command.isEmpty { throw TemplateError("template: :1: missing value for command") }
            result.commands.append(command)
            if rest.first != .pipe { return result }
            rest = rest.dropFirst()
        }
    }

    /// `$x :=`, `$x =`, `$i, $x :=`; consumes nothing where there is none.
    private func declaration(_ rest: inout ArraySlice<ActionToken>, _ pipeline: inout Pipeline) {
        var scan = rest
        var names: [String] = []
        while case .variable(let name)? = scan.first {
            names.append(name)
            scan = scan.dropFirst()
            if scan.first == .comma {
                scan = scan.dropFirst()
                continue
            }
            if scan.first == .declare || scan.first == .assign {
                pipeline.variables = names
                pipeline.assigns = scan.first == .assign
                rest = scan.dropFirst()
            }
            return
        }
    }

    private func command(_ rest: inout ArraySlice<ActionToken>) throws(TemplateError) -> [Operand] {
        var operands: [Operand] = []
        while let token = rest.first {
            switch token {
            case .pipe, .close: return operands
            case .dot: operands.append(Operand(base: .dot))
            case .field(let name, let precededBySpace):
                if !precededBySpace, !operands.isEmpty {
                    operands[operands.count - 1].fields.append(name)
                } else {
                    operands.append(Operand(base: .dot, fields: [name]))
                }
            case .variable(let name): operands.append(Operand(base: .variable(name)))
            case .string(let text): operands.append(Operand(base: .literal(.string(text))))
            case .number(let text): operands.append(Operand(base: .literal(try number(text))))
            case .word("true"): operands.append(Operand(base: .literal(.bool(true))))
            case .word("false"): operands.append(Operand(base: .literal(.bool(false))))
            case .word("nil"): operands.append(Operand(base: .literal(.null)))
            case .word(let name):
                if !TemplateFunctions.names.contains(name) {
                    throw TemplateError("template: :1: function \(quoted(name)) not defined")
                }
                operands.append(Operand(base: .function(name)))
            case .open:
                rest = rest.dropFirst()
                let inner = try pipeline(&rest)
                if rest.first != .close { throw TemplateError("template: :1: unclosed left paren") }
                operands.append(Operand(base: .pipeline(inner)))
            case .declare, .assign, .comma: throw TemplateError("template: :1: unexpected \(token) in operand")
            }
            rest = rest.dropFirst()
        }
        return operands
    }

    private func number(_ text: String) throws(TemplateError) -> OrderedJSON {
        if let value = Int64(text) { return .integer(value) }
        if text.lowercased().hasPrefix("0x"), let value = Int64(text.dropFirst(2), radix: 16) { return .integer(value) }
        if Double(text) != nil { return .number(text) }
        throw TemplateError("template: :1: bad number syntax: \(quoted(text))")
    }
}
