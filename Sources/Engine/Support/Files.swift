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

    /// Names in a directory of the engine's own, without `.` and `..`. Names that others chose are bytes
    /// (``LinuxKernel/FileNames``).
    static func list(_ path: String) throws(SystemError) -> [String] {
        try FileNames.list(at: path).map { String(decoding: $0, as: UTF8.self) }
    }
}
