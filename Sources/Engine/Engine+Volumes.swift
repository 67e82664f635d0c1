import EngineAPI

extension Engine {
    public func createVolume(_ request: VolumeCreateRequest) async throws -> Volume {
        throw EngineError(.notImplemented, "not yet")
    }

    public func volumes(filters: Filters) async throws -> VolumeListResponse {
        throw EngineError(.notImplemented, "not yet")
    }

    public func inspectVolume(_ name: String) async throws -> Volume { throw EngineError(.notImplemented, "not yet") }

    public func removeVolume(_ name: String, force: Bool) async throws { throw EngineError(.notImplemented, "not yet") }

    public func pruneVolumes(filters: Filters) async throws -> VolumesPruneReport {
        throw EngineError(.notImplemented, "not yet")
    }
}
