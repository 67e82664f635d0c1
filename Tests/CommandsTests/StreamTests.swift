import Glibc
import Testing

@testable import Commands

@Suite struct StreamTests {
    /// As the program does: a peer that goes away is an error of write(2), not the end of the process.
    init() { signal(SIGPIPE, SIG_IGN) }

    @Test func demultiplexesAnySplit() throws {
        // Nothing is shown, so only the framing is walked through.
        var demultiplexer = OutputDemultiplexer(isFramed: true, output: -1, errors: -1)
        let frames: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 3, 65, 66, 67, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 10]
        for byte in frames { try [byte].withUnsafeBytes { try demultiplexer.write($0) } }
        let message: [UInt8] = [3, 0, 0, 0, 0, 0, 0, 2, 110, 111]
        #expect(throws: CommandFailure.self) { try message.withUnsafeBytes { try demultiplexer.write($0) } }
        var other = OutputDemultiplexer(isFramed: true)
        #expect(throws: CommandFailure.self) { try Array("not framed".utf8).withUnsafeBytes { try other.write($0) } }
    }

    /// A daemon that switches protocols, writes at once, echoes until the client closes its side, and says goodbye.
    private func withEchoServer(_ body: (Host) throws -> Void) throws {
        let path = "/tmp/mycontainer-test-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, listen(listener, 1) == 0 else { throw CommandFailure("cannot listen: \(errno)") }
        defer {
            close(listener)
            unlink(path)
        }
        startThread {
            let connection = accept(listener, nil, nil)
            defer { close(connection) }
            var request: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 65536)
            while !String(decoding: request, as: UTF8.self).contains("\r\n\r\n") {
                let count = read(connection, &chunk, chunk.count)
                if count <= 0 { return }
                request += chunk[..<count]
            }
            func say(_ text: String) {
                _ = Array(text.utf8).withUnsafeBytes { writeAll($0, to: connection) }
            }
            // The first bytes of the stream come in the same packet as the head.
            say("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly ")
            while true {
                let count = read(connection, &chunk, chunk.count)
                if count <= 0 { break }
                _ = chunk.withUnsafeBytes { writeAll(UnsafeRawBufferPointer(rebasing: $0[..<count]), to: connection) }
            }
            say(" late")
        }
        try body(try Host("unix://\(path)"))
    }

    /// More than any buffer holds goes in and comes back, nothing is lost at either end, and neither side waits for
    /// the other.
    @Test func pumpsBothWays() throws {
        try withEchoServer { host in
            let content = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            var (input, output): ([Int32], [Int32]) = ([0, 0], [0, 0])
            pipe(&input)
            pipe(&output)
            let (feed, result) = (input[1], output[0])
            startThread {
                _ = content.withUnsafeBytes { writeAll($0, to: feed) }
                close(feed)
            }
            let stream = try EngineClient(host: host, debug: false).hijack("/containers/x/attach")
            let collected = Collector(result)
            var session = StreamSession(
                stream: stream, input: .plain, inputDescriptor: input[0],
                output: OutputDemultiplexer(isFramed: false, output: output[1]), detachKeys: try DetachKeys(""))
            #expect(try session.run() == .closed)
            close(output[1])
            close(input[0])
            #expect(collected.wait() == Array("early ".utf8) + content + Array(" late".utf8))
        }
    }

    @Test func detaches() throws {
        try withEchoServer { host in
            // A terminal of its own, with someone who types.
            var (keyboard, terminal): (Int32, Int32) = (-1, -1)
            let result = openpty(&keyboard, &terminal, nil, nil, nil)
            #expect(result == 0)
            defer {
                close(keyboard)
                close(terminal)
            }
            var before = termios()
            tcgetattr(terminal, &before)
            let stream = try EngineClient(host: host, debug: false).hijack("/containers/x/attach")
            var session = StreamSession(
                stream: stream, input: .terminal, inputDescriptor: terminal,
                output: OutputDemultiplexer(isFramed: false, output: -1), detachKeys: try DetachKeys("a,b"))
            _ = Array("xab".utf8).withUnsafeBytes { writeAll($0, to: keyboard) }
            // In cooked mode nothing would be read before a line feed.
            #expect(try session.run() == .detached)
            var after = termios()
            tcgetattr(terminal, &after)
            #expect(after.c_lflag == before.c_lflag && after.c_iflag == before.c_iflag)
        }
    }
}

/// Reads a descriptor to its end on a thread of its own.
private final class Collector: @unchecked Sendable {
    private var bytes: [UInt8] = []
    private let done: UnsafeMutablePointer<sem_t>

    init(_ descriptor: Int32) {
        done = .allocate(capacity: 1)
        sem_init(done, 0, 0)
        startThread { [self] in
            var chunk = [UInt8](repeating: 0, count: 65536)
            while true {
                let count = read(descriptor, &chunk, chunk.count)
                if count <= 0 { break }
                bytes += chunk[..<count]
            }
            close(descriptor)
            sem_post(done)
        }
    }

    func wait() -> [UInt8] {
        sem_wait(done)
        return bytes
    }
}
