/// Encodes `Codable` values as JSON text, straight into one buffer.
///
/// For documents that are written on the way to a container's start: bundles, messages, rows of the database. Members
/// stand in the order in which the type encodes them, those of a dictionary in any. A container ends where one further
/// out goes on, which every synthesized conformance is fine with.
public enum JSONTextEncoder {
    /// - Throws: `EncodingError` for a number that JSON doesn't have, and what `value` itself throws.
    public static func encode(_ value: some Encodable) throws -> [UInt8] {
        let output = JSONOutput()
        try output.put(value, at: 0, [])
        output.settle(0)
        return output.writer.bytes
    }
}

/// A value that knows how it appears as JSON without `Codable`'s detour.
public protocol JSONWritable {
    /// - Throws: `EncodingError` for a number that JSON doesn't have.
    func write(to writer: inout JSONWriter) throws
}

/// The text so far, and which arrays and objects are open in it. A container of level n writes where n are open.
private final class JSONOutput {
    var writer = JSONWriter()
    private var open: [JSONWriter.Collection] = []

    /// Closes what was opened inside level `level`.
    func settle(_ level: Int) {
        while open.count > level { writer.close(open.removeLast()) }
    }

    /// Opens an array or object where the next value belongs; gives its level.
    func begin(_ kind: JSONWriter.Collection) -> Int {
        writer.open(kind)
        open.append(kind)
        return open.count
    }

    /// Writes a whole value where the next one belongs. `level`: of the container that it stands in.
    func put<Value: Encodable>(_ value: Value, at level: Int, _ path: [any CodingKey]) throws {
        // The types that bundles are full of need no container of their own.
        if let strings = cast(value, as: [String].self) {
            return writer.array(strings) { $1.string($0) }
        }
        if let members = cast(value, as: [String: String].self) {
            return writer.object { writer in
                for (key, value) in members.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
                    writer.name(key)
                    writer.string(value)
                }
            }
        }
        if let writable = value as? any JSONWritable { return try writable.write(to: &writer) }
        let before = writer.bytes.count
        try value.encode(to: ValueEncoder(output: self, level: level, codingPath: path))
        settle(level)
        // A type without anything to say is an empty object.
        if writer.bytes.count == before { writer.object { _ in } }
    }

    private func cast<Value, Wanted>(_ value: Value, as type: Wanted.Type) -> Wanted? {
        Value.self == Wanted.self ? unsafeBitCast(value, to: Wanted.self) : nil
    }
}

private struct ValueEncoder: Encoder, SingleValueEncodingContainer {
    let output: JSONOutput
    let level: Int
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        KeyedEncodingContainer(
            KeyedContainer<Key>(output: output, level: output.begin(.object), codingPath: codingPath))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        UnkeyedContainer(output: output, level: output.begin(.array), codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }

    func encodeNil() { output.writer.null() }
    func encode(_ value: Bool) { output.writer.bool(value) }
    func encode(_ value: String) { output.writer.string(value) }
    func encode(_ value: Double) throws { try output.writer.number(value) }
    func encode(_ value: Float) throws { try output.writer.number(Double(value)) }
    func encode(_ value: Int) { output.writer.integer(value) }
    func encode(_ value: Int8) { output.writer.integer(value) }
    func encode(_ value: Int16) { output.writer.integer(value) }
    func encode(_ value: Int32) { output.writer.integer(value) }
    func encode(_ value: Int64) { output.writer.integer(value) }
    func encode(_ value: UInt) { output.writer.integer(value) }
    func encode(_ value: UInt8) { output.writer.integer(value) }
    func encode(_ value: UInt16) { output.writer.integer(value) }
    func encode(_ value: UInt32) { output.writer.integer(value) }
    func encode(_ value: UInt64) { output.writer.integer(value) }
    func encode(_ value: some Encodable) throws { try output.put(value, at: level, codingPath) }
}

private struct KeyedContainer<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let output: JSONOutput
    let level: Int
    let codingPath: [any CodingKey]

    /// The place of a member's value.
    private func member(_ key: some CodingKey) -> ValueEncoder {
        output.settle(level)
        output.writer.name(key.stringValue)
        return ValueEncoder(output: output, level: level, codingPath: codingPath)
    }

    func encodeNil(forKey key: Key) { member(key).encodeNil() }
    func encode(_ value: Bool, forKey key: Key) { member(key).encode(value) }
    func encode(_ value: String, forKey key: Key) { member(key).encode(value) }
    func encode(_ value: Double, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: Float, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: Int, forKey key: Key) { member(key).encode(value) }
    func encode(_ value: Int8, forKey key: Key) { member(key).encode(value) }
    func encode(_ value: Int16, forKey key: Key) { member(key).encode(value) }
    func encode(_ value: Int32, forKey key: Key) { member(key).encode(value) }
    func encode(_ value: Int64, forKey key: Key) { member(key).encode(value) }
    func encode(_ value: UInt, forKey key: Key) { member(key).encode(value) }
    func encode(_ value: UInt8, forKey key: Key) { member(key).encode(value) }
    func encode(_ value: UInt16, forKey key: Key) { member(key).encode(value) }
    func encode(_ value: UInt32, forKey key: Key) { member(key).encode(value) }
    func encode(_ value: UInt64, forKey key: Key) { member(key).encode(value) }
    func encode(_ value: some Encodable, forKey key: Key) throws { try member(key).encode(value) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> { member(key).container(keyedBy: type) }
    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { member(key).unkeyedContainer() }
    func superEncoder() -> any Encoder { member(SuperKey()) }
    func superEncoder(forKey key: Key) -> any Encoder { member(key) }
}

private struct UnkeyedContainer: UnkeyedEncodingContainer {
    let output: JSONOutput
    let level: Int
    let codingPath: [any CodingKey]
    private(set) var count = 0

    init(output: JSONOutput, level: Int, codingPath: [any CodingKey]) {
        self.output = output
        self.level = level
        self.codingPath = codingPath
    }

    private mutating func element() -> ValueEncoder {
        output.settle(level)
        count += 1
        return ValueEncoder(output: output, level: level, codingPath: codingPath)
    }

    mutating func encodeNil() { element().encodeNil() }
    mutating func encode(_ value: Bool) { element().encode(value) }
    mutating func encode(_ value: String) { element().encode(value) }
    mutating func encode(_ value: Double) throws { try element().encode(value) }
    mutating func encode(_ value: Float) throws { try element().encode(value) }
    mutating func encode(_ value: Int) { element().encode(value) }
    mutating func encode(_ value: Int8) { element().encode(value) }
    mutating func encode(_ value: Int16) { element().encode(value) }
    mutating func encode(_ value: Int32) { element().encode(value) }
    mutating func encode(_ value: Int64) { element().encode(value) }
    mutating func encode(_ value: UInt) { element().encode(value) }
    mutating func encode(_ value: UInt8) { element().encode(value) }
    mutating func encode(_ value: UInt16) { element().encode(value) }
    mutating func encode(_ value: UInt32) { element().encode(value) }
    mutating func encode(_ value: UInt64) { element().encode(value) }
    mutating func encode(_ value: some Encodable) throws { try element().encode(value) }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        element().container(keyedBy: type)
    }
    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { element().unkeyedContainer() }
    mutating func superEncoder() -> any Encoder { element() }
}

/// What `Codable` calls a superclass's part that has no key of its own.
private struct SuperKey: CodingKey {
    var stringValue: String { "super" }
    var intValue: Int? { nil }
    init() {}
    init?(stringValue: String) { nil }
    init?(intValue: Int) { nil }
}
