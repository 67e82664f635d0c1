/// The help texts, laid out as docker's.
enum Help {
    private static let common = ["run", "exec", "ps", "pull", "images", "version", "info"]

    /// What `mycontainer` alone and `mycontainer --help` print.
    static func overview() -> String {
        var text = """
            Usage:  mycontainer [OPTIONS] COMMAND

            A small, fast container engine for Linux

            Common Commands:

            """
        let commands = CommandTable.entries.map { $0.make() }.filter { !$0.isHidden }
        let single = commands.filter { !$0.spellings[0].contains(" ") }
        text += list(common.compactMap { name in single.first { $0.name == name } }.map { ($0.name, $0.summary) })
        text += "\nManagement Commands:\n" + list(CommandTable.groups.map { ($0.name, $0.summary) })
        let others = single.filter { !common.contains($0.name) }.sorted { $0.name < $1.name }
        text += "\nCommands:\n" + list(others.map { ($0.name, $0.summary) })
        text += "\nGlobal Options:\n" + optionLines(GlobalOptions.options)
        return text + "\nRun 'mycontainer COMMAND --help' for more information on a command.\n"
    }

    static func group(_ group: CommandGroup) -> String {
        let members = self.members(of: group).map { ($0.verb, $0.command.summary) }
        return """
            Usage:  mycontainer \(group.name) COMMAND

            \(group.summary)

            Commands:
            \(list(members))
            Run 'mycontainer \(group.name) COMMAND --help' for more information on a command.

            """
    }

    /// The verbs of a group under their first spelling in it.
    static func members(of group: CommandGroup) -> [(verb: String, command: Command)] {
        CommandTable.entries.compactMap { entry in
            guard let spelling = entry.spellings.first(where: { $0.hasPrefix(group.name + " ") }) else { return nil }
            return (String(spelling.dropFirst(group.name.count + 1)), entry.make())
        }.sorted { $0.0 < $1.0 }
    }

    static func text(_ command: Command, spelling: String) -> String {
        var text = trimmed("Usage:  mycontainer \(spelling) \(command.usage)") + "\n\n\(command.summary)\n"
        if let details = command.details { text += "\n\(details)\n" }
        if command.spellings.count > 1 {
            text += "\nAliases:\n  " + command.spellings.map { "mycontainer \($0)" }.joined(separator: ", ") + "\n"
        }
        let visible = command.options.filter { !$0.isHidden }
        if !visible.isEmpty { text += "\nOptions:\n" + optionLines(visible) }
        return text
    }

    private static func list(_ entries: [(String, String)]) -> String {
        let width = max(11, entries.map { $0.0.count }.max() ?? 0)
        return entries.map { name, summary in
            "  " + name + String(repeating: " ", count: width - name.count + 1) + summary + "\n"
        }.joined()
    }

    /// Two columns, the second wrapped to the terminal's width.
    static func optionLines(_ options: [Option]) -> String {
        let rows = options.sorted { $0.name < $1.name }.map { option in
            let short = option.short.map { "-\($0), " } ?? "    "
            let value = option.valueName.isEmpty ? "" : " " + option.valueName
            let shown = option.shownDefault.map { " (default \($0))" } ?? ""
            return ("  \(short)--\(option.name)\(value)", option.help + shown)
        }
        let column = (rows.map { $0.0.count }.max() ?? 0) + 3
        let width = max(40, (Terminal.size(1)?.columns ?? 80) - column)
        return rows.map { left, right in
            let indentation = String(repeating: " ", count: column)
            let lines = wrapped(right, width).joined(separator: "\n" + indentation)
            return left + String(repeating: " ", count: column - left.count) + lines + "\n"
        }.joined()
    }

    private static func wrapped(_ text: String, _ width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty && line.count + 1 + word.count > width {
                lines.append(line)
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        return lines + [line]
    }
}
