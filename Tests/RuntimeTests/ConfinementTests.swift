import CLinux
import Glibc
import LinuxKernel
import Testing
import ThreadSupport

@testable import Runtime

/// The monitor's wall, from within: a thread that it is around tries to get out. All of it holds for one thread, and ends
/// with it.
@Suite struct ConfinementTests {
    /// What the calls of a confined thread said: 0, or their errno.
    private func confined(_ calls: @escaping @Sendable (String) -> [String: Int32]) throws -> [String: Int32] {
        var template = Array("/var/tmp/mycontainer-wall-XXXXXX".utf8CString)
        let directory = String(cString: try #require(mkdtemp(&template)))
        defer {
            for name in ["log", "log.1", "passwd"] { unlink("\(directory)/\(name)") }
            rmdir(directory)
        }
        Confinement.prepare()
        return try OwnThread.run {
            try Confinement.confineMonitor(Confinement.Places(writable: [directory], cgroups: []))
            return calls(directory)
        }
    }

    private static func attempt(_ call: () -> Int32) -> Int32 {
        let result = call()
        return result < 0 ? errno : 0
    }

    @Test func itsWorkGoesOn() throws {
        let said = try confined { directory in
            let path = directory + "/log"
            let file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
            return [
                "open": file < 0 ? errno : 0,
                "write": Self.attempt { Int32(write(file, "line\n", 5)) },
                "truncate": Self.attempt { ftruncate(file, 2) },
                "allocate": posix_fallocate(file, 0, 4096),
                "rotate": Self.attempt { rename(path, path + ".1") },
                "again": Self.attempt { open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600) },
                "remove": Self.attempt { unlink(path + ".1") },
                "null": Self.attempt { open("/dev/null", O_RDWR | O_CLOEXEC) },
                "parent": Self.attempt { open("/proc/self/stat", O_RDONLY | O_CLOEXEC) },
            ]
        }
        #expect(said.count == 9 && said.values.allSatisfy { $0 == 0 }, "\(said)")
    }

    @Test func theRestOfTheHostIsOutOfReach() throws {
        let escape = "/var/tmp/mycontainer-escape-\(getpid())"
        defer { unlink(escape) }
        let said = try confined { directory in
            [
                "a host's file": Self.attempt { open("/etc/passwd", O_RDONLY | O_CLOEXEC) },
                "a new one": Self.attempt { open(escape, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600) },
                "another's memory": Self.attempt { open("/proc/self/mem", O_RDWR | O_CLOEXEC) },
                "a device": Self.attempt { open("/dev/kmsg", O_RDWR | O_CLOEXEC) },
                "a listing": Self.attempt { open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) },
                "out by a link": Self.attempt { link("/etc/passwd", directory + "/passwd") },
            ]
        }
        #expect(said.values.allSatisfy { $0 == EACCES || $0 == EPERM }, "\(said)")
        #expect(access(escape, F_OK) != 0)
    }

    @Test func systemCallsThatItHasNoUseForAreRefused() throws {
        let said = try confined { _ in
            [
                "execve": Self.attempt { clinux_execve("/bin/true", [nil], [nil]) },
                "fork": Self.attempt { clinux_clone3(0, nil, -1) },
                "setns": Self.attempt { clinux_setns(0, 0) },
                "unshare": Self.attempt { clinux_unshare(0x2000_0000) },
                "mount": Self.attempt { mount("none", "/mnt", "tmpfs", 0, nil) },
                "socket": Self.attempt { socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) },
                "setuid": Self.attempt { clinux_setresuid(1, 1, 1) },
                "chroot": Self.attempt { chroot("/var") },
                "open_tree": Self.attempt { clinux_open_tree(AT_FDCWD, "/", 1) },
            ]
        }
        #expect(said.values.allSatisfy { $0 == EPERM }, "\(said)")
    }

    @Test func itsStatusSaysSo() throws {
        var template = Array("/var/tmp/mycontainer-wall-XXXXXX".utf8CString)
        let directory = String(cString: try #require(mkdtemp(&template)))
        defer { rmdir(directory) }
        Confinement.prepare()
        let text = try OwnThread.run {
            try Confinement.confineMonitor(Confinement.Places(writable: [directory], cgroups: []))
            let file = try FileDescriptor("/proc/thread-self/status", O_RDONLY)
            var bytes = [UInt8](repeating: 0, count: 8192)
            return String(decoding: bytes[..<max(0, read(file.raw, &bytes, bytes.count))], as: UTF8.self)
        }
        let status = text.split(separator: "\n").reduce(into: [Substring: Substring]()) { result, line in
            let parts = line.split(separator: ":\t")
            if parts.count == 2 { result[parts[0]] = parts[1] }
        }
        #expect(status["CapPrm"] == "0000000000000020")
        #expect(status["CapBnd"] == "0000000000000000")
        #expect(status["NoNewPrivs"] == "1")
        #expect(status["Seccomp"] == "2")
    }
}
