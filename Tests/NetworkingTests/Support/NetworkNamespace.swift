import CLinux
import Glibc
import LinuxKernel
import ThreadSupport

/// Tests that make network namespaces run as root, and not on the host's links: each has its own.
let canMakeNamespaces = geteuid() == 0 && access("/usr/sbin/ip", X_OK) == 0 && access("/usr/sbin/nft", X_OK) == 0

/// `CLONE_NEWNET`
private let newNetwork = Int32(0x4000_0000)

struct CommandFailed: Error, CustomStringConvertible {
    let description: String
}

/// A network namespace with no name. A process that only waits for the end of this object keeps it.
final class NetworkNamespace: Sendable {
    let pid: pid_t
    private let descriptor: Int32
    private let keeper: Int32

    init() throws {
        var ends: [Int32] = [0, 0]
        try checked("pipe") { clinux_pipe(&ends) }
        let input = ends[0]
        (pid, descriptor) = try OwnThread.run {
            try checked("unshare") { clinux_unshare(newNetwork) }
            let pid = try spawn(["/bin/cat"], input: input)
            return (pid, try checked("open") { open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC) })
        }
        close(input)
        keeper = ends[1]
        try run("ip", "link", "set", "lo", "up")
    }

    deinit {
        close(keeper)
        close(descriptor)
        waitpid(pid, nil, 0)
    }

    /// Runs something on a thread that is in this namespace.
    func inside<T: Sendable>(_ body: @escaping @Sendable () throws -> T) throws -> T {
        let descriptor = descriptor
        return try OwnThread.run {
            try checked("setns") { clinux_setns(descriptor, newNetwork) }
            return try body()
        }
    }

    /// Runs a program in here, for its standard output and error together.
    @discardableResult
    func run(_ arguments: String...) throws -> String {
        try inside {
            var ends: [Int32] = [0, 0]
            try checked("pipe") { clinux_pipe(&ends) }
            defer { close(ends[0]) }
            let pid: pid_t
            do {
                defer { close(ends[1]) }
                pid = try spawn(["/usr/sbin/" + arguments[0]] + arguments.dropFirst(), output: ends[1])
            }
            var output: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 4096)
            while case let count = read(ends[0], &buffer, buffer.count), count > 0 { output += buffer[..<count] }
            var status = Int32(0)
            waitpid(pid, &status, 0)
            let text = String(decoding: output, as: UTF8.self)
            guard status == 0 else {
                throw CommandFailed(description: "\(arguments.joined(separator: " ")): \(text)")
            }
            return text
        }
    }

    /// A sysctl below /proc/sys/net.
    func set(_ name: String, _ value: String) throws {
        try inside {
            let file = try FileDescriptor("/proc/sys/net/\(name)", O_WRONLY)
            try checked("write \(name)") { write(file.raw, value, value.utf8.count) }
        }
    }
}

private func spawn(_ arguments: [String], input: Int32? = nil, output: Int32? = nil) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if let input { posix_spawn_file_actions_adddup2(&actions, input, 0) }
    if let output {
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
    }
    var strings: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { strings.forEach { free($0) } }
    var pid = pid_t()
    let code = posix_spawn(&pid, arguments[0], &actions, nil, &strings, nil)
    guard code == 0 else { throw SystemError("spawn \(arguments[0])", errno: code) }
    return pid
}
