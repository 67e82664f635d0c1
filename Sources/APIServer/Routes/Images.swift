import Engine
import EngineAPI
import NIOHTTP1

extension Router {
    mutating func addImages(_ engine: Engine) {
        add(.GET, "/images/json") { request in try await list(request, engine) }
        add(.GET, "/images/search") { request in
            .json(
                try await engine.searchImages(
                    request.query["term"] ?? "", limit: try request.query.integer("limit"),
                    filters: try request.query.filters()))
        }
        add(.GET, "/images/get") { request in
            let names = request.query.all("names").filter { !$0.isEmpty }
            if names.isEmpty { throw Failure.badRequest("no image names given to save") }
            return try await save(names, request, engine)
        }
        add(.GET, "/images/{name}/get") { request in try await save([request.name], request, engine) }
        add(.GET, "/images/{name}/history") { request in
            try await Platform.check(request.name, engine, "platform", of: request, since: APIVersion(1, 48))
            return .json(try await engine.imageHistory(request.name))
        }
        add(.GET, "/images/{name}/json") { request in
            if request.version >= APIVersion(1, 48), request.query.flag("manifests"),
                request.query.text("platform") != nil
            {
                throw Failure.badRequest("conflicting options: manifests and platform options cannot both be set")
            }
            try await Platform.check(request.name, engine, "platform", of: request, since: APIVersion(1, 49))
            return .json(Compatibility.image(try await engine.inspectImage(request.name), request.version))
        }
        add(.GET, "/distribution/{name}/json") { request in .json(try await engine.inspectDistribution(request.name)) }
        add(.POST, "/images/load", body: .streamed) { request in try load(request, engine) }
        add(.POST, "/images/create", body: .streamed) { request in try create(request, engine) }
        add(.POST, "/images/prune") { request in
            .json(try await engine.pruneImages(filters: try request.query.filters()))
        }
        add(.POST, "/images/{name}/push") { request in
            try await Platform.check(request.name, engine, "platform", of: request, since: APIVersion(1, 46))
            throw Failure.notImplemented(
                "cannot push \(request.name): this daemon's registries are directories that it only reads")
        }
        add(.POST, "/images/{name}/tag") { request in
            guard let repository = request.query.text("repo") else {
                throw Failure.badRequest("no repository named for the tag")
            }
            try await engine.tagImage(request.name, repository: repository, tag: request.query["tag"] ?? "")
            return .nothing(.created)
        }
        add(.DELETE, "/images/{name}") { request in
            if request.name.trimmed.isEmpty { throw Failure.badRequest("image name cannot be blank") }
            try await Platform.check(request.name, engine, "platforms", of: request, since: APIVersion(1, 50))
            return .json(
                try await engine.removeImage(
                    request.name, force: request.query.flag("force"), prune: !request.query.flag("noprune")))
        }
    }
}

private func list(_ request: Request, _ engine: Engine) async throws -> Reply {
    var filters = try request.query.filters()
    if request.version < APIVersion(1, 41), let pattern = request.query.text("filter") {
        filters.add("reference", pattern)
    }
    let images = try await engine.images(
        all: request.query.flag("all"), filters: filters,
        sharedSize: request.version >= APIVersion(1, 42) && request.query.flag("shared-size"))
    return .json(images.map { Compatibility.image($0, request.version) })
}

private func save(_ names: [String], _ request: Request, _ engine: Engine) async throws -> Reply {
    for name in names { try await Platform.check(name, engine, "platform", of: request, since: APIVersion(1, 48)) }
    return .stream(["Content-Type": "application/x-tar"]) { stream in
        try await ArchiveStreams.send(to: stream) { try await engine.saveImages(names, to: $0) }
    }
}

private func load(_ request: Request, _ engine: Engine) throws -> Reply {
    let platform = try Platform.picked("platform", of: request, since: APIVersion(1, 48))
    try Platform.check(platform.map(Platform.text), since: APIVersion(1, 48), request.version)
    let quiet = request.query.flag("quiet", default: true)
    return .jsonLines { stream in
        guard let body = request.body else { throw Failure.badRequest("there is no archive in the request") }
        try await ProgressStream.run(to: stream) { progress in
            try await ArchiveStreams.receive(body) { descriptor in
                try await engine.loadImages(from: descriptor) { message in
                    // Quiet leaves out the bars, not what was loaded.
                    if !quiet || message.progressDetail == nil { progress(message) }
                }
            }
        }
    }
}

private func create(_ request: Request, _ engine: Engine) throws -> Reply {
    let query = request.query
    guard let image = query.text("fromImage") else { return try importArchive(request, engine) }
    try Platform.check(query.text("platform"), since: APIVersion(1, 32), request.version)
    var reference = image.hasSuffix(":") ? String(image.dropLast()) : image
    if let tag = query.text("tag") { reference += (tag.contains(":") ? "@" : ":") + tag }
    return .jsonLines { [reference] stream in
        try await ProgressStream.run(to: stream) { try await engine.pullImage(reference, progress: $0) }
    }
}

private func importArchive(_ request: Request, _ engine: Engine) throws -> Reply {
    let query = request.query
    let source = query["fromSrc"] ?? ""
    guard source == "-" else {
        throw Failure.badRequest(
            source.isEmpty
                ? "neither fromImage nor fromSrc says what to make an image of"
                : "cannot import from \(source): this daemon fetches nothing from the network; send the archive as the "
                    + "request's body, with fromSrc=-")
    }
    try Platform.check(query.text("platform"), since: APIVersion(1, 32), request.version)
    let changes = query.all("changes").filter { !$0.isEmpty }
    return .jsonLines { stream in
        guard let body = request.body else { throw Failure.badRequest("there is no archive in the request") }
        try await ProgressStream.run(to: stream) { progress in
            try await ArchiveStreams.receive(body) { descriptor in
                let id = try await engine.importImage(
                    from: descriptor, repository: query["repo"] ?? "", tag: query["tag"] ?? "",
                    message: query.text("message") ?? "Imported from \(source)", changes: changes
                ) { _ in }
                progress(ProgressMessage(status: id))
            }
        }
    }
}
