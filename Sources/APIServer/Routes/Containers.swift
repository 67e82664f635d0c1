import Engine
import EngineAPI
import NIOHTTP1

extension Router {
    mutating func addContainers(_ engine: Engine) {
        add(.GET, "/containers/json") { request in try await list(request, engine) }
        add(.POST, "/containers/create") { request in try await create(request, engine) }
        add(.POST, "/containers/prune") { request in
            .json(try await engine.pruneContainers(filters: try request.query.filters()))
        }
        add(.GET, "/containers/{name}/json") { request in
            let size = request.query.flag("size")
            let container = try await engine.inspectContainer(request.name, size: size)
            return .json(Compatibility.container(container, request.version))
        }
        add(.GET, "/containers/{name}/top") { request in
            .json(try await engine.topContainer(request.name, psArguments: request.query["ps_args"] ?? ""))
        }
        add(.GET, "/containers/{name}/changes") { request in
            let changes = try await engine.containerChanges(request.name)
            return .json(changes.isEmpty ? nil : changes)
        }
        add(.POST, "/containers/{name}/start") { request in
            if request.bytes.readableBytes > 7 {
                throw Failure.badRequest(
                    "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
                )
            }
            if let checkpoint = request.query.text("checkpoint") {
                throw Failure.notImplemented(
                    "cannot start from checkpoint \(checkpoint): checkpoints are not supported")
            }
            try await engine.startContainer(request.name)
            return .nothing()
        }
        add(.POST, "/containers/{name}/stop") { request in
            let (signal, timeout) = try stopOptions(request)
            try await engine.stopContainer(request.name, signal: signal, timeout: timeout)
            return .nothing()
        }
        add(.POST, "/containers/{name}/restart") { request in
            let (signal, timeout) = try stopOptions(request)
            try await engine.restartContainer(request.name, signal: signal, timeout: timeout)
            return .nothing()
        }
        add(.POST, "/containers/{name}/kill") { request in
            do {
                try await engine.killContainer(request.name, signal: request.query.text("signal"))
            } catch let error as EngineError {
                throw EngineError(error.kind, "cannot kill container: \(request.name): \(error.message)")
            }
            return .nothing()
        }
        add(.POST, "/containers/{name}/pause") { request in
            try await engine.pauseContainer(request.name)
            return .nothing()
        }
        add(.POST, "/containers/{name}/unpause") { request in
            try await engine.unpauseContainer(request.name)
            return .nothing()
        }
        add(.POST, "/containers/{name}/rename") { request in
            try await engine.renameContainer(request.name, to: request.query["name"] ?? "")
            return .nothing()
        }
        add(.POST, "/containers/{name}/update") { request in try await update(request, engine) }
        add(.POST, "/containers/{name}/resize") { request in
            let (width, height) = try request.terminalSize()
            try await engine.resizeContainer(request.name, width: width, height: height)
            return .nothing(.ok)
        }
        add(.DELETE, "/containers/{name}") { request in
            if request.query.flag("link") {
                throw Failure.badRequest("cannot remove the link \(request.name): links are not supported")
            }
            try await engine.removeContainer(
                request.name, force: request.query.flag("force"), volumes: request.query.flag("v"))
            return .nothing()
        }
        add(.POST, "/commit") { request in try await commit(request, engine) }
    }
}

extension Request {
    /// The size of a terminal in `w` and `h`.
    ///
    /// - Throws: a 400 where one of them is absent or no size.
    func terminalSize() throws(Failure) -> (width: UInt16, height: UInt16) {
        func side(_ name: String, _ parameter: String) throws(Failure) -> UInt16 {
            let text = query[parameter] ?? ""
            guard let value = UInt32(text) else {
                throw .badRequest("invalid resize \(name) \"\(text)\": it must be a number of characters")
            }
            return UInt16(clamping: value)
        }
        let height = try side("height", "h")
        return (try side("width", "w"), height)
    }
}

private func list(_ request: Request, _ engine: Engine) async throws -> Reply {
    var filters = try request.query.filters()
    // Parameters of old clients, which are filters now.
    for name in ["since", "before"] {
        if let container = request.query.text(name) { filters.add(name, container) }
    }
    let containers = try await engine.containers(
        all: request.query.flag("all"), limit: try request.query.integer("limit").flatMap { $0 > 0 ? $0 : nil },
        size: request.query.flag("size"), filters: filters)
    return .json(containers.map { Compatibility.container($0, request.version) })
}

private func create(_ request: Request, _ engine: Engine) async throws -> Reply {
    var creation = try request.document(ContainerCreateRequest.self, required: true)
    if creation.config == ContainerConfig() {
        throw Failure.badRequest("config cannot be empty in order to create a container")
    }
    try Platform.check(request.query.text("platform"), since: APIVersion(1, 41), request.version)
    let warnings = try Compatibility.adapt(&creation, request.version)
    var response = try await engine.createContainer(name: request.query.text("name"), creation)
    response.warnings += warnings
    return .json(response, status: .created)
}

private func stopOptions(_ request: Request) throws -> (signal: String?, timeout: Int?) {
    let signal = request.version >= APIVersion(1, 42) ? request.query.text("signal") : nil
    return (signal, try request.query.integer("t"))
}

private func update(_ request: Request, _ engine: Engine) async throws -> Reply {
    var change = try request.document(ContainerUpdateRequest.self)
    if request.version < APIVersion(1, 40) { change.pidsLimit = nil }
    if request.version >= APIVersion(1, 42) { change.kernelMemory = 0 }
    if let limit = change.pidsLimit, limit < 0 { change.pidsLimit = 0 }
    do {
        let warnings = try await engine.updateContainer(request.name, change)
        return .json(ContainerUpdateResponse(warnings: warnings.isEmpty ? nil : warnings))
    } catch let error as EngineError where error.kind == .conflict {
        throw EngineError(error.kind, "Cannot update container \(request.name): \(error.message)")
    }
}

private func commit(_ request: Request, _ engine: Engine) async throws -> Reply {
    guard let container = request.query.text("container") else {
        throw Failure.badRequest("no container named to commit")
    }
    var options = CommitOptions()
    options.repository = request.query["repo"] ?? ""
    options.tag = request.query["tag"] ?? ""
    options.comment = request.query["comment"] ?? ""
    options.author = request.query["author"] ?? ""
    options.pause = request.query.flag("pause", default: true)
    options.changes = request.query.all("changes").filter { !$0.isEmpty }
    if request.bytes.readableBytes > 0 { options.config = try request.document(ContainerConfig.self) }
    let id = try await engine.commitContainer(container, options)
    return .json(IDResponse(id: id), status: .created)
}
