import NIOHTTP1
import Testing

@testable import Commands

@Suite struct EngineClientTests {
    /// A daemon that was started again, or that waits no longer for a next request.
    @Test func aConnectionThatTheDaemonClosedIsNotUsedAgain() throws {
        let daemon = try RecordingDaemon(answers: [("GET /containers/json", 200, "[]")])
        defer { daemon.stop() }
        let engine = EngineClient(host: try Host("unix://\(daemon.socketPath)"), debug: false)
        for _ in 0..<3 {
            #expect(try engine.call(.GET, "/containers/json") == Array("[]".utf8))
            daemon.hangUp()
        }
        #expect(daemon.takeRequests().count == 3)
    }

    @Test func aHeaderWithALineBreakIsNotSent() throws {
        let daemon = try RecordingDaemon()
        defer { daemon.stop() }
        let engine = EngineClient(
            host: try Host("unix://\(daemon.socketPath)"), debug: false, headers: [("X-Meta", "a\r\nHost: b")])
        let error = try #require(throws: CommandFailure.self) { try engine.call(.GET, "/containers/json") }
        #expect(error.message?.contains("X-Meta") ?? false)
        #expect(daemon.takeRequests().isEmpty)
    }
}
