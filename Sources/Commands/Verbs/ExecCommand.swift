import EngineAPI
import Glibc

/// `exec`: run another program in a running container.
enum ExecCommand {
    private static let detach = Flag.toggle("detach", short: "d", "Detached mode: run command in the background")
    private static let privileged = Flag.toggle("privileged", "Give extended privileges to the command")

    static var command: Command {
        Command(
            spellings: ["exec", "container exec"], summary: "Execute a command in a running container",
            usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
            options: [
                detach.option, DetachKeys.flag.option, ContainerFlags.env.option, ContainerFlags.envFile.option,
                ContainerFlags.interactive.option, privileged.option, ContainerFlags.tty.option,
                ContainerFlags.user.option, ContainerFlags.workdir.option,
            ],
            operands: .atLeast(2), interspersed: false, completion: .runningContainers, run: run)
    }

    @Sendable private static func run(_ invocation: Invocation) throws -> Int32 {
        let request = try request(invocation)
        let isDetached = invocation[detach]
        try requireTerminalInput(request.attachStdin, request.tty)
        let engine = try invocation.engine()
        // The exit code is asked for as soon as the stream has ended.
        if !isDetached { engine.expect(1) }
        let created = try engine.json(
            .POST, "/containers/\(pathPart(invocation.operands[0]))/exec", body: JSON.encode(request))
        guard let id = created["Id"].string, !id.isEmpty else { throw CommandFailure("exec ID empty") }
        let start = ExecStartRequest {
            $0.detach = isDetached
            $0.tty = request.tty
            $0.consoleSize = request.consoleSize
        }
        if isDetached {
            try engine.call(.POST, "/exec/\(id)/start", document: start)
            return 0
        }
        let stream: HijackedStream
        do {
            stream = try engine.hijack("/exec/\(id)/start", body: JSON.encode(start))
        } catch let error as DaemonError {
            let code = RunCommand.exitCode(error)
            throw CommandFailure("\(error)", exitCode: code == 125 ? 1 : code)
        }
        let end = try pump(stream, request, id, engine)
        if end == .detached { return 0 }
        let result = try engine.json(.GET, "/exec/\(id)/json")
        return result["ExitCode"].integer.map { Int32(truncatingIfNeeded: $0) } ?? 0
    }

    private static func pump(
        _ stream: HijackedStream, _ request: ExecCreateRequest, _ id: String, _ engine: EngineClient
    ) throws -> StreamSession.End {
        let isInteractive = request.attachStdin && request.tty
        let keys: DetachKeys
        do {
            keys = try DetachKeys(request.detachKeys)
        } catch {
            throw CommandFailure("invalid detach keys (\(request.detachKeys)): \(error.reason)")
        }
        var session = StreamSession(
            stream: stream, input: isInteractive ? .terminal : request.attachStdin ? .plain : .none,
            output: OutputDemultiplexer(isFramed: !request.tty), detachKeys: keys)
        if request.tty {
            session.signals = [SIGWINCH]
            session.onSignal = { _ in
                guard let size = Terminal.size(STDOUT_FILENO) else { return }
                _ = try? engine.call(.POST, "/exec/\(id)/resize", ["h": "\(size.rows)", "w": "\(size.columns)"])
            }
        }
        return try session.run()
    }

    private static func request(_ invocation: Invocation) throws -> ExecCreateRequest {
        var environment: [String] = []
        for path in invocation[ContainerFlags.envFile] {
            environment += try readKeyValueFile(path, inherit: Commands.environment)
        }
        environment += invocation[ContainerFlags.env]
        let keys = try invocation.detachKeys()
        let isDetached = invocation[detach]
        return ExecCreateRequest {
            $0.user = invocation[ContainerFlags.user]
            $0.privileged = invocation[privileged]
            $0.tty = invocation[ContainerFlags.tty]
            $0.attachStdin = !isDetached && invocation[ContainerFlags.interactive]
            $0.attachStdout = !isDetached
            $0.attachStderr = !isDetached
            $0.detachKeys = keys
            $0.env = environment.isEmpty ? nil : environment
            $0.workingDir = invocation[ContainerFlags.workdir]
            $0.cmd = Array(invocation.operands.dropFirst())
            if $0.tty, let size = Terminal.size(STDOUT_FILENO) {
                $0.consoleSize = [UInt(size.rows), UInt(size.columns)]
            }
        }
    }
}
