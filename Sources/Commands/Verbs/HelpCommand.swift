/// `help`: of everything or of one command.
enum HelpCommand {
    static var command: Command {
        Command(
            spellings: ["help"], summary: "Help about the command", usage: "[COMMAND]", operands: .any,
            completion: .commands
        ) { invocation in
            if invocation.operands.isEmpty {
                output(Help.overview())
                return 0
            }
            let spelling = invocation.operands.joined(separator: " ")
            if let group = CommandTable.groups.first(where: { $0.name == spelling }) {
                output(Help.group(group))
            } else if let command = CommandTable.command(spelling) {
                output(Help.text(command, spelling: spelling))
            } else {
                throw CommandFailure("unknown help topic: \(spelling)")
            }
            return 0
        }
    }
}
