import Glibc
import LinuxKernel
import OCI

/// Writes a tar stream of small and large files to a descriptor, in ustar with PAX records where those don't suffice.
struct TarWriter: ~Copyable {
    private let output: Int32

    init(output: Int32) { self.output = output }

    /// Begins a file; exactly `size` bytes of ``write(_:)`` follow, then ``endFile(size:)``.
    func beginFile(_ name: String, size: Int64) throws { try header(name, size: size, mode: 0o644, type: "0") }

    func directory(_ name: String) throws { try header(name, size: 0, mode: 0o755, type: "5") }

    func file(_ name: String, _ bytes: [UInt8]) throws {
        try beginFile(name, size: Int64(bytes.count))
        try bytes.withUnsafeBytes { try write($0) }
        try endFile(size: Int64(bytes.count))
    }

    func endFile(size: Int64) throws {
        let padding = Int((512 - size % 512) % 512)
        try [UInt8](repeating: 0, count: padding).withUnsafeBytes { try write($0) }
    }

    /// The two zero blocks that end an archive.
    func finish() throws {
        try [UInt8](repeating: 0, count: 1024).withUnsafeBytes { try write($0) }
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        var done = 0
        while done < bytes.count {
            done += try checked("write an archive") {
                Glibc.write(output, bytes.baseAddress! + done, bytes.count - done)
            }
        }
    }

    private func header(_ name: String, size: Int64, mode: Int, type: Character) throws {
        precondition(name.utf8.count <= 100, "names in our archives are short")
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            block.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
        }
        func octal(_ value: Int64, digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
        put(name, at: 0)
        put(octal(Int64(mode), digits: 7), at: 100)
        put(octal(0, digits: 7), at: 108)
        put(octal(0, digits: 7), at: 116)
        if size < 1 << 33 {
            put(octal(size, digits: 11), at: 124)
        } else {
            // GNU's base 256, which every reader knows.
            block[124] = 0x80
            for index in 0..<8 { block[135 - index] = UInt8(truncatingIfNeeded: size >> (8 * Int64(index))) }
        }
        put(octal(0, digits: 11), at: 136)
        put(String(type), at: 156)
        put("ustar", at: 257)
        put("00", at: 263)
        put(String(repeating: " ", count: 8), at: 148)
        let sum = block.reduce(Int64(0)) { $0 + Int64($1) }
        put(octal(sum, digits: 6) + "\0 ", at: 148)
        try block.withUnsafeBytes { try write($0) }
    }
}

extension ImageStore {
    /// Writes images as an archive that `docker load`, skopeo and ``load(from:progress:)`` read: an OCI layout with the
    /// `manifest.json` of older Dockers beside it.
    ///
    /// - Parameters:
    ///   - names: as users write them. A name saves the image with that name, an ID without any, a repository alone with
    ///     `latest`, as everywhere.
    ///   - descriptor: written from beginning to end; it stays open.
    public func save(_ names: [String], to descriptor: Int32) async throws {
        var images: [(image: Image, names: [ImageReference])] = []
        for name in names {
            let (image, byID) = try catalog.find(name)
            let reference = byID ? nil : try? ImageReference(parsing: name).withDefaultTag
            let tags = reference.flatMap { $0.digest == nil ? [$0] : nil } ?? []
            if let index = images.firstIndex(where: { $0.image.id == image.id }) {
                images[index].names += tags.filter { !images[index].names.contains($0) }
            } else {
                images.append((image, tags))
            }
        }
        let saved = images
        let digests = images.flatMap { [$0.image.id, $0.image.manifest.digest] + $0.image.layers.map(\.blob.digest) }
        catalog.lease(digests)
        defer { catalog.release(digests) }
        try await BlockingWork.run { [self] in
            do {
                try writeArchive(saved, to: descriptor)
            } catch {
                throw ImageError.wrap(error, doing: "save")
            }
        }
    }

    private func writeArchive(_ images: [(image: Image, names: [ImageReference])], to descriptor: Int32) throws {
        let tar = TarWriter(output: descriptor)
        try tar.directory("blobs/")
        try tar.directory("blobs/sha256/")
        var written: Set<Digest> = []
        var manifests: [Descriptor] = []
        var entries: [DockerArchiveEntry] = []
        for (image, names) in images {
            for digest in [image.id, image.manifest.digest] + image.layers.map(\.blob.digest)
            where written.insert(digest).inserted {
                try writeBlob(digest, to: tar)
            }
            var descriptor = image.manifest
            if names.isEmpty { manifests.append(descriptor) }
            for name in names {
                descriptor.annotations = [
                    Annotation.containerdImageName: name.description, Annotation.referenceName: name.tag ?? "",
                ]
                manifests.append(descriptor)
            }
            entries.append(
                DockerArchiveEntry(
                    config: "blobs/sha256/" + image.id.hex, repoTags: names.isEmpty ? nil : names.map(\.familiar),
                    layers: image.layers.map { "blobs/sha256/" + $0.blob.digest.hex }))
        }
        try tar.file("index.json", Documents.encode(Index(manifests: manifests)))
        try tar.file("manifest.json", Documents.encode(entries))
        try tar.file("oci-layout", Documents.encode(ImageLayout()))
        try tar.finish()
    }

    private func writeBlob(_ digest: Digest, to tar: borrowing TarWriter) throws {
        let range = try content.open(digest)
        let size = range.size
        try tar.beginFile("blobs/sha256/" + digest.hex, size: size)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        var done: Int64 = 0
        while done < size {
            let file = range.file.raw
            let length = Int(min(Int64(buffer.count), size - done))
            let position = off_t(done)
            let count = try checked("read blob \(digest.short)") { pread(file, buffer.baseAddress, length, position) }
            guard count > 0 else { throw ImageError(.corrupt, "blob \(digest) of the store is cut short") }
            try tar.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            done += Int64(count)
        }
        try tar.endFile(size: size)
    }
}
