import Engine
import EngineAPI
import FoundationEssentials
import NIOHTTP1

extension Router {
    /// `docker cp` and `docker export`.
    mutating func addArchives(_ engine: Engine) {
        add(.GET, "/containers/{name}/export") { request in
            let name = request.name
            return .stream(["Content-Type": "application/octet-stream"]) { stream in
                try await ArchiveStreams.send(to: stream) { try await engine.exportContainer(name, to: $0) }
            }
        }
        add(.HEAD, "/containers/{name}/archive") { request in
            let stat = try await engine.archiveStat(request.name, path: try path(request))
            return .nothing(.ok, headers: try statHeader(stat))
        }
        add(.GET, "/containers/{name}/archive") { request in
            let name = request.name
            let path = try path(request)
            var headers = try statHeader(try await engine.archiveStat(name, path: path))
            headers.add(name: "Content-Type", value: "application/x-tar")
            return .stream(headers) { stream in
                try await ArchiveStreams.send(to: stream) { try await engine.archiveGet(name, path: path, to: $0) }
            }
        }
        add(.PUT, "/containers/{name}/archive", body: .streamed) { request in
            let name = request.name
            let path = try path(request)
            let options = ArchiveOptions(
                noOverwriteDirectoryWithFile: request.query.flag("noOverwriteDirNonDir"),
                copyOwners: request.query.flag("copyUIDGID"))
            guard let body = request.body else { throw Failure.badRequest("there is no archive in the request") }
            try await ArchiveStreams.receive(body) {
                try await engine.archivePut(name, path: path, from: $0, options: options)
            }
            return .nothing(.ok)
        }
    }
}

private func path(_ request: Request) throws(Failure) -> String {
    guard let path = request.query.text("path") else { throw .badRequest("bad parameter: pathcannot be empty") }
    return path
}

private func statHeader(_ stat: PathStat) throws -> HTTPHeaders {
    ["X-Docker-Container-Path-Stat": Data(try JSON.encode(stat)).base64EncodedString()]
}
