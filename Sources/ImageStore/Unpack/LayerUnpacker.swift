import CLinux
import Glibc
import LinuxKernel

/// Turns the entries of a layer's tar stream into the files of an overlayfs lower directory (image-spec layer.md).
///
/// The layer can be unpacked before those below it; ``finish(lowers:)`` then does what depends on them.
final class LayerUnpacker {
    private let tree: LayerTree
    private let limits: UnpackLimits
    /// Hard links whose target isn't in this layer: it may be in one below.
    private var pendingLinks: [(path: LayerPath, target: LayerPath)] = []
    /// Sum of the files' sizes, in bytes.
    private(set) var size: Int64 = 0

    /// Files this large begin to be written to the disk at once, so that the final sync has less to wait for.
    private static let earlyWritebackBytes: Int64 = 1 << 20

    /// - Parameter staging: the layer's staging directory, which has an empty `fs`.
    init(staging: String, limits: UnpackLimits) throws(SystemError) {
        tree = try LayerTree(staging: staging, limits: limits)
        self.limits = limits
    }

    /// Unpacks every entry of an archive.
    func unpack(_ reader: TarReader) throws {
        while let entry = try reader.next() { try add(entry, reader) }
        tree.forgetDirectories()
    }

    private func add(_ entry: TarEntry, _ reader: TarReader) throws {
        let path = try LayerPath(entry.path, limits: limits)
        if path.isRoot {
            guard entry.kind == .directory else {
                throw TarError("an entry that isn't a directory has the name \(printable(entry.path))")
            }
            try FileAttributes.setExtended(entry.extendedAttributes, on: tree.root.raw)
            try record(entry, path, name: ".", parent: tree.root.raw)
            return
        }
        if path.name.starts(with: LayerPath.whiteoutPrefix) {
            try addWhiteout(path)
            return
        }
        if path.isBelowWhiteout {
            // What AUFS keeps for itself is below `.wh..wh.plnk`; anything else has no meaning.
            if path.text.starts(with: LayerPath.auFSPrefix) { return }
            throw TarError("path \(printable(path.text)) leads through a whiteout")
        }
        let parent = try tree.directory(path.parent)
        try path.withName { name in
            switch entry.kind {
            case .directory: try addDirectory(entry, path, name, parent)
            case .file: try addFile(entry, name, parent, reader)
            case .symbolicLink: try addSymbolicLink(entry, name, parent)
            case .hardLink: try addHardLink(entry, path, name, parent)
            case .characterDevice: try addNode(entry, name, parent, S_IFCHR)
            case .blockDevice: try addNode(entry, name, parent, S_IFBLK)
            case .fifo: try addNode(entry, name, parent, S_IFIFO)
            }
        }
    }

    // MARK: Whiteouts

    /// `.wh.<name>` hides a name of the layers below, `.wh..wh..opq` all that they have in its directory. Neither
    /// touches what the same layer brings (image-spec layer.md, "Whiteouts").
    private func addWhiteout(_ path: LayerPath) throws {
        let hidden = path.name.dropFirst(LayerPath.whiteoutPrefix.count)
        if path.name.elementsEqual(LayerPath.opaqueMarker) {
            try addOpaqueMarker(path)
            return
        }
        if path.name.starts(with: LayerPath.auFSPrefix) { return }
        guard !hidden.isEmpty, !hidden.elementsEqual(".".utf8), !hidden.elementsEqual("..".utf8) else {
            throw TarError("whiteout \(printable(path.text)) names no file")
        }
        if path.isBelowWhiteout { throw TarError("path \(printable(path.text)) leads through a whiteout") }
        let parent = try tree.directory(path.parent)
        try withCString(hidden) { name in
            // A 0/0 character device is overlayfs' whiteout.
            if mknodat(parent, name, S_IFCHR, 0) == 0 { return }
            guard errno == EEXIST else { throw SystemError.current("make whiteout \(printable(path.text))") }
            if try tree.status(name, in: parent).st_mode & S_IFMT == S_IFDIR { try tree.setOpaque(name, in: parent) }
        }
    }

    private func addOpaqueMarker(_ path: LayerPath) throws {
        if path.parent.isEmpty {
            try checked("mark the root as opaque") { clinux_fsetxattr(tree.root.raw, LayerTree.opaque, "y", 1) }
            return
        }
        // Through a link, the directory that it leads to inside the layer is the one that is meant.
        _ = try tree.directory(path.parent)
        let directory = FileDescriptor(
            owning: try withCString(path.parent) { path in
                try checked("open \(String(cString: path))") { tree.resolve(path, O_RDONLY | O_DIRECTORY) }
            })
        try checked("mark \(printable(path.parent)) as opaque") {
            clinux_fsetxattr(directory.raw, LayerTree.opaque, "y", 1)
        }
    }

    // MARK: Kinds of entries

    private func addDirectory(
        _ entry: TarEntry, _ path: LayerPath, _ name: UnsafePointer<CChar>, _ parent: Int32
    ) throws {
        if mkdirat(parent, name, 0o755) < 0 {
            guard errno == EEXIST else { throw SystemError.current("make directory \(printable(entry.path))") }
            let status = try tree.status(name, in: parent)
            if tree.isWhiteout(status) {
                try tree.replaceWhiteout(name, in: parent)
                tree.forgetDirectoriesLater()
            } else if status.st_mode & S_IFMT != S_IFDIR {
                try tree.removeExisting(name, in: parent)
                tree.forgetDirectoriesLater()
                try checked("make directory \(printable(entry.path))") { mkdirat(parent, name, 0o755) }
            }
        }
        if !entry.extendedAttributes.isEmpty {
            let directory = FileDescriptor(
                owning: try checked("open \(printable(entry.path))") {
                    openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                })
            try FileAttributes.setExtended(entry.extendedAttributes, on: directory.raw)
        }
        try record(entry, path, name: name, parent: parent)
    }

    private func record(
        _ entry: TarEntry, _ path: LayerPath, name: UnsafePointer<CChar>, parent: Int32
    ) throws {
        try tree.journal.append(
            .init(
                mode: entry.mode, uid: entry.uid, gid: entry.gid, nanoseconds: entry.nanoseconds,
                seconds: entry.seconds, inode: UInt64(try tree.status(name, in: parent).st_ino)),
            path: path.text)
    }

    private func addFile(
        _ entry: TarEntry, _ name: UnsafePointer<CChar>, _ parent: Int32, _ reader: TarReader
    ) throws {
        let raw = try place(entry, name, parent) {
            openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        }
        let file = FileDescriptor(owning: raw)
        if let pieces = entry.pieces {
            for piece in pieces {
                var offset = piece.offset
                try reader.readContent(piece.length) { bytes in
                    try write(bytes, to: raw, at: offset, entry)
                    offset += Int64(bytes.count)
                }
            }
            try checked("size \(printable(entry.path))") { ftruncate(raw, off_t(entry.size)) }
        } else {
            var offset: Int64 = 0
            try reader.readContent { bytes in
                try write(bytes, to: raw, at: offset, entry)
                offset += Int64(bytes.count)
            }
        }
        if entry.storedSize >= LayerUnpacker.earlyWritebackBytes { _ = clinux_start_writeback(raw, 0, 0) }
        size = size.addingClamped(entry.size)
        // Changing the owner clears set-user-ID bits and capabilities, so it comes first.
        if entry.uid != 0 || entry.gid != 0 {
            try checked("change owner of \(printable(entry.path))") { fchown(raw, entry.uid, entry.gid) }
        }
        try checked("change mode of \(printable(entry.path))") { fchmod(raw, entry.mode) }
        if !entry.extendedAttributes.isEmpty { try FileAttributes.setExtended(entry.extendedAttributes, on: raw) }
        try FileAttributes.setTimes(raw, entry.seconds, entry.nanoseconds)
        _ = consume file
    }

    private func write(
        _ bytes: UnsafeRawBufferPointer, to descriptor: Int32, at offset: Int64, _ entry: TarEntry
    ) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            done += try checked("write \(printable(entry.path))") {
                pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + done)
            }
        }
    }

    private func addSymbolicLink(_ entry: TarEntry, _ name: UnsafePointer<CChar>, _ parent: Int32) throws {
        _ = try withCString(entry.linkPath) { target in
            try place(entry, name, parent) { symlinkat(target, parent, name) }
        }
        try setAttributes(entry, name, parent)
    }

    private func addNode(_ entry: TarEntry, _ name: UnsafePointer<CChar>, _ parent: Int32, _ type: mode_t) throws {
        let device = clinux_makedev(entry.deviceMajor, entry.deviceMinor)
        _ = try place(entry, name, parent) { mknodat(parent, name, type | 0o600, type == S_IFIFO ? 0 : device) }
        try setAttributes(entry, name, parent)
        // Not a link: it was made the moment before, in a directory that nobody else can enter.
        try checked("change mode of \(printable(entry.path))") { fchmodat(parent, name, entry.mode, 0) }
        try FileAttributes.setTimes(name, in: parent, entry.seconds, entry.nanoseconds)
    }

    private func setAttributes(_ entry: TarEntry, _ name: UnsafePointer<CChar>, _ parent: Int32) throws {
        try checked("change owner of \(printable(entry.path))") {
            fchownat(parent, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW)
        }
        try FileAttributes.setExtended(entry.extendedAttributes, of: name, in: parent)
        try FileAttributes.setTimes(name, in: parent, entry.seconds, entry.nanoseconds)
    }

    private func addHardLink(
        _ entry: TarEntry, _ path: LayerPath, _ name: UnsafePointer<CChar>, _ parent: Int32
    ) throws {
        let target = try LayerPath(entry.linkPath, limits: limits)
        guard !target.isRoot, !target.name.starts(with: LayerPath.whiteoutPrefix), !target.isBelowWhiteout else {
            throw TarError("hard link \(printable(entry.path)) has the target \(printable(entry.linkPath))")
        }
        if target.text == path.text { return }
        guard let source = try existing(target) else {
            pendingLinks.append((path, target))
            guard pendingLinks.count <= 4096 else { throw TarError("it has too many hard links to missing files") }
            return
        }
        defer { close(source) }
        try link(target, in: source, name, parent, entry.path)
    }

    /// The directory that `path` is in, when `path` exists and isn't a whiteout.
    private func existing(_ path: LayerPath) throws -> Int32? {
        let directory =
            path.parent.isEmpty
            ? fcntl(tree.root.raw, F_DUPFD_CLOEXEC, 3)
            : withCString(path.parent) { tree.resolve($0, clinux_o_path() | O_DIRECTORY) }
        guard directory >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw SystemError.current("open \(printable(path.parent))")
        }
        var status = stat()
        let found = path.withName { fstatat(directory, $0, &status, AT_SYMLINK_NOFOLLOW) } == 0
        if found && !tree.isWhiteout(status) { return directory }
        close(directory)
        return nil
    }

    private func link(
        _ target: LayerPath, in source: Int32, _ name: UnsafePointer<CChar>, _ parent: Int32, _ path: [UInt8]
    ) throws {
        try target.withName { targetName in
            let original = try tree.status(targetName, in: source)
            guard original.st_mode & S_IFMT != S_IFDIR else {
                throw TarError("hard link \(printable(path)) points at a directory")
            }
            if linkat(source, targetName, parent, name, 0) == 0 { return }
            guard errno == EEXIST else { throw SystemError.current("link \(printable(path))") }
            let present = try tree.status(name, in: parent)
            if present.st_ino == original.st_ino { return }
            try tree.removeExisting(name, in: parent)
            tree.forgetDirectoriesLater()
            try checked("link \(printable(path))") { linkat(source, targetName, parent, name, 0) }
        }
    }

    /// Makes something at a name, in place of what an earlier entry of the layer put there.
    private func place(
        _ entry: TarEntry, _ name: UnsafePointer<CChar>, _ parent: Int32, _ make: () -> Int32
    ) throws -> Int32 {
        let result = make()
        if result >= 0 { return result }
        guard errno == EEXIST else { throw SystemError.current("make \(printable(entry.path))") }
        try tree.removeExisting(name, in: parent)
        tree.forgetDirectoriesLater()
        return try checked("make \(printable(entry.path))", make)
    }

    // MARK: What depends on the layers below

    /// Completes the layer: hard links to files of the layers below, then owners, modes and times of directories.
    /// - Parameter lowers: the finished layers below, uppermost first.
    func finish(lowers: [Int32]) throws {
        let stack = LowerLayers(lowers)
        for (path, target) in pendingLinks {
            try copyUp(target, from: stack, for: path)
            guard let source = try existing(target) else { throw missingTarget(path, target) }
            defer { close(source) }
            let parent = try tree.directory(path.parent)
            try path.withName { try link(target, in: source, $0, parent, Array(path.text)) }
        }
        pendingLinks = []
        tree.forgetDirectories()
        try tree.journal.forEach { record, path in
            let raw = path.isEmpty ? fcntl(tree.root.raw, F_DUPFD_CLOEXEC, 3) : openForMetadata(path)
            guard raw >= 0 else {
                // Another entry replaced it.
                if [ENOENT, ENOTDIR, ELOOP].contains(errno) { return }
                throw SystemError.current("open \(printable(path))")
            }
            let directory = FileDescriptor(owning: raw)
            var status = stat()
            try checked("fstat") { fstat(raw, &status) }
            guard UInt64(status.st_ino) == record.inode else { return }
            if record.isImplied {
                try stack.copyMetadata(of: path, ownLayer: tree.root.raw, to: raw)
            } else {
                try checked("change owner of \(printable(path))") { fchown(raw, record.uid, record.gid) }
                try checked("change mode of \(printable(path))") { fchmod(raw, record.mode) }
                try FileAttributes.setTimes(raw, record.seconds, record.nanoseconds)
            }
            _ = consume directory
        }
    }

    private func openForMetadata(_ path: [UInt8]) -> Int32 {
        withCString(path) { tree.resolve($0, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) }
    }

    private func missingTarget(_ path: LayerPath, _ target: LayerPath) -> TarError {
        TarError("hard link \(printable(path.text)) points at \(printable(target.text)), which doesn't exist")
    }

    /// Copies a file of the layers below into this one, as overlayfs does when a file there is linked.
    private func copyUp(_ target: LayerPath, from stack: LowerLayers, for path: LayerPath) throws {
        if let present = try existing(target) {
            close(present)
            return
        }
        guard let source = try stack.openFile(target.text, ownLayer: tree.root.raw) else {
            throw missingTarget(path, target)
        }
        let parent = try tree.directory(target.parent)
        let raw = try target.withName { name in
            try checked("copy \(printable(target.text))") {
                openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            }
        }
        let copy = FileDescriptor(owning: raw)
        try TreeCopy.copyFile(from: source.raw, to: copy.raw)
    }
}
