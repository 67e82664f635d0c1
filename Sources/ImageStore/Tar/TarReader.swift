import LinuxKernel

/// Reads a tar stream entry by entry, in constant memory: one entry's headers and one chunk of the stream at a time.
final class TarReader {
    /// Gives the next bytes of the stream, valid until the next call; nil at its end.
    typealias Source = () throws -> UnsafeRawBufferPointer?

    private let source: Source
    private let passOver: ((Int64) throws -> Void)?
    private let limits: UnpackLimits
    private var window = UnsafeRawBufferPointer(start: nil, count: 0)
    private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: TarHeader.size, alignment: 16)
    /// What is left of the current entry's content, and the zeros that fill its last block.
    private var remaining: Int64 = 0
    private var padding: Int64 = 0
    private(set) var entryCount = 0
    /// How many bytes of the stream have been read: after ``next()``, where the entry's content begins.
    private(set) var position: Int64 = 0

    /// - Parameter skip: passes over bytes that `source` would give next, where the stream can; else they are read.
    init(limits: UnpackLimits, skip: ((Int64) throws -> Void)? = nil, source: @escaping Source) {
        self.limits = limits
        passOver = skip
        self.source = source
    }

    deinit { scratch.deallocate() }

    /// The next entry, after what is left of the current one's content; nil at the end of the archive.
    func next() throws -> TarEntry? {
        try skip(remaining)
        remaining = 0
        guard try skipPadding() else { return nil }
        var extended = ExtendedHeader()
        while true {
            // An archive without its two zero blocks that ends between entries is complete: GNU tar and Go agree.
            guard let header = try block() else { return nil }
            if header.isZero { return nil }
            try header.verifyChecksum()
            let stored = try header.number(124, 12, "size")
            guard stored >= 0 else { throw TarError("an entry has a negative size") }
            switch header.typeFlag {
            case UInt8(ascii: "x"), UInt8(ascii: "X"):
                try extended.parse(try extendedData(stored), limits: limits)
            case UInt8(ascii: "L"): extended.path = try extendedData(stored).prefixUntilZero()
            case UInt8(ascii: "K"): extended.linkPath = try extendedData(stored).prefixUntilZero()
            case UInt8(ascii: "g"):
                // Global records: none of them means anything for a layer, as in Docker; git writes its commit here.
                _ = try extendedData(stored)
            case UInt8(ascii: "V"): try skip(rounded(stored))
            default:
                entryCount += 1
                guard entryCount <= limits.entries else {
                    throw TarError("it has more than \(limits.entries) entries")
                }
                return try entry(header, stored: stored, extended: extended)
            }
        }
    }

    /// Hands the current entry's content to `body` piece by piece.
    func readContent(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        while remaining > 0 {
            let piece = try available(remaining)
            try body(piece)
            consume(piece.count)
            remaining -= Int64(piece.count)
        }
    }

    /// Hands the next `count` bytes of the current entry's content to `body` piece by piece.
    func readContent(_ count: Int64, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        precondition(count <= remaining)
        var left = count
        while left > 0 {
            let piece = try available(left)
            try body(piece)
            consume(piece.count)
            left -= Int64(piece.count)
        }
        remaining -= count
    }

    /// Reads what follows the archive's end, which still counts for the stream's digest.
    func drain() throws {
        window = UnsafeRawBufferPointer(start: nil, count: 0)
        while try source() != nil {}
    }

    // MARK: Entries

    private func entry(_ header: TarHeader, stored: Int64, extended: ExtendedHeader) throws -> TarEntry {
        var entry = TarEntry()
        let format = header.format
        entry.path = extended.sparse.name ?? extended.path ?? header.path(format)
        guard !entry.path.contains(0) else { throw TarError("an entry's name has a zero byte") }
        entry.mode = UInt32(truncatingIfNeeded: try header.number(100, 8, "mode") & 0o7777)
        entry.uid = try identifier(extended.uid ?? header.number(108, 8, "uid"), "user")
        entry.gid = try identifier(extended.gid ?? header.number(116, 8, "gid"), "group")
        entry.seconds = try header.number(136, 12, "time")
        if let modified = extended.modified {
            (entry.seconds, entry.nanoseconds) = modified
        }
        entry.extendedAttributes = extended.extendedAttributes
        let size = extended.size ?? stored
        switch header.typeFlag {
        case 0, UInt8(ascii: "0"), UInt8(ascii: "7"):
            // Before ustar had directories, a slash at the end marked one.
            entry.kind = entry.path.last == UInt8(ascii: "/") ? .directory : .file
        case UInt8(ascii: "S"): entry.kind = .file
        case UInt8(ascii: "1"): entry.kind = .hardLink
        case UInt8(ascii: "2"): entry.kind = .symbolicLink
        case UInt8(ascii: "3"): entry.kind = .characterDevice
        case UInt8(ascii: "4"): entry.kind = .blockDevice
        case UInt8(ascii: "5"), UInt8(ascii: "D"): entry.kind = .directory
        case UInt8(ascii: "6"): entry.kind = .fifo
        case let flag:
            throw TarError("entry \(printable(entry.path)) has the unknown type \(printable([flag]))")
        }
        switch entry.kind {
        case .hardLink, .symbolicLink:
            entry.linkPath = extended.linkPath ?? header.text(157, 100)
            guard !entry.linkPath.contains(0) else { throw TarError("a link's target has a zero byte") }
        case .characterDevice, .blockDevice:
            entry.deviceMajor = try device(extended.deviceMajor ?? header.number(329, 8, "device number"))
            entry.deviceMinor = try device(extended.deviceMinor ?? header.number(337, 8, "device number"))
        case .file, .directory, .fifo: break
        }
        // Only files have content; a hard link's size is that of its target in some archives, without content.
        remaining = entry.kind == .file || header.typeFlag == UInt8(ascii: "D") ? size : 0
        padding = rounded(remaining) - remaining
        entry.storedSize = remaining
        entry.size = remaining
        if header.typeFlag == UInt8(ascii: "S") {
            try readOldSparseMap(header, &entry)
        } else if entry.kind == .file, extended.sparse.isPresent {
            try readSparseMap(extended.sparse, &entry)
        }
        return entry
    }

    private func identifier(_ value: Int64, _ what: StaticString) throws -> UInt32 {
        // All ones means "unchanged" to chown(2).
        guard (0..<Int64(UInt32.max)).contains(value) else { throw TarError("\(what) ID \(value) is out of range") }
        return UInt32(value)
    }

    private func device(_ value: Int64) throws -> UInt32 {
        guard let number = UInt32(exactly: value) else { throw TarError("device number \(value) is out of range") }
        return number
    }

    // MARK: Sparse files

    /// GNU's own form: four pieces in the header, more in blocks that follow.
    private func readOldSparseMap(_ header: TarHeader, _ entry: inout TarEntry) throws {
        var pieces: [TarEntry.SparsePiece] = []
        func add(_ block: TarHeader, _ offset: Int, _ count: Int) throws {
            for index in 0..<count {
                let at = offset + 24 * index
                let length = try block.number(at + 12, 12, "sparse map")
                if length == 0 && block.block[at] == 0 { return }
                pieces.append(.init(offset: try block.number(at, 12, "sparse map"), length: length))
            }
            guard pieces.count <= limits.sparsePieces else {
                throw TarError("a sparse file has more than \(limits.sparsePieces) pieces")
            }
        }
        let realSize = try header.number(483, 12, "sparse size")
        var more = header.block[482] != 0
        try add(header, 386, 4)
        while more {
            guard let next = try block() else { throw endsEarly }
            try add(next, 0, 21)
            more = next.block[504] != 0
        }
        try setPieces(pieces, realSize: realSize, &entry)
    }

    private func readSparseMap(_ sparse: ExtendedHeader.Sparse, _ entry: inout TarEntry) throws {
        guard let realSize = sparse.realSize else { throw TarError("a sparse file has no size") }
        var numbers = sparse.numbers
        if sparse.major == 1 {
            numbers = try readInlineSparseMap()
        } else if let major = sparse.major, major != 0 {
            throw TarError("sparse format \(major) is unknown")
        }
        guard numbers.count % 2 == 0 else { throw TarError("a sparse file's map is malformed") }
        let pieces = stride(from: 0, to: numbers.count, by: 2).map {
            TarEntry.SparsePiece(offset: numbers[$0], length: numbers[$0 + 1])
        }
        entry.storedSize = remaining
        try setPieces(pieces, realSize: realSize, &entry)
    }

    /// Format 1.0: the content begins with lines of decimal numbers, filled with zeros to a whole block.
    private func readInlineSparseMap() throws -> [Int64] {
        var numbers: [Int64] = []
        var digits: [UInt8] = []
        var expected = 1
        while numbers.count < expected {
            guard remaining >= Int64(TarHeader.size) else { throw TarError("a sparse file's map is malformed") }
            try readContent(Int64(TarHeader.size)) { piece in
                for byte in piece where numbers.count < expected {
                    guard byte == UInt8(ascii: "\n") else {
                        digits.append(byte)
                        guard digits.count <= 20 else { throw TarError("a sparse file's map is malformed") }
                        continue
                    }
                    guard let number = decimal(digits) else { throw TarError("a sparse file's map is malformed") }
                    digits.removeAll(keepingCapacity: true)
                    numbers.append(number)
                    if numbers.count == 1 {
                        guard number <= Int64(limits.sparsePieces) else {
                            throw TarError("a sparse file has more than \(limits.sparsePieces) pieces")
                        }
                        expected += 2 * Int(number)
                    }
                }
            }
        }
        return Array(numbers.dropFirst())
    }

    private func setPieces(_ pieces: [TarEntry.SparsePiece], realSize: Int64, _ entry: inout TarEntry) throws {
        guard (0...limits.sparseFileBytes).contains(realSize) else {
            throw TarError(
                "sparse file \(printable(entry.path)) has a size of \(realSize) bytes; at most "
                    + "\(limits.sparseFileBytes) are accepted")
        }
        var end: Int64 = 0
        var total: Int64 = 0
        for piece in pieces {
            guard piece.offset >= end, piece.length >= 0, piece.length <= realSize - piece.offset else {
                throw TarError(
                    "the map of sparse file \(printable(entry.path)) has pieces out of order or out of range")
            }
            end = piece.offset + piece.length
            total += piece.length
        }
        guard total == entry.storedSize else {
            throw TarError("the map of sparse file \(printable(entry.path)) doesn't fit its content")
        }
        entry.size = realSize
        entry.pieces = pieces
    }

    // MARK: The stream

    private func extendedData(_ size: Int64) throws -> [UInt8] {
        guard size <= limits.extendedHeaderBytes else {
            throw TarError(
                "an extended header has \(size) bytes; at most \(limits.extendedHeaderBytes) are accepted")
        }
        var data: [UInt8] = []
        data.reserveCapacity(Int(size))
        while Int64(data.count) < size {
            let piece = try available(size - Int64(data.count))
            data.append(contentsOf: piece)
            consume(piece.count)
        }
        try skip(rounded(size) - size)
        return data
    }

    private func rounded(_ size: Int64) -> Int64 {
        // A size near 2^63 has no room for its padding; nothing that long arrives either.
        size > Int64.max - 512 ? size : (size + 511) & ~511
    }

    /// One header block; nil at the end of the stream. Valid until the next read.
    private func block() throws -> TarHeader? {
        if window.count >= TarHeader.size {
            let header = TarHeader(block: UnsafeRawBufferPointer(rebasing: window[..<TarHeader.size]))
            consume(TarHeader.size)
            return header
        }
        var filled = 0
        while filled < TarHeader.size {
            if window.isEmpty {
                guard let next = try source() else {
                    if filled == 0 { return nil }
                    throw endsEarly
                }
                window = next
                continue
            }
            let count = min(window.count, TarHeader.size - filled)
            scratch.baseAddress!.advanced(by: filled).copyMemory(from: window.baseAddress!, byteCount: count)
            consume(count)
            filled += count
        }
        return TarHeader(block: UnsafeRawBufferPointer(scratch))
    }

    /// At least one byte and at most `limit` of what comes next, without consuming it.
    private func available(_ limit: Int64) throws -> UnsafeRawBufferPointer {
        while window.isEmpty {
            guard let next = try source() else { throw endsEarly }
            window = next
        }
        return UnsafeRawBufferPointer(rebasing: window[..<Int(min(Int64(window.count), limit))])
    }

    private func consume(_ count: Int) {
        position += Int64(count)
        window = UnsafeRawBufferPointer(rebasing: window[count...])
    }

    /// Passes over the zeros that fill the last block of an entry's content.
    /// - Returns: false when the stream ends there: umoci leaves them out at the end, and Go's reader accepts it.
    private func skipPadding() throws -> Bool {
        while padding > 0 {
            if window.isEmpty {
                guard let next = try source() else { return false }
                window = next
            }
            let count = min(padding, Int64(window.count))
            consume(Int(count))
            padding -= count
        }
        return true
    }

    private func skip(_ count: Int64) throws {
        var left = count
        if let passOver, left > Int64(window.count) {
            left -= Int64(window.count)
            consume(window.count)
            try passOver(left)
            position += left
            return
        }
        while left > 0 {
            let piece = try available(left)
            consume(piece.count)
            left -= Int64(piece.count)
        }
    }

    private var endsEarly: TarError { TarError("it ends in the middle of an entry") }
}

extension [UInt8] {
    fileprivate func prefixUntilZero() -> [UInt8] { Array(prefix { $0 != 0 }) }
}
