import Dispatch
import EngineAPI
import Glibc
import LinuxKernel
import NIOCore
import Synchronization
import Testing

@testable import APIServer
@testable import Engine

/// Back-pressure, disconnection and hijacking, over a real socket.
@Suite(.ownThread) struct StreamTests {
    @Test func aReaderThatDoesNotReadStopsTheWriter() async throws {
        let written = Mutex(0)
        let (stalled, isStalled) = AsyncStream<Void>.makeStream()
        let server = try await TestServer { router in
            router.add(.GET, "/endless") { _ in
                .stream([:]) { stream in
                    let chunk = ByteBuffer(repeating: 120, count: 64 << 10)
                    defer { isStalled.finish() }
                    while true {
                        let watch = Task {
                            // The write takes its time once the socket and the water mark are full.
                            try await Task.sleep(for: .milliseconds(500))
                            isStalled.yield()
                        }
                        try await stream.write(chunk)
                        watch.cancel()
                        written.withLock { $0 += 1 }
                    }
                }
            }
        }
        let client = try server.connect()
        client.send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        for await _ in stalled { break }
        let before = written.withLock { $0 }
        #expect(before < 64, "\(before) chunks of 64 KiB were taken for a client that reads nothing")
        // It goes on as soon as somebody reads.
        _ = try client.bytes(8 << 20)
        #expect(written.withLock { $0 } > before)
        await server.server.stop()
    }

    @Test func aReaderThatNeverReadsIsCutOffWithASentence() async throws {
        let (said, say) = AsyncStream<String>.makeStream()
        let (ended, end) = AsyncStream<Void>.makeStream()
        let server = try await TestServer { router in
            router.stalledReaderLimit = .milliseconds(100)
            router.log = { say.yield($0) }
            router.add(.GET, "/endless") { _ in
                .stream([:]) { stream in
                    defer { end.finish() }
                    while true { try await stream.write(ByteBuffer(repeating: 120, count: 64 << 10)) }
                }
            }
        }
        let client = try server.connect()
        client.send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        var iterator = said.makeAsyncIterator()
        #expect(await iterator.next() == "a client of /endless was cut off: it read nothing for 0 s")
        // And what made the stream is told.
        for await _ in ended {}
        await server.server.stop()
    }

    @Test func aClientThatLeavesEndsItsStream() async throws {
        let (ended, end) = AsyncStream<Void>.makeStream()
        let server = try await TestServer { router in
            router.add(.GET, "/forever") { _ in
                .jsonLines { stream in
                    try await stream.start()
                    defer { end.finish() }
                    try await Task.sleep(for: .seconds(3600))
                }
            }
        }
        do {
            let client = try server.connect()
            client.send("GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")
            // The head comes before there is anything to say.
            #expect(try client.head().status == 200)
        }
        for await _ in ended {}
        await server.server.stop()
    }

    /// A route that splices the client with one end of a socket pair.
    private func hijack(
        terminal: Bool = false, replay: [[UInt8]]? = nil
    ) async throws -> (TestServer, Int32) {
        let (daemon, container) = socketPair()
        let server = try await TestServer { router in
            router.add(.POST, "/attach") { request in
                let log = replay.map { chunks in
                    let rest = Mutex(chunks)
                    return LogStream(isTerminal: terminal) { rest.withLock { $0.isEmpty ? nil : $0.removeFirst() } }
                }
                let attachment = Attachment(
                    descriptor: OwnedDescriptor(FileDescriptor(owning: daemon)), isTerminal: terminal, replay: log)
                let type = StreamMediaType.of(terminal: terminal, version: request.version)
                return .upgrade(Upgrade(contentType: type, attachment: attachment, detachKeys: DetachKeys.standard))
            }
        }
        return (server, container)
    }

    private func write(_ descriptor: Int32, _ text: String) {
        _ = text.withCString { Glibc.write(descriptor, $0, strlen($0)) }
    }

    private func read(_ descriptor: Int32, _ count: Int) -> String {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let more = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress! + filled, count - filled) }
            if more <= 0 { break }
            filled += more
        }
        return String(decoding: bytes.prefix(filled), as: UTF8.self)
    }

    private let upgrade =
        "POST /v1.51/attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"

    @Test func hijackWithEarlyBytesAndHalfClose() async throws {
        let (server, container) = try await hijack()
        let client = try server.connect()
        // Bytes sent before the answer belong to the stream.
        client.send(upgrade + "early ")
        let (status, headers) = try client.head()
        #expect(status == 101)
        #expect(headers["upgrade"] == "tcp")
        #expect(headers["connection"] == "Upgrade")
        #expect(headers["content-type"] == "application/vnd.docker.multiplexed-stream")
        client.send("bird")
        client.endInput()
        #expect(read(container, 100) == "early bird")
        // The other direction is still open.
        write(container, "out")
        #expect(try client.text(3) == "out")
        write(container, "last")
        close(container)
        #expect(try client.rest() == Array("last".utf8))
        await server.server.stop()
    }

    @Test func aJSONBodyBeforeTheUpgrade() async throws {
        let (server, container) = try await hijack()
        let client = try server.connect()
        client.send(
            "POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                + "Content-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"Detach\":false}")
        #expect(try client.head().status == 101)
        client.send("in")
        #expect(read(container, 2) == "in")
        close(container)
        #expect(try client.rest().isEmpty)
        await server.server.stop()
    }

    @Test func withoutUpgradeTheStreamIsPlain() async throws {
        let (server, container) = try await hijack(terminal: true)
        let client = try server.connect()
        client.send("POST /v1.30/attach HTTP/1.1\r\nHost: x\r\n\r\n")
        let (status, headers) = try client.head()
        #expect(status == 200)
        #expect(headers["content-type"] == "application/vnd.docker.raw-stream")
        #expect(headers["upgrade"] == nil)
        write(container, "hello")
        #expect(try client.text(5) == "hello")
        close(container)
        await server.server.stop()
    }

    @Test func outputSurvivesTheContainersEndWhileTheClientStillSends() async throws {
        let (server, container) = try await hijack()
        let client = try server.connect()
        client.send(upgrade)
        _ = try client.head()
        client.send([UInt8](repeating: 1, count: 100_000))
        write(container, "result")
        // Closed with unread input: the client must get the output and an end, not an error.
        close(container)
        #expect(try client.rest() == Array("result".utf8))
        await server.server.stop()
    }

    @Test func replayComesFirst() async throws {
        let (server, container) = try await hijack(replay: [Array("one ".utf8), Array("two ".utf8)])
        write(container, "three")
        let client = try server.connect()
        client.send(upgrade)
        _ = try client.head()
        #expect(try client.text(13) == "one two three")
        close(container)
        await server.server.stop()
    }

    @Test func detachKeysEndTheAttachmentOnly() async throws {
        let (server, container) = try await hijack(terminal: true)
        let client = try server.connect()
        client.send(upgrade)
        _ = try client.head()
        client.send([UInt8(ascii: "a"), 16, UInt8(ascii: "b"), 16])
        #expect(read(container, 3) == "a\u{10}b")
        client.send([17, UInt8(ascii: "x")])
        #expect(try client.rest().isEmpty)
        #expect(read(container, 1).isEmpty)
        close(container)
        await server.server.stop()
    }

    @Test func aClientThatVanishesClosesItsAttachment() async throws {
        let (server, container) = try await hijack()
        do {
            let client = try server.connect()
            client.send(upgrade)
            _ = try client.head()
        }
        #expect(read(container, 1).isEmpty)
        close(container)
        await server.server.stop()
    }

    @Test func aLargeTransferBothWays() async throws {
        let (server, container) = try await hijack()
        let client = try server.connect()
        client.send(upgrade)
        _ = try client.head()
        let size = 16 << 20
        let echo = Worker {
            var buffer = [UInt8](repeating: 0, count: 100_000)
            while true {
                let count = Glibc.read(container, &buffer, buffer.count)
                if count <= 0 { break }
                var sent = 0
                while sent < count {
                    let more = buffer.withUnsafeBytes { Glibc.write(container, $0.baseAddress! + sent, count - sent) }
                    if more <= 0 { break }
                    sent += more
                }
            }
            close(container)
        }
        let payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        let shared = UncheckedBox(client)
        let sender = Worker {
            shared.value.send(payload)
            shared.value.endInput()
        }
        let received = try client.rest()
        sender.join()
        echo.join()
        #expect(received == payload)
        await server.server.stop()
    }

    @Test func archivesStreamThroughDescriptors() async throws {
        let server = try await TestServer { router in
            router.add(.GET, "/export") { _ in
                .stream(["Content-Type": "application/x-tar"]) { stream in
                    try await ArchiveStreams.send(to: stream) { descriptor in
                        for _ in 0..<100 {
                            let part = [UInt8](repeating: 65, count: 50_000)
                            _ = Glibc.write(descriptor, part, part.count)
                        }
                    }
                }
            }
            router.add(.GET, "/missing") { _ in
                .stream([:]) { stream in
                    try await ArchiveStreams.send(to: stream) { _ in throw Failure(.notFound, "No such container: x") }
                }
            }
            router.add(.PUT, "/import", body: .streamed) { request in
                let total = Mutex(0)
                try await ArchiveStreams.receive(request.body!) { descriptor in
                    var buffer = [UInt8](repeating: 0, count: 65536)
                    while true {
                        let count = Glibc.read(descriptor, &buffer, buffer.count)
                        if count <= 0 { break }
                        total.withLock { $0 += count }
                    }
                }
                return .json(["total": total.withLock { $0 }])
            }
            router.add(.PUT, "/late", body: .streamed) { request in
                let total = Mutex(0)
                try await ArchiveStreams.receive(request.body!) { descriptor in
                    // POLLRDHUP: an end that comes while there is no room for the rest has lost it.
                    var end = pollfd(fd: descriptor, events: 0x2000, revents: 0)
                    poll(&end, 1, 500)
                    var buffer = [UInt8](repeating: 0, count: 65536)
                    while case let count = Glibc.read(descriptor, &buffer, buffer.count), count > 0 {
                        total.withLock { $0 += count }
                    }
                }
                return .json(["total": total.withLock { $0 }])
            }
            router.add(.PUT, "/early", body: .streamed) { request in
                try await ArchiveStreams.receive(request.body!) { _ in throw Failure(.badRequest, "not an archive") }
                return .nothing()
            }
        }
        let export = try server.request("GET /export HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(export.body.utf8.count == 5_000_000)
        let missing = try server.request("GET /missing HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(missing.status == 404 && missing.body.contains("No such container"))
        let client = try server.connect()
        client.send("PUT /import HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
        client.send([UInt8](repeating: 9, count: 3_000_000))
        #expect(try client.answer().body == "{\"total\":3000000}\n")
        // More than a socket holds by itself, less than what makes the sender wait.
        for size in stride(from: 180_000, through: 300_000, by: 20_000) {
            let late = try server.connect()
            late.send("PUT /late HTTP/1.1\r\nHost: x\r\nContent-Length: \(size)\r\n\r\n")
            late.send([UInt8](repeating: 9, count: size))
            #expect(try late.answer().body == "{\"total\":\(size)}\n")
        }
        let early = try server.connect()
        early.send("PUT /early HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
        early.send([UInt8](repeating: 9, count: 100_000))
        let refusal = try early.answer()
        #expect(refusal.status == 400 && refusal.body.contains("not an archive"))
        await server.server.stop()
    }

    @Test func progressEndsWithTheErrorInTheStream() async throws {
        let server = try await TestServer { router in
            router.add(.POST, "/pull") { _ in
                .jsonLines { stream in
                    try await ProgressStream.run(to: stream) { progress in
                        progress(ProgressMessage(status: "Pulling from library/x", id: "latest"))
                        for step in 0..<1000 {
                            progress(
                                ProgressMessage(
                                    status: "Downloading", id: "a", detail: .init(current: Int64(step), total: 999)))
                        }
                        throw Failure(.internalServerError, "the blob is corrupt")
                    }
                }
            }
            router.add(.POST, "/unknown") { _ in
                .jsonLines { stream in
                    try await ProgressStream.run(to: stream) { _ in throw Failure(.notFound, "no such image") }
                }
            }
        }
        let answer = try server.request("POST /pull HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(answer.status == 200)
        let lines = answer.body.split(separator: "\n").map(String.init)
        #expect(lines.first == #"{"status":"Pulling from library/x","id":"latest"}"#)
        #expect(lines.contains { $0.contains("\"current\":999") })
        #expect(lines.last == #"{"errorDetail":{"message":"the blob is corrupt"},"error":"the blob is corrupt"}"#)
        #expect(try server.request("POST /unknown HTTP/1.1\r\nHost: x\r\n\r\n").status == 404)
        await server.server.stop()
    }
}

/// For a client that two threads use in different directions.
private struct UncheckedBox<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}

/// Blocking work beside the test's own.
private final class Worker: Sendable {
    private let done = DispatchSemaphore(value: 0)

    init(_ body: @escaping @Sendable () -> Void) {
        DispatchQueue(label: "worker").async { [done] in
            body()
            done.signal()
        }
    }

    func join() { done.wait() }
}
