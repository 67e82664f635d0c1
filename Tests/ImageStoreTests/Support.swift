import CLinux
import Database
import Glibc
import LinuxKernel
import OCI
import Testing

@testable import ImageStore

/// Layers hold files of every owner and overlayfs' attributes: only root can make them.
let isRoot = geteuid() == 0

/// A directory of a test's own, removed with everything in it.
final class Scratch: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/mycontainer-images-XXXXXX".utf8CString)
        path = String(cString: mkdtemp(&template))
    }

    deinit { try? TreeRemoval.remove(path) }

    func file(_ name: String) -> String { path + "/" + name }

    func directory(_ name: String) -> String {
        mkdir(file(name), 0o755)
        return file(name)
    }
}

func writeFile(_ path: String, _ bytes: [UInt8]) throws {
    let file = try FileDescriptor(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
    let written = bytes.withUnsafeBytes { write(file.raw, $0.baseAddress, $0.count) }
    #expect(written == bytes.count)
}

func readFile(_ path: String) throws -> [UInt8] {
    let range = try openRange(path)
    return try readAll(range, what: path, limit: 1 << 30)
}

func status(_ path: String) -> stat? {
    var status = stat()
    return lstat(path, &status) == 0 ? status : nil
}

func attribute(_ path: String, _ name: String) -> [UInt8]? {
    var value = [UInt8](repeating: 0, count: 256)
    let count = clinux_lgetxattr(path, name, &value, value.count)
    return count < 0 ? nil : Array(value[..<count])
}

func linkTarget(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink(path, &buffer, buffer.count)
    return count < 0 ? nil : String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Runs a program to its end; its output is thrown away.
@discardableResult
func run(_ arguments: String...) throws -> Int32 {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    var pid: pid_t = 0
    var pointers = arguments.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    let code = posix_spawnp(&pid, arguments[0], &actions, nil, &pointers, environ)
    guard code == 0 else { throw SystemError("run \(arguments[0])", errno: code) }
    var status: Int32 = 0
    try checked("wait for \(arguments[0])") { waitpid(pid, &status, 0) }
    return clinux_wifexited(status) != 0 ? clinux_wexitstatus(status) : -1
}

/// Put before a program of others, keeps what it writes beside its own folders (skopeo's caches) off the machine.
let fence = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/scripts/lib/fence"

func isInstalled(_ program: String) -> Bool {
    ["/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/"].contains { access($0 + program, X_OK) == 0 }
}

/// A tar stream made block by block, so that it can hold what no tool would write.
struct TarBuilder {
    var bytes: [UInt8] = []

    mutating func add(
        _ name: String, type: Character = "0", content: [UInt8] = [], link: String = "", mode: Int = 0o644,
        size: Int64? = nil, mtime: Int64 = 1_000_000_000, uid: Int = 0, gid: Int = 0, major: Int = 0, minor: Int = 0
    ) {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, _ offset: Int) {
            block.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
        }
        func octal(_ value: Int64, _ digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: digits - text.count) + text
        }
        put(String(name.prefix(100)), 0)
        put(octal(Int64(mode), 7), 100)
        put(octal(Int64(uid), 7), 108)
        put(octal(Int64(gid), 7), 116)
        put(octal(size ?? Int64(content.count), 11), 124)
        put(octal(mtime, 11), 136)
        put("        ", 148)
        put(String(type), 156)
        put(String(link.prefix(100)), 157)
        put("ustar", 257)
        put("00", 263)
        put(octal(Int64(major), 7), 329)
        put(octal(Int64(minor), 7), 337)
        put(octal(block.reduce(0) { $0 + Int64($1) }, 6) + "\0 ", 148)
        bytes += block + content
        bytes += [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }

    mutating func directory(_ name: String, mode: Int = 0o755, mtime: Int64 = 1_000_000_000) {
        add(name, type: "5", mode: mode, mtime: mtime)
    }

    mutating func link(_ name: String, to target: String) { add(name, type: "2", link: target, mode: 0o777) }
    mutating func hardLink(_ name: String, to target: String) { add(name, type: "1", link: target) }

    /// Extended records for the next entry.
    mutating func pax(_ records: [(String, [UInt8])]) {
        var content: [UInt8] = []
        for (key, value) in records {
            let rest = 3 + key.utf8.count + value.count
            var length = rest + 1
            while String(length).count + rest != length { length = String(length).count + rest }
            content += Array("\(length) \(key)=".utf8) + value + [10]
        }
        add("pax", type: "x", content: content)
    }

    /// The archive with its end.
    var archive: [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }
}

/// One layer's directory, filled from tar streams as a pull fills it.
struct UnpackedLayer {
    let scratch = Scratch()
    let staging: String
    var root: String { staging + "/fs" }

    init() {
        staging = scratch.directory("layer")
        mkdir(staging + "/fs", 0o755)
    }

    @discardableResult
    func unpack(_ archive: [UInt8], limits: UnpackLimits = .standard, lowers: [UnpackedLayer] = []) throws -> Int64 {
        let unpacker = try LayerUnpacker(staging: staging, limits: limits)
        var offset = 0
        // Small pieces, so that headers and contents straddle them.
        let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 700, alignment: 16)
        defer { piece.deallocate() }
        let reader = TarReader(limits: limits) {
            let count = min(piece.count, archive.count - offset)
            if count == 0 { return nil }
            piece.copyBytes(from: archive[offset..<offset + count])
            offset += count
            return UnsafeRawBufferPointer(rebasing: piece[..<count])
        }
        try unpacker.unpack(reader)
        try reader.drain()
        var descriptors = DescriptorSet()
        for lower in lowers { descriptors.adopt(try FileDescriptor(lower.root, O_RDONLY | O_DIRECTORY)) }
        try unpacker.finish(lowers: descriptors.raw)
        return unpacker.size
    }

    func unpack(limits: UnpackLimits = .standard, lowers: [UnpackedLayer] = [], _ build: (inout TarBuilder) -> Void)
        throws
    {
        var builder = TarBuilder()
        build(&builder)
        try unpack(builder.archive, limits: limits, lowers: lowers)
    }

    func path(_ name: String) -> String { root + "/" + name }
    func exists(_ name: String) -> Bool { status(path(name)) != nil }

    func isWhiteout(_ name: String) -> Bool {
        status(path(name)).map { $0.st_mode & S_IFMT == S_IFCHR && $0.st_rdev == 0 } ?? false
    }

    func isOpaque(_ name: String) -> Bool { attribute(path(name), "trusted.overlay.opaque") == [UInt8(ascii: "y")] }
}
