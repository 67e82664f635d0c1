/// `attach`: join a running container's streams.
enum AttachCommand {
    private static let noInput = Flag.toggle("no-stdin", "Do not attach STDIN")
    private static let signalProxy = Flag.toggle(
        "sig-proxy", "Proxy all received signals to the process", initially: true)

    static var command: Command {
        Command(
            spellings: ["attach", "container attach"],
            summary: "Attach local standard input, output, and error streams to a running container",
            usage: "[OPTIONS] CONTAINER", options: [noInput.option, signalProxy.option, DetachKeys.flag.option],
            operands: .exactly(1), completion: .runningContainers
        ) { invocation in
            let keys = try invocation.detachKeys()
            let engine = try invocation.engine()
            let container = try engine.json(.GET, "/containers/\(pathPart(invocation.operands[0]))/json")
            let id = container["Id"].string ?? invocation.operands[0]
            let state = container["State"]
            if state["Running"].bool != true {
                throw CommandFailure("You cannot attach to a stopped container, start it first")
            }
            if state["Paused"].bool == true {
                throw CommandFailure("You cannot attach to a paused container, unpause it first")
            }
            if state["Restarting"].bool == true {
                throw CommandFailure("You cannot attach to a restarting container, wait until it is running")
            }
            let isTerminal = container["Config"]["Tty"].bool ?? false
            try requireTerminalInput(!invocation[noInput], isTerminal)
            let input = !invocation[noInput] && container["Config"]["OpenStdin"].bool ?? false
            let session = ContainerSession(engine: engine, id: id, isTerminal: isTerminal)
            let exit = try session.waiting(for: "not-running")
            let attachment = ContainerSession.Attachment(input: input, detachKeys: keys)
            let stream = try session.attach(attachment)
            if isTerminal {
                // A program draws its screen again when the size changes: a second attach sees it so.
                session.resize(growing: 1)
                session.resize()
            }
            let end = try session.pump(
                stream, attachment, proxiesSignals: invocation[signalProxy] && !isTerminal)
            if end == .detached { throw CommandFailure("read escape sequence") }
            // The stream also ends when the daemon goes away or cuts a slow reader: `wait` then says so.
            return try exit.exitCode()
        }
    }
}
