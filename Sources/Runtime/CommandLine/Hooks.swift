import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// What hooks are told about their container (runtime-spec runtime.md, "State").
public struct HookContext: Sendable {
    public var id: String
    public var bundle: String
    public var annotations: [String: String]

    public init(id: String, bundle: String, annotations: [String: String]) {
        self.id = id
        self.bundle = bundle
        self.annotations = annotations
    }

    /// The state document in JSON.
    func document(pid: pid_t, status: String) -> String {
        var json = JSONWriter()
        write(to: &json, pid: pid, status: status)
        return String(decoding: json.bytes, as: UTF8.self)
    }

    func write(to json: inout JSONWriter, pid: pid_t, status: String) {
        json.object { json in
            json.name("ociVersion")
            json.string(HookContext.ociVersion)
            json.name("id")
            json.string(id)
            json.name("status")
            json.string(status)
            json.name("pid")
            json.integer(pid)
            json.name("bundle")
            json.string(bundle)
            json.name("annotations")
            json.object { json in
                for (name, value) in annotations.sorted(by: { $0.key < $1.key }) {
                    json.name(name)
                    json.string(value)
                }
            }
        }
    }

    /// The version of the runtime specification that this runtime follows.
    static let ociVersion = "1.2.1"
}

/// Runs hooks one after the other; each gets the state document on stdin (runtime-spec config.md, "POSIX-platform
/// Hooks").
enum HookRunner {
    /// - Parameter environment: of hooks that have none of their own.
    static func run(
        _ hooks: [RuntimeSpec.Hook]?, kind: String, document: String, environment: [String] = []
    ) throws(StartFailure) {
        for hook in hooks ?? [] { try run(hook, kind, document, environment) }
    }

    private static func run(
        _ hook: RuntimeSpec.Hook, _ kind: String, _ document: String, _ environment: [String]
    ) throws(StartFailure) {
        var ends: [Int32] = [-1, -1]
        try at("hook", "cannot run the \(kind) hook \(hook.path)") { () throws(SystemError) in
            try checked("pipe") { clinux_pipe(&ends) }
        }
        let input = FileDescriptor(owning: ends[0])
        let feed = FileDescriptor(owning: ends[1])
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input.raw, 0)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var all = sigset_t()
        var none = sigset_t()
        sigfillset(&all)
        sigemptyset(&none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
        let arguments = hook.args.flatMap { $0.isEmpty ? nil : $0 } ?? [hook.path]
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = (hook.env ?? environment).map { strdup($0) } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var pid: pid_t = 0
        let result = posix_spawn(&pid, hook.path, &actions, &attributes, &argv, &envp)
        guard result == 0 else {
            throw StartFailure(
                stage: "hook", errno: result,
                message: "cannot run the \(kind) hook \(hook.path): \(String(cString: strerror(result)))")
        }
        let pidfd = try at("hook", "cannot watch the \(kind) hook \(hook.path)") { () throws(SystemError) in
            try LinuxKernel.Process.openPidfd(pid)
        }
        let pipe = feed.release()
        let status = try at("hook", "cannot wait for the \(kind) hook \(hook.path)") { () throws(SystemError) in
            try attend(pidfd.raw, feeding: pipe, document, seconds: hook.timeout)
        }
        guard status == .exited(0) else {
            throw StartFailure(
                stage: "hook", errno: 0,
                message: "the \(kind) hook \(hook.path) failed with exit code \(status?.code ?? 255)")
        }
    }

    /// Writes the document to a process that may read all of it, some or nothing, and waits for its end.
    /// - Parameter feed: is closed.
    private static func attend(
        _ pidfd: Int32, feeding feed: Int32, _ document: String, seconds: Int?
    ) throws(SystemError) -> ExitStatus? {
        // Whoever doesn't read must neither block nor kill us.
        signal(SIGPIPE, SIG_IGN)
        var rest = Array(document.utf8)[...]
        _ = fcntl(feed, F_SETFL, O_NONBLOCK)
        var input = feed
        defer { if input >= 0 { close(input) } }
        let deadline = seconds.map { monotonicMilliseconds() + Int64(min($0, Int(Int32.max))) * 1000 }
        while true {
            if rest.isEmpty, input >= 0 {
                close(input)
                input = -1
            }
            var sources = [
                pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0),
                pollfd(fd: input, events: Int16(POLLOUT), revents: 0),
            ]
            let left = deadline.map { Int32(clamping: max(0, $0 - monotonicMilliseconds())) } ?? -1
            if try checked("poll", { poll(&sources, 2, left) }) == 0 {
                try? LinuxKernel.Process.signal(pidfd: pidfd, SIGKILL)
                _ = try? LinuxKernel.Process.wait(pidfd: pidfd)
                throw SystemError("it did not end within \(seconds ?? 0) s", errno: ETIMEDOUT)
            }
            if sources[0].revents != 0 { return try LinuxKernel.Process.wait(pidfd: pidfd) }
            let count = rest.withUnsafeBytes { write(input, $0.baseAddress, $0.count) }
            if count >= 0 { rest = rest.dropFirst(count) } else if errno != EAGAIN && errno != EINTR { rest = [] }
        }
    }

    private static func monotonicMilliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
