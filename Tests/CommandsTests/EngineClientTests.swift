import Glibc
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

    /// A refusal before the end of a body, which may have none: `cat /dev/zero | mycontainer load`.
    @Test func aRefusedBodyIsNotMadeAnyFurther() throws {
        let daemon = try RecordingDaemon(answers: [("POST /images/load", 500, #"{"message":"no room"}"#)])
        defer { daemon.stop() }
        let engine = EngineClient(host: try Host("unix://\(daemon.socketPath)"), debug: false)
        let error = try #require(throws: DaemonError.self) {
            _ = try engine.upload(.POST, "/images/load") { send in
                while true { try send([UInt8](repeating: 0, count: 1 << 16)) }
            }
        }
        #expect(error.message == "no room")
    }

    /// The container is there, so its id is too, whatever fails after it was made.
    @Test func theIDFileStaysWithItsContainer() throws {
        let folder = try Folder(#"{"auths":{"r.example":{"auth":"YTpi"}}}"#)
        let file = folder.path + "/id"
        func create(_ daemon: RecordingDaemon) -> Int32 {
            CommandLineProgram.main([
                "-H", "unix://\(daemon.socketPath)", "--config", folder.path, "create", "--cidfile", file,
                "--use-api-socket", "busybox",
            ])
        }
        let refusing = try RecordingDaemon(answers: [("POST /containers/create", 500, #"{"message":"no"}"#)])
        defer { refusing.stop() }
        #expect(create(refusing) == 1)
        #expect(access(file, F_OK) != 0)
        let failing = try RecordingDaemon(answers: [("PUT /containers/", 500, #"{"message":"no"}"#)])
        defer { failing.stop() }
        #expect(create(failing) == 1)
        #expect(try readFile(file) == Array(RecordingDaemon.id.utf8))
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
