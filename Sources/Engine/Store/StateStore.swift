import Database
import EngineAPI
import FoundationEssentials
import ImageStore
import OCI

/// The state database's tables that are the engine's own.
struct StateStore: Sendable {
    let database: Database

    static let migrations: [String] = [
        ImageStore.schema,
        """
        CREATE TABLE containers (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            document BLOB NOT NULL,
            status BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE volumes (
            name TEXT PRIMARY KEY,
            document BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE volume_users (
            container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
            volume TEXT NOT NULL REFERENCES volumes(name),
            PRIMARY KEY (container, volume)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX volume_users_by_volume ON volume_users(volume);
        CREATE TABLE events (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            time INTEGER NOT NULL,
            document BLOB NOT NULL
        ) STRICT;
        CREATE TABLE settings (
            name TEXT PRIMARY KEY,
            value TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        """,
        """
        CREATE TABLE networks (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            document BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        """,
        """
        CREATE TABLE identity_ranges (
            container TEXT PRIMARY KEY REFERENCES containers(id) ON DELETE CASCADE,
            start INTEGER NOT NULL UNIQUE,
            size INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        """,
    ]

    // MARK: Containers

    /// Records a new container, the layers it stands on, the volumes it uses and the ids it has, all or nothing.
    func insert(
        _ record: ContainerRecord, images: ImageStore, volumes: Set<String>, identities: IdentityRanges.Range?,
        durability: Database.Durability
    ) throws {
        let document = try record.encodedDocument()
        let status = try record.encodedStatus()
        let chainID = record.document.chainID.flatMap { Digest(hex: $0) }
        try database.write(durability) { connection in
            try connection.run(
                "INSERT INTO containers (id, name, document, status) VALUES (?, ?, ?, ?)",
                record.id, record.name, document, status)
            try images.retain(chainID: chainID, owner: record.id, in: connection)
            for volume in volumes {
                try connection.run(
                    "INSERT INTO volume_users (container, volume) VALUES (?, ?)", record.id, volume)
            }
            if let identities {
                try connection.run(
                    "INSERT INTO identity_ranges (container, start, size) VALUES (?, ?, ?)",
                    record.id, Int64(identities.lowerBound), Int64(identities.count))
            }
        }
    }

    /// The ids of every container that has a range of its own, whether or not the rest of it can be read.
    func identityRanges() throws -> [String: IdentityRanges.Range] {
        let rows = try database.read { connection in
            try connection.query("SELECT container, start, size FROM identity_ranges") {
                ($0.text(0), $0.int64(1), $0.int64(2))
            }
        }
        return rows.reduce(into: [:]) { $0[$1.0] = UInt32($1.1)..<UInt32($1.1 + $1.2) }
    }

    func updateStatus(_ record: ContainerRecord) throws {
        try updateStatusLater(record)
        try database.settle()
    }

    /// The same with the next use of the database, for a status that a daemon finds out again when it starts.
    func updateStatusLater(_ record: ContainerRecord) throws {
        let status = try record.encodedStatus()
        let id = record.id
        database.writeLater(about: "status of \(id)") { connection in
            try connection.run("UPDATE containers SET status = ? WHERE id = ?", status, id)
        }
    }

    func update(_ record: ContainerRecord) throws {
        let document = try record.encodedDocument()
        let status = try record.encodedStatus()
        _ = try database.write(.full) { connection in
            try connection.run(
                "UPDATE containers SET name = ?, document = ?, status = ? WHERE id = ?",
                record.name, document, status, record.id)
        }
    }

    func deleteContainer(_ id: String, images: ImageStore) throws {
        deleteContainerLater(id, images: images)
        try database.settle()
    }

    /// The same with the next use of the database, for a container whose directory is among the deleted ones: its
    /// removal goes on when a daemon starts.
    func deleteContainerLater(_ id: String, images: ImageStore) {
        database.writeLater(about: "removal of \(id)") { connection in
            try images.release(owner: id, in: connection)
            try connection.run("DELETE FROM containers WHERE id = ?", id)
        }
    }

    /// Every container, and the ids of those whose documents can't be read.
    func containers() throws -> (records: [ContainerRecord], unreadable: [(id: String, reason: String)]) {
        try database.read { connection in
            var unreadable: [(id: String, reason: String)] = []
            let records = try connection.query("SELECT id, name, document, status FROM containers") {
                row -> ContainerRecord? in
                let id = row.text(0)
                do {
                    return try ContainerRecord.decode(
                        id: id, name: row.text(1), document: row.bytes(2), status: row.bytes(3))
                } catch {
                    unreadable.append((id, "\(error)"))
                    return nil
                }
            }
            return (records.compactMap { $0 }, unreadable)
        }
    }

    // MARK: Volumes

    func insert(_ volume: StoredVolume) throws {
        let document = try JSONTextEncoder.encode(volume)
        _ = try database.write(.full) { connection in
            try connection.run(
                """
                INSERT INTO volumes (name, document) VALUES (?, ?)
                ON CONFLICT (name) DO UPDATE SET document = excluded.document
                """, volume.name, document)
        }
    }

    /// Fails with a constraint error while a container uses it.
    func deleteVolume(_ name: String) throws {
        _ = try database.write(.full) { try $0.run("DELETE FROM volumes WHERE name = ?", name) }
    }

    func volumes() throws -> [StoredVolume] {
        try database.read { connection in
            try connection.query("SELECT document FROM volumes") { row in
                try JSONDecoder().decode(StoredVolume.self, from: Data(row.bytes(0)))
            }
        }
    }

    // MARK: Networks

    /// Enters networks, or puts them in place of what was stored of them, all or nothing.
    func set(_ networks: [NetworkRecord]) throws {
        let rows = try networks.map { ($0.id, $0.name, try $0.encoded()) }
        _ = try database.write(.full) { connection in
            for (id, name, document) in rows {
                try connection.run(
                    """
                    INSERT INTO networks (id, name, document) VALUES (?, ?, ?)
                    ON CONFLICT (id) DO UPDATE SET name = excluded.name, document = excluded.document
                    """, id, name, document)
            }
        }
    }

    func deleteNetwork(_ id: String) throws {
        _ = try database.write(.full) { try $0.run("DELETE FROM networks WHERE id = ?", id) }
    }

    /// Every network, and the ids of those whose documents can't be read.
    func networks() throws -> (records: [NetworkRecord], unreadable: [(id: String, reason: String)]) {
        try database.read { connection in
            var unreadable: [(id: String, reason: String)] = []
            let records = try connection.query("SELECT id, document FROM networks") { row -> NetworkRecord? in
                do {
                    return try NetworkRecord.decode(row.bytes(1))
                } catch {
                    unreadable.append((row.text(0), "\(error)"))
                    return nil
                }
            }
            return (records.compactMap { $0 }, unreadable)
        }
    }

    // MARK: Events

    /// How many events are kept.
    static let keptEvents = 4096

    func append(_ events: [EventMessage]) throws {
        let encoded = try events.map { ($0.timeNano, try JSON.encode($0)) }
        try database.write(.normal) { connection in
            for (time, document) in encoded {
                try connection.run("INSERT INTO events (time, document) VALUES (?, ?)", time, document)
            }
            try connection.run(
                "DELETE FROM events WHERE sequence <= (SELECT max(sequence) FROM events) - ?", StateStore.keptEvents)
        }
    }

    /// The kept events, oldest first.
    func events() throws -> [EventMessage] {
        try database.read { connection in
            try connection.query("SELECT document FROM events ORDER BY sequence") { row in
                try? JSONDecoder().decode(EventMessage.self, from: Data(row.bytes(0)))
            }.compactMap { $0 }
        }
    }

    // MARK: Settings

    func setting(_ name: String) throws -> String? {
        try database.read { try $0.first("SELECT value FROM settings WHERE name = ?", name) { $0.text(0) } }
    }

    func set(_ name: String, _ value: String) throws {
        _ = try database.write(.full) {
            try $0.run("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", name, value)
        }
    }
}
