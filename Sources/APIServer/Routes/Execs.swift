import Engine
import EngineAPI
import NIOHTTP1

extension Router {
    mutating func addExecs(_ engine: Engine) {
        add(.POST, "/containers/{name}/exec") { request in
            var creation = try request.document(ExecCreateRequest.self, required: true)
            if creation.cmd?.isEmpty ?? true { throw Failure.badRequest("No exec command specified") }
            if request.version < APIVersion(1, 42) { creation.consoleSize = nil }
            _ = try DetachKeys.parse(creation.detachKeys)
            return .json(IDResponse(id: try await engine.createExec(request.name, creation)), status: .created)
        }
        add(.POST, "/exec/{name}/start") { request in try await start(request, engine) }
        add(.POST, "/exec/{name}/resize") { request in
            let (width, height) = try request.terminalSize()
            try await engine.resizeExec(request.name, width: width, height: height)
            return .nothing(.ok)
        }
        add(.GET, "/exec/{name}/json") { request in .json(try await engine.inspectExec(request.name)) }
    }
}

private func start(_ request: Request, _ engine: Engine) async throws -> Reply {
    let options = try request.document(ExecStartRequest.self)
    var size: (width: UInt16, height: UInt16)?
    if let console = options.consoleSize, console.count == 2, options.tty, request.version >= APIVersion(1, 42) {
        size = (UInt16(clamping: console[1]), UInt16(clamping: console[0]))
    }
    let type =
        request.wantsUpgrade
        ? StreamMediaType.of(terminal: options.tty, version: request.version) : StreamMediaType.raw
    do {
        let exec = try await engine.inspectExec(request.name)
        guard
            let attachment = try await engine.startExec(
                request.name, detach: options.detach, tty: options.tty, size: size)
        else { return .nothing(.ok) }
        let keys = try DetachKeys.parse(exec.detachKeys)
        return .upgrade(Upgrade(contentType: type, attachment: attachment, detachKeys: keys))
    } catch let error as EngineError
        where !options.detach && [.invalidParameter, .internal, .forbidden].contains(error.kind)
    {
        // dockerd takes the connection over before it starts the program, so a program that cannot be started is
        // explained on its output, and the client finds the exit code (126, 127) by inspecting.
        return .upgrade(Upgrade(contentType: type, message: frame(error.message + "\r\n", raw: options.tty)))
    }
}

/// Text as it comes from a container's standard output.
private func frame(_ text: String, raw: Bool) -> [UInt8] {
    let bytes = Array(text.utf8)
    if raw { return bytes }
    let length = UInt32(bytes.count).bigEndian
    return [1, 0, 0, 0] + withUnsafeBytes(of: length, Array.init) + bytes
}
