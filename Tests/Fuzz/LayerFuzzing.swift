import Glibc
import LinuxKernel
import OCI

@testable import ImageStore

/// Bytes of images.
enum LayerFuzzing {
    static let limits: UnpackLimits = {
        var limits = UnpackLimits.standard
        limits.layerBytes = 4 << 20
        limits.entries = 200
        limits.sparseFileBytes = 16 << 20
        limits.sparsePieces = 100
        limits.extendedHeaderBytes = 64 << 10
        return limits
    }()

    /// A folder that no entry may leave, beside one that none may touch.
    private static let directory: String = {
        var template = Array("/dev/shm/mycontainer-fuzz-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("no directory under /dev/shm: errno \(errno)") }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        mkdir(path + "/outside", 0o711)
        close(open(path + "/outside/file", O_WRONLY | O_CREAT, 0o640))
        atexit { LayerFuzzing.remove() }
        return path
    }()

    private static func remove() { try? TreeRemoval.remove(directory) }

    /// A layer is unpacked into a directory; the input's checksums are put right first, or nothing would get far.
    static func tar(_ input: UnsafeRawBufferPointer) throws {
        let archive = UnsafeMutableRawBufferPointer.allocate(byteCount: input.count, alignment: 16)
        defer { archive.deallocate() }
        archive.copyBytes(from: input)
        setChecksums(archive)
        try inFolder { staging in
            mkdir(staging + "/fs", 0o755)
            let unpacker = try LayerUnpacker(staging: staging, limits: limits)
            var offset = 0
            let reader = TarReader(limits: limits) {
                guard offset < archive.count else { return nil }
                let piece = min(1000, archive.count - offset)
                defer { offset += piece }
                return UnsafeRawBufferPointer(rebasing: archive[offset..<offset + piece])
            }
            try unpacker.unpack(reader)
            try reader.drain()
            try unpacker.finish(lowers: [])
        }
    }

    /// Gives `body` an empty folder, and looks afterwards at what is beside it.
    static func inFolder(_ body: (String) throws -> Void) throws {
        let folder = directory + "/layer"
        mkdir(folder, 0o755)
        defer {
            try? TreeRemoval.remove(folder)
            verifyOutside()
        }
        try body(folder)
    }

    private static func verifyOutside() {
        var status = stat()
        require(stat(directory + "/outside/file", &status) == 0, "a file outside of the layer is still there")
        require(
            status.st_mode == S_IFREG | 0o640 && status.st_nlink == 1 && status.st_size == 0,
            "a file outside of the layer is as it was")
        require(
            stat(directory + "/outside", &status) == 0 && status.st_mode == S_IFDIR | 0o711 && status.st_nlink == 2,
            "a directory outside of the layer is as it was")
    }

    static func setChecksums(_ archive: UnsafeMutableRawBufferPointer) {
        var offset = 0
        while offset + 512 <= archive.count {
            let block = UnsafeMutableRawBufferPointer(rebasing: archive[offset..<offset + 512])
            if block.contains(where: { $0 != 0 }) {
                let field = block[148..<156]
                let sum = block.reduce(0) { $0 + Int($1) } - field.reduce(0) { $0 + Int($1) } + 8 * 32
                let digits = String(sum, radix: 8)
                let text = String(repeating: "0", count: max(0, 6 - digits.count)) + digits + "\0 "
                for (position, byte) in zip(148..<156, text.utf8) { block[position] = byte }
            }
            let size = block[124..<136].prefix { $0 >= 48 && $0 < 56 }.reduce(0) { ($0 * 8 + Int($1 - 48)) & 0xff_ffff }
            offset += 512 + (size + 511) / 512 * 512
        }
    }

    /// Manifest, index and configuration; what is accepted must survive being written and read again.
    static func documents(_ input: UnsafeRawBufferPointer) throws {
        let (kind, rest) = input.variant
        let documents = Documents(limits: .standard)
        let bytes = Array(rest)
        let digest = SHA256.digest(of: bytes)
        let types = [
            MediaType.ociManifest, MediaType.dockerManifest, MediaType.ociIndex, MediaType.dockerManifestList,
            MediaType.ociConfig,
        ]
        let type = types[kind % types.count]
        let descriptor = Descriptor(mediaType: type, digest: digest, size: Int64(bytes.count))
        switch type {
        case MediaType.ociManifest, MediaType.dockerManifest:
            let manifest = try documents.manifest(bytes, descriptor)
            _ = try documents.manifest(Documents.encode(manifest), descriptor)
        case MediaType.ociIndex, MediaType.dockerManifestList:
            let index = try documents.index(bytes, descriptor)
            for entry in index.manifests { _ = entry.platform?.runs(on: .host) }
        default:
            let config = try documents.config(bytes, digest, layerCount: 1)
            _ = try documents.config(Documents.encode(config), digest, layerCount: 1)
        }
    }

    /// The names in a layer: what is accepted has no way up.
    static func names(_ input: UnsafeRawBufferPointer) throws {
        let path = try LayerPath(Array(input), limits: .standard)
        let components = path.text.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        require(path.isRoot || !components.contains { $0.isEmpty || $0 == [46] || $0 == [46, 46] }, "a path is clean")
    }
}
