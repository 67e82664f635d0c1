import EngineAPI

extension Engine {
    public func createContainer(
        name: String?, _ request: ContainerCreateRequest
    ) async throws -> ContainerCreateResponse { throw EngineError(.notImplemented, "not yet") }

    public func containers(
        all: Bool, limit: Int?, size: Bool, filters: Filters
    ) async throws -> [ContainerSummary] { throw EngineError(.notImplemented, "not yet") }

    public func inspectContainer(_ id: String, size: Bool) async throws -> ContainerInspect {
        throw EngineError(.notImplemented, "not yet")
    }

    public func startContainer(_ id: String) async throws { throw EngineError(.notImplemented, "not yet") }

    /// `timeout` in seconds, -1 without end; nil: the container's own. `notModified` when it is not running.
    public func stopContainer(_ id: String, signal: String?, timeout: Int?) async throws {
        throw EngineError(.notImplemented, "not yet")
    }

    public func restartContainer(_ id: String, signal: String?, timeout: Int?) async throws {
        throw EngineError(.notImplemented, "not yet")
    }

    /// `signal` by name or number; nil: SIGKILL.
    public func killContainer(_ id: String, signal: String?) async throws {
        throw EngineError(.notImplemented, "not yet")
    }

    public func pauseContainer(_ id: String) async throws { throw EngineError(.notImplemented, "not yet") }

    public func unpauseContainer(_ id: String) async throws { throw EngineError(.notImplemented, "not yet") }

    public func renameContainer(_ id: String, to name: String) async throws {
        throw EngineError(.notImplemented, "not yet")
    }

    public func removeContainer(_ id: String, force: Bool, volumes: Bool) async throws {
        throw EngineError(.notImplemented, "not yet")
    }

    /// Returns warnings.
    public func updateContainer(_ id: String, _ request: ContainerUpdateRequest) async throws -> [String] {
        throw EngineError(.notImplemented, "not yet")
    }

    public func pruneContainers(filters: Filters) async throws -> ContainersPruneReport {
        throw EngineError(.notImplemented, "not yet")
    }

    /// Begins to wait, at once: the result is awaited separately.
    public func waitContainer(_ id: String, condition: WaitCondition) async throws -> ContainerWait {
        throw EngineError(.notImplemented, "not yet")
    }

    public func topContainer(_ id: String, psArguments: String) async throws -> TopResponse {
        throw EngineError(.notImplemented, "not yet")
    }

    /// One sample. A container that is not running gives one with zero counters.
    public func containerStats(_ id: String) async throws -> ContainerStats {
        throw EngineError(.notImplemented, "not yet")
    }
}
