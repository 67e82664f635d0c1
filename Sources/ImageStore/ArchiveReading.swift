import CLinux
import Glibc
import LinuxKernel
import OCI

extension ImageStore {
    /// Loads every image of a `docker save` or OCI archive, compressed or not, read from `descriptor`.
    ///
    /// - Parameter descriptor: read to its end; it stays open.
    /// - Returns: the names that were loaded, or IDs of images without a name, as `docker load` prints them.
    public func load(from descriptor: Int32, progress: @escaping ImageProgressHandler) async throws -> [String] {
        let archive = try await BlockingWork.run { [self] in
            do {
                let spool = try Spool(in: paths.ingest)
                let size = try spool.fill(from: descriptor, limits: limits)
                return try ArchiveSource(
                    file: spool.file.duplicate().release(), size: size, description: "the archive", isSpooled: true,
                    limits: limits)
            } catch {
                throw ImageError.wrap(error, doing: "the archive can't be loaded")
            }
        }
        var loaded: [String] = []
        for image in archive.images {
            let documents = Documents(limits: limits)
            let found = try await BlockingWork.run { [self] in
                let name = image.names.first?.familiar ?? image.root.digest.description
                let manifest = try archive.manifest(
                    of: image.root, platform: platform, documents: documents, name: name)
                return FoundImage(source: archive, root: image.root, manifest: manifest)
            }
            let ingest = ImageIngest(store: self, found: found, names: image.names, progress: progress)
            let (result, _) = try await ingest.run()
            loaded += image.names.isEmpty ? [result.id.description] : image.names.map(\.familiar)
        }
        return loaded
    }

    /// Makes an image of one layer out of a tar stream, compressed or not.
    ///
    /// - Parameters:
    ///   - descriptor: read to its end; it stays open.
    ///   - reference: the image's name, if it is to have one.
    ///   - message: the comment of the image and of its history.
    public func importLayer(
        from descriptor: Int32, reference: ImageReference?, config: ImageConfig.Execution, message: String,
        progress: @escaping ImageProgressHandler
    ) async throws -> Image {
        let names = try reference.map { reference in
            guard reference.digest == nil else {
                throw ImageError(.invalid, "cannot import digest reference")
            }
            return [reference.withDefaultTag]
        }
        let found = try await BlockingWork.run { [self] in
            do {
                let spool = try Spool(in: paths.ingest)
                let layer = try TarLayer(spool: spool, size: try spool.fill(from: descriptor, limits: limits))
                let now = RFC3339.format(wallClockNanoseconds())
                let image = ImageConfig(
                    created: now, comment: message, architecture: platform.architecture, variant: platform.variant,
                    config: config, rootfs: .init(diffIDs: [layer.descriptor.digest]),
                    history: [.init(created: now, comment: message)])
                return try MadeImage(content: content, layer: layer, config: image).found
            } catch {
                throw ImageError.wrap(error, doing: "the archive can't be imported")
            }
        }
        let ingest = ImageIngest(store: self, found: found, names: names ?? [], progress: progress)
        return try await ingest.run().image
    }
}

/// An unnamed file on the data root's disk that a stream is copied to, decompressed, so that it can be read in any order.
struct Spool: ~Copyable {
    let file: FileDescriptor

    init(in directory: String) throws(SystemError) {
        file = try FileDescriptor(directory, clinux_o_tmpfile() | O_RDWR, mode: 0o600)
    }

    /// Copies a stream to its end.
    /// - Returns: how many bytes the file has.
    borrowing func fill(from descriptor: Int32, limits: UnpackLimits) throws -> Int64 {
        let input = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer {
            input.deallocate()
            output.deallocate()
        }
        var received: Int64 = 0
        var size: Int64 = 0
        var decompressor: (any Decompressor)?
        while true {
            let count = try fillBuffer(input, from: descriptor)
            if received == 0 {
                let magic = input.prefix(min(count, ArchiveCompression.magicLength))
                decompressor = try ArchiveCompression(magic: magic).makeDecompressor()
            }
            if count == 0 { break }
            received += Int64(count)
            let bytes = UnsafeRawBufferPointer(rebasing: input[..<count])
            guard let decompressor else {
                try append(bytes, at: &size, received: received, limits)
                continue
            }
            var used = 0
            while true {
                let (consumed, produced) = try decompressor.decompress(
                    UnsafeRawBufferPointer(rebasing: bytes[used...]), into: output)
                used += consumed
                try append(UnsafeRawBufferPointer(rebasing: output[..<produced]), at: &size, received: received, limits)
                if used == bytes.count && produced < output.count { break }
            }
        }
        do {
            try decompressor?.finish()
        } catch {
            throw ImageError(.invalid, "the archive can't be read: \(error)")
        }
        return size
    }

    /// Fills the buffer unless the stream ends before: the first bytes must be enough to tell the compression.
    private borrowing func fillBuffer(_ buffer: UnsafeMutableRawBufferPointer, from descriptor: Int32) throws -> Int {
        var filled = 0
        while filled < buffer.count {
            let count = try checked("read the archive") {
                read(descriptor, buffer.baseAddress! + filled, buffer.count - filled)
            }
            if count == 0 { break }
            filled += count
        }
        return filled
    }

    private borrowing func append(
        _ bytes: UnsafeRawBufferPointer, at size: inout Int64, received: Int64, _ limits: UnpackLimits
    ) throws {
        let maximum = limits.unpackedBytes(ofPacked: received)
        guard size + Int64(bytes.count) <= maximum else {
            throw ImageError(.invalid, "the archive expands to more than \(maximum) bytes")
        }
        var done = 0
        while done < bytes.count {
            let start = off_t(size) + done
            done += try checked("write the archive") {
                pwrite(file.raw, bytes.baseAddress! + done, bytes.count - done, start)
            }
        }
        size += Int64(bytes.count)
    }
}

/// Bytes as a file.
func memoryRange(_ bytes: [UInt8]) throws -> BlobRange {
    let memory = FileDescriptor(owning: try checked("make a memory file") { clinux_memory_file("document") })
    let raw = memory.raw
    try bytes.withUnsafeBytes { bytes in
        let count = try checked("write a document") { pwrite(raw, bytes.baseAddress, bytes.count, 0) }
        guard count == bytes.count else { throw SystemError("write a document", errno: ENOSPC) }
    }
    return BlobRange(file: memory, offset: 0, size: Int64(bytes.count))
}
