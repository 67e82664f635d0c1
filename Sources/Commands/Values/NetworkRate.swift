/// A rate of `--network-rate-in` and `--network-rate-out`: `10mbit`, `1.5gbit,128kb`, `-1`.
struct NetworkRate: Sendable, Equatable {
    /// 0: not given; -1: no limit.
    var bitsPerSecond: Int64 = 0
    /// Bytes that may go at once; 0: as the daemon chooses.
    var burst: Int64 = 0

    init() {}

    init(parsing word: String) throws(InvalidValue) {
        let (rate, extra) = cut(word, ",")
        bitsPerSecond = try Self.bits(trimmed(rate))
        guard let extra else { return }
        let (key, value) = cut(trimmed(extra), "=")
        guard value == nil || key == "burst" else { throw InvalidValue("unknown field '\(key)': it is burst") }
        burst = try parseBytes(value ?? key)
        if burst == 0 { throw InvalidValue("a burst is at least one byte") }
    }

    /// Units are powers of 1000, as tc(8) has them: `kbit`, `mbit`, `gbit`, or `k`, `m`, `g`.
    private static func bits(_ word: String) throws(InvalidValue) -> Int64 {
        if word == "-1" { return -1 }
        let text = word.lowercased()
        let number = text.prefix { $0.isNumber || $0 == "." }
        var unit = text.dropFirst(number.count)
        // Not `bps`, which is bytes to some.
        if unit.hasSuffix("bit") { unit = unit.dropLast(3) }
        let factors: [Substring: Double] = ["": 1, "k": 1e3, "m": 1e6, "g": 1e9]
        guard let value = Double(number), let factor = factors[unit] else {
            throw InvalidValue("invalid rate: '\(word)': it is a number of bits per second, for example 10mbit")
        }
        guard let bits = Int64(exactly: (value * factor).rounded()), bits > 0 else {
            throw InvalidValue("invalid rate: '\(word)': it is more than 0 and less than 2^63 bits per second")
        }
        return bits
    }
}
