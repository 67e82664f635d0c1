/// Times as Docker writes them. A time is nanoseconds since the epoch, UTC.
public enum Timestamp {
    /// Go's zero time, which stands for "never" in Docker's documents.
    public static let never = "0001-01-01T00:00:00Z"

    /// RFC 3339 with nanoseconds and no trailing zeros (Go's `RFC3339Nano`); 0 is `never`.
    public static func format(_ nanoseconds: Int64) -> String {
        if nanoseconds == 0 { return never }
        let (text, fraction) = seconds(nanoseconds)
        if fraction == 0 { return text + "Z" }
        var digits = Array(padded(fraction, 9).utf8)
        while digits.last == UInt8(ascii: "0") { digits.removeLast() }
        return text + "." + String(decoding: digits, as: UTF8.self) + "Z"
    }

    /// RFC 3339 with all nine digits of nanoseconds, as `docker logs -t` and `docker events` print.
    public static func formatFixed(_ nanoseconds: Int64) -> String {
        let (text, fraction) = seconds(nanoseconds)
        return text + "." + padded(fraction, 9) + "Z"
    }

    /// RFC 3339 to the second.
    public static func formatSeconds(_ nanoseconds: Int64) -> String { seconds(nanoseconds).text + "Z" }

    /// Nanoseconds since the epoch of an RFC 3339 time with any number of fraction digits and any offset; nil if the
    /// text is not one. `never` gives 0.
    public static func parse(_ text: String) -> Int64? {
        if text == never { return 0 }
        var scanner = Scanner(text)
        guard let year = scanner.number(4), scanner.take("-"), let month = scanner.number(2), scanner.take("-"),
            let day = scanner.number(2), scanner.take("T") || scanner.take("t") || scanner.take(" "),
            let hour = scanner.number(2), scanner.take(":"), let minute = scanner.number(2), scanner.take(":"),
            let second = scanner.number(2), (1...12).contains(month), (1...31).contains(day), hour < 24,
            minute < 60, second < 61
        else { return nil }
        guard let fraction = scanner.take(".") ? scanner.fraction() : 0 else { return nil }
        guard let offset = scanner.offset(), scanner.atEnd else { return nil }
        let time = daysFromCivil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
        let (scaled, overflow) = time.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? nil : scaled + fraction
    }

    /// What a client may send as `since` or `until`: RFC 3339 (also without zone, time or date parts), or seconds
    /// since the epoch with an optional fraction. Nil: neither.
    ///
    /// Durations ("10m") are turned into such values by clients; a daemon also takes them, relative to `now`.
    public static func parseParameter(_ text: String, now: Int64) -> Int64? {
        if let time = parseEpoch(text) ?? parse(text) { return time }
        for suffix in ["Z", ":00Z", ":00:00Z", "T00:00:00Z"] {
            if let time = parse(text + suffix) { return time }
        }
        if let duration = parseDuration(text) { return now &- duration }
        return nil
    }

    /// Nanoseconds of a Go duration such as `1h30m`, `1.5s`, `300ms`.
    public static func parseDuration(_ text: String) -> Int64? {
        var scanner = Scanner(text)
        let negative = scanner.take("-")
        if !negative { _ = scanner.take("+") }
        if scanner.atEnd { return nil }
        if text.utf8.last == UInt8(ascii: "0"), text.utf8.count == (negative ? 2 : 1) { return 0 }
        var total = 0.0
        while !scanner.atEnd {
            guard let value = scanner.decimal() else { return nil }
            let unit: Double
            if scanner.take("ns") {
                unit = 1
            } else if scanner.take("us") || scanner.take("µs") || scanner.take("μs") {
                unit = 1e3
            } else if scanner.take("ms") {
                unit = 1e6
            } else if scanner.take("s") {
                unit = 1e9
            } else if scanner.take("m") {
                unit = 60e9
            } else if scanner.take("h") {
                unit = 3600e9
            } else {
                return nil
            }
            total += value * unit
        }
        guard total < 9.2e18 else { return nil }
        return Int64((negative ? -total : total).rounded())
    }

    private static func parseEpoch(_ text: String) -> Int64? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let seconds = Int64(parts[0]) else { return nil }
        var nanoseconds: Int64 = 0
        if parts.count == 2 {
            guard parts[1].utf8.allSatisfy({ (48...57).contains($0) }), parts[1].utf8.count <= 9 else { return nil }
            nanoseconds = Int64(String(parts[1]) + String(repeating: "0", count: 9 - parts[1].utf8.count)) ?? 0
        }
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? nil : scaled + nanoseconds
    }

    private static func seconds(_ nanoseconds: Int64) -> (text: String, fraction: Int64) {
        var seconds = nanoseconds / 1_000_000_000
        var fraction = nanoseconds % 1_000_000_000
        if fraction < 0 {
            fraction += 1_000_000_000
            seconds -= 1
        }
        var days = seconds / 86400
        var rest = seconds % 86400
        if rest < 0 {
            rest += 86400
            days -= 1
        }
        let (year, month, day) = civilFromDays(days)
        let text =
            "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T"
            + "\(padded(rest / 3600, 2)):\(padded(rest / 60 % 60, 2)):\(padded(rest % 60, 2))"
        return (text, fraction)
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
    }

    // The proleptic Gregorian calendar in eras of 400 years that begin in March: a leap day ends an era's year, so
    // that no table is needed.
    private static func daysFromCivil(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719468
    }

    private static func civilFromDays(_ days: Int64) -> (Int64, Int64, Int64) {
        let shifted = days + 719468
        let era = (shifted >= 0 ? shifted : shifted - 146096) / 146097
        let dayOfEra = shifted - era * 146097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthIndex + 2) / 5 + 1
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }
}

/// Walks over the bytes of a time.
private struct Scanner {
    private var rest: Substring.UTF8View

    init(_ text: String) { rest = Substring(text).utf8 }

    var atEnd: Bool { rest.isEmpty }

    mutating func take(_ text: String) -> Bool {
        guard rest.starts(with: text.utf8) else { return false }
        rest = rest.dropFirst(text.utf8.count)
        return true
    }

    mutating func number(_ digits: Int) -> Int64? {
        let part = rest.prefix(digits)
        guard part.count == digits, part.allSatisfy({ (48...57).contains($0) }) else { return nil }
        rest = rest.dropFirst(digits)
        return part.reduce(0) { $0 * 10 + Int64($1 - 48) }
    }

    /// Digits after the point, as nanoseconds; more than nine are cut.
    mutating func fraction() -> Int64? {
        let part = rest.prefix { (48...57).contains($0) }
        if part.isEmpty { return nil }
        rest = rest.dropFirst(part.count)
        var value: Int64 = 0
        var scale: Int64 = 100_000_000
        for digit in part.prefix(9) {
            value += Int64(digit - 48) * scale
            scale /= 10
        }
        return value
    }

    mutating func decimal() -> Double? {
        let part = rest.prefix { (48...57).contains($0) || $0 == UInt8(ascii: ".") }
        guard let value = Double(String(Substring(part))) else { return nil }
        rest = rest.dropFirst(part.count)
        return value
    }

    /// Seconds east of Greenwich: `Z` or `±hh:mm`.
    mutating func offset() -> Int64? {
        if take("Z") || take("z") { return 0 }
        let east = take("+")
        guard east || take("-") else { return nil }
        guard let hours = number(2), take(":"), let minutes = number(2) else { return nil }
        return (hours * 3600 + minutes * 60) * (east ? 1 : -1)
    }
}
