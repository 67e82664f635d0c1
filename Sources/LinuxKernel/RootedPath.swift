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
        try open(path.utf8, in: root, flags: flags, followLinks: followLinks)
    }

    /// Opens an existing path, which need not be UTF-8.
    static func open(
        _ path: some Collection<UInt8>, in root: Int32, flags: Int32, followLinks: Bool
    ) throws(SystemError) -> FileDescriptor {
        var resolve = CLINUX_RESOLVE_IN_ROOT | CLINUX_RESOLVE_NO_MAGICLINKS
        if !followLinks { resolve |= CLINUX_RESOLVE_NO_SYMLINKS }
        let all = UInt64(UInt32(bitPattern: flags | O_CLOEXEC))
        // The kernel gives up with EAGAIN when something is renamed or mounted while it resolves `..`.
        for _ in 0..<128 {
            let descriptor =
                path.isEmpty
                ? clinux_openat2(root, ".", all, 0, resolve)
                : withCString(path) { clinux_openat2(root, $0, all, 0, resolve) }
            if descriptor >= 0 { return FileDescriptor(owning: descriptor) }
            if errno != EAGAIN && errno != EINTR { throw SystemError.current("open \(text(path)) in the root") }
        }
        throw SystemError("open \(text(path)) in the root", errno: EAGAIN)
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
        try ensure(bytes: Array(path.utf8), in: root, kind: kind, followLinks: followLinks)
    }

    /// The same of a path that need not be UTF-8.
    public static func ensure(
        bytes path: [UInt8], in root: Int32, kind: Kind, followLinks: Bool = true
    ) throws(SystemError) -> FileDescriptor {
        do {
            return try open(path, in: root, flags: clinux_o_path(), followLinks: followLinks)
        } catch {
            if error.errno != ENOENT { throw error }
        }
        return try create(path, in: root, kind: kind, followLinks: followLinks, links: 0)
    }

    private static let slash = UInt8(ascii: "/")

    private static func text(_ path: some Collection<UInt8>) -> String { String(decoding: path, as: UTF8.self) }

    private static func create(
        _ path: [UInt8], in root: Int32, kind: Kind, followLinks: Bool, links: Int
    ) throws(SystemError) -> FileDescriptor {
        var rest = path.split(separator: slash).filter { !$0.elementsEqual(".".utf8) }
        var done: [ArraySlice<UInt8>] = []
        // The longest part that exists, then one component at a time below its descriptor.
        var pending: [ArraySlice<UInt8>] = []
        var directory: FileDescriptor?
        while directory == nil {
            do {
                directory = try open(
                    Array(rest.joined(separator: [slash])), in: root, flags: clinux_o_path(), followLinks: followLinks)
            } catch {
                guard error.errno == ENOENT, let last = rest.popLast() else { throw error }
                pending.append(last)
            }
        }
        done = rest
        var current = directory.take()!
        while let name = pending.popLast() {
            if name.elementsEqual("..".utf8) {
                // Going up through what does not exist yet has no defined meaning.
                throw SystemError("create \(text(path)) in the root", errno: EINVAL)
            }
            let directory = current.raw
            let isMade = withCString(name) { component in
                if pending.isEmpty && kind == .file {
                    let made = openat(directory, component, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0o644)
                    if made >= 0 { close(made) }
                    return made >= 0 || errno == EEXIST
                }
                return mkdirat(directory, component, 0o755) == 0 || errno == EEXIST
            }
            if !isMade { throw SystemError.current("create \(text(path)) in the root") }
            let next = try FileDescriptor(bytes: name, clinux_o_path() | O_NOFOLLOW, relativeTo: directory)
            var status = stat()
            try checked("stat \(text(path))") { fstat(next.raw, &status) }
            if status.st_mode & S_IFMT == S_IFLNK {
                guard followLinks, links < 40, let target = readLink(name, relativeTo: directory) else {
                    throw SystemError("create \(text(path)) in the root", errno: ELOOP)
                }
                let base = target.first == slash ? [] : done
                return try ensureFollowing(
                    Array((base + [target[...]] + pending.reversed()).joined(separator: [slash])), in: root, kind: kind,
                    links: links + 1)
            }
            done.append(name)
            current = consume next
        }
        return current
    }

    private static func ensureFollowing(
        _ path: [UInt8], in root: Int32, kind: Kind, links: Int
    ) throws(SystemError) -> FileDescriptor {
        do {
            return try open(path, in: root, flags: clinux_o_path(), followLinks: true)
        } catch {
            if error.errno != ENOENT { throw error }
        }
        return try create(path, in: root, kind: kind, followLinks: true, links: links)
    }

    private static func readLink(_ name: ArraySlice<UInt8>, relativeTo directory: Int32) -> [UInt8]? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
            let count = withCString(name) { readlinkat(directory, $0, buffer.baseAddress!, buffer.count) }
            guard count > 0, count < buffer.count else { return nil }
            return Array(UnsafeRawBufferPointer(buffer)[..<count])
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
