import CLinux
import Glibc
import LinuxKernel

/// A layer's directory while it is being filled. Everything happens relative to descriptors inside it; paths are
/// resolved by the kernel with the layer as their root (openat2(2), `RESOLVE_IN_ROOT`), so that neither a link, absolute
/// or not, nor one exchanged between two entries leads out (CVE-2021-32760 and its like).
final class LayerTree {
    let root: FileDescriptor
    /// Beside the root: where deep trees are moved to be removed, and the journal's file is.
    let staging: FileDescriptor
    private let limits: UnpackLimits
    private var isStale = false
    private var cache: [(path: [UInt8], descriptor: Int32)] = []
    let journal: DirectoryJournal

    private static let resolution =
        CLINUX_RESOLVE_IN_ROOT | CLINUX_RESOLVE_NO_MAGICLINKS | CLINUX_RESOLVE_NO_XDEV
    private static let cacheSize = 24
    static let opaque = "trusted.overlay.opaque"

    /// - Parameter path: the layer's staging directory, which has an empty `fs`.
    init(staging path: String, limits: UnpackLimits) throws(SystemError) {
        staging = try FileDescriptor(path, O_RDONLY | O_DIRECTORY)
        root = try FileDescriptor("fs", O_RDONLY | O_DIRECTORY, relativeTo: staging.raw)
        self.limits = limits
        journal = DirectoryJournal(spillDirectory: staging.raw)
        // Unless an entry says otherwise, the root looks as that of the layers below.
        try journal.append(.init(isImplied: true, inode: try inode(root.raw)), path: [])
    }

    deinit { forgetDirectories() }

    // MARK: Directories

    /// The descriptor of the directory at `path`, which is made, as an implied one, when it is missing. Valid until the
    /// next call.
    func directory(_ path: ArraySlice<UInt8>) throws -> Int32 {
        if isStale { forgetDirectories() }
        if path.isEmpty { return root.raw }
        if let index = cache.firstIndex(where: { equal($0.path, path) }) {
            if index > 0 { cache.swapAt(0, index) }
            return cache[0].descriptor
        }
        let descriptor = try openDirectory(path, links: 0)
        if cache.count == LayerTree.cacheSize { close(cache.removeLast().descriptor) }
        cache.insert((Array(path), descriptor), at: 0)
        return descriptor
    }

    /// Closes every cached descriptor: after something was removed, a path may lead elsewhere.
    func forgetDirectories() {
        for entry in cache { close(entry.descriptor) }
        cache = []
        isStale = false
    }

    /// The same before the next look-up: the caller still uses a descriptor.
    func forgetDirectoriesLater() { isStale = true }

    private func equal(_ left: [UInt8], _ right: ArraySlice<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        return left.withUnsafeBytes { left in
            right.withUnsafeBytes { memcmp(left.baseAddress!, $0.baseAddress!, left.count) == 0 }
        }
    }

    private func openDirectory(_ path: ArraySlice<UInt8>, links: Int) throws -> Int32 {
        let descriptor = withCString(path) { resolve($0, clinux_o_path() | O_DIRECTORY) }
        if descriptor >= 0 { return descriptor }
        guard errno == ENOENT || errno == ENOTDIR else { throw SystemError.current("open \(printable(path))") }
        // Make it: the parent first, whether it exists or not.
        let slash = path.lastIndex(of: UInt8(ascii: "/"))
        let parentPath = slash.map { path[path.startIndex..<$0] } ?? []
        let name = slash.map { path[($0 + 1)...] } ?? path
        let parent = parentPath.isEmpty ? try root.duplicate().release() : try openDirectory(parentPath, links: links)
        defer { close(parent) }
        if let target = try makeDirectory(name, in: parent, path: path, parentPath: parentPath) {
            guard links < 40 else { throw SystemError("resolve \(printable(path))", errno: ELOOP) }
            return try openDirectory(target, links: links + 1)
        }
        return try withCString(name) { name in
            try checked("open \(printable(path))") {
                openat(parent, name, clinux_o_path() | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            }
        }
    }

    /// Makes an implied directory. When a dangling link is in its place, the path that it points at is returned instead.
    private func makeDirectory(
        _ name: ArraySlice<UInt8>, in parent: Int32, path: ArraySlice<UInt8>, parentPath: ArraySlice<UInt8>
    ) throws -> ArraySlice<UInt8>? {
        try withCString(name) { name in
            if mkdirat(parent, name, 0o755) < 0 {
                guard errno == EEXIST else { throw SystemError.current("make directory \(printable(path))") }
                let status = try status(name, in: parent)
                if status.st_mode & S_IFMT == S_IFLNK {
                    return try linkTarget(name, in: parent, path: path, parentPath: parentPath)
                }
                guard isWhiteout(status) else {
                    throw TarError(
                        "\(printable(path)) is a file, and an entry of the same layer needs it as a directory")
                }
                try replaceWhiteout(name, in: parent)
            }
            try journal.append(.init(isImplied: true, inode: UInt64(try status(name, in: parent).st_ino)), path: path)
            return nil
        }
    }

    /// Where a link points, as a path in the layer; `..` stops at the root, as in a chroot.
    private func linkTarget(
        _ name: UnsafePointer<CChar>, in parent: Int32, path: ArraySlice<UInt8>, parentPath: ArraySlice<UInt8>
    ) throws -> ArraySlice<UInt8> {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = try checked("read link \(printable(path))") {
            buffer.withUnsafeMutableBytes {
                readlinkat(parent, name, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
            }
        }
        let target = buffer[..<count]
        var components: [ArraySlice<UInt8>] = []
        let base = target.first == UInt8(ascii: "/") ? [] : parentPath
        for component in base.split(separator: UInt8(ascii: "/")) + target.split(separator: UInt8(ascii: "/")) {
            if component.elementsEqual("..".utf8) {
                _ = components.popLast()
            } else if !component.elementsEqual(".".utf8) {
                components.append(component)
            }
        }
        return Array(components.joined(separator: [UInt8(ascii: "/")]))[...]
    }

    /// A directory instead of a whiteout of the same layer: it hides what is below, then has content of its own.
    func replaceWhiteout(_ name: UnsafePointer<CChar>, in parent: Int32) throws {
        try checked("replace a whiteout") { unlinkat(parent, name, 0) }
        try checked("make directory \(String(cString: name))") { mkdirat(parent, name, 0o755) }
        try setOpaque(name, in: parent)
    }

    /// Hides what the layers below have in a directory (kernel, Documentation/filesystems/overlayfs.rst, "whiteouts and
    /// opaque directories").
    func setOpaque(_ name: UnsafePointer<CChar>, in parent: Int32) throws(SystemError) {
        let directory = FileDescriptor(
            owning: try checked("open directory \(String(cString: name))") {
                openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            })
        try checked("mark \(String(cString: name)) as opaque") {
            clinux_fsetxattr(directory.raw, LayerTree.opaque, "y", 1)
        }
    }

    // MARK: Looking

    /// openat2(2) in the layer; -1 with errno set where it fails.
    func resolve(_ path: UnsafePointer<CChar>, _ flags: Int32) -> Int32 {
        let all = UInt64(UInt32(bitPattern: flags | O_CLOEXEC))
        while true {
            let descriptor = clinux_openat2(root.raw, path, all, 0, LayerTree.resolution)
            if descriptor >= 0 || (errno != EAGAIN && errno != EINTR) { return descriptor }
        }
    }

    func status(_ name: UnsafePointer<CChar>, in parent: Int32) throws(SystemError) -> stat {
        var status = stat()
        try checked("look at \(String(cString: name))") { fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) }
        return status
    }

    func isWhiteout(_ status: stat) -> Bool { status.st_mode & S_IFMT == S_IFCHR && status.st_rdev == 0 }

    private func inode(_ descriptor: Int32) throws(SystemError) -> UInt64 {
        var status = stat()
        try checked("fstat") { fstat(descriptor, &status) }
        return UInt64(status.st_ino)
    }

    /// Removes what an earlier entry of the layer made at a name.
    func removeExisting(_ name: UnsafePointer<CChar>, in parent: Int32) throws(SystemError) {
        try TreeRemoval.remove(name, in: parent)
    }
}
