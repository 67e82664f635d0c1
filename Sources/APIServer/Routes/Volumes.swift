import Engine
import EngineAPI
import NIOHTTP1

extension Router {
    mutating func addVolumes(_ engine: Engine) {
        add(.GET, "/volumes") { request in
            .json(try await engine.volumes(filters: try request.query.filters()))
        }
        add(.POST, "/volumes/create") { request in
            let creation = try request.document(VolumeCreateRequest.self)
            if creation.clusterVolumeSpec != nil && request.version >= APIVersion(1, 42) {
                throw Absent.swarm
            }
            return .json(try await engine.createVolume(creation), status: .created)
        }
        add(.POST, "/volumes/prune") { request in
            var filters = try request.query.filters()
            // Only anonymous volumes since 1.42; older clients mean all.
            if request.version < APIVersion(1, 42) { filters.add("all", "true") }
            return .json(try await engine.pruneVolumes(filters: filters))
        }
        add(.GET, "/volumes/{name}") { request in .json(try await engine.inspectVolume(request.name)) }
        add(.PUT, "/volumes/{name}") { _ in
            throw Failure(
                .serviceUnavailable, "volume update only valid for cluster volumes, but swarm is unavailable")
        }
        add(.DELETE, "/volumes/{name}") { request in
            try await engine.removeVolume(request.name, force: request.query.flag("force"))
            return .nothing()
        }
    }
}
