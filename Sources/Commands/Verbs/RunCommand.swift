import EngineAPI
import Glibc

/// `run`: make a container, start it, stay with it.
enum RunCommand {
    private static let detach = Flag.toggle(
        "detach", short: "d", "Run container in background and print container ID")
    private static let signalProxy = Flag.toggle(
        "sig-proxy", "Proxy received signals to the process", initially: true)

    static var command: Command {
        Command(
            spellings: ["run", "container run"],
            summary: "Create and run a new container from an image",
            usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
            options: ContainerFlags.options + LimitFlags.options + ContainerCreation.options
                + [detach.option, signalProxy.option, DetachKeys.flag.option],
            operands: .atLeast(1), interspersed: false, completion: .images, failureCode: 125
        ) { invocation in
            do {
                return try run(invocation)
            } catch let error as CommandFailure where error.exitCode == nil {
                throw CommandFailure(error.message.map { withHelp($0, invocation) }, exitCode: 125)
            } catch let error as DaemonError {
                throw CommandFailure(withHelp("\(error)", invocation), exitCode: exitCode(error))
            }
        }
    }

    static func withHelp(_ message: String, _ invocation: Invocation) -> String {
        "mycontainer: \(message)\n\nRun 'mycontainer \(invocation.spelling) --help' for more information"
    }

    /// 127 where the program is not in the container, 126 where it can't be executed, 125 for everything else.
    static func exitCode(_ error: DaemonError) -> Int32 {
        let message = error.message.lowercased()
        let isMissing = ["executable file not found", "no such file or directory"].contains { message.contains($0) }
        if isMissing { return 127 }
        return ["permission denied", "is a directory"].contains { message.contains($0) } ? 126 : 125
    }

    private static func run(_ invocation: Invocation) throws -> Int32 {
        try ContainerCreation.checkPullPolicy(invocation.arguments)
        var request = try ContainerRequest(invocation).document()
        if invocation[detach] {
            if invocation.arguments.isGiven(ContainerFlags.attach) {
                throw CommandFailure("conflicting options: cannot specify both --attach and --detach", exitCode: 1)
            }
            request.config.attachStdin = false
            request.config.attachStdout = false
            request.config.attachStderr = false
            request.config.stdinOnce = false
        } else {
            try requireTerminalInput(request.config.attachStdin, request.config.tty)
        }
        let keys = try invocation.detachKeys()
        if let size = Terminal.size(STDOUT_FILENO) {
            request.hostConfig?.consoleSize = [UInt(size.rows), UInt(size.columns)]
        }
        let engine = try invocation.engine()
        // Attach, wait and start follow.
        if !invocation[detach] { engine.expect(2) }
        let id = try ContainerCreation(engine: engine, invocation: invocation).create(request)
        let config = request.config
        if !config.attachStdin && !config.attachStdout && !config.attachStderr {
            output(id + "\n")
            try engine.call(.POST, "/containers/\(id)/start")
            return 0
        }
        return try runAttached(id, request, keys, engine, invocation)
    }

    private static func runAttached(
        _ id: String, _ request: ContainerCreateRequest, _ keys: String, _ engine: EngineClient,
        _ invocation: Invocation
    ) throws -> Int32 {
        let config = request.config
        let isRemoved = request.hostConfig?.autoRemove ?? false
        let session = ContainerSession(engine: engine, id: id, isTerminal: config.tty)
        // Attach, watch for the end, then start: neither output nor the exit code can be missed.
        let attachment = ContainerSession.Attachment(
            input: config.attachStdin, output: config.attachStdout, errors: config.attachStderr, detachKeys: keys)
        let (stream, exit) = try session.attach(attachment, waitingFor: isRemoved ? "removed" : "next-exit")
        do {
            try engine.call(.POST, "/containers/\(id)/start")
        } catch {
            // The daemon removes what failed to start: the name is free again when this returns.
            if isRemoved { exit.settle(milliseconds: 10_000) }
            throw error
        }
        if config.tty { session.resize() }
        let end = try session.pump(
            stream, attachment, proxiesSignals: invocation[signalProxy], exit: exit)
        if end == .detached { return 0 }
        let code = try exit.exitCode()
        if request.hostConfig?.securityOpt?.contains("seccomp=audit") ?? false { try reportAudit(id, engine) }
        return code
    }

    /// What the container's profile would have refused, on standard error. From the event, which outlives `--rm`.
    private static func reportAudit(_ id: String, _ engine: EngineClient) throws {
        let filters = try JSON.string(Filters(["container": [id], "event": ["seccomp-audit"]]))
        let answer = try engine.stream(
            .GET, "/events", ["since": "1", "until": "0s", "filters": filters])
        var found: String?
        try answer.eachDocument { found = $0["Actor"]["Attributes"]["calls"].string ?? found }
        complain("mycontainer: seccomp audit: the profile would have refused \(found ?? "nothing")")
    }
}

extension DetachKeys {
    static let flag = Flag.string("detach-keys", "Override the key sequence for detaching a container")

    static func check(_ text: String) throws(CommandFailure) {
        do {
            _ = try DetachKeys(text)
        } catch {
            throw CommandFailure("invalid detach keys (\(text)): \(error.reason)")
        }
    }
}
