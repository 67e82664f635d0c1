import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI
import Testing

/// Where the tests find what they drive: the runtime that was built beside them (or `MYCONTAINER_BIN`, a directory)
/// and the host's static busybox.
enum Subject {
    static let runtime: String = {
        if let directory = getenv("MYCONTAINER_BIN") { return String(cString: directory) + "/mycontainer-runtime" }
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &path, path.count)
        let own = String(decoding: path[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // swift test runs either <build>/…PackageTests.xctest or a helper of the toolchain that loads it.
        let candidates = [own] + CommandLine.arguments
        for candidate in candidates {
            let runtime =
                candidate.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" } + "/mycontainer-runtime"
            if access(runtime, X_OK) == 0 { return runtime }
        }
        return ""
    }()
    static let busybox = "/bin/busybox"

    static var isAvailable: Bool { geteuid() == 0 && access(runtime, X_OK) == 0 && access(busybox, X_OK) == 0 }

    /// A root filesystem of busybox alone, made once for all tests of this process.
    static let rootfs: String = {
        var template = Array("/tmp/monitor-tests-root-XXXXXX".utf8CString)
        let root = String(cString: mkdtemp(&template))
        for name in ["bin", "proc", "dev", "tmp", "sys", "etc"] { mkdir("\(root)/\(name)", 0o755) }
        try! FileManager.default.copyItem(atPath: busybox, toPath: "\(root)/bin/busybox")
        for applet in [
            "sh", "cat", "echo", "head", "kill", "ps", "sleep", "stty", "tail", "tr", "true", "wc", "grep", "setsid",
        ] {
            symlink("busybox", "\(root)/bin/\(applet)")
        }
        rootToRemove = root
        atexit {
            try? FileManager.default.removeItem(atPath: rootToRemove)
            guard let layout = try? CgroupLayout.detect() else { return }
            CgroupParent(layout: layout, path: "/monitor-tests-\(getpid())").removeIfEmpty()
        }
        return root
    }()
    nonisolated(unsafe) private static var rootToRemove = ""
}

struct Surprise: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// One container with its bundle, driven as the daemon drives it. Everything is undone at the end.
final class TestContainer {
    struct Options {
        var terminal = false
        var openStdin = false
        var reaper = true
        var ownPids = true
        var memory: Int64?
        var slowClientTimeout: Int64?
        var noLog = false
    }

    static let environment = ["PATH=/bin"]
    let bundle: String
    let id: String
    private(set) var channel: MonitorChannel
    private var monitorEnd: FileDescriptor?
    private var monitorPid: pid_t = 0
    private var sequence: UInt64 = 0
    private(set) var events: [MonitorMessage.Body] = []

    var recordPath: String { bundle + "/exit.json" }
    var logPath: String { bundle + "/container.log" }
    var cgroupPath: String { "/monitor-tests-\(getpid())/\(id)" }

    init(_ arguments: [String], _ change: (inout Options) -> Void = { _ in }) throws {
        var options = Options()
        change(&options)
        var template = Array("/tmp/monitor-tests-XXXXXX".utf8CString)
        bundle = String(cString: mkdtemp(&template))
        id = bundle.split(separator: "-").last.map(String.init)!
        let namespaces = ["mount", "ipc", "uts", "network", "cgroup"] + (options.ownPids ? ["pid"] : [])
        let spec = RuntimeSpec(
            ociVersion: "1.2.0",
            process: RuntimeSpec.Process(
                terminal: options.terminal, args: arguments, env: TestContainer.environment, cwd: "/"),
            root: .init(path: Subject.rootfs), hostname: "test",
            mounts: [
                .init(destination: "/proc", type: "proc", source: "proc"),
                .init(destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"]),
                .init(
                    destination: "/dev/pts", type: "devpts", source: "devpts",
                    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            ],
            linux: .init(
                resources: .init(memory: options.memory.map { .init(limit: $0) }),
                namespaces: namespaces.map { .init(type: $0) }))
        let ends = try rawPair()
        channel = MonitorChannel(adopting: FileDescriptor(owning: ends.daemon))
        monitorEnd = FileDescriptor(owning: ends.monitor)
        mkdir(bundle + "/upper", 0o755)
        mkdir(bundle + "/work", 0o755)
        let launch = LaunchDocument(
            id: id, cgroupPath: "/monitor-tests-\(getpid())/\(id)",
            overlay: .init(lower: [Subject.rootfs], upper: bundle + "/upper", work: bundle + "/work"),
            streams: .init(
                openStdin: options.openStdin, stdinOnce: true, slowClientTimeout: options.slowClientTimeout),
            log: options.noLog ? nil : .init(format: .cri, path: logPath, maxSize: 0, maxFiles: 1),
            reaper: options.reaper, seccompProgram: nil, exitRecordPath: recordPath)
        try put(spec, "config.json")
        try put(launch, "monitor.json")
        setTimeout(channel.rawDescriptor)
        try request(.hello(version: MonitorProtocol.version))
    }

    /// A further monitor on the same bundle, for the container's next run.
    private init(sameBundleAs other: TestContainer) throws {
        bundle = other.bundle
        id = other.id
        let ends = try rawPair()
        channel = MonitorChannel(adopting: FileDescriptor(owning: ends.daemon))
        monitorEnd = FileDescriptor(owning: ends.monitor)
        setTimeout(channel.rawDescriptor)
        try request(.hello(version: MonitorProtocol.version))
    }

    func another() throws -> TestContainer { try TestContainer(sameBundleAs: self) }

    private func put(_ document: some Encodable, _ name: String) throws {
        try JSONEncoder().encode(document).write(to: URL(filePath: "\(bundle)/\(name)"))
    }

    /// Nothing that a test does may leave a process, a cgroup or a file.
    deinit {
        if let cgroup { try? cgroup.kill() }
        channel.shutdown()
        if monitorPid > 0 { waitpid(monitorPid, nil, 0) }
        try? cgroup?.remove()
        try? FileManager.default.removeItem(atPath: bundle)
    }

    var cgroup: ContainerCgroup? {
        guard let layout = try? CgroupLayout.detect() else { return nil }
        return try? ContainerCgroup(layout: layout, path: cgroupPath)
    }

    // MARK: - Driving it

    /// Sends a request and returns its number.
    @discardableResult
    func request(_ body: MonitorRequest.Body, descriptor: Int32? = nil) throws -> UInt64 {
        sequence += 1
        try channel.send(MonitorRequest(sequence: sequence, body: body), descriptor: descriptor)
        return sequence
    }

    /// Queues an attachment; the socket is the client's end.
    func attach(stdin: Bool = false) throws -> TestClient {
        let client = try TestClient()
        try request(.attach(.init(stdin: stdin, stdout: true, stderr: true)), descriptor: client.giveAway())
        client.closeGivenAway()
        return client
    }

    /// Queues the start and executes the monitor.
    func start() throws {
        try request(.start)
        try spawn()
        _ = try awaitStart(sequence)
    }

    func spawn() throws {
        let end = monitorEnd.take()!
        monitorPid = try spawnRuntime(
            ["monitor", "--bundle", bundle], socket: end.raw, log: bundle + "/monitor.log")
    }

    func spawn(_ zygote: ZygoteClient) throws -> pid_t {
        let end = monitorEnd.take()!
        return try zygote.start(bundle: bundle, monitorEnd: end.raw)
    }

    func spawn(_ spare: borrowing SpareMonitor, network: borrowing FileDescriptor) throws {
        let end = monitorEnd.take()!
        try spare.run(bundle: bundle, network: network.raw, monitorEnd: end.raw)
    }

    /// Talks to the monitor over its socket, as a daemon that was started again does.
    func reconnect() throws -> MonitorMessage.Status {
        channel = try MonitorChannel.connect(bundle: bundle)
        setTimeout(channel.rawDescriptor)
        let number = try request(.hello(version: MonitorProtocol.version))
        guard case .hello(let status) = try reply(number) else { throw Surprise("no greeting") }
        return status
    }

    func disconnect() { channel.shutdown() }

    /// The next message; nil when the monitor has closed the connection.
    func next() throws -> MonitorMessage? {
        do {
            return try channel.receive(MonitorMessage.self).message
        } catch ChannelError.closed {
            return nil
        }
    }

    /// The reply to a request; events on the way are kept in ``events``.
    func reply(_ number: UInt64) throws -> MonitorMessage.Body {
        while let message = try next() {
            if message.sequence == number { return message.body }
            if message.sequence == 0 { events.append(message.body) }
        }
        throw Surprise("the monitor went away: \(complaints)")
    }

    func perform(_ body: MonitorRequest.Body) throws -> MonitorMessage.Body { try reply(try request(body)) }

    func awaitStart(_ number: UInt64) throws -> Int32 {
        switch try reply(number) {
        case .started(let pid, _): return pid
        case .failed(let failure): throw failure
        default: throw Surprise("neither started nor failed")
        }
    }

    /// Waits for the end of the container and of its monitor.
    func end() throws -> ExitRecord {
        var record: ExitRecord?
        for event in events { if case .exited(let ended) = event { record = ended } }
        while let message = try next() {
            if case .exited(let ended) = message.body { record = ended }
            if message.sequence == 0 { events.append(message.body) }
        }
        if monitorPid > 0 {
            waitpid(monitorPid, nil, 0)
            monitorPid = 0
        }
        guard let record else {
            throw Surprise("the monitor went without saying how the container ended: \(complaints)")
        }
        let written = try self.record()
        #expect(written.exitCode == record.exitCode && written.finishedAt == record.finishedAt)
        return record
    }

    func record() throws -> ExitRecord {
        try JSONDecoder().decode(ExitRecord.self, from: Data(contentsOf: URL(filePath: recordPath)))
    }

    // MARK: - Exec

    func beginExec(_ id: String, _ arguments: [String], stdin: Bool) throws -> (TestClient, UInt64) {
        let client = try TestClient()
        let exec = MonitorRequest.Exec(
            id: id, process: .init(args: arguments, env: TestContainer.environment, cwd: "/"),
            attach: .init(stdin: stdin, stdout: true, stderr: true), exitRecordPath: "\(bundle)/exec-\(id).json")
        let number = try request(.exec(exec), descriptor: client.giveAway())
        client.closeGivenAway()
        return (client, number)
    }

    /// Runs a program in the container to its end.
    func exec(_ arguments: [String], input: String? = nil) throws -> (Int32, Frames) {
        let id = arguments[0]
        let (client, number) = try beginExec(id, arguments, stdin: input != nil)
        _ = try awaitStart(number)
        if let input {
            try client.send(input)
            client.endInput()
        }
        let frames = try client.frames()
        return (try execCode(id), frames)
    }

    /// Waits for the event that says how an exec ended, and compares it with its record.
    func execCode(_ id: String) throws -> Int32 {
        while true {
            for (index, event) in events.enumerated() {
                if case .execExited(id, let record, _) = event {
                    events.remove(at: index)
                    let written = try JSONDecoder().decode(
                        ExitRecord.self, from: Data(contentsOf: URL(filePath: "\(bundle)/exec-\(id).json")))
                    #expect(written.exitCode == record.exitCode)
                    return record.exitCode
                }
            }
            guard let message = try next() else { throw Surprise("exec \(id) never ended: \(complaints)") }
            events.append(message.body)
        }
    }

    var complaints: String { text("monitor.log") }
    var log: String { text("container.log") }

    private func text(_ name: String) -> String {
        (try? Data(contentsOf: URL(filePath: "\(bundle)/\(name)"))).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}

/// The numbers of both ends of a fresh channel, which are the caller's to close.
func rawPair() throws -> (daemon: Int32, monitor: Int32) {
    try MonitorChannel.pair().split { ($0.release().release(), $1.release().release()) }
}

/// Executes the runtime with `socket` as its descriptor 3.
func spawnRuntime(_ arguments: [String], socket: Int32, log: String) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, socket, MonitorProtocol.inheritedSocket)
    posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    var argv: [UnsafeMutablePointer<CChar>?] = ([Subject.runtime] + arguments).map { strdup($0) } + [nil]
    defer { for pointer in argv { free(pointer) } }
    var pid: pid_t = 0
    let result = posix_spawn(&pid, Subject.runtime, &actions, nil, &argv, environ)
    guard result == 0 else { throw SystemError("posix_spawn \(Subject.runtime)", errno: result) }
    return pid
}

/// Waits until something holds; a minute at most.
func eventually(_ what: String, _ condition: () throws -> Bool) throws {
    for _ in 0..<60_000 {
        if try condition() { return }
        usleep(1000)
    }
    throw Surprise("not within a minute: \(what)")
}

/// Whether a process is gone, or waits for nothing but its parent, which may be any.
func hasEnded(_ pid: pid_t) -> Bool {
    guard let line = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return true }
    return line.split(separator: ")").last?.dropFirst().first == "Z"
}

/// A zygote as the daemon has one.
final class TestZygote {
    let client: ZygoteClient
    private(set) var pid: pid_t
    private let socket: Int32

    init() throws {
        let ends = try rawPair()
        socket = ends.daemon
        client = ZygoteClient(channel: MonitorChannel(adopting: FileDescriptor(owning: ends.daemon)))
        pid = try spawnRuntime(["zygote"], socket: ends.monitor, log: "/dev/null")
        close(ends.monitor)
    }

    /// Ends it as the end of its daemon does.
    func end() {
        guard pid > 0 else { return }
        _ = shutdown(socket, Int32(SHUT_RDWR))
        waitpid(pid, nil, 0)
        pid = 0
    }

    deinit { end() }
}

/// The daemon's end of an attachment.
final class TestClient {
    private let socket: FileDescriptor
    private var other: FileDescriptor?

    init() throws {
        var ends: [Int32] = [-1, -1]
        try checked("socketpair") { socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) }
        socket = FileDescriptor(owning: ends[0])
        other = FileDescriptor(owning: ends[1])
        setTimeout(ends[0])
    }

    func giveAway() -> Int32 {
        switch other {
        case .some(let descriptor): descriptor.raw
        case .none: -1
        }
    }
    func closeGivenAway() { other = nil }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            sent += try checked("send") {
                bytes.withUnsafeBytes {
                    Glibc.send(socket.raw, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL))
                }
            }
        }
    }

    func endInput() { _ = shutdown(socket.raw, Int32(SHUT_WR)) }

    /// What comes next, empty at the end.
    func receive() throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
            count = try checked("receive from an attachment") { recv(socket.raw, buffer.baseAddress, buffer.count, 0) }
        }
    }

    func all() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while case let more = try receive(), !more.isEmpty { bytes += more }
        return bytes
    }

    /// Everything until the end, by stream.
    func frames() throws -> Frames { try Frames(all()) }

    /// Raw bytes until `text` has come.
    func until(_ text: String) throws -> String {
        var bytes: [UInt8] = []
        while !String(decoding: bytes, as: UTF8.self).contains(text) {
            let more = try receive()
            if more.isEmpty { throw Surprise("ended before \(text): \(String(decoding: bytes, as: UTF8.self))") }
            bytes += more
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Docker's stream frames taken apart.
struct Frames {
    var stdout: [UInt8] = []
    var stderr: [UInt8] = []
    var out: String { String(decoding: stdout, as: UTF8.self) }
    var err: String { String(decoding: stderr, as: UTF8.self) }

    init(_ bytes: [UInt8]) throws {
        var index = 0
        while index < bytes.count {
            guard index + 8 <= bytes.count, bytes[index + 1] == 0, bytes[index + 2] == 0, bytes[index + 3] == 0 else {
                throw Surprise("not a frame at byte \(index) of \(bytes.count)")
            }
            let length = bytes[(index + 4)..<(index + 8)].reduce(0) { $0 << 8 | Int($1) }
            guard index + 8 + length <= bytes.count else { throw Surprise("a frame is cut short") }
            let content = bytes[(index + 8)..<(index + 8 + length)]
            if bytes[index] == 1 { stdout += content } else { stderr += content }
            index += 8 + length
        }
    }
}

/// A test that waits for something that never comes fails instead of hanging.
private func setTimeout(_ descriptor: Int32) {
    var limit = timeval(tv_sec: 600, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
}
