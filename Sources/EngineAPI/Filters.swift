import OCI

/// The `filters` parameter of lists, prunes and events: values per key; values of one key are alternatives.
///
/// On the wire it is `{"label":{"a=b":true}}` (written since API 1.22) or the older `{"label":["a=b"]}`; both are read.
public struct Filters: WireValue {
    public var values: [String: [String]]

    public init(_ values: [String: [String]] = [:]) { self.values = values }

    /// - Throws: a `JSONError` for anything but the two forms.
    public init(json: String) throws {
        self = json.isEmpty ? Filters() : try JSON.decode(Filters.self, from: json)
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: WireKey.self)
        values = [:]
        for key in container.allKeys {
            if let list = try? container.decode([String].self, forKey: key) {
                values[key.stringValue] = list
            } else {
                // dockerd takes the keys, whatever the booleans say.
                values[key.stringValue] = try container.decode([String: Bool].self, forKey: key).keys.sorted()
            }
        }
    }

    /// Values as members of a set.
    private var sets: [String: [String: Bool]] {
        values.mapValues { Dictionary($0.map { ($0, true) }, uniquingKeysWith: { first, _ in first }) }
    }

    public func encode(to encoder: any Encoder) throws { try sets.encode(to: encoder) }
    public func write(to writer: inout JSONWriter) throws { try sets.write(to: &writer) }

    public var isZero: Bool { isEmpty }
    public var isEmpty: Bool { values.isEmpty }

    public subscript(key: String) -> [String] { values[key] ?? [] }

    public func contains(_ key: String) -> Bool { values[key] != nil }

    public mutating func add(_ key: String, _ value: String) {
        if !self[key].contains(value) { values[key, default: []].append(value) }
    }

    /// The first key that is not in `accepted`, which dockerd refuses.
    public func firstUnknown(_ accepted: Set<String>) -> String? {
        values.keys.sorted().first { !accepted.contains($0) }
    }

    /// True when there is no filter for `key`, or one of its values is `value`.
    public func matchesExactly(_ key: String, _ value: String) -> Bool {
        let wanted = self[key]
        return wanted.isEmpty || wanted.contains(value)
    }

    /// True when there is no filter for `key`, or one of its values is a prefix of `value`.
    public func matchesPrefix(_ key: String, _ value: String) -> Bool {
        let wanted = self[key]
        return wanted.isEmpty || wanted.contains { value.hasPrefix($0) }
    }

    /// True when every `name` or `name=value` filter under `key` holds for `labels`.
    public func matchesLabels(_ key: String = "label", _ labels: [String: String]) -> Bool {
        self[key].allSatisfy { wanted in
            guard let equals = wanted.firstIndex(byte: "=") else { return labels[wanted] != nil }
            return labels[String(wanted[..<equals])] == String(wanted[wanted.utf8.index(after: equals)...])
        }
    }

    /// A filter whose values are `true`/`1` or `false`/`0`; nil when it is absent.
    ///
    /// - Throws: `InvalidFilter` when the value is neither, or both.
    public func flag(_ key: String) throws(InvalidFilter) -> Bool? {
        guard let list = values[key] else { return nil }
        let isTrue = list.contains { $0 == "1" || $0 == "true" }
        let isFalse = list.contains { $0 == "0" || $0 == "false" }
        if isTrue == isFalse { throw InvalidFilter(key: key, values: list) }
        return isTrue
    }
}

/// A filter that the daemon does not know or whose value it cannot read, in dockerd's words.
public struct InvalidFilter: Error, Sendable, CustomStringConvertible {
    public let key: String
    public let values: [String]?

    public init(key: String, values: [String]? = nil) {
        self.key = key
        self.values = values
    }

    public var description: String {
        guard let values else { return "invalid filter '\(key)'" }
        return "invalid filter '\(key)=[\(values.joined(separator: " "))]'"
    }
}
