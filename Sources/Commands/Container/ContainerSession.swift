import Glibc

/// What `run`, `start -a` and `attach` do alike with a container's streams and its end.
struct ContainerSession {
    let engine: EngineClient
    let id: String
    let isTerminal: Bool

    /// Which streams are attached.
    struct Attachment {
        var input = false
        var output = true
        var errors = true
        var detachKeys: String

        fileprivate var query: EngineClient.Query {
            [
                "detachKeys": detachKeys.isEmpty ? nil : detachKeys, "stderr": errors ? "1" : nil,
                "stdin": input ? "1" : nil, "stdout": output ? "1" : nil, "stream": "1",
            ]
        }
    }

    private var attachPath: String { "/containers/\(id)/attach" }
    private var waitPath: String { "/containers/\(id)/wait" }

    /// Opens the stream of a running container.
    func attach(_ attachment: Attachment) throws -> HijackedStream {
        try engine.hijack(attachPath, attachment.query)
    }

    /// Asks to be told of the container's end; its answer's head says that the daemon watches.
    func waiting(for condition: String) throws -> PendingExit {
        PendingExit(try engine.stream(.POST, waitPath, ["condition": condition]))
    }

    /// Both of these at once, for a container that is about to be started: neither what it writes nor its exit code can
    /// be missed then.
    func attach(_ attachment: Attachment, waitingFor condition: String) throws
        -> (stream: HijackedStream, exit: PendingExit)
    {
        let attached = try engine.ask(.POST, attachPath, attachment.query, upgrade: true)
        let ended = try engine.ask(.POST, waitPath, ["condition": condition])
        let stream = try HijackedStream(try engine.answer(attached), attachPath)
        return (stream, PendingExit(try engine.answer(ended)))
    }

    /// Passes a signal on. The container may have ended meanwhile: that is no error.
    func proxy(_ signal: Int32) {
        guard let name = SignalName.names[signal] else { return }
        _ = try? engine.call(.POST, "/containers/\(id)/kill", ["signal": name])
    }

    /// Makes the container's terminal as large as the user's; `growing` by one, which makes programs draw anew.
    func resize(growing extra: Int = 0) {
        guard let size = Terminal.size(STDOUT_FILENO) else { return }
        _ = try? engine.call(
            .POST, "/containers/\(id)/resize", ["h": "\(size.rows + extra)", "w": "\(size.columns + extra)"])
    }

    /// Pumps the streams until the container closes them or the user detaches.
    ///
    /// - Parameters:
    ///   - proxiesSignals: whether what arrives here is passed on to the container.
    ///   - exit: ends the session when neither output nor errors are attached.
    func pump(
        _ stream: HijackedStream, _ attachment: Attachment, proxiesSignals: Bool, exit: PendingExit? = nil
    ) throws -> StreamSession.End {
        let (input, output, errors) = (attachment.input, attachment.output, attachment.errors)
        let keys: DetachKeys
        do {
            keys = try DetachKeys(attachment.detachKeys)
        } catch {
            throw CommandFailure("invalid detach keys (\(attachment.detachKeys)): \(error.reason)")
        }
        let isInteractive = input && isTerminal && Terminal.isTerminal(STDIN_FILENO)
        var session = StreamSession(
            stream: stream, input: isInteractive ? .terminal : input ? .plain : .none,
            output: OutputDemultiplexer(
                isFramed: !isTerminal, output: output || isTerminal ? STDOUT_FILENO : -1,
                errors: errors ? STDERR_FILENO : -1),
            detachKeys: keys)
        session.signals = (proxiesSignals ? SignalName.proxied : []) + (isTerminal ? [SIGWINCH] : [])
        session.onSignal = { signal in
            if signal == SIGWINCH { resize() } else { proxy(signal) }
        }
        if let exit, !output, !errors { session.watched = (exit.descriptor, { true }) }
        return try session.run()
    }
}

/// The pending answer to `wait`.
final class PendingExit {
    private let answer: Answer

    init(_ answer: Answer) { self.answer = answer }

    var descriptor: Int32 { answer.connection.descriptor }

    /// Waits for the container's end and returns its exit code.
    ///
    /// - Throws: `CommandFailure` with the daemon's sentence where the container did not end by itself.
    func exitCode() throws -> Int32 {
        let bytes = try answer.rest()
        guard let result = try? OrderedJSON(parsing: bytes), let code = result["StatusCode"].integer else {
            throw CommandFailure("the daemon's answer to wait holds no exit code", exitCode: 125)
        }
        if let message = result["Error"]["Message"].string, !message.isEmpty {
            throw CommandFailure("Error waiting for container: \(message)", exitCode: 125)
        }
        return Int32(truncatingIfNeeded: code)
    }

    /// Waits at most `milliseconds` for the end; for a container that failed to start and is being removed.
    func settle(milliseconds: Int32) {
        var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        poll(&wait, 1, milliseconds)
    }
}

/// Refuses a terminal's container whose input would come from a pipe.
func requireTerminalInput(_ attachesInput: Bool, _ isTerminal: Bool) throws(CommandFailure) {
    if attachesInput && isTerminal && !Terminal.isTerminal(STDIN_FILENO) {
        throw CommandFailure("the input device is not a TTY", exitCode: 1)
    }
}
