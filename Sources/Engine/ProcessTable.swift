import Glibc
import LinuxKernel

/// What `top` shows: a titled table of a container's processes.
struct ProcessTable: Sendable, Equatable {
    var titles: [String]
    var rows: [[String]]

    /// The columns of `ps -ef`, read from /proc: the daemon needs no `ps` for them. Pids that end meanwhile are left
    /// out.
    static func full(of pids: [Int32]) -> ProcessTable {
        let clock = SystemClock()
        let users = UserNames()
        let rows = pids.sorted().compactMap { pid -> [String]? in
            guard let process = ProcessStatus(pid: pid) else { return nil }
            let cpuSeconds = process.cpuTicks / clock.ticksPerSecond
            let age = max(clock.uptime - Double(process.startTicks) / Double(clock.ticksPerSecond), 1)
            let share = Int(Double(process.cpuTicks) / Double(clock.ticksPerSecond) * 100 / age)
            return [
                users.name(of: process.uid), String(pid), String(process.parent), String(min(share, 99)),
                clock.startText(ticks: process.startTicks), process.terminalName, timeText(cpuSeconds),
                process.commandLine,
            ]
        }
        return ProcessTable(titles: ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"], rows: rows)
    }

    /// Picks the rows of `pids` out of the output of the host's `ps`. The PID column is found by its title; the last
    /// column takes what is left of the line.
    static func parse(output: String, pids: Set<Int32>) throws(EngineError) -> ProcessTable {
        let lines = output.split(separator: "\n")
        guard let header = lines.first else { throw .internal("ps printed nothing") }
        let titles = header.split(whereSeparator: \.isWhitespace).map(String.init)
        guard let column = titles.firstIndex(of: "PID") else {
            throw .invalid("Couldn't find PID field in ps output")
        }
        var rows: [[String]] = []
        for line in lines.dropFirst() {
            let fields = line.split(
                maxSplits: titles.count - 1, omittingEmptySubsequences: true, whereSeparator: \.isWhitespace
            ).map(String.init)
            guard fields.count > column, let pid = Int32(fields[column]), pids.contains(pid) else { continue }
            rows.append(fields)
        }
        return ProcessTable(titles: titles, rows: rows)
    }

    private static func timeText(_ seconds: UInt64) -> String {
        let parts = [seconds / 3600, seconds / 60 % 60, seconds % 60]
        return parts.map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: ":")
    }
}

/// One process as `/proc/<pid>` has it (proc(5)).
private struct ProcessStatus {
    var uid: UInt32
    var parent: Int32
    var terminal: Int
    var cpuTicks: UInt64
    var startTicks: UInt64
    var commandLine: String

    init?(pid: Int32) {
        guard let text = try? Files.text("/proc/\(pid)/stat"),
            // The name is in parentheses and may itself hold any character: the fields start behind the last one.
            let open = text.firstIndex(of: "("), let end = text.lastIndex(of: ")")
        else { return nil }
        let name = text[text.index(after: open)..<end]
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 19, let parent = Int32(fields[1]), let terminal = Int(fields[4]),
            let user = UInt64(fields[11]), let system = UInt64(fields[12]), let start = UInt64(fields[19])
        else { return nil }
        var status = stat()
        guard stat("/proc/\(pid)", &status) == 0 else { return nil }
        uid = status.st_uid
        self.parent = parent
        self.terminal = terminal
        cpuTicks = user + system
        startTicks = start
        let raw = (try? Files.read("/proc/\(pid)/cmdline")) ?? []
        let words = raw.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        commandLine = words.isEmpty ? "[\(name)]" : words.joined(separator: " ")
    }

    /// `pts/0`, `tty1` or `?` from the device number of stat's field 7.
    var terminalName: String {
        let major = (terminal >> 8) & 0xFFF
        let minor = (terminal & 0xFF) | ((terminal >> 12) & 0xFFF00)
        switch major {
        case 0: return "?"
        case 136...143: return "pts/\(minor + (major - 136) * 256)"
        case 4: return minor < 64 ? "tty\(minor)" : "ttyS\(minor - 64)"
        case 5 where minor == 1: return "console"
        default: return "?"
        }
    }
}

private struct SystemClock {
    let ticksPerSecond = UInt64(max(sysconf(Int32(_SC_CLK_TCK)), 1))
    let uptime: Double
    let now = time(nil)

    init() {
        let text = (try? Files.text("/proc/uptime")) ?? ""
        uptime = text.split(separator: " ").first.flatMap { Double($0) } ?? 0
    }

    /// `HH:MM` for processes of today, `MonDD` for older ones, as ps(1) prints STIME.
    func startText(ticks: UInt64) -> String {
        var start = now - time_t(uptime) + time_t(ticks / ticksPerSecond)
        var today = now
        var local = tm()
        var current = tm()
        localtime_r(&start, &local)
        localtime_r(&today, &current)
        let sameDay = local.tm_yday == current.tm_yday && local.tm_year == current.tm_year
        var buffer = [CChar](repeating: 0, count: 16)
        strftime(&buffer, buffer.count, sameDay ? "%H:%M" : "%b%d", &local)
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// Names of the host's users, from /etc/passwd.
private struct UserNames {
    private let names: [UInt32: String]

    init() {
        var names: [UInt32: String] = [:]
        let text = (try? Files.text("/etc/passwd")) ?? ""
        for line in text.split(separator: "\n") {
            let fields = line.split(byte: ":", omittingEmptySubsequences: false)
            if fields.count > 2, let uid = UInt32(fields[2]), names[uid] == nil { names[uid] = String(fields[0]) }
        }
        self.names = names
    }

    func name(of uid: UInt32) -> String { names[uid] ?? String(uid) }
}
