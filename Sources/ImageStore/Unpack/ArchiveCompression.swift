import Glibc
import OCI

/// How an archive that a client sends (`load`, `import`, `cp`) may be packed: dockerd's list. The layers of an image are
/// packed as ``OCI/LayerCompression`` says; bzip2 and xz are no media types of theirs.
enum ArchiveCompression {
    case layer(LayerCompression)
    case bzip2
    case xz

    /// As many of a stream's first bytes tell what it is.
    static let magicLength = 6

    /// What a stream is by its first bytes; bzip2's and xz's are in their file formats' descriptions.
    init(magic: some Collection<UInt8>) {
        if magic.starts(with: "BZh".utf8) {
            self = .bzip2
        } else if magic.starts(with: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]) {
            self = .xz
        } else {
            self = .layer(LayerCompression(magic: magic))
        }
    }

    /// A new decompressor; nil where there is nothing to undo.
    /// - Throws: an `ImageError` that says what is missing on this host.
    func makeDecompressor() throws(ImageError) -> (any Decompressor)? {
        switch self {
        case .layer(let compression): compression.makeDecompressor()
        case .bzip2: try Bzip2Decompressor()
        case .xz: try XzDecompressor()
        }
    }
}

/// A library that few archives need: a daemon that meets none of them doesn't pay for it, and runs on a host without it.
struct DecompressionLibrary {
    private let handle: UnsafeMutableRawPointer
    private let absence: ImageError

    /// - Parameters:
    ///   - fileName: with the version of its interface.
    ///   - package: Debian's package that has it.
    ///   - format: what it unpacks.
    init(_ fileName: String, package: String, format: String) throws(ImageError) {
        absence = ImageError(
            .invalid,
            "the archive is packed with \(format), and \(fileName) can't be loaded on this host: install \(package), or "
                + "pack it with gzip or zstd, or not at all")
        // It stays loaded.
        guard let handle = dlopen(fileName, RTLD_NOW | RTLD_LOCAL) else { throw absence }
        self.handle = handle
    }

    func function<Function>(_ name: String) throws(ImageError) -> Function {
        guard let symbol = dlsym(handle, name) else { throw absence }
        return unsafeBitCast(symbol, to: Function.self)
    }
}
