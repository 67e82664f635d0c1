import Database
import Foundation
import Glibc
import Testing

@Suite struct DatabaseTests {
    /// A database file in a directory of its own.
    private final class Scratch {
        let directory: String
        var path: String { directory + "/state.db" }

        init() {
            var template = Array("/tmp/mycontainer-database-XXXXXX".utf8CString)
            directory = String(cString: mkdtemp(&template))
        }

        deinit {
            try? FileManager.default.removeItem(atPath: directory)
        }
    }

    private static let schema = "CREATE TABLE t (k TEXT PRIMARY KEY, n INTEGER, b BLOB) STRICT"

    @Test func keepsWhatWasCommittedAndNothingElse() throws {
        let scratch = Scratch()
        do {
            let database = try Database(path: scratch.path, migrations: [Self.schema])
            _ = try database.write(.full) {
                try $0.run("INSERT INTO t VALUES (?, ?, ?)", "ä\0b", 7, [1, 2, 3] as [UInt8])
            }
            #expect(throws: DatabaseError.self) {
                try database.write { connection in
                    try connection.run("INSERT INTO t VALUES (?, ?, ?)", "second", nil, nil)
                    try connection.run("INSERT INTO t VALUES (?, ?, ?)", "second", nil, nil)
                }
            }
        }
        let database = try Database(path: scratch.path, migrations: [Self.schema])
        let rows = try database.read { connection in
            try connection.query("SELECT k, n, b FROM t") { ($0.text(0), $0.optionalInt64(1), $0.bytes(2)) }
        }
        #expect(rows.count == 1)
        #expect(rows[0].0 == "ä\0b" && rows[0].1 == 7 && rows[0].2 == [1, 2, 3])
    }

    /// Nobody who uses the database sees that a write was put off; only a crash shows it.
    @Test func whatIsPutOffIsThereForWhoeverLooks() throws {
        let scratch = Scratch()
        let database = try Database(path: scratch.path, migrations: [Self.schema])
        func later(_ subject: String, _ sql: String) {
            database.writeLater(about: subject) { try $0.run("INSERT INTO t (k) VALUES ('\(sql)')") }
        }
        func names(_ database: Database) throws -> [String] {
            try database.read { try $0.query("SELECT k FROM t ORDER BY k") { $0.text(0) } }
        }
        later("a", "replaced")
        later("a", "first")
        later("b", "second")
        #expect(try names(Database(path: scratch.path, migrations: [Self.schema])) == [])
        #expect(try names(database) == ["first", "second"])
        later("a", "third")
        _ = try database.write { try $0.run("UPDATE t SET n = 1") }
        later("a", "fourth")
        try database.settle()
        let other = try Database(path: scratch.path, migrations: [Self.schema])
        #expect(try names(other) == ["first", "fourth", "second", "third"])
        #expect(try other.read { try $0.first("SELECT count(*) FROM t WHERE n = 1") { $0.int(0) } } == 3)
        // What can never be written takes nothing with it, and is in nobody's way.
        for (subject, name) in [("a", "fifth"), ("b", "first"), ("c", "sixth")] { later(subject, name) }
        #expect(throws: DatabaseError.self) { try database.settle() }
        #expect(try names(other) == ["fifth", "first", "fourth", "second", "sixth", "third"])
        later("b", "first")
        _ = try database.write { try $0.run("DELETE FROM t") }
        try database.settle()
        #expect(try names(database) == [])
    }

    @Test func migratesForwardAndRefusesNewerSchemas() throws {
        let scratch = Scratch()
        _ = try Database(path: scratch.path, migrations: [Self.schema])
        let both = [Self.schema, "ALTER TABLE t ADD COLUMN extra TEXT"]
        let database = try Database(path: scratch.path, migrations: both)
        _ = try database.write { try $0.run("INSERT INTO t (k, extra) VALUES (?, ?)", "a", "b") }
        let error = #expect(throws: DatabaseError.self) {
            _ = try Database(path: scratch.path, migrations: [Self.schema])
        }
        #expect(error?.description.contains("newer") == true)
    }

    @Test func aFailedMigrationChangesNothing() throws {
        let scratch = Scratch()
        _ = try Database(path: scratch.path, migrations: [Self.schema])
        #expect(throws: DatabaseError.self) {
            _ = try Database(path: scratch.path, migrations: [Self.schema, "CREATE TABLE u (x); NONSENSE"])
        }
        let database = try Database(path: scratch.path, migrations: [Self.schema])
        let tables = try database.read {
            try $0.query("SELECT name FROM sqlite_schema WHERE type = 'table'") { $0.text(0) }
        }
        #expect(tables == ["t"])
    }

    @Test func namesConstraints() throws {
        let scratch = Scratch()
        let database = try Database(
            path: scratch.path,
            migrations: ["CREATE TABLE a (k TEXT PRIMARY KEY); CREATE TABLE b (k TEXT REFERENCES a(k))"])
        let error = #expect(throws: DatabaseError.self) {
            try database.write { try $0.run("INSERT INTO b VALUES (?)", "missing") }
        }
        #expect(error?.isConstraint == true)
    }
}
