import Glibc
import Testing

@testable import ContainerLog

/// 2021-03-04T05:06:07.000000089Z
private let someTime: Int64 = 1_614_834_367_000_000_089

@Suite struct LogWriterTests {
    @Test func criRecordsAreWhatKubeletsRead() throws {
        let log = TestLog()
        var writer = try log.writer()
        writer.append("hello\nwor", at: someTime)
        writer.append("oops\n", .stderr, at: someTime + 1)
        writer.append("ld\n", at: someTime + 2)
        writer.append("no newline", at: someTime + 3)
        writer.finish(at: someTime + 4)
        #expect(
            String(decoding: log.bytes(), as: UTF8.self) == """
                2021-03-04T05:06:07.000000089Z stdout F hello
                2021-03-04T05:06:07.000000090Z stderr F oops
                2021-03-04T05:06:07.000000091Z stdout F world
                2021-03-04T05:06:07.000000093Z stdout P no newline

                """)
    }

    @Test func jsonRecordsAreDockers() throws {
        let log = TestLog(.json)
        var writer = try log.writer()
        writer.append(Array("a\"b\\c\t<é\u{2028}>".utf8) + [0xFF, 0x01] + Array("\n".utf8), at: someTime)
        #expect(
            String(decoding: log.bytes(), as: UTF8.self)
                == #"{"log":"a\"b\\c\u0009\u003cé\u2028\u003e\ufffd\u0001\n","stream":"stdout","time":"2021-03-04T05:06:07.000000089Z"}"#
                + "\n")
        #expect(try log.lines() == ["a\"b\\c\t<é\u{2028}>\u{FFFD}\u{1}\n"])
    }

    @Test(arguments: [LogFormat.cri, .json]) func longLinesAreCutInto16KiBAndComeBackWhole(format: LogFormat) throws {
        let log = TestLog(format)
        var writer = try log.writer()
        var line = (0..<50_000).map { UInt8(97 + $0 % 26) }
        line.append(10)
        writer.append(line, at: someTime)
        let entries = try log.read()
        #expect(entries.map(\.content.count) == [16384, 16384, 16384, 849])
        #expect(entries.map(\.partial) == [true, true, true, false])
        #expect(entries.map(\.continuesLine) == [false, true, true, true])
        #expect(Array(entries.map(\.content).joined()) == line)
    }

    @Test func rotationKeepsOrderAndCount() throws {
        let log = TestLog()
        var writer = try log.writer(maxSize: 1000, maxFiles: 3)
        for index in 0..<200 { writer.append("line \(index)\n", at: someTime + Int64(index)) }
        #expect(log.names == ["container.log", "container.log.1", "container.log.2"])
        for name in log.names { #expect(log.bytes(name).count <= 1000) }
        let lines = try log.lines()
        #expect(lines.last == "line 199\n")
        let first = try #require(lines.first?.dropFirst(5).dropLast())
        #expect(lines == (Int(first)!..<200).map { "line \($0)\n" })
        #expect(lines.count > 40)
    }

    @Test func oneFileStartsAnewWhenFull() throws {
        let log = TestLog()
        var writer = try log.writer(maxSize: 200, maxFiles: 1)
        for index in 0..<100 { writer.append("line \(index)\n", at: someTime) }
        #expect(log.names == ["container.log"])
        #expect(log.bytes().count <= 200)
        #expect(try log.lines().last == "line 99\n")
    }

    @Test func timesNeverGoBack() throws {
        let log = TestLog()
        var writer = try log.writer()
        writer.append("a\n", at: someTime)
        writer.append("b\n", at: someTime - 5_000_000_000)
        var second = try log.writer()
        second.append("c\n", at: someTime - 9_000_000_000)
        #expect(try log.read().map(\.time) == [someTime, someTime, someTime])
    }

    @Test func aTornLineOfACrashedWriterIsEnded() throws {
        let log = TestLog()
        var writer = try log.writer()
        writer.append("whole\n", at: someTime)
        log.put(Array("2021-03-04T05:06:08.000000000Z stdout F to".utf8), append: true)
        #expect(try log.lines() == ["whole\n"])
        var next = try log.writer()
        next.append("after\n", at: someTime)
        #expect(try log.lines() == ["whole\n", "to\n", "after\n"])
        #expect(try log.read().last?.time == 1_614_834_368_000_000_000)
    }

    @Test func theLogPositionParts() throws {
        let log = TestLog()
        var writer = try log.writer()
        writer.append("one\ntw", at: someTime)
        let position = writer.position(at: someTime)
        writer.append("o\nthree\n", at: someTime)
        #expect(try log.lines { $0.end = position } == ["one\n", "tw"])
        #expect(try log.lines { $0.start = position } == ["o\n", "three\n"])
    }

    @Test func aPositionSurvivesRotation() throws {
        let log = TestLog()
        var writer = try log.writer(maxSize: 500, maxFiles: 4)
        for index in 0..<12 { writer.append("line \(index)\n", at: someTime) }
        let position = writer.position(at: someTime)
        for index in 12..<20 { writer.append("line \(index)\n", at: someTime) }
        #expect(try log.lines { $0.end = position }.last == "line 11\n")
        #expect(try log.lines { $0.start = position } == (12..<20).map { "line \($0)\n" })
        #expect(
            try log.lines {
                $0.end = position
                $0.tail = 2
            } == ["line 10\n", "line 11\n"])
    }

    @Test func aFullDiskIsSaidOnceAndNotedInTheLog() throws {
        // A small tmpfs stands for the disk; without the right to mount there is nothing to test.
        let log = TestLog()
        guard mount("none", log.directory, "tmpfs", 0, "size=64k") == 0 else { return }
        defer { umount2(log.directory, Int32(MNT_DETACH)) }
        var writer = try log.writer()
        let line = String(repeating: "x", count: 999) + "\n"
        var problems: [String] = []
        for index in 0..<100 {
            writer.append(line, at: someTime + Int64(index))
            if let problem = writer.takeProblem() { problems.append(problem) }
        }
        #expect(problems.count == 1)
        #expect(problems.first?.contains("No space left on device") == true)
        // What is there is whole.
        let kept = try log.lines()
        #expect(kept.allSatisfy { $0 == line } && kept.count > 50)
        truncate(log.path, 0)
        writer.append("again\n", at: someTime + 1000)
        let lines = try log.lines()
        #expect(lines.count == 2)
        #expect(lines.first?.hasPrefix("mycontainer: ") == true)
        #expect(lines.last == "again\n")
    }
}
