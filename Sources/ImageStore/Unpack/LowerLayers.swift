import CLinux
import Glibc
import LinuxKernel

/// Finished layers as a stack, looked at as overlayfs would: whiteouts and opaque directories hide what is below.
struct LowerLayers {
    /// Each layer's `fs`, uppermost first; owned by the caller.
    private let roots: [Int32]

    init(_ roots: [Int32]) { self.roots = roots }

    private enum Finding: ~Copyable {
        case file(FileDescriptor)
        case absent
        /// Absent, and nothing further down counts.
        case hidden
    }

    /// Gives a directory of a new layer the owner, mode, times and attributes of the one that it covers.
    func copyMetadata(of path: [UInt8], ownLayer: Int32, to directory: Int32) throws {
        guard let source = try find(path[...], below: ownLayer) else {
            // Whatever the daemon's umask is.
            try checked("change mode of \(printable(path))") { fchmod(directory, 0o755) }
            return
        }
        var status = stat()
        try checked("fstat") { fstat(source.raw, &status) }
        guard status.st_mode & S_IFMT == S_IFDIR else { return }
        // What find() opened is a bare location where it isn't a directory.
        try FileAttributes.setExtended(try FileAttributes.extended(of: source.raw), on: directory)
        try checked("change owner of \(printable(path))") { fchown(directory, status.st_uid, status.st_gid) }
        try checked("change mode of \(printable(path))") { fchmod(directory, status.st_mode & 0o7777) }
        try FileAttributes.setTimes(directory, Int64(status.st_mtim.tv_sec), status.st_mtim.tv_nsec)
    }

    /// Opens a regular file for reading; nil when there is none at the path.
    func openFile(_ path: ArraySlice<UInt8>, ownLayer: Int32) throws -> FileDescriptor? {
        guard let place = try find(path, below: ownLayer) else { return nil }
        var status = stat()
        try checked("fstat") { fstat(place.raw, &status) }
        guard status.st_mode & S_IFMT == S_IFREG else { return nil }
        return try FileDescriptor("/proc/self/fd/\(place.raw)", O_RDONLY)
    }

    /// What the layers below `ownLayer` have at a path: a readable descriptor of a directory, else a bare location.
    private func find(_ path: ArraySlice<UInt8>, below ownLayer: Int32) throws -> FileDescriptor? {
        // A directory of the layer itself that is opaque hides what is below it.
        if case .hidden = try look(path, in: ownLayer, isOwn: true) { return nil }
        for root in roots {
            switch try look(path, in: root, isOwn: false) {
            case .file(let descriptor): return descriptor
            case .absent: continue
            case .hidden: return nil
            }
        }
        return nil
    }

    private func look(_ path: ArraySlice<UInt8>, in root: Int32, isOwn: Bool) throws -> Finding {
        var current = FileDescriptor(owning: try checked("dup") { fcntl(root, F_DUPFD_CLOEXEC, 3) })
        var opaque = isOpaque(current.raw)
        for component in path.split(separator: UInt8(ascii: "/")) {
            let next = withCString(component) { name -> Int32 in
                let directory = openat(current.raw, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                if directory >= 0 || errno == ENOENT { return directory }
                return openat(current.raw, name, clinux_o_path() | O_NOFOLLOW | O_CLOEXEC)
            }
            guard next >= 0 else {
                if errno == ENOENT { return opaque ? .hidden : .absent }
                // A file in the middle of the path.
                if errno == ENOTDIR || errno == EBADF { return .hidden }
                throw SystemError.current("look for \(printable(path))")
            }
            current = FileDescriptor(owning: next)
            var status = stat()
            try checked("fstat") { fstat(next, &status) }
            if status.st_mode & S_IFMT == S_IFCHR && status.st_rdev == 0 { return .hidden }
            opaque = opaque || isOpaque(current.raw)
        }
        if isOwn { return opaque ? .hidden : .absent }
        return .file(current)
    }

    private func isOpaque(_ directory: Int32) -> Bool {
        var value: UInt8 = 0
        return clinux_fgetxattr(directory, LayerTree.opaque, &value, 1) == 1 && value == UInt8(ascii: "y")
    }
}
