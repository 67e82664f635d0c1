import Glibc

/// Signals by Docker's names and numbers.
enum Signal {
    private static let names: [String: Int32] = [
        "ABRT": SIGABRT, "ALRM": SIGALRM, "BUS": SIGBUS, "CHLD": SIGCHLD, "CLD": SIGCHLD, "CONT": SIGCONT,
        "FPE": SIGFPE, "HUP": SIGHUP, "ILL": SIGILL, "INT": SIGINT, "IO": SIGIO, "IOT": SIGIOT, "KILL": SIGKILL,
        "PIPE": SIGPIPE, "POLL": SIGPOLL, "PROF": SIGPROF, "PWR": SIGPWR, "QUIT": SIGQUIT, "SEGV": SIGSEGV,
        "STKFLT": 16, "STOP": SIGSTOP, "SYS": SIGSYS, "TERM": SIGTERM, "TRAP": SIGTRAP, "TSTP": SIGTSTP,
        "TTIN": SIGTTIN, "TTOU": SIGTTOU, "URG": SIGURG, "USR1": SIGUSR1, "USR2": SIGUSR2, "VTALRM": SIGVTALRM,
        "WINCH": SIGWINCH, "XCPU": SIGXCPU, "XFSZ": SIGXFSZ,
    ]
    /// signal(7): glibc keeps two of the kernel's real-time signals for itself.
    private static let firstRealTime: Int32 = 34
    private static let lastRealTime: Int32 = 64

    /// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
    static func parse(_ text: String) throws(EngineError) -> Int32 {
        let refusal = EngineError.invalid("invalid signal: \(text)")
        if let number = Int32(text) {
            guard (1...lastRealTime).contains(number) else { throw refusal }
            return number
        }
        var name = text.uppercased()
        if name.hasPrefix("SIG") { name.removeFirst(3) }
        if let number = names[name] { return number }
        for (prefix, base, sign) in [("RTMIN", firstRealTime, Int32(1)), ("RTMAX", lastRealTime, -1)]
        where name.hasPrefix(prefix) {
            let rest = name.dropFirst(prefix.count)
            let offset = rest.isEmpty ? 0 : Int32(rest.dropFirst()) ?? -1
            guard rest.isEmpty || rest.first == (sign > 0 ? "+" : "-"), (0...30).contains(offset) else { throw refusal }
            return base + sign * offset
        }
        throw refusal
    }
}
