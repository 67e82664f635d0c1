import CLinux
import Glibc
import LinuxKernel

/// `tmpcopyup`: a tmpfs that starts with what the directory below it holds.
enum CopyUp {
    /// Deeper trees than this are refused, so that a hostile image can't exhaust the stack.
    private static let maximumDepth = 128

    /// Copies all entries of the directory `source` into the directory `target`. No link is followed; ownership, modes
    /// and times are kept, device nodes are left out where they can't be made.
    static func copy(from source: Int32, to target: Int32) throws(SystemError) {
        try copy(from: source, to: target, depth: 0)
    }

    private static func copy(from source: Int32, to target: Int32, depth: Int) throws(SystemError) {
        guard depth < maximumDepth else { throw SystemError("copy a directory tree", errno: ELOOP) }
        for name in try FileNames.list(source) {
            try withCString(name) { name throws(SystemError) in
                try copy(name, from: source, to: target, depth: depth)
            }
        }
    }

    private static func copy(
        _ name: UnsafePointer<CChar>, from source: Int32, to target: Int32, depth: Int
    ) throws(SystemError) {
        let shown = String(cString: name)
        var status = stat()
        try checked("stat \(shown)") { fstatat(source, name, &status, AT_SYMLINK_NOFOLLOW) }
        let mode = status.st_mode & 0o7777
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            try checked("mkdir \(shown)") { mkdirat(target, name, 0o700) }
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
            let from = try FileDescriptor(name: name, flags, relativeTo: source)
            let to = try FileDescriptor(name: name, flags, relativeTo: target)
            try copy(from: from.raw, to: to.raw, depth: depth + 1)
        case S_IFREG:
            let from = try FileDescriptor(name: name, O_RDONLY | O_NOFOLLOW, relativeTo: source)
            let to = try FileDescriptor(
                name: name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600, relativeTo: target)
            try copyData(from.raw, to.raw)
        case S_IFLNK:
            try copyLink(name, source, target)
        default:
            if mknodat(target, name, status.st_mode, status.st_rdev) < 0 { return }
        }
        try checked("chown \(shown)") {
            fchownat(target, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW)
        }
        if status.st_mode & S_IFMT != S_IFLNK {
            try checked("chmod \(shown)") { fchmodat(target, name, mode, 0) }
        }
        var times = [status.st_atim, status.st_mtim]
        utimensat(target, name, &times, AT_SYMLINK_NOFOLLOW)
    }

    private static func copyData(_ from: Int32, _ to: Int32) throws(SystemError) {
        while true {
            let count = try checked("copy a file") { sendfile(to, from, nil, 1 << 30) }
            if count == 0 { return }
        }
    }

    private static func copyLink(
        _ name: UnsafePointer<CChar>, _ source: Int32, _ target: Int32
    ) throws(SystemError) {
        let shown = String(cString: name)
        try withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX) + 1) {
            buffer throws(SystemError) -> Void in
            let count = try checked("readlink \(shown)") {
                readlinkat(source, name, buffer.baseAddress!, Int(PATH_MAX))
            }
            buffer[count] = 0
            try checked("symlink \(shown)") { symlinkat(buffer.baseAddress!, target, name) }
        }
    }
}
