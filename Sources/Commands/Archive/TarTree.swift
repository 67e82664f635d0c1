import CLinux
import Glibc
import LinuxKernel

private let slash = UInt8(ascii: "/")

/// A path for a message.
private func text(_ path: some Collection<UInt8>) -> String { String(decoding: path, as: UTF8.self) }

/// Writes a file or a directory tree of the user's as an archive.
struct TarPacker {
    /// Takes the archive's bytes.
    let send: ([UInt8]) throws -> Void
    /// Where names with more than one link were first seen, by device and inode.
    private var links: [String: [UInt8]] = [:]

    init(send: @escaping ([UInt8]) throws -> Void) { self.send = send }

    /// Writes `path` under the name `name`, with everything below it.
    mutating func add(_ path: String, as name: String, followsLink: Bool = false) throws {
        try add(RawBytes.bytes(path), as: RawBytes.bytes(name), followsLink: followsLink)
    }

    private mutating func add(_ path: [UInt8], as name: [UInt8], followsLink: Bool) throws {
        var status = stat()
        let result = withCString(path) { followsLink ? stat($0, &status) : lstat($0, &status) }
        if result != 0 { throw failure("lstat", path) }
        var header = TarHeader(
            name: name, kind: .file, mode: status.st_mode & 0o7777, owner: status.st_uid, group: status.st_gid,
            modified: Int64(status.st_mtim.tv_sec))
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            header.kind = .directory
            if header.name.last != slash { header.name.append(slash) }
            try send(header.blocks)
            for child in try children(of: path) {
                try add(path + [slash] + child, as: header.name + child, followsLink: false)
            }
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
        default: complain("\(text(path)) is neither a file nor a directory nor a link: left out")
        }
    }

    /// Ends the archive.
    func finish() throws { try send([UInt8](repeating: 0, count: 1024)) }

    private func failure(_ call: String, _ path: [UInt8]) -> CommandFailure {
        CommandFailure("\(call) \(text(path)): \(goReason(errno))")
    }

    private func children(of path: [UInt8]) throws -> [[UInt8]] {
        let directory = withCString(path) { open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        if directory < 0 { throw failure("open", path) }
        defer { close(directory) }
        return try FileNames.list(directory).sorted { $0.lexicographicallyPrecedes($1) }
    }

    private func sendContent(_ path: [UInt8], _ size: Int64) throws {
        let descriptor = withCString(path) { open($0, O_RDONLY | O_CLOEXEC) }
        if descriptor < 0 { throw failure("open", path) }
        defer { close(descriptor) }
        var left = size
        while left > 0 {
            var chunk = [UInt8](repeating: 0, count: Int(min(left, 1 << 17)))
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            if count < 0 { throw failure("read", path) }
            // The header has said how many bytes follow.
            if count == 0 { throw CommandFailure("\(text(path)) became shorter while it was read") }
            try send(Array(chunk[..<count]))
            left -= Int64(count)
        }
        try send(TarHeader.padding(size))
    }

    private func linkTarget(_ path: [UInt8]) throws(CommandFailure) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { target in
            withCString(path) {
                readlink($0, target.baseAddress!.assumingMemoryBound(to: CChar.self), target.count)
            }
        }
        if count < 0 { throw failure("readlink", path) }
        return Array(buffer[..<count])
    }
}

/// Unpacks an archive that a container made, so that nothing of it lands outside the directory: every name is resolved
/// beneath the directory's descriptor by the kernel (openat2(2), `RESOLVE_BENEATH`), links included (CVE-2018-15664).
struct TarUnpacker {
    private let root: Int32
    /// Takes the place of the first part of every name.
    private let renamed: (from: [UInt8], to: [UInt8])?
    /// Keep owners, setuid and setgid as the archive has them.
    private let keepsOwners: Bool
    /// Their modes and times are set last: what is put into them changes the times, and a mode may forbid to.
    private var directories: [(path: [UInt8], header: TarHeader)] = []

    init(into root: Int32, renaming: (from: String, to: String)?, keepsOwners: Bool) {
        self.root = root
        renamed = renaming.map { (from: RawBytes.bytes($0.from), to: RawBytes.bytes($0.to)) }
        self.keepsOwners = keepsOwners
    }

    /// - Returns: the bytes of the files' contents.
    mutating func unpack(_ reader: inout TarReader) throws -> Int64 {
        var total: Int64 = 0
        while let header = try reader.nextEntry() {
            total += header.size
            try unpack(header, &reader)
        }
        for (path, header) in directories.reversed() {
            let directory = try beneath(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
            try finish(directory.raw, header, path)
        }
        return total
    }

    private func beneath(_ name: [UInt8], _ flags: Int32) throws -> FileDescriptor {
        let descriptor = withCString(name.isEmpty ? [UInt8(ascii: ".")] : name) {
            clinux_openat2(
                root, $0, UInt64(UInt32(bitPattern: flags | O_CLOEXEC)), 0,
                CLINUX_RESOLVE_BENEATH | CLINUX_RESOLVE_NO_MAGICLINKS)
        }
        if descriptor < 0 {
            throw CommandFailure(
                errno == EXDEV
                    ? "refused to unpack \(text(name)): it leads out of the target directory"
                    : "cannot unpack \(text(name)): \(goReason(errno))")
        }
        return FileDescriptor(owning: descriptor)
    }

    /// The name as it is to be here; nil for the target directory itself.
    private func localName(_ name: [UInt8]) throws(CommandFailure) -> [[UInt8]] {
        var parts = name.split(separator: slash).map { Array($0) }.filter { !$0.elementsEqual(".".utf8) }
        if parts.contains(where: { $0.elementsEqual("..".utf8) }) {
            throw CommandFailure("refused to unpack \(text(name)): it leads out of the target directory")
        }
        if let renamed, parts.first == renamed.from { parts[0] = renamed.to }
        return parts
    }

    private func joined(_ parts: some Sequence<[UInt8]>) -> [UInt8] { Array(parts.joined(separator: [slash])) }

    private mutating func unpack(_ header: TarHeader, _ reader: inout TarReader) throws {
        let parts = try localName(header.name)
        guard let last = parts.last else { return }
        let parent = try beneath(joined(parts.dropLast()), O_RDONLY | O_DIRECTORY)
        let directory = parent.raw
        try withCString(last) { try make(header, joined(parts), $0, in: directory, &reader) }
    }

    /// Makes what is at `path`: `name` in the directory `parent`.
    private mutating func make(
        _ header: TarHeader, _ path: [UInt8], _ name: UnsafePointer<CChar>, in parent: Int32, _ reader: inout TarReader
    ) throws {
        if header.kind != .directory { try makeRoom(name, parent, path) }
        switch header.kind {
        case .directory:
            if mkdirat(parent, name, 0o700) != 0 && errno != EEXIST { throw failure(path) }
            directories.append((path, header))
        case .file:
            let file = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            if file < 0 { throw failure(path) }
            defer { close(file) }
            while let piece = try reader.content() {
                if !piece.withUnsafeBytes({ writeAll($0, to: file) }) { throw failure(path) }
            }
            try finish(file, header, path)
        case .symbolicLink(let target):
            // A link may say what it likes; nothing is ever written through it.
            if withCString(target, { symlinkat($0, parent, name) }) != 0 { throw failure(path) }
            if keepsOwners { fchownat(parent, name, header.owner, header.group, AT_SYMLINK_NOFOLLOW) }
        case .hardLink(let target):
            let parts = try localName(target)
            let directory = try beneath(joined(parts.dropLast()), O_RDONLY | O_DIRECTORY)
            let from = directory.raw
            if withCString(parts.last ?? [], { linkat(from, $0, parent, name, 0) }) != 0 { throw failure(path) }
        case .pipe:
            if mkfifoat(parent, name, header.mode & 0o777) != 0 { throw failure(path) }
        case .device:
            // A container may make device nodes that its own rules keep it from using; here nothing would.
            complain("\(text(header.name)) is a device: left out")
        }
    }

    private func makeRoom(_ name: UnsafePointer<CChar>, _ parent: Int32, _ shown: [UInt8]) throws {
        if unlinkat(parent, name, 0) == 0 || errno == ENOENT { return }
        if errno == EISDIR || errno == EPERM {
            throw CommandFailure("cannot overwrite directory \(quoted(text(shown))) with non-directory")
        }
        throw failure(shown)
    }

    private func finish(_ descriptor: Int32, _ header: TarHeader, _ name: [UInt8]) throws {
        if keepsOwners && fchown(descriptor, header.owner, header.group) != 0 { throw failure(name) }
        // Without --archive the files are the user's own: a setuid bit would then be a trap.
        if fchmod(descriptor, header.mode & (keepsOwners ? 0o7777 : 0o1777)) != 0 { throw failure(name) }
        let modified = timespec(tv_sec: Int(header.modified), tv_nsec: 0)
        var times = [modified, modified]
        futimens(descriptor, &times)
    }

    private func failure(_ name: [UInt8]) -> CommandFailure {
        CommandFailure("cannot unpack \(text(name)): \(goReason(errno))")
    }
}
