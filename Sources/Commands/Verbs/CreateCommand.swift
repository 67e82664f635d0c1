/// `create`: make a container without starting it.
enum CreateCommand {
    static var command: Command {
        Command(
            spellings: ["create", "container create"], summary: "Create a new container",
            usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
            options: ContainerFlags.options + LimitFlags.options + ContainerCreation.options,
            operands: .atLeast(1), interspersed: false, completion: .images
        ) { invocation in
            let request = try {
                do {
                    try ContainerCreation.checkPullPolicy(invocation.arguments)
                    return try ContainerRequest(invocation).document()
                } catch let error as CommandFailure {
                    throw CommandFailure(RunCommand.withHelp(error.message ?? "", invocation), exitCode: 125)
                }
            }()
            let engine = try invocation.engine()
            output(try ContainerCreation(engine: engine, invocation: invocation).create(request) + "\n")
            return 0
        }
    }
}
