import Glibc

/// Reads a size such as `64m`, `1.5GiB` or `4096` in bytes; units are powers of 1024 and their case does not matter.
/// The grammar and the sentences are those of docker's go-units.
func parseBytes(_ word: String) throws(InvalidValue) -> Int64 {
    let bytes = Array(word.utf8)
    guard let last = bytes.lastIndex(where: { (48...57).contains($0) || $0 == UInt8(ascii: ".") || $0 == 32 }) else {
        throw InvalidValue("invalid size: '\(word)'")
    }
    let number = String(decoding: bytes[..<(bytes[last] == 32 ? last : last + 1)], as: UTF8.self)
    let suffix = String(decoding: bytes[(last + 1)...], as: UTF8.self).lowercased()
    guard let size = Double(number), size.isFinite else {
        throw InvalidValue("strconv.ParseFloat: parsing \"\(number)\": invalid syntax")
    }
    if size < 0 { throw InvalidValue("invalid size: '\(word)'") }
    var factor = 1.0
    if let unit = suffix.first, suffix != "b" {
        guard let power = "kmgtp".firstIndex(of: unit), ["", "b", "ib"].contains(suffix.dropFirst()) else {
            throw InvalidValue("invalid suffix: '\(suffix)'")
        }
        for _ in 0..."kmgtp".distance(from: "kmgtp".startIndex, to: power) { factor *= 1024 }
    }
    guard let result = Int64(exactly: (size * factor).rounded(.towardZero)) else {
        throw InvalidValue("invalid size: '\(word)' is more than 2^63 bytes")
    }
    return result
}

/// Reads a number of CPUs such as `0.5` or `1/2` in billionths of a CPU, exactly.
func parseNanoCPUs(_ word: String) throws(InvalidValue) -> Int64 {
    func refusal() -> InvalidValue { InvalidValue("failed to parse \(word) as a rational number") }
    let parts = word.split(byte: "/", maxSplits: 1, omittingEmptySubsequences: false)
    if parts.count == 2 {
        guard let above = Int64(parts[0]), let below = Int64(parts[1]), below > 0 else { throw refusal() }
        let (product, overflow) = above.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { throw refusal() }
        if product % below != 0 { throw InvalidValue("value is too precise") }
        return product / below
    }
    var digits = word[...]
    let isNegative = digits.first == "-"
    if digits.first == "-" || digits.first == "+" { digits = digits.dropFirst() }
    let halves = digits.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    var fraction = halves.count == 2 ? String(halves[1]) : ""
    while fraction.hasSuffix("0") { fraction.removeLast() }
    let isNumber = (halves.joined()).utf8.allSatisfy { (48...57).contains($0) }
    guard isNumber, !halves.joined().isEmpty else { throw refusal() }
    if fraction.count > 9 { throw InvalidValue("value is too precise") }
    fraction += String(repeating: "0", count: 9 - fraction.count)
    guard let whole = Int64(halves[0].isEmpty ? "0" : halves[0]), let part = Int64(fraction),
        whole < Int64.max / 1_000_000_000
    else { throw refusal() }
    let value = whole * 1_000_000_000 + part
    return isNegative ? -value : value
}

/// A size for people in powers of 1000, three significant digits as in `docker images` (`1.21MB`) or four.
func humanSize(_ bytes: some BinaryInteger, digits: Int = 3) -> String {
    scaled(Double(bytes), base: 1000, digits: digits, units: ["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A size for people in powers of 1024 with four significant digits, as in `docker stats` (`1.944GiB`).
func binarySize(_ bytes: some BinaryInteger) -> String {
    scaled(Double(bytes), base: 1024, digits: 4, units: ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// A rate in bits per second for people, in the units that `--network-rate-in` takes (`1.5Gbit`).
func humanRate(_ bitsPerSecond: some BinaryInteger) -> String {
    scaled(Double(bitsPerSecond), base: 1000, digits: 4, units: ["bit", "kbit", "Mbit", "Gbit", "Tbit"])
}

private func scaled(_ bytes: Double, base: Double, digits: Int, units: [String]) -> String {
    var size = bytes
    var unit = 0
    while abs(size) >= base && unit < units.count - 1 {
        size /= base
        unit += 1
    }
    return significant(size, digits: digits) + units[unit]
}

/// A number with at most `digits` significant digits and no trailing zeros, as C's `%g` writes it, but never with an
/// exponent: 999.9 with three digits is `1000`.
func significant(_ value: Double, digits: Int) -> String {
    if value == 0 { return "0" }
    guard value.isFinite else { return fixed(value, decimals: 0) }
    var whole = 1
    var magnitude = abs(value)
    while magnitude >= 10 {
        magnitude /= 10
        whole += 1
    }
    var text = fixed(value, decimals: max(0, digits - whole))
    if text.contains(".") {
        while text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
    }
    return text
}

/// A number with a fixed count of decimals, rounded to even as C's `%.*f`.
func fixed(_ value: Double, decimals: Int) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 400) { buffer in
        let length = withVaList([Int32(clamping: decimals), value]) {
            vsnprintf(buffer.baseAddress!, buffer.count, "%.*f", $0)
        }
        return String(
            decoding: buffer.prefix(max(0, min(Int(length), buffer.count - 1))).lazy.map { UInt8(bitPattern: $0) },
            as: UTF8.self)
    }
}
