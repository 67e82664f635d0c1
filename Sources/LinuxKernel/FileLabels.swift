import CLinux
import Glibc

/// The SELinux labels of files: the extended attribute `security.selinux` (xattr(7)).
public enum FileLabels {
    private static let attribute = "security.selinux"

    /// Whose labels the host itself depends on: what go-selinux refuses to relabel, and so dockerd and podman.
    private static let protected = [
        "/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib", "/lib64",
        "/media",
        "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log",
    ]

    /// Whether the file is one of those whose labels are the host's, by whatever path it was found.
    public static func isProtected(_ descriptor: Int32) -> Bool {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return true }
        return protected.contains { path in
            var other = stat()
            return stat(path, &other) == 0 && other.st_dev == status.st_dev && other.st_ino == status.st_ino
        }
    }

    /// The label of the file that a descriptor (`O_PATH` too) refers to; nil where it has none.
    public static func label(of descriptor: Int32) -> SecurityContext? { read(path(of: descriptor), clinux_getxattr) }

    /// Gives one file a label, unless it has it.
    ///
    /// - Throws: nothing where the file system has no labels of its own.
    public static func set(_ label: SecurityContext, on descriptor: Int32) throws(SystemError) {
        let path = path(of: descriptor)
        if read(path, clinux_getxattr) == label { return }
        try write(label.description, path, clinux_setxattr)
    }

    /// Gives a file, or a directory and everything in it, a label.
    ///
    /// Whoever may write in the tree can't lead this out of it: each name is used in the directory that was opened, no link
    /// is followed, and nothing but directories is opened. What is labeled so already is left alone, what goes away
    /// meanwhile or is on a file system without labels is passed over. The directory itself comes last, so that its label
    /// says that all of it was done.
    ///
    /// - Parameter tree: a descriptor, which may be an `O_PATH` one.
    public static func relabel(_ tree: Int32, _ label: SecurityContext) throws(SystemError) {
        var status = stat()
        try checked("stat") { fstat(tree, &status) }
        if status.st_mode & S_IFMT == S_IFDIR { try walk(tree, label) }
        try set(label, on: tree)
    }

    // MARK: The walk

    /// A directory that the walk is in.
    private struct Level {
        /// Names of directories in it that are still to be walked, with their final zero.
        var pending: [[CChar]]
        let device: dev_t
        let inode: ino_t
    }

    /// One descriptor however deep the tree is: the way back is `..`, which has to be where the walk came from.
    private static func walk(_ tree: Int32, _ label: SecurityContext) throws(SystemError) {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        var current = try FileDescriptor(".", flags, relativeTo: tree)
        var levels = [try enter(current.raw, label)]
        while !levels.isEmpty {
            if let name = levels[levels.count - 1].pending.popLast() {
                let next = openat(current.raw, name, flags)
                guard next >= 0 else {
                    // Gone, or something else by now, which was given the label when it was no directory or never.
                    if [ENOENT, ENOTDIR, ELOOP].contains(errno) { continue }
                    throw SystemError.current("open \(printable(name))")
                }
                current = FileDescriptor(owning: next)
                levels.append(try enter(current.raw, label))
                continue
            }
            levels.removeLast()
            guard let parent = levels.last else { return }
            let up = try FileDescriptor("..", flags, relativeTo: current.raw)
            var status = stat()
            try checked("stat") { fstat(up.raw, &status) }
            guard status.st_dev == parent.device, status.st_ino == parent.inode else {
                throw SystemError("a directory in it was moved meanwhile", errno: EAGAIN)
            }
            current = up
        }
    }

    /// Labels what is in a directory.
    private static func enter(_ directory: Int32, _ label: SecurityContext) throws(SystemError) -> Level {
        var status = stat()
        try checked("stat") { fstat(directory, &status) }
        var level = Level(pending: [], device: status.st_dev, inode: status.st_ino)
        // closedir closes the one it is given.
        let copy = try FileDescriptor(".", O_RDONLY | O_DIRECTORY, relativeTo: directory)
        guard let stream = fdopendir(copy.raw) else { throw SystemError.current("read a directory") }
        _ = copy.release()
        defer { closedir(stream) }
        let prefix = Array(path(of: directory).dropLast()) + [CChar(bitPattern: UInt8(ascii: "/"))]
        let text = label.description
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                    Array(UnsafeBufferPointer(start: $0, count: strlen($0) + 1))
                }
            }
            if name == [46, 0] || name == [46, 46, 0] { continue }
            let path = prefix + name
            if read(path, clinux_lgetxattr) != label { try write(text, path, clinux_lsetxattr) }
            if [DT_DIR, DT_UNKNOWN].contains(Int(entry.pointee.d_type)) { level.pending.append(name) }
        }
        return level
    }

    // MARK: Attributes

    /// The path, with its final zero, that leads through the descriptor: calls on attributes take no `O_PATH` one.
    private static func path(of descriptor: Int32) -> [CChar] { Array("/proc/self/fd/\(descriptor)".utf8CString) }

    private static func read(
        _ path: [CChar], _ get: (UnsafePointer<CChar>, UnsafePointer<CChar>, UnsafeMutableRawPointer, Int) -> Int
    ) -> SecurityContext? {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
            let count = get(path, attribute, buffer.baseAddress!, buffer.count)
            guard count > 0 else { return nil }
            return SecurityContext(String(decoding: buffer[..<count].prefix { $0 != 0 }, as: UTF8.self))
        }
    }

    private static func write(
        _ label: String, _ path: [CChar],
        _ set: (UnsafePointer<CChar>, UnsafePointer<CChar>, UnsafeRawPointer, Int) -> Int32
    ) throws(SystemError) {
        guard set(path, attribute, label, label.utf8.count) < 0, errno != ENOENT, errno != EOPNOTSUPP else { return }
        let number = errno
        // Through a directory, the last part is the name in it.
        let parts = path.split(separator: CChar(bitPattern: UInt8(ascii: "/")))
        throw SystemError(parts.count == 5 ? "label \(printable(parts[4]))" : "label", errno: number)
    }

    private static func printable(_ name: some Sequence<CChar>) -> String {
        String(decoding: name.lazy.map { UInt8(bitPattern: $0) }.prefix { $0 != 0 }, as: UTF8.self)
    }
}
