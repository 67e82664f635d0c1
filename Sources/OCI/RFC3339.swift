/// Times as image configurations, logs and Docker's API write them. A time is nanoseconds since 1970, UTC: years 1678 to
/// 2261, so Go's zero time (year 1) is none.
public enum RFC3339 {
    /// Bytes of what ``append(_:to:)`` writes.
    public static let fixedLength = 30

    private static let second: Int64 = 1_000_000_000

    // MARK: Writing

    /// Adds `2006-01-02T15:04:05.000000000Z`, always 30 bytes.
    public static func append(_ nanoseconds: Int64, to output: inout [UInt8]) {
        let seconds = floored(nanoseconds, second)
        let days = floored(seconds.quotient, 86_400)
        let (year, month, day) = date(daysSince1970: days.quotient)
        let time = days.remainder
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: fixedLength) { text in
            text.initialize(repeating: 0)
            func put(_ value: Int64, at start: Int, digits: Int) {
                var value = value
                for index in stride(from: start + digits - 1, through: start, by: -1) {
                    text[index] = UInt8(truncatingIfNeeded: 48 + value % 10)
                    value /= 10
                }
            }
            put(year, at: 0, digits: 4)
            text[4] = UInt8(ascii: "-")
            put(month, at: 5, digits: 2)
            text[7] = UInt8(ascii: "-")
            put(day, at: 8, digits: 2)
            text[10] = UInt8(ascii: "T")
            put(time / 3600, at: 11, digits: 2)
            text[13] = UInt8(ascii: ":")
            put(time / 60 % 60, at: 14, digits: 2)
            text[16] = UInt8(ascii: ":")
            put(time % 60, at: 17, digits: 2)
            text[19] = UInt8(ascii: ".")
            put(seconds.remainder, at: 20, digits: 9)
            text[29] = UInt8(ascii: "Z")
            output.append(contentsOf: text)
        }
    }

    /// All nine digits of nanoseconds.
    public static func formatFixed(_ nanoseconds: Int64) -> String {
        String(decoding: bytes(nanoseconds), as: UTF8.self)
    }

    /// As many fraction digits as are needed, as Go's `time.RFC3339Nano` writes it.
    public static func format(_ nanoseconds: Int64) -> String {
        var text = bytes(nanoseconds)
        text.removeLast()
        while text.last == UInt8(ascii: "0") { text.removeLast() }
        if text.last == UInt8(ascii: ".") { text.removeLast() }
        return String(decoding: text, as: UTF8.self) + "Z"
    }

    /// To the second, without a fraction.
    public static func formatSeconds(_ nanoseconds: Int64) -> String {
        String(decoding: bytes(nanoseconds).prefix(19), as: UTF8.self) + "Z"
    }

    private static func bytes(_ nanoseconds: Int64) -> [UInt8] {
        var text: [UInt8] = []
        append(nanoseconds, to: &text)
        return text
    }

    // MARK: Reading

    /// A time with any number of fraction digits (nine count) and `Z` or a numeric offset; nil when it isn't one.
    public static func nanoseconds(_ text: UnsafeRawBufferPointer) -> Int64? {
        func digits(_ start: Int, _ count: Int) -> Int64? {
            guard start + count <= text.count else { return nil }
            var value: Int64 = 0
            for index in start..<start + count {
                guard text[index] >= 48, text[index] <= 57 else { return nil }
                value = value * 10 + Int64(text[index] - 48)
            }
            return value
        }
        func isIn(_ index: Int, _ allowed: StaticString) -> Bool {
            (0..<allowed.utf8CodeUnitCount).contains { allowed.utf8Start[$0] == text[index] }
        }
        guard text.count >= 20, isIn(4, "-"), isIn(7, "-"), isIn(10, "Tt "), isIn(13, ":"), isIn(16, ":"),
            let year = digits(0, 4), let month = digits(5, 2), let day = digits(8, 2), let hour = digits(11, 2),
            let minute = digits(14, 2), let seconds = digits(17, 2), (1...12).contains(month),
            (1...31).contains(day), hour < 24, minute < 60, seconds <= 60
        else { return nil }
        var index = 19
        var fraction: Int64 = 0
        if isIn(index, ".") {
            index += 1
            guard digits(index, 1) != nil else { return nil }
            var scale = second / 10
            while let digit = digits(index, 1) {
                fraction += digit * scale
                scale /= 10
                index += 1
            }
        }
        guard index < text.count else { return nil }
        var offset: Int64 = 0
        if isIn(index, "+-") {
            guard index + 6 == text.count, isIn(index + 3, ":"), let hours = digits(index + 1, 2),
                let minutes = digits(index + 4, 2)
            else { return nil }
            offset = (hours * 3600 + minutes * 60) * (isIn(index, "-") ? -1 : 1)
        } else {
            guard isIn(index, "Zz"), index + 1 == text.count else { return nil }
        }
        let days = daysSince1970(year, month, day)
        let (scaled, overflow) = (days * 86_400 + hour * 3600 + minute * 60 + seconds - offset)
            .multipliedReportingOverflow(by: second)
        if overflow { return nil }
        let (time, beyond) = scaled.addingReportingOverflow(fraction)
        return beyond ? nil : time
    }

    public static func nanoseconds(_ text: String) -> Int64? {
        var text = text
        return text.withUTF8 { nanoseconds(UnsafeRawBufferPointer($0)) }
    }

    // MARK: The calendar

    private static func floored(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }

    // The proleptic Gregorian calendar in eras of 400 years that begin in March: the leap day ends a year, so no table
    // is needed. (glibc's would read the host's time zone from a container's monitor.)

    private static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let (era, yearOfEra) = floored(year, 400)
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func date(daysSince1970 days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = floored(days + 719_468, 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted + (shifted < 10 ? 3 : -9)
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }
}
