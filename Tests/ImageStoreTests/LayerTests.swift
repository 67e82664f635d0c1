import CLinux
import Glibc
import LinuxKernel
import OCI
import Testing

@testable import ImageStore

/// What unpacking makes of archives that real programs wrote, compared with what `tar -x` makes of them.
@Suite(.enabled(if: isRoot)) struct LayerTests {
    /// A tree with everything that a file system can hold.
    private func makeTree(_ root: String) throws {
        let long = String(repeating: "long-name-", count: 12)
        let script = """
            set -e; cd "$1"; umask 022
            mkdir -p plain/deeper "\(long)/\(long)" sticky empty
            printf hello >plain/file; : >plain/none; printf x >"\(long)/\(long)/file"
            ln plain/file plain/deeper/hard; ln -s ../file plain/deeper/soft; ln -s /absolute/target abs
            ln -s "/\(long)/\(long)/\(long)/target" "\(long)/soft"
            chmod 4755 plain/file; chmod 1777 sticky; chmod 2750 empty; chmod 0 plain/none
            chown 12345:54321 plain/none empty; chown -h 77:88 abs
            mknod char c 1 5; mknod block b 7 0; mkfifo pipe
            head -c 100000 /dev/urandom >random
            truncate -s 3M sparse; printf data | dd of=sparse bs=1 seek=1048576 conv=notrunc status=none
            printf tail | dd of=sparse bs=1 seek=3000000 conv=notrunc status=none
            touch -d '1975-05-05 05:05:05.123456789' plain/file; touch -h -d '2031-01-02 03:04:05' abs
            touch -d '1960-01-01 00:00:00.5' random
            printf n >"$(printf 'new\\nline')"; printf b >"$(printf 'not-utf8-\\377')"
            touch -d '2001-02-03 04:05:06' plain/deeper plain sticky empty .
            """
        #expect(try run("sh", "-c", script, "sh", root) == 0)
    }

    /// A line for every entry of a tree, with all that `stat` knows but inode numbers and access times.
    private func listing(_ root: String, times: String) throws -> String {
        let script = """
            cd "$1"; find . -printf "%P|%y|%m|%U|%G|%s|%n|%l|\(times)\\n" | LC_ALL=C sort >"$2"
            find . \\( -type c -o -type b \\) -exec stat -c '%n %t %T' {} + | LC_ALL=C sort >>"$2"
            find . -type f -exec sha256sum {} + | LC_ALL=C sort >>"$2"
            """
        let scratch = Scratch()
        #expect(try run("sh", "-c", script, "sh", root, scratch.file("list")) == 0)
        return String(decoding: try readFile(scratch.file("list")), as: UTF8.self)
            // Directories' sizes are the file system's business.
            .split(separator: "\n").map { line in
                var fields = line.split(separator: "|", omittingEmptySubsequences: false)
                if fields.count > 6, fields[1] == "d" { fields[5] = "" }
                return fields.joined(separator: "|")
            }.joined(separator: "\n")
    }

    @Test(arguments: [
        "posix", "gnu", "posix --sparse --sparse-version=0.0", "posix --sparse --sparse-version=0.1",
        "posix --sparse --sparse-version=1.0", "gnu --sparse",
    ])
    func unpacksAsTarDoes(format: String) throws {
        let scratch = Scratch()
        let tree = scratch.directory("tree")
        try makeTree(tree)
        let archive = scratch.file("layer.tar")
        #expect(try run("sh", "-c", "tar --format=\(format) --numeric-owner -C \(tree) -cf \(archive) .") == 0)
        let expected = scratch.directory("expected")
        #expect(try run("tar", "-xpf", archive, "--numeric-owner", "-C", expected) == 0)
        let layer = UnpackedLayer()
        try layer.unpack(readFile(archive))
        // GNU's own format keeps whole seconds.
        let times = format.hasPrefix("posix") ? "%T@" : "%Ts"
        #expect(try listing(layer.root, times: times) == listing(expected, times: times))
        if format.contains("sparse") {
            #expect(status(layer.path("sparse")).map { $0.st_blocks < 100 } == true)
        }
    }

    @Test(.enabled(if: isInstalled("bsdtar"))) func unpacksWhatLibarchiveWrites() throws {
        let scratch = Scratch()
        let tree = scratch.directory("tree")
        try makeTree(tree)
        let archive = scratch.file("layer.tar")
        #expect(try run("bsdtar", "--format=pax", "--numeric-owner", "-C", tree, "-cf", archive, ".") == 0)
        let layer = UnpackedLayer()
        try layer.unpack(readFile(archive))
        #expect(try listing(layer.root, times: "%T@") == listing(tree, times: "%T@"))
    }

    @Test(.enabled(if: isInstalled("python3")), arguments: ["USTAR", "GNU", "PAX"])
    func unpacksWhatPythonWrites(format: String) throws {
        let scratch = Scratch()
        let tree = scratch.directory("tree")
        let script = """
            import os, sys, tarfile
            os.chdir(sys.argv[1]); os.makedirs('d/e'); open('d/e/f', 'w').write('x' * 3000); os.link('d/e/f', 'd/g')
            os.symlink('e/f', 'd/h'); os.utime('d/e', (5, 5)); os.chown('d', 70000, 80000)
            with tarfile.open(sys.argv[2], 'w', format=tarfile.\(format)_FORMAT) as archive: archive.add('.')
            """
        let archive = scratch.file("layer.tar")
        #expect(try run("python3", "-c", script, tree, archive) == 0)
        let layer = UnpackedLayer()
        try layer.unpack(readFile(archive))
        // Python keeps times as floating-point numbers, which lose nanoseconds.
        let times = "%Ts"
        #expect(try listing(layer.root, times: times) == listing(tree, times: times))
    }

    @Test func missingParentsLookAsInTheLayerBelow() throws {
        let bottom = UnpackedLayer()
        try bottom.unpack {
            $0.directory(".", mode: 0o711, mtime: 11)
            $0.directory("a", mode: 0o700, mtime: 22)
            $0.add("a/b", type: "5", mode: 0o1777, mtime: 33, uid: 5, gid: 6)
            $0.directory("hidden", mode: 0o700)
            $0.directory("opaque", mode: 0o700)
            $0.directory("opaque/sub", mode: 0o700)
        }
        let middle = UnpackedLayer()
        try middle.unpack(lowers: [bottom]) {
            $0.add(".wh.hidden")
            $0.directory("opaque", mode: 0o750)
            $0.add("opaque/.wh..wh..opq")
        }
        let top = UnpackedLayer()
        try top.unpack(lowers: [middle, bottom]) {
            $0.add("a/b/file", content: [1])
            $0.add("hidden/file", content: [1])
            $0.add("opaque/sub/file", content: [1])
        }
        let root = try #require(status(top.root))
        #expect(root.st_mode == S_IFDIR | 0o711 && root.st_mtim.tv_sec == 11)
        let nested = try #require(status(top.path("a/b")))
        #expect(nested.st_mode == S_IFDIR | 0o1777 && nested.st_uid == 5 && nested.st_gid == 6)
        #expect(nested.st_mtim.tv_sec == 33)
        #expect(status(top.path("a"))?.st_mode == S_IFDIR | 0o700)
        #expect(status(top.path("hidden"))?.st_mode == S_IFDIR | 0o755)
        #expect(status(top.path("opaque"))?.st_mode == S_IFDIR | 0o750)
        #expect(status(top.path("opaque/sub"))?.st_mode == S_IFDIR | 0o755)
    }

    @Test func hardLinksToLowerLayersCopyTheFileUp() throws {
        let bottom = UnpackedLayer()
        try bottom.unpack { $0.add("dir/target", content: [1, 2, 3], mode: 0o640, mtime: 99, uid: 7, gid: 8) }
        let top = UnpackedLayer()
        try top.unpack(lowers: [bottom]) { $0.hardLink("link", to: "dir/target") }
        let link = try #require(status(top.path("link")))
        #expect(link.st_mode == S_IFREG | 0o640 && link.st_uid == 7 && link.st_mtim.tv_sec == 99)
        #expect(link.st_ino == status(top.path("dir/target"))?.st_ino)
        #expect(try readFile(top.path("link")) == [1, 2, 3])
        #expect(throws: TarError.self) {
            try UnpackedLayer().unpack(lowers: [bottom]) { $0.hardLink("link", to: "dir/absent") }
        }
    }

    @Test func laterEntriesReplaceEarlierOnes() throws {
        let layer = UnpackedLayer()
        try layer.unpack {
            $0.directory("becomes-file")
            $0.add("becomes-file/inner", content: [1])
            $0.add("becomes-file", content: [2])
            $0.add("becomes-directory", content: [1])
            $0.directory("becomes-directory")
            $0.add("becomes-directory/inner", content: [3])
            $0.directory("again", mode: 0o700)
            $0.add("again/kept", content: [4])
            $0.directory("again", mode: 0o711)
        }
        #expect(try readFile(layer.path("becomes-file")) == [2])
        #expect(try readFile(layer.path("becomes-directory/inner")) == [3])
        #expect(layer.exists("again/kept") && status(layer.path("again"))?.st_mode == S_IFDIR | 0o711)
    }

    @Test func copiesTreesWithEverything() throws {
        let scratch = Scratch()
        let tree = scratch.directory("tree")
        try makeTree(tree)
        let copy = scratch.directory("copy")
        let from = try FileDescriptor(tree, O_RDONLY | O_DIRECTORY)
        let to = try FileDescriptor(copy, O_RDONLY | O_DIRECTORY)
        #expect(clinux_fsetxattr(from.raw, "user.note", "x", 1) == 0)
        try TreeCopy.copyContents(of: from.raw, to: to.raw)
        #expect(try listing(copy, times: "%T@") == listing(tree, times: "%T@"))
        #expect(attribute(copy, "user.note") == [UInt8(ascii: "x")])
        #expect(status(copy + "/sparse").map { $0.st_blocks < 100 } == true)
    }
}

@Suite struct DecompressorTests {
    private func decompress(_ bytes: [UInt8], _ compression: LayerCompression, pieces: Int) throws -> [UInt8] {
        try decompress(bytes, try #require(compression.makeDecompressor()), pieces: pieces)
    }

    private func decompress(_ bytes: [UInt8], _ decompressor: any Decompressor, pieces: Int) throws -> [UInt8] {
        var result: [UInt8] = []
        var output = [UInt8](repeating: 0, count: 333)
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            let piece = Array(bytes[start..<min(start + pieces, bytes.count)])
            var used = 0
            while true {
                let (consumed, produced) = try output.withUnsafeMutableBytes { output in
                    try piece.withUnsafeBytes {
                        try decompressor.decompress(UnsafeRawBufferPointer(rebasing: $0[used...]), into: output)
                    }
                }
                used += consumed
                result += output[..<produced]
                if used == piece.count && produced < output.count { break }
            }
        }
        try decompressor.finish()
        return result
    }

    private func compressed(_ tool: String, _ content: [UInt8]) throws -> [UInt8] {
        let scratch = Scratch()
        try writeFile(scratch.file("in"), content)
        #expect(try run("sh", "-c", "\(tool) <\(scratch.file("in")) >\(scratch.file("out"))") == 0)
        return try readFile(scratch.file("out"))
    }

    private let content = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 * $0 >> 3) }

    @Test(arguments: [1, 7, 100, 1 << 20]) func gzipOfSeveralMembersAndPadding(pieces: Int) throws {
        let one = try compressed("gzip -9", content)
        let small = try compressed("gzip -1", [1, 2, 3])
        #expect(try decompress(one, .gzip, pieces: pieces) == content)
        let members: [UInt8] = small + one + small
        let expected: [UInt8] = [1, 2, 3] + content + [1, 2, 3]
        #expect(try decompress(members, .gzip, pieces: pieces) == expected)
        #expect(try decompress(one + [0, 0, 0], .gzip, pieces: pieces) == content)
        #expect(throws: DecompressionError.self) { try decompress(one + [7], .gzip, pieces: pieces) }
        #expect(throws: DecompressionError.self) { try decompress(Array(one.dropLast()), .gzip, pieces: pieces) }
        #expect(throws: DecompressionError.self) { try decompress(one + [0x1f, 0x8b, 8], .gzip, pieces: pieces) }
        var damaged = one
        damaged[damaged.count - 6] ^= 1
        #expect(throws: DecompressionError.self) { try decompress(damaged, .gzip, pieces: pieces) }
        #expect(throws: DecompressionError.self) { try decompress([], .gzip, pieces: pieces) }
    }

    @Test(.enabled(if: isInstalled("zstd")), arguments: [1, 100, 1 << 20]) func zstdOfSeveralFrames(pieces: Int) throws
    {
        let one = try compressed("zstd -q", content)
        #expect(try decompress(one, .zstd, pieces: pieces) == content)
        #expect(try decompress(one + one, .zstd, pieces: pieces) == content + content)
        #expect(throws: DecompressionError.self) { try decompress(Array(one.dropLast()), .zstd, pieces: pieces) }
        #expect(throws: DecompressionError.self) { try decompress(one + [7, 7, 7, 7, 7], .zstd, pieces: pieces) }
    }

    /// What only archives of clients are packed with.
    @Test(arguments: ["bzip2", "xz"], [1, 100, 1 << 20]) func archivesOfSeveralStreams(tool: String, pieces: Int) throws
    {
        let one = try compressed(tool, content)
        func unpacked(_ bytes: [UInt8]) throws -> [UInt8] {
            let decompressor = try #require(try ArchiveCompression(magic: one.prefix(6)).makeDecompressor())
            return try decompress(bytes, decompressor, pieces: pieces)
        }
        #expect(try unpacked(one) == content)
        #expect(try unpacked(one + one) == content + content)
        #expect(throws: DecompressionError.self) { try unpacked(Array(one.dropLast())) }
        #expect(throws: DecompressionError.self) { try unpacked(one + [7, 7, 7, 7, 7]) }
        #expect(throws: DecompressionError.self) { try unpacked([]) }
        var damaged = one
        damaged[one.count / 2] ^= 1
        #expect(throws: DecompressionError.self) { try unpacked(damaged) }
    }

    /// A stream may ask for four gigabytes of memory.
    @Test func xzWithALargeDictionary() throws {
        let large = try compressed("xz --lzma2=dict=512MiB", content)
        let decompressor = try #require(try ArchiveCompression(magic: large.prefix(6)).makeDecompressor())
        #expect(throws: DecompressionError.self) { try decompress(large, decompressor, pieces: 1 << 20) }
    }
}
