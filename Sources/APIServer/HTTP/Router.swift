import EngineAPI
import Glibc
import NIOCore
import NIOHTTP1

/// Which request goes to which handler.
public struct Router: Sendable {
    typealias Handler = @Sendable (Request) async throws -> Reply

    /// What happens to a request's body before the handler runs.
    enum BodyPolicy: Sendable {
        /// Read whole, up to `ConnectionHandler.maximumDocument`.
        case collected
        /// Left to the handler.
        case streamed
    }

    struct Route: Sendable {
        let method: HTTPMethod
        /// A path with at most one `{name}`, which matches anything that is not empty.
        let prefix: String
        let suffix: String?
        let body: BodyPolicy
        let handler: Handler

        /// What `{name}` stands for, or nil when the path does not match.
        func match(_ path: String) -> String? {
            guard let suffix else { return path == prefix ? "" : nil }
            guard path.utf8.count > prefix.utf8.count + suffix.utf8.count, path.hasPrefix(prefix),
                path.hasSuffix(suffix)
            else { return nil }
            return String(path.dropFirst(prefix.count).dropLast(suffix.count))
        }
    }

    private(set) var routes: [Route] = []
    /// Where the daemon writes what nobody else is told.
    var log: @Sendable (String) -> Void = { _ in }
    /// How long a client may leave a streamed answer unread once its buffers are full. Long: somebody may look at it in
    /// a pager.
    var stalledReaderLimit = TimeAmount.minutes(15)

    /// How long a client may take for a request's head and for the next part of a document.
    var patience = TimeAmount.minutes(5)
    /// Half of the descriptors that the daemon may have.
    var connections = Allowance(Router.descriptorLimit / 2)
    /// Connections beyond these that are told so at the same time; others just end.
    let refusals = Allowance(64)
    /// Bytes of documents that have begun to arrive. Those that there are have a few kilobytes.
    var documents = Allowance(64 << 20)

    init() {}

    private static var descriptorLimit: Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        return Int(clamping: limit.rlim_cur)
    }

    /// Adds a route; the first that matches wins.
    mutating func add(
        _ method: HTTPMethod, _ pattern: String, body: BodyPolicy = .collected, _ handler: @escaping Handler
    ) {
        let parts = pattern.split(separator: "{name}", maxSplits: 1, omittingEmptySubsequences: false)
        routes.append(
            Route(
                method: method, prefix: String(parts[0]), suffix: parts.count == 2 ? String(parts[1]) : nil,
                body: body, handler: handler))
    }

    /// What the head of a request asks for.
    ///
    /// - Throws: `page not found`, also for a method that the path does not have, and a version that is not served:
    ///   dockerd's texts.
    func resolve(_ head: HTTPRequestHead) throws(Failure) -> (Route, Request) {
        let question = head.uri.firstIndex(of: "?") ?? head.uri.endIndex
        let decoded = try PercentEncoding.decode(head.uri[..<question].utf8)
        let (version, path) = try Self.version(decoded)
        for route in routes where route.method == head.method {
            guard let name = route.match(path) else { continue }
            let request = Request(
                method: head.method, path: path, name: name, query: try Query(head.uri[question...].dropFirst()),
                headers: head.headers, version: version)
            return (route, request)
        }
        throw .pageNotFound
    }

    /// Takes `/v1.51` off a path.
    private static func version(_ path: String) throws(Failure) -> (APIVersion, String) {
        guard path.hasPrefix(bytes: "/v") else { return (.newest, path) }
        let text = path.dropFirst(2).prefix { $0 == "." || ("0"..."9").contains($0) }
        let rest = path.dropFirst(2 + text.count)
        guard !text.isEmpty, rest.first == "/" else { return (.newest, path) }
        let numbers = text.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        let version = APIVersion(numbers[0], numbers.count > 1 ? numbers[1] : 0)
        if version < .oldest {
            throw .badRequest(
                "client version \(text) is too old. Minimum supported API version is \(APIVersion.oldest), "
                    + "please upgrade your client to a newer version")
        }
        if version > .newest {
            throw .badRequest(
                "client version \(text) is too new. Maximum supported API version is \(APIVersion.newest)")
        }
        return (version, String(rest))
    }
}
