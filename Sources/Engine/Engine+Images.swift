import EngineAPI

extension Engine {
    public func images(all: Bool, filters: Filters, sharedSize: Bool = false) async throws -> [ImageSummary] {
        throw EngineError(.notImplemented, "not yet")
    }

    public func inspectImage(_ reference: String) async throws -> ImageInspect {
        throw EngineError(.notImplemented, "not yet")
    }

    public func imageHistory(_ reference: String) async throws -> [ImageHistoryItem] {
        throw EngineError(.notImplemented, "not yet")
    }

    public func tagImage(_ source: String, repository: String, tag: String) async throws {
        throw EngineError(.notImplemented, "not yet")
    }

    public func removeImage(_ reference: String, force: Bool, prune: Bool) async throws -> [ImageDeleteItem] {
        throw EngineError(.notImplemented, "not yet")
    }

    /// Pulls from the registry directories. `progress` is called on any thread, in order.
    public func pullImage(
        _ reference: String, progress: @escaping @Sendable (ProgressMessage) -> Void
    ) async throws { throw EngineError(.notImplemented, "not yet") }

    /// Loads a `docker save` archive or an OCI layout, tar, possibly compressed, read from `descriptor` to its end.
    public func loadImages(
        from descriptor: Int32, progress: @escaping @Sendable (ProgressMessage) -> Void
    ) async throws { throw EngineError(.notImplemented, "not yet") }

    /// Writes the images as a tar archive to `descriptor`.
    public func saveImages(_ names: [String], to descriptor: Int32) async throws {
        throw EngineError(.notImplemented, "not yet")
    }

    public func pruneImages(filters: Filters) async throws -> ImagesPruneReport {
        throw EngineError(.notImplemented, "not yet")
    }
}
