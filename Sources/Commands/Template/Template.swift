/// A Go template as docker's `--format` takes it, evaluated over JSON.
struct Template: Sendable {
    private let nodes: [TemplateNode]
    private let named: [String: [TemplateNode]]

    /// What can be called on the value itself with arguments, for example `.Label "name"`.
    typealias Method = @Sendable ([OrderedJSON]) throws(TemplateError) -> OrderedJSON

    init(_ source: String) throws(TemplateError) { (nodes, named) = try TemplateParser.parse(source) }

    /// The text that the template makes of `value`.
    ///
    /// A member that the value lacks is an error where it would be printed, as with docker, and false in a condition,
    /// so that `{{if .State.Health}}` works for members that are only sometimes there.
    ///
    /// - Parameters:
    ///   - name: of the template, as errors have it.
    ///   - isRow: the value is a row of a list, which docker's `json` writes as for a page.
    func execute(
        _ value: OrderedJSON, name: String = "", methods: [String: Method] = [:], isRow: Bool = false
    ) throws(TemplateError) -> String {
        var evaluation = Evaluation(root: value, name: name, methods: methods, named: named, isRow: isRow)
        _ = try evaluation.run(nodes, dot: value)
        return evaluation.output
    }

    /// The names of the top-level fields that the template mentions.
    var fieldNames: Set<String> {
        var names: Set<String> = []
        func visit(_ pipeline: Pipeline) {
            for operand in pipeline.commands.joined() {
                if case .dot = operand.base, let first = operand.fields.first { names.insert(first) }
                if case .pipeline(let inner) = operand.base { visit(inner) }
            }
        }
        func visit(_ nodes: [TemplateNode]) {
            for node in nodes {
                switch node {
                case .action(let pipeline): visit(pipeline)
                case .branch(_, let pipeline, let then, let otherwise):
                    visit(pipeline)
                    visit(then)
                    visit(otherwise)
                case .call(_, let pipeline, _): if let pipeline { visit(pipeline) }
                case .text, .leaveLoop, .nextRound: break
                }
            }
        }
        visit(nodes)
        named.values.forEach(visit)
        return names
    }
}

private struct Evaluation {
    let root: OrderedJSON
    /// The name of the template that is being run.
    private var name: String
    let methods: [String: Template.Method]
    private let named: [String: [TemplateNode]]
    private let isRow: Bool
    /// How deep templates call each other.
    private var depth = 0
    var output = ""
    private var variables: [(name: String, value: OrderedJSON)]
    /// Above zero while a condition is evaluated, where a missing member is false.
    private var conditions = 0

    init(
        root: OrderedJSON, name: String, methods: [String: Template.Method], named: [String: [TemplateNode]],
        isRow: Bool
    ) {
        self.isRow = isRow
        self.root = root
        self.name = name
        self.methods = methods
        self.named = named
        variables = [("$", root)]
    }

    enum Flow { case on, leaveLoop, nextRound }

    mutating func run(_ nodes: [TemplateNode], dot: OrderedJSON) throws(TemplateError) -> Flow {
        for node in nodes {
            switch node {
            case .text(let text): output += text
            case .action(let pipeline):
                let value = try evaluate(pipeline, dot)
                if pipeline.variables.isEmpty { output += TemplateFunctions.print(value) }
            case .branch(let kind, let pipeline, let then, let otherwise):
                let depth = variables.count
                let flow = try branch(kind, pipeline, then, otherwise, dot)
                variables.removeLast(variables.count - depth)
                if flow != .on { return flow }
            case .call(let name, let pipeline, let place): try call(name, pipeline, place, dot)
            case .leaveLoop: return .leaveLoop
            case .nextRound: return .nextRound
            }
        }
        return .on
    }

    /// Runs a named template: of what is outside it sees nothing but its value.
    private mutating func call(_ template: String, _ pipeline: Pipeline?, _ place: String, _ dot: OrderedJSON)
        throws(TemplateError)
    {
        guard let nodes = named[template] else {
            throw failure(place, "{{template \(quoted(template))}}", "template \(quoted(template)) not defined")
        }
        let value = try pipeline.map { pipeline throws(TemplateError) in try evaluate(pipeline, dot) } ?? .null
        let outer = (name, variables)
        depth += 1
        // Each level is a few frames of this process's own stack.
        if depth > 500 { throw TemplateError("template: exceeded maximum template depth (500)") }
        (name, variables) = (template, [("$", value)])
        _ = try run(nodes, dot: value)
        (name, variables) = outer
        depth -= 1
    }

    private func failure(_ place: String, _ shown: String, _ reason: String) -> TemplateError {
        TemplateError("template: \(name):\(place): executing \(quoted(name)) at <\(shown)>: \(reason)")
    }

    private mutating func branch(
        _ kind: TemplateNode.Branch, _ pipeline: Pipeline, _ then: [TemplateNode], _ otherwise: [TemplateNode],
        _ dot: OrderedJSON
    ) throws(TemplateError) -> Flow {
        if kind == .range { return try range(pipeline, then, otherwise, dot) }
        conditions += 1
        let value = try evaluate(pipeline, dot)
        conditions -= 1
        if TemplateFunctions.isTrue(value) { return try run(then, dot: kind == .with ? value : dot) }
        return try run(otherwise, dot: dot)
    }

    private mutating func range(
        _ pipeline: Pipeline, _ body: [TemplateNode], _ otherwise: [TemplateNode], _ dot: OrderedJSON
    ) throws(TemplateError) -> Flow {
        var silent = pipeline
        silent.variables = []
        let pairs: [(OrderedJSON, OrderedJSON)]
        switch try evaluate(silent, dot) {
        case .array(let elements): pairs = elements.enumerated().map { (.integer(Int64($0)), $1) }
        case .object(let object):
            pairs = object.members.sorted { $0.key < $1.key }.map { (.string($0.key), $0.value) }
        // What it prints is kept until the end, so a number that a daemon made up must not fill the memory.
        case .integer(let count) where count <= 1_000_000:
            pairs = (0..<max(0, count)).map { (.integer($0), .integer($0)) }
        case .null: pairs = []
        case let other: throw TemplateError("range can't iterate over \(TemplateFunctions.print(other))")
        }
        for (key, value) in pairs {
            let depth = variables.count
            switch pipeline.variables.count {
            case 1: variables.append((pipeline.variables[0], value))
            case 2...: variables += [(pipeline.variables[0], key), (pipeline.variables[1], value)]
            default: break
            }
            let flow = try run(body, dot: value)
            variables.removeLast(variables.count - depth)
            if flow == .leaveLoop { break }
        }
        return pairs.isEmpty ? try run(otherwise, dot: dot) : .on
    }

    private mutating func evaluate(_ pipeline: Pipeline, _ dot: OrderedJSON) throws(TemplateError) -> OrderedJSON {
        var value: OrderedJSON?
        for command in pipeline.commands { value = try evaluate(command, piped: value, dot) }
        let result = value ?? .null
        for name in pipeline.variables {
            if pipeline.assigns {
                guard let index = variables.lastIndex(where: { $0.name == name }) else {
                    throw TemplateError("undefined variable \(quoted(name))")
                }
                variables[index].value = result
            } else {
                variables.append((name, result))
            }
        }
        return result
    }

    private mutating func evaluate(_ command: [Operand], piped: OrderedJSON?, _ dot: OrderedJSON) throws(TemplateError)
        -> OrderedJSON
    {
        let first = command[0]
        if case .function(let name) = first.base {
            do {
                return try call(name, command.dropFirst(), piped, dot)
            } catch {
                // An operand's own error says where it is.
                if error.message.hasPrefix("template: ") { throw error }
                let isCall = error.message.hasPrefix("error calling")
                let shown = isCall ? command.map(spelling).joined(separator: " ") : name
                throw failure(first.place, shown, error.message)
            }
        }
        if command.count == 1 && piped == nil {
            if case .literal(.null) = first.base { throw failure(first.place, "nil", "nil is not a command") }
            return try evaluate(first, dot)
        }
        guard case .dot = first.base, first.fields.count == 1, let method = methods[first.fields[0]] else {
            throw failure(
                first.place, spelling(first), "can't give argument to non-function \(spelling(first))")
        }
        var arguments: [OrderedJSON] = []
        for operand in command.dropFirst() { arguments.append(try evaluate(operand, dot)) }
        if let piped { arguments.append(piped) }
        return try method(arguments)
    }

    private mutating func call(
        _ name: String, _ operands: ArraySlice<Operand>, _ piped: OrderedJSON?, _ dot: OrderedJSON
    ) throws(TemplateError) -> OrderedJSON {
        // `and` and `or` stop at the first operand that decides; `not` and they are conditions.
        let isCondition = name == "and" || name == "or" || name == "not"
        if isCondition { conditions += 1 }
        defer { if isCondition { conditions -= 1 } }
        var arguments: [OrderedJSON] = []
        for operand in operands {
            let value = try evaluate(operand, dot)
            if name == "and" && !TemplateFunctions.isTrue(value) { return value }
            if name == "or" && TemplateFunctions.isTrue(value) { return value }
            arguments.append(value)
        }
        if let piped { arguments.append(piped) }
        if isRow, name == "json", arguments == [root] { return .string(root.textForPages) }
        return try TemplateFunctions.call(name, arguments)
    }

    private mutating func evaluate(_ operand: Operand, _ dot: OrderedJSON) throws(TemplateError) -> OrderedJSON {
        var value: OrderedJSON
        switch operand.base {
        case .dot: value = dot
        case .literal(let literal): value = literal
        case .pipeline(let pipeline): value = try evaluate(pipeline, dot)
        case .function(let name):
            do {
                value = try TemplateFunctions.call(name, [])
            } catch {
                throw failure(operand.place, name, error.message)
            }
        case .variable(let name):
            guard let found = variables.last(where: { $0.name == name }) else {
                throw TemplateError("undefined variable \(quoted(name))")
            }
            value = found.value
        }
        for field in operand.fields {
            switch value {
            case .object(let object):
                if let member = object[field] ?? object[Self.memberName(field)] ?? Self.lowered(field, object) {
                    value = member
                } else if conditions > 0 {
                    value = .null
                } else {
                    throw failure(operand.place, spelling(operand), "map has no entry for key \(quoted(field))")
                }
            case .null:
                if conditions > 0 { return .null }
                throw failure(operand.place, spelling(operand), "nil pointer evaluating .\(field)")
            default:
                throw failure(
                    operand.place, spelling(operand),
                    "can't evaluate field \(field) in type \(TemplateFunctions.typeName(value))")
            }
        }
        return value
    }

    /// docker's templates see Go's structs, whose names have initialisms in capitals where their JSON may not:
    /// `{{.Server.APIVersion}}` is the member `ApiVersion`, `{{.ID}}` is `Id`.
    private static func memberName(_ field: String) -> String {
        for (capitals, word) in [("API", "Api"), ("ID", "Id")] {
            guard let range = field.firstRange(of: capitals) else { continue }
            return field[..<range.lowerBound] + word + field[range.upperBound...]
        }
        return field
    }

    /// Older members have names in lower case, which Go's structs have not: `{{.Status}}` of an event is `status`.
    private static func lowered(_ field: String, _ object: JSONObject) -> OrderedJSON? {
        let name = field.lowercased()
        return object.members.first { $0.key == name }?.value
    }

    private func spelling(_ operand: Operand) -> String {
        let base: String
        switch operand.base {
        case .variable(let name): base = name
        case .literal(let value): base = value.text
        case .function(let name): base = name
        case .dot, .pipeline: base = ""
        }
        let fields = operand.fields.map { ".\($0)" }.joined()
        return base.isEmpty && fields.isEmpty ? "." : base + fields
    }
}
