import Glibc

/// A file descriptor with one owner, closed when its owner goes away.
public struct FileDescriptor: ~Copyable, Sendable {
    public let raw: Int32

    /// Takes over an open descriptor.
    public init(owning raw: Int32) { self.raw = raw }

    /// Opens `path` with `O_CLOEXEC` added.
    public init(
        _ path: String, _ flags: Int32, mode: mode_t = 0, relativeTo directory: Int32 = AT_FDCWD
    ) throws(SystemError) {
        raw = try checked("open \(path)") { clinuxOpenAt(directory, path, flags | O_CLOEXEC, mode) }
    }

    /// Opens a name that need not be UTF-8, with `O_CLOEXEC` added.
    public init(
        name: UnsafePointer<CChar>, _ flags: Int32, mode: mode_t = 0, relativeTo directory: Int32
    ) throws(SystemError) {
        raw = try checked("open \(String(cString: name))") { openat(directory, name, flags | O_CLOEXEC, mode) }
    }

    /// Opens a name that need not be UTF-8, with `O_CLOEXEC` added.
    public init(
        bytes name: some Collection<UInt8>, _ flags: Int32, mode: mode_t = 0, relativeTo directory: Int32
    ) throws(SystemError) {
        raw = try withCString(name) { name throws(SystemError) in
            try checked("open \(String(cString: name))") { openat(directory, name, flags | O_CLOEXEC, mode) }
        }
    }

    /// Gives the descriptor away without closing it.
    public consuming func release() -> Int32 {
        let descriptor = raw
        discard self
        return descriptor
    }

    /// A second descriptor (close-on-exec) for the same open file.
    public func duplicate() throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try checked("dup") { fcntl(raw, F_DUPFD_CLOEXEC, 3) })
    }

    deinit { close(raw) }
}

private func clinuxOpenAt(_ directory: Int32, _ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 {
    openat(directory, path, flags, mode)
}
