/// How a list is shown: the flags that every list has, and the one way from rows to text.
struct ListFormat: Sendable {
    static let quiet = Flag.toggle("quiet", short: "q", "Only display IDs")
    static let noTruncation = Flag.toggle("no-trunc", "Don't truncate output")
    static let format = Flag.string(
        "format", "Format output: 'table' (default), 'table TEMPLATE' with column headers, 'json', or a Go TEMPLATE")
}

/// One kind of list: its columns by the names that templates use, and which of them the plain table shows.
struct ListKind: Sendable {
    /// Every field that a template may use, with the header of its column.
    let headers: [String: String]
    /// The columns of the table when no format is given.
    let columns: [String]
    /// The field that `--quiet` prints.
    let quietField: String
    /// What `--format raw` prints: names and fields, where the kind has that form.
    var raw: [(name: String, field: String)] = []
}

/// One row: its fields in the order of their names (as `--format json` prints them), and fields that are called with
/// arguments, such as `.Label "name"`.
struct ListRow: Sendable {
    let fields: JSONObject
    var methods: [String: Template.Method] = [:]

    init(_ fields: [String: String], others: [String: OrderedJSON] = [:], methods: [String: Template.Method] = [:]) {
        let members = fields.mapValues(OrderedJSON.string).merging(others) { $1 }
        self.fields = JSONObject(members.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
        self.methods = methods
    }

    /// The `.Label` of rows that carry labels.
    static func labelMethod(_ labels: @escaping @Sendable () -> [(key: String, value: OrderedJSON)])
        -> [String: Template.Method]
    {
        [
            "Label": { arguments throws(TemplateError) in
                guard arguments.count == 1, let name = arguments[0].string else {
                    throw TemplateError("wrong number of args for Label: want 1 got \(arguments.count)")
                }
                return labels().first { $0.key == name }?.value ?? .string("")
            }
        ]
    }
}

extension ListKind {
    /// The text of a list.
    ///
    /// - Parameters:
    ///   - format: what `--format` says, empty for the default.
    ///   - quiet: print only the quiet field of each row.
    ///   - extraColumns: columns that a flag adds at the end of the plain table (`ps --size`).
    func render(_ rows: [ListRow], format: String, quiet: Bool, extraColumns: [String] = []) throws -> String {
        if quiet && (format.isEmpty || format == "table") {
            return rows.map { ($0.fields[quietField]?.string ?? "") + "\n" }.joined()
        }
        switch format {
        case "", "table":
            let columns = columns + extraColumns
            let cells = rows.map { row in columns.map { row.fields[$0]?.string ?? "" } }
            return tableText([columns.map { headers[$0] ?? $0.uppercased() }] + cells)
        case "json", "{{json .}}":
            return rows.map { OrderedJSON.object($0.fields).textForPages + "\n" }.joined()
        case "raw" where !raw.isEmpty:
            if quiet { return rows.map { "\(raw[0].name): \($0.fields[quietField]?.string ?? "")\n" }.joined() }
            let lines = raw + extraColumns.map { ($0.lowercased(), $0) }
            return rows.map { row in
                lines.map { trimmed("\($0.name): \(row.fields[$0.field]?.string ?? "")") + "\n" }.joined() + "\n"
            }.joined()
        default: return try render(rows, template: format)
        }
    }

    private func render(_ rows: [ListRow], template format: String) throws -> String {
        let isTable = format.hasPrefix("table ")
        // A shell passes `\t` and `\n` as they are typed; docker makes a tab and a line feed of them.
        let source = (isTable ? String(format.dropFirst(6)) : format)
            .split(separator: "\\t", omittingEmptySubsequences: false).joined(separator: "\t")
            .split(separator: "\\n", omittingEmptySubsequences: false).joined(separator: "\n")
        let template: Template
        do {
            template = try Template(trimmed(source))
        } catch {
            throw CommandFailure("failed to parse template: \(error.message)")
        }
        do {
            var lines: [String] = []
            if isTable {
                let header = JSONObject(headers.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
                let label: Template.Method = { arguments throws(TemplateError) in
                    .string(arguments.first?.string.map { String($0.split(separator: ".").last ?? "") } ?? "")
                }
                lines.append(try template.execute(.object(header), methods: ["Label": label]))
            }
            for row in rows {
                lines.append(try template.execute(.object(row.fields), methods: row.methods, isRow: true))
            }
            if !isTable { return lines.map { $0 + "\n" }.joined() }
            return tableText(lines.map { $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init) })
        } catch {
            throw CommandFailure("failed to execute template: \(error.message)")
        }
    }
}

/// Prints what a template makes of one document.
///
/// - Parameter name: of the template, as errors have it.
/// - Throws: `CommandFailure` with docker's exit codes: 64 for a template that can't be parsed, 1 for one that fails.
func output(_ document: OrderedJSON, template: String, name: String) throws(CommandFailure) {
    let parsed: Template
    do {
        parsed = try Template(template)
    } catch {
        throw CommandFailure("template parsing error: \(error.message)", exitCode: 64)
    }
    do {
        output(try parsed.execute(document, name: name) + "\n")
    } catch {
        output("\n")
        throw CommandFailure(error.message)
    }
}
