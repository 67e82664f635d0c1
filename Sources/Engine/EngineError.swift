import Database
import EngineAPI
import ImageStore
import LinuxKernel
import MonitorProtocol
import Networking
import OCI

/// What the engine refuses or fails at: a kind, which the wire maps to a status once, and one sentence for the user.
public struct EngineError: Error, Sendable, CustomStringConvertible {
    public enum Kind: Sendable {
        /// No such container, image, volume, exec (404).
        case notFound
        /// The object's state forbids it, or a name is taken (409).
        case conflict
        /// The request makes no sense (400).
        case invalidParameter
        /// Already in the state that was asked for (304).
        case notModified
        /// Forbidden (403).
        case forbidden
        /// Not now: the daemon is stopping, a container's monitor is gone (503).
        case unavailable
        /// Understood, and not built (501).
        case notImplemented
        /// Something failed that the caller did not cause (500).
        case `internal`
    }

    public var kind: Kind
    public var message: String

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    public var description: String { message }

    static func notFound(_ message: String) -> EngineError { EngineError(.notFound, message) }
    static func conflict(_ message: String) -> EngineError { EngineError(.conflict, message) }
    static func invalid(_ message: String) -> EngineError { EngineError(.invalidParameter, message) }
    static func `internal`(_ message: String) -> EngineError { EngineError(.internal, message) }

    /// A failed system call, in the engine's terms.
    init(_ error: SystemError, while doing: String) {
        self.init(.internal, "\(doing): \(error)")
    }

    /// Any error of a layer below.
    init(wrapping error: any Error) {
        switch error {
        case let error as EngineError: self = error
        case let error as ImageError:
            let kind: Kind =
                switch error.kind {
                case .notFound: .notFound
                case .invalid: .invalidParameter
                case .conflict: .conflict
                case .corrupt, .noSpace, .system: .internal
                }
            self.init(kind, error.message)
        case let error as NetworkingError:
            let kind: Kind =
                switch error.kind {
                case .invalid: .invalidParameter
                case .conflict: .conflict
                case .notFound: .notFound
                case .system: .internal
                }
            self.init(kind, error.message)
        case let error as StartFailure: self.init(error)
        case let error as CgroupError: self.init(.internal, error.message)
        case let error as InvalidReference: self.init(.invalidParameter, error.description)
        case let error as InvalidFilter: self.init(.invalidParameter, error.description)
        case let error as DatabaseError where error.isFull:
            self.init(.internal, "no space left on the data root's disk: free some, then retry")
        default: self.init(.internal, "\(error)")
        }
    }

    /// A container or exec that could not be started, as dockerd classifies it: a program that is missing or can't
    /// be executed is the caller's error.
    init(_ failure: StartFailure) {
        let callersFault = ["exec", "user", "chdir"].contains(failure.stage)
        self.init(callersFault ? .invalidParameter : .internal, failure.message)
    }
}
