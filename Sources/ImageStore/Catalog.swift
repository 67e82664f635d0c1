import Database
import FoundationEssentials
import OCI
import Synchronization

/// The store's records: in the state database, and a copy of them in memory that every reader uses.
final class Catalog: Sendable {
    static let schema = """
        CREATE TABLE layers (
            chain_id TEXT PRIMARY KEY,
            parent TEXT REFERENCES layers(chain_id),
            diff_id TEXT NOT NULL,
            size INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX layers_by_parent ON layers(parent);
        CREATE TABLE images (
            id TEXT PRIMARY KEY,
            manifest TEXT NOT NULL,
            config TEXT NOT NULL,
            chain_id TEXT REFERENCES layers(chain_id),
            last_tagged INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX images_by_chain ON images(chain_id);
        CREATE TABLE image_layers (
            image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            chain_id TEXT NOT NULL REFERENCES layers(chain_id),
            blob TEXT NOT NULL,
            PRIMARY KEY (image, position)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE image_names (
            name TEXT PRIMARY KEY,
            image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX image_names_by_image ON image_names(image);
        CREATE TABLE layer_owners (
            owner TEXT PRIMARY KEY,
            chain_id TEXT NOT NULL REFERENCES layers(chain_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX layer_owners_by_chain ON layer_owners(chain_id);
        """

    struct LayerRecord: Sendable {
        let parent: Digest?
        let diffID: Digest
        let size: Int64
    }

    private struct State: Sendable {
        var images: [Digest: Image] = [:]
        var layers: [Digest: LayerRecord] = [:]
        /// Full names, with a tag or a digest, to image IDs.
        var names: [ImageReference: Digest] = [:]
    }

    let database: Database
    private let state = Mutex(State())

    init(database: Database) throws {
        self.database = database
    }

    func images() -> [Image] {
        state.withLock { Array($0.images.values) }.sorted { ($0.created, $0.id) > ($1.created, $1.id) }
    }

    func image(_ id: Digest) -> Image? { state.withLock { $0.images[id] } }

    func resolve(_ text: String) throws(ImageError) -> Image {
        let found = state.withLock { state -> Image? in
            if text.hasPrefix("sha256:"), let id = try? Digest(parsing: text) { return state.images[id] }
            if let reference = try? ImageReference(parsing: text).withDefaultTag, let id = state.names[reference] {
                return state.images[id]
            }
            return nil
        }
        guard let found else { throw ImageError(.notFound, "No such image: \(text)") }
        return found
    }

    /// The chain IDs from `chainID` down, uppermost first.
    func chain(endingIn chainID: Digest) -> [Digest] {
        state.withLock { state in
            var result: [Digest] = []
            var next: Digest? = chainID
            while let current = next {
                result.append(current)
                next = state.layers[current]?.parent
            }
            return result
        }
    }

    func history(of image: Image) -> [ImageHistoryEntry] { [] }

    func retain(chainID: Digest?, owner: String, in connection: Connection) throws(DatabaseError) {
        guard let chainID else { return }
        try connection.run("INSERT INTO layer_owners (owner, chain_id) VALUES (?, ?)", owner, chainID.hex)
    }

    func release(owner: String, in connection: Connection) throws(DatabaseError) {
        try connection.run("DELETE FROM layer_owners WHERE owner = ?", owner)
    }
}
