import Glibc
import OCI

/// `__man DIRECTORY`: writes the manual pages, made from the same option tables as the parser and the help.
enum ManCommand {
    static var command: Command {
        Command(
            spellings: ["__man"], summary: "Write the manual pages", usage: "DIRECTORY", operands: .exactly(1),
            isHidden: true
        ) { invocation in
            let directory = invocation.operands[0]
            if mkdir(directory, 0o755) != 0 && errno != EEXIST {
                throw CommandFailure("cannot make the directory \(directory): \(goReason(errno))")
            }
            for (name, text) in pages() {
                let path = "\(directory)/\(name).1"
                let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
                if descriptor < 0 { throw CommandFailure("cannot write \(path): \(goReason(errno))") }
                defer { close(descriptor) }
                if !Array(text.utf8).withUnsafeBytes({ writeAll($0, to: descriptor) }) {
                    throw CommandFailure("cannot write \(path): \(goReason(errno))")
                }
            }
            return 0
        }
    }

    /// The pages by name, without the section's suffix.
    static func pages() -> [(name: String, text: String)] {
        let commands = CommandTable.entries.map { $0.make() }.filter { !$0.isHidden }
        var pages = [("mycontainer", overview(commands))]
        for command in commands { pages.append((name(command), page(command))) }
        return pages
    }

    private static func name(_ command: Command) -> String {
        "mycontainer-" + command.spellings[0].split(separator: " ").joined(separator: "-")
    }

    private static func head(_ name: String, _ summary: String) -> String {
        """
        .TH "\(name.uppercased())" "1" "" "mycontainer \(ProductVersion.current)" "mycontainer manual"
        .SH NAME
        \(escaped(name)) \\- \(escaped(summary))

        """
    }

    private static func overview(_ commands: [Command]) -> String {
        var text = head("mycontainer", "a small, fast container engine for Linux")
        text += ".SH SYNOPSIS\n.B mycontainer\n[OPTIONS] COMMAND [ARG...]\n.SH COMMANDS\n"
        for command in commands.sorted(by: { $0.spellings[0] < $1.spellings[0] }) {
            text +=
                ".TP\n.B \(escaped(command.spellings[0]))\n\(escaped(command.summary)), see \(escaped(name(command)))(1)\n"
        }
        text += ".SH OPTIONS\n" + options(GlobalOptions.options)
        text += """
            .SH ENVIRONMENT
            .TP
            .B MYCONTAINER_HOST
            The daemon's socket where \\-H is not given; otherwise \(escaped(Host.defaultPath)).
            .SH EXIT STATUS
            The container's for run, exec, attach, start \\-a and wait; 125 where the command line or the daemon refuses, \
            126 where a program in the container can't be executed, 127 where it is not there.

            """
        return text
    }

    private static func page(_ command: Command) -> String {
        var text = head(name(command), command.summary)
        text += ".SH SYNOPSIS\n"
        for spelling in command.spellings {
            text += ".B mycontainer \(escaped(spelling))\n\(escaped(command.usage))\n.br\n"
        }
        if let details = command.details { text += ".SH DESCRIPTION\n\(escaped(details))\n" }
        let visible = command.options.filter { !$0.isHidden }
        if !visible.isEmpty { text += ".SH OPTIONS\n" + options(visible) }
        return text + ".SH SEE ALSO\n.BR mycontainer (1)\n"
    }

    private static func options(_ options: [Option]) -> String {
        options.sorted { $0.name < $1.name }.map { option in
            let value = option.valueName.isEmpty ? "" : " \\fI\(option.valueName)\\fP"
            let shown = option.shownDefault.map { " (default \($0))" } ?? ""
            return ".TP\n\\fB\(escaped(option.display))\\fP\(value)\n\(escaped(option.help + shown))\n"
        }.joined()
    }

    /// Text in which roff sees no request and no escape.
    private static func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "\\": result += "\\e"
            case "-": result += "\\-"
            default: result.append(character)
            }
        }
        return result.hasPrefix(".") || result.hasPrefix("'") ? "\\&" + result : result
    }
}
