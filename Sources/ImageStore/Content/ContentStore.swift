import CLinux
import FoundationEssentials
import Glibc
import LinuxKernel
import OCI

/// The blobs, by digest, and the directories they and the layers live in.
struct ContentStore: Sendable {
    let paths: StorePaths

    /// Makes what is missing of the directories; only root may enter.
    func makeDirectories() throws(SystemError) {
        for path in [
            paths.content, paths.content + "/blobs", paths.blobs, paths.ingest, paths.layers, paths.staging,
            paths.emptyLayer,
        ] {
            if mkdir(path, 0o700) < 0 && errno != EEXIST { throw SystemError.current("make directory \(path)") }
        }
        DirectoryPlacement.spread(at: paths.staging)
        // What containers see as their root's mode when an image has no layers.
        try checked("change mode of \(paths.emptyLayer)") { chmod(paths.emptyLayer, 0o755) }
    }

    func has(_ digest: Digest) -> Bool { access(paths.blob(digest), F_OK) == 0 }

    /// A blob of the store, to be read.
    func open(_ digest: Digest) throws(SystemError) -> BlobRange { try openRange(paths.blob(digest)) }

    /// A small blob as a whole, verified.
    func document(_ digest: Digest, limit: Int64) throws -> [UInt8] {
        let range = try open(digest)
        let size = range.size
        return try readDocument(range, Descriptor(mediaType: "", digest: digest, size: size), limit: limit)
    }

    /// A name for a new file of the ingest directory.
    func newIngestPath() -> String { paths.ingest + "/" + randomName() }

    /// A new directory in which a layer is made.
    func newStagingPath() -> String { paths.staging + "/" + randomName() }

    private func randomName() -> String {
        let digits = (0..<4).map { _ in String(UInt32.random(in: .min ... .max), radix: 16) }
        return digits.joined()
    }

    /// Writes everything to the disk that was written to the store's file systems. One call for a whole image: syncing
    /// its files one by one would take as many flushes as it has files.
    func sync() throws(SystemError) {
        var devices: Set<dev_t> = []
        for path in [paths.content, paths.layers] {
            let directory = try FileDescriptor(path, O_RDONLY | O_DIRECTORY)
            var status = stat()
            try checked("stat \(path)") { fstat(directory.raw, &status) }
            if devices.insert(status.st_dev).inserted {
                try checked("sync \(path)") { clinux_syncfs(directory.raw) }
            }
        }
    }

    /// Makes renames in a directory durable.
    func syncDirectory(_ path: String) throws(SystemError) {
        let directory = try FileDescriptor(path, O_RDONLY | O_DIRECTORY)
        try checked("sync \(path)") { fsync(directory.raw) }
    }

    /// Removes a directory tree below the staging directory.
    func discard(staged path: String) throws(SystemError) {
        try TreeRemoval.remove(path)
    }

    /// Writes a small file so that it is there as a whole or not at all, after a power cut too.
    func replaceFile(_ path: String, with bytes: [UInt8]) throws(SystemError) {
        let temporary = newIngestPath()
        do throws(SystemError) {
            try writeFile(temporary, bytes, sync: true)
            try checked("replace \(path)") { rename(temporary, path) }
        } catch {
            unlink(temporary)
            throw error
        }
        try syncDirectory(paths.content)
    }

    func writeFile(_ path: String, _ bytes: [UInt8], sync: Bool = false) throws(SystemError) {
        let file = try FileDescriptor(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
        var done = 0
        while done < bytes.count {
            done += try checked("write \(path)") {
                bytes.withUnsafeBytes { write(file.raw, $0.baseAddress! + done, $0.count - done) }
            }
        }
        if sync { try checked("sync \(path)") { fsync(file.raw) } }
    }
}

/// A regular file as a range; a FIFO or device in its place is refused instead of waited for.
func openRange(_ path: String, relativeTo directory: Int32 = AT_FDCWD) throws(SystemError) -> BlobRange {
    let file = try FileDescriptor(path, O_RDONLY | O_NONBLOCK, relativeTo: directory)
    var status = stat()
    try checked("stat \(path)") { fstat(file.raw, &status) }
    guard status.st_mode & S_IFMT == S_IFREG else {
        throw SystemError("open \(path), which is not a regular file", errno: EINVAL)
    }
    return BlobRange(file: file, offset: 0, size: Int64(status.st_size))
}

/// Reads a manifest, an index or a configuration as a whole and verifies its size and digest.
func readDocument(_ range: consuming BlobRange, _ descriptor: Descriptor, limit: Int64) throws -> [UInt8] {
    guard range.size == descriptor.size else {
        throw ImageError(
            .corrupt,
            "blob \(descriptor.digest) has \(range.size) bytes, but what points at it says \(descriptor.size)")
    }
    let bytes = try readAll(range, what: "blob \(descriptor.digest)", limit: limit)
    guard SHA256.digest(of: bytes) == descriptor.digest else {
        throw ImageError(.corrupt, "blob \(descriptor.digest) has other content than its digest says")
    }
    return bytes
}

func readAll(_ range: consuming BlobRange, what: String, limit: Int64) throws -> [UInt8] {
    guard range.size <= limit else {
        throw ImageError(.invalid, "\(what) has \(range.size) bytes; at most \(limit) are accepted here")
    }
    let file = range.file.raw
    let offset = range.offset
    let size = Int(range.size)
    var done = 0
    let bytes = try [UInt8](unsafeUninitializedCapacity: size) { memory, count in
        while done < size {
            let read = try checked("read \(what)") {
                pread(file, memory.baseAddress! + done, size - done, off_t(offset) + done)
            }
            guard read > 0 else { throw ImageError(.corrupt, "\(what) ends after \(done) of \(size) bytes") }
            done += read
        }
        count = done
    }
    return bytes
}
