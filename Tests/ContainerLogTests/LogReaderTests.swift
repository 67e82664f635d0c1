import Glibc
import Synchronization
import OCI
import Testing

@testable import ContainerLog

private let second: Int64 = 1_000_000_000
private let base: Int64 = 1_700_000_000 * second

@Suite struct LogReaderTests {
    /// 0..<count, one line a second, over several files.
    private func filled(_ format: LogFormat, count: Int = 20_000) throws -> TestLog {
        let log = TestLog(format)
        var writer = try log.writer(maxSize: 500_000, maxFiles: 10)
        for index in 0..<count { writer.append("line \(index)\n", at: base + Int64(index) * second) }
        return log
    }

    @Test(arguments: [LogFormat.cri, .json]) func tailAndTimesFindTheirPlace(format: LogFormat) throws {
        let log = try filled(format)
        #expect(log.names.count > 1)
        #expect(try log.lines().count == 20_000)
        for tail in [0, 1, 2, 1000, 15_000, 20_000, 30_000] {
            let lines = try log.lines { $0.tail = tail }
            #expect(lines.count == min(tail, 20_000))
            #expect(lines.first == (tail == 0 ? nil : "line \(20_000 - min(tail, 20_000))\n"))
        }
        for start in [0, 1, 777, 9_999, 19_999] {
            let lines = try log.lines { $0.since = base + Int64(start) * second }
            #expect(lines.count == 20_000 - start)
            #expect(lines.first == "line \(start)\n")
        }
        #expect(try log.lines { $0.since = base + 20_000 * second }.isEmpty)
        #expect(try log.lines { $0.until = base + 3 * second } == (0...3).map { "line \($0)\n" })
        let both = try log.lines {
            $0.since = base + 19_000 * second
            $0.tail = 10
            $0.until = base + 19_995 * second
        }
        #expect(both == (19_990...19_995).map { "line \($0)\n" })
        #expect(
            try log.lines {
                $0.since = base + 19_998 * second
                $0.tail = 10
            } == ["line 19998\n", "line 19999\n"])
    }

    @Test func streamsAreFiltered() throws {
        let log = TestLog()
        var writer = try log.writer()
        for index in 0..<10 { writer.append("\(index)\n", index % 2 == 0 ? .stdout : .stderr, at: base) }
        #expect(try log.lines { $0.stderr = false } == ["0\n", "2\n", "4\n", "6\n", "8\n"])
        #expect(try log.lines { $0.stdout = false } == ["1\n", "3\n", "5\n", "7\n", "9\n"])
    }

    @Test func tailCountsLinesNotPieces() throws {
        let log = TestLog()
        var writer = try log.writer()
        writer.append("first\n", at: base)
        writer.append(String(repeating: "y", count: 40_000) + "\n", at: base)
        #expect(try log.read { $0.tail = 1 }.map(\.content.count).reduce(0, +) == 40_001)
        writer.append("open", at: base)
        writer.finish(at: base)
        #expect(try log.lines { $0.tail = 1 } == ["open"])
    }

    @Test func damageIsPassedOver() throws {
        let log = try filled(.cri, count: 300)
        var bytes = log.bytes()
        var generator = Generator(state: 7)
        for _ in 0..<40 {
            bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
        }
        log.put(bytes)
        let lines = try log.lines()
        #expect(lines.count > 220)
        #expect(Set(lines).intersection((0..<300).map { "line \($0)\n" }).count > 220)
        // Nothing of it, garbage included, makes a reader fail or hang.
        for seed in 0..<20 {
            var generator = Generator(state: UInt64(seed))
            log.put(
                (0..<Int.random(in: 0..<200_000, using: &generator)).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                })
            _ = try log.lines { $0.tail = 5 }
            _ = try log.lines { $0.since = base }
            let json = try LogReader(path: log.path, format: .json)
            while try json.next() != nil {}
        }
    }

    @Test func anEndlessLineDoesNotFillMemory() throws {
        let log = TestLog()
        log.put([UInt8](repeating: 120, count: 5 << 20) + [10])
        log.put(Array("2023-11-14T22:13:20.000000000Z stdout F fine\n".utf8), append: true)
        #expect(try log.lines() == ["fine\n"])
        #expect(try log.lines { $0.tail = 1 } == ["fine\n"])
    }

    @Test func jsonOfOthersIsRead() throws {
        let log = TestLog(.json)
        log.put(
            Array(
                #"""
                {"log":"a\u00e9\ud83d\ude00\n","stream":"stderr","attrs":{"tag":["x",1,null]},"time":"2023-11-14T23:13:20.5+01:00"}
                {"log":"b","stream":"stdout","time":"2023-11-14T22:13:21Z"}

                """#.utf8))
        let entries = try log.read()
        #expect(entries.map { String(decoding: $0.content, as: UTF8.self) } == ["aé😀\n", "b"])
        #expect(entries.map(\.time) == [base + second / 2, base + second])
        #expect(entries.map(\.stream) == [.stderr, .stdout])
        #expect(entries.map(\.partial) == [false, true])
    }

    @Test(arguments: [LogFormat.cri, .json], [(200_000, 30_000), (1_000, 3_000)])
    func followersSeeEverythingAcrossRotation(format: LogFormat, _ sizes: (file: Int64, lines: Int)) async throws {
        let log = TestLog(format)
        let path = log.path
        var options = LogReadOptions()
        options.follow = true
        let reader = UncheckedBox(try LogReader(path: path, format: format, options: options))
        let control = reader.value.control
        let writing = Thread {
            var writer = try! LogWriter(path: path, format: format, maxSize: sizes.file, maxFiles: 5000)
            for index in 0..<sizes.lines { writer.append("line \(index)\n", at: base + Int64(index)) }
            control.finish()
        }
        var next = 0
        while let entry = try reader.value.next() {
            if entry.content != Array("line \(next)\n".utf8) {
                Issue.record("expected line \(next), got \(String(decoding: entry.content, as: UTF8.self))")
                break
            }
            next += 1
        }
        #expect(next == sizes.lines)
        writing.join()
    }

    /// While a rotation renames the files, one number after the other has none.
    @Test(arguments: [false, true]) func aRotationUnderWayHidesNothing(follow: Bool) throws {
        let log = TestLog()
        var writer = try log.writer(maxSize: 10_000, maxFiles: 10)
        for index in 0..<1000 { writer.append("line \(index)\n", at: base) }
        let count = log.names.count
        #expect(count > 3)
        for free in 0..<count {
            if free > 0 {
                let (from, to) = (count - free, count - free + 1)
                #expect(rename(log.path + (from == 0 ? "" : ".\(from)"), "\(log.path).\(to)") == 0)
            }
            var options = LogReadOptions()
            options.follow = follow
            let reader = try LogReader(path: log.path, format: .cri, options: options)
            reader.control.finish()
            var lines: [String] = []
            while let entry = try reader.next() { lines.append(String(decoding: entry.content, as: UTF8.self)) }
            #expect(lines == (0..<1000).map { "line \($0)\n" })
        }
    }

    /// A reader that is slower than the rotation has open what it has still to read.
    @Test func whatIsDeletedUnderAReaderIsReadToItsEnd() throws {
        let log = TestLog()
        var writer = try log.writer(maxSize: 1000, maxFiles: 3)
        var written = 0
        /// Until what is the live file now is the oldest one.
        func rotate() {
            let live = fileStatus(log.path)?.inode
            while fileStatus(log.path + ".2")?.inode != live {
                writer.append("line \(written)\n", at: base)
                written += 1
            }
        }
        rotate()
        let oldest = try #require(try log.lines().first)
        var options = LogReadOptions()
        options.follow = true
        let reader = try LogReader(path: log.path, format: .cri, options: options)
        var got = [try #require(try reader.next())]
        rotate()
        reader.control.finish()
        while let entry = try reader.next() { got.append(entry) }
        let lines = got.map { String(decoding: $0.content, as: UTF8.self) }
        let first = try #require(Int(oldest.dropFirst(5).dropLast()))
        #expect(lines == (first..<written).map { "line \($0)\n" })
        #expect(try log.lines().first != oldest)
    }

    @Test func whoDoesNotFollowGetsWhatWasThere() throws {
        let log = TestLog()
        var writer = try log.writer(maxSize: 1000, maxFiles: 100)
        for index in 0..<50 { writer.append("line \(index)\n", at: base) }
        let reader = try LogReader(path: log.path, format: .cri)
        var count = 0
        while try reader.next() != nil {
            count += 1
            // As much again for everything that is read: without an end it would never end.
            if count <= 100 { for _ in 0..<2 { writer.append("more\n", at: base) } }
        }
        #expect(count == 50)
    }

    @Test func aFollowerWaitsForALogAndStopsWhenToldTo() throws {
        let log = TestLog()
        var options = LogReadOptions()
        options.follow = true
        let reader = UncheckedBox(try LogReader(path: log.path, format: .cri, options: options))
        let control = reader.value.control
        let got = Mutex<[String]>([])
        let first = Mutex(false)
        let thread = Thread {
            while let entry = try! reader.value.next() {
                got.withLock { $0.append(String(decoding: entry.content, as: UTF8.self)) }
                first.withLock { $0 = true }
            }
        }
        var writer = try log.writer()
        writer.append("hello\n", at: base)
        while !first.withLock({ $0 }) { sched_yield() }
        control.cancel()
        thread.join()
        #expect(got.withLock { $0 } == ["hello\n"])
    }

    @Test func framesAndTimestampsAreDockers() {
        let entry = LogEntry(
            time: base, stream: .stderr, content: Array("hi\n".utf8), partial: false, continuesLine: false)
        var output: [UInt8] = []
        entry.append(to: &output, framed: true, timestamps: true)
        #expect(output == [2, 0, 0, 0, 0, 0, 0, 34] + Array("2023-11-14T22:13:20.000000000Z hi\n".utf8))
        output = []
        entry.append(to: &output, framed: false, timestamps: false)
        #expect(output == Array("hi\n".utf8))
    }

    @Test func timestampsRoundTrip() {
        var generator = Generator(state: 1)
        for _ in 0..<2000 {
            let time = Int64.random(in: -2_000_000_000_000_000_000...8_000_000_000_000_000_000, using: &generator)
            #expect(RFC3339.nanoseconds(RFC3339.formatFixed(time)) == time)
        }
        #expect(RFC3339.nanoseconds("2000-02-29T12:00:00Z") == 951_825_600 * second)
        for wrong in ["", "2000-02-29T12:00:00", "2000-13-01T00:00:00Z", "2000-01-01T00:00:00.5", "20000101T000000Z"] {
            #expect(RFC3339.nanoseconds(wrong) == nil)
        }
    }
}

/// A reader belongs to one thread; the tests hand it over before that thread starts.
final class UncheckedBox<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}

/// A thread to block in.
final class Thread: @unchecked Sendable {
    private var handle = pthread_t()

    init(_ body: @escaping @Sendable () -> Void) {
        let box = Unmanaged.passRetained(UncheckedBox(body))
        pthread_create(
            &handle, nil,
            { argument in
                Unmanaged<UncheckedBox<@Sendable () -> Void>>.fromOpaque(argument!).takeRetainedValue().value()
                return nil
            }, box.toOpaque())
    }

    func join() { pthread_join(handle, nil) }
}
