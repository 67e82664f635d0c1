import Glibc

@testable import APIServer

/// A server on a socket of its own with routes of a test's own.
struct TestServer {
    let path: String
    let server: APIServer

    init(_ describe: (inout Router) -> Void) async throws {
        var router = Router()
        describe(&router)
        path = "/tmp/mycontainer-api-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
        server = try await APIServer.start(router, on: [try ListeningSocket.bind(path, group: nil)])
    }

    func connect() throws -> Client { try Client(path) }

    /// One request on a connection of its own.
    func request(_ text: String) throws -> Answer {
        let client = try connect()
        client.send(text)
        return try client.answer()
    }
}

struct ClientError: Error {
    let what: String
}

/// What a server answered.
struct Answer {
    let status: Int
    let headers: [String: String]
    let body: String
}

/// Gives up on a blocking socket after ten minutes, so that a test fails instead of hanging. Less would not do: a server's
/// tasks take their turn behind those tests of other modules that block the threads which tasks run on.
private func limitWaiting(_ descriptor: Int32) {
    var patience = timeval(tv_sec: 600, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
        setsockopt(descriptor, SOL_SOCKET, option, &patience, socklen_t(MemoryLayout<timeval>.size))
    }
}

/// A blocking HTTP client that says exactly what a test wants on the wire.
final class Client {
    private let descriptor: Int32
    private var received: [UInt8] = []

    init(_ path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        if result != 0 { throw ClientError(what: "connect: errno \(errno)") }
        limitWaiting(descriptor)
    }

    deinit { close(descriptor) }

    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    /// Whether all of it was taken.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count <= 0 { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    func endInput() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Reads more; false at the end.
    private func fill() throws -> Bool {
        var chunk = [UInt8](repeating: 0, count: 65536)
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0 { throw ClientError(what: "read: errno \(errno)") }
        received += chunk.prefix(count)
        return count > 0
    }

    func line() throws -> String {
        while true {
            if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
                var line = Array(received[..<end])
                received.removeSubrange(...end)
                if line.last == UInt8(ascii: "\r") { line.removeLast() }
                return String(decoding: line, as: UTF8.self)
            }
            guard try fill() else { throw ClientError(what: "the connection ended in a line") }
        }
    }

    func bytes(_ count: Int) throws -> [UInt8] {
        while received.count < count {
            guard try fill() else { throw ClientError(what: "the connection ended early") }
        }
        defer { received.removeFirst(count) }
        return Array(received.prefix(count))
    }

    func text(_ count: Int) throws -> String { String(decoding: try bytes(count), as: UTF8.self) }

    func rest() throws -> [UInt8] {
        while try fill() {}
        defer { received = [] }
        return received
    }

    func head() throws -> (status: Int, headers: [String: String]) {
        let status = try line().split(separator: " ")
        var headers: [String: String] = [:]
        while true {
            let line = try line()
            if line.isEmpty { break }
            let colon = line.firstIndex(of: ":") ?? line.endIndex
            headers[line[..<colon].lowercased()] = String(line[colon...].dropFirst(2))
        }
        return (status.count > 1 ? Int(status[1]) ?? 0 : 0, headers)
    }

    /// One part of a chunked body, nil for the last.
    func chunk() throws -> String? {
        let size = Int(try line(), radix: 16) ?? 0
        let text = try text(size)
        _ = try line()
        return size == 0 ? nil : text
    }

    func answer(head isHead: Bool = false) throws -> Answer {
        let (status, headers) = try head()
        var body = ""
        if !isHead && ![204, 304].contains(status) {
            if headers["transfer-encoding"] == "chunked" {
                while let chunk = try chunk() { body += chunk }
            } else if let length = headers["content-length"].flatMap({ Int($0) }) {
                body = try text(length)
            }
        }
        return Answer(status: status, headers: headers, body: body)
    }
}

/// A pair of connected stream sockets; the second is for blocking calls.
func socketPair() -> (Int32, Int32) {
    var ends: [Int32] = [-1, -1]
    socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends)
    limitWaiting(ends[1])
    return (ends[0], ends[1])
}
