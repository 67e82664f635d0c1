import FoundationEssentials
import Glibc
import OCI
import Testing

@testable import Runtime

/// A bundle of a test's own with a tiny root filesystem (busybox alone), and the runtime's binary to run it with.
///
/// The tests never fork: they are multi-threaded, and the runtime's own code between clone and exec is only sound in
/// the single-threaded program. Everything is removed when the value goes away.
final class TestBundle {
    let directory: String
    var root: String { directory + "/rootfs" }
    var state: String { directory + "/state" }
    let id: String
    var spec: RuntimeSpec

    struct Result {
        var code: Int32
        var output: String
        var error: String
        var lines: [String] { output.split(separator: "\n").map(String.init) }
    }

    /// The runtime: in `MYCONTAINER_BIN`, or where the package's own build put it, beside the test bundle.
    static let program: String = {
        if let directory = getenv("MYCONTAINER_BIN") { return String(cString: directory) + "/mycontainer-runtime" }
        // The test bundle is mapped into this process, whichever program runs it.
        let maps = String(decoding: Files.read("/proc/self/maps") ?? [], as: UTF8.self)
        let bundle = maps.split(separator: "\n").first { $0.hasSuffix(".xctest") }?.split(separator: " ").last ?? ""
        return bundle.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 } + "/mycontainer-runtime"
    }()

    static var canRun: Bool { getuid() == 0 && access(program, X_OK) == 0 }

    init() throws {
        var template = Array("/var/tmp/mycontainer-runtime-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw Failure("mkdtemp: errno \(errno)") }
        directory = String(cString: made)
        id = "test-" + directory.suffix(6)
        spec = try JSONDecoder().decode(RuntimeSpec.self, from: Data(DefaultSpec.text.utf8))
        spec.process?.terminal = false
        spec.linux?.cgroupsPath = "/mycontainer-runtime-tests/\(id)"
        mkdir(root, 0o755)
        for name in ["bin", "etc", "tmp", "proc", "sys", "dev"] { mkdir("\(root)/\(name)", 0o755) }
        let candidates: [String] = ["/bin/busybox", "/usr/bin/busybox"]
        let busybox = candidates.first { access($0, X_OK) == 0 }
        guard let busybox, let bytes = Files.read(busybox) else { throw Failure("busybox-static is not installed") }
        try Files.write("\(root)/bin/busybox", bytes, mode: 0o755)
        for name in ["sh", "cat", "ls", "id", "sleep", "true", "ps", "grep", "mkdir", "pwd", "stat", "env", "head"] {
            symlink("busybox", "\(root)/bin/\(name)")
        }
        try file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        try file("etc/group", "root:x:0:\n")
    }

    deinit {
        _ = try? command(["delete", "--force", id])
        removeTree(directory)
        rmdir("/sys/fs/cgroup/mycontainer-runtime-tests")
        for name in ["unified", "memory", "cpu", "cpuacct", "cpu,cpuacct", "pids", "blkio"] {
            rmdir("/sys/fs/cgroup/\(name)/mycontainer-runtime-tests")
        }
    }

    /// Writes a file of the root filesystem.
    func file(_ path: String, _ text: String, mode: mode_t = 0o644) throws {
        try Files.write("\(root)/\(path)", Array(text.utf8), mode: mode)
    }

    func shell(_ script: String) { spec.process?.args = ["/bin/sh", "-c", script] }

    func writeSpec() throws {
        try Files.write("\(directory)/config.json", Array(try JSONEncoder().encode(spec)))
    }

    /// `run` of the bundle as it is.
    /// - Parameter caller: a program, with its arguments, that executes the runtime.
    func run(_ flags: [String] = [], caller: [String] = []) throws -> Result {
        try writeSpec()
        return try command(["run", "--bundle", directory] + flags + [id], caller: caller)
    }

    /// Any command of the runtime; its output is collected in files, so that a detached container may keep them.
    func command(_ arguments: [String], caller: [String] = []) throws -> Result {
        let all = caller + [Self.program, "--root", state] + arguments
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let output = "\(directory)/stdout"
        let error = "\(directory)/stderr"
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        posix_spawn_file_actions_addopen(&actions, 2, error, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        var argv: [UnsafeMutablePointer<CChar>?] = all.map { strdup($0) } + [nil]
        let environment: [String] = ["PATH=/usr/bin:/bin", "SWIFT_BACKTRACE=enable=no"]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var pid: pid_t = 0
        let result = posix_spawn(&pid, all[0], &actions, nil, &argv, &envp)
        guard result == 0 else { throw Failure("spawn \(all[0]): errno \(result)") }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        let code = status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
        return Result(
            code: code, output: String(decoding: Files.read(output) ?? [], as: UTF8.self),
            error: String(decoding: Files.read(error) ?? [], as: UTF8.self))
    }

    func mount(_ source: String, on destination: String, _ options: [String] = []) {
        spec.mounts?.append(
            RuntimeSpec.Mount(destination: destination, type: "bind", source: source, options: ["rbind"] + options))
    }
}

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

func removeTree(_ path: String) {
    guard let stream = opendir(path) else { return }
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name == "." || name == ".." { continue }
        var status = stat()
        guard lstat("\(path)/\(name)", &status) == 0 else { continue }
        if status.st_mode & S_IFMT == S_IFDIR { removeTree("\(path)/\(name)") } else { unlink("\(path)/\(name)") }
    }
    closedir(stream)
    rmdir(path)
}
