import Glibc

/// `start`: start containers, or one and stay with it.
enum StartCommand {
    private static let attach = Flag.toggle("attach", short: "a", "Attach STDOUT/STDERR and forward signals")
    private static let interactive = Flag.toggle("interactive", short: "i", "Attach container's STDIN")

    static var command: Command {
        Command(
            spellings: ["start", "container start"], summary: "Start one or more stopped containers",
            usage: "[OPTIONS] CONTAINER [CONTAINER...]",
            options: [attach.option, interactive.option, DetachKeys.flag.option], operands: .atLeast(1),
            completion: .stoppedContainers
        ) { invocation in
            let engine = try invocation.engine()
            let keys = try invocation.detachKeys()
            if invocation[attach] || invocation[interactive] {
                if invocation.operands.count > 1 {
                    throw CommandFailure("you cannot start and attach multiple containers at once")
                }
                return try startAttached(invocation.operands[0], keys, engine, invocation)
            }
            var failed: [String] = []
            for (name, result) in engine.callAll(.POST, invocation.operands, { "/containers/\($0)/start" }) {
                switch result {
                case .success: output(name + "\n")
                case .failure(let error):
                    complain(sentence(error))
                    failed.append(name)
                }
            }
            if failed.isEmpty { return 0 }
            throw CommandFailure("Error: failed to start containers: \(failed.joined(separator: ", "))")
        }
    }

    private static func startAttached(
        _ name: String, _ keys: String, _ engine: EngineClient, _ invocation: Invocation
    ) throws -> Int32 {
        let container = try engine.json(.GET, "/containers/\(pathPart(name))/json")
        let id = container["Id"].string ?? name
        let isTerminal = container["Config"]["Tty"].bool ?? false
        let isRemoved = container["HostConfig"]["AutoRemove"].bool ?? false
        let input = invocation[interactive] && container["Config"]["OpenStdin"].bool ?? false
        let session = ContainerSession(engine: engine, id: id, isTerminal: isTerminal)
        let attachment = ContainerSession.Attachment(input: input, detachKeys: keys)
        let (stream, exit) = try session.attach(attachment, waitingFor: isRemoved ? "removed" : "next-exit")
        try engine.call(.POST, "/containers/\(id)/start")
        if isTerminal { session.resize() }
        let end = try session.pump(stream, attachment, proxiesSignals: !isTerminal)
        return end == .detached ? 0 : try exit.exitCode()
    }
}
