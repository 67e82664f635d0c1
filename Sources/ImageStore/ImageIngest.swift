import Glibc
import LinuxKernel
import OCI

/// One image's way into the store: its documents are read and checked, missing layers are unpacked beside each other in
/// staging, then all is synced, renamed into place and recorded. Until that last step nothing of it can be seen.
struct ImageIngest: Sendable {
    let store: ImageStore
    let found: FoundImage
    let names: [ImageReference]
    let progress: ImageProgressHandler
    let cancellation = CancellationFlag()

    /// How many layers are unpacked beside each other.
    private static let parallelLayers = 2

    private struct Documented: Sendable {
        let manifestBytes: [UInt8]
        let manifest: Manifest
        let configBytes: [UInt8]
        let config: ImageConfig
        /// Bottom first, with a layer's diff ID and blob.
        let layers: [(chainID: Digest, parent: Digest?, diffID: Digest, blob: Descriptor)]

        /// Everything that must not be collected meanwhile.
        func digests(_ manifestDigest: Digest) -> [Digest] {
            [manifest.config.digest, manifestDigest] + layers.flatMap { [$0.chainID, $0.blob.digest] }
        }
    }

    /// What is in the staging directories, to be moved into place or thrown away.
    private struct Staged: Sendable {
        var blobs: [(path: String, digest: Digest)] = []
        var layer: StagedLayer?
    }

    /// - Returns: the image, and whether anything about it is new.
    func run() async throws -> (image: Image, isNew: Bool) {
        try await withTaskCancellationHandler {
            let documented = try await BlockingWork.run { try readDocuments() }
            let needed = documented.digests(found.manifest.digest)
            store.catalog.lease(needed)
            defer { store.catalog.release(needed) }
            // A collection that began before the leases doesn't know them: what it takes is not here.
            try await BlockingWork.run { try store.catalog.mutate {} }
            // Whoever made a layer that this image waited for may fail; then it is this one's turn.
            for _ in 0..<8 {
                let known = store.catalog.image(found.configDigest(documented.manifest))
                if let known, isComplete(known, documented) {
                    if let image = try await name(known) { return (image, false) }
                } else if let image = try await attempt(documented) {
                    return (image, true)
                }
            }
            throw ImageError(.system, "other pulls and removals of the same image came in between time and again")
        } onCancel: {
            cancellation.cancel()
        }
    }

    private func isComplete(_ image: Image, _ documented: Documented) -> Bool {
        image.manifest.digest == found.manifest.digest
            && ([image.id, image.manifest.digest] + image.layers.map(\.blob.digest)).allSatisfy(store.content.has)
    }

    /// Gives an image that is there already its names, where it lacks any; nil where it was removed meanwhile.
    private func name(_ image: Image) async throws -> Image? {
        let missing = names.filter { store.catalog.image(named: $0)?.id != image.id }
        if missing.isEmpty { return image }
        return try await BlockingWork.run {
            try store.catalog.mutate {
                guard store.catalog.image(image.id) != nil else { return nil }
                try store.catalog.record(names: missing, of: image.id, at: wallClockNanoseconds())
                try store.writeIndex()
                return store.catalog.image(image.id)
            }
        }
    }

    // MARK: Documents

    private func readDocuments() throws -> Documented {
        let documents = Documents(limits: store.limits)
        let manifestBytes = try found.source.document(found.manifest, limits: store.limits)
        let manifest = try documents.manifest(manifestBytes, found.manifest)
        let configBytes = try found.source.document(manifest.config, limits: store.limits)
        let config = try documents.config(configBytes, manifest.config.digest, layerCount: manifest.layers.count)
        let diffIDs = config.rootfs.diffIDs ?? []
        let chain = Digest.chainIDs(diffIDs)
        let layers = manifest.layers.indices.map { index in
            (
                chainID: chain[index], parent: index > 0 ? chain[index - 1] : nil, diffID: diffIDs[index],
                blob: manifest.layers[index]
            )
        }
        return Documented(
            manifestBytes: manifestBytes, manifest: manifest, configBytes: configBytes, config: config, layers: layers)
    }

    // MARK: Layers

    /// - Returns: nil when a layer that another operation was making did not come to be.
    private func attempt(_ documented: Documented) async throws -> Image? {
        let claims = store.claims.claim(documented.layers.map(\.chainID)) { store.catalog.layer($0) != nil }
        var staged: [Staged] = []
        do {
            for layer in documented.layers {
                let exists =
                    !claims.mine.contains(layer.chainID) && !claims.others.contains { $0.chainID == layer.chainID }
                LayerProgress(layer.blob, handler: progress).send(exists ? "Already exists" : "Pulling fs layer")
            }
            staged = try await makeLayers(documented, claims.mine)
            for (chainID, flight) in claims.others {
                guard await flight.wait() else {
                    await discard(staged)
                    store.claims.finish(claims.mine, succeeded: false)
                    return nil
                }
                let blob = documented.layers.first { $0.chainID == chainID }?.blob
                if let blob { LayerProgress(blob, handler: progress).send("Already exists") }
            }
            let ready = staged
            let image = try await BlockingWork.run { try commit(documented, ready) }
            store.claims.finish(claims.mine, succeeded: true)
            return image
        } catch {
            await discard(staged)
            store.claims.finish(claims.mine, succeeded: false)
            throw error
        }
    }

    private func makeLayers(_ documented: Documented, _ mine: Set<Digest>) async throws -> [Staged] {
        try await withThrowingTaskGroup(of: Staged.self) { group in
            var result: [Staged] = []
            var failure: (any Error)?
            // A blob that stands twice in a manifest is still copied once.
            var seen: Set<Digest> = []
            var waiting = documented.layers.compactMap { layer -> (@Sendable () throws -> Staged)? in
                let copies = seen.insert(layer.blob.digest).inserted && !store.content.has(layer.blob.digest)
                if mine.contains(layer.chainID) {
                    return { @Sendable in
                        try makeLayer(layer.chainID, layer.parent, layer.diffID, layer.blob, copies: copies)
                    }
                }
                // The layer is there, from a blob that was packed in another way.
                return copies ? { @Sendable in try copyBlob(layer.blob) } : nil
            }[...]
            var running = 0
            func startNext() {
                guard failure == nil, let work = waiting.popFirst() else { return }
                running += 1
                group.addTask { try await BlockingWork.run(work) }
            }
            for _ in 0..<ImageIngest.parallelLayers { startNext() }
            while running > 0 {
                do {
                    if let staged = try await group.next() { result.append(staged) }
                } catch {
                    // What still runs must end before its files can be thrown away.
                    if failure == nil { failure = error }
                    cancellation.cancel()
                }
                running -= 1
                startNext()
            }
            if let failure {
                await discard(result)
                throw failure
            }
            return result
        }
    }

    private func makeLayer(
        _ chainID: Digest, _ parent: Digest?, _ diffID: Digest, _ blob: Descriptor, copies: Bool
    ) throws -> Staged {
        let reporter = LayerProgress(blob, handler: progress)
        var staged = Staged()
        let path = store.content.newStagingPath()
        do {
            try makeStagingDirectory(path)
            let unpacker = try LayerUnpacker(staging: path, limits: store.limits)
            let pipeline = LayerPipeline(
                descriptor: blob, diffID: diffID, limits: store.limits, cancellation: cancellation, progress: reporter)
            if copies {
                let ingest = store.content.newIngestPath()
                let file = try FileDescriptor(ingest, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
                staged.blobs.append((ingest, blob.digest))
                try pipeline.run(source: try found.source.open(blob), copy: file.raw, into: unpacker)
            } else {
                try pipeline.run(source: try openBlob(blob), copy: -1, into: unpacker)
            }
            staged.layer = StagedLayer(
                path: path,
                record: .init(chainID: chainID, parent: parent, diffID: diffID, size: unpacker.size), blob: blob,
                unpacker: unpacker)
            return staged
        } catch {
            for blob in staged.blobs { unlink(blob.path) }
            try? store.content.discard(staged: path)
            throw ImageError.wrap(error, doing: "layer \(blob.digest.short) can't be unpacked")
        }
    }

    /// The store's own copy where there is one, since the source may be gone.
    private func openBlob(_ blob: Descriptor) throws -> BlobRange {
        store.content.has(blob.digest) ? try store.content.open(blob.digest) : try found.source.open(blob)
    }

    private func makeStagingDirectory(_ path: String) throws(SystemError) {
        try checked("make directory \(path)") { mkdir(path, 0o700) }
        try checked("make directory \(path)/fs") { mkdir(path + "/fs", 0o755) }
    }

    private func copyBlob(_ blob: Descriptor) throws -> Staged {
        let path = store.content.newIngestPath()
        do {
            let file = try FileDescriptor(path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
            try BlobCopy.run(
                try found.source.open(blob), blob, to: file.raw, cancellation: cancellation,
                progress: LayerProgress(blob, handler: progress))
            return Staged(blobs: [(path, blob.digest)])
        } catch {
            unlink(path)
            throw ImageError.wrap(error, doing: "blob \(blob.digest.short) can't be copied")
        }
    }

    private func discard(_ staged: [Staged]) async {
        try? await BlockingWork.run {
            for item in staged {
                for blob in item.blobs { unlink(blob.path) }
                if let layer = item.layer { try? store.content.discard(staged: layer.path) }
            }
        }
    }

    // MARK: Commit

    private func commit(_ documented: Documented, _ staged: [Staged]) throws -> Image {
        try cancellation.check()
        var blobs = staged.flatMap(\.blobs)
        do {
            for (digest, bytes) in [
                (documented.manifest.config.digest, documented.configBytes),
                (found.manifest.digest, documented.manifestBytes),
            ] where !store.content.has(digest) {
                let path = store.content.newIngestPath()
                blobs.append((path, digest))
                try store.content.writeFile(path, bytes)
            }
            let staged = Dictionary(staged.compactMap(\.layer).map { ($0.record.chainID, $0) }) { first, _ in first }
            try finishLayers(documented, staged)
            try found.source.finishReading()
            try store.content.sync()
            let complete = blobs
            return try store.catalog.mutate { try publish(documented, complete, staged) }
        } catch {
            for blob in blobs { unlink(blob.path) }
            throw ImageError.wrap(error, doing: "image \(documented.manifest.config.digest.short) can't be stored")
        }
    }

    /// Does, bottom first, what needs the layers below.
    private func finishLayers(_ documented: Documented, _ staged: [Digest: StagedLayer]) throws {
        var lowers = DescriptorSet()
        for layer in documented.layers {
            let staged = staged[layer.chainID]
            if let staged {
                try staged.unpacker.finish(lowers: lowers.raw.reversed())
                for (name, text) in [
                    ("diff-id", layer.diffID.description), ("size", String(staged.record.size)),
                    ("parent", layer.parent?.description ?? ""),
                ] { try store.content.writeFile("\(staged.path)/\(name)", Array((text + "\n").utf8)) }
            }
            let path = staged.map { $0.path + "/fs" } ?? store.paths.layerContents(layer.chainID)
            lowers.adopt(try FileDescriptor(path, O_RDONLY | O_DIRECTORY))
        }
    }

    private func publish(
        _ documented: Documented, _ blobs: [(path: String, digest: Digest)], _ staged: [Digest: StagedLayer]
    ) throws -> Image {
        for blob in blobs { try checked("rename a blob") { rename(blob.path, store.paths.blob(blob.digest)) } }
        if !blobs.isEmpty { try store.content.syncDirectory(store.paths.blobs) }
        for layer in documented.layers {
            guard let staged = staged[layer.chainID] else { continue }
            try place(staged)
        }
        if !staged.isEmpty { try store.content.syncDirectory(store.paths.layers) }
        let layers = try documented.layers.map { layer in
            guard let record = staged[layer.chainID]?.record ?? store.catalog.layer(layer.chainID) else {
                throw ImageError(.conflict, "layer \(layer.chainID.short) was removed meanwhile: pull the image again")
            }
            return Image.Layer(chainID: layer.chainID, diffID: layer.diffID, blob: layer.blob, size: record.size)
        }
        let image = Image(
            id: documented.manifest.config.digest, config: documented.config, manifest: found.manifest.bare,
            layers: layers, lastTagged: wallClockNanoseconds())
        try store.catalog.record(
            layers: documented.layers.compactMap { staged[$0.chainID]?.record }, image: image, names: names)
        try store.writeIndex()
        for layer in documented.layers where staged[layer.chainID] != nil {
            LayerProgress(layer.blob, handler: progress).send("Pull complete")
        }
        return store.catalog.image(image.id) ?? image
    }

    /// Gives a layer its name. One that has it already has no record, or it would not have been made again: the record
    /// could not be written, and the daemon has not been started again since.
    private func place(_ staged: StagedLayer) throws {
        let chainID = staged.record.chainID
        if access(store.paths.layer(chainID), F_OK) == 0 { try store.moveToStaging(chainID) }
        try checked("rename a layer") { rename(staged.path, store.paths.layer(chainID)) }
    }
}

/// A layer that is complete but for what depends on the layers below.
struct StagedLayer: @unchecked Sendable {
    let path: String
    let record: Catalog.LayerRecord
    let blob: Descriptor
    /// Handed from the thread that filled it to the one that finishes it.
    let unpacker: LayerUnpacker
}

extension FoundImage {
    fileprivate func configDigest(_ manifest: Manifest) -> Digest { manifest.config.digest }
}

extension Descriptor {
    /// The descriptor without what only its place in an index said.
    var bare: Descriptor { Descriptor(mediaType: mediaType, digest: digest, size: size) }
}

/// Copies a blob and verifies it.
enum BlobCopy {
    static func run(
        _ source: consuming BlobRange, _ descriptor: Descriptor, to file: Int32, cancellation: CancellationFlag,
        progress: LayerProgress
    ) throws {
        guard source.size == descriptor.size else {
            throw ImageError(
                .corrupt, "blob \(descriptor.digest) has \(source.size) bytes, but its manifest says \(descriptor.size)"
            )
        }
        let hash = SHA256()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: ChunkPipe.chunkBytes, alignment: 4096)
        defer { buffer.deallocate() }
        var done: Int64 = 0
        while done < descriptor.size {
            try cancellation.check()
            let from = source.file.raw
            let position = off_t(source.offset + done)
            let length = Int(min(Int64(buffer.count), descriptor.size - done))
            let count = try checked("read blob") { pread(from, buffer.baseAddress, length, position) }
            guard count > 0 else { throw ImageError(.corrupt, "blob \(descriptor.digest) ends too early") }
            hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            var written = 0
            while written < count {
                let start = off_t(done) + written
                written += try checked("write blob") {
                    pwrite(file, buffer.baseAddress! + written, count - written, start)
                }
            }
            done += Int64(count)
            progress.downloaded(done)
        }
        guard hash.finish() == descriptor.digest else {
            throw ImageError(.corrupt, "blob \(descriptor.digest) has other content than its digest says")
        }
        progress.downloadComplete()
    }
}
