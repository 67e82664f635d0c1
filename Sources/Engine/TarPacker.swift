import CLinux
import Glibc
import LinuxKernel

/// Writes directory trees as a tar stream: ustar with PAX records where that doesn't suffice (POSIX.1-2001, "pax
/// Interchange Format"). Links are packed, never followed.
final class TarPacker {
    private let output: Int32
    private var buffer: [UInt8] = []
    /// Hard links by device and inode: the name under which the file was packed first.
    private var packed: [String: String] = [:]
    /// Whether mounts below the tree are left out.
    private let staysOnMount: Bool
    private static let bufferSize = 256 << 10
    private static let maximumDepth = 512

    init(output: Int32, staysOnMount: Bool) {
        self.output = output
        self.staysOnMount = staysOnMount
    }

    /// Packs `name` in `directory`, with everything below it, under `archiveName`.
    func add(_ name: String, in directory: Int32, as archiveName: String) throws {
        try add(name, in: directory, as: archiveName, depth: 0)
    }

    /// Packs what is in `directory`, without the directory itself.
    func addContents(of directory: Int32, under prefix: String) throws {
        for name in try names(in: directory) { try add(name, in: directory, as: prefix + name, depth: 0) }
    }

    func finish() throws {
        buffer += [UInt8](repeating: 0, count: 1024)
        try flush()
    }

    private func add(_ name: String, in directory: Int32, as archiveName: String, depth: Int) throws {
        guard depth < TarPacker.maximumDepth else { throw SystemError("pack \(archiveName)", errno: ELOOP) }
        var status = stat()
        guard fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            // It went away while the tree was read: a container may run.
            if errno == ENOENT { return }
            throw SystemError.current("look at \(archiveName)")
        }
        var header = TarPackedHeader(name: archiveName, status: status)
        if status.st_nlink > 1, status.st_mode & S_IFMT != S_IFDIR {
            let key = "\(status.st_dev):\(status.st_ino)"
            if let first = packed[key] {
                header.makeHardLink(to: first)
                buffer += header.encoded()
                return try flushIfLarge()
            }
            packed[key] = archiveName
        }
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            guard let opened = try openDirectory(name, in: directory) else { return }
            header.extendedAttributes = ExtendedAttributes.all(of: opened.raw)
            buffer += header.encoded()
            try flushIfLarge()
            for child in try names(in: opened.raw) {
                try add(child, in: opened.raw, as: archiveName + "/" + child, depth: depth + 1)
            }
        case S_IFREG:
            try addFile(name, in: directory, &header, size: Int64(status.st_size))
        case S_IFLNK:
            var target = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
            let count = try checked("readlink \(archiveName)") { readlinkat(directory, name, &target, Int(PATH_MAX)) }
            header.link = String(decoding: target[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            buffer += header.encoded()
        case S_IFSOCK:
            // Sockets can't be archived; nobody could connect to a copy.
            return
        default:
            buffer += header.encoded()
        }
        try flushIfLarge()
    }

    /// nil for what is mounted there, where that is to be left out, and for what has gone.
    private func openDirectory(_ name: String, in directory: Int32) throws -> FileDescriptor? {
        var resolve = CLINUX_RESOLVE_NO_SYMLINKS
        if staysOnMount { resolve |= CLINUX_RESOLVE_NO_XDEV }
        let flags = UInt64(O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        let opened = clinux_openat2(directory, name, flags, 0, resolve)
        if opened >= 0 { return FileDescriptor(owning: opened) }
        if [ENOENT, EXDEV, ENOTDIR, ELOOP].contains(errno) { return nil }
        throw SystemError.current("open \(name)")
    }

    private func addFile(
        _ name: String, in directory: Int32, _ header: inout TarPackedHeader, size: Int64
    ) throws {
        let opened = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        if opened < 0, errno == ENOENT { return }
        guard opened >= 0 else { throw SystemError.current("open \(name)") }
        let file = FileDescriptor(owning: opened)
        header.extendedAttributes = ExtendedAttributes.all(of: file.raw)
        buffer += header.encoded()
        var left = size
        var chunk = [UInt8](repeating: 0, count: 128 << 10)
        while left > 0 {
            let wanted = Int(min(left, Int64(chunk.count)))
            let count = try checked("read \(name)") { read(file.raw, &chunk, wanted) }
            // A file that shrinks meanwhile is filled up: its size has been said.
            buffer += count == 0 ? [UInt8](repeating: 0, count: wanted) : Array(chunk[..<count])
            left -= Int64(count == 0 ? wanted : count)
            try flushIfLarge()
        }
        buffer += [UInt8](repeating: 0, count: Int((512 - size % 512) % 512))
    }

    private func names(in directory: Int32) throws(SystemError) -> [String] {
        let copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0, let stream = fdopendir(copy) else { throw SystemError.current("read a directory") }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    private func flushIfLarge() throws { if buffer.count >= TarPacker.bufferSize { try flush() } }

    private func flush() throws {
        try Files.write(output, buffer, "the archive")
        buffer.removeAll(keepingCapacity: true)
    }
}

/// Extended attributes that travel in archives.
enum ExtendedAttributes {
    static func all(of descriptor: Int32) -> [(name: String, value: [UInt8])] {
        var list = [CChar](repeating: 0, count: 64 << 10)
        let length = flistxattr(descriptor, &list, list.count)
        guard length > 0 else { return [] }
        var result: [(name: String, value: [UInt8])] = []
        for bytes in list[..<length].split(separator: 0) {
            let name = String(decoding: bytes.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            // The overlay's own marks mean nothing elsewhere.
            if name.hasPrefix("trusted.overlay.") { continue }
            var value = [UInt8](repeating: 0, count: 64 << 10)
            let count = fgetxattr(descriptor, name, &value, value.count)
            if count >= 0 { result.append((name, Array(value[..<count]))) }
        }
        return result
    }
}

/// The header blocks of one entry.
struct TarPackedHeader {
    private var name: String
    private let status: stat
    private var type: UInt8
    private var size: Int64
    var link = ""
    var extendedAttributes: [(name: String, value: [UInt8])] = []

    init(name: String, status: stat) {
        self.status = status
        self.name = name
        size = 0
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            type = UInt8(ascii: "5")
            self.name += "/"
        case S_IFLNK: type = UInt8(ascii: "2")
        case S_IFCHR: type = UInt8(ascii: "3")
        case S_IFBLK: type = UInt8(ascii: "4")
        case S_IFIFO: type = UInt8(ascii: "6")
        default:
            type = UInt8(ascii: "0")
            size = Int64(status.st_size)
        }
    }

    mutating func makeHardLink(to first: String) {
        type = UInt8(ascii: "1")
        size = 0
        link = first
    }

    func encoded() -> [UInt8] {
        var records: [UInt8] = []
        func record(_ key: String, _ value: [UInt8]) {
            // "length key=value\n", where the length counts its own digits.
            let rest = key.utf8.count + value.count + 3
            var length = rest + String(rest).utf8.count
            if String(length).utf8.count > String(rest).utf8.count { length += 1 }
            records += Array("\(length) \(key)=".utf8) + value + [10]
        }
        if name.utf8.count > 100 { record("path", Array(name.utf8)) }
        if link.utf8.count > 100 { record("linkpath", Array(link.utf8)) }
        if size >= 1 << 33 { record("size", Array(String(size).utf8)) }
        if status.st_uid >= 1 << 21 { record("uid", Array(String(status.st_uid).utf8)) }
        if status.st_gid >= 1 << 21 { record("gid", Array(String(status.st_gid).utf8)) }
        if status.st_mtim.tv_sec < 0 { record("mtime", Array(String(status.st_mtim.tv_sec).utf8)) }
        for (key, value) in extendedAttributes { record("SCHILY.xattr." + key, value) }
        var result: [UInt8] = []
        if !records.isEmpty {
            result += block(name: "PaxHeaders/entry", type: UInt8(ascii: "x"), size: Int64(records.count), link: "")
            result += records + [UInt8](repeating: 0, count: (512 - records.count % 512) % 512)
        }
        return result + block(name: name, type: type, size: size, link: link)
    }

    private func block(name: String, type: UInt8, size: Int64, link: String) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ bytes: some Collection<UInt8>, at offset: Int, width: Int) {
            let cut = bytes.prefix(width)
            block.replaceSubrange(offset..<offset + cut.count, with: cut)
        }
        func octal(_ value: Int64, at offset: Int, width: Int) {
            // What doesn't fit is in a PAX record, which wins over this.
            let text = String(max(0, value) & ((1 << (3 * Int64(width - 1))) - 1), radix: 8)
            put(
                (String(repeating: "0", count: max(0, width - 1 - text.utf8.count)) + text).utf8, at: offset,
                width: width - 1)
        }
        put(name.utf8, at: 0, width: 100)
        octal(Int64(status.st_mode & 0o7777), at: 100, width: 8)
        octal(Int64(status.st_uid), at: 108, width: 8)
        octal(Int64(status.st_gid), at: 116, width: 8)
        octal(size, at: 124, width: 12)
        octal(Int64(status.st_mtim.tv_sec), at: 136, width: 12)
        put([UInt8](repeating: 0x20, count: 8), at: 148, width: 8)
        block[156] = type
        put(link.utf8, at: 157, width: 100)
        put("ustar\0".utf8, at: 257, width: 6)
        put("00".utf8, at: 263, width: 2)
        if type == UInt8(ascii: "3") || type == UInt8(ascii: "4") {
            let numbers = Devices.split(status.st_rdev)
            octal(numbers.major, at: 329, width: 8)
            octal(numbers.minor, at: 337, width: 8)
        }
        let sum = block.reduce(0) { $0 + Int64($1) }
        octal(sum, at: 148, width: 7)
        block[154] = 0
        block[155] = 0x20
        return block
    }
}
