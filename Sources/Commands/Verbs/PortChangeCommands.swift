import EngineAPI

/// `port add|rm`: ports of a container that runs. Docker has no such thing.
enum PortChangeCommands {
    static var add: Command {
        Command(
            spellings: ["port add", "container port add"], summary: "Publish ports of a container, running or not",
            usage: "CONTAINER [IP:][HOST_PORT:]PORT[/PROTO] [...]",
            details: "The ports are published at once and whenever the container is started again. Written as for "
                + "run --publish, ranges included; prints what was published, as port does.",
            operands: .atLeast(2), completion: .runningContainers
        ) { try change($0, "add") }
    }

    static var remove: Command {
        Command(
            spellings: ["port rm", "container port rm"], summary: "Take published ports of a container back",
            usage: "CONTAINER [IP:][HOST_PORT:]PORT[/PROTO] [...]",
            details: "Without a host port every publication of the container's port is taken back. Connections that "
                + "are open go on.",
            operands: .atLeast(2), completion: .runningContainers
        ) { try change($0, "remove") }
    }

    private static func change(_ invocation: Invocation, _ verb: String) throws -> Int32 {
        var bindings: [String: [PortBinding]?] = [:]
        for word in invocation.operands.dropFirst() {
            do {
                for mapping in try parsePublish(word) {
                    bindings[mapping.port] = ((bindings[mapping.port] ?? nil) ?? []) + [mapping.binding]
                }
            } catch {
                throw CommandFailure(error.reason)
            }
        }
        let answer = try invocation.engine().json(
            .POST, "/containers/\(pathPart(invocation.operands[0]))/ports/\(verb)",
            body: JSON.encode(PortChangeRequest(portBindings: bindings)))
        if verb == "add" { output(PortCommand.lines(answer["PortBindings"].members)) }
        return 0
    }
}
