/// One entry of a tar stream, from its header blocks. Names are bytes: nothing says that they are UTF-8.
struct TarEntry {
    enum Kind: Sendable {
        case file, hardLink, symbolicLink, characterDevice, blockDevice, directory, fifo
    }

    var kind: Kind = .file
    var path: [UInt8] = []
    /// The target of a link.
    var linkPath: [UInt8] = []
    /// Permission bits with set-user-ID, set-group-ID and sticky.
    var mode: UInt32 = 0
    var uid: UInt32 = 0
    var gid: UInt32 = 0
    /// Seconds since 1970 and nanoseconds.
    var seconds: Int64 = 0
    var nanoseconds: Int = 0
    var deviceMajor: UInt32 = 0
    var deviceMinor: UInt32 = 0
    /// Bytes of content in the stream.
    var storedSize: Int64 = 0
    /// Bytes of the file when unpacked; more than `storedSize` for a sparse file.
    var size: Int64 = 0
    /// The pieces of a sparse file that hold data, ascending; nil for a file that isn't sparse.
    var pieces: [SparsePiece]?
    var extendedAttributes: [ExtendedAttribute] = []

    /// A run of data in a sparse file, in bytes.
    struct SparsePiece: Equatable, Sendable {
        var offset: Int64
        var length: Int64
    }

    struct ExtendedAttribute: Equatable, Sendable {
        var name: [UInt8]
        var value: [UInt8]
    }
}

/// A tar stream that isn't one, or that exceeds a bound.
struct TarError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
