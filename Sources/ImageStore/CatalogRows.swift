import Database
import OCI

/// The catalog's rows in the state database.
enum CatalogRows {
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
        CREATE INDEX image_layers_by_chain ON image_layers(chain_id);
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

    static func load(_ connection: Connection) throws -> Catalog.State {
        let documents = Documents(limits: .standard)
        var state = Catalog.State()
        let layers = try connection.query("SELECT chain_id, parent, diff_id, size FROM layers") { row in
            Catalog.LayerRecord(
                chainID: try digest(row.text(0)), parent: try row.optionalText(1).map(digest),
                diffID: try digest(row.text(2)), size: row.int64(3))
        }
        for layer in layers { state.layers[layer.chainID] = layer }
        let layersOf = try connection.query(
            "SELECT image, chain_id, blob FROM image_layers ORDER BY image, position"
        ) { row -> (Digest, Image.Layer) in
            let chainID = try digest(row.text(1))
            guard let layer = state.layers[chainID] else { throw ImageError(.system, "layer \(chainID) has no row") }
            let blob: Descriptor = try documents.decode(Array(row.text(2).utf8), "state database")
            return (
                try digest(row.text(0)),
                Image.Layer(chainID: chainID, diffID: layer.diffID, blob: blob, size: layer.size)
            )
        }
        var layersByImage: [Digest: [Image.Layer]] = [:]
        for (image, layer) in layersOf { layersByImage[image, default: []].append(layer) }
        let images = try connection.query("SELECT id, manifest, config, last_tagged FROM images") { row in
            let id = try digest(row.text(0))
            return Image(
                id: id, config: try documents.decode(Array(row.text(2).utf8), "state database"),
                manifest: try documents.decode(Array(row.text(1).utf8), "state database"),
                layers: layersByImage[id] ?? [], lastTagged: row.int64(3))
        }
        for image in images { state.images[image.id] = image }
        for (name, image) in try connection.query(
            "SELECT name, image FROM image_names",
            row: {
                (try ImageReference(parsing: $0.text(0)), try digest($0.text(1)))
            })
        { state.names[name] = image }
        for image in images { Catalog.refreshNames(of: image.id, in: &state) }
        return state
    }

    private static func digest(_ hex: String) throws -> Digest {
        guard let digest = Digest(hex: hex) else {
            throw ImageError(.system, "state database: \"\(hex)\" is not a digest")
        }
        return digest
    }

    static func insert(_ layer: Catalog.LayerRecord, _ connection: Connection) throws {
        try connection.run(
            """
            INSERT INTO layers (chain_id, parent, diff_id, size) VALUES (?, ?, ?, ?)
            ON CONFLICT (chain_id) DO UPDATE SET size = excluded.size
            """, layer.chainID.hex, layer.parent?.hex, layer.diffID.hex, layer.size)
    }

    /// - Returns: how many rows went away, 0 or 1.
    static func deleteUnused(_ chainID: Digest, _ connection: Connection) throws -> Int {
        try connection.run(
            """
            DELETE FROM layers WHERE chain_id = ?1
            AND NOT EXISTS (SELECT 1 FROM layers AS upper WHERE upper.parent = ?1)
            AND NOT EXISTS (SELECT 1 FROM image_layers WHERE chain_id = ?1)
            AND NOT EXISTS (SELECT 1 FROM images WHERE chain_id = ?1)
            AND NOT EXISTS (SELECT 1 FROM layer_owners WHERE chain_id = ?1)
            """, chainID.hex)
    }

    static func insert(_ image: Image, _ connection: Connection) throws {
        try connection.run(
            """
            INSERT INTO images (id, manifest, config, chain_id, last_tagged) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET manifest = excluded.manifest, last_tagged = excluded.last_tagged
            """, image.id.hex, try json(image.manifest), try json(image.config), image.chainID?.hex, image.lastTagged)
        try connection.run("DELETE FROM image_layers WHERE image = ?", image.id.hex)
        for (position, layer) in image.layers.enumerated() {
            try connection.run(
                "INSERT INTO image_layers (image, position, chain_id, blob) VALUES (?, ?, ?, ?)", image.id.hex,
                position,
                layer.chainID.hex, try json(layer.blob))
        }
    }

    static func insert(_ name: ImageReference, _ image: Digest, _ connection: Connection) throws {
        try connection.run(
            "INSERT INTO image_names (name, image) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET image = excluded.image",
            name.description, image.hex)
    }

    private static func json(_ value: some Encodable) throws -> String {
        String(decoding: try Documents.encode(value), as: UTF8.self)
    }
}
