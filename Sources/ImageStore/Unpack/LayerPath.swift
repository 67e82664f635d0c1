import LinuxKernel

/// An entry's path inside a layer, made clean: no leading slash, no empty or `.` component, never a `..`.
struct LayerPath {
    /// The path with a zero byte at its end; only that byte for the root.
    private(set) var bytes: [UInt8]
    /// Where the last component begins.
    private(set) var nameStart = 0

    static let whiteoutPrefix = Array(".wh.".utf8)
    static let auFSPrefix = Array(".wh..wh.".utf8)
    static let opaqueMarker = Array(".wh..wh..opq".utf8)

    /// An absolute path means the same below the layer's root. A `..` is refused: no tool that writes layers needs it,
    /// and it is how layers tried to get out (CVE-2014-9356).
    init(_ raw: some Collection<UInt8>, limits: UnpackLimits) throws {
        bytes = []
        bytes.reserveCapacity(raw.count + 1)
        var depth = 0
        var start = 0
        func closeComponent(_ bytes: inout [UInt8]) throws {
            let length = bytes.count - start
            if length == 0 { return }
            if bytes[start] == UInt8(ascii: ".") {
                if length == 1 {
                    bytes.removeLast()
                    return
                }
                if length == 2, bytes[start + 1] == UInt8(ascii: ".") {
                    throw TarError("path \(printable(raw)) has a \"..\", which could lead out of the layer")
                }
            }
            depth += 1
            nameStart = start
            bytes.append(UInt8(ascii: "/"))
            start = bytes.count
        }
        for byte in raw {
            if byte == UInt8(ascii: "/") {
                try closeComponent(&bytes)
            } else {
                bytes.append(byte)
            }
        }
        try closeComponent(&bytes)
        if bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
        guard bytes.count <= limits.pathBytes else {
            throw TarError(
                "path \(printable(bytes)) has \(bytes.count) bytes; at most \(limits.pathBytes) are accepted")
        }
        guard depth <= limits.pathDepth else {
            throw TarError("path \(printable(bytes)) has \(depth) components; at most \(limits.pathDepth) are accepted")
        }
        bytes.append(0)
    }

    var isRoot: Bool { bytes.count == 1 }
    var text: ArraySlice<UInt8> { bytes.dropLast() }
    var name: ArraySlice<UInt8> { bytes[nameStart..<(bytes.count - 1)] }
    /// The path of the directory that it is in, empty for the root.
    var parent: ArraySlice<UInt8> { nameStart == 0 ? [] : bytes[..<(nameStart - 1)] }

    /// Whether a component of the parent's path begins as only a whiteout's name may.
    var isBelowWhiteout: Bool {
        guard parent.count >= 4 else { return false }
        return parent.split(separator: UInt8(ascii: "/")).contains { $0.starts(with: LayerPath.whiteoutPrefix) }
    }

    /// Gives `body` the last component as a C string.
    func withName<Result>(_ body: (UnsafePointer<CChar>) throws -> Result) rethrows -> Result {
        try bytes.withUnsafeBytes {
            try body($0.baseAddress!.advanced(by: nameStart).assumingMemoryBound(to: CChar.self))
        }
    }
}
