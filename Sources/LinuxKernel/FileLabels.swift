import CLinux
import Glibc

/// The SELinux labels of files: the extended attribute `security.selinux` (xattr(7)).
public enum FileLabels {
    private static let attribute = "security.selinux"

    /// Whose labels the host itself depends on: what go-selinux refuses to relabel, and so dockerd and podman.
    private static let protected = [
        "/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib", "/lib64",
        "/media", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib",
        "/var/log",
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
        try write(label, path, "label", clinux_setxattr)
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
        /// Names of directories in it that are still to be walked.
        var pending: [[UInt8]]
        let device: dev_t
        let inode: ino_t
    }

    /// One descriptor however deep the tree is: the way back is `..`, which has to be where the walk came from.
    private static func walk(_ tree: Int32, _ label: SecurityContext) throws(SystemError) {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
        var current = try FileDescriptor(".", flags, relativeTo: tree)
        var levels = [try enter(current.raw, label)]
        while !levels.isEmpty {
            if let name = levels[levels.count - 1].pending.popLast() {
                do throws(SystemError) {
                    current = try FileDescriptor(bytes: name, flags, relativeTo: current.raw)
                } catch {
                    // Gone, or something else by now, which was given the label when it was no directory or never.
                    if [ENOENT, ENOTDIR, ELOOP].contains(error.errno) { continue }
                    throw error
                }
                levels.append(try enter(current.raw, label))
                continue
            }
            levels.removeLast()
            guard let parent = levels.last else { return }
            current = try FileDescriptor("..", flags, relativeTo: current.raw)
            var status = stat()
            try checked("stat") { fstat(current.raw, &status) }
            guard status.st_dev == parent.device, status.st_ino == parent.inode else {
                throw SystemError("a directory in it was moved meanwhile", errno: EAGAIN)
            }
        }
    }

    /// Labels what is in a directory.
    private static func enter(_ directory: Int32, _ label: SecurityContext) throws(SystemError) -> Level {
        var status = stat()
        try checked("stat") { fstat(directory, &status) }
        var level = Level(pending: [], device: status.st_dev, inode: status.st_ino)
        let prefix = path(of: directory) + [UInt8(ascii: "/")]
        for name in try FileNames.list(directory) {
            let path = prefix + name
            if read(path, clinux_lgetxattr) != label {
                try write(label, path, "label \(printable(name))", clinux_lsetxattr)
            }
            let isDirectory = withCString(name) {
                fstatat(directory, $0, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_mode & S_IFMT == S_IFDIR
            }
            if isDirectory { level.pending.append(name) }
        }
        return level
    }

    // MARK: Attributes

    /// The path that leads through the descriptor: calls on attributes take no `O_PATH` one.
    private static func path(of descriptor: Int32) -> [UInt8] { Array("/proc/self/fd/\(descriptor)".utf8) }

    private static func read(
        _ path: [UInt8], _ get: (UnsafePointer<CChar>, UnsafePointer<CChar>, UnsafeMutableRawPointer, Int) -> Int
    ) -> SecurityContext? {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
            let count = withCString(path) { get($0, attribute, buffer.baseAddress!, buffer.count) }
            guard count > 0 else { return nil }
            return SecurityContext(String(decoding: buffer[..<count].prefix { $0 != 0 }, as: UTF8.self))
        }
    }

    private static func write(
        _ label: SecurityContext, _ path: [UInt8], _ operation: @autoclosure () -> String,
        _ set: (UnsafePointer<CChar>, UnsafePointer<CChar>, UnsafeRawPointer, Int) -> Int32
    ) throws(SystemError) {
        let text = label.description
        let result = withCString(path) { set($0, attribute, text, text.utf8.count) }
        guard result < 0, errno != ENOENT, errno != EOPNOTSUPP else { return }
        throw SystemError.current(operation())
    }
}
