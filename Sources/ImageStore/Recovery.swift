import FoundationEssentials
import Glibc
import LinuxKernel
import OCI

extension ImageStore {
    /// Writes `content/index.json`: the names beside the blobs, as an OCI layout has them, so that the images outlive the
    /// database. Written after a row was added and before one is deleted; so what it has and the database has not was
    /// lost by the database.
    func writeIndex(leavingOut removed: Set<ImageReference> = [], images removedImages: Set<Digest> = []) throws {
        let state = catalog.snapshot()
        var manifests: [Descriptor] = []
        for image in state.images.values.sorted(by: { $0.id < $1.id }) where !removedImages.contains(image.id) {
            let names = (image.tags + image.digests).filter { !removed.contains($0) }
            manifests += image.manifest.entries(names)
        }
        let present = Set(manifests.map(\.digest))
        manifests += state.kept.filter { !present.contains($0.digest) }
        try content.replaceFile(paths.content + "/index.json", with: Documents.encode(Index(manifests: manifests)))
    }

    /// Brings disk and database together after whatever ended the last daemon.
    func recover(log: @escaping @Sendable (String) -> Void) async throws {
        let lost = try await BlockingWork.run { [self] in
            do {
                return try catalog.mutate { try recoverFiles(log) }
            } catch {
                throw ImageError.wrap(error, doing: "the image store can't be opened")
            }
        }
        var isDone = true
        for entry in lost.images where await !restore(entry, log) { isDone = false }
        let isComplete = isDone
        try await BlockingWork.run { [self] in
            try mutate("the image store can't be opened") {
                // Where the database lost rows, containers that stand on a layer may be among them: keep what isn't known
                // until the next removal.
                if !lost.databaseLostRows && isComplete { try collectGarbage() }
                try catalog.forget(layers: lost.missingLayers)
                try writeIndex()
            }
        }
    }

    private struct Losses: Sendable {
        /// Images whose blobs are here but whose records or layers are not.
        var images: [LostImage]
        var missingLayers: Set<Digest>
        var databaseLostRows = false
    }

    private struct LostImage: Sendable {
        /// Where the database still knows it.
        var id: Digest?
        var manifest: Descriptor
        var names: [ImageReference]
    }

    private func recoverFiles(_ log: @Sendable (String) -> Void) throws -> Losses {
        try discardUnfinished(log)
        let layout = paths.content + "/oci-layout"
        if access(layout, F_OK) != 0 { try content.replaceFile(layout, with: Documents.encode(ImageLayout())) }
        let adopted = try adoptLayers(log)
        var lost = try findLost(log)
        lost.databaseLostRows = adopted && !lost.images.isEmpty
        return lost
    }

    /// What was under way when the last daemon ended: blobs half copied, layers half unpacked or half deleted.
    private func discardUnfinished(_ log: @Sendable (String) -> Void) throws {
        var count = 0
        for name in try names(in: paths.ingest) {
            try checked("remove \(name)") { unlink(paths.ingest + "/" + name) }
            count += 1
        }
        for name in try names(in: paths.staging) {
            try content.discard(staged: paths.staging + "/" + name)
            count += 1
        }
        if count > 0 { log("discarded \(count) unfinished blobs and layers") }
    }

    /// Layers that are whole on the disk, since they were renamed into place, but that the database doesn't have: it was
    /// lost, or the daemon ended between the rename and the commit. What nothing needs is collected afterwards.
    /// - Returns: whether there were any.
    private func adoptLayers(_ log: @Sendable (String) -> Void) throws -> Bool {
        var found: [Digest: Catalog.LayerRecord] = [:]
        let known = catalog.snapshot().layers
        for name in try names(in: paths.layers) {
            guard let chainID = Digest(hex: name), known[chainID] == nil else { continue }
            if let record = readLayerRecord(chainID) {
                found[chainID] = record
            } else {
                log("layer \(chainID.short) has no readable description: it will be unpacked again when needed")
                try moveToStaging(chainID)
            }
        }
        // Parents first, and only where every layer below is there.
        var ordered: [Catalog.LayerRecord] = []
        var done = Set(known.keys)
        while true {
            let ready = found.values.filter { record in record.parent.map(done.contains) ?? true }
            if ready.isEmpty { break }
            for record in ready.sorted(by: { $0.chainID < $1.chainID }) {
                ordered.append(record)
                done.insert(record.chainID)
                found[record.chainID] = nil
            }
        }
        for record in found.values { try moveToStaging(record.chainID) }
        if !ordered.isEmpty {
            try catalog.record(layers: ordered)
            log("adopted \(ordered.count) layers that the database had no record of")
        }
        return !ordered.isEmpty
    }

    private func readLayerRecord(_ chainID: Digest) -> Catalog.LayerRecord? {
        func line(_ name: String) -> String? {
            guard let range = try? openRange(paths.layer(chainID) + "/" + name),
                let bytes = try? readAll(range, what: name, limit: 4096)
            else { return nil }
            return String(decoding: bytes, as: UTF8.self).split(separator: "\n").first.map(String.init) ?? ""
        }
        guard let diffID = line("diff-id").flatMap({ try? Digest(parsing: $0) }),
            let size = line("size").flatMap({ Int64($0) }), let parentText = line("parent")
        else { return nil }
        let parent = parentText.isEmpty ? nil : try? Digest(parsing: parentText)
        guard parentText.isEmpty || parent != nil, Digest.chainID(parent: parent, diffID: diffID) == chainID,
            access(paths.layerContents(chainID), F_OK) == 0
        else { return nil }
        return Catalog.LayerRecord(chainID: chainID, parent: parent, diffID: diffID, size: size)
    }

    /// Takes away a layer that has no record.
    func moveToStaging(_ chainID: Digest) throws {
        let target = content.newStagingPath()
        try checked("move layer \(chainID.short) away") { rename(paths.layer(chainID), target) }
        try content.discard(staged: target)
    }

    /// Images that the layout's index has and the database hasn't, and images some layer of which is gone.
    private func findLost(_ log: @Sendable (String) -> Void) throws -> Losses {
        let state = catalog.snapshot()
        var lost: [Digest: LostImage] = [:]
        let known = Set(state.images.values.map(\.manifest.digest))
        if let range = try? openRange(paths.content + "/index.json"),
            let bytes = try? readAll(range, what: "index.json", limit: .max)
        {
            if let index: Index = try? Documents(limits: limits).decode(bytes, "index.json") {
                for entry in index.manifests where !known.contains(entry.digest) {
                    let name = entry.annotations?[Annotation.referenceName].flatMap { try? ImageReference(parsing: $0) }
                    lost[entry.digest, default: .init(manifest: entry.bare, names: [])].names += name.map { [$0] } ?? []
                }
            } else {
                log("content/index.json is damaged: it is written anew from the database")
            }
        }
        let missing = Set(state.layers.keys.filter { access(paths.layerContents($0), F_OK) != 0 })
        let damaged = state.images.values.filter { image in image.layers.contains { missing.contains($0.chainID) } }
        for image in damaged {
            lost[image.manifest.digest] = LostImage(
                id: image.id, manifest: image.manifest, names: image.tags + image.digests)
        }
        catalog.hide(layers: missing, images: Set(damaged.map(\.id)))
        return Losses(
            images: lost.values.sorted { $0.manifest.digest < $1.manifest.digest }, missingLayers: missing)
    }

    /// Makes an image again out of the store's own blobs. One that can't be made, by what it is, is forgotten.
    /// - Returns: false where the host is what failed: a disk that is full has room again some day.
    private func restore(_ lost: LostImage, _ log: @Sendable (String) -> Void) async -> Bool {
        let name = lost.names.first?.familiar ?? lost.manifest.digest.short
        let source = LayoutSource(directory: paths.content, limits: limits)
        let found = FoundImage(source: source, root: lost.manifest, manifest: lost.manifest)
        do {
            _ = try await ImageIngest(store: self, found: found, names: lost.names, progress: { _ in }).run()
            log("image \(name) was imported again from its blobs")
        } catch {
            let failure = ImageError.wrap(error, doing: "it can't be read")
            if [.noSpace, .system].contains(failure.kind) {
                log("image \(name) can't be used now: \(failure): it is tried again when the daemon starts next")
                catalog.keep(
                    lost.manifest.entries(lost.names), blobs: (try? blobs(of: lost.manifest)) ?? [lost.manifest.digest])
                return false
            }
            log("image \(name) can't be used any more: \(failure): pull it again")
            guard let id = lost.id else { return true }
            _ = try? await BlockingWork.run { [self] in
                try mutate("forget image \(name)") { try catalog.remove(image: id) }
            }
        }
        return true
    }

    private func blobs(of descriptor: Descriptor) throws -> [Digest] {
        let bytes = try content.document(descriptor.digest, limit: limits.documentBytes)
        let manifest = try Documents(limits: limits).manifest(bytes, descriptor)
        return [descriptor.digest, manifest.config.digest] + manifest.layers.map(\.digest)
    }

    // MARK: Garbage

    /// Removes layers and blobs that nothing needs. Inside ``Catalog/mutate(_:)``.
    /// - Returns: the layers that went away.
    @discardableResult
    func collectGarbage() throws -> [Catalog.LayerRecord] {
        let unused = try catalog.removeUnusedLayers()
        var trash: [String] = []
        for layer in unused {
            let target = content.newStagingPath()
            if rename(paths.layer(layer.chainID), target) == 0 { trash.append(target) }
        }
        let state = catalog.snapshot()
        var live = Set(state.leases.keys)
        for image in state.images.values {
            live.formUnion([image.id, image.manifest.digest] + image.layers.map(\.blob.digest))
        }
        for name in try names(in: paths.blobs) {
            // What is no blob was not put here by us: `lost+found`, where a disk is mounted.
            guard let digest = Digest(hex: name), !live.contains(digest) else { continue }
            try checked("remove blob \(name)") { unlink(paths.blobs + "/" + name) }
        }
        if !trash.isEmpty {
            let content = content
            let trash = trash
            // The names are free; a crash now leaves the rest to the next start.
            BlockingWork.start {
                for path in trash { try? content.discard(staged: path) }
            }
        }
        return unused
    }

    private func names(in directory: String) throws(SystemError) -> [String] {
        try FileNames.list(at: directory).map { String(decoding: $0, as: UTF8.self) }
    }
}

extension Descriptor {
    /// An image's entries in an index: one a name, one without any where it has none.
    fileprivate func entries(_ names: [ImageReference]) -> [Descriptor] {
        if names.isEmpty { return [self] }
        return names.map { name in
            var entry = self
            entry.annotations = [Annotation.referenceName: name.description]
            return entry
        }
    }
}
