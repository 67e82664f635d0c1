import Engine
import EngineAPI
import NIOHTTP1

/// A refusal as the wire knows it: a status and one sentence.
struct Failure: Error, Sendable {
    let status: HTTPResponseStatus
    let message: String

    init(_ status: HTTPResponseStatus, _ message: String) {
        self.status = status
        self.message = message
    }

    static func badRequest(_ message: String) -> Failure { Failure(.badRequest, message) }
    static func notImplemented(_ message: String) -> Failure { Failure(.notImplemented, message) }
    static let pageNotFound = Failure(.notFound, "page not found")

    /// The one place where errors of the layers below become statuses.
    init(_ error: any Error) {
        switch error {
        case let failure as Failure: self = failure
        case let error as EngineError: self.init(Failure.status(error.kind), error.message)
        case let error as JSONError: self.init(.badRequest, error.description)
        case let error as InvalidFilter: self.init(.badRequest, error.description)
        case is CancellationError: self.init(.serviceUnavailable, "the request was cancelled")
        default: self.init(.internalServerError, "\(error)")
        }
    }

    private static func status(_ kind: EngineError.Kind) -> HTTPResponseStatus {
        switch kind {
        case .notFound: .notFound
        case .conflict: .conflict
        case .invalidParameter: .badRequest
        case .notModified: .notModified
        case .forbidden: .forbidden
        case .unavailable: .serviceUnavailable
        case .notImplemented: .notImplemented
        case .internal: .internalServerError
        }
    }

    var reply: Reply {
        if status == .notModified { return .nothing(status) }
        return .json(ErrorResponse(message: message), status: status)
    }
}
