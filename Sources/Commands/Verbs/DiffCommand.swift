/// `diff`: what a container changed in its image's files.
enum DiffCommand {
    static var command: Command {
        Command(
            spellings: ["diff", "container diff"],
            summary: "Inspect changes to files or directories on a container's filesystem",
            usage: "CONTAINER", operands: .exactly(1), completion: .containers
        ) { invocation in
            let changes = try invocation.engine().json(
                .GET, "/containers/\(pathPart(invocation.operands[0]))/changes")
            let letters: [Int64: String] = [0: "C", 1: "A", 2: "D"]
            for change in changes.elements {
                let letter = letters[change["Kind"].integer ?? -1] ?? "?"
                output("\(letter) \(change["Path"].string ?? "")\n")
            }
            return 0
        }
    }
}
