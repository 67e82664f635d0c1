import EngineAPI
import Glibc
import NIOCore
import NIOHTTP1
import Testing

@testable import APIServer

/// Routing, versions, bodies and errors, over a real socket.
@Suite(.ownThread) struct HTTPTests {
    private func server(_ configure: (inout Router) -> Void = { _ in }) async throws -> TestServer {
        try await TestServer { router in
            configure(&router)
            router.add(.GET, "/_ping") { _ in .text("OK") }
            router.add(.HEAD, "/_ping") { _ in .text("OK") }
            router.add(.GET, "/things/{name}/json") { request in
                .json(["name": request.name, "version": "\(request.version)", "q": request.query["q"] ?? "none"])
            }
            router.add(.POST, "/things/create") { request in
                .json(try request.document(RestartPolicy.self, required: true), status: .created)
            }
            router.add(.POST, "/things/{name}/start") { _ in throw Failure(.notModified, "it runs") }
            router.add(.POST, "/things/{name}/stop") { _ in .nothing() }
            router.add(.PUT, "/sink", body: .streamed) { request in
                var count = 0
                while let part = try await request.body?.next() { count += part.readableBytes }
                return .json(["count": count])
            }
            router.add(.PUT, "/refuse", body: .streamed) { _ in throw Failure(.conflict, "not now") }
            router.add(.GET, "/late-error") { _ in .jsonLines { _ in throw Failure(.notFound, "No such thing") } }
            router.add(.GET, "/broken") { _ in
                .jsonLines { stream in
                    try await stream.writeLine(["a": 1])
                    throw Failure(.internalServerError, "lost")
                }
            }
        }
    }

    @Test func headersThatClientsNegotiateBy() async throws {
        let server = try await server()
        let answer = try server.request("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(answer.status == 200)
        #expect(answer.body == "OK")
        #expect(answer.headers["api-version"] == "1.51")
        #expect(answer.headers["docker-experimental"] == "false")
        #expect(answer.headers["ostype"] == "linux")
        let client = try server.connect()
        client.send("HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\nGET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.answer(head: true).status == 200)
        // Nothing but the head came, or this would be garbage.
        #expect(try client.answer().body == "OK")
        await server.server.stop()
        #expect(access(server.path, F_OK) != 0)
    }

    @Test func namesMayContainSlashesAndEscapes() async throws {
        let server = try await server()
        let answer = try server.request("GET /v1.30/things/a%2fb/c:d/json?q=x+y%21 HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(answer.body == "{\"name\":\"a/b/c:d\",\"q\":\"x y!\",\"version\":\"1.30\"}\n")
        await server.server.stop()
    }

    @Test(arguments: [
        (
            "GET /v1.23/_ping", 400,
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        ),
        ("GET /v1.52/_ping", 400, "client version 1.52 is too new. Maximum supported API version is 1.51"),
        ("GET /v2/_ping", 400, "client version 2 is too new. Maximum supported API version is 1.51"),
        ("GET /v1.51", 404, "page not found"),
        ("GET /vx/_ping", 404, "page not found"),
        ("GET /", 404, "page not found"),
        ("GET /things//json", 404, "page not found"),
        ("DELETE /_ping", 404, "page not found"),
        ("GET /things/%zz/json", 400, "invalid URL escape in \"/things/%zz/json\""),
        ("GET /late-error", 404, "No such thing"),
    ])
    func refusals(line: String, status: Int, message: String) async throws {
        let server = try await server()
        let answer = try server.request("\(line) HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(answer.status == status)
        #expect(try JSON.decode(ErrorResponse.self, from: answer.body).message == message)
        #expect(answer.headers["content-type"] == "application/json")
        await server.server.stop()
    }

    @Test func documents() async throws {
        let server = try await server()
        func post(_ body: String, _ type: String = "application/json; charset=utf-8") throws -> Answer {
            let type = type.isEmpty ? "" : "Content-Type: \(type)\r\n"
            return try server.request(
                "POST /things/create HTTP/1.1\r\nHost: x\r\n\(type)Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
        }
        let good = try post(#"{"name":"always"}"#)
        #expect(good.status == 201)
        #expect(good.body == "{\"Name\":\"always\",\"MaximumRetryCount\":0}\n")
        let empty = try post("")
        #expect(empty.status == 400 && empty.body.contains("got EOF while reading request body"))
        let bad = try post(#"{"Name":3}"#)
        #expect(bad.status == 400 && bad.body.contains("Name must be a string"))
        #expect(try post("{").status == 400)
        let form = try post("a=b", "application/x-www-form-urlencoded")
        #expect(form.status == 400 && form.body.contains("must be 'application/json'"))
        #expect(try post("{}", "").status == 400)
        await server.server.stop()
    }

    @Test func bodilessStatusesKeepTheConnection() async throws {
        let server = try await server()
        let client = try server.connect()
        client.send("POST /things/a/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        let unchanged = try client.answer()
        #expect(unchanged.status == 304)
        #expect(unchanged.headers["content-type"] == nil)
        client.send("POST /things/a/stop HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.answer().status == 204)
        client.send("GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        #expect(try client.answer().body == "OK")
        #expect(try client.rest().isEmpty)
        await server.server.stop()
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
        let server = try await server()
        let client = try server.connect()
        client.send((0..<20).map { "GET /things/\($0)/json HTTP/1.1\r\nHost: x\r\n\r\n" }.joined())
        for index in 0..<20 { #expect(try client.answer().body.contains("\"name\":\"\(index)\"")) }
        await server.server.stop()
    }

    @Test func streamedBodiesArrive() async throws {
        let server = try await server()
        let client = try server.connect()
        client.send("PUT /sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        #expect(try client.head().status == 100)
        let part = [UInt8](repeating: 7, count: 100_000)
        for _ in 0..<30 {
            client.send("186a0\r\n")
            client.send(part)
            client.send("\r\n")
        }
        client.send("0\r\n\r\n")
        #expect(try client.answer().body == "{\"count\":3000000}\n")
        // The connection goes on.
        client.send("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.answer().body == "OK")
        await server.server.stop()
    }

    @Test func aRefusalReachesAClientThatStillSends() async throws {
        let server = try await server()
        let client = try server.connect()
        client.send("PUT /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n")
        client.send([UInt8](repeating: 1, count: 1_000_000))
        let answer = try client.answer()
        #expect(answer.status == 409 && answer.body.contains("not now"))
        #expect(answer.headers["connection"] == "close")
        await server.server.stop()
    }

    @Test func tooLargeADocumentIsRefused() async throws {
        let server = try await server()
        let client = try server.connect()
        client.send(
            "POST /things/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(64 << 20)\r\n\r\n")
        let part = [UInt8](repeating: UInt8(ascii: " "), count: 1 << 20)
        for _ in 0..<20 where client.send(part) {}
        #expect(try client.answer().status == 413)
        await server.server.stop()
    }

    @Test func whatIsNotHTTPIsRefusedAndTheServerLives() async throws {
        let server = try await server()
        #expect(try server.request("\u{16}\u{3}\u{1}garbage\r\n\r\n").status == 400)
        #expect(try server.request("GET /_ping HTTP/1.1\r\nno colon\r\n\r\n").status == 400)
        let half = try server.connect()
        half.send("POST /things/create HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        half.endInput()
        #expect(try half.answer().status == 400)
        #expect(try half.rest().isEmpty)
        // Idle and half-sent connections don't keep others from being served.
        var idle: [Client] = []
        for _ in 0..<500 {
            let client = try server.connect()
            client.send("GET /_pi")
            idle.append(client)
        }
        #expect(try server.request("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n").body == "OK")
        idle[250].send("ng HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try idle[250].answer().body == "OK")
        await server.server.stop()
    }

    @Test func halfSentDocumentsShareWhatMemoryThereIs() async throws {
        let documents = Allowance(1_000_000)
        let server = try await server { $0.documents = documents }
        let head =
            "POST /things/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 600000\r\n\r\n"
        let document = #"{"Name":"always"}"#
        let first = try server.connect()
        first.send(head + document + String(repeating: " ", count: 599_982))
        while documents.taken < 599_999 { await Task.yield() }
        let second = try server.connect()
        second.send(head + document + String(repeating: " ", count: 599_983))
        let refused = try second.answer()
        #expect(refused.status == 503 && refused.body.contains("too many requests are being sent at once"))
        #expect(try server.request("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n").body == "OK")
        // What was begun can be finished, and gives its memory back.
        first.send(" ")
        #expect(try first.answer().status == 201)
        let third = try server.connect()
        third.send(head + document + String(repeating: " ", count: 599_983))
        #expect(try third.answer().status == 201)
        #expect(documents.taken == 0)
        await server.server.stop()
    }

    @Test func whoSendsHalfARequestIsLetGo() async throws {
        let server = try await server { $0.patience = .milliseconds(10) }
        for text in ["", "GET /_pi", "POST /things/create HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"] {
            let client = try server.connect()
            client.send(text)
            #expect(try client.rest().isEmpty)
        }
        await server.server.stop()
    }

    @Test func connectionsLeaveDescriptorsForTheRest() async throws {
        let server = try await server { $0.connections = Allowance(3) }
        var clients = try (0..<3).map { _ in try server.connect() }
        for client in clients {
            client.send("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try client.answer().body == "OK")
        }
        let refused = try server.connect()
        let answer = try refused.answer()
        #expect(answer.status == 503 && answer.body.contains("too many connections"))
        clients.removeLast()
        while try server.request("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n").status == 503 { await Task.yield() }
        await server.server.stop()
    }

    @Test func aStreamThatBreaksIsSeenToBeIncomplete() async throws {
        let server = try await server()
        let client = try server.connect()
        client.send("GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.head().status == 200)
        #expect(try client.chunk() == "{\"a\":1}\n")
        #expect(try client.rest().isEmpty)
        await server.server.stop()
    }
}
