import EngineAPI

extension Engine {
    public func version() -> VersionResponse { VersionResponse() }

    public func info() async -> SystemInfo { SystemInfo() }

    /// Events from `since` on (those still kept), then live ones until `until`; nanoseconds since the epoch.
    /// The stream ends at `until` when that is given, otherwise when the reader goes away.
    public func events(since: Int64?, until: Int64?, filters: Filters) throws -> AsyncStream<EventMessage> {
        throw EngineError(.notImplemented, "not yet")
    }

    public func diskUsage() async throws -> DiskUsage { throw EngineError(.notImplemented, "not yet") }
}
