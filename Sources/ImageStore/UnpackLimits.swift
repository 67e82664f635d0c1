/// The bounds within which a layer is unpacked. Layers come from strangers: what exceeds a bound is refused, and
/// nothing of it is kept.
public struct UnpackLimits: Sendable {
    /// The most bytes that one layer's tar stream has when decompressed.
    public var layerBytes: Int64 = 256 << 30
    /// A compressed layer may expand to this many times its size…
    public var expansionRatio: Int64 = 300
    /// …and in any case to this many bytes. DEFLATE reaches 1032:1 and zstd more, but only on runs of one byte.
    public var expansionFloor: Int64 = 2 << 30
    /// The most entries of one layer.
    public var entries: Int = 4_000_000
    /// The most bytes of a path in a layer: what one system call takes (PATH_MAX with its final zero byte).
    public var pathBytes: Int = 4095
    /// The most components of a path in a layer.
    public var pathDepth: Int = 1024
    /// The most bytes of the extended headers (PAX, GNU long names) of one entry.
    public var extendedHeaderBytes: Int64 = 1 << 20
    /// The most bytes of a sparse file's apparent size.
    public var sparseFileBytes: Int64 = 1 << 40
    /// The most pieces of a sparse file.
    public var sparsePieces: Int = 1 << 20
    /// The most bytes of a manifest, an index or an image configuration.
    public var documentBytes: Int64 = 8 << 20
    /// The most layers of an image, as in Docker: what overlayfs is known to mount.
    public var layers: Int = 127

    public init() {}

    /// The most bytes that a layer of `packed` bytes may have unpacked. The number may be anything that a manifest says.
    func unpackedBytes(ofPacked packed: Int64) -> Int64 {
        let (product, overflows) = packed.multipliedReportingOverflow(by: expansionRatio)
        return min(layerBytes, max(expansionFloor, overflows ? .max : product))
    }

    public static let standard = UnpackLimits()
}
