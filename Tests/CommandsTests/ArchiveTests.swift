import FoundationEssentials
import Glibc
import LinuxKernel
import Testing

@testable import Commands

@Suite struct ArchiveTests {
    /// A directory of its own, gone afterwards.
    private func withDirectory(_ body: (String) throws -> Void) throws {
        var template = Array("/tmp/mycontainer-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw CommandFailure("mkdtemp: \(errno)") }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try body(path)
    }

    private func write(_ text: String, _ path: String, mode: mode_t = 0o644) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode)
        _ = Array(text.utf8).withUnsafeBytes { writeAll($0, to: descriptor) }
        fchmod(descriptor, mode)
        close(descriptor)
    }

    private func unpack(_ archive: [UInt8], into path: String, renaming: (from: String, to: String)? = nil) throws
        -> Int64
    {
        let root = open(path, O_RDONLY | O_DIRECTORY)
        defer { close(root) }
        // In pieces that end anywhere.
        var rest = archive[...]
        var reader = TarReader {
            if rest.isEmpty { return nil }
            defer { rest = rest.dropFirst(700) }
            return Array(rest.prefix(700))
        }
        var unpacker = TarUnpacker(into: root, renaming: renaming, keepsOwners: false)
        return try unpacker.unpack(&reader)
    }

    @Test func packsAndUnpacks() throws {
        try withDirectory { root in
            let long = String(repeating: "l", count: 150)
            for directory in ["source", "source/d", "source/d/\(long)", "target"] {
                mkdir("\(root)/\(directory)", 0o755)
            }
            write(String(repeating: "content ", count: 1000), "\(root)/source/file", mode: 0o751)
            write("deep", "\(root)/source/d/\(long)/\(long)")
            link("\(root)/source/file", "\(root)/source/twin")
            symlink("/etc/passwd", "\(root)/source/link")
            write("setuid", "\(root)/source/setuid", mode: 0o4755)
            var archive: [UInt8] = []
            var packer = TarPacker { archive += $0 }
            try packer.add("\(root)/source", as: "source")
            try packer.finish()
            let size = try unpack(archive, into: "\(root)/target", renaming: (from: "source", to: "copy"))
            #expect(size == 8000 + 4 + 6)
            let copy = "\(root)/target/copy"
            #expect(try readFile("\(copy)/file") == readFile("\(root)/source/file"))
            #expect(try readFile("\(copy)/d/\(long)/\(long)") == Array("deep".utf8))
            var (file, twin, link, setuid) = (stat(), stat(), stat(), stat())
            #expect(stat("\(copy)/file", &file) == 0 && stat("\(copy)/twin", &twin) == 0)
            #expect(file.st_ino == twin.st_ino && file.st_mode & 0o7777 == 0o751)
            #expect(lstat("\(copy)/link", &link) == 0 && link.st_mode & S_IFMT == S_IFLNK)
            // Not the user's file any more: the bit would be a trap.
            #expect(stat("\(copy)/setuid", &setuid) == 0 && setuid.st_mode & 0o7777 == 0o755)
        }
    }

    /// Bytes that are no UTF-8 and directories that their owner may not write to come over as they are.
    @Test func keepsNamesAndModes() throws {
        try withDirectory { root in
            for directory in ["source", "source/d", "target"] { mkdir("\(root)/\(directory)", 0o755) }
            write("one", "\(root)/source/d/plain")
            let (odd, target): ([UInt8], [UInt8]) = ([0x66, 0xfe], [0xff, 0x2f, 0xfe])
            _ = withCString(Array("\(root)/source/d/".utf8) + odd) { close(open($0, O_WRONLY | O_CREAT, 0o644)) }
            withCString(target) { _ = symlink($0, "\(root)/source/d/link") }
            chmod("\(root)/source/d", 0o555)
            var archive: [UInt8] = []
            var packer = TarPacker { archive += $0 }
            try packer.add("\(root)/source", as: "source")
            try packer.finish()
            _ = try unpack(archive, into: "\(root)/target")
            let copy = "\(root)/target/source/d"
            #expect(Set(try FileNames.list(at: copy)) == [odd, Array("plain".utf8), Array("link".utf8)])
            var (status, read) = (stat(), [UInt8](repeating: 0, count: 16))
            #expect(stat(copy, &status) == 0 && status.st_mode & 0o7777 == 0o555)
            let count = read.withUnsafeMutableBytes {
                readlink("\(copy)/link", $0.assumingMemoryBound(to: CChar.self).baseAddress!, $0.count)
            }
            #expect(read.prefix(max(0, count)).elementsEqual(target))
        }
    }

    /// CVE-2018-15664: what a container sends must not land outside the target, whatever links it sends first.
    @Test(arguments: [
        [TarHeader(name: "../evil", kind: .file)], [TarHeader(name: "a/../../evil", kind: .file)],
        [TarHeader(name: "l", kind: .symbolicLink(to: Array("..".utf8))), TarHeader(name: "l/evil", kind: .file)],
        [
            TarHeader(name: "l", kind: .symbolicLink(to: Array("/tmp".utf8))),
            TarHeader(name: "l/evil", kind: .directory),
        ],
        [TarHeader(name: "h", kind: .hardLink(to: Array("../secret".utf8)))],
    ])
    func staysInside(_ headers: [TarHeader]) throws {
        try withDirectory { root in
            mkdir("\(root)/target", 0o755)
            write("secret", "\(root)/secret")
            let archive = headers.flatMap(\.blocks) + [UInt8](repeating: 0, count: 1024)
            #expect(throws: CommandFailure.self) { try unpack(archive, into: "\(root)/target") }
            #expect(access("\(root)/evil", F_OK) != 0 && access("\(root)/target/h", F_OK) != 0)
        }
    }

    /// The twin: a link that stays inside is followed, and a link may replace a file and a file a link.
    @Test func followsLinksInside() throws {
        try withDirectory { root in
            let headers = [
                TarHeader(name: "d", kind: .directory, mode: 0o755),
                TarHeader(name: "l", kind: .symbolicLink(to: Array("d".utf8))),
                TarHeader(name: "l/file", kind: .file),
                TarHeader(name: "out", kind: .symbolicLink(to: Array("/etc/passwd".utf8))),
                TarHeader(name: "out", kind: .file),
            ]
            _ = try unpack(headers.flatMap(\.blocks) + [UInt8](repeating: 0, count: 1024), into: root)
            #expect(access("\(root)/d/file", F_OK) == 0)
            var status = stat()
            #expect(lstat("\(root)/out", &status) == 0 && status.st_mode & S_IFMT == S_IFREG)
        }
    }

    @Test func refusesBrokenArchives() throws {
        try withDirectory { root in
            var broken = TarHeader(name: "a", kind: .file).blocks
            broken[0] = UInt8(ascii: "b")
            #expect(throws: TarError.self) { try unpack(broken, into: root) }
            let short = TarHeader(name: "a", kind: .file, size: 4096).blocks + [1, 2, 3]
            #expect(throws: TarError.self) { try unpack(short, into: root) }
            #expect(throws: TarError.self) { try unpack([1, 2, 3], into: root) }
        }
    }

    @Test func readsNames() {
        #expect(CopyCommand.place("c:/x").container == "c" && CopyCommand.place("c:/x").path == "/x")
        for local in ["/a:b", "./a:b", "a", "-"] { #expect(CopyCommand.place(local).container == nil, "\(local)") }
    }
}
