import CLinux
import Glibc
import LinuxKernel

/// Writes a file or a directory tree of the user's as an archive.
struct TarPacker {
    /// Takes the archive's bytes.
    let send: ([UInt8]) throws -> Void
    /// Where names with more than one link were first seen, by device and inode.
    private var links: [String: String] = [:]

    init(send: @escaping ([UInt8]) throws -> Void) { self.send = send }

    /// Writes `path` under the name `name`, with everything below it.
    mutating func add(_ path: String, as name: String, followsLink: Bool = false) throws {
        var status = stat()
        let result = followsLink ? stat(path, &status) : lstat(path, &status)
        if result != 0 { throw CommandFailure("lstat \(path): \(goReason(errno))") }
        var header = TarHeader(
            name: name, kind: .file, mode: status.st_mode & 0o7777, owner: status.st_uid, group: status.st_gid,
            modified: Int64(status.st_mtim.tv_sec))
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            header.kind = .directory
            if !header.name.hasSuffix("/") { header.name += "/" }
            try send(header.blocks)
            for child in try directoryEntries(path) { try add("\(path)/\(child)", as: header.name + child) }
        case S_IFLNK:
            header.kind = .symbolicLink(to: try linkTarget(path))
            try send(header.blocks)
        case S_IFREG:
            let key = "\(status.st_dev):\(status.st_ino)"
            if status.st_nlink > 1, let first = links[key] {
                header.kind = .hardLink(to: first)
                try send(header.blocks)
                return
            }
            links[key] = name
            header.size = Int64(status.st_size)
            try send(header.blocks)
            try sendContent(path, header.size)
        case S_IFIFO:
            header.kind = .pipe
            try send(header.blocks)
        // A socket means nothing elsewhere; a device belongs to its host.
        default: complain("\(path) is neither a file nor a directory nor a link: left out")
        }
    }

    /// Ends the archive.
    func finish() throws { try send([UInt8](repeating: 0, count: 1024)) }

    private func sendContent(_ path: String, _ size: Int64) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { throw CommandFailure("open \(path): \(goReason(errno))") }
        defer { close(descriptor) }
        var left = size
        while left > 0 {
            var chunk = [UInt8](repeating: 0, count: Int(min(left, 1 << 17)))
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            if count < 0 { throw CommandFailure("read \(path): \(goReason(errno))") }
            // The header has said how many bytes follow.
            if count == 0 { throw CommandFailure("\(path) became shorter while it was read") }
            try send(Array(chunk[..<count]))
            left -= Int64(count)
        }
        try send(TarHeader.padding(size))
    }

    private func linkTarget(_ path: String) throws(CommandFailure) -> String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes {
            readlink(path, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
        }
        if count < 0 { throw CommandFailure("readlink \(path): \(goReason(errno))") }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }
}

/// Unpacks an archive that a container made, so that nothing of it lands outside the directory: every name is resolved
/// beneath the directory's descriptor by the kernel (openat2(2), `RESOLVE_BENEATH`), links included (CVE-2018-15664).
struct TarUnpacker {
    private let root: Int32
    /// Takes the place of the first part of every name.
    private let renamed: (from: String, to: String)?
    /// Keep owners, setuid and setgid as the archive has them.
    private let keepsOwners: Bool
    private var directoryTimes: [(name: String, modified: Int64)] = []

    init(into root: Int32, renaming: (from: String, to: String)?, keepsOwners: Bool) {
        self.root = root
        renamed = renaming
        self.keepsOwners = keepsOwners
    }

    /// - Returns: the bytes of the files' contents.
    mutating func unpack(_ reader: inout TarReader) throws -> Int64 {
        var total: Int64 = 0
        while let header = try reader.nextEntry() {
            total += header.size
            try unpack(header, &reader)
        }
        // Only now: what was put into them has changed their times.
        for (name, modified) in directoryTimes.reversed() {
            let directory = try beneath(name, O_RDONLY | O_DIRECTORY)
            var times = [timespec(tv_sec: Int(modified), tv_nsec: 0), timespec(tv_sec: Int(modified), tv_nsec: 0)]
            futimens(directory.raw, &times)
        }
        return total
    }

    private func beneath(_ name: String, _ flags: Int32) throws -> FileDescriptor {
        let descriptor = clinux_openat2(
            root, name.isEmpty ? "." : name, UInt64(UInt32(bitPattern: flags | O_CLOEXEC)), 0,
            CLINUX_RESOLVE_BENEATH | CLINUX_RESOLVE_NO_MAGICLINKS)
        if descriptor < 0 {
            throw CommandFailure(
                errno == EXDEV
                    ? "refused to unpack \(name): it leads out of the target directory"
                    : "cannot unpack \(name): \(goReason(errno))")
        }
        return FileDescriptor(owning: descriptor)
    }

    /// The name as it is to be here; nil for the target directory itself.
    private func localName(_ name: String) throws(CommandFailure) -> [Substring] {
        var parts = name.split(separator: "/").filter { $0 != "." }
        if parts.contains("..") {
            throw CommandFailure("refused to unpack \(name): it leads out of the target directory")
        }
        if let renamed, let first = parts.first, first == renamed.from { parts[0] = renamed.to[...] }
        return parts
    }

    private mutating func unpack(_ header: TarHeader, _ reader: inout TarReader) throws {
        let parts = try localName(header.name)
        let name = parts.joined(separator: "/")
        guard let last = parts.last.map(String.init) else {
            return
        }
        let parent = try beneath(parts.dropLast().joined(separator: "/"), O_RDONLY | O_DIRECTORY)
        if header.kind != .directory { try makeRoom(last, parent.raw, name) }
        switch header.kind {
        case .directory:
            if mkdirat(parent.raw, last, 0o700) != 0 && errno != EEXIST { throw failure(name) }
            let directory = openat(parent.raw, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            if directory < 0 { throw failure(name) }
            defer { close(directory) }
            try finish(directory, header, name)
            directoryTimes.append((name, header.modified))
        case .file:
            let file = openat(parent.raw, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            if file < 0 { throw failure(name) }
            defer { close(file) }
            while let piece = try reader.content() {
                if !piece.withUnsafeBytes({ writeAll($0, to: file) }) { throw failure(name) }
            }
            try finish(file, header, name)
            var times = [
                timespec(tv_sec: Int(header.modified), tv_nsec: 0), timespec(tv_sec: Int(header.modified), tv_nsec: 0),
            ]
            futimens(file, &times)
        case .symbolicLink(let target):
            // A link may say what it likes; nothing is ever written through it.
            if symlinkat(target, parent.raw, last) != 0 { throw failure(name) }
            if keepsOwners { fchownat(parent.raw, last, header.owner, header.group, AT_SYMLINK_NOFOLLOW) }
        case .hardLink(let target):
            let targetParts = try localName(target)
            let directory = try beneath(targetParts.dropLast().joined(separator: "/"), O_RDONLY | O_DIRECTORY)
            if linkat(directory.raw, String(targetParts.last ?? ""), parent.raw, last, 0) != 0 { throw failure(name) }
        case .pipe:
            if mkfifoat(parent.raw, last, header.mode & 0o777) != 0 { throw failure(name) }
        case .device:
            // A container may make device nodes that its own rules keep it from using; here nothing would.
            complain("\(header.name) is a device: left out")
        }
    }

    private func makeRoom(_ name: String, _ parent: Int32, _ shown: String) throws {
        if unlinkat(parent, name, 0) == 0 || errno == ENOENT { return }
        if errno == EISDIR || errno == EPERM {
            throw CommandFailure("cannot overwrite directory \(quoted(shown)) with non-directory")
        }
        throw failure(shown)
    }

    private func finish(_ descriptor: Int32, _ header: TarHeader, _ name: String) throws {
        if keepsOwners && fchown(descriptor, header.owner, header.group) != 0 { throw failure(name) }
        // Without --archive the files are the user's own: a setuid bit would then be a trap.
        if fchmod(descriptor, header.mode & (keepsOwners ? 0o7777 : 0o1777)) != 0 { throw failure(name) }
    }

    private func failure(_ name: String) -> CommandFailure {
        CommandFailure("cannot unpack \(name): \(goReason(errno))")
    }
}
