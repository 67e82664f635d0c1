import CLinux
import Glibc

/// Paths below an untrusted root directory. Symbolic links, `..` and absolute targets are resolved inside the root by
/// the kernel (openat2(2), `RESOLVE_IN_ROOT`), magic links are refused, and what comes back is a descriptor: the path
/// is never looked up a second time (CVE-2021-30465, CVE-2024-45310).
public enum RootedPath {
    /// Opens an existing path.
    public static func open(
        _ path: String, in root: Int32, flags: Int32 = 0, followLinks: Bool = true
    ) throws(SystemError) -> FileDescriptor {
        var resolve = CLINUX_RESOLVE_IN_ROOT | CLINUX_RESOLVE_NO_MAGICLINKS
        if !followLinks { resolve |= CLINUX_RESOLVE_NO_SYMLINKS }
        let all = UInt64(UInt32(bitPattern: flags | O_CLOEXEC))
        // The kernel gives up with EAGAIN when something is renamed or mounted while it resolves `..`.
        for _ in 0..<128 {
            let descriptor = clinux_openat2(root, path.isEmpty ? "." : path, all, 0, resolve)
            if descriptor >= 0 { return FileDescriptor(owning: descriptor) }
            if errno != EAGAIN && errno != EINTR { throw SystemError.current("open \(path) in the root") }
        }
        throw SystemError("open \(path) in the root", errno: EAGAIN)
    }

    /// An `O_PATH` descriptor of an existing path.
    public static func locate(
        _ path: String, in root: Int32, followLinks: Bool = true
    ) throws(SystemError) -> FileDescriptor {
        try open(path, in: root, flags: clinux_o_path(), followLinks: followLinks)
    }

    /// What a missing last component is made as.
    public enum Kind: Sendable {
        case directory
        case file
    }

    /// An `O_PATH` descriptor of `path`, which is made (directories with mode 0755, a file with 0644, as far as the
    /// umask lets) when it is missing. A dangling link is followed inside the root, as a shell would make its target.
    public static func ensure(
        _ path: String, in root: Int32, kind: Kind, followLinks: Bool = true
    ) throws(SystemError) -> FileDescriptor {
        do {
            return try locate(path, in: root, followLinks: followLinks)
        } catch {
            if error.errno != ENOENT { throw error }
        }
        return try create(path, in: root, kind: kind, followLinks: followLinks, links: 0)
    }

    private static func create(
        _ path: String, in root: Int32, kind: Kind, followLinks: Bool, links: Int
    ) throws(SystemError) -> FileDescriptor {
        var rest = path.split(separator: "/").filter { $0 != "." }
        var done: [Substring] = []
        // The longest part that exists, then one component at a time below its descriptor.
        var pending: [Substring] = []
        var directory: FileDescriptor?
        while directory == nil {
            do {
                directory = try locate(rest.joined(separator: "/"), in: root, followLinks: followLinks)
            } catch {
                guard error.errno == ENOENT, let last = rest.popLast() else { throw error }
                pending.append(last)
            }
        }
        done = rest
        var current = directory.take()!
        while let name = pending.popLast() {
            if name == ".." {
                // Going up through what does not exist yet has no defined meaning.
                throw SystemError("create \(path) in the root", errno: EINVAL)
            }
            let component = String(name)
            let isLast = pending.isEmpty
            if isLast && kind == .file {
                let made = openat(current.raw, component, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0o644)
                if made >= 0 {
                    close(made)
                } else if errno != EEXIST {
                    throw SystemError.current("create \(path) in the root")
                }
            } else if mkdirat(current.raw, component, 0o755) < 0 && errno != EEXIST {
                throw SystemError.current("create \(path) in the root")
            }
            let next = try FileDescriptor(component, clinux_o_path() | O_NOFOLLOW, relativeTo: current.raw)
            var status = stat()
            try checked("stat \(path)") { fstat(next.raw, &status) }
            if status.st_mode & S_IFMT == S_IFLNK {
                guard followLinks, links < 40, let target = readLink(component, relativeTo: current.raw) else {
                    throw SystemError("create \(path) in the root", errno: ELOOP)
                }
                let base = target.hasPrefix("/") ? "" : done.joined(separator: "/") + "/"
                let remaining = pending.reversed().joined(separator: "/")
                return try ensureFollowing(
                    base + target + (remaining.isEmpty ? "" : "/" + remaining), in: root, kind: kind, links: links + 1)
            }
            done.append(name)
            current = consume next
        }
        return current
    }

    private static func ensureFollowing(
        _ path: String, in root: Int32, kind: Kind, links: Int
    ) throws(SystemError) -> FileDescriptor {
        do {
            return try locate(path, in: root)
        } catch {
            if error.errno != ENOENT { throw error }
        }
        return try create(path, in: root, kind: kind, followLinks: true, links: links)
    }

    private static func readLink(_ name: String, relativeTo directory: Int32) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
            let count = readlinkat(directory, name, buffer.baseAddress!, buffer.count)
            guard count > 0, count < buffer.count else { return nil }
            return String(decoding: UnsafeRawBufferPointer(buffer)[..<count], as: UTF8.self)
        }
    }
}

/// The `f_type` of the filesystem that a descriptor is on, to tell procfs and its like from an impostor.
public enum FilesystemType {
    public static let proc = 0x9fa0
    public static let cgroup2 = 0x6367_7270
    public static let devpts = 0x1cd1
    public static let tmpfs = 0x0102_1994

    public static func of(_ descriptor: Int32) throws(SystemError) -> Int {
        Int(try checked("fstatfs") { clinux_filesystem_type(descriptor) })
    }
}
