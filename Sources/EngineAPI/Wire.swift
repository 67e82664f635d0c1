import OCI

/// A value that appears in the Engine API's JSON.
///
/// dockerd is written in Go, and clients rely on how Go writes documents: a nil slice, map or pointer is `null`, an
/// empty one is `[]` or `{}`, and a field marked `omitempty` is absent when it is zero. Here an optional that is nil
/// is `null`, and `isZero` decides what `.omitEmpty` leaves out.
public protocol WireValue: Codable, Sendable, Equatable {
    /// What Go's `omitempty` leaves out: 0, false, "", nil, and empty collections.
    var isZero: Bool { get }
    /// Whether this is a slice or a map, which Go's `omitempty` drops when it is empty.
    static var isCollection: Bool { get }

    /// Writes the value as it appears on the wire.
    ///
    /// - Throws: `EncodingError` for a number that JSON doesn't have.
    func write(to writer: inout JSONWriter) throws
}

extension WireValue {
    public static var isCollection: Bool { false }
}

/// A JSON object of the Engine API, described once by a table of its fields, which both directions use.
///
/// Decoding is as tolerant as Go's: absent and null fields keep their default, unknown ones are ignored, names match
/// without regard to case when they do not match exactly.
public protocol WireObject: WireValue, JSONWritable {
    init()
    static var fields: Fields<Self> { get }
}

extension WireObject {
    public var isZero: Bool { false }

    /// A value with some fields set: `RestartPolicy { $0.name = "always" }`.
    public init(_ configure: (inout Self) throws -> Void) rethrows {
        self.init()
        try configure(&self)
    }

    public init(from decoder: any Decoder) throws {
        self.init()
        let container = try decoder.container(keyedBy: WireKey.self)
        try Self.fields.decode(into: &self, from: container)
    }

    /// For encoders other than ``JSONTextEncoder``.
    public func encode(to encoder: any Encoder) throws {
        try JSON.decode(JSONValue.self, from: try JSON.encode(self)).encode(to: encoder)
    }

    public func write(to writer: inout JSONWriter) throws {
        try writer.object { try Self.fields.write(self, to: &$0) }
    }
}

/// A field name.
public struct WireKey: CodingKey, Sendable {
    public let stringValue: String
    public var intValue: Int? { nil }

    public init(_ name: String) { stringValue = name }
    public init(stringValue: String) { self.stringValue = stringValue }
    public init?(intValue: Int) { nil }
}

/// When a field is written.
public enum FieldPolicy: Sendable {
    /// Always; nil becomes `null`.
    case always
    /// Not when it is zero: Go's `omitempty`.
    case omitEmpty
}

/// The fields of a `WireObject`.
public struct Fields<Root: Sendable>: Sendable {
    struct Field: Sendable {
        let key: WireKey
        /// Sets the field from the value at `key` of the container (the client's spelling of the name).
        let decode: @Sendable (inout Root, KeyedDecodingContainer<WireKey>, WireKey) throws -> Void
        /// Writes name and value, or nothing where the policy says so.
        let write: @Sendable (Root, inout JSONWriter) throws -> Void
    }

    private(set) var all: [Field] = []

    public init(_ describe: (inout Fields) -> Void) { describe(&self) }

    /// A field that has a value even when it is zero.
    public mutating func callAsFunction<Value: WireValue>(
        _ name: String, _ path: WritableKeyPath<Root, Value> & Sendable, _ policy: FieldPolicy = .always
    ) {
        let key = WireKey(name)
        all.append(
            Field(key: key) { root, container, spelled in
                guard let value = try container.decodeIfPresent(Value.self, forKey: spelled) else { return }
                root[keyPath: path] = value
            } write: { root, writer in
                let value = root[keyPath: path]
                if policy == .omitEmpty && value.isZero { return }
                writer.name(name)
                try value.write(to: &writer)
            })
    }

    /// A field that can be null.
    public mutating func callAsFunction<Value: WireValue>(
        _ name: String, _ path: WritableKeyPath<Root, Value?> & Sendable, _ policy: FieldPolicy = .always
    ) {
        let key = WireKey(name)
        all.append(
            Field(key: key) { root, container, spelled in
                guard let value = try container.decodeIfPresent(Value.self, forKey: spelled) else { return }
                root[keyPath: path] = value
            } write: { root, writer in
                if let value = root[keyPath: path] {
                    if policy == .omitEmpty && Self.isDroppedWhenEmpty(value) { return }
                    writer.name(name)
                    try value.write(to: &writer)
                } else if policy == .always {
                    writer.name(name)
                    writer.null()
                }
            })
    }

    /// A list of words that old clients may send as one string (moby's `strslice`).
    public mutating func words(
        _ name: String, _ path: WritableKeyPath<Root, [String]?> & Sendable, _ policy: FieldPolicy = .always
    ) {
        let key = WireKey(name)
        all.append(
            Field(key: key) { root, container, spelled in
                if let word = try? container.decodeIfPresent(String.self, forKey: spelled) {
                    root[keyPath: path] = [word]
                } else if let words = try container.decodeIfPresent([String].self, forKey: spelled) {
                    root[keyPath: path] = words
                }
            } write: { root, writer in
                let words = root[keyPath: path]
                if policy == .omitEmpty && words?.isEmpty ?? true { return }
                writer.name(name)
                try words.write(to: &writer)
            })
    }

    /// Another object's fields, written beside this object's own (an embedded struct in Go).
    public mutating func embed<Part: WireObject>(_ path: WritableKeyPath<Root, Part> & Sendable) {
        for field in Part.fields.all {
            all.append(
                Field(key: field.key) { root, container, spelled in
                    try field.decode(&root[keyPath: path], container, spelled)
                } write: { root, writer in
                    try field.write(root[keyPath: path], &writer)
                })
        }
    }

    func decode(into root: inout Root, from container: KeyedDecodingContainer<WireKey>) throws {
        var matched = 0
        for field in all where container.contains(field.key) {
            try field.decode(&root, container, field.key)
            matched += 1
        }
        let keys = container.allKeys
        if matched == keys.count { return }
        let exact = Set(all.lazy.map(\.key.stringValue))
        for key in keys where !exact.contains(key.stringValue) {
            let lowered = key.stringValue.lowercased()
            guard let field = all.first(where: { $0.key.stringValue.lowercased() == lowered }) else { continue }
            try field.decode(&root, container, key)
        }
    }

    func write(_ root: Root, to writer: inout JSONWriter) throws {
        for field in all { try field.write(root, &writer) }
    }

    /// Go's omitempty drops an empty slice or map, but keeps a pointer to a zero number.
    private static func isDroppedWhenEmpty<Value: WireValue>(_ value: Value) -> Bool {
        Value.isCollection && value.isZero
    }
}

extension String: WireValue {
    public var isZero: Bool { isEmpty }
    public func write(to writer: inout JSONWriter) { writer.string(self) }
}
extension Bool: WireValue {
    public var isZero: Bool { !self }
    public func write(to writer: inout JSONWriter) { writer.bool(self) }
}
extension WireValue where Self: FixedWidthInteger {
    public var isZero: Bool { self == 0 }
    public func write(to writer: inout JSONWriter) { writer.integer(self) }
}
extension Int: WireValue {}
extension Int64: WireValue {}
extension UInt: WireValue {}
extension UInt16: WireValue {}
extension UInt32: WireValue {}
extension UInt64: WireValue {}
extension Double: WireValue {
    public var isZero: Bool { self == 0 }
    public func write(to writer: inout JSONWriter) throws { try writer.number(self) }
}
extension Array: WireValue where Element: WireValue {
    public var isZero: Bool { isEmpty }
    public static var isCollection: Bool { true }
    public func write(to writer: inout JSONWriter) throws {
        try writer.array(self) { element, writer in try element.write(to: &writer) }
    }
}
extension Dictionary: WireValue where Key == String, Value: WireValue {
    public var isZero: Bool { isEmpty }
    public static var isCollection: Bool { true }
    /// Sorted by the bytes of the keys, as Go writes a map.
    public func write(to writer: inout JSONWriter) throws {
        try writer.object { writer in
            for (key, value) in sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
                writer.name(key)
                try value.write(to: &writer)
            }
        }
    }
}
extension Optional: WireValue where Wrapped: WireValue {
    public var isZero: Bool { self == nil }
    public func write(to writer: inout JSONWriter) throws {
        if let self { try self.write(to: &writer) } else { writer.null() }
    }
}

/// `{}`: the value type of Docker's sets (`ExposedPorts`, `Volumes`).
public struct EmptyObject: WireObject {
    public init() {}
    public static let fields = Fields<Self> { _ in }
}
