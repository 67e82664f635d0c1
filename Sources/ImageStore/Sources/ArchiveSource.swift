import Glibc
import LinuxKernel
import OCI
import Synchronization

/// An archive of images in one tar file: `docker save` of any version, an OCI layout, or both at once.
final class ArchiveSource: ImageSource {
    let description: String
    let limits: UnpackLimits
    /// What the archive brings, in its order.
    let images: [ArchivedImage]

    private let file: FileDescriptor
    /// A copy of a stream: dropped when its last image was read, so that it isn't written to the disk for nothing.
    private let isSpooled: Bool
    private let unread: Atomic<Int>
    private let blobs: [Digest: Member]
    /// Documents that were made for an old archive, which has none.
    private let made: [Digest: [UInt8]]

    struct ArchivedImage: Sendable {
        /// Names with a tag.
        var names: [ImageReference]
        /// A manifest or an index.
        let root: Descriptor
        /// As `docker save` lists it; nil for what only the layout's index lists.
        var configDigest: Digest?
    }

    /// Where a file of the archive is.
    struct Member: Sendable {
        let offset: Int64
        let size: Int64
    }

    /// - Parameter file: a descriptor of the whole, uncompressed archive; closed by this source.
    init(file raw: Int32, size: Int64, description: String, isSpooled: Bool = false, limits: UnpackLimits) throws {
        let file = FileDescriptor(owning: raw)
        self.description = description
        self.limits = limits
        let members = try ArchiveSource.members(of: file.raw, size: size, description, limits)
        var reader = ArchiveReader(file: file.raw, members: members, description: description, limits: limits)
        try reader.read()
        images = reader.images
        blobs = reader.blobs
        made = reader.made
        self.file = file
        self.isSpooled = isSpooled
        unread = Atomic(reader.images.count)
    }

    func finishReading() throws {
        guard unread.subtract(1, ordering: .relaxed).newValue == 0, isSpooled else { return }
        try checked("drop an archive") { ftruncate(file.raw, 0) }
    }

    func open(_ descriptor: Descriptor) throws -> BlobRange {
        if let bytes = made[descriptor.digest] { return try memoryRange(bytes) }
        guard let member = blobs[descriptor.digest] else {
            throw ImageError(.corrupt, "blob \(descriptor.digest) is missing in \(description)")
        }
        return BlobRange(file: try file.duplicate(), offset: member.offset, size: member.size)
    }

    /// The archive's files by their clean names; links count as what they point at.
    private static func members(
        of file: Int32, size: Int64, _ description: String, _ limits: UnpackLimits
    ) throws -> [String: Member] {
        let stream = SeekableTar(file: file, size: size)
        let reader = TarReader(limits: limits, skip: stream.skip) { try stream.next() }
        var members: [String: Member] = [:]
        var links: [(name: String, target: String)] = []
        do {
            while let entry = try reader.next() {
                let path = String(decoding: try LayerPath(entry.path, limits: limits).text, as: UTF8.self)
                switch entry.kind {
                case .file: members[path] = Member(offset: reader.position, size: entry.storedSize)
                case .hardLink, .symbolicLink:
                    let target = String(decoding: entry.linkPath, as: UTF8.self)
                    let base = entry.kind == .hardLink ? [] : path.split(byte: "/").dropLast()
                    links.append((path, clean(base + target.split(byte: "/"))))
                default: break
                }
                guard members.count + links.count <= 100_000 else { throw TarError("it has too many files") }
            }
        } catch let error as TarError {
            throw ImageError(.invalid, "\(description) is not an image archive: \(error)")
        }
        for link in links { members[link.name] = members[link.target] }
        return members
    }

    private static func clean(_ components: [Substring]) -> String {
        var result: [Substring] = []
        for component in components where component != "." {
            if component == ".." { _ = result.popLast() } else { result.append(component) }
        }
        return result.joined(separator: "/")
    }
}

/// Feeds a ``TarReader`` from a file, passing over the content of its entries.
private final class SeekableTar {
    private let file: Int32
    private let size: Int64
    private var offset: Int64 = 0
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 << 10, alignment: 16)

    init(file: Int32, size: Int64) {
        self.file = file
        self.size = size
    }

    deinit { buffer.deallocate() }

    func next() throws -> UnsafeRawBufferPointer? {
        let count = try checked("read an archive") { pread(file, buffer.baseAddress, buffer.count, off_t(offset)) }
        offset += Int64(count)
        return count == 0 ? nil : UnsafeRawBufferPointer(rebasing: buffer[..<count])
    }

    /// The count is what a header says: it may be anything up to 2^63 - 1.
    func skip(_ count: Int64) throws(TarError) {
        guard count <= size - offset else { throw TarError("it ends in the middle of an entry") }
        offset += count
    }
}

/// Makes sense of an archive's files.
private struct ArchiveReader {
    let file: Int32
    let members: [String: ArchiveSource.Member]
    let description: String
    let limits: UnpackLimits
    var images: [ArchiveSource.ArchivedImage] = []
    var blobs: [Digest: ArchiveSource.Member] = [:]
    var made: [Digest: [UInt8]] = [:]

    mutating func read() throws {
        let documents = Documents(limits: limits)
        var entries: [DockerArchiveEntry] = []
        if let member = members["manifest.json"] {
            entries = try documents.decode(bytes(of: member, "manifest.json"), "manifest.json of \(description)")
        }
        for (name, member) in members where name.hasPrefix("blobs/sha256/") {
            if let digest = Digest(hex: name.dropFirst("blobs/sha256/".count)) { blobs[digest] = member }
        }
        if let member = members["index.json"], members["oci-layout"] != nil {
            let index: Index = try documents.decode(bytes(of: member, "index.json"), "index.json of \(description)")
            try readLayout(index, entries, documents)
        } else if !entries.isEmpty {
            for entry in entries { try readEntry(entry, documents) }
        }
        guard !images.isEmpty else {
            throw ImageError(
                .invalid,
                "\(description) is not an image archive: it has neither a manifest.json nor an index.json with images")
        }
    }

    private func bytes(of member: ArchiveSource.Member, _ name: String) throws -> [UInt8] {
        let descriptor = FileDescriptor(owning: try checked("dup") { fcntl(file, F_DUPFD_CLOEXEC, 3) })
        return try readAll(
            BlobRange(file: descriptor, offset: member.offset, size: member.size), what: "\(name) of \(description)",
            limit: limits.documentBytes)
    }

    // MARK: Layouts

    /// Docker 25 and later write a layout and list the names beside it.
    private mutating func readLayout(
        _ index: Index, _ entries: [DockerArchiveEntry], _ documents: Documents
    ) throws {
        for descriptor in index.manifests {
            guard MediaType.isManifest(descriptor.mediaType) || MediaType.isIndex(descriptor.mediaType),
                descriptor.annotations?[Annotation.dockerReferenceType] == nil
            else { continue }
            var names: [ImageReference] = []
            let annotations = descriptor.annotations ?? [:]
            for key in [Annotation.containerdImageName, Annotation.referenceName] {
                // A reference name of only a tag says nothing about the repository.
                guard let text = annotations[key], text.contains(":") || text.contains("/"),
                    let name = try? ImageReference(parsing: text).withDefaultTag, name.tag != nil
                else { continue }
                if !names.contains(name) { names.append(name) }
            }
            let config = try? configDigest(of: descriptor, documents)
            for entry in entries where config != nil && digest(inPath: entry.config) == config {
                for name in try tags(of: entry) where !names.contains(name) { names.append(name) }
            }
            if let same = images.firstIndex(where: { $0.root.digest == descriptor.digest }) {
                images[same].names += names.filter { !images[same].names.contains($0) }
            } else {
                images.append(.init(names: names, root: descriptor, configDigest: config))
            }
        }
    }

    private func configDigest(of descriptor: Descriptor, _ documents: Documents) throws -> Digest? {
        guard MediaType.isManifest(descriptor.mediaType), let member = blobs[descriptor.digest] else { return nil }
        return try documents.manifest(bytes(of: member, "a manifest"), descriptor).config.digest
    }

    /// `<hex>.json` or `blobs/sha256/<hex>`.
    private func digest(inPath path: String) -> Digest? {
        let name = path.split(byte: "/").last ?? ""
        return Digest(hex: name.hasSuffix(".json") ? name.dropLast(5) : name)
    }

    private func tags(of entry: DockerArchiveEntry) throws -> [ImageReference] {
        try (entry.repoTags ?? []).map { text in
            do {
                return try ImageReference(parsing: text).withDefaultTag
            } catch {
                throw ImageError(.invalid, "\(description) has an image with a bad name: \(error)")
            }
        }
    }

    // MARK: Archives without a layout

    private mutating func readEntry(_ entry: DockerArchiveEntry, _ documents: Documents) throws {
        let config = try add(entry.config, mediaType: { _ in MediaType.ociConfig })
        let layers = try (entry.layers ?? []).map { path in
            try add(path) { LayerCompression(magic: $0).mediaType }
        }
        let manifest = try Documents.encode(Manifest(config: config, layers: layers))
        let digest = SHA256.digest(of: manifest)
        made[digest] = manifest
        let root = Descriptor(mediaType: MediaType.ociManifest, digest: digest, size: Int64(manifest.count))
        images.append(.init(names: try tags(of: entry), root: root, configDigest: config.digest))
    }

    /// Computes a file's digest and makes it known as a blob.
    private mutating func add(_ path: String, mediaType: ([UInt8]) -> String) throws -> Descriptor {
        guard let member = members[path] else {
            throw ImageError(.corrupt, "\(description) has no file \(path), which its manifest.json names")
        }
        let hash = SHA256()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        var done: Int64 = 0
        var magic: [UInt8] = []
        while done < member.size {
            let length = Int(min(Int64(buffer.count), member.size - done))
            let position = off_t(member.offset + done)
            let count = try checked("read \(path)") { pread(file, buffer.baseAddress, length, position) }
            guard count > 0 else { throw ImageError(.corrupt, "\(description) ends in the middle of \(path)") }
            let piece = UnsafeRawBufferPointer(rebasing: buffer[..<count])
            if done == 0 { magic = Array(piece.prefix(4)) }
            hash.update(piece)
            done += Int64(count)
        }
        let digest = hash.finish()
        blobs[digest] = member
        return Descriptor(mediaType: mediaType(magic), digest: digest, size: member.size)
    }
}
