import Glibc

/// An answer of the daemon's API.
struct Answer: Sendable {
    var status: Int
    /// Names in lower case.
    var headers: [String: String]
    var body: [UInt8]

    var text: String { String(decoding: body, as: UTF8.self) }
    func json() throws -> JSON { try JSON.parse(text) }
    /// The `message` that errors carry.
    var message: String { (try? json())?["message"].string ?? text }
}

/// A connection to a unix socket that says what it is told, well-formed or not.
final class UnixConnection {
    let descriptor: Int32

    init(_ path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw CommandFailure(description: "socket path is too long: \(path)")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            let code = errno
            throw CommandFailure(description: "\(path): \(String(cString: strerror(code)))")
        }
    }

    deinit { close(descriptor) }

    /// Sends all of `bytes`; false when the other side is gone.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if sent < 0, errno == EINTR { continue }
            guard sent > 0 else { return false }
            rest = rest.dropFirst(sent)
        }
        return true
    }

    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// What comes next, at most 64 KiB; empty at the end; nil when nothing came in time.
    func receive(seconds: Double = patience) -> [UInt8]? {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while true {
            let ready = poll(&entry, 1, Int32(seconds * 1000))
            if ready > 0 { break }
            if ready == 0 || errno != EINTR { return nil }
        }
        var buffer = [UInt8](repeating: 0, count: 65536)
        let got = read(descriptor, &buffer, buffer.count)
        return got > 0 ? Array(buffer[..<got]) : []
    }

    /// Reads until `condition` holds for all that came, or the end.
    func receive(seconds: Double = patience, until condition: ([UInt8]) -> Bool) throws -> [UInt8] {
        var all: [UInt8] = []
        let deadline = Clock.now + Int64(seconds * 1e9)
        while !condition(all) {
            guard let more = receive(seconds: Double(max(1, deadline - Clock.now)) / 1e9) else {
                throw CommandFailure(
                    description: "no answer within \(seconds) s; so far: \(String(decoding: all, as: UTF8.self))")
            }
            if more.isEmpty { break }
            all += more
        }
        return all
    }
}

/// One request on a connection of its own.
func request(
    _ method: String, _ path: String, socket: String, body: String? = nil, headers: [String: String] = [:],
    seconds: Double = patience
) throws -> Answer {
    let connection = try UnixConnection(socket)
    var head = "\(method) \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    for (name, value) in headers { head += "\(name): \(value)\r\n" }
    if let body { head += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n" }
    connection.send(head + "\r\n" + (body ?? ""))
    return try parseAnswer(try connection.receive(seconds: seconds) { _ in false })
}

/// Takes an HTTP/1.1 answer apart, chunked or not.
func parseAnswer(_ bytes: [UInt8]) throws -> Answer {
    let separator: [UInt8] = [13, 10, 13, 10]
    guard let end = bytes.indices.first(where: { bytes[$0...].starts(with: separator) }) else {
        throw CommandFailure(description: "not an HTTP answer: \(String(decoding: bytes.prefix(300), as: UTF8.self))")
    }
    let lines = String(decoding: bytes[..<end], as: UTF8.self).split(separator: "\r\n")
    guard let first = lines.first, let status = first.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
    else {
        throw CommandFailure(description: "no status line")
    }
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
        guard let colon = line.firstIndex(of: ":") else { continue }
        headers[line[..<colon].lowercased()] = String(line[line.index(after: colon)...].drop { $0 == " " })
    }
    var body = Array(bytes[(end + 4)...])
    if headers["transfer-encoding"]?.lowercased() == "chunked" {
        var decoded: [UInt8] = []
        var rest = body[...]
        while let newline = rest.firstIndex(of: 10) {
            let size = Int(
                String(decoding: rest[..<newline], as: UTF8.self).prefix { $0.isHexDigit }, radix: 16)
            guard let size, size > 0, rest.endIndex >= newline + 1 + size else { break }
            decoded += rest[(newline + 1)..<(newline + 1 + size)]
            rest = rest[(newline + 1 + size)...].dropFirst(2)
        }
        body = decoded
    }
    return Answer(status: status, headers: headers, body: body)
}
