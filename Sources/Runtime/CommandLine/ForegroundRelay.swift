import CLinux
import Glibc
import LinuxKernel
import OCI

/// Stays with a container in the foreground: passes signals on, copies between the caller's terminal and the
/// container's, and waits.
struct ForegroundRelay {
    /// Signals are held back from the moment that this value is made, so that none is lost before the start.
    private let blocked: sigset_t

    init() {
        var all = sigset_t()
        sigfillset(&all)
        sigprocmask(SIG_BLOCK, &all, nil)
        blocked = all
    }

    /// - Returns: how the process ended.
    func run(pidfd: Int32, terminal: consuming FileDescriptor?) throws(CommandError) -> ExitStatus {
        do throws(SystemError) {
            var mask = blocked
            let signals = FileDescriptor(
                owning: try checked("signalfd") { clinux_signalfd(&mask) })
            let saved = terminal == nil ? nil : Self.makeRaw()
            defer { if var saved { tcsetattr(0, TCSANOW, &saved) } }
            if let terminal {
                Self.copySize(to: terminal.raw)
                try relay(pidfd, signals.raw, terminal.raw)
            } else {
                try relay(pidfd, signals.raw, -1)
            }
            guard let status = try LinuxKernel.Process.wait(pidfd: pidfd) else {
                throw SystemError("waitid", errno: ECHILD)
            }
            return status
        } catch {
            throw CommandError("cannot wait for the container: \(error)")
        }
    }

    private func relay(_ pidfd: Int32, _ signals: Int32, _ terminal: Int32) throws(SystemError) {
        var input = terminal >= 0
        while true {
            var sources = [
                pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0),
                pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
                pollfd(fd: terminal, events: Int16(POLLIN), revents: 0),
                pollfd(fd: input ? 0 : -1, events: Int16(POLLIN), revents: 0),
            ]
            try checked("poll") { poll(&sources, nfds_t(sources.count), -1) }
            if sources[1].revents != 0 { forward(signals, pidfd, terminal) }
            if sources[2].revents != 0 { _ = Self.copy(terminal, 1) }
            if sources[3].revents != 0 { input = Self.copy(0, terminal) }
            if sources[0].revents != 0 {
                // What it wrote last is still in the terminal.
                if terminal >= 0 {
                    _ = fcntl(terminal, F_SETFL, O_NONBLOCK)
                    while Self.copy(terminal, 1) {}
                }
                return
            }
        }
    }

    private func forward(_ signals: Int32, _ pidfd: Int32, _ terminal: Int32) {
        while true {
            switch clinux_signalfd_next(signals) {
            case ...0: return
            case SIGCHLD, SIGURG: continue
            case SIGWINCH where terminal >= 0: Self.copySize(to: terminal)
            case let number: try? LinuxKernel.Process.signal(pidfd: pidfd, number)
            }
        }
    }

    /// False at end of file.
    private static func copy(_ from: Int32, _ to: Int32) -> Bool {
        withUnsafeTemporaryAllocation(byteCount: 32768, alignment: 8) { buffer in
            let count = read(from, buffer.baseAddress!, buffer.count)
            guard count > 0 else { return false }
            var written = 0
            while written < count {
                let step = write(to, buffer.baseAddress! + written, count - written)
                if step < 0 && errno != EINTR { return false }
                written += max(0, step)
            }
            return true
        }
    }

    private static func makeRaw() -> termios? {
        var settings = termios()
        guard tcgetattr(0, &settings) == 0 else { return nil }
        let before = settings
        cfmakeraw(&settings)
        tcsetattr(0, TCSANOW, &settings)
        return before
    }

    private static func copySize(to terminal: Int32) {
        let size = callersSize()
        if size.width != 0 || size.height != 0 {
            try? Terminal.setSize(terminal, width: size.width, height: size.height)
        }
    }

    /// What a terminal starts with: the size that the configuration gives, else, in the foreground, that of the caller's.
    static func startSize(_ size: RuntimeSpec.ConsoleSize?, foreground: Bool) -> (width: UInt16, height: UInt16) {
        if let size, size.width != 0 || size.height != 0 {
            return (UInt16(clamping: size.width), UInt16(clamping: size.height))
        }
        return foreground ? callersSize() : (0, 0)
    }

    private static func callersSize() -> (width: UInt16, height: UInt16) {
        var columns: UInt16 = 0
        var rows: UInt16 = 0
        return clinux_get_window_size(0, &columns, &rows) == 0 ? (columns, rows) : (0, 0)
    }
}
