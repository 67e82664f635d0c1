import Database
import Glibc
import LinuxKernel
import OCI

/// Why the image store refused or failed, as one sentence for the user.
public struct ImageError: Error, Sendable, CustomStringConvertible {
    public enum Kind: Sendable {
        /// No such image, tag, repository or blob.
        case notFound
        /// A name, an archive or an image that can't be accepted as it is.
        case invalid
        /// The image is in use, or named more than once.
        case conflict
        /// Content that differs from what its digest or size promises.
        case corrupt
        /// The disk (or its quota, or its inodes) is full.
        case noSpace
        /// The host failed: a system call, the database.
        case system
    }

    public let kind: Kind
    public let message: String

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    public var description: String { message }
}

extension ImageError {
    /// Any error of a lower layer as one of ours; `doing` says in what it happened, for example `unpack layer 0123`.
    static func wrap(_ error: any Error, doing: String) -> ImageError {
        switch error {
        case let error as ImageError: return error
        case let error as SystemError where [ENOSPC, EDQUOT].contains(error.errno):
            return ImageError(
                .noSpace, "\(doing): no space left on the data root's disk (\(error.operation)): free some, then retry")
        case let error as SystemError: return ImageError(.system, "\(doing): \(error)")
        case let error as DatabaseError where error.isFull:
            return ImageError(.noSpace, "\(doing): no space left on the data root's disk: free some, then retry")
        case let error as InvalidReference: return ImageError(.invalid, error.description)
        case let error as InvalidDigest: return ImageError(.invalid, error.description)
        case is CancellationError: return ImageError(.system, "\(doing): cancelled")
        default: return ImageError(.system, "\(doing): \(error)")
        }
    }
}
