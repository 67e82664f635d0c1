import EngineAPI
import NIOCore
import NIOHTTP1

/// A request whose head was understood.
struct Request: Sendable {
    let method: HTTPMethod
    /// The decoded path without its version prefix.
    let path: String
    /// What the route's `{name}` stands for; names may contain slashes.
    let name: String
    let query: Query
    let headers: HTTPHeaders
    /// The version that the client asked for; the newest where it asked for none.
    let version: APIVersion
    /// The whole body, for routes that collect it.
    var bytes = ByteBuffer()
    /// The body as it comes, for routes that stream it.
    var body: RequestBody?

    /// Whether the client wants the connection for itself (`Connection: Upgrade`, `Upgrade: tcp`).
    var wantsUpgrade: Bool { headers.contains(name: "Upgrade") }

    /// The JSON body; a value with nothing set where there is no body, as dockerd has it.
    func document<Value: WireObject>(_ type: Value.Type = Value.self, required: Bool = false) throws -> Value {
        let contentType = headers.first(name: "Content-Type") ?? ""
        if bytes.readableBytes == 0 {
            if required { throw Failure.badRequest("invalid JSON: got EOF while reading request body") }
            return Value()
        }
        let mediaType = contentType.prefix { $0 != ";" }.trimmed.lowercased()
        if mediaType.isEmpty { throw Failure.badRequest("malformed Content-Type header (): mime: no media type") }
        if mediaType != "application/json" {
            throw Failure.badRequest(
                "unsupported Content-Type header (\(contentType)): must be 'application/json'")
        }
        return try JSON.decode(Value.self, from: bytes.readableBytesView)
    }
}

/// The parameters after the `?`.
struct Query: Sendable {
    private let pairs: [(name: String, value: String)]

    /// - Throws: a 400 for an escape that is none.
    init(_ text: Substring) throws(Failure) {
        var pairs: [(String, String)] = []
        for pair in text.utf8.split(separator: UInt8(ascii: "&")) {
            let equals = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
            let name = try PercentEncoding.decode(pair[..<equals], plusIsSpace: true)
            let value = try PercentEncoding.decode(pair[equals...].dropFirst(), plusIsSpace: true)
            pairs.append((name, value))
        }
        self.pairs = pairs
    }

    /// The first value, or nil where the parameter is absent.
    subscript(name: String) -> String? { pairs.first { $0.name == name }?.value }

    /// The first value, or nil where it is absent or empty.
    func text(_ name: String) -> String? {
        guard let value = self[name], !value.isEmpty else { return nil }
        return value
    }

    func all(_ name: String) -> [String] { pairs.filter { $0.name == name }.map(\.value) }

    /// dockerd's idea of a boolean: everything is true but ``, `0`, `no`, `false` and `none`.
    func flag(_ name: String, default absent: Bool = false) -> Bool {
        guard let value = self[name] else { return absent }
        return !["", "0", "no", "false", "none"].contains(value.trimmed.lowercased())
    }

    /// - Throws: a 400 for something that is no number.
    func integer(_ name: String) throws(Failure) -> Int? {
        guard let text = text(name) else { return nil }
        guard let value = Int(text) else {
            throw .badRequest("invalid value \"\(text)\" for \(name): it must be a whole number")
        }
        return value
    }

    func filters() throws -> Filters {
        guard let text = text("filters") else { return Filters() }
        do {
            return try Filters(json: text)
        } catch {
            throw Failure.badRequest("invalid filter")
        }
    }

    /// A point in time in any of the forms that dockerd takes; nil where it is absent or 0.
    func time(_ name: String, now: Int64) throws(Failure) -> Int64? {
        guard let text = text(name), text != "0" else { return nil }
        guard let time = Timestamp.parseParameter(text, now: now) else {
            throw .badRequest("invalid value for \"\(name)\": \"\(text)\" is neither a time nor a duration")
        }
        return time
    }
}

/// RFC 3986 percent-encoding.
enum PercentEncoding {
    static func decode(_ text: Substring.UTF8View, plusIsSpace: Bool = false) throws(Failure) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var rest = text
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst().flatMap(hexDigit), let low = rest.popFirst().flatMap(hexDigit) else {
                    throw .badRequest("invalid URL escape in \"\(Substring(text))\"")
                }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsSpace:
                bytes.append(UInt8(ascii: " "))
            default:
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

extension StringProtocol {
    /// Without the white space around it.
    var trimmed: String {
        var part = self[...]
        while part.first?.isWhitespace ?? false { part = part.dropFirst() }
        while part.last?.isWhitespace ?? false { part = part.dropLast() }
        return String(part)
    }
}
