import Glibc
import Testing

@testable import ContainerLog

@Suite("a log of a gigabyte")
struct LogSeekTests {
    private static let lines = 65_536
    /// With its header a record has 16 KiB.
    private static let recordLength = 16 << 10
    /// A second apart.
    private static let step: Int64 = 1_000_000_000
    private static let start: Int64 = 1_767_323_045_000_000_000

    @Test func sinceAndTailReadWhatTheyNeed() throws {
        let log = TestLog()
        try write(log.path)
        // The whole is 1 GiB; a search takes a block of 64 KiB at each of its steps.
        let bound: Int64 = 4 << 20

        let middle = LogSeekTests.start + Int64(LogSeekTests.lines / 2) * LogSeekTests.step
        let since = try bytesRead {
            let found = try first(log) { $0.since = middle }
            #expect(found == middle)
        }
        #expect(since < bound, "--since read \(since) bytes")

        let end = LogSeekTests.start + Int64(LogSeekTests.lines - 3) * LogSeekTests.step
        let tail = try bytesRead {
            let entries = try log.read { $0.tail = 3 }
            #expect(entries.map(\.time) == [end, end + LogSeekTests.step, end + 2 * LogSeekTests.step])
        }
        #expect(tail < bound, "--tail read \(tail) bytes")

        let both = try bytesRead {
            let entries = try log.read {
                $0.since = middle
                $0.tail = 2
                $0.until = end + 2 * LogSeekTests.step
            }
            #expect(entries.count == 2)
        }
        #expect(both < bound, "--since with --tail read \(both) bytes")
        // The measure measures: without a place to seek to, reading until the middle takes half of it all.
        let scanned = try bytesRead {
            let found = try first(log, upTo: middle)
            #expect(found == middle)
        }
        #expect(scanned > 500 << 20)
    }

    private func first(
        _ log: TestLog, upTo time: Int64 = 0, _ change: (inout LogReadOptions) -> Void = { _ in }
    ) throws -> Int64? {
        var options = LogReadOptions()
        change(&options)
        let reader = try LogReader(path: log.path, format: .cri, options: options)
        while let entry = try reader.next() { if entry.time >= time { return entry.time } }
        return nil
    }

    private func write(_ path: String) throws {
        let file = try #require(fopen(path, "w"))
        defer { fclose(file) }
        var record: [UInt8] = []
        Array(repeating: UInt8(ascii: "x"), count: LogSeekTests.recordLength - 40).withUnsafeBytes {
            LogRecord.append(
                $0, stream: .stdout, partial: false, time: LogSeekTests.start, format: .cri, to: &record)
        }
        for line in 0..<LogSeekTests.lines {
            var head: [UInt8] = []
            LogRecord.append(
                UnsafeRawBufferPointer(start: nil, count: 0), stream: .stdout, partial: false,
                time: LogSeekTests.start + Int64(line) * LogSeekTests.step, format: .cri, to: &head)
            record.replaceSubrange(0..<(head.count - 1), with: head.dropLast())
            #expect(fwrite(record, 1, record.count, file) == record.count)
        }
    }

    /// Bytes that this thread read from files meanwhile, as the kernel counts them (proc(5), `rchar`).
    private func bytesRead(_ body: () throws -> Void) throws -> Int64 {
        let before = LogSeekTests.readSoFar()
        try body()
        return LogSeekTests.readSoFar() - before
    }

    private static func readSoFar() -> Int64 {
        guard let file = fopen("/proc/thread-self/io", "r") else { return 0 }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 512)
        let count = fread(&bytes, 1, bytes.count, file)
        let text = String(decoding: bytes[..<count], as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.hasPrefix("rchar: ") }
        return line.flatMap { Int64($0.dropFirst(7)) } ?? 0
    }
}
