import Engine
import EngineAPI
import Glibc
import NIOHTTP1

extension Router {
    mutating func addSystem(_ engine: Engine) {
        add(.GET, "/_ping") { _ in ping(head: false) }
        add(.HEAD, "/_ping") { _ in ping(head: true) }
        add(.GET, "/version") { _ in .json(engine.version()) }
        add(.GET, "/info") { request in
            .json(Compatibility.info(await engine.info(), request.version))
        }
        add(.GET, "/events") { request in try events(request, engine) }
        add(.GET, "/system/df") { request in try await diskUsage(request, engine) }
        add(.POST, "/auth") { request in
            let credentials = try request.document(AuthConfig.self, required: true)
            let server = credentials.serverAddress.isEmpty ? "the default registry" : credentials.serverAddress
            throw Failure.notImplemented(
                "cannot log in to \(server): this daemon pulls from registry directories, which need no login")
        }
    }
}

private func ping(head: Bool) -> Reply {
    let headers: HTTPHeaders = [
        "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache", "Swarm": "inactive",
    ]
    // A HEAD has no body and says so, as dockerd does.
    return .document(.ok, headers, head ? [] : Array("OK".utf8))
}

private func events(_ request: Request, _ engine: Engine) throws -> Reply {
    let now = Clock.now()
    let since = try request.query.time("since", now: now)
    let until = try request.query.time("until", now: now)
    if let since, let until, until < since {
        throw Failure.badRequest(
            "`since` time (\(request.query["since"] ?? "")) cannot be after `until` time "
                + "(\(request.query["until"] ?? ""))")
    }
    let events = try engine.events(since: since, until: until, filters: try request.query.filters())
    // Images did not tell of their creation before API 1.46.
    let skipsImageCreation = request.version < APIVersion(1, 46)
    return .jsonLines { stream in
        try await stream.start()
        do {
            for try await event in events {
                if skipsImageCreation && event.type == "image" && event.action == "create" { continue }
                try await stream.writeLine(event)
            }
        } catch let error as EngineError {
            try await stream.writeLine(ErrorResponse(message: error.message))
        }
    }
}

private func diskUsage(_ request: Request, _ engine: Engine) async throws -> Reply {
    var usage = try await engine.diskUsage()
    let types = request.version < APIVersion(1, 42) ? [] : request.query.all("type")
    if let unknown = types.first(where: { !["container", "image", "volume", "build-cache"].contains($0) }) {
        throw Failure.badRequest("unknown object type: \(unknown)")
    }
    // What was not asked for is null.
    if !types.isEmpty {
        if !types.contains("container") { usage.containers = nil }
        if !types.contains("volume") { usage.volumes = nil }
        if !types.contains("build-cache") { usage.buildCache = nil }
        if !types.contains("image") {
            usage.images = nil
            usage.layersSize = 0
        }
    }
    usage.images = usage.images?.map { Compatibility.imageSize($0, request.version) }
    return .json(usage)
}

/// The wall clock.
enum Clock {
    /// Nanoseconds since the epoch.
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
