import CSQLite
import Synchronization

/// A SQLite database file in WAL mode, used by one process through one connection.
///
/// Calls block: for microseconds, or for the time of a disk flush when a transaction is ``Durability/full``. All of
/// them may be made from any thread; they take turns.
public final class Database: Sendable {
    /// What a committed transaction survives.
    public enum Durability: Sendable {
        /// A crash of the program. A power cut may lose it, never corrupt the file (`synchronous=NORMAL`).
        case normal
        /// A power cut too (`synchronous=FULL`).
        case full
    }

    private let lock = Mutex(())
    /// Touched under `lock` only: `Mutex<Connection>` would keep callers from passing what they own into `body`.
    private nonisolated(unsafe) let connection: Connection
    /// Under `lock` too.
    private nonisolated(unsafe) var reserve: DiskReserve
    /// Under `lock` too: writes that were put off, by what they are about.
    private nonisolated(unsafe) var deferred: [String: @Sendable (Connection) throws -> Void] = [:]

    /// Opens or creates the database at `path` and brings its schema up to date.
    ///
    /// - Parameter migrations: `migrations[n]` is the SQL script that takes `user_version` from n to n + 1. Entries are
    ///   only ever added. A file with a newer schema is refused, since this version could damage what it can't read.
    public init(path: String, migrations: [String]) throws(DatabaseError) {
        let connection = try Connection(path: path)
        try connection.migrate(migrations, path: path)
        self.connection = connection
        reserve = DiskReserve(path: path + ".reserve")
    }

    /// Runs `body` in a transaction that is committed when it returns and rolled back when it throws. On a full disk it
    /// may be run a second time, with the room that was kept for that.
    public func write<Result: Sendable>(
        _ durability: Durability = .normal, _ body: (Connection) throws -> Result
    ) throws -> Result {
        try lock.withLock { _ in
            // What was refused of it is not about `body`.
            _ = try writeDeferred()
            return try transaction(durability, body)
        }
    }

    /// Runs `body`, which only reads, on one consistent snapshot.
    public func read<Result: Sendable>(_ body: (Connection) throws -> Result) throws -> Result {
        try lock.withLock { _ in
            // What can't be written now doesn't keep anybody from reading.
            _ = try? writeDeferred()
            return try connection.snapshot(body)
        }
    }

    /// Puts a write off until somebody uses the database or calls ``settle()``: nobody sees that it has not happened
    /// yet, but a crash loses it. It takes the place of one about the same `subject` that is still put off.
    public func writeLater(about subject: String, _ body: @escaping @Sendable (Connection) throws -> Void) {
        lock.withLock { _ in deferred[subject] = body }
    }

    /// Does what was put off. What can't be written because the disk is full or broken stays put off.
    ///
    /// - Throws: also where a constraint refuses one of the writes: that one is dropped.
    public func settle() throws {
        if let refused = try lock.withLock({ _ in try writeDeferred() }) { throw refused }
    }

    /// - Returns: why a write was refused and dropped, since it would be refused for ever.
    private func writeDeferred() throws -> DatabaseError? {
        if deferred.isEmpty { return nil }
        do {
            let bodies = deferred.values
            try transaction(.normal) { connection in for body in bodies { try body(connection) } }
            deferred = [:]
            return nil
        } catch let error as DatabaseError where error.isConstraint {
            // One by one, so that the others are not lost with it.
            var refused: DatabaseError?
            for (subject, body) in deferred {
                do {
                    try transaction(.normal, body)
                } catch let error as DatabaseError where error.isConstraint {
                    refused = error
                }
                deferred[subject] = nil
            }
            return refused
        }
    }

    private func transaction<Result>(_ durability: Durability, _ body: (Connection) throws -> Result) throws -> Result {
        do {
            let result = try connection.transaction(durability, body)
            reserve.fill()
            return result
        } catch let error as DatabaseError where error.isFull {
            guard reserve.release() else { throw error }
            return try connection.transaction(durability, body)
        }
    }
}

/// What SQLite said, and of which statement.
public struct DatabaseError: Error, Sendable, CustomStringConvertible {
    /// SQLite's extended result code.
    public let code: Int32
    public let message: String

    public init(code: Int32, message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "state database: \(message)" }

    /// A uniqueness, foreign key or other constraint said no.
    public var isConstraint: Bool { code & 0xff == SQLITE_CONSTRAINT }

    /// The disk is full.
    public var isFull: Bool { code & 0xff == SQLITE_FULL }
}
