import EngineAPI

/// Everything the daemon knows and does: containers, images, volumes, events and the state database. The wire is above
/// it; it never sees HTTP.
public final class Engine: Sendable {
    public let configuration: EngineConfiguration

    private init(_ configuration: EngineConfiguration) { self.configuration = configuration }

    /// Locks the data and exec roots, opens the database, reconciles it with what runs, and starts what its restart
    /// policy says.
    ///
    /// - Throws: an `EngineError` when another daemon has one of the roots, when the database is newer than this
    ///   program, or when the host lacks what containers need.
    public static func open(_ configuration: EngineConfiguration) async throws -> Engine {
        throw EngineError(.notImplemented, "not yet")
    }

    /// Stops serving. Containers go on running unless `stopContainers`.
    public func shutdown(stopContainers: Bool) async {
    }
}
