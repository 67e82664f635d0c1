import CLinux
import Glibc
import LinuxKernel

/// Copies directory trees through descriptors, with everything that files have: owners, modes, times, extended
/// attributes, hard links, holes, devices. Links are copied, never followed.
public enum TreeCopy {
    /// Deeper trees are refused: each level holds two descriptors.
    private static let maximumDepth = 200

    /// Copies what is in the directory `source` into the directory `destination`, and the directory's own attributes.
    ///
    /// This is how a new volume gets the image's content: both descriptors were resolved inside their roots, and nothing
    /// is looked up by path after that. Entries that the destination has already are an error (`EEXIST`).
    public static func copyContents(of source: Int32, to destination: Int32) throws(SystemError) {
        var links: [LinkKey: [UInt8]] = [:]
        try copy(source, destination, path: [], root: destination, depth: 0, links: &links)
    }

    /// Gives the directory `destination` the owner, mode, times and extended attributes of the directory `source`:
    /// what a container's upper directory needs, since it stands for the root directory of all layers.
    public static func copyAttributes(of source: Int32, to destination: Int32) throws(SystemError) {
        var status = stat()
        try checked("fstat") { fstat(source, &status) }
        try copyAttributes(from: source, to: destination, status)
    }

    private struct LinkKey: Hashable {
        var device: UInt
        var inode: UInt
    }

    private static func copy(
        _ source: Int32, _ destination: Int32, path: [UInt8], root: Int32, depth: Int,
        links: inout [LinkKey: [UInt8]]
    ) throws(SystemError) {
        guard depth < maximumDepth else {
            throw SystemError("copy \(printable(path)): more than \(maximumDepth) directories deep", errno: ELOOP)
        }
        // The stream owns its descriptor; one of its own keeps the caller's offset.
        let opened = try checked("open directory \(printable(path))") {
            openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        guard let directory = fdopendir(opened) else {
            close(opened)
            throw SystemError.current("read directory \(printable(path))")
        }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = UnsafeRawPointer(entry).advanced(by: MemoryLayout<dirent>.offset(of: \.d_name)!)
                .assumingMemoryBound(to: CChar.self)
            if strcmp(name, ".") == 0 || strcmp(name, "..") == 0 { continue }
            let bytes = UnsafeRawBufferPointer(start: name, count: strlen(name))
            let full = path + (path.isEmpty ? [] : [UInt8(ascii: "/")]) + bytes
            try copyEntry(name, opened, destination, path: full, root: root, depth: depth, links: &links)
        }
        var status = stat()
        try checked("fstat") { fstat(source, &status) }
        try copyAttributes(from: source, to: destination, status)
    }

    private static func copyEntry(
        _ name: UnsafePointer<CChar>, _ source: Int32, _ destination: Int32, path: [UInt8], root: Int32, depth: Int,
        links: inout [LinkKey: [UInt8]]
    ) throws(SystemError) {
        var status = stat()
        try checked("look at \(printable(path))") { fstatat(source, name, &status, AT_SYMLINK_NOFOLLOW) }
        let type = status.st_mode & S_IFMT
        if type != S_IFDIR && status.st_nlink > 1 {
            let key = LinkKey(device: UInt(status.st_dev), inode: UInt(status.st_ino))
            if let first = links[key] {
                let result = withCString(first) { linkat(root, $0, destination, name, 0) }
                if result < 0 { throw SystemError.current("link \(printable(path))") }
                return
            }
            links[key] = path
        }
        switch type {
        case S_IFDIR:
            try checked("make directory \(printable(path))") { mkdirat(destination, name, 0o700) }
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
            let from = try FileDescriptor(String(cString: name), flags, relativeTo: source)
            let to = try FileDescriptor(String(cString: name), flags, relativeTo: destination)
            try copy(from.raw, to.raw, path: path, root: root, depth: depth + 1, links: &links)
        case S_IFREG:
            let from = FileDescriptor(
                owning: try checked("open \(printable(path))") {
                    openat(source, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                })
            let to = FileDescriptor(
                owning: try checked("make \(printable(path))") {
                    openat(destination, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
                })
            try copyFile(from: from.raw, to: to.raw)
        case S_IFLNK:
            try copyLink(name, source, destination, path: path, status)
        case S_IFSOCK:
            // A socket means nothing without the process that listens on it.
            return
        default:
            try checked("make \(printable(path))") { mknodat(destination, name, type | 0o600, status.st_rdev) }
            try copyOwnerAndTimes(name, destination, path: path, status)
            try checked("change mode of \(printable(path))") {
                fchmodat(destination, name, status.st_mode & 0o7777, 0)
            }
        }
    }

    private static func copyLink(
        _ name: UnsafePointer<CChar>, _ source: Int32, _ destination: Int32, path: [UInt8], _ status: stat
    ) throws(SystemError) {
        var target = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        try checked("read link \(printable(path))") { readlinkat(source, name, &target, Int(PATH_MAX)) }
        try checked("make link \(printable(path))") { symlinkat(target, destination, name) }
        try copyOwnerAndTimes(name, destination, path: path, status)
    }

    private static func copyOwnerAndTimes(
        _ name: UnsafePointer<CChar>, _ directory: Int32, path: [UInt8], _ status: stat
    ) throws(SystemError) {
        try checked("change owner of \(printable(path))") {
            fchownat(directory, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW)
        }
        try FileAttributes.setTimes(
            name, in: directory, Int64(status.st_mtim.tv_sec), status.st_mtim.tv_nsec)
    }

    /// Copies a regular file's data, holes left as holes, and its attributes.
    static func copyFile(from source: Int32, to destination: Int32) throws(SystemError) {
        var status = stat()
        try checked("fstat") { fstat(source, &status) }
        if clinux_clone_file(destination, source) < 0 { try copyData(source, destination, size: status.st_size) }
        try copyAttributes(from: source, to: destination, status)
    }

    private static func copyData(_ source: Int32, _ destination: Int32, size: off_t) throws(SystemError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
        defer { buffer.deallocate() }
        var offset: off_t = 0
        while offset < size {
            let data = clinux_seek_data(source, offset)
            if data < 0 {
                // Nothing but a hole is left.
                if errno == ENXIO { break }
                throw SystemError.current("seek")
            }
            let hole = try checked("seek") { clinux_seek_hole(source, data) }
            offset = data
            while offset < hole {
                let count = try checked("read a file") {
                    pread(source, buffer.baseAddress, min(buffer.count, hole - offset), offset)
                }
                // The file was made shorter meanwhile.
                if count == 0 { break }
                var done = 0
                while done < count {
                    done += try checked("write a file") {
                        pwrite(destination, buffer.baseAddress! + done, count - done, offset + done)
                    }
                }
                offset += count
            }
            offset = max(offset, hole)
        }
        try checked("size a file") { ftruncate(destination, size) }
    }

    private static func copyAttributes(from source: Int32, to destination: Int32, _ status: stat) throws(SystemError) {
        try checked("change owner") { fchown(destination, status.st_uid, status.st_gid) }
        try checked("change mode") { fchmod(destination, status.st_mode & 0o7777) }
        try FileAttributes.setExtended(try FileAttributes.extended(of: source), on: destination)
        try FileAttributes.setTimes(destination, Int64(status.st_mtim.tv_sec), status.st_mtim.tv_nsec)
    }
}
