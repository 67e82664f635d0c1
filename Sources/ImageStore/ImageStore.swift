import Database
import LinuxKernel
import OCI

/// The images of one data root: content-addressed blobs, unpacked layers, and the names that point at them.
///
/// Reading (``images()``, ``resolve(_:)``, ``lowerDirectories(of:)``) works on memory and is fast from any thread.
/// What changes the disk is async and runs on threads of its own.
public final class ImageStore: Sendable {
    /// The store's tables: the first entry of the state database's migrations, or a part of it.
    public static let schema = CatalogRows.schema

    let paths: StorePaths
    let content: ContentStore
    let catalog: Catalog
    let claims = LayerClaims()
    let limits: UnpackLimits
    let platform: Platform

    private init(paths: StorePaths, catalog: Catalog, limits: UnpackLimits, platform: Platform) {
        self.paths = paths
        content = ContentStore(paths: paths)
        self.catalog = catalog
        self.limits = limits
        self.platform = platform
    }

    /// Opens the store under `dataRoot` (`content/` and `layers/` there), discarding what an earlier daemon left
    /// half-made, and importing again what the disk has and the database has lost.
    ///
    /// - Parameters:
    ///   - database: has ``schema``. The caller holds the data root's lock.
    ///   - log: receives a sentence for whatever was discarded or repaired.
    public static func open(
        dataRoot: String, database: Database, limits: UnpackLimits = .standard, platform: Platform = .host,
        log: @escaping @Sendable (String) -> Void
    ) async throws -> ImageStore {
        let store = try await BlockingWork.run {
            let paths = StorePaths(dataRoot: dataRoot)
            do {
                try ContentStore(paths: paths).makeDirectories()
                let catalog = try Catalog(database: database)
                return ImageStore(paths: paths, catalog: catalog, limits: limits, platform: platform)
            } catch {
                throw ImageError.wrap(error, doing: "the image store can't be opened")
            }
        }
        try await store.recover(log: log)
        return store
    }

    // MARK: Reading

    /// Every image, newest first.
    public func images() -> [Image] { catalog.images() }

    /// The image that `text` names as Docker reads it: `name[:tag]`, `name@digest`, an ID or an unambiguous beginning
    /// of one.
    public func resolve(_ text: String) throws(ImageError) -> Image { try catalog.find(text).image }

    /// The image with this ID.
    public func image(_ id: Digest) -> Image? { catalog.image(id) }

    /// Where all layers are, those that are being made among them.
    public var layersDirectory: String { paths.layers }

    /// The directories to give overlayfs as lower ones, uppermost first; never empty.
    public func lowerDirectories(of image: Image) -> [String] { lowerDirectories(chainID: image.chainID) }

    /// The same for the layers up to `chainID`; nil is an image without layers, which has one empty directory.
    public func lowerDirectories(chainID: Digest?) -> [String] {
        let chain = catalog.chain(endingIn: chainID)
        return chain.isEmpty ? [paths.emptyLayer] : chain.map(paths.layerContents(_:))
    }

    /// How an image came to be, newest step first.
    public func history(of image: Image) -> [ImageHistoryEntry] {
        var layers = image.layers[...]
        let steps = (image.config.history ?? []).map { step in
            let size = step.emptyLayer == true ? 0 : layers.popFirst()?.size ?? 0
            return ImageHistoryEntry(
                id: nil, created: step.created.flatMap(RFC3339.nanoseconds(_:)) ?? 0, createdBy: step.createdBy ?? "",
                comment: step.comment ?? "", size: size, tags: [])
        }
        // Layers that the configuration tells nothing about.
        let silent = layers.map {
            ImageHistoryEntry(id: nil, created: image.created, createdBy: "", comment: "", size: $0.size, tags: [])
        }
        var result = Array((steps + silent).reversed())
        if !result.isEmpty {
            result[0].id = image.id
            result[0].tags = image.tags.map(\.familiar)
        }
        return result
    }

    // MARK: Use by containers

    /// Records that `owner` (a container) stands on the layers up to `chainID`, in the transaction that creates it.
    /// Fails with a constraint error when they were removed meanwhile.
    public func retain(chainID: Digest?, owner: String, in connection: Connection) throws(DatabaseError) {
        try catalog.retain(chainID: chainID, owner: owner, in: connection)
    }

    /// Undoes ``retain(chainID:owner:in:)``. Layers that nothing needs any more go away at the next removal or prune.
    public func release(owner: String, in connection: Connection) throws(DatabaseError) {
        try catalog.release(owner: owner, in: connection)
    }

    // MARK: Changing

    /// Pulls an image from the first registry directory that has its repository.
    ///
    /// - Parameter reference: without tag and digest it means `latest`.
    /// - Returns: the image, whose layers are unpacked, synced and recorded.
    /// - Throws: ``ImageError``; then nothing of the image was kept.
    @discardableResult
    public func pull(
        _ reference: ImageReference, from registries: [String], progress: @escaping ImageProgressHandler
    ) async throws -> Image {
        let reference = reference.withDefaultTag
        let directories = RegistryDirectories(directories: registries, platform: platform, limits: limits)
        let found = try await BlockingWork.run {
            do {
                return try directories.find(reference)
            } catch {
                throw ImageError.wrap(error, doing: "\(reference.familiar) can't be pulled")
            }
        }
        progress(
            ImageProgress(
                status:
                    "Pulling from \(reference.domain == ImageReference.defaultDomain ? reference.path : reference.name)",
                id: reference.tag ?? reference.digest?.description))
        let byDigest = reference.repository.withDigest(found.root.digest)
        let names = reference.digest == nil ? [reference, byDigest] : [byDigest]
        let before = reference.digest == nil ? catalog.image(named: reference)?.id : catalog.image(named: byDigest)?.id
        let (image, _) = try await ImageIngest(store: self, found: found, names: names, progress: progress).run()
        progress(ImageProgress(status: "Digest: \(found.root.digest)"))
        let verb = before == image.id ? "Image is up to date for" : "Downloaded newer image for"
        progress(ImageProgress(status: "Status: \(verb) \(reference.familiar)"))
        return image
    }

    /// Gives an image one more name, which another image may lose by that.
    public func tag(_ image: Image, as reference: ImageReference) async throws {
        let reference = reference.withDefaultTag
        guard reference.digest == nil else {
            throw ImageError(.invalid, "refusing to create a tag with a digest reference")
        }
        try await BlockingWork.run { [self] in
            try mutate("tag \(reference.familiar)") {
                guard catalog.image(image.id) != nil else { throw ImageError(.notFound, "No such image: \(image.id)") }
                try catalog.record(names: [reference], of: image.id, at: wallClockNanoseconds())
                try writeIndex()
            }
        }
    }

    /// Runs a change of the records and what belongs to them, one at a time, with errors made into sentences.
    func mutate<Result: Sendable>(_ doing: String, _ body: () throws -> Result) throws -> Result {
        do {
            return try catalog.mutate(body)
        } catch {
            throw ImageError.wrap(error, doing: doing)
        }
    }
}
