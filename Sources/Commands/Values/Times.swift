import EngineAPI
import Glibc

/// A point in time: nanoseconds since the epoch, UTC.
typealias Nanoseconds = Int64

let second: Nanoseconds = 1_000_000_000

func now() -> Nanoseconds {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * second + Int64(time.tv_nsec)
}

/// Reads a duration such as `1h30m` or `250ms` in nanoseconds, as Go's `time.ParseDuration` does.
func parseDuration(_ word: String) throws(InvalidValue) -> Nanoseconds {
    if let value = Timestamp.parseDuration(word) { return value }
    let lacksUnit = !word.isEmpty && word.allSatisfy { $0.isNumber || $0 == "." || $0 == "-" }
    throw InvalidValue("time: \(lacksUnit ? "missing unit in" : "invalid") duration \(quoted(word))")
}

/// Turns what a user gives for `--since` or `--until` into what the API takes, seconds with nine decimals: a duration
/// counts back from `now`, a date or time without a zone is local, a number of seconds since the epoch is kept.
func apiTimestamp(_ word: String, now: Nanoseconds) throws(InvalidValue) -> String {
    if let duration = Timestamp.parseDuration(word) {
        let (time, overflows) = now.subtractingReportingOverflow(duration)
        if overflows { throw InvalidValue("\(quoted(word)) is too far away") }
        return decimalSeconds(time)
    }
    let isNumber = !word.isEmpty && word.utf8.allSatisfy { (48...57).contains($0) || $0 == UInt8(ascii: ".") }
    if isNumber { return word }
    guard let time = Timestamp.parse(word) ?? parseLocalTime(word) else {
        throw InvalidValue("failed to parse value as time or duration: \(quoted(word))")
    }
    return decimalSeconds(time)
}

private func decimalSeconds(_ time: Nanoseconds) -> String {
    var (seconds, nanoseconds) = (time / second, time % second)
    // What is behind the point counts on from the second, before 1970 as well.
    if nanoseconds < 0 { (seconds, nanoseconds) = (seconds - 1, nanoseconds + second) }
    return "\(seconds).\(padded(Int(nanoseconds), 9))"
}

/// Reads a date or time without a zone on the user's clock: `2006-01-02`, `2006-01-02T15:04`, `2006-01-02T15:04:05.5`.
func parseLocalTime(_ word: String) -> Nanoseconds? {
    // The zone is completed with that of UTC, then what the user's clock was off by is taken away.
    let complete = ["Z", ":00Z", ":00:00Z", "T00:00:00Z"].lazy.compactMap { Timestamp.parse(word + $0) }.first
    guard let utc = complete else { return nil }
    var seconds = time_t(utc / second)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    parts.tm_isdst = -1
    return Int64(mktime(&parts)) * second + utc % second
}

/// How long ago, in docker's words: `2 hours`, `About a minute`, `Less than a second`.
func humanDuration(_ duration: Nanoseconds) -> String {
    let seconds = duration / second
    let minutes = seconds / 60
    let hours = (duration + 1800 * second) / (3600 * second)
    switch true {
    case seconds < 1: return "Less than a second"
    case seconds == 1: return "1 second"
    case seconds < 60: return "\(seconds) seconds"
    case minutes == 1: return "About a minute"
    case minutes < 60: return "\(minutes) minutes"
    case hours == 1: return "About an hour"
    case hours < 48: return "\(hours) hours"
    case hours < 24 * 7 * 2: return "\(hours / 24) days"
    case hours < 24 * 30 * 2: return "\(hours / 24 / 7) weeks"
    case hours < 24 * 365 * 2: return "\(hours / 24 / 30) months"
    default: return "\(seconds / 3600 / 24 / 365) years"
    }
}

/// A time on the user's clock as Go prints one: `2006-01-02 15:04:05 -0700 MST`.
func localTime(_ seconds: Int64) -> String {
    formatLocal(seconds, "%Y-%m-%d %H:%M:%S %z %Z")
}

/// A time on the user's clock in RFC 3339 with nine decimals, as in `docker events`.
func localTimestamp(_ time: Nanoseconds) -> String {
    let zone = formatLocal(time / second, "%z")
    let colon = zone == "+0000" ? "Z" : "\(zone.prefix(3)):\(zone.suffix(2))"
    return formatLocal(time / second, "%Y-%m-%dT%H:%M:%S") + ".\(padded(Int(time % second), 9))\(colon)"
}

func formatLocal(_ seconds: Int64, _ format: String) -> String {
    var time = time_t(seconds)
    var parts = tm()
    localtime_r(&time, &parts)
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
        let length = strftime(buffer.baseAddress!, buffer.count, format, &parts)
        return String(decoding: buffer.prefix(length).lazy.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

private func padded(_ number: Int, _ width: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}
