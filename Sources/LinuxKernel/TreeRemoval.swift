import Glibc
import LinuxKernel

/// Removes directory trees through descriptors, never following a link, with few descriptors open at once however deep
/// the tree is.
enum TreeRemoval {
    private static let maximumDepth = 64

    /// Removes `name` in `parent` with everything below it; nothing happens when it is missing.
    /// - Parameter overflow: a directory on the same file system; what is too deep is moved there and removed from there.
    static func remove(_ name: UnsafePointer<CChar>, in parent: Int32, overflow: Int32) throws(SystemError) {
        if unlinkat(parent, name, 0) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw SystemError.current("remove \(String(cString: name))") }
        var moved: [String] = []
        try removeDirectory(name, in: parent, overflow: overflow, depth: 0, moved: &moved)
        while let next = moved.popLast() {
            try removeDirectory(next, in: overflow, overflow: overflow, depth: 0, moved: &moved)
        }
    }

    private static func removeDirectory(
        _ name: UnsafePointer<CChar>, in parent: Int32, overflow: Int32, depth: Int, moved: inout [String]
    ) throws(SystemError) {
        while true {
            let descriptor = try checked("remove \(String(cString: name))") {
                openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            }
            guard let directory = fdopendir(descriptor) else {
                close(descriptor)
                throw SystemError.current("read directory \(String(cString: name))")
            }
            defer { closedir(directory) }
            while let entry = readdir(directory) {
                try removeEntry(entry, in: descriptor, overflow: overflow, depth: depth, moved: &moved)
            }
            if unlinkat(parent, name, AT_REMOVEDIR) == 0 { return }
            // Entries may be skipped where a directory changes while it is read: look again.
            guard errno == ENOTEMPTY else { throw SystemError.current("remove \(String(cString: name))") }
        }
    }

    private static func removeEntry(
        _ entry: UnsafeMutablePointer<dirent>, in directory: Int32, overflow: Int32, depth: Int, moved: inout [String]
    ) throws(SystemError) {
        let name = UnsafeRawPointer(entry).advanced(by: MemoryLayout<dirent>.offset(of: \.d_name)!)
            .assumingMemoryBound(to: CChar.self)
        if strcmp(name, ".") == 0 || strcmp(name, "..") == 0 { return }
        if entry.pointee.d_type != DT_DIR {
            if unlinkat(directory, name, 0) == 0 || errno == ENOENT { return }
            guard errno == EISDIR else { throw SystemError.current("remove \(String(cString: name))") }
        }
        if depth < maximumDepth {
            try removeDirectory(name, in: directory, overflow: overflow, depth: depth + 1, moved: &moved)
            return
        }
        let place = ".overflow-\(UInt64.random(in: .min ... .max))"
        try checked("move \(String(cString: name))") { renameat(directory, name, overflow, place) }
        moved.append(place)
    }
}
