import CSQLite

/// One connection, only ever handed out inside ``Database/write(_:_:)`` and ``Database/read(_:)``, under their lock.
public final class Connection {
    private let handle: OpaquePointer
    /// Prepared statements by their SQL text. Callers write their SQL as literals, so this stays small.
    private var statements: [String: Statement] = [:]
    private var durability: Database.Durability = .full

    init(path: String) throws(DatabaseError) {
        var opened: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX
        let code = sqlite3_open_v2(path, &opened, flags, nil)
        guard code == SQLITE_OK, let opened else {
            let reason = opened.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            sqlite3_close(opened)
            throw DatabaseError(code: code, message: "cannot open \(path): \(reason)")
        }
        handle = opened
        sqlite3_extended_result_codes(handle, 1)
        // Only a reader such as the sqlite3 shell can be in the way: the data root is locked by its daemon.
        sqlite3_busy_timeout(handle, 5_000)
        try execute("PRAGMA journal_mode = WAL")
        try execute("PRAGMA foreign_keys = ON")
        try execute("PRAGMA synchronous = FULL")
        // KiB of pages in memory (SQLite's own is 2000): whatever is read often is kept as objects anyway.
        try execute("PRAGMA cache_size = -256")
    }

    deinit {
        statements = [:]
        sqlite3_close_v2(handle)
    }

    /// Runs a statement that gives no rows.
    /// - Returns: how many rows it changed.
    @discardableResult
    public func run(_ sql: String, _ values: (any DatabaseValue)?...) throws(DatabaseError) -> Int {
        let statement = try prepare(sql, values)
        defer { statement.reset() }
        while try step(statement) {}
        return Int(sqlite3_changes(handle))
    }

    /// The rows of a query, each made into a value by `row`.
    public func query<Element>(
        _ sql: String, _ values: (any DatabaseValue)?..., row: (Row) throws -> Element
    ) throws -> [Element] {
        let statement = try prepare(sql, values)
        defer { statement.reset() }
        var result: [Element] = []
        while try step(statement) { result.append(try row(Row(statement: statement.handle))) }
        return result
    }

    /// The first row of a query, or nil when it has none.
    public func first<Element>(
        _ sql: String, _ values: (any DatabaseValue)?..., row: (Row) throws -> Element
    ) throws -> Element? {
        let statement = try prepare(sql, values)
        defer { statement.reset() }
        guard try step(statement) else { return nil }
        return try row(Row(statement: statement.handle))
    }

    func migrate(_ migrations: [String], path: String) throws(DatabaseError) {
        do {
            let version = try first("PRAGMA user_version") { $0.int(0) } ?? 0
            guard version <= migrations.count else {
                throw DatabaseError(
                    code: SQLITE_ERROR,
                    message: "\(path) has schema \(version), newer than this version's \(migrations.count): "
                        + "run the newer mycontainerd that wrote it")
            }
            for next in version..<migrations.count {
                try transaction(.full) { connection in
                    try connection.execute(migrations[next])
                    try connection.execute("PRAGMA user_version = \(next + 1)")
                }
            }
        } catch let error as DatabaseError {
            throw error
        } catch {
            throw DatabaseError(code: SQLITE_ERROR, message: "\(error)")
        }
    }

    func transaction<Result>(
        _ durability: Database.Durability, _ body: (Connection) throws -> Result
    ) throws -> Result {
        if durability != self.durability {
            try run(durability == .full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL")
            self.durability = durability
        }
        try run("BEGIN IMMEDIATE")
        return try finish(body)
    }

    func snapshot<Result>(_ body: (Connection) throws -> Result) throws -> Result {
        try run("BEGIN")
        return try finish(body)
    }

    private func finish<Result>(_ body: (Connection) throws -> Result) throws -> Result {
        do {
            let result = try body(self)
            try run("COMMIT")
            return result
        } catch {
            // SQLite has rolled back by itself after some errors, a full disk among them.
            if sqlite3_get_autocommit(handle) == 0 { _ = try? run("ROLLBACK") }
            throw error
        }
    }

    private func execute(_ script: String) throws(DatabaseError) {
        let code = sqlite3_exec(handle, script, nil, nil, nil)
        guard code == SQLITE_OK else { throw failure(code, script) }
    }

    private func prepare(_ sql: String, _ values: [(any DatabaseValue)?]) throws(DatabaseError) -> Statement {
        let statement: Statement
        if let cached = statements[sql] {
            statement = cached
        } else {
            var prepared: OpaquePointer?
            let code = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil)
            guard code == SQLITE_OK, let prepared else { throw failure(code, sql) }
            statement = Statement(handle: prepared)
            statements[sql] = statement
        }
        precondition(
            sqlite3_bind_parameter_count(statement.handle) == Int32(values.count), "wrong number of values: \(sql)")
        for (index, value) in values.enumerated() {
            let code = value?.bind(to: statement.handle, at: Int32(index + 1)) ?? SQLITE_OK
            guard code == SQLITE_OK else { throw failure(code, sql) }
        }
        return statement
    }

    private func step(_ statement: Statement) throws(DatabaseError) -> Bool {
        switch sqlite3_step(statement.handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let code: throw failure(code, String(cString: sqlite3_sql(statement.handle)))
        }
    }

    private func failure(_ code: Int32, _ sql: String) -> DatabaseError {
        DatabaseError(
            code: sqlite3_extended_errcode(handle),
            message: "\(String(cString: sqlite3_errmsg(handle))) (\(code)) in: \(sql.prefix(200))")
    }
}

private final class Statement {
    let handle: OpaquePointer

    init(handle: OpaquePointer) { self.handle = handle }

    func reset() {
        sqlite3_reset(handle)
        sqlite3_clear_bindings(handle)
    }

    deinit { sqlite3_finalize(handle) }
}
