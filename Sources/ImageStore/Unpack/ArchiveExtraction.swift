import CLinux
import Glibc
import LinuxKernel

/// Unpacks a client's tar archive into a directory of a container's file system (`docker cp`).
///
/// Neither side is trusted: names in the archive are the client's, links in the directory are the container's, which
/// may swap them meanwhile (CVE-2018-15664). Every directory on the way is resolved inside the container's root by the
/// kernel and used through its descriptor; the last component is never followed.
public struct ArchiveExtraction {
    /// The container's root, in which links are resolved.
    let root: Int32
    /// The target directory, absolute inside the root.
    let path: String
    /// Whom everything shall belong to; nil: whom the archive says.
    let owner: (uid: UInt32, gid: UInt32)?
    /// Refuse to replace a directory by something else and the other way round.
    let keepsKinds: Bool
    /// The ids of the container's user namespace, where the root shows the host's; files are then made by a thread that
    /// has the ids of its root (``LinuxKernel/FilesystemIdentity``).
    let identities: IdentityMaps?

    public init(
        root: Int32, path: String, owner: (uid: UInt32, gid: UInt32)?, keepsKinds: Bool, identities: IdentityMaps? = nil
    ) {
        self.root = root
        self.path = path
        self.owner = owner
        self.keepsKinds = keepsKinds
        self.identities = identities
    }

    /// Reads the archive (possibly compressed) to its end, then unpacks it.
    /// - Parameter spool: a directory on the disk that holds the archive meanwhile, without a name.
    public func extract(from descriptor: Int32, spool directory: String, limits: UnpackLimits = .standard) throws {
        do {
            let spool = try Spool(in: directory)
            _ = try spool.fill(from: descriptor, limits: limits)
            let file = spool.file.raw
            lseek(file, 0, SEEK_SET)
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
            defer { buffer.deallocate() }
            let reader = TarReader(limits: limits) {
                let count = try checked("read the archive") { read(file, buffer.baseAddress, buffer.count) }
                return count == 0 ? nil : UnsafeRawBufferPointer(rebasing: buffer[..<count])
            }
            while let entry = try reader.next() { try add(entry, reader) }
        } catch {
            throw ImageError.wrap(error, doing: "the archive can't be unpacked to \(path)")
        }
    }

    private func add(_ entry: TarEntry, _ reader: TarReader) throws {
        let components = try self.components(entry.path)
        guard let name = components.last else {
            // The directory itself: it keeps its own attributes, as with docker.
            return
        }
        let parent = try directory(components.dropLast())
        var status = stat()
        let directory = parent.raw
        let exists = withCString(name) { fstatat(directory, $0, &status, AT_SYMLINK_NOFOLLOW) } == 0
        let isDirectory = exists && status.st_mode & S_IFMT == S_IFDIR
        if exists, isDirectory != (entry.kind == .directory) {
            if keepsKinds {
                throw ImageError(
                    .invalid,
                    isDirectory
                        ? "cannot overwrite directory \(printable(name)) with non-directory"
                        : "cannot overwrite non-directory \(printable(name)) with directory")
            }
        }
        if exists, !isDirectory || entry.kind != .directory {
            try withCString(name) { name throws(SystemError) in try TreeRemoval.remove(name, in: directory) }
        }
        try withCString(name) { try make(entry, $0, in: directory, reader) }
    }

    private func make(
        _ entry: TarEntry, _ name: UnsafePointer<CChar>, in parent: Int32, _ reader: TarReader
    ) throws {
        let mode = mode_t(entry.mode & 0o7777)
        let shown = printable(entry.path)
        switch entry.kind {
        case .directory:
            if mkdirat(parent, name, 0o700) != 0, errno != EEXIST { throw SystemError.current("mkdir \(shown)") }
            let made = try FileDescriptor(name: name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, relativeTo: parent)
            try attributes(entry, mode, on: made.raw)
        case .file:
            let made = try FileDescriptor(
                name: name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600, relativeTo: parent)
            try write(entry, to: made.raw, reader)
            try attributes(entry, mode, on: made.raw)
        case .symbolicLink:
            try withCString(entry.linkPath) { target in
                _ = try checked("symlink \(shown)") { symlinkat(target, parent, name) }
            }
            try own(entry, name, in: parent)
        case .hardLink:
            let target = try components(entry.linkPath)
            guard let last = target.last else { throw ImageError(.invalid, "\(shown) is a link to nothing") }
            let directory = try directory(target.dropLast())
            let from = directory.raw
            try withCString(last) { last in
                _ = try checked("link \(shown)") { linkat(from, last, parent, name, 0) }
            }
        case .fifo, .characterDevice, .blockDevice:
            let type: mode_t =
                switch entry.kind {
                case .fifo: S_IFIFO
                case .characterDevice: S_IFCHR
                default: S_IFBLK
                }
            let device = clinux_makedev(entry.deviceMajor, entry.deviceMinor)
            try checked("mknod \(shown)") { mknodat(parent, name, type | mode, device) }
            try own(entry, name, in: parent)
        }
    }

    private func write(_ entry: TarEntry, to file: Int32, _ reader: TarReader) throws {
        func put(_ bytes: UnsafeRawBufferPointer) throws {
            var done = 0
            while done < bytes.count {
                done += try checked("write") { Glibc.write(file, bytes.baseAddress! + done, bytes.count - done) }
            }
        }
        if let pieces = entry.pieces {
            for piece in pieces {
                lseek(file, off_t(piece.offset), SEEK_SET)
                try reader.readContent(piece.length, put)
            }
            try checked("truncate") { ftruncate(file, off_t(entry.size)) }
        } else {
            try reader.readContent(put)
        }
    }

    private func attributes(_ entry: TarEntry, _ mode: mode_t, on descriptor: Int32) throws {
        let owner = try owner(of: entry)
        try checked("chown") { fchown(descriptor, owner.uid, owner.gid) }
        try checked("chmod") { fchmod(descriptor, mode) }
        var attributes = entry.extendedAttributes
        if let root = identities?.root?.uid {
            for index in attributes.indices where attributes[index].name.elementsEqual(FileCapability.attribute.utf8) {
                attributes[index].value = FileCapability.limited(attributes[index].value, to: root)
            }
        }
        try FileAttributes.setExtended(attributes, on: descriptor)
        try FileAttributes.setTimes(descriptor, entry.seconds, entry.nanoseconds)
    }

    private func own(_ entry: TarEntry, _ name: UnsafePointer<CChar>, in parent: Int32) throws {
        let owner = try owner(of: entry)
        try checked("chown \(printable(entry.path))") {
            fchownat(parent, name, owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW)
        }
        try FileAttributes.setTimes(name, in: parent, entry.seconds, entry.nanoseconds)
    }

    /// As the root shows ids.
    private func owner(of entry: TarEntry) throws -> (uid: uid_t, gid: gid_t) {
        let (uid, gid) = owner ?? (entry.uid, entry.gid)
        guard let identities else { return (uid, gid) }
        guard let user = identities.hostUser(uid), let group = identities.hostGroup(gid) else {
            throw ImageError(
                .invalid,
                "\(printable(entry.path)) belongs to \(uid):\(gid), which the container's user namespace doesn't have: "
                    + "give it more ids (--userns auto:size=N)")
        }
        return (user, group)
    }

    /// An entry's path without `.` and empty parts; `..` is refused, so that nothing climbs out of the directory.
    private func components(_ bytes: [UInt8]) throws -> [ArraySlice<UInt8>] {
        var result: [ArraySlice<UInt8>] = []
        for part in bytes.split(separator: UInt8(ascii: "/")) where !part.elementsEqual(".".utf8) {
            guard !part.elementsEqual("..".utf8), !part.contains(0), part.count <= 255 else {
                throw ImageError(
                    .invalid, "the archive has an entry \(printable(bytes)), which is not below its directory")
            }
            result.append(part)
        }
        return result
    }

    /// The directory for an entry, made where it is missing.
    private func directory(_ components: ArraySlice<ArraySlice<UInt8>>) throws -> FileDescriptor {
        let whole = [ArraySlice(path.utf8)] + components
        let located = try RootedPath.ensure(
            bytes: Array(whole.joined(separator: [UInt8(ascii: "/")])), in: root, kind: .directory)
        return try FileDescriptor("/proc/self/fd/\(located.raw)", O_RDONLY | O_DIRECTORY)
    }
}
