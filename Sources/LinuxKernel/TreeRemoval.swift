import Glibc

/// Removes directory trees through descriptors, never following a link, with few descriptors open at once and little of
/// the stack used, however deep the tree is.
public enum TreeRemoval {
    /// What is deeper is first moved up, into the directory that is removed.
    private static let maximumDepth = 64

    /// Removes what is at `path` with everything below it; nothing happens when it is missing.
    public static func remove(_ path: String) throws(SystemError) { try remove(path, in: AT_FDCWD) }

    /// Removes `name` in `parent` with everything below it; nothing happens when it is missing.
    public static func remove(_ name: UnsafePointer<CChar>, in parent: Int32) throws(SystemError) {
        if unlinkat(parent, name, 0) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw SystemError.current("remove \(String(cString: name))") }
        try removeDirectory(name, in: parent, top: nil, depth: 0)
    }

    private static func removeDirectory(
        _ name: UnsafePointer<CChar>, in parent: Int32, top: Int32?, depth: Int
    ) throws(SystemError) {
        while true {
            let descriptor = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            if descriptor < 0 {
                if errno == ENOENT { return }
                throw SystemError.current("remove \(String(cString: name))")
            }
            guard let stream = fdopendir(descriptor) else {
                close(descriptor)
                throw SystemError.current("read directory \(String(cString: name))")
            }
            defer { closedir(stream) }
            while let entry = readdir(stream) {
                try removeEntry(entry, in: descriptor, top: top ?? descriptor, depth: depth)
            }
            if unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT { return }
            // Entries may be skipped where a directory changes while it is read, as by what is moved up: look again.
            guard errno == ENOTEMPTY else { throw SystemError.current("remove \(String(cString: name))") }
        }
    }

    private static func removeEntry(
        _ entry: UnsafeMutablePointer<dirent>, in directory: Int32, top: Int32, depth: Int
    ) throws(SystemError) {
        let name = FileNames.name(of: entry)
        if FileNames.isDots(name) { return }
        if entry.pointee.d_type != DT_DIR {
            if unlinkat(directory, name, 0) == 0 || errno == ENOENT { return }
            guard errno == EISDIR else { throw SystemError.current("remove \(String(cString: name))") }
        }
        if depth < maximumDepth {
            return try removeDirectory(name, in: directory, top: top, depth: depth + 1)
        }
        let place = ".deleting-\(UInt64.random(in: .min ... .max))"
        try checked("move \(String(cString: name))") { renameat(directory, name, top, place) }
    }
}
