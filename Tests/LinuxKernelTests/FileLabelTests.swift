import CLinux
import Glibc
import Synchronization
import Testing

@testable import LinuxKernel

/// On a kernel without SELinux the attribute is kept as any other of root's: where labels go can be seen without a policy.
/// What a policy makes of them is seen in the virtual machine (scripts/vm/guest/selinux).
@Suite(.enabled(if: geteuid() == 0), .serialized) struct FileLabelTests {
    private let own = SecurityContext("system_u:object_r:container_file_t:s0:c1,c2")!

    @Test func contexts() throws {
        #expect(own.level == "s0:c1,c2" && own.type == "container_file_t" && own.description.hasSuffix("_t:s0:c1,c2"))
        #expect(own.withoutCategories.description == "system_u:object_r:container_file_t:s0")
        #expect(SecurityContext("u:r:t")?.withoutCategories.description == "u:r:t")
        for bad in ["", "kernel", "a:b", "a:b:", ":b:c", "a:b:c:", "a:b:c d", "a:b:c\n"] {
            #expect(SecurityContext(bad) == nil, "\(bad)")
        }
    }

    @Test func everythingInATreeIsLabeledAndNothingElse() throws {
        try withTree { tree in
            let outside = tree + "/outside", inside = tree + "/inside"
            for directory in [outside, inside, inside + "/a", inside + "/a/b"] { mkdir(directory, 0o755) }
            for file in [outside + "/file", inside + "/file", inside + "/a/b/file"] { close(creat(file, 0o644)) }
            mkfifo(inside + "/pipe", 0o644)
            symlink("../outside", inside + "/directory")
            symlink("../outside/file", inside + "/a/link")
            // A name that is no text.
            let odd = inside.utf8CString.dropLast() + [47, -1, -2, 0]
            close(Array(odd).withUnsafeBufferPointer { creat($0.baseAddress!, 0o644) })
            try relabel(inside, own)
            for path in ["", "/file", "/a", "/a/b", "/a/b/file", "/pipe", "/directory", "/a/link"] {
                #expect(label(inside + path) == own.description, "\(path)")
            }
            var value = [UInt8](repeating: 0, count: 100)
            #expect(clinux_lgetxattr(Array(odd), "security.selinux", &value, 100) == own.description.utf8.count)
            for path in [tree, outside, outside + "/file"] { #expect(label(path) == nil, "\(path)") }
        }
    }

    @Test func whatIsLabeledIsLeftAlone() throws {
        try withTree { tree in
            close(creat(tree + "/file", 0o644))
            try relabel(tree, own)
            var before = stat()
            stat(tree + "/file", &before)
            try relabel(tree, own)
            var after = stat()
            stat(tree + "/file", &after)
            #expect(before.st_ctim.tv_sec == after.st_ctim.tv_sec && before.st_ctim.tv_nsec == after.st_ctim.tv_nsec)
            let other = own.withoutCategories
            try relabel(tree, other)
            #expect(label(tree + "/file") == other.description)
        }
    }

    /// One descriptor serves however deep it is.
    @Test func aDeepTree() throws {
        try withTree { tree in
            var current = try FileDescriptor(tree, O_RDONLY | O_DIRECTORY)
            for _ in 0..<3000 {
                #expect(mkdirat(current.raw, "d", 0o755) == 0)
                current = try FileDescriptor("d", O_RDONLY | O_DIRECTORY, relativeTo: current.raw)
            }
            try relabel(tree, own)
            #expect(FileLabels.label(of: current.raw) == own)
            // Up again, since the whole path is too long for one call.
            for _ in 0..<3000 {
                current = try FileDescriptor("..", O_RDONLY | O_DIRECTORY, relativeTo: current.raw)
                unlinkat(current.raw, "d", AT_REMOVEDIR)
            }
        }
    }

    @Test func aReadOnlyTreeIsAnErrorUnlessItIsRight() throws {
        try withTree { tree in
            close(creat(tree + "/file", 0o644))
            try relabel(tree, own)
            let copy = try Mount.cloneTree(tree, recursive: false)
            try Mount.change(copy.raw, MountAttributes(set: MountAttributes.readOnly))
            try FileLabels.relabel(copy.raw, own)
            let error = #expect(throws: SystemError.self) { try FileLabels.relabel(copy.raw, own.withoutCategories) }
            #expect(error?.errno == EROFS && error?.operation == "label \"file\"")
        }
    }

    @Test func theHostsOwnPlacesAreKnownByAnyName() throws {
        try withTree { tree in
            symlink("/usr", tree + "/alias")
            for path in ["/", "/etc", "/etc/passwd", "/usr", tree + "/alias", "/usr/../var/lib"] {
                let place = try FileDescriptor(path, clinux_o_path())
                #expect(FileLabels.isProtected(place.raw), "\(path)")
            }
            let place = try FileDescriptor(tree, clinux_o_path())
            #expect(!FileLabels.isProtected(place.raw))
        }
    }

    /// A process that may write in the tree swaps a directory for a link out of it, over and over.
    @Test func aTreeThatChangesMeanwhileLeadsNowhere() throws {
        try withTree { tree in
            let outside = tree + "/outside", inside = tree + "/inside"
            for directory in [outside, inside, inside + "/real"] { mkdir(directory, 0o755) }
            for index in 0..<50 { close(creat(outside + "/file\(index)", 0o644)) }
            symlink("../outside", inside + "/link")
            let attacker = fork(
                """
                import ctypes, os, sys
                rename = ctypes.CDLL(None).renameat2
                os.chdir(sys.argv[1])
                while True: rename(-100, b"real", -100, b"link", 2)
                """, inside)
            defer {
                kill(attacker, SIGKILL)
                waitpid(attacker, nil, 0)
            }
            // It is at work.
            var status = stat()
            repeat { lstat(inside + "/real", &status) } while status.st_mode & S_IFMT != S_IFLNK
            for round in 0..<rounds {
                let label = SecurityContext("system_u:object_r:container_file_t:s0:c\(round % 2),c9")!
                do throws(SystemError) { try relabel(inside, label) } catch {
                    #expect(error.errno == EAGAIN, "\(error)")
                }
            }
            #expect(label(outside) == nil)
            for index in 0..<50 { #expect(label(outside + "/file\(index)") == nil) }
        }
    }

    // MARK: Helpers

    private var rounds: Int { getenv("MYCONTAINER_RACES").flatMap { Int(String(cString: $0)) } ?? 2000 }

    private func relabel(_ path: String, _ label: SecurityContext) throws(SystemError) {
        let tree = try FileDescriptor(path, clinux_o_path())
        try FileLabels.relabel(tree.raw, label)
    }

    private func label(_ path: String) -> String? {
        var value = [UInt8](repeating: 0, count: 256)
        let count = clinux_lgetxattr(path, "security.selinux", &value, 256)
        return count < 0 ? nil : String(decoding: value[..<count], as: UTF8.self)
    }

    private func fork(_ program: String, _ argument: String) -> pid_t {
        var pid: pid_t = 0
        let words = ["python3", "-c", program, argument]
        var argv = words.map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        #expect(posix_spawn(&pid, "/usr/bin/python3", nil, nil, &argv, environ) == 0)
        return pid
    }

    private func withTree(_ body: (String) throws -> Void) throws {
        var template = Array("/var/tmp/mycontainer-labels-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.current("mkdtemp") }
        let tree = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { system("rm -rf \(tree)") }
        try body(tree)
    }
}
