import EngineAPI

extension Engine {
    public func containerChanges(_ id: String) async throws -> [FilesystemChange] {
        throw EngineError(.notImplemented, "not yet")
    }

    /// Writes the container's file system as a tar archive to `descriptor`.
    public func exportContainer(_ id: String, to descriptor: Int32) async throws {
        throw EngineError(.notImplemented, "not yet")
    }

    /// What is at a path of the container; the last component is not followed.
    public func archiveStat(_ id: String, path: String) async throws -> PathStat {
        throw EngineError(.notImplemented, "not yet")
    }

    /// Writes what is at `path` as a tar archive to `descriptor`.
    public func archiveGet(_ id: String, path: String, to descriptor: Int32) async throws {
        throw EngineError(.notImplemented, "not yet")
    }

    /// Unpacks the tar archive (possibly compressed) read from `descriptor` into the directory `path`.
    public func archivePut(
        _ id: String, path: String, from descriptor: Int32, options: ArchiveOptions
    ) async throws { throw EngineError(.notImplemented, "not yet") }

    /// Makes an image of a container's file system; returns its id (`sha256:…`).
    public func commitContainer(
        _ id: String, repository: String, tag: String, comment: String, author: String, pause: Bool,
        config: ContainerConfig?
    ) async throws -> String { throw EngineError(.notImplemented, "not yet") }
}
