import CTestSupport
import Glibc

/// Seconds that something which must come may take: a guard against hanging, never waited out by a test that passes.
let patience = 60.0

/// How a command ended and what it printed.
struct Outcome: Sendable {
    /// The exit code, or 128 plus the signal's number.
    var status: Int32
    var output: String
    var error: String

    /// Standard output without the newline at its end.
    var line: String { output.hasSuffix("\n") ? String(output.dropLast()) : output }
    /// Standard output's lines.
    var lines: [String] { output.split(separator: "\n").map(String.init) }
}

struct CommandFailure: Error, CustomStringConvertible {
    var description: String
}

/// A program under test, running. It is killed when the object goes away.
final class Command {
    enum Standard {
        /// /dev/null for input, pipes for output and error.
        case closed
        /// A pipe for input besides.
        case piped
        /// A pseudo-terminal of 80 columns and 24 rows for all three.
        case terminal
    }

    let pid: pid_t
    let name: String
    private var input: Int32
    private var outputs: [Int32]
    private var collected: [[UInt8]] = [[], []]
    private var status: Int32?

    /// Input for a program that has ended is that test's failure, not the end of all tests.
    private static let writesToNobodyFail: Void = { Glibc.signal(SIGPIPE, SIG_IGN) }()

    /// Starts `path`; nothing but the three standard descriptors is inherited.
    init(_ path: String, _ arguments: [String], environment: [String: String], standard: Standard = .closed) throws {
        _ = Self.writesToNobodyFail
        name = ([path.split(separator: "/").last.map(String.init) ?? path] + arguments).joined(separator: " ")
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var childEnds: [Int32] = []
        defer { for end in childEnds { close(end) } }

        if standard == .terminal {
            var slave = [CChar](repeating: 0, count: 64)
            let master = test_open_terminal(24, 80, &slave, slave.count)
            guard master >= 0 else { throw CommandFailure(description: "no pseudo-terminal: errno \(errno)") }
            // Opening it as a session leader without O_NOCTTY makes it the controlling terminal.
            posix_spawn_file_actions_addopen(&actions, 0, slave, O_RDWR, 0)
            posix_spawn_file_actions_adddup2(&actions, 0, 1)
            posix_spawn_file_actions_adddup2(&actions, 0, 2)
            input = master
            outputs = [fcntl(master, F_DUPFD_CLOEXEC, 3), -1]
        } else {
            var pipes: [[Int32]] = []
            for _ in 0..<(standard == .piped ? 3 : 2) {
                var ends: [Int32] = [-1, -1]
                guard test_open_pipe(&ends) == 0 else {
                    throw CommandFailure(description: "no pipe: errno \(errno)")
                }
                pipes.append(ends)
            }
            posix_spawn_file_actions_adddup2(&actions, pipes[0][1], 1)
            posix_spawn_file_actions_adddup2(&actions, pipes[1][1], 2)
            childEnds = [pipes[0][1], pipes[1][1]]
            if standard == .piped {
                posix_spawn_file_actions_adddup2(&actions, pipes[2][0], 0)
                childEnds.append(pipes[2][0])
                input = pipes[2][1]
            } else {
                posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
                input = -1
            }
            outputs = [pipes[0][0], pipes[1][0]]
        }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) | test_spawn_setsid)

        var argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer {
            for pointer in argv + envp { free(pointer) }
            argv.removeAll()
            envp.removeAll()
        }
        var child: pid_t = -1
        let code = posix_spawnp(&child, path, &actions, &attributes, argv, envp)
        guard code == 0 else {
            throw CommandFailure(description: "cannot start \(path): \(String(cString: strerror(code)))")
        }
        pid = child
    }

    deinit {
        if status == nil {
            kill(pid, SIGKILL)
            waitpid(pid, nil, 0)
        }
        for descriptor in outputs + [input] where descriptor >= 0 { close(descriptor) }
    }

    /// What has come on standard output (or the terminal) so far.
    var output: String { String(decoding: collected[0], as: UTF8.self) }
    /// What has come on standard error so far.
    var error: String { String(decoding: collected[1], as: UTF8.self) }

    /// Types `text` at its standard input; the pipe must take it without blocking for long.
    func write(_ text: String) throws {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { Glibc.write(input, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else {
                throw CommandFailure(description: "\(name): its input is closed (errno \(errno))")
            }
            bytes = bytes.dropFirst(written)
        }
    }

    /// Ends its standard input.
    func closeInput() {
        if input >= 0 { close(input) }
        input = -1
    }

    /// Changes its terminal's size.
    func resize(rows: UInt16, columns: UInt16) {
        _ = test_resize_terminal(input, rows, columns)
    }

    func signal(_ number: Int32) { kill(pid, number) }

    /// Reads until standard output holds `text`; throws when it ends or the time is over first.
    @discardableResult
    func waitFor(_ text: String, seconds: Double = patience) throws -> String {
        try wait(seconds: seconds, what: "'\(text)' in its output") { output.contains(text) }
        return output
    }

    /// Reads until standard error holds `text`.
    func waitForError(_ text: String, seconds: Double = patience) throws {
        try wait(seconds: seconds, what: "'\(text)' on standard error") { error.contains(text) }
    }

    private func wait(seconds: Double, what: String, until done: () -> Bool) throws {
        let deadline = Clock.now + Int64(seconds * 1e9)
        while !done() {
            guard outputs.contains(where: { $0 >= 0 }) else {
                throw CommandFailure(description: "\(name): ended without \(what); \(report)")
            }
            guard pump(until: deadline) else {
                throw CommandFailure(description: "\(name): no \(what) after \(seconds) s; \(report)")
            }
        }
    }

    /// Reads what there is; false when the deadline passed.
    private func pump(until deadline: Int64) -> Bool {
        var polled = outputs.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        let left = max(0, deadline - Clock.now)
        let count = poll(&polled, nfds_t(polled.count), Int32(min(left / 1_000_000 + 1, 3_600_000)))
        if count == 0 { return Clock.now < deadline }
        if count < 0 { return true }
        var buffer = [UInt8](repeating: 0, count: 65536)
        for (index, entry) in polled.enumerated() where entry.revents != 0 && entry.fd >= 0 {
            let got = read(entry.fd, &buffer, buffer.count)
            if got > 0 {
                collected[index].append(contentsOf: buffer[..<got])
            } else if got == 0 || errno != EINTR {
                // A terminal whose other side is closed reads as EIO.
                close(entry.fd)
                outputs[index] = -1
            }
        }
        return true
    }

    /// Waits for its end, reading all it prints. Past the time it is killed, and that is an error.
    @discardableResult
    func finish(seconds: Double = 3 * patience) throws -> Outcome {
        let deadline = Clock.now + Int64(seconds * 1e9)
        while outputs.contains(where: { $0 >= 0 }) {
            guard pump(until: deadline) else { throw timedOut(seconds) }
        }
        var raw: Int32 = 0
        while true {
            let result = waitpid(pid, &raw, WNOHANG)
            if result == pid { break }
            if result < 0 && errno != EINTR {
                throw CommandFailure(description: "\(name): waitpid: errno \(errno)")
            }
            guard Clock.now < deadline else { throw timedOut(seconds) }
            usleep(1000)
        }
        let code = raw & 0x7f == 0 ? (raw >> 8) & 0xff : 128 + (raw & 0x7f)
        status = code
        return Outcome(status: code, output: output, error: error)
    }

    private func timedOut(_ seconds: Double) -> CommandFailure {
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
        status = 137
        return CommandFailure(description: "\(name): still running after \(seconds) s; \(report)")
    }

    private var report: String { "its output: '\(output.suffix(2000))', its errors: '\(error.suffix(2000))'" }
}

/// CLOCK_MONOTONIC.
enum Clock {
    /// Nanoseconds.
    static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

/// Asks again and again, for what has no event to wait on from outside (a cgroup that goes, a file that appears).
/// Ends as soon as `condition` holds; false after `seconds`.
func eventually(seconds: Double = patience, _ condition: () throws -> Bool) rethrows -> Bool {
    let deadline = Clock.now + Int64(seconds * 1e9)
    while true {
        if try condition() { return true }
        if Clock.now > deadline { return false }
        usleep(10_000)
    }
}
