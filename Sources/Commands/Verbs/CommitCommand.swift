import OCI

/// `commit`: an image of what a container is now.
enum CommitCommand {
    private static let author = Flag.string(
        "author", short: "a", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")")
    private static let change = Flag.list("change", short: "c", "Apply Dockerfile instruction to the created image")
    private static let message = Flag.string("message", short: "m", "Commit message")
    private static let pause = Flag.toggle("pause", short: "p", "Pause container during commit", initially: true)

    static var command: Command {
        Command(
            spellings: ["commit", "container commit"], summary: "Create a new image from a container's changes",
            usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
            options: [author.option, change.option, message.option, pause.option], operands: .between(1, 2),
            completion: .containers
        ) { invocation in
            var (repository, tag) = ("", "")
            if invocation.operands.count == 2 {
                let reference = try imageReference(invocation.operands[1])
                (repository, tag) = (reference.name, reference.tag ?? ImageReference.defaultTag)
            }
            let changes = invocation[change]
            let answer = try invocation.engine().json(
                .POST, "/commit",
                [
                    "author": invocation[author], "changes": changes.isEmpty ? nil : changes.joined(separator: "\n"),
                    "comment": invocation[message], "container": invocation.operands[0],
                    "pause": invocation[pause] ? nil : "0", "repo": repository, "tag": tag,
                ])
            output((answer["Id"].string ?? "") + "\n")
            return 0
        }
    }
}

/// An image's name as the user wrote it.
func imageReference(_ text: String) throws(CommandFailure) -> ImageReference {
    do {
        return try ImageReference(parsing: text)
    } catch {
        throw CommandFailure("\(error)")
    }
}
