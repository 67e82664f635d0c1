import EngineAPI
import LinuxKernel
import Synchronization

/// Which streams a client attaches to, and whether it wants what was logged before.
public struct AttachOptions: Sendable {
    public var stream: Bool
    public var logs: Bool
    public var stdin: Bool
    public var stdout: Bool
    public var stderr: Bool

    public init(stream: Bool, logs: Bool, stdin: Bool, stdout: Bool, stderr: Bool) {
        self.stream = stream
        self.logs = logs
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
    }
}

/// Which lines of a log a client wants.
public struct LogOptions: Sendable {
    public var stdout: Bool
    public var stderr: Bool
    public var follow: Bool
    public var timestamps: Bool
    /// Whether each line starts with the attributes that the container's log options name.
    public var details: Bool
    /// Nanoseconds since the epoch; nil: from the beginning.
    public var since: Int64?
    public var until: Int64?
    /// How many lines from the end; nil: all.
    public var tail: Int?

    public init(stdout: Bool = true, stderr: Bool = true) {
        self.stdout = stdout
        self.stderr = stderr
        follow = false
        timestamps = false
        details = false
        since = nil
        until = nil
        tail = nil
    }
}

/// A live connection to a container's or exec's streams.
public final class Attachment: Sendable {
    /// Whether the bytes are a terminal's, raw; otherwise output is in Docker's frames.
    public let isTerminal: Bool
    /// What was logged before the live stream begins, in the same form; send it first. nil where it wasn't asked for.
    public let replay: LogStream?
    /// To be called when the client leaves by its detach keys.
    public let detached: @Sendable () -> Void
    private let descriptor: Mutex<OwnedDescriptor?>

    init(
        descriptor: OwnedDescriptor?, isTerminal: Bool, replay: LogStream? = nil,
        detached: @escaping @Sendable () -> Void = {}
    ) {
        self.isTerminal = isTerminal
        self.replay = replay
        self.detached = detached
        self.descriptor = Mutex(descriptor)
    }

    /// The daemon's end of the stream socket, once; whoever takes it closes it. Output is read from it until end of
    /// file; what is written to it is stdin, `shutdown(SHUT_WR)` is stdin's end. nil: only the replay was asked for,
    /// or it was taken.
    public func takeDescriptor() -> Int32? {
        descriptor.withLock { descriptor in
            defer { descriptor = nil }
            return descriptor.flatMap { try? $0.duplicate() }
        }
    }
}

/// Logged output in chunks ready for the client: Docker's frames, or raw for a terminal.
public struct LogStream: AsyncSequence, Sendable {
    public typealias Element = [UInt8]

    public let isTerminal: Bool
    private let makeNext: @Sendable () -> @Sendable () async throws -> [UInt8]?

    /// `next` is asked for one chunk after the other and gives nil at the end.
    init(isTerminal: Bool, next: @escaping @Sendable () async throws -> [UInt8]?) {
        self.isTerminal = isTerminal
        makeNext = { next }
    }

    public struct Iterator: AsyncIteratorProtocol {
        let step: @Sendable () async throws -> [UInt8]?

        public mutating func next() async throws -> [UInt8]? { try await step() }
    }

    public func makeAsyncIterator() -> Iterator { Iterator(step: makeNext()) }
}

/// A wait that has begun: whoever holds it will hear of the exit, however soon it comes.
public struct ContainerWait: Sendable {
    let result: @Sendable () async throws -> WaitResponse

    /// Suspends until the condition holds; `CancellationError` when the task is cancelled.
    public func value() async throws -> WaitResponse { try await result() }
}

/// Where a file that is copied out of a container comes from, or where one is put.
public struct ArchiveOptions: Sendable {
    /// Refuse to replace a directory by a file and the other way round.
    public var noOverwriteDirectoryWithFile: Bool
    /// Give everything to the container's user instead of the owners that the archive says.
    public var copyOwners: Bool

    public init(noOverwriteDirectoryWithFile: Bool = false, copyOwners: Bool = false) {
        self.noOverwriteDirectoryWithFile = noOverwriteDirectoryWithFile
        self.copyOwners = copyOwners
    }
}
