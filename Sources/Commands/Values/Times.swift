import EngineAPI
import Glibc
import OCI

/// A point in time: nanoseconds since the epoch, UTC.
typealias Nanoseconds = Int64

let second: Nanoseconds = 1_000_000_000

/// The wall clock.
func now() -> Nanoseconds { read(CLOCK_REALTIME) }

/// A clock that is never set, for what lasts.
func monotonicTime() -> Nanoseconds { read(CLOCK_MONOTONIC) }

private func read(_ clock: clockid_t) -> Nanoseconds {
    var time = timespec()
    clock_gettime(clock, &time)
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

/// Seconds since the epoch in nanoseconds, as near as there are any: an image may say any year of itself.
func nanoseconds(ofSeconds seconds: Int64) -> Nanoseconds {
    let (product, overflows) = seconds.multipliedReportingOverflow(by: second)
    return overflows ? (seconds < 0 ? .min : .max) : product
}

/// How long ago `seconds` since the epoch were: `2 hours ago`. What is yet to come is `Less than a second ago`.
func age(ofSeconds seconds: Int64, now: Nanoseconds) -> String {
    let (age, overflows) = now.subtractingReportingOverflow(nanoseconds(ofSeconds: seconds))
    return humanDuration(overflows ? (seconds > now / second ? 0 : .max) : age) + " ago"
}

/// How long ago, in docker's words: `2 hours`, `About a minute`, `Less than a second`.
func humanDuration(_ duration: Nanoseconds) -> String {
    let seconds = duration / second
    let minutes = seconds / 60
    let hours = duration.addingClamped(1800 * second) / (3600 * second)
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

/// Seconds since the epoch on the user's clock in RFC 3339.
func localTimestamp(ofSeconds seconds: Int64) -> String {
    formatLocal(seconds, "%Y-%m-%dT%H:%M:%S") + zone(seconds)
}

/// The user's offset from UTC then: `Z`, `+01:00`.
private func zone(_ seconds: Int64) -> String {
    let zone = formatLocal(seconds, "%z")
    return zone == "+0000" ? "Z" : "\(zone.prefix(3)):\(zone.suffix(2))"
}

/// A time on the user's clock in RFC 3339 with nine decimals, as in `docker events`.
func localTimestamp(_ time: Nanoseconds) -> String {
    formatLocal(time / second, "%Y-%m-%dT%H:%M:%S") + ".\(padded(Int(time % second), 9))" + zone(time / second)
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
