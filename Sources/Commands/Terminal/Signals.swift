import CLinux
import Glibc

/// Signals as a descriptor that can be polled, so that one thread handles everything in order.
final class SignalDescriptor {
    let descriptor: Int32
    private var before = sigset_t()

    /// Takes the given signals away from their default action until this object goes away.
    init(_ signals: [Int32]) throws(CommandFailure) {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        sigprocmask(SIG_BLOCK, &set, &before)
        descriptor = signalfd(-1, &set, Int32(SFD_CLOEXEC) | Int32(SFD_NONBLOCK))
        if descriptor < 0 {
            let code = errno
            sigprocmask(SIG_SETMASK, &before, nil)
            throw CommandFailure("cannot watch for signals: \(goReason(code))")
        }
    }

    /// The signals that have arrived.
    func pending() -> [Int32] {
        var result: [Int32] = []
        var info = signalfd_siginfo()
        while read(descriptor, &info, MemoryLayout<signalfd_siginfo>.size) == MemoryLayout<signalfd_siginfo>.size {
            result.append(Int32(info.ssi_signo))
        }
        return result
    }

    deinit {
        close(descriptor)
        sigprocmask(SIG_SETMASK, &before, nil)
    }
}

/// The names of signals, as `kill` takes them.
enum SignalName {
    /// What `--sig-proxy` passes on: everything that a program can catch, except what is about this program itself
    /// (its children, its broken pipes, its window, its own faults).
    static let proxied: [Int32] = names.keys.filter {
        ![SIGCHLD, SIGPIPE, SIGWINCH, SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT].contains($0)
    }.sorted()

    static let names: [Int32: String] = [
        SIGABRT: "ABRT", SIGALRM: "ALRM", SIGBUS: "BUS", SIGCHLD: "CHLD", SIGCONT: "CONT", SIGFPE: "FPE",
        SIGHUP: "HUP", SIGILL: "ILL", SIGINT: "INT", SIGIO: "IO", SIGKILL: "KILL", SIGPIPE: "PIPE", SIGPROF: "PROF",
        SIGPWR: "PWR", SIGQUIT: "QUIT", SIGSEGV: "SEGV", SIGSTKFLT: "STKFLT", SIGSTOP: "STOP", SIGSYS: "SYS",
        SIGTERM: "TERM", SIGTRAP: "TRAP", SIGTSTP: "TSTP", SIGTTIN: "TTIN", SIGTTOU: "TTOU", SIGURG: "URG",
        SIGUSR1: "USR1", SIGUSR2: "USR2", SIGVTALRM: "VTALRM", SIGWINCH: "WINCH", SIGXCPU: "XCPU", SIGXFSZ: "XFSZ",
    ]
}

extension SignalName {
    /// What a user may mean by a signal on the command line.
    static var completions: [String] { names.values.sorted() }
}
