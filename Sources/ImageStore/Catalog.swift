import Database
import OCI
import Synchronization

/// The store's records: in the state database, and a copy of them in memory that every reader uses.
final class Catalog: Sendable {
    struct LayerRecord: Sendable, Hashable {
        let chainID: Digest
        let parent: Digest?
        let diffID: Digest
        /// Sum of the files' sizes, in bytes.
        let size: Int64
    }

    struct State: Sendable {
        var images: [Digest: Image] = [:]
        var layers: [Digest: LayerRecord] = [:]
        /// Full names, with a tag or a digest, to image IDs.
        var names: [ImageReference: Digest] = [:]
        /// Entries of the layout's index for images that could not be made again for now: they stay in it.
        var kept: [Descriptor] = []
        /// How many operations need a layer or blob that nothing recorded needs yet.
        var leases: [Digest: Int] = [:]

        func chain(endingIn chainID: Digest?) -> [Digest] {
            var result: [Digest] = []
            var next = chainID
            while let current = next, let layer = layers[current] {
                result.append(current)
                next = layer.parent
            }
            return result
        }
    }

    let database: Database
    private let state: Mutex<State>
    /// Held by whatever changes records and the files that belong to them; readers never wait for it.
    private let mutation = Mutex(())

    init(database: Database) throws {
        self.database = database
        state = Mutex(try database.read { try CatalogRows.load($0) })
    }

    /// Runs `body` while nothing else changes records or their files.
    func mutate<Result: Sendable>(_ body: () throws -> Result) throws -> Result {
        try mutation.withLock { _ in try body() }
    }

    // MARK: Reading

    func snapshot() -> State { state.withLock { $0 } }

    func images() -> [Image] {
        state.withLock { Array($0.images.values) }.sorted { ($0.created, $0.id) > ($1.created, $1.id) }
    }

    func image(_ id: Digest) -> Image? { state.withLock { $0.images[id] } }

    func layer(_ chainID: Digest) -> LayerRecord? { state.withLock { $0.layers[chainID] } }

    func image(named name: ImageReference) -> Image? {
        state.withLock { state in state.names[name].flatMap { state.images[$0] } }
    }

    /// What a user's text names, and whether it named it by ID.
    func find(_ text: String) throws(ImageError) -> (image: Image, byID: Bool) {
        let state = snapshot()
        if text.hasPrefix("sha256:"), let id = try? Digest(parsing: text), let image = state.images[id] {
            return (image, true)
        }
        let reference = try? ImageReference(parsing: text)
        if let reference, let image = Catalog.named(reference, in: state) { return (image, false) }
        let prefix = text.hasPrefix("sha256:") ? text.dropFirst(7) : text[...]
        if !prefix.isEmpty, prefix.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) {
            let matching = state.images.values.filter { $0.id.hex.hasPrefix(prefix) }
            if matching.count == 1 { return (matching[0], true) }
            if matching.count > 1 {
                throw ImageError(.invalid, "multiple IDs found with provided prefix: \(text)")
            }
        }
        if reference == nil, !text.hasPrefix("sha256:"), Digest(hex: text) == nil {
            do {
                _ = try ImageReference(parsing: text)
            } catch {
                throw ImageError(.invalid, error.description)
            }
        }
        throw ImageError(.notFound, "No such image: \(reference?.withDefaultTag.familiar ?? text)")
    }

    /// `name:tag@digest` means the digest; the tag is then only for people, as in Docker.
    private static func named(_ reference: ImageReference, in state: State) -> Image? {
        if let digest = reference.digest {
            let name = reference.repository.withDigest(digest)
            if let id = state.names[name] { return state.images[id] }
            return nil
        }
        return state.names[reference.withDefaultTag].flatMap { state.images[$0] }
    }

    /// The chain IDs from `chainID` down, uppermost first.
    func chain(endingIn chainID: Digest?) -> [Digest] { state.withLock { $0.chain(endingIn: chainID) } }

    /// Leaves an image that could not be made again for now to the next start: its entries in the index, its blobs.
    func keep(_ entries: [Descriptor], blobs: [Digest]) {
        state.withLock { $0.kept += entries }
        lease(blobs)
    }

    // MARK: Leases

    /// Keeps garbage collection from what an operation is about to need. Ended by ``release(_:)``.
    func lease(_ digests: [Digest]) {
        state.withLock { state in
            for digest in digests { state.leases[digest, default: 0] += 1 }
        }
    }

    func release(_ digests: [Digest]) {
        state.withLock { state in
            for digest in digests {
                let left = (state.leases[digest] ?? 1) - 1
                state.leases[digest] = left > 0 ? left : nil
            }
        }
    }

    func retain(chainID: Digest?, owner: String, in connection: Connection) throws(DatabaseError) {
        guard let chainID else { return }
        try connection.run("INSERT INTO layer_owners (owner, chain_id) VALUES (?, ?)", owner, chainID.hex)
    }

    func release(owner: String, in connection: Connection) throws(DatabaseError) {
        try connection.run("DELETE FROM layer_owners WHERE owner = ?", owner)
    }

    // MARK: Changing, inside mutate()

    /// Records layers, an image on them and its names, which other images lose.
    func record(layers: [LayerRecord], image: Image, names: [ImageReference]) throws {
        try database.write(.full) { connection in
            for layer in layers { try CatalogRows.insert(layer, connection) }
            try CatalogRows.insert(image, connection)
            for name in names { try CatalogRows.insert(name, image.id, connection) }
        }
        state.withLock { state in
            for layer in layers { state.layers[layer.chainID] = layer }
            state.images[image.id] = image
            Catalog.assign(names, to: image.id, in: &state)
            Catalog.refreshNames(of: image.id, in: &state)
        }
    }

    /// Gives an image further names, which other images lose.
    func record(names: [ImageReference], of image: Digest, at time: Int64) throws {
        try database.write(.full) { connection in
            for name in names { try CatalogRows.insert(name, image, connection) }
            try connection.run("UPDATE images SET last_tagged = ? WHERE id = ?", time, image.hex)
        }
        state.withLock { state in
            state.images[image]?.lastTagged = time
            Catalog.assign(names, to: image, in: &state)
        }
    }

    func remove(names: [ImageReference]) throws {
        try database.write(.full) { connection in
            for name in names {
                _ = try connection.run("DELETE FROM image_names WHERE name = ?", name.description)
            }
        }
        state.withLock { state in
            for name in names {
                if let image = state.names.removeValue(forKey: name) { Catalog.refreshNames(of: image, in: &state) }
            }
        }
    }

    func remove(image: Digest) throws {
        try database.write(.full) { connection in
            _ = try connection.run("DELETE FROM images WHERE id = ?", image.hex)
        }
        state.withLock { state in
            state.images[image] = nil
            state.names = state.names.filter { $0.value != image }
        }
    }

    /// Forgets the layers that no image, no container and no running operation stands on.
    /// - Returns: them, upper ones before those below.
    func removeUnusedLayers() throws -> [LayerRecord] {
        let state = snapshot()
        let unused = try database.write(.full) { connection in
            var used = state.images.values.compactMap(\.chainID) + state.leases.keys
            used += try connection.query("SELECT DISTINCT chain_id FROM layer_owners") { Digest(hex: $0.text(0)) }
                .compactMap { $0 }
            let live = Set(used.flatMap { state.chain(endingIn: $0) })
            let unused = state.layers.values.filter { !live.contains($0.chainID) }
                .map { (layer: $0, depth: state.chain(endingIn: $0.chainID).count) }
                .sorted { $0.depth > $1.depth }
                .map(\.layer)
            for layer in unused { try connection.run("DELETE FROM layers WHERE chain_id = ?", layer.chainID.hex) }
            return unused
        }
        self.state.withLock { state in
            for layer in unused { state.layers[layer.chainID] = nil }
        }
        return unused
    }

    /// Forgets, in memory only, what a damaged disk has lost, until it is made again.
    func hide(layers: Set<Digest>, images: Set<Digest>) {
        state.withLock { state in
            for chainID in layers { state.layers[chainID] = nil }
            for image in images {
                state.images[image] = nil
                state.names = state.names.filter { $0.value != image }
            }
        }
    }

    /// Deletes the rows of layers that the disk lost and that were not made again. A row that a container stands on stays.
    func forget(layers: Set<Digest>) throws {
        let gone = layers.filter { layer($0) == nil }
        if gone.isEmpty { return }
        try database.write(.full) { connection in
            // Upper ones first, in whatever order they come: those below lose their last use by that.
            var deleted = 1
            while deleted > 0 {
                deleted = 0
                for chainID in gone { deleted += try CatalogRows.deleteUnused(chainID, connection) }
            }
        }
    }

    func record(layers: [LayerRecord]) throws {
        try database.write(.full) { connection in
            for layer in layers { try CatalogRows.insert(layer, connection) }
        }
        state.withLock { state in
            for layer in layers { state.layers[layer.chainID] = layer }
        }
    }

    private static func assign(_ names: [ImageReference], to image: Digest, in state: inout State) {
        for name in names {
            let previous = state.names.updateValue(image, forKey: name)
            if let previous, previous != image { refreshNames(of: previous, in: &state) }
        }
        refreshNames(of: image, in: &state)
    }

    static func refreshNames(of image: Digest, in state: inout State) {
        let names = state.names.filter { $0.value == image }.map(\.key).sorted { $0.description < $1.description }
        state.images[image]?.tags = names.filter { $0.digest == nil }
        state.images[image]?.digests = names.filter { $0.digest != nil }
    }
}
