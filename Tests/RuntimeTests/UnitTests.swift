import Glibc
import LinuxKernel
import MonitorProtocol
import OCI
import Testing

@testable import Runtime

struct MountOptionTests {
    @Test func sortsOptions() {
        let options = MountOptions(["rbind", "ro", "nosuid", "rnoexec", "rslave", "size=1m", "noatime", "suid"])
        #expect(options.bind && options.recursiveBind)
        #expect(options.attributes.set == MountAttributes.readOnly | MountAttributes.noAccessTime)
        #expect(options.attributes.clear == MountAttributes.accessTime | MountAttributes.noSuid)
        #expect(options.recursiveAttributes.set == MountAttributes.noExecution)
        #expect(options.propagation == .slave && options.recursivePropagation)
        #expect(options.data == ["size=1m"])
    }

    @Test func laterOptionWins() {
        #expect(MountOptions(["ro", "rw"]).attributes.set == 0)
        #expect(MountOptions(["rw", "ro"]).attributes.set == MountAttributes.readOnly)
    }
}

struct SysctlTests {
    @Test func namesBecomePaths() {
        #expect(Sysctl.path("net.ipv4.ip_forward") == "net/ipv4/ip_forward")
        #expect(Sysctl.path("net.ipv4.conf.eth0/1.forwarding") == "net/ipv4/conf/eth0.1/forwarding")
        #expect(Sysctl.path("net/ipv4/conf/eth0.1/forwarding") == "net/ipv4/conf/eth0.1/forwarding")
    }

    @Test(arguments: ["kernel.core_pattern", "vm.overcommit_memory", "net/../kernel/core_pattern", "kernel.hostname"])
    func refusesTheHosts(name: String) {
        let namespaces = ["ipc", "network", "uts"].map { RuntimeSpec.Namespace(type: $0) }
        #expect(throws: StartFailure.self) { try Sysctl.validate([name: "1"], namespaces) }
    }
}

/// `USER` against hostile account files (CVE-2024-40635, CVE-2024-9676 and their kin).
struct IdentityTests {
    let directory: String
    let root: Int32

    init() throws {
        var template = Array("/var/tmp/mycontainer-identity-XXXXXX".utf8CString)
        directory = String(cString: try #require(mkdtemp(&template)))
        mkdir(directory + "/etc", 0o755)
        root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    }

    private func write(_ name: String, _ text: String) throws {
        try Files.write("\(directory)/etc/\(name)", Array(text.utf8), mode: 0o644)
    }

    private func resolve(_ user: String?, groups: [String] = []) throws -> Identity {
        try Identity(IdentityRequest(user: user, groups: groups), fallback: RuntimeSpec.User(), root: root)
    }

    private func accounts() throws {
        try write("passwd", "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n1234:x:5:6::/n:/\n")
        try write("group", "root:x:0:\nstaff:x:50:alice,bob\nalice:x:1001:\naudio:x:63:alice\n")
    }

    @Test func resolvesAsDocker() throws {
        defer { removeTree(directory) }
        try accounts()
        let alice = try resolve("alice")
        #expect(alice.uid == 1000 && alice.gid == 1001 && alice.home == "/home/alice")
        #expect(alice.groups == [1001, 50, 63])
        // With a group given, the user's own supplementary groups don't count.
        let staff = try resolve("alice:staff")
        #expect(staff.gid == 50 && staff.groups == [50])
        #expect(try resolve("1000").groups == [1001, 50, 63])
        // A name wins over a number; a number needs no entry.
        #expect(try resolve("1234").uid == 5)
        let stranger = try resolve("4321:99")
        #expect(stranger.uid == 4321 && stranger.gid == 99 && stranger.groups == [99])
        #expect(try resolve("alice", groups: ["audio", "77"]).groups == [1001, 50, 63, 63, 77])
        #expect(try resolve(nil).home == "/root")
    }

    @Test(arguments: [
        "2147483648", "4294967296", "-1", "nobody-here", "alice:no-such-group", "alice\nroot", "1000:4294967295", "0x0",
    ])
    func refuses(user: String) throws {
        defer { removeTree(directory) }
        try accounts()
        #expect(throws: StartFailure.self) { try resolve(user) }
    }

    @Test func entryWithOverflowingID() throws {
        defer { removeTree(directory) }
        try write("passwd", "evil:x:4294967296:0::/:/\nminus:x:-1:0::/:/\n")
        #expect(throws: StartFailure.self) { try resolve("evil") }
        #expect(throws: StartFailure.self) { try resolve("minus") }
    }

    @Test func hugeFileIsRefused() throws {
        defer { removeTree(directory) }
        let file = try FileDescriptor("\(directory)/etc/passwd", O_WRONLY | O_CREAT, mode: 0o644)
        try checked("truncate") { ftruncate(file.raw, 1 << 40) }
        #expect(throws: StartFailure.self) { try resolve("root") }
        // The twin: a large one is fine.
        unlink("\(directory)/etc/passwd")
        let lines = (0..<50_000).map { "user\($0):x:\($0):\($0)::/:/\n" }.joined()
        try write("passwd", lines)
        #expect(try resolve("user49999").uid == 49_999)
    }

    @Test func fifoAndLinksDoNotHang() throws {
        defer { removeTree(directory) }
        mkfifo("\(directory)/etc/passwd", 0o644)
        #expect(throws: StartFailure.self) { try resolve("root") }
        // A link out of the root is resolved inside it: the host's accounts stay unseen.
        unlink("\(directory)/etc/passwd")
        symlink("/etc/passwd", "\(directory)/etc/passwd")
        #expect(throws: StartFailure.self) { try resolve("root") }
        unlink("\(directory)/etc/passwd")
        mkdir("\(directory)/usr", 0o755)
        try Files.write("\(directory)/usr/passwd", Array("carol:x:7:8::/:/\n".utf8))
        symlink("/usr/passwd", "\(directory)/etc/passwd")
        #expect(try resolve("carol").uid == 7)
    }
}

/// Path resolution inside a hostile root.
struct RootedPathTests {
    @Test func staysInside() throws {
        var template = Array("/var/tmp/mycontainer-paths-XXXXXX".utf8CString)
        let base = String(cString: try #require(mkdtemp(&template)))
        defer { removeTree(base) }
        let directory = base + "/root"
        mkdir(directory, 0o755)
        let root = try FileDescriptor(directory, O_RDONLY | O_DIRECTORY)
        symlink("/absolute/target", directory + "/dangling")
        symlink("../../../..", directory + "/up")
        symlink("loop", directory + "/loop")
        _ = try RootedPath.ensure("dangling/file", in: root.raw, kind: .file)
        #expect(access(directory + "/absolute/target/file", F_OK) == 0)
        #expect(access("/absolute", F_OK) != 0)
        _ = try RootedPath.ensure("up/made/here", in: root.raw, kind: .directory)
        #expect(access(directory + "/made/here", F_OK) == 0)
        #expect(throws: SystemError.self) { _ = try RootedPath.ensure("loop/x", in: root.raw, kind: .directory) }
        #expect(throws: SystemError.self) {
            _ = try RootedPath.ensure("absent/../../x", in: root.raw, kind: .directory)
        }
        #expect(throws: SystemError.self) {
            _ = try RootedPath.locate("dangling", in: root.raw, followLinks: false)
        }
    }
}

struct FlagTests {
    @Test func parsesAsGoDoes() throws {
        let flags = try Flags(
            ["--bundle=/b", "-d", "--pid-file", "p", "id", "--not-a-flag"][...], valued: ["bundle", "pid-file"],
            boolean: ["detach"], aliases: ["d": "detach"])
        #expect(flags.value("bundle") == "/b" && flags.value("pid-file") == "p" && flags.has("detach"))
        #expect(flags.rest == ["id", "--not-a-flag"])
        #expect(throws: CommandError.self) { _ = try Flags(["--nope"][...], valued: [], boolean: []) }
    }

    @Test(arguments: ["", ".", "..", "a/b", "a b", "ä"]) func refusesIds(id: String) {
        #expect(throws: CommandError.self) { try ContainerStore.validate(id) }
    }

    @Test func signals() {
        #expect(Signals.number("SIGTERM") == SIGTERM && Signals.number("kill") == SIGKILL && Signals.number("9") == 9)
        #expect(Signals.number("SIGRTMIN+1") == 35 && Signals.number("65") == nil && Signals.number("NOPE") == nil)
    }
}
