import Glibc

/// The size of a terminal in characters.
struct TerminalSize: Equatable {
    let rows: Int
    let columns: Int
}

/// A terminal that a descriptor leads to.
enum Terminal {
    static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

    /// Nil where the descriptor is no terminal, or one that does not know its size.
    static func size(_ descriptor: Int32) -> TerminalSize? {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0, size.ws_col > 0 else { return nil }
        return TerminalSize(rows: Int(size.ws_row), columns: Int(size.ws_col))
    }
}

extension Terminal {
    /// Reads a line that is not shown while it is typed.
    ///
    /// - Throws: `CommandFailure` when a signal ends it; the terminal shows what is typed again.
    static func readSecret(_ descriptor: Int32) throws(CommandFailure) -> String {
        var saved = termios()
        guard tcgetattr(descriptor, &saved) == 0 else {
            throw CommandFailure("cannot read the terminal's mode: \(goReason(errno))")
        }
        let signals = try SignalDescriptor([SIGHUP, SIGINT, SIGQUIT, SIGTERM])
        var silent = saved
        silent.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(descriptor, TCSANOW, &silent)
        defer { tcsetattr(descriptor, TCSANOW, &saved) }
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while true {
            var polled = [
                pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            if poll(&polled, 2, -1) < 0 && errno == EINTR { continue }
            if let signal = signals.pending().first { throw CommandFailure(nil, exitCode: 128 + signal) }
            let count = read(descriptor, &byte, 1)
            if count < 0 && (errno == EINTR || errno == EAGAIN) { continue }
            if count <= 0 || byte == 10 { return String(decoding: line, as: UTF8.self) }
            line.append(byte)
        }
    }
}

/// Keeps a terminal in raw mode while it lives, and gives it back as it was.
final class RawTerminal {
    private let descriptor: Int32
    private var saved = termios()
    private var isRaw = false

    /// - Throws: `CommandFailure` where the mode can't be set.
    init(_ descriptor: Int32) throws(CommandFailure) {
        self.descriptor = descriptor
        guard tcgetattr(descriptor, &saved) == 0 else {
            throw CommandFailure("cannot read the terminal's mode: \(goReason(errno))")
        }
        var raw = saved
        cfmakeraw(&raw)
        guard tcsetattr(descriptor, TCSANOW, &raw) == 0 else {
            throw CommandFailure("cannot put the terminal into raw mode: \(goReason(errno))")
        }
        isRaw = true
    }

    func restore() {
        if isRaw { tcsetattr(descriptor, TCSANOW, &saved) }
        isRaw = false
    }

    deinit { restore() }
}
