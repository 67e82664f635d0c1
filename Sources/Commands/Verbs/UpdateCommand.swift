import EngineAPI

/// `update`: change the limits and the restart policy of containers.
enum UpdateCommand {
    private static let restart = Flag.string("restart", "Restart policy to apply when a container exits")
        .completed(by: .words(["no", "always", "on-failure", "unless-stopped"]))

    static var command: Command {
        Command(
            spellings: ["update", "container update"], summary: "Update configuration of one or more containers",
            usage: "[OPTIONS] CONTAINER [CONTAINER...]", options: LimitFlags.updatable + [restart.option],
            operands: .atLeast(1), completion: .containers
        ) { invocation in
            if invocation.arguments.words.isEmpty {
                throw CommandFailure("you must provide one or more flags when using this command")
            }
            var request = ContainerUpdateRequest()
            request.resources = LimitFlags.changes(invocation.arguments)
            request.restartPolicy = try restartPolicy(invocation[restart])
            let body = try JSON.encode(request)
            let engine = try invocation.engine()
            var failures: [String] = []
            var warnings: [String] = []
            for name in invocation.operands {
                do {
                    let answer = try engine.json(.POST, "/containers/\(pathPart(name))/update", body: body)
                    output(name + "\n")
                    warnings += answer["Warnings"].elements.compactMap(\.string)
                } catch let error as DaemonError {
                    failures.append("\(error)")
                }
            }
            for warning in warnings { complain(warning) }
            return try LifecycleCommands.finish(failures)
        }
    }
}
