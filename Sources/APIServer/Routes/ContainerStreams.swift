import Engine
import EngineAPI
import NIOHTTP1

extension Router {
    mutating func addContainerStreams(_ engine: Engine) {
        add(.GET, "/containers/{name}/logs") { request in try await logs(request, engine) }
        add(.GET, "/containers/{name}/stats") { request in stats(request, engine) }
        add(.POST, "/containers/{name}/wait") { request in try await wait(request, engine) }
        add(.POST, "/containers/{name}/attach") { request in
            let query = request.query
            let keys = try DetachKeys.parse(query["detachKeys"])
            let options = AttachOptions(
                stream: query.flag("stream"), logs: query.flag("logs"), stdin: query.flag("stdin"),
                stdout: query.flag("stdout"), stderr: query.flag("stderr"))
            let attachment = try await engine.attachContainer(request.name, options)
            let type =
                request.wantsUpgrade
                ? StreamMediaType.of(terminal: attachment.isTerminal, version: request.version)
                : StreamMediaType.raw
            return .upgrade(Upgrade(contentType: type, attachment: attachment, detachKeys: keys))
        }
        add(.GET, "/containers/{name}/attach/ws") { request in
            guard request.headers.first(name: "Upgrade")?.lowercased() == "websocket" else {
                throw Failure.badRequest("attach/ws is for WebSockets: send the handshake of RFC 6455")
            }
            let query = request.query
            let keys = try DetachKeys.parse(query["detachKeys"])
            let choosesStreams = request.version >= APIVersion(1, 42)
            let options = AttachOptions(
                stream: query.flag("stream"), logs: query.flag("logs"),
                stdin: query.flag("stdin") || !choosesStreams, stdout: query.flag("stdout") || !choosesStreams,
                stderr: query.flag("stderr") || !choosesStreams)
            let attachment = try await engine.attachContainer(request.name, options)
            let format = WebSocketFormat(
                isBinary: request.version >= APIVersion(1, 28), isFramed: !attachment.isTerminal)
            return .upgrade(
                Upgrade(
                    contentType: StreamMediaType.raw, attachment: attachment, detachKeys: keys, webSocket: format))
        }
    }
}

private func logs(_ request: Request, _ engine: Engine) async throws -> Reply {
    let query = request.query
    var options = LogOptions(stdout: query.flag("stdout"), stderr: query.flag("stderr"))
    guard options.stdout || options.stderr else {
        throw Failure.badRequest("Bad parameters: you must choose at least one stream")
    }
    let now = Clock.now()
    options.follow = query.flag("follow")
    options.timestamps = query.flag("timestamps")
    options.details = query.flag("details")
    options.since = try query.time("since", now: now)
    options.until = try query.time("until", now: now)
    // Anything that is no number means all of it, as with dockerd.
    options.tail = query.text("tail").flatMap { Int($0) }.flatMap { $0 < 0 ? nil : $0 }
    let lines = try await engine.containerLogs(request.name, options)
    let type = StreamMediaType.of(terminal: lines.isTerminal, version: request.version)
    return .stream(["Content-Type": type]) { stream in
        try await stream.start()
        for try await chunk in lines { try await stream.write(chunk) }
    }
}

private func stats(_ request: Request, _ engine: Engine) -> Reply {
    let isStream = request.query.flag("stream", default: true)
    let oneShot = request.version >= APIVersion(1, 41) && request.query.flag("one-shot")
    let name = request.name
    return .jsonLines { stream in
        var sample = try await engine.containerStats(name)
        if !isStream {
            // Without one-shot the answer has two samples a second apart, so that a client can work out a rate. A
            // container that does not run has none.
            if !oneShot && sample.read != Timestamp.never {
                let previous = sample
                try await Task.sleep(for: .seconds(1))
                sample = follow(try await engine.containerStats(name), previous)
            }
            return try await stream.writeLine(sample)
        }
        try await stream.writeLine(sample)
        let clock = ContinuousClock()
        var next = clock.now
        while true {
            next = next.advanced(by: .seconds(1))
            try await clock.sleep(until: next)
            let previous = sample
            do {
                sample = follow(try await engine.containerStats(name), previous)
            } catch let error as EngineError where error.kind == .notFound {
                // The container was removed: the stream ends.
                return
            }
            try await stream.writeLine(sample)
        }
    }
}

private func follow(_ sample: ContainerStats, _ previous: ContainerStats) -> ContainerStats {
    var sample = sample
    sample.preread = previous.read
    sample.precpuStats = previous.cpuStats
    return sample
}

private func wait(_ request: Request, _ engine: Engine) async throws -> Reply {
    // Before 1.30 there was no condition, and the head came with the answer.
    let isOld = request.version < APIVersion(1, 30)
    var condition = WaitCondition.notRunning
    if !isOld, let text = request.query.text("condition") {
        guard let known = WaitCondition(rawValue: text) else {
            throw Failure.badRequest("invalid condition: \"\(text)\"")
        }
        condition = known
    }
    let wait = try await engine.waitContainer(request.name, condition: condition)
    if isOld { return .json(try await wait.value()) }
    return .jsonLines { stream in
        try await stream.start()
        try await stream.writeLine(try await wait.value())
    }
}
