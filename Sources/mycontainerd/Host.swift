import Glibc
import LinuxKernel

/// What the daemon arranges with its host: signals, limits, its process-id file, and systemd.
enum Host {
    /// Signals that the daemon acts on, in the order they come.
    ///
    /// The handlers only write a byte to a pipe; they vanish at exec, so that no child inherits a disposition. SIGPIPE
    /// gets a handler that does nothing for the same reason: SIG_IGN would survive exec.
    static func signals(_ numbers: [Int32]) throws -> AsyncStream<Int32> {
        var ends: [Int32] = [-1, -1]
        try checked("make the signal pipe") {
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends)
        }
        signalPipe = ends[1]
        for number in numbers { handle(number) { signal in Host.report(signal) } }
        handle(SIGPIPE) { _ in }
        let (stream, continuation) = AsyncStream<Int32>.makeStream()
        var thread = pthread_t()
        let reader = Unmanaged.passRetained(SignalReader(descriptor: ends[0], continuation))
        let failure = pthread_create(&thread, nil, SignalReader.run, reader.toOpaque())
        if failure != 0 { throw SystemError("start the signal thread", errno: failure) }
        return stream
    }

    /// Set once, before any handler runs.
    nonisolated(unsafe) private static var signalPipe: Int32 = -1

    private static func report(_ signal: Int32) {
        let saved = errno
        var byte = UInt8(truncatingIfNeeded: signal)
        _ = Glibc.write(signalPipe, &byte, 1)
        errno = saved
    }

    private static func handle(_ number: Int32, _ handler: @escaping @convention(c) (Int32) -> Void) {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = handler
        action.sa_flags = Int32(SA_RESTART)
        sigaction(number, &action, nil)
    }

    /// Raises the soft limit of open files to the hard one: a container costs several, a client one.
    static func raiseOpenFiles() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// Writes the process id, unless the process that the file names is still there.
    static func writePidfile(_ path: String) throws {
        if let old = readPidfile(path), old != getpid(), isAlive(old) {
            throw StartError(
                "process with PID \(old) is still running, says \(path); stop it or choose another --pidfile")
        }
        let file = try FileDescriptor(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o644)
        let text = Array("\(getpid())\n".utf8)
        try checked("write \(path)") { Glibc.write(file.raw, text, text.count) }
    }

    /// Whether the process runs; one that has ended and that nobody has reaped yet does not.
    private static func isAlive(_ pid: Int32) -> Bool {
        guard kill(pid, 0) == 0 || errno == EPERM else { return false }
        guard let file = try? FileDescriptor("/proc/\(pid)/stat", O_RDONLY) else { return false }
        var bytes = [UInt8](repeating: 0, count: 512)
        let count = max(0, read(file.raw, &bytes, bytes.count))
        // proc(5): "pid (comm) state …"; comm may hold anything, brackets included.
        let state = bytes[..<count].lastIndex(of: UInt8(ascii: ")")).map { bytes[min($0 + 2, 511)] }
        return state != UInt8(ascii: "Z") && state != UInt8(ascii: "X")
    }

    /// Removes the file if it is still about us.
    static func removePidfile(_ path: String) {
        if readPidfile(path) == getpid() { unlink(path) }
    }

    private static func readPidfile(_ path: String) -> Int32? {
        guard let file = try? FileDescriptor(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = read(file.raw, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return Int32(String(decoding: bytes.prefix(count), as: UTF8.self).filter { !$0.isWhitespace })
    }

    /// The id of a group of this host, by name or number.
    static func group(_ name: String) -> gid_t? {
        if let entry = getgrnam(name) { return entry.pointee.gr_gid }
        return gid_t(name)
    }

    /// Tells systemd (sd_notify(3)) where the daemon is in its life: `READY=1`, `RELOADING=1`, `STOPPING=1`.
    static func notify(_ state: String) {
        guard let variable = getenv("NOTIFY_SOCKET") else { return }
        var path = Array(String(cString: variable).utf8)
        guard path.count > 1, path.count < 108, path[0] == UInt8(ascii: "/") || path[0] == UInt8(ascii: "@") else {
            return
        }
        // An abstract socket is written with an @ in place of the first NUL.
        if path[0] == UInt8(ascii: "@") { path[0] = 0 }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
        let message = Array(state.utf8)
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, message, message.count, Int32(MSG_NOSIGNAL), $0, length)
            }
        }
    }
}

/// Turns the signal pipe's bytes into a stream, on a thread of its own.
private final class SignalReader: Sendable {
    private let descriptor: Int32
    private let continuation: AsyncStream<Int32>.Continuation

    init(descriptor: Int32, _ continuation: AsyncStream<Int32>.Continuation) {
        self.descriptor = descriptor
        self.continuation = continuation
    }

    static let run: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
        let reader = Unmanaged<SignalReader>.fromOpaque(argument!).takeRetainedValue()
        var byte: UInt8 = 0
        while true {
            let count = read(reader.descriptor, &byte, 1)
            if count == 1 { reader.continuation.yield(Int32(byte)) } else if count == 0 || errno != EINTR { return nil }
        }
    }
}
