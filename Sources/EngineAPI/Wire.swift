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

/// A JSON object of the Engine API, described once, by the list of its fields, for both directions.
///
/// Decoding is as tolerant as Go's: absent and null fields keep their default, unknown ones are ignored, names match
/// without regard to case when they do not match exactly.
public protocol WireObject: WireValue, JSONWritable {
    init()
    /// Shows each field to `fields`, in the order in which dockerd writes them.
    ///
    /// Properties are passed themselves, not by key path: to make the key paths of one request costs a client as much
    /// as everything else that it does before the request is sent.
    mutating func visit(_ fields: inout some FieldVisitor) throws
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
        var reader = FieldReader(container)
        try visit(&reader)
        let keys = container.allKeys
        if reader.found < keys.count {
            var tolerant = CaseInsensitiveFieldReader(container, keys)
            try visit(&tolerant)
        }
    }

    /// For encoders other than ``JSONTextEncoder``.
    public func encode(to encoder: any Encoder) throws {
        try JSON.decode(JSONValue.self, from: try JSON.encode(self)).encode(to: encoder)
    }

    public func write(to writer: inout JSONWriter) throws {
        try writer.object {
            var copy = self
            try copy.visit(&$0)
        }
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

/// What is done with each field of a `WireObject`: it is read, or written.
public protocol FieldVisitor {
    /// A field that has a value even when it is zero.
    mutating func field<Value: WireValue>(_ name: String, _ value: inout Value, _ policy: FieldPolicy) throws
    /// A field that can be null.
    mutating func optional<Value: WireValue>(_ name: String, _ value: inout Value?, _ policy: FieldPolicy) throws
    /// A list of words that old clients may send as one string (moby's `strslice`).
    mutating func words(_ name: String, _ value: inout [String]?, _ policy: FieldPolicy) throws
}

extension FieldVisitor {
    mutating func callAsFunction<Value: WireValue>(
        _ name: String, _ value: inout Value, _ policy: FieldPolicy = .always
    ) throws {
        try field(name, &value, policy)
    }

    mutating func callAsFunction<Value: WireValue>(
        _ name: String, _ value: inout Value?, _ policy: FieldPolicy = .always
    ) throws {
        try optional(name, &value, policy)
    }

    mutating func words(_ name: String, _ value: inout [String]?) throws { try words(name, &value, .always) }

    /// Another object's fields, written beside this object's own (an embedded struct in Go).
    mutating func embed(_ part: inout some WireObject) throws { try part.visit(&self) }
}

/// Reads the fields whose names the document has exactly.
private struct FieldReader: FieldVisitor {
    let container: KeyedDecodingContainer<WireKey>
    /// How many were there.
    private(set) var found = 0

    init(_ container: KeyedDecodingContainer<WireKey>) { self.container = container }

    private mutating func key(_ name: String) -> WireKey? {
        let key = WireKey(name)
        guard container.contains(key) else { return nil }
        found += 1
        return key
    }

    mutating func field<Value: WireValue>(_ name: String, _ value: inout Value, _ policy: FieldPolicy) throws {
        if let key = key(name) { try container.read(key, into: &value) }
    }

    mutating func optional<Value: WireValue>(_ name: String, _ value: inout Value?, _ policy: FieldPolicy) throws {
        if let key = key(name) { try container.read(key, into: &value) }
    }

    mutating func words(_ name: String, _ value: inout [String]?, _ policy: FieldPolicy) throws {
        if let key = key(name) { try container.readWords(key, into: &value) }
    }
}

/// Reads the fields whose names the document has in another case.
private struct CaseInsensitiveFieldReader: FieldVisitor {
    let container: KeyedDecodingContainer<WireKey>
    /// The document's names, by their lower-case form.
    private let spellings: [String: [WireKey]]

    init(_ container: KeyedDecodingContainer<WireKey>, _ keys: [WireKey]) {
        self.container = container
        spellings = Dictionary(grouping: keys) { $0.stringValue.lowercased() }
    }

    private func keys(_ name: String) -> [WireKey] {
        (spellings[name.lowercased()] ?? []).filter { $0.stringValue != name }
    }

    func field<Value: WireValue>(_ name: String, _ value: inout Value, _ policy: FieldPolicy) throws {
        for key in keys(name) { try container.read(key, into: &value) }
    }

    func optional<Value: WireValue>(_ name: String, _ value: inout Value?, _ policy: FieldPolicy) throws {
        for key in keys(name) { try container.read(key, into: &value) }
    }

    func words(_ name: String, _ value: inout [String]?, _ policy: FieldPolicy) throws {
        for key in keys(name) { try container.readWords(key, into: &value) }
    }
}

extension KeyedDecodingContainer<WireKey> {
    /// Sets `value` unless the document says null.
    fileprivate func read<Value: WireValue>(_ key: WireKey, into value: inout Value) throws {
        if let read = try decodeIfPresent(Value.self, forKey: key) { value = read }
    }

    fileprivate func read<Value: WireValue>(_ key: WireKey, into value: inout Value?) throws {
        if let read = try decodeIfPresent(Value.self, forKey: key) { value = read }
    }

    fileprivate func readWords(_ key: WireKey, into words: inout [String]?) throws {
        if let word = try? decodeIfPresent(String.self, forKey: key) {
            words = [word]
        } else {
            try read(key, into: &words)
        }
    }
}

extension JSONWriter: FieldVisitor {
    public mutating func field<Value: WireValue>(
        _ name: String, _ value: inout Value, _ policy: FieldPolicy
    ) throws {
        if policy == .omitEmpty && value.isZero { return }
        self.name(name)
        try value.write(to: &self)
    }

    public mutating func optional<Value: WireValue>(
        _ name: String, _ value: inout Value?, _ policy: FieldPolicy
    ) throws {
        guard let value else {
            if policy == .omitEmpty { return }
            self.name(name)
            return null()
        }
        // Go's omitempty drops an empty slice or map, but keeps a pointer to a zero number.
        if policy == .omitEmpty && Value.isCollection && value.isZero { return }
        self.name(name)
        try value.write(to: &self)
    }

    public mutating func words(_ name: String, _ value: inout [String]?, _ policy: FieldPolicy) throws {
        try optional(name, &value, policy)
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
    public mutating func visit(_ fields: inout some FieldVisitor) {}
}
