/// `top`: the processes of a container.
enum TopCommand {
    static var command: Command {
        Command(
            spellings: ["top", "container top"], summary: "Display the running processes of a container",
            usage: "CONTAINER [ps OPTIONS]", operands: .atLeast(1), interspersed: false,
            completion: .runningContainers
        ) { invocation in
            let options = invocation.operands.dropFirst().joined(separator: " ")
            let answer = try invocation.engine().json(
                .GET, "/containers/\(pathPart(invocation.operands[0]))/top",
                ["ps_args": options.isEmpty ? nil : options])
            func words(_ row: OrderedJSON) -> [String] { row.elements.map { $0.string ?? "" } }
            output(tableText([words(answer["Titles"])] + answer["Processes"].elements.map(words), minimumWidth: 20))
            return 0
        }
    }
}
