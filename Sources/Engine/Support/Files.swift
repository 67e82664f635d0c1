import Glibc
import LinuxKernel

/// Small file-system helpers for paths under the engine's own roots, which only root can write.
enum Files {
    static func makeDirectory(_ path: String, mode: mode_t) throws(SystemError) {
        if mkdir(path, mode) == 0 {
            // mkdir obeys the umask; the mode asked for is part of the contract.
            try checked("chmod \(path)") { chmod(path, mode) }
            return
        }
        let failure = errno
        var status = stat()
        if failure == EEXIST, stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { return }
        throw SystemError("mkdir \(path)", errno: failure)
    }

    /// Makes `path` and the directories above it.
    static func makeDirectories(_ path: String, mode: mode_t) throws(SystemError) {
        if mkdir(path, mode) == 0 { return }
        switch errno {
        case EEXIST:
            try makeDirectory(path, mode: mode)
        case ENOENT:
            try makeDirectories(Paths.parent(path), mode: 0o755)
            try makeDirectory(path, mode: mode)
        default:
            throw SystemError.current("mkdir \(path)")
        }
    }

    static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Writes a whole file, replacing what was there. Not atomic: for files nobody reads before the caller is done.
    static func write(_ path: String, _ bytes: [UInt8], mode: mode_t = 0o600) throws(SystemError) {
        let file = try FileDescriptor(path, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        try write(file.raw, bytes, path)
        try checked("fchmod \(path)") { fchmod(file.raw, mode) }
    }

    static func write(_ path: String, _ text: String, mode: mode_t = 0o600) throws(SystemError) {
        try write(path, Array(text.utf8), mode: mode)
    }

    /// Replaces a file atomically: readers see the old content or the new.
    static func replace(_ path: String, _ bytes: [UInt8], mode: mode_t = 0o600) throws(SystemError) {
        let staged = path + ".new"
        try write(staged, bytes, mode: mode)
        try checked("rename \(staged)") { rename(staged, path) }
    }

    static func write(_ descriptor: Int32, _ bytes: [UInt8], _ path: String) throws(SystemError) {
        var offset = 0
        while offset < bytes.count {
            let count = try checked("write \(path)") {
                bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + offset, $0.count - offset) }
            }
            offset += count
        }
    }

    /// Reads a file of at most `limit` bytes; a longer one is an error (EFBIG).
    static func read(_ path: String, limit: Int = 1 << 20) throws(SystemError) -> [UInt8] {
        let file = try FileDescriptor(path, O_RDONLY)
        return try read(file.raw, path, limit: limit)
    }

    static func read(_ descriptor: Int32, _ path: String, limit: Int = 1 << 20) throws(SystemError) -> [UInt8] {
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = try checked("read \(path)") { Glibc.read(descriptor, &buffer, buffer.count) }
            if count == 0 { return result }
            result.append(contentsOf: buffer[..<count])
            if result.count > limit { throw SystemError("read \(path)", errno: EFBIG) }
        }
    }

    static func text(_ path: String, limit: Int = 1 << 20) throws(SystemError) -> String {
        String(decoding: try read(path, limit: limit), as: UTF8.self)
    }

    /// Names in a directory, without `.` and `..`.
    static func list(_ path: String) throws(SystemError) -> [String] {
        guard let directory = opendir(path) else { throw SystemError.current("open \(path)") }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Removes a tree without following symbolic links and without leaving its file system. What is not there is not
    /// an error.
    static func removeTree(_ path: String) throws(SystemError) {
        if unlink(path) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw SystemError.current("unlink \(path)") }
        do throws(SystemError) {
            let directory = try FileDescriptor(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
            try empty(directory.raw, path, depth: 0)
        } catch {
            if error.errno != ENOENT { throw error }
        }
        if rmdir(path) != 0, errno != ENOENT { throw SystemError.current("rmdir \(path)") }
    }

    /// Deeper than this, what is inside is moved up first: the recursion's stack and descriptors stay bounded however
    /// deep a container made its directories.
    private static let maximumDepth = 64

    private static func empty(_ directory: Int32, _ path: String, depth: Int) throws(SystemError) {
        // A second descriptor: closedir closes the one it is given.
        let copy = try checked("dup") { fcntl(directory, F_DUPFD_CLOEXEC, 3) }
        guard let stream = fdopendir(copy) else {
            close(copy)
            throw SystemError.current("open \(path)")
        }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            if unlinkat(directory, name, 0) == 0 || errno == ENOENT { continue }
            guard errno == EISDIR || errno == EPERM else { throw SystemError.current("unlink \(path)/\(name)") }
            let raw = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard raw >= 0 else {
                if errno == ENOENT { continue }
                throw SystemError.current("open \(path)/\(name)")
            }
            let child = FileDescriptor(owning: raw)
            if depth >= maximumDepth {
                try hoist(child.raw, to: directory, "\(path)/\(name)")
                rewinddir(stream)
            } else {
                try empty(child.raw, "\(path)/\(name)", depth: depth + 1)
            }
            if unlinkat(directory, name, AT_REMOVEDIR) != 0, errno != ENOENT {
                throw SystemError.current("rmdir \(path)/\(name)")
            }
        }
    }

    /// Moves everything in `child` up into `parent` under unused names.
    private static func hoist(_ child: Int32, to parent: Int32, _ path: String) throws(SystemError) {
        let copy = try checked("dup") { fcntl(child, F_DUPFD_CLOEXEC, 3) }
        guard let stream = fdopendir(copy) else {
            close(copy)
            throw SystemError.current("open \(path)")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        for name in names {
            if unlinkat(child, name, 0) == 0 { continue }
            try checked("rename \(path)/\(name)") {
                renameat(child, name, parent, ".deleting-" + Identifier.random())
            }
        }
    }
}
