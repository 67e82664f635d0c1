import CLinux
import Glibc
import ImageStore
import LinuxKernel

/// Writes directory trees as a tar stream: ustar with PAX records where that doesn't suffice (POSIX.1-2001, "pax
/// Interchange Format"). Links are packed, never followed. Names are bytes: not every file's is UTF-8.
final class TarPacker {
    /// A file's name, without a NUL.
    typealias Name = [UInt8]

    /// What is made of the trees.
    enum Purpose {
        /// Everything as it is, what is mounted below too.
        case copy
        /// A container's root without what is mounted in it. In the place of a mount is what `beneath` says of the path
        /// (no slash before it), empty.
        case export(beneath: (Name) -> stat?)
        /// An overlay's upper directory as an image layer: whiteouts and opaque directories become what image-spec
        /// layer.md has for them, holes stay holes.
        case layer
    }

    private let output: Int32
    private let purpose: Purpose
    /// The ids that the trees show, where those are a host's that have to become a container's.
    private let identities: IdentityMaps?
    private var buffer: [UInt8] = []
    /// Hard links by device and inode: the name under which the file was packed first.
    private var packed: [FileIdentity: Name] = [:]
    /// The directories that are being packed, from the outermost in: no recursion, since a container may nest
    /// thousands.
    private var levels: [Level] = []
    private static let bufferSize = 256 << 10

    private final class Level {
        let directory: FileDescriptor
        let archiveName: Name
        /// What is still to be packed of it, the next one last.
        var names: [Name]

        init(_ directory: consuming FileDescriptor, _ archiveName: Name, names: [Name]) {
            self.directory = directory
            self.archiveName = archiveName
            self.names = names
        }
    }

    private struct FileIdentity: Hashable {
        let device: dev_t
        let inode: ino_t
    }

    init(output: Int32, purpose: Purpose, identities: IdentityMaps? = nil) {
        self.output = output
        self.purpose = purpose
        self.identities = identities
    }

    private var isExport: Bool { if case .export = purpose { true } else { false } }
    private var isLayer: Bool { if case .layer = purpose { true } else { false } }

    /// Packs `name` in `directory`, with everything below it, under `archiveName`.
    func add(_ name: String, in directory: Int32, as archiveName: String) throws {
        try add(Array(name.utf8), in: directory, as: Array(archiveName.utf8))
    }

    /// Packs what is in `directory`, without the directory itself.
    func addContents(of directory: Int32) throws {
        for name in try names(in: directory) { try add(name, in: directory, as: name) }
    }

    func finish() throws {
        buffer += [UInt8](repeating: 0, count: 1024)
        try flush()
    }

    private func add(_ name: Name, in directory: Int32, as archiveName: Name) throws {
        try addEntry(name, in: directory, as: archiveName)
        while let level = levels.last {
            guard let child = level.names.popLast() else {
                levels.removeLast()
                continue
            }
            try addEntry(
                child, in: level.directory.raw, as: level.archiveName + [UInt8(ascii: "/")] + child)
        }
    }

    /// Packs `name` alone; a directory's content is left to ``levels``.
    private func addEntry(_ name: Name, in directory: Int32, as archiveName: Name) throws {
        let limits = UnpackLimits.standard
        guard levels.count < limits.pathDepth, archiveName.count <= limits.pathBytes else {
            throw EngineError.invalid(
                "the path \(printable(archiveName)) is too long for an archive: at most \(limits.pathDepth) "
                    + "components and \(limits.pathBytes) bytes are packed, since no more could be unpacked again")
        }
        var status = stat()
        guard withCString(name, { fstatat(directory, $0, &status, AT_SYMLINK_NOFOLLOW) }) == 0 else {
            // It went away while the tree was read: a container may run.
            if errno == ENOENT { return }
            throw SystemError.current("look at \(printable(archiveName))")
        }
        if let identities {
            status.st_uid = identities.user(ofHost: status.st_uid)
            status.st_gid = identities.group(ofHost: status.st_gid)
        }
        if isLayer, try addMark(name, status, as: archiveName) { return }
        var header = TarPackedHeader(name: archiveName, status: status)
        if status.st_nlink > 1, status.st_mode & S_IFMT != S_IFDIR {
            let key = FileIdentity(device: status.st_dev, inode: status.st_ino)
            if let first = packed[key] {
                header.makeHardLink(to: first)
                buffer += header.encoded()
                return try flushIfLarge()
            }
            packed[key] = archiveName
        }
        switch status.st_mode & S_IFMT {
        case S_IFDIR: try addDirectory(name, in: directory, &header, as: archiveName)
        case S_IFREG: try addFile(name, in: directory, &header, as: archiveName, status)
        case S_IFLNK:
            header.link = try readLink(name, in: directory, archiveName)
            buffer += header.encoded()
        case S_IFSOCK:
            // Sockets can't be archived; nobody could connect to a copy.
            return
        default:
            buffer += header.encoded()
        }
        try flushIfLarge()
    }

    // MARK: Directories

    private func addDirectory(
        _ name: Name, in directory: Int32, _ header: inout TarPackedHeader, as archiveName: Name
    ) throws {
        switch try open(name, in: directory, O_RDONLY | O_DIRECTORY) {
        case .gone: return
        case .mounted: return addBeneath(archiveName)
        case .opened(let descriptor):
            let opened = FileDescriptor(owning: descriptor)
            header.extendedAttributes = attributes(of: opened.raw)
            buffer += header.encoded()
            if isLayer, OverlayMarks.isOpaque(opened.raw) {
                addMarker(archiveName + Array("/.wh..wh..opq".utf8))
            }
            let children = try names(in: opened.raw)
            levels.append(Level(opened, archiveName, names: children.reversed()))
        }
    }

    private enum Opening { case opened(Int32), mounted, gone }

    private func open(_ name: Name, in directory: Int32, _ flags: Int32) throws -> Opening {
        var resolve = CLINUX_RESOLVE_NO_SYMLINKS
        if isExport { resolve |= CLINUX_RESOLVE_NO_XDEV }
        let descriptor = withCString(name) {
            clinux_openat2(directory, $0, UInt64(flags | O_NONBLOCK | O_CLOEXEC), 0, resolve)
        }
        if descriptor >= 0 { return .opened(descriptor) }
        if errno == EXDEV { return .mounted }
        if [ENOENT, ENOTDIR, ELOOP].contains(errno) { return .gone }
        throw SystemError.current("open \(printable(name))")
    }

    /// What a mount covers, without content: what there is of it is the mount's, not the container's.
    private func addBeneath(_ archiveName: Name) {
        guard case .export(let beneath) = purpose, let status = beneath(archiveName) else { return }
        var header = TarPackedHeader(name: archiveName, status: status)
        header.size = 0
        buffer += header.encoded()
    }

    /// With file capabilities as the container sees them.
    private func attributes(of descriptor: Int32) -> [(name: String, value: [UInt8])] {
        let root = identities?.root?.uid ?? 0
        return ExtendedAttributes.all(of: descriptor).map { name, value in
            (name, name == FileCapability.attribute ? FileCapability.plain(value, in: root) : value)
        }
    }

    // MARK: Layers

    /// Packs the whiteout that an overlay has in the place of a file; false for anything else.
    private func addMark(_ name: Name, _ status: stat, as archiveName: Name) throws -> Bool {
        if status.st_mode & S_IFMT == S_IFCHR, status.st_rdev == 0 {
            addMarker(archiveName.dropLast(name.count) + OverlayMarks.whiteoutPrefix + name)
            return true
        }
        guard !name.starts(with: OverlayMarks.whiteoutPrefix) else {
            throw EngineError.invalid(
                "the container has a file named \(printable(archiveName)), which would hide another one in an image layer "
                    + "(names that begin with .wh. do): rename or remove it first")
        }
        return false
    }

    private func addMarker(_ name: Name) {
        var status = stat()
        status.st_mode = S_IFREG | 0o600
        buffer += TarPackedHeader(name: name, status: status).encoded()
    }

    // MARK: Files

    private func addFile(
        _ name: Name, in directory: Int32, _ header: inout TarPackedHeader, as archiveName: Name, _ status: stat
    ) throws {
        let descriptor: Int32
        switch try open(name, in: directory, O_RDONLY) {
        case .gone: return
        case .mounted: return addBeneath(archiveName)
        case .opened(let opened): descriptor = opened
        }
        let file = FileDescriptor(owning: descriptor)
        header.extendedAttributes = attributes(of: file.raw)
        let size = Int64(status.st_size)
        // Blocks are of 512 bytes, whatever the file system's (stat(2)).
        if isLayer, Int64(status.st_blocks) * 512 < size {
            let pieces = try SparseMap.pieces(of: file.raw, size: size)
            header.makeSparse(pieces)
            buffer += header.encoded()
            let map = SparseMap.encoded(pieces)
            buffer += map
            for piece in pieces { try copy(file.raw, from: piece.offset, count: piece.count, name) }
            let stored = Int64(map.count) + pieces.reduce(0) { $0 + $1.count }
            return pad(stored)
        }
        buffer += header.encoded()
        try copy(file.raw, from: 0, count: size, name)
        pad(size)
    }

    private func copy(_ file: Int32, from start: Int64, count: Int64, _ name: Name) throws {
        var done: Int64 = 0
        try withUnsafeTemporaryAllocation(byteCount: 128 << 10, alignment: 4096) { chunk in
            while done < count {
                let wanted = Int(min(count - done, Int64(chunk.count)))
                let got = try checked("read \(printable(name))") {
                    pread(file, chunk.baseAddress!, wanted, off_t(start + done))
                }
                // A file that shrinks meanwhile is filled up: its size has been said.
                if got == 0 { memset(chunk.baseAddress!, 0, wanted) }
                buffer += chunk[..<(got == 0 ? wanted : got)]
                done += Int64(got == 0 ? wanted : got)
                try flushIfLarge()
            }
        }
    }

    private func pad(_ size: Int64) { buffer += [UInt8](repeating: 0, count: Int((512 - size % 512) % 512)) }

    private func readLink(_ name: Name, in directory: Int32, _ archiveName: Name) throws -> Name {
        try withUnsafeTemporaryAllocation(byteCount: Int(PATH_MAX), alignment: 1) { target in
            let count = try checked("readlink \(printable(archiveName))") {
                withCString(name) { readlinkat(directory, $0, target.baseAddress!, target.count) }
            }
            return Array(target[..<count])
        }
    }

    private func names(in directory: Int32) throws(SystemError) -> [Name] {
        try FileNames.list(directory).sorted { $0.lexicographicallyPrecedes($1) }
    }

    private func flushIfLarge() throws { if buffer.count >= TarPacker.bufferSize { try flush() } }

    private func flush() throws {
        try Files.write(output, buffer, "the archive")
        buffer.removeAll(keepingCapacity: true)
    }
}

/// How an overlay and a layer say that something of the layers beneath is gone (overlayfs.rst, "whiteouts and opaque
/// directories"; image-spec layer.md, "Whiteouts").
enum OverlayMarks {
    static let whiteoutPrefix = Array(".wh.".utf8)

    static func isOpaque(_ directory: Int32) -> Bool {
        var value: UInt8 = 0
        return fgetxattr(directory, "trusted.overlay.opaque", &value, 1) == 1 && value == UInt8(ascii: "y")
    }
}

/// Where a file has data: the rest are holes (lseek(2), SEEK_DATA).
enum SparseMap {
    struct Piece: Equatable {
        var offset: Int64
        /// Bytes.
        var count: Int64
    }

    /// SEEK_DATA and SEEK_HOLE of unistd.h, which hides them without _GNU_SOURCE.
    private static let seekData: Int32 = 3
    private static let seekHole: Int32 = 4

    /// More pieces than that are packed as one: a map must stay small.
    private static let maximumPieces = 4096

    static func pieces(of file: Int32, size: Int64) throws(SystemError) -> [Piece] {
        var pieces: [Piece] = []
        var position: Int64 = 0
        while position < size {
            let start = Int64(lseek(file, off_t(position), seekData))
            // ENXIO: a hole to the end.
            if start < 0, errno == ENXIO { break }
            guard start >= 0 else { throw SystemError.current("look for data") }
            let end = min(size, Int64(lseek(file, off_t(start), seekHole)))
            guard end > start else { break }
            if pieces.count == maximumPieces { return [Piece(offset: 0, count: size)] }
            pieces.append(Piece(offset: start, count: end - start))
            position = end
        }
        // Every reader takes the file's size from a piece at its end.
        if pieces.last.map({ $0.offset + $0.count }) ?? 0 < size { pieces.append(Piece(offset: size, count: 0)) }
        return pieces
    }

    /// GNU tar's map of version 1.0: numbers in lines, filled up to whole blocks, before the data
    /// (https://www.gnu.org/software/tar/manual/html_node/PAX-1.html).
    static func encoded(_ pieces: [Piece]) -> [UInt8] {
        var lines = "\(pieces.count)\n"
        for piece in pieces { lines += "\(piece.offset)\n\(piece.count)\n" }
        return Array(lines.utf8) + [UInt8](repeating: 0, count: (512 - lines.utf8.count % 512) % 512)
    }
}

/// Extended attributes that travel in archives.
enum ExtendedAttributes {
    static func all(of descriptor: Int32) -> [(name: String, value: [UInt8])] {
        // Most files have none: one call says so.
        guard flistxattr(descriptor, nil, 0) > 0 else { return [] }
        var list = [CChar](repeating: 0, count: 64 << 10)
        let length = flistxattr(descriptor, &list, list.count)
        guard length > 0 else { return [] }
        var result: [(name: String, value: [UInt8])] = []
        for bytes in list[..<length].split(separator: 0) {
            let name = String(decoding: bytes.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            // The overlay's own marks mean nothing elsewhere, nor does what this host's security modules think of a file.
            if name.hasPrefix("trusted.overlay.") { continue }
            if name.hasPrefix("security."), name != "security.capability" { continue }
            var value = [UInt8](repeating: 0, count: 64 << 10)
            let count = fgetxattr(descriptor, name, &value, value.count)
            if count >= 0 { result.append((name, Array(value[..<count]))) }
        }
        return result
    }
}

/// The header blocks of one entry.
struct TarPackedHeader {
    private var name: [UInt8]
    private let status: stat
    private var type: UInt8
    /// Bytes that follow.
    var size: Int64
    /// Bytes of a sparse file when unpacked.
    private var realSize: Int64?
    var link: [UInt8] = []
    var extendedAttributes: [(name: String, value: [UInt8])] = []

    init(name: [UInt8], status: stat) {
        self.status = status
        self.name = name
        size = 0
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            type = UInt8(ascii: "5")
            self.name.append(UInt8(ascii: "/"))
        case S_IFLNK: type = UInt8(ascii: "2")
        case S_IFCHR: type = UInt8(ascii: "3")
        case S_IFBLK: type = UInt8(ascii: "4")
        case S_IFIFO: type = UInt8(ascii: "6")
        default:
            type = UInt8(ascii: "0")
            size = Int64(status.st_size)
        }
    }

    mutating func makeHardLink(to first: [UInt8]) {
        type = UInt8(ascii: "1")
        size = 0
        link = first
    }

    mutating func makeSparse(_ pieces: [SparseMap.Piece]) {
        realSize = size
        size = Int64(SparseMap.encoded(pieces).count) + pieces.reduce(0) { $0 + $1.count }
    }

    func encoded() -> [UInt8] {
        var records: [UInt8] = []
        func record(_ key: String, _ value: some Collection<UInt8>) {
            // "length key=value\n", where the length counts its own digits.
            let rest = key.utf8.count + value.count + 3
            var length = rest + String(rest).utf8.count
            if String(length).utf8.count > String(rest).utf8.count { length += 1 }
            records += Array("\(length) \(key)=".utf8) + Array(value) + [10]
        }
        if let realSize {
            record("GNU.sparse.major", "1".utf8)
            record("GNU.sparse.minor", "0".utf8)
            record("GNU.sparse.name", name)
            record("GNU.sparse.realsize", String(realSize).utf8)
        } else if name.count > 100 {
            record("path", name)
        }
        if link.count > 100 { record("linkpath", link) }
        if size >= 1 << 33 { record("size", String(size).utf8) }
        if status.st_uid >= 1 << 21 { record("uid", String(status.st_uid).utf8) }
        if status.st_gid >= 1 << 21 { record("gid", String(status.st_gid).utf8) }
        if status.st_mtim.tv_sec < 0 { record("mtime", String(status.st_mtim.tv_sec).utf8) }
        for (key, value) in extendedAttributes { record("SCHILY.xattr." + key, value) }
        var result: [UInt8] = []
        if !records.isEmpty {
            result += block(
                name: Array("PaxHeaders/entry".utf8), type: UInt8(ascii: "x"), size: Int64(records.count), link: [])
            result += records + [UInt8](repeating: 0, count: (512 - records.count % 512) % 512)
        }
        let shown = realSize == nil ? name : Array("GNUSparseFile.0/".utf8) + name
        return result + block(name: shown, type: type, size: size, link: link)
    }

    private func block(name: [UInt8], type: UInt8, size: Int64, link: [UInt8]) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ bytes: some Collection<UInt8>, at offset: Int, width: Int) {
            let cut = bytes.prefix(width)
            block.replaceSubrange(offset..<offset + cut.count, with: cut)
        }
        func octal(_ value: Int64, at offset: Int, width: Int) {
            // What doesn't fit is in a PAX record, which wins over this.
            let text = String(max(0, value) & ((1 << (3 * Int64(width - 1))) - 1), radix: 8)
            put(
                (String(repeating: "0", count: max(0, width - 1 - text.utf8.count)) + text).utf8, at: offset,
                width: width - 1)
        }
        put(name, at: 0, width: 100)
        octal(Int64(status.st_mode & 0o7777), at: 100, width: 8)
        octal(Int64(status.st_uid), at: 108, width: 8)
        octal(Int64(status.st_gid), at: 116, width: 8)
        octal(size, at: 124, width: 12)
        octal(Int64(status.st_mtim.tv_sec), at: 136, width: 12)
        put([UInt8](repeating: 0x20, count: 8), at: 148, width: 8)
        block[156] = type
        put(link, at: 157, width: 100)
        put("ustar\0".utf8, at: 257, width: 6)
        put("00".utf8, at: 263, width: 2)
        if type == UInt8(ascii: "3") || type == UInt8(ascii: "4") {
            let numbers = Devices.split(status.st_rdev)
            octal(numbers.major, at: 329, width: 8)
            octal(numbers.minor, at: 337, width: 8)
        }
        let sum = block.reduce(0) { $0 + Int64($1) }
        octal(sum, at: 148, width: 7)
        block[154] = 0
        block[155] = 0x20
        return block
    }
}
