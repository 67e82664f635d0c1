import Database
import LinuxKernel
import OCI
import Synchronization

/// The images of one data root: content-addressed blobs, unpacked layers, and the names that point at them.
///
/// Reading (``images()``, ``resolve(_:)``, ``lowerDirectories(of:)``) works on memory and is fast from any thread.
/// What changes the disk is async and runs on threads of its own.
public final class ImageStore: Sendable {
    /// The store's tables: the first entry of the state database's migrations, or a part of it.
    public static let schema = Catalog.schema

    let paths: StorePaths
    let catalog: Catalog
    let limits: UnpackLimits
    let platform: Platform

    private init(paths: StorePaths, catalog: Catalog, limits: UnpackLimits, platform: Platform) {
        self.paths = paths
        self.catalog = catalog
        self.limits = limits
        self.platform = platform
    }

    /// Opens the store under `dataRoot` (`content/` and `layers/` there), finishing or discarding what an earlier
    /// daemon left half-made, and importing again what the disk has and the database has lost.
    ///
    /// - Parameters:
    ///   - database: has ``schema``. The caller holds the data root's lock.
    ///   - log: receives a sentence for whatever was discarded or repaired.
    public static func open(
        dataRoot: String, database: Database, limits: UnpackLimits = .standard, platform: Platform = .host,
        log: @Sendable (String) -> Void
    ) throws -> ImageStore {
        let paths = StorePaths(dataRoot: dataRoot)
        let catalog = try Catalog(database: database)
        return ImageStore(paths: paths, catalog: catalog, limits: limits, platform: platform)
    }

    // MARK: Reading

    /// Every image, newest first.
    public func images() -> [Image] { catalog.images() }

    /// The image that `text` names as Docker reads it: `name[:tag]`, `name@digest`, an ID or an unambiguous beginning
    /// of one.
    public func resolve(_ text: String) throws(ImageError) -> Image { try catalog.resolve(text) }

    /// The image with this ID.
    public func image(_ id: Digest) -> Image? { catalog.image(id) }

    /// The directories to give overlayfs as lower ones, uppermost first; never empty.
    public func lowerDirectories(of image: Image) -> [String] { lowerDirectories(chainID: image.chainID) }

    /// The same for the layers up to `chainID`; nil is an image without layers, which has one empty directory.
    public func lowerDirectories(chainID: Digest?) -> [String] {
        let chain = chainID.map(catalog.chain(endingIn:)) ?? []
        return chain.isEmpty ? [paths.emptyLayer] : chain.map(paths.layerContents(_:))
    }

    /// How an image came to be, newest step first.
    public func history(of image: Image) -> [ImageHistoryEntry] { catalog.history(of: image) }

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
    @discardableResult
    public func pull(
        _ reference: ImageReference, from registries: [String], progress: @escaping ImageProgressHandler
    ) async throws -> Image {
        throw ImageError(.system, "pull is on its way")
    }

    /// Loads every image of a `docker save` or OCI archive, compressed or not, read from `descriptor`.
    /// - Returns: the names that were loaded, or IDs of images without a name, as `docker load` prints them.
    public func load(from descriptor: Int32, progress: @escaping ImageProgressHandler) async throws -> [String] {
        throw ImageError(.system, "load is on its way")
    }

    /// Writes images as an archive that `docker load`, skopeo and ``load(from:progress:)`` read.
    public func save(_ names: [String], to descriptor: Int32) async throws {
        throw ImageError(.system, "save is on its way")
    }

    /// Makes an image of one layer out of a tar stream, compressed or not.
    public func importLayer(
        from descriptor: Int32, reference: ImageReference?, config: ImageConfig.Execution, message: String,
        progress: @escaping ImageProgressHandler
    ) async throws -> Image {
        throw ImageError(.system, "import is on its way")
    }

    /// Gives an image one more name.
    public func tag(_ image: Image, as reference: ImageReference) async throws {
        throw ImageError(.system, "tag is on its way")
    }

    /// Removes a name or an image by Docker's rules.
    ///
    /// - Parameters:
    ///   - text: what the user wrote: a name only loses that name while others are left, an ID means the image.
    ///   - users: the containers made from an image. A running one keeps it in any case, a stopped one unless `force`.
    public func remove(
        _ text: String, force: Bool, users: @Sendable (Digest) -> [ImageUser]
    ) async throws -> [ImageRemoval] {
        throw ImageError(.system, "remove is on its way")
    }

    /// Removes the images without a name (`all`: every image) that no container uses and `matching` accepts.
    /// - Returns: what was removed, and how many bytes that freed.
    public func prune(
        all: Bool, matching: @Sendable (Image) -> Bool, users: @Sendable (Digest) -> [ImageUser]
    ) async throws -> (removed: [ImageRemoval], bytes: Int64) {
        throw ImageError(.system, "prune is on its way")
    }
}
