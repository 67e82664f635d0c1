import EngineAPI
import OCI
import Testing

@Suite struct TimestampTests {
    @Test(
        arguments: [
            (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
            (1_700_000_000_100_000_000, "2023-11-14T22:13:20.1Z"),
            (1_709_164_800_000_000_000, "2024-02-29T00:00:00Z"),
            (951_782_399_000_000_001, "2000-02-28T23:59:59.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (0, "0001-01-01T00:00:00Z"),
        ] as [(Int64, String)])
    func roundTrip(nanoseconds: Int64, text: String) {
        #expect(Timestamp.format(nanoseconds) == text)
        #expect(Timestamp.parse(text) == nanoseconds)
    }

    @Test func fixedWidth() {
        #expect(RFC3339.formatFixed(1_700_000_000_100_000_000) == "2023-11-14T22:13:20.100000000Z")
        #expect(RFC3339.formatSeconds(1_700_000_000_100_000_000) == "2023-11-14T22:13:20Z")
    }

    @Test func offsets() {
        #expect(Timestamp.parse("2023-11-14T23:13:20+01:00") == 1_700_000_000_000_000_000)
        #expect(Timestamp.parse("2023-11-14T17:13:20.5-05:00") == 1_700_000_000_500_000_000)
    }

    @Test(arguments: [
        "", "2023", "2023-13-01T00:00:00Z", "2023-11-14T22:13:20", "2023-11-14T22:13:20.Z", "x", "9999-12-31T00:00:00Z",
    ])
    func refused(text: String) { #expect(Timestamp.parse(text) == nil) }

    @Test func parameters() {
        let now: Int64 = 1_700_000_000_000_000_000
        #expect(Timestamp.parseParameter("1700000000", now: now) == now)
        #expect(Timestamp.parseParameter("1700000000.000000005", now: now) == now + 5)
        #expect(Timestamp.parseParameter("1700000000.5", now: now) == now + 500_000_000)
        #expect(Timestamp.parseParameter("2023-11-14", now: now) == 1_699_920_000_000_000_000)
        #expect(Timestamp.parseParameter("2023-11-14T22:13", now: now) == 1_699_999_980_000_000_000)
        #expect(Timestamp.parseParameter("1m30s", now: now) == now - 90_000_000_000)
        for text in ["yesterday", "9223372036.999999999", "9223372037", "-9223372037", "9300000000s"] {
            #expect(Timestamp.parseParameter(text, now: now) == nil, "\(text)")
        }
    }

    @Test func durations() {
        #expect(Timestamp.parseDuration("1h2m3.5s") == 3_723_500_000_000)
        #expect(Timestamp.parseDuration("300ms") == 300_000_000)
        #expect(Timestamp.parseDuration("-1us") == -1000)
        #expect(Timestamp.parseDuration("0") == 0)
        #expect(Timestamp.parseDuration("5") == nil)
        #expect(Timestamp.parseDuration("s") == nil)
    }
}
