import Glibc
import Testing

@testable import ContainerLog

/// A receiver of log messages on a socket of the test's own.
private final class Receiver {
    let path: String
    private let socket: Int32

    init(_ path: String) {
        self.path = path
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        withUnsafePointer(to: &address) {
            _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    deinit {
        close(socket)
        unlink(path)
    }

    /// Messages that have arrived.
    func messages() -> [[UInt8]] {
        var all: [[UInt8]] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 17)
        while true {
            let count = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count < 0 { return all }
            all.append(Array(buffer[..<count]))
        }
    }

    func texts() -> [String] { messages().map { String(decoding: $0, as: UTF8.self) } }
}

@Suite("log drivers that send")
struct LogForwarderTests {
    /// 2026-01-02T03:04:05.678901234Z.
    private let time: Int64 = 1_767_323_045_678_901_234

    private func write(_ log: TestLog, to destination: LogDestination, _ body: (inout LogWriter) -> Void) throws {
        var writer = try LogWriter(
            path: log.path, format: .cri, maxSize: 0, maxFiles: 1, destination: destination)
        body(&writer)
    }

    private func syslog(_ path: String, _ format: LogDestination.Syslog.Format) -> LogDestination {
        .syslog(.init(address: .unixDatagram(path), format: format, facility: 3, tag: "tag", hostname: "box"))
    }

    @Test func syslogMessagesAreDockers() throws {
        let log = TestLog()
        let receiver = Receiver(log.directory + "/syslog")
        for format in [LogDestination.Syslog.Format.local, .rfc3164, .rfc5424, .rfc5424micro] {
            try write(log, to: syslog(receiver.path, format)) { writer in
                writer.append("out\n", .stdout, at: time)
                writer.append("err\n", .stderr, at: time)
            }
        }
        let texts = receiver.texts()
        let pid = getpid()
        #expect(texts.count == 8)
        // Facility 3 (daemon): 30 is informational, 27 an error.
        #expect(texts[0].hasPrefix("<30>Jan  2 ") && texts[0].hasSuffix(" tag[\(pid)]: out\n"))
        #expect(texts[1].hasPrefix("<27>") && texts[1].hasSuffix(": err\n"))
        #expect(texts[2].hasSuffix(" box tag[\(pid)]: out\n"))
        #expect(texts[4] == "<30>1 2026-01-02T03:04:05Z box tag \(pid) tag - out\n")
        #expect(texts[6] == "<30>1 2026-01-02T03:04:05.678901Z box tag \(pid) tag - out\n")
        // And the file has them too, for `logs`.
        #expect(try log.lines().count == 8)
    }

    @Test func journalEntriesHaveFields() throws {
        let log = TestLog()
        let receiver = Receiver(log.directory + "/journal")
        let destination = LogDestination.journal(socket: receiver.path, fields: ["CONTAINER_NAME": "box", "A": "1\n2"])
        try write(log, to: destination) { writer in
            writer.append("plain\n", .stderr, at: time)
            writer.append("half", .stdout, at: time)
            writer.finish(at: time)
        }
        let entries = receiver.messages()
        #expect(entries.count == 2)
        let first = String(decoding: entries[0], as: UTF8.self)
        #expect(first.hasPrefix("MESSAGE=plain\nPRIORITY=3\nCONTAINER_LOG_ORDINAL=1\nSYSLOG_TIMESTAMP=2026-01-02T"))
        // A value with a newline is preceded by its length: 64 bits, little-endian.
        #expect(first.contains("A\n\u{3}\0\0\0\0\0\0\u{0}1\n2\nCONTAINER_NAME=box\n"))
        #expect(String(decoding: entries[1], as: UTF8.self).contains("CONTAINER_PARTIAL_MESSAGE=true\n"))
    }

    @Test func aReceiverThatIsAwayMissesNothingInSilence() throws {
        let log = TestLog()
        let path = log.directory + "/syslog"
        try write(log, to: syslog(path, .rfc5424)) { writer in
            writer.append("one\n", .stdout, at: time)
            #expect(writer.takeProblem()?.contains("the log's receiver does not take it") == true)
            writer.append("two\n", .stdout, at: time)
            #expect(writer.takeProblem() == nil)
            let receiver = Receiver(path)
            writer.append("three\n", .stdout, at: time)
            let texts = receiver.texts()
            #expect(texts.count == 2)
            #expect(texts.first?.hasSuffix("mycontainer: 2 lines are missing here: they could not be sent\n") == true)
            #expect(texts.last?.hasSuffix("three\n") == true)
        }
        #expect(try log.lines() == ["one\n", "two\n", "three\n"])
    }

    @Test func aReceiverThatIsStuckHoldsUpOnce() throws {
        let log = TestLog()
        let receiver = Receiver(log.directory + "/syslog")
        try write(log, to: syslog(receiver.path, .rfc5424)) { writer in
            // More than the socket's queue holds, and nobody reads.
            for number in 0..<5000 { writer.append("\(number)\n", .stdout, at: time) }
            #expect(writer.takeProblem() != nil)
            let before = receiver.messages().count
            #expect((1..<5000).contains(before))
            writer.append("last\n", .stdout, at: time)
            let texts = receiver.texts()
            let note = ": \(5000 - before) lines are missing here: they could not be sent\n"
            #expect(texts.first?.hasSuffix(note) == true)
            #expect(texts.last?.hasSuffix("last\n") == true)
        }
        #expect(try log.lines().count == 5001)
    }

    /// A machine that is off: nothing answers, nothing refuses. Without the limit each line waits anew.
    @Test(.timeLimit(.minutes(1))) func aReceiverThatDoesNotAnswerHoldsUpOnce() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        func each(_ call: (UnsafeMutablePointer<sockaddr>) -> Int32) -> Int32 {
            withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0) }
            }
        }
        try #require(each { bind(listener, $0, length) } == 0 && listen(listener, 0) == 0)
        try #require(each { getsockname(listener, $0, &length) } == 0)
        // With its queue full the kernel answers nobody any more.
        var waiting: [Int32] = []
        repeat {
            let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
            waiting.append(client)
            _ = each { connect(client, $0, length) }
            var entry = pollfd(fd: client, events: Int16(POLLOUT), revents: 0)
            if poll(&entry, 1, 500) == 0 { break }
        } while waiting.count < 20
        let log = TestLog()
        let receiver = LogAddress.tcp("127.0.0.1", port: UInt16(bigEndian: address.sin_port))
        let destination = LogDestination.syslog(
            .init(address: receiver, format: .rfc5424, facility: 3, tag: "tag", hostname: "box"))
        try write(log, to: destination) { writer in
            for number in 0..<200 { writer.append("\(number)\n", .stdout, at: time) }
            #expect(writer.takeProblem()?.contains("the log's receiver does not take it") == true)
        }
        #expect(try log.lines().count == 200)
        for descriptor in waiting + [listener] { close(descriptor) }
    }

    @Test func jsonLinesCarryAttributes() throws {
        let log = TestLog(.json)
        var writer = try LogWriter(
            path: log.path, format: .json, maxSize: 0, maxFiles: 1, attributes: ["b": "\"2\"", "a": "1"])
        writer.append("text\n", .stdout, at: time)
        #expect(
            String(decoding: log.bytes(), as: UTF8.self)
                == "{\"log\":\"text\\n\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"1\",\"b\":\"\\\"2\\\"\"},"
                + "\"time\":\"2026-01-02T03:04:05.678901234Z\"}\n")
        #expect(try log.lines() == ["text\n"])
    }
}
