import EngineAPI

extension Engine {
    /// Attaches to a running container, or to one that is about to be started.
    public func attachContainer(_ id: String, _ options: AttachOptions) async throws -> Attachment {
        throw EngineError(.notImplemented, "not yet")
    }

    public func containerLogs(_ id: String, _ options: LogOptions) async throws -> LogStream {
        throw EngineError(.notImplemented, "not yet")
    }

    /// Characters.
    public func resizeContainer(_ id: String, width: UInt16, height: UInt16) async throws {
        throw EngineError(.notImplemented, "not yet")
    }

    /// Returns the exec's id.
    public func createExec(_ id: String, _ request: ExecCreateRequest) async throws -> String {
        throw EngineError(.notImplemented, "not yet")
    }

    /// `size` is columns and rows of the terminal. nil when `detach`.
    public func startExec(
        _ id: String, detach: Bool, tty: Bool, size: (width: UInt16, height: UInt16)?
    ) async throws -> Attachment? { throw EngineError(.notImplemented, "not yet") }

    public func inspectExec(_ id: String) async throws -> ExecInspect { throw EngineError(.notImplemented, "not yet") }

    public func resizeExec(_ id: String, width: UInt16, height: UInt16) async throws {
        throw EngineError(.notImplemented, "not yet")
    }
}
