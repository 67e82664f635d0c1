import CTestSupport
import Glibc
import Testing

/// A daemon of a test's own: private data root, exec root, socket and network namespace. `withDaemon` makes one and
/// undoes everything last-in first-out, then looks for what was left behind.
final class TestDaemon {
    /// The folder that holds all that is this daemon's.
    let directory: String
    var dataRoot: String { flag("--data-root") ?? directory + "/data" }
    var execRoot: String { directory + "/exec" }
    var socket: String { directory + "/sock" }
    /// Where the daemon's network namespace is pinned, so that it outlives a daemon that is killed, as a host's does,
    /// with its bridges and rules.
    let network: String
    var log: String { directory + "/daemon.log" }
    /// Flags besides those every test has.
    var extraArguments: [String]
    /// Shell commands that change the daemon's host beforehand, in a mount namespace of its own.
    private let preparation: String?
    private(set) var pid: pid_t = -1
    private var undo: [() -> Void] = []

    static let programs = setting("MYCONTAINER_BIN") ?? repository + "/bin"
    static let registry = setting("MYCONTAINER_REGISTRY") ?? repository + "/images/registry"
    /// The clone that these tests were built from.
    static let repository = String(#filePath.split(separator: "/").dropLast(4).reduce("") { $0 + "/" + $1 })

    static func setting(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    /// What a program under test gets for an environment: nothing of the caller's.
    var environment: [String: String] {
        [
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": directory,
            "TERM": "xterm", "SWIFT_BACKTRACE": "enable=no", "MYCONTAINER_HOST": "unix://" + socket,
        ]
    }

    init(arguments: [String] = [], preparation: String? = nil) throws {
        guard getuid() == 0 else { throw CommandFailure(description: "these tests need root") }
        guard access(Self.programs + "/mycontainerd", X_OK) == 0 else {
            throw CommandFailure(description: "no programs in \(Self.programs): run 'make build' first")
        }
        // Orphaned monitors of a killed daemon come to us: PID 1 of a machine may reap late.
        test_become_subreaper()
        // /tmp may be a tmpfs, and the path's length counts against the socket's 108 bytes.
        var template = Array("/var/tmp/mycontainer-test-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw CommandFailure(description: "mkdtemp: errno \(errno)") }
        directory = String(cString: made)
        extraArguments = arguments
        self.preparation = preparation
        network = "/var/tmp/netns-" + directory.split(separator: "-").last!
        try Self.makeNetwork(network)
    }

    /// The value that the test itself gave to a flag of the daemon's.
    private func flag(_ name: String) -> String? {
        extraArguments.firstIndex(of: name).map { extraArguments[$0 + 1] }
    }

    /// Registers what must be undone when the test ends, before everything registered earlier.
    func onEnd(_ action: @escaping () -> Void) { undo.append(action) }

    // MARK: The daemon's life

    func start() throws {
        try launch()
        guard try eventually({ try answersOrDied() }) else {
            throw CommandFailure(description: "the daemon doesn't answer on \(socket):\n\(logText)")
        }
    }

    private func answersOrDied() throws -> Bool {
        if hasEnded { throw CommandFailure(description: "the daemon ended at once:\n\(logText)") }
        return (try? request("GET", "/_ping", socket: socket, seconds: 5))?.status == 200
    }

    /// Starts the daemon without waiting for it to answer.
    func launch() throws {
        let own = [
            "--data-root": dataRoot, "--exec-root": execRoot, "--host": "unix://" + socket, "--registry": Self.registry,
            "--pidfile": directory + "/pid",
        ].filter { flag($0.key) == nil }.flatMap { [$0.key, $0.value] }
        let daemon = shellQuoted([Self.programs + "/mycontainerd"] + own + extraArguments)
        let shell = ["/bin/sh", "-c", (preparation.map { "set -e\n\($0)\n" } ?? "") + "exec \(daemon) >>\(log) 2>&1"]
        let isolation = preparation == nil ? [] : ["unshare", "--mount", "--"]
        let command = try DetachedCommand(
            "/usr/bin/nsenter", ["--net=" + network, "--"] + isolation + shell, environment)
        pid = command.pid
    }

    // MARK: Its network

    /// A network namespace with nothing but loopback, pinned at `path`.
    static func makeNetwork(_ path: String) throws {
        try writeFile(path, "")
        try host("unshare", "--net=" + path, "--", "ip", "link", "set", "lo", "up")
    }

    static func removeNetwork(_ path: String) {
        umount2(path, Int32(MNT_DETACH))
        unlink(path)
    }

    /// Runs a tool of the host's in the daemon's network namespace, which is what containers see of a host.
    @discardableResult
    func inside(_ words: String..., seconds: Double = patience) throws -> Outcome {
        try Command(
            "/usr/bin/nsenter", ["--net=" + network, "--"] + words,
            environment: ["PATH": environment["PATH"]!, "LC_ALL": "C"]
        ).finish(seconds: seconds)
    }

    /// Whether the daemon's process is over; it is reaped then.
    var hasEnded: Bool {
        if pid < 0 { return true }
        if waitpid(pid, nil, WNOHANG) == 0 { return false }
        pid = -1
        return true
    }

    /// SIGKILL, at whatever it is doing.
    func kill() {
        guard pid > 0 else { return }
        Glibc.kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
        pid = -1
    }

    /// SIGTERM, and waits for the end; false when that took longer than `seconds`.
    func stop(seconds: Double = patience) -> Bool {
        guard pid > 0 else { return true }
        Glibc.kill(pid, SIGTERM)
        return eventually(seconds: seconds) { hasEnded }
    }

    var logText: String { (try? readFile(log)) ?? "" }

    // MARK: Commands

    /// Runs our CLI to its end.
    @discardableResult
    func cli(_ arguments: String..., seconds: Double = 3 * patience) throws -> Outcome {
        try spawn(arguments).finish(seconds: seconds)
    }

    @discardableResult
    func cli(arguments: [String], seconds: Double = 3 * patience) throws -> Outcome {
        try spawn(arguments).finish(seconds: seconds)
    }

    /// Runs our CLI, which must succeed; its standard output without the last newline.
    @discardableResult
    func must(_ arguments: String..., seconds: Double = 3 * patience, at location: SourceLocation = #_sourceLocation)
        throws
        -> String
    {
        let outcome = try spawn(arguments).finish(seconds: seconds)
        try #require(
            outcome.status == 0,
            "mycontainer \(arguments.joined(separator: " ")) ended with \(outcome.status): \(outcome.error)\(outcome.output)",
            sourceLocation: location)
        return outcome.line
    }

    @discardableResult
    func must(arguments: [String], at location: SourceLocation = #_sourceLocation) throws -> String {
        let outcome = try cli(arguments: arguments)
        try #require(
            outcome.status == 0, "\(arguments.joined(separator: " ")): \(outcome.error)", sourceLocation: location)
        return outcome.line
    }

    /// Starts our CLI and leaves it running.
    func spawn(_ arguments: [String], _ standard: Command.Standard = .closed) throws -> Command {
        try Command(Self.programs + "/mycontainer", arguments, environment: environment, standard: standard)
    }

    func spawn(_ arguments: String..., standard: Command.Standard = .closed) throws -> Command {
        try spawn(arguments, standard)
    }

    /// One API request; `path` begins with a slash, and with a version where that matters.
    func api(_ method: String, _ path: String, body: String? = nil, seconds: Double = patience) throws -> Answer {
        try request(method, path, socket: socket, body: body, seconds: seconds)
    }

    /// What `inspect` says of a container.
    func inspect(_ name: String, at location: SourceLocation = #_sourceLocation) throws -> JSON {
        let answer = try api("GET", "/containers/\(name)/json")
        try #require(answer.status == 200, "inspect \(name): \(answer.message)", sourceLocation: location)
        return try answer.json()
    }

    /// Waits until a container's `State` satisfies `condition`.
    func state(of name: String, seconds: Double = patience, until condition: (JSON) -> Bool) throws -> JSON {
        var last = JSON.null
        let reached = try eventually(seconds: seconds) {
            last = try inspect(name)["State"]
            return condition(last)
        }
        guard reached else { throw CommandFailure(description: "\(name) is still \(last)") }
        return last
    }

    // MARK: The end

    /// Removes every container, ends the daemon, and returns what was left behind, one line an item.
    func tearDown() -> [String] {
        var left: [String] = []
        for action in undo.reversed() { action() }
        if hasEnded { try? start() }
        if let list = try? api("GET", "/containers/json?all=1").json().array {
            for container in list {
                if let id = container["Id"].string { _ = try? api("DELETE", "/containers/\(id)?force=1&v=1") }
            }
        } else {
            left.append("the daemon did not list its containers at the end")
        }
        left += Leaks.ofContainers(self)
        if !stop() {
            left.append("the daemon did not end on SIGTERM")
            kill()
        }
        left += Leaks.ofDaemon(self)
        Leaks.reapOrphans(of: self)
        Leaks.clean(self)
        Self.removeNetwork(network)
        return left
    }
}

/// A program that outlives its Swift object.
struct DetachedCommand {
    let pid: pid_t

    init(_ path: String, _ arguments: [String], _ environment: [String: String]) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for descriptor: Int32 in 0...2 {
            posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) | test_spawn_setsid)
        let argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        let envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var child: pid_t = -1
        let code = posix_spawn(&child, path, &actions, &attributes, argv, envp)
        guard code == 0 else {
            throw CommandFailure(description: "cannot start \(path): \(String(cString: strerror(code)))")
        }
        pid = child
    }
}

/// A daemon whose data root is a tmpfs of its own with these mount options, for disks that fill up.
func withDaemon(
    onTmpfs options: String, images: [String] = ["busybox"], at location: SourceLocation = #_sourceLocation,
    _ body: (TestDaemon) throws -> Void
) throws {
    let folder = "/var/tmp/mycontainer-test-disk-\(getpid())-\(UInt32.random(in: .min ... .max))"
    try host("mkdir", folder)
    defer { _ = try? host("sh", "-c", "umount -l \(folder); rmdir \(folder)") }
    try host("mount", "-t", "tmpfs", "-o", options, "none", folder)
    try withDaemon(["--data-root", folder], images: images, at: location, body)
}

/// Runs `body` with a daemon of its own that has the images named, and fails the test for anything left behind.
func withDaemon(
    _ arguments: [String] = [], images: [String] = ["busybox"], preparation: String? = nil,
    at location: SourceLocation = #_sourceLocation,
    _ body: (TestDaemon) throws -> Void
) throws {
    let daemon = try TestDaemon(arguments: arguments, preparation: preparation)
    do {
        try daemon.start()
        for image in images { try daemon.must("pull", "-q", image, at: location) }
        try body(daemon)
    } catch {
        let log = daemon.logText
        let left = daemon.tearDown()
        if !log.isEmpty { print("the daemon's log of the failed test:\n\(log.suffix(4000))") }
        if !left.isEmpty { print("left behind besides: \(left.joined(separator: "; "))") }
        throw error
    }
    let left = daemon.tearDown()
    #expect(left.isEmpty, "left behind: \(left.joined(separator: "; "))", sourceLocation: location)
}

func shellQuoted(_ words: [String]) -> String {
    words.map { word in
        "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }.joined(separator: " ")
}

/// A file's text, sizes unknown beforehand (as in /proc) included.
func readFile(_ path: String) throws -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
        let code = errno
        throw CommandFailure(description: "\(path): \(String(cString: strerror(code)))")
    }
    defer { close(descriptor) }
    var all: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
        let got = read(descriptor, &buffer, buffer.count)
        if got <= 0 { break }
        all += buffer[..<got]
    }
    return String(decoding: all, as: UTF8.self)
}

func writeFile(_ path: String, _ text: String, mode: mode_t = 0o644) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    guard descriptor >= 0 else { throw CommandFailure(description: "\(path): errno \(errno)") }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    guard write(descriptor, bytes, bytes.count) == bytes.count else {
        throw CommandFailure(description: "\(path): short write")
    }
}

func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// Runs a tool of the host, which must succeed; its standard output without the last newline.
@discardableResult
func host(_ words: String..., seconds: Double = 3 * patience) throws -> String {
    let environment = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"]
    let outcome = try Command(words[0], Array(words.dropFirst()), environment: environment).finish(seconds: seconds)
    guard outcome.status == 0 else {
        throw CommandFailure(description: "\(words.joined(separator: " ")): \(outcome.status): \(outcome.error)")
    }
    return outcome.line
}
