import Glibc
import LinuxKernel
import OCI

/// What an image made of a container is to say of itself.
public struct CommitDescription: Sendable {
    public var config: ImageConfig.Execution
    public var author: String
    public var comment: String
    /// What made the layer, for the image's history.
    public var createdBy: String

    public init(config: ImageConfig.Execution, author: String, comment: String, createdBy: String) {
        self.config = config
        self.author = author
        self.comment = comment
        self.createdBy = createdBy
    }
}

extension ImageStore {
    /// Makes an image of another one's layers and one more.
    ///
    /// - Parameters:
    ///   - reference: the image's name, if it is to have one.
    ///   - pack: writes the layer as a tar stream to the descriptor that it is given. A stream of no entries makes no
    ///     layer.
    /// - Returns: the image, whose layer is unpacked, synced and recorded.
    /// - Throws: ``ImageError``, or what `pack` throws; then nothing was kept.
    public func commit(
        over base: Image, _ description: CommitDescription, reference: ImageReference?,
        pack: @escaping @Sendable (Int32) throws -> Void
    ) async throws -> Image {
        if reference?.digest != nil { throw ImageError(.invalid, "cannot commit to digest reference") }
        let found = try await BlockingWork.run { [self] in
            let spool = try Spool(in: paths.ingest)
            try pack(spool.file.raw)
            let size = Int64(try checked("measure the layer") { lseek(spool.file.raw, 0, SEEK_END) })
            // Two blocks of zeros end a stream.
            let layer = size <= 1024 ? nil : try TarLayer(spool: spool, size: size)
            let now = RFC3339.format(wallClockNanoseconds())
            var config = base.config
            config.created = now
            config.author = description.author.isEmpty ? nil : description.author
            config.comment = description.comment.isEmpty ? nil : description.comment
            config.config = description.config
            config.rootfs = .init(diffIDs: base.layers.map(\.diffID) + (layer.map { [$0.descriptor.digest] } ?? []))
            let step = ImageConfig.History(
                created: now, createdBy: description.createdBy, author: config.author, comment: config.comment,
                emptyLayer: layer == nil ? true : nil)
            config.history = (base.config.history ?? []) + [step]
            return try MadeImage(content: content, base: base.layers.map(\.blob), layer: layer, config: config).found
        }
        let names = reference.map { [$0.withDefaultTag] } ?? []
        return try await ImageIngest(store: self, found: found, names: names, progress: { _ in }).run().image
    }
}

/// A layer as an uncompressed tar file.
final class TarLayer: Sendable {
    let descriptor: Descriptor
    private let file: FileDescriptor

    /// Reads the first `size` bytes of the spool for their digest, which is also the layer's diff ID.
    init(spool: borrowing Spool, size: Int64) throws {
        let hash = SHA256()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        let raw = spool.file.raw
        var done: Int64 = 0
        while done < size {
            let position = off_t(done)
            let count = try checked("read the archive") { pread(raw, buffer.baseAddress, buffer.count, position) }
            guard count > 0 else { throw ImageError(.corrupt, "the archive ends too early") }
            hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            done += Int64(count)
        }
        file = try spool.file.duplicate()
        descriptor = Descriptor(mediaType: MediaType.ociLayer, digest: hash.finish(), size: size)
    }

    func open() throws -> BlobRange { BlobRange(file: try file.duplicate(), offset: 0, size: descriptor.size) }
}

/// An image that is made here: layers that the store has, one that comes as a tar file, and documents for them.
final class MadeImage: ImageSource {
    let description = "the store"
    private let content: ContentStore
    private let layer: TarLayer?
    private let documents: [Digest: [UInt8]]
    private let manifest: Descriptor

    init(content: ContentStore, base: [Descriptor] = [], layer: TarLayer?, config: ImageConfig) throws {
        self.content = content
        self.layer = layer
        let configBytes = try Documents.encode(config)
        let configDescriptor = Descriptor(
            mediaType: MediaType.ociConfig, digest: SHA256.digest(of: configBytes), size: Int64(configBytes.count))
        let layers = try base.map(MadeImage.inOCITerms) + (layer.map { [$0.descriptor] } ?? [])
        let manifestBytes = try Documents.encode(Manifest(config: configDescriptor, layers: layers))
        manifest = Descriptor(
            mediaType: MediaType.ociManifest, digest: SHA256.digest(of: manifestBytes), size: Int64(manifestBytes.count)
        )
        documents = [configDescriptor.digest: configBytes, manifest.digest: manifestBytes]
    }

    var found: FoundImage { FoundImage(source: self, root: manifest, manifest: manifest) }

    /// One manifest speaks one language: layers of Docker's old one are the same bytes by another type.
    private static func inOCITerms(_ blob: Descriptor) throws(ImageError) -> Descriptor {
        let type =
            switch LayerCompression(mediaType: blob.mediaType) {
            case .none?: MediaType.ociLayer
            case .gzip?: MediaType.ociLayerGzip
            case .zstd?: MediaType.ociLayerZstd
            case nil:
                throw ImageError(.invalid, "layer \(blob.digest) has the unknown media type \(blob.mediaType)")
            }
        return Descriptor(mediaType: type, digest: blob.digest, size: blob.size)
    }

    func open(_ descriptor: Descriptor) throws -> BlobRange {
        if let bytes = documents[descriptor.digest] { return try memoryRange(bytes) }
        if let layer, layer.descriptor.digest == descriptor.digest { return try layer.open() }
        return try content.open(descriptor.digest)
    }
}
