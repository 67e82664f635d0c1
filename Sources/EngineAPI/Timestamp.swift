import OCI

/// Times as Docker writes them. A time is nanoseconds since the epoch, UTC.
public enum Timestamp {
    /// Go's zero time, which stands for "never" in Docker's documents.
    public static let never = "0001-01-01T00:00:00Z"

    /// RFC 3339 with nanoseconds and no trailing zeros (Go's `RFC3339Nano`); 0 is `never`.
    public static func format(_ nanoseconds: Int64) -> String {
        nanoseconds == 0 ? never : RFC3339.format(nanoseconds)
    }

    /// Nanoseconds since the epoch of an RFC 3339 time with any number of fraction digits and any offset; nil if the
    /// text is not one. `never` gives 0.
    public static func parse(_ text: String) -> Int64? {
        text == never ? 0 : RFC3339.nanoseconds(text)
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
        let (time, beyond) = scaled.addingReportingOverflow(nanoseconds)
        return overflow || beyond ? nil : time
    }
}

/// Walks over the bytes of a duration.
private struct Scanner {
    private var rest: Substring.UTF8View

    init(_ text: String) { rest = Substring(text).utf8 }

    var atEnd: Bool { rest.isEmpty }

    mutating func take(_ text: String) -> Bool {
        guard rest.starts(with: text.utf8) else { return false }
        rest = rest.dropFirst(text.utf8.count)
        return true
    }

    mutating func decimal() -> Double? {
        let part = rest.prefix { (48...57).contains($0) || $0 == UInt8(ascii: ".") }
        guard let value = Double(String(Substring(part))) else { return nil }
        rest = rest.dropFirst(part.count)
        return value
    }
}
