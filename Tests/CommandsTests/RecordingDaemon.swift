import Glibc
import Synchronization

@testable import Commands

/// A request as a daemon sees it, without what may differ between clients: the version, the order of parameters.
struct RecordedRequest: Equatable, CustomStringConvertible, Sendable {
    var method: String
    var path: String
    var query: [String: String]
    var body: OrderedJSON

    var description: String { "\(method) \(path) \(query.sorted { $0.key < $1.key }) \(body.text)" }
}

/// A daemon that writes down what it is asked and gives the answers that let a client go on.
final class RecordingDaemon: Sendable {
    let socketPath: String
    private let listener: Int32
    private let requests = Mutex<[RecordedRequest]>([])
    private let answers: [(prefix: String, status: Int, body: String)]
    private let connections = Mutex<Set<Int32>>([])

    static let id = String(repeating: "0123456789abcdef", count: 4)

    /// - Parameter answers: what to answer to `METHOD /path…`, tried before the standard answers. A refusal of a body in
    ///   chunks comes before that has been read, and ends the connection.
    init(answers: [(prefix: String, status: Int, body: String)] = []) throws {
        self.answers = answers
        socketPath = "/tmp/mycontainer-test-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socketPath.utf8) }
        let bound = withUnsafePointer(to: address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, listen(listener, 64) == 0 else { throw CommandFailure("cannot listen: \(errno)") }
        startThread { [self] in
            while true {
                let connection = accept(listener, nil, nil)
                if connection < 0 {
                    if errno == EINTR { continue }
                    // Closed by the one who accepts: a descriptor closed elsewhere may be another daemon's by the next
                    // call, whose clients would be taken here.
                    close(listener)
                    return
                }
                _ = connections.withLock { $0.insert(connection) }
                startThread { [self] in
                    serve(connection)
                    connections.withLock { list in
                        list.remove(connection)
                        close(connection)
                    }
                }
            }
        }
    }

    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        unlink(socketPath)
    }

    /// Closes the connections that clients keep.
    func hangUp() {
        connections.withLock { list in
            for connection in list { shutdown(connection, Int32(SHUT_RDWR)) }
        }
    }

    /// What has been asked since the last call, without questions about the daemon itself.
    func takeRequests() -> [RecordedRequest] {
        requests.withLock { list in
            defer { list = [] }
            return list.filter { !$0.path.hasSuffix("/_ping") && $0.path != "/info" && $0.path != "/version" }
        }
    }

    private func serve(_ connection: Int32) {
        var pending: [UInt8] = []
        func line() -> String? {
            while true {
                if let end = pending.firstIndex(of: 10) {
                    let bytes = pending[..<end].filter { $0 != 13 }
                    pending.removeSubrange(...end)
                    return String(decoding: bytes, as: UTF8.self)
                }
                if !fill() { return nil }
            }
        }
        func fill() -> Bool {
            var chunk = [UInt8](repeating: 0, count: 65536)
            let count = read(connection, &chunk, chunk.count)
            if count > 0 { pending += chunk[..<count] }
            return count > 0
        }
        func take(_ count: Int) -> [UInt8] {
            while pending.count < count, fill() {}
            defer { pending.removeFirst(min(count, pending.count)) }
            return Array(pending.prefix(count))
        }
        while let first = line() {
            let words = first.split(separator: " ").map(String.init)
            guard words.count == 3 else { return }
            var length = 0
            var isChunked = false
            while let header = line(), !header.isEmpty {
                let (name, value) = cut(header.lowercased(), ":")
                if name == "content-length" { length = Int(trimmed(value ?? "")) ?? 0 }
                if name == "transfer-encoding" { isChunked = true }
            }
            if isChunked, answer(parsed(words[0], words[1], [])).0 >= 400 { pending = Array("0\r\n\r\n".utf8) }
            var body = take(length)
            while isChunked, let size = line().flatMap({ Int($0, radix: 16) }) {
                body += take(size)
                _ = line()
                if size == 0 { break }
            }
            let request = record(words[0], words[1], body)
            let (status, answer) = answer(request)
            var head = "HTTP/1.1 \(status) X\r\nApi-Version: 1.50\r\nOstype: linux\r\n"
            head += "Content-Type: application/json\r\n"
            if status == 101 {
                head += "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
                _ = send(connection, head, head.utf8.count, Int32(MSG_NOSIGNAL))
                return
            }
            let isBodyless = words[0] == "HEAD" || status == 204
            head += (status == 204 ? "" : "Content-Length: \(isBodyless ? 0 : answer.utf8.count)\r\n") + "\r\n"
            let text = head + (isBodyless ? "" : answer)
            _ = send(connection, text, text.utf8.count, Int32(MSG_NOSIGNAL))
            if isChunked && status >= 400 { return }
        }
    }

    private func record(_ method: String, _ target: String, _ body: [UInt8]) -> RecordedRequest {
        let request = parsed(method, target, body)
        requests.withLock { $0.append(request) }
        return request
    }

    private func parsed(_ method: String, _ target: String, _ body: [UInt8]) -> RecordedRequest {
        var (path, parameters) = cut(target, "?")
        if path.hasPrefix("/v1."), let slash = path.dropFirst().firstIndex(of: "/") { path = String(path[slash...]) }
        var query: [String: String] = [:]
        for parameter in (parameters ?? "").split(separator: "&") {
            let (name, value) = cut(parameter, "=")
            query[name] = decoded(value ?? "")
        }
        let document = body.isEmpty ? OrderedJSON.null : (try? OrderedJSON(parsing: body)) ?? .string("no JSON")
        return RecordedRequest(method: method, path: decoded(path), query: query, body: document)
    }

    private func decoded(_ text: String) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), let code = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
                bytes.append(code)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte == UInt8(ascii: "+") ? 32 : byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func answer(_ request: RecordedRequest) -> (Int, String) {
        let line = "\(request.method) \(request.path)"
        if let answer = answers.first(where: { line.hasPrefix($0.prefix) }) { return (answer.status, answer.body) }
        let parts = request.path.split(separator: "/").map(String.init)
        switch (request.method, parts.first, parts.last) {
        case (_, _, "_ping"): return (200, "OK")
        case ("POST", "containers", "create"): return (201, #"{"Id":"\#(Self.id)","Warnings":[]}"#)
        case ("POST", "containers", "attach"), ("POST", "exec", "start"):
            return request.body["Detach"].bool == true ? (200, "") : (101, "")
        case ("POST", "containers", "wait"): return (200, #"{"StatusCode":0}"#)
        case ("POST", "containers", "exec"): return (201, #"{"Id":"e1"}"#)
        case ("POST", "containers", "update"): return (200, #"{"Warnings":[]}"#)
        case ("POST", _, "prune"): return (200, "{}")
        case ("POST", "images", "create"), ("POST", "images", "push"), ("GET", "events", _), ("POST", "images", "load"):
            return (200, "")
        case ("POST", "images", "tag"): return (201, "")
        case ("POST", "networks", "create"): return (201, #"{"Id":"n1"}"#)
        case ("GET", "networks", "networks"): return (200, "[]")
        case ("POST", "volumes", "create"): return (201, #"{"Name":"foo"}"#)
        case ("POST", "commit", _): return (201, #"{"Id":"sha256:00"}"#)
        case ("DELETE", "images", _): return (200, "[]")
        case ("GET", "exec", _): return (200, #"{"ExitCode":0,"Running":false}"#)
        case ("GET", "containers", "top"): return (200, #"{"Titles":["PID"],"Processes":[["1"]]}"#)
        case ("GET", "containers", "changes"), ("GET", "images", "history"): return (200, "[]")
        case ("GET", "volumes", "volumes"): return (200, #"{"Volumes":[]}"#)
        case ("GET", "system", "df"), ("GET", "info", _): return (200, "{}")
        case ("GET", "containers", "logs"), ("GET", "containers", "export"), ("GET", "images", "get"):
            return (200, "")
        case ("GET", "containers", "json") where parts.count == 3:
            return (
                200,
                #"{"Id":"\#(Self.id)","Name":"/x","State":{"Status":"running","Running":true},"#
                    + #""Config":{"Tty":false,"OpenStdin":false},"HostConfig":{"AutoRemove":false},"#
                    + #""NetworkSettings":{"Ports":{}}}"#
            )
        case ("GET", _, "json") where parts.count == 2: return (200, "[]")
        case ("GET", _, _): return (200, "{}")
        default: return (204, "")
        }
    }
}

/// Runs `body` on a thread of its own.
func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_create(
        &thread, &attributes,
        { argument in
            Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
            return nil
        }, Unmanaged.passRetained(Box(body)).toOpaque())
}
