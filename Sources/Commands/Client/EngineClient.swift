import EngineAPI
import NIOHTTP1

/// A refusal by the daemon.
struct DaemonError: Error, CustomStringConvertible {
    let status: UInt
    let message: String

    var isNotFound: Bool { status == 404 }
    var description: String { "Error response from daemon: \(message)" }
}

/// The Engine API over the daemon's socket. Connections are kept and used again, further ones opened where an answer
/// lasts (`wait`, `attach`).
///
/// The newest version that we know is asked for straight away; only a daemon that is older costs a second round trip,
/// after its refusal has named the version that it speaks.
final class EngineClient {
    let host: Host
    private let debug: Bool
    /// Header fields that the user's settings add to every request.
    private let headers: [(name: String, value: String)]
    private var version = APIVersion.newest
    private var idle: [HTTPConnection] = []
    private var expected = 0

    init(host: Host, debug: Bool, headers: [(name: String, value: String)] = []) {
        self.host = host
        self.debug = debug
        self.headers = headers
    }

    /// A request's query, in order; parameters without a value are left out.
    struct Query: ExpressibleByDictionaryLiteral {
        private(set) var parameters: [(name: String, value: String)] = []

        init(dictionaryLiteral elements: (String, String?)...) {
            for (name, value) in elements { if let value { parameters.append((name, value)) } }
        }

        /// The query with one parameter more for each value.
        func adding(_ name: String, _ values: [String]) -> Query {
            var copy = self
            copy.parameters += values.map { (name, $0) }
            return copy
        }
    }

    // MARK: Calls

    /// Sends a request and reads the whole answer.
    ///
    /// - Throws: `DaemonError` for a refusal.
    @discardableResult
    func call(_ method: HTTPMethod, _ path: String, _ query: Query = [:], body: [UInt8]? = nil) throws -> [UInt8] {
        let answer = try stream(method, path, query, body: body)
        return try answer.rest()
    }

    /// Sends a document as the body.
    @discardableResult
    func call(_ method: HTTPMethod, _ path: String, _ query: Query = [:], document: some WireValue) throws -> [UInt8] {
        try call(method, path, query, body: JSON.encode(document))
    }

    /// Sends a request and reads the answer as JSON.
    func json(_ method: HTTPMethod = .GET, _ path: String, _ query: Query = [:], body: [UInt8]? = nil) throws
        -> OrderedJSON
    {
        let bytes = try call(method, path, query, body: body)
        do {
            return try OrderedJSON(parsing: bytes)
        } catch {
            throw CommandFailure("the daemon's answer to \(path) is no JSON: \(error)")
        }
    }

    /// Sends a request and returns when the head of the answer has come; the body is read piece by piece.
    ///
    /// - Parameter credentials: for the registry that the daemon is to talk to (`X-Registry-Auth`).
    func stream(
        _ method: HTTPMethod, _ path: String, _ query: Query = [:], body: [UInt8]? = nil, credentials: String? = nil
    ) throws -> Answer {
        try negotiated { connection in
            try send(connection, method, path, query, body: body, credentials: credentials)
        }
    }

    /// Sends a body that is made while it is sent, in chunks, and returns when the head of the answer has come.
    ///
    /// - Parameter produce: makes the body, by handing its pieces on.
    func upload(
        _ method: HTTPMethod, _ path: String, _ query: Query = [:], contentType: String = "application/x-tar",
        _ produce: (_ send: @escaping ([UInt8]) throws -> Void) throws -> Void
    ) throws -> Answer {
        // The body can't be sent twice, so the version is settled before.
        try call(.GET, "/version")
        return try negotiated { connection in
            var headers = HTTPHeaders(self.headers)
            headers.add(contentsOf: [("Content-Type", contentType), ("Transfer-Encoding", "chunked")])
            let target = target(path, query)
            if debug { complain("> \(method) \(target) (an archive)") }
            try connection.sendHead(method, target, headers)
            do {
                try produce { try connection.sendBody($0) }
                try connection.endRequest()
            } catch is HTTPConnection.Hangup {
                // It was refused before its end, which may never come: the answer says why.
            }
        }
    }

    /// Sends a request that turns the connection into a raw stream (attach, exec).
    func hijack(_ path: String, _ query: Query = [:], body: [UInt8]? = nil) throws -> HijackedStream {
        try HijackedStream(
            try negotiated { try send($0, .POST, path, query, body: body, upgrade: true) }, path)
    }

    /// Says that `count` more requests will follow the next one at once: connections for them are opened while the
    /// daemon is at work on that one.
    func expect(_ count: Int) { expected = count }

    /// Sends a request whose answer is read later, so that others can be sent meanwhile. Nothing is negotiated: an
    /// older daemon refuses it unless an earlier request has settled the version.
    func ask(_ method: HTTPMethod, _ path: String, _ query: Query = [:], upgrade: Bool = false) throws
        -> HTTPConnection
    {
        let connection = try connection()
        try send(connection, method, path, query, body: nil, upgrade: upgrade)
        return connection
    }

    /// Reads the head of the answer to what was asked.
    ///
    /// - Throws: `DaemonError` for a refusal.
    func answer(_ connection: HTTPConnection) throws -> Answer {
        let answer = Answer(head: try connection.receiveHead(), connection: connection) { self.idle.append($0) }
        if answer.head.status.code < 400 { return answer }
        throw try refusal(answer)
    }

    /// Sends the same request for several objects, up to fifty at once (each over a connection of its own), and
    /// returns the answers in the order of the names.
    func callAll(_ method: HTTPMethod, _ names: [String], _ path: (String) -> String, _ query: Query = [:])
        -> [(name: String, result: Result<[UInt8], any Error>)]
    {
        if names.count == 1 {
            return [(names[0], Result { try call(method, path(pathPart(names[0])), query) })]
        }
        var results: [(String, Result<[UInt8], any Error>)] = []
        for start in stride(from: 0, to: names.count, by: 50) {
            let batch = names[start..<min(start + 50, names.count)]
            let asked = batch.map { name in (name, Result { try ask(method, path(pathPart(name)), query) }) }
            for (name, connection) in asked {
                let result = Result {
                    do {
                        return try answer(connection.get()).rest()
                    } catch let error as DaemonError where supportedVersion(error.message) != nil {
                        // An older daemon: ask again one by one, in its version.
                        return try call(method, path(pathPart(name)), query)
                    }
                }
                results.append((name, result))
            }
        }
        return results
    }

    // MARK: How

    /// One that is idle, or a new one. The daemon may have closed it meanwhile: it was started again, or did not want to
    /// wait any longer.
    private func connection() throws -> HTTPConnection {
        while let connection = idle.popLast() { if connection.isQuiet { return connection } }
        return try HTTPConnection(host)
    }

    private func negotiated(_ send: (HTTPConnection) throws -> Void) throws -> Answer {
        while true {
            let connection = try connection()
            try send(connection)
            while idle.count < expected { idle.append(try HTTPConnection(host)) }
            expected = 0
            do {
                return try answer(connection)
            } catch let error as DaemonError where error.status == 400 {
                guard let older = supportedVersion(error.message), older < version else { throw error }
                version = older
            }
        }
    }

    private func send(
        _ connection: HTTPConnection, _ method: HTTPMethod, _ path: String, _ query: Query, body: [UInt8]?,
        upgrade: Bool = false, credentials: String? = nil
    ) throws {
        var headers = HTTPHeaders(self.headers)
        if let credentials { headers.add(name: "X-Registry-Auth", value: credentials) }
        if upgrade {
            headers.add(name: "Connection", value: "Upgrade")
            headers.add(name: "Upgrade", value: "tcp")
        }
        if let body {
            headers.add(name: "Content-Type", value: "application/json")
            headers.add(name: "Content-Length", value: String(body.count))
        } else if method != .GET && method != .HEAD {
            headers.add(name: "Content-Length", value: "0")
        }
        let target = target(path, query)
        if debug { complain("> \(method) \(target)\(body.map { " " + String(decoding: $0, as: UTF8.self) } ?? "")") }
        try connection.sendHead(method, target, headers)
        if let body { try connection.sendBody(body) }
        try connection.endRequest()
    }

    private func target(_ path: String, _ query: Query) -> String {
        var target = "/v\(version)\(path)"
        for (index, parameter) in query.parameters.enumerated() {
            target += "\(index == 0 ? "?" : "&")\(parameter.name)=\(percentEncoded(parameter.value))"
        }
        return target
    }

    private func refusal(_ answer: Answer) throws -> DaemonError {
        let bytes = try answer.rest()
        let text = String(decoding: bytes, as: UTF8.self)
        let message = (try? OrderedJSON(parsing: bytes))?["message"].string ?? trimmed(text)
        let shown = message.isEmpty ? "\(answer.head.status.code) \(answer.head.status.reasonPhrase)" : message
        if debug { complain("< \(answer.head.status.code) \(shown)") }
        return DaemonError(status: answer.head.status.code, message: shown)
    }

    /// The version in `client version 1.51 is too new. Maximum supported API version is 1.47`.
    private func supportedVersion(_ message: String) -> APIVersion? {
        guard message.contains("is too new"), let word = message.split(separator: " ").last else { return nil }
        return APIVersion(String(word.last == "." ? word.dropLast() : word))
    }
}

/// A name as one part of a request's path.
func pathPart(_ name: String) -> String { percentEncoded(name) }

/// What an error says to the user.
func sentence(_ error: any Error) -> String {
    (error as? CommandFailure)?.message ?? "\(error)"
}

/// An answer whose body is still to be read.
final class Answer {
    let head: HTTPResponseHead
    let connection: HTTPConnection
    private let release: (HTTPConnection) -> Void

    init(head: HTTPResponseHead, connection: HTTPConnection, release: @escaping (HTTPConnection) -> Void) {
        self.head = head
        self.connection = connection
        self.release = release
    }

    /// The next piece of the body, nil at its end.
    func next() throws -> [UInt8]? {
        let piece = try connection.receiveBody()
        if piece == nil && connection.isIdle { release(connection) }
        return piece
    }

    /// Everything that is left of the body.
    func rest() throws -> [UInt8] {
        let bytes = try connection.receiveRest()
        if connection.isIdle { release(connection) }
        return bytes
    }

    /// Calls `body` with each JSON document of a stream, one a line.
    func eachDocument(_ body: (OrderedJSON) throws -> Void) throws {
        var pending: [UInt8] = []
        func flush(_ line: some Collection<UInt8>) throws {
            if line.allSatisfy({ $0 == 13 || $0 == 32 }) { return }
            let document: OrderedJSON
            do {
                document = try OrderedJSON(parsing: line)
            } catch {
                throw CommandFailure("the daemon sent a message that is no JSON: \(error)")
            }
            try body(document)
        }
        while let piece = try next() {
            pending += piece
            while let end = pending.firstIndex(of: 10) {
                let line = Array(pending[..<end])
                pending.removeSubrange(...end)
                try flush(line)
            }
        }
        try flush(pending)
    }
}

/// A connection that has left HTTP: raw bytes both ways.
final class HijackedStream {
    let connection: HTTPConnection
    /// What came together with the answer's head.
    let early: [UInt8]

    /// - Throws: `CommandFailure` where the daemon answered `path` without giving the connection away.
    init(_ answer: Answer, _ path: String) throws {
        guard answer.head.status == .switchingProtocols else {
            throw CommandFailure(
                "the daemon answered \(answer.head.status.code) to \(path) instead of opening a stream")
        }
        connection = answer.connection
        early = connection.hijack()
    }

    var descriptor: Int32 { connection.descriptor }
}
