import EngineAPI
import Glibc
import OCI
import Synchronization

/// The daemon's log: one line an event on standard error, with a time unless systemd's journal adds one.
enum Log {
    enum Level: Int, Sendable, Comparable {
        case debug, info, warning, error, fatal

        init?(name: String) {
            switch name.lowercased() {
            case "debug", "trace": self = .debug
            case "info": self = .info
            case "warn", "warning": self = .warning
            case "error": self = .error
            case "fatal", "panic": self = .fatal
            default: return nil
            }
        }

        static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

        var name: String {
            switch self {
            case .debug: "debug"
            case .info: "info"
            case .warning: "warn"
            case .error: "error"
            case .fatal: "fatal"
            }
        }
    }

    private static let threshold = Atomic<Int>(Level.info.rawValue)
    private static let journal = getenv("JOURNAL_STREAM") != nil

    static func setLevel(_ level: Level) { threshold.store(level.rawValue, ordering: .relaxed) }

    static func write(_ level: Level, _ message: @autoclosure () -> String) {
        guard level.rawValue >= threshold.load(ordering: .relaxed) else { return }
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        // Whatever a message quotes, it stays one line.
        let text = String(message().map { $0.isNewline ? " " : $0 })
        let stamp = RFC3339.formatFixed(Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
        let line = journal ? "\(level.name): \(text)\n" : "\(stamp) \(level.name): \(text)\n"
        line.utf8.withContiguousStorageIfAvailable { _ = Glibc.write(2, $0.baseAddress, $0.count) }
    }
}
