import Glibc

/// A system call that failed: what was being done, to what, and the errno.
public struct SystemError: Error, Sendable, CustomStringConvertible, Equatable {
    /// The errno, for example `ENOENT`.
    public let errno: Int32
    /// What was being done and to what, for example `open /etc/passwd`.
    public let operation: String

    public init(_ operation: String, errno: Int32) {
        self.operation = operation
        self.errno = errno
    }

    /// The error of the call that just failed on this thread.
    public static func current(_ operation: String) -> SystemError {
        SystemError(operation, errno: Glibc.errno)
    }

    public var reason: String { String(cString: strerror(errno)) }

    public var description: String { "\(operation): \(reason)" }
}

/// Calls `body` until it is not interrupted by a signal, and throws when it returns a negative number.
@discardableResult
public func checked<T: SignedInteger>(_ operation: @autoclosure () -> String, _ body: () -> T) throws(SystemError) -> T
{
    while true {
        let result = body()
        if result >= 0 { return result }
        if errno != EINTR { throw SystemError.current(operation()) }
    }
}
