import FoundationEssentials
import OCI

/// Reads and writes the Engine API's documents.
public enum JSON {
    /// Writes a document as compact JSON, members in the order of their tables as dockerd has them.
    ///
    /// - Throws: `EncodingError` for a number that JSON doesn't have.
    public static func encode(_ value: some WireValue) throws -> [UInt8] {
        var writer = JSONWriter()
        try value.write(to: &writer)
        return writer.bytes
    }

    /// Writes a document as a string.
    public static func string(_ value: some WireValue) throws -> String {
        String(decoding: try encode(value), as: UTF8.self)
    }

    /// Reads a document.
    ///
    /// - Throws: `JSONError`, a sentence that names the field and what is wrong with it.
    public static func decode<Value: Decodable>(
        _ type: Value.Type = Value.self, from bytes: some Sequence<UInt8>
    ) throws(JSONError) -> Value {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw JSONError(error)
        }
    }

    /// Reads a document from a string.
    public static func decode<Value: Decodable>(
        _ type: Value.Type = Value.self, from text: String
    ) throws(JSONError) -> Value {
        try decode(type, from: text.utf8)
    }
}

/// Why a JSON document could not be read.
public struct JSONError: Error, Sendable, CustomStringConvertible {
    public let description: String

    init(_ error: any Error) {
        guard let error = error as? DecodingError else {
            description = "invalid JSON: \(error)"
            return
        }
        switch error {
        case .typeMismatch(let type, let context):
            description = "invalid JSON: \(Self.name(context.codingPath)) must be \(Self.name(type))"
        case .valueNotFound(let type, let context):
            description = "invalid JSON: \(Self.name(context.codingPath)) must be \(Self.name(type)), not null"
        case .keyNotFound(let key, let context):
            description = "invalid JSON: \(Self.name(context.codingPath + [key])) is missing"
        case .dataCorrupted(let context):
            if context.codingPath.isEmpty {
                description = "invalid JSON: the document is not well-formed"
            } else {
                description = "invalid JSON: \(Self.name(context.codingPath)) has a value that does not fit"
            }
        @unknown default:
            description = "invalid JSON: \(error)"
        }
    }

    private static func name(_ path: [any CodingKey]) -> String {
        var name = ""
        for key in path {
            if let index = key.intValue {
                name += "[\(index)]"
            } else {
                name += name.isEmpty ? key.stringValue : "." + key.stringValue
            }
        }
        return name.isEmpty ? "the document" : name
    }

    private static func name(_ type: any Any.Type) -> String {
        switch type {
        case is String.Type: "a string"
        case is Bool.Type: "true or false"
        case is any FixedWidthInteger.Type: "a whole number"
        case is any BinaryFloatingPoint.Type: "a number"
        case let type as any WireValue.Type where type.isCollection:
            "\(type)".hasPrefix("Dictionary") ? "an object" : "an array"
        case is [Any].Type: "an array"
        default: "an object"
        }
    }
}

/// A JSON value of any shape, for the few documents whose shape is the user's.
public enum JSONValue: WireValue {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    public var isZero: Bool { self == .null }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }

    public func write(to writer: inout JSONWriter) throws {
        switch self {
        case .null: writer.null()
        case .bool(let value): writer.bool(value)
        case .integer(let value): writer.integer(value)
        case .number(let value): try writer.number(value)
        case .string(let value): writer.string(value)
        case .array(let value): try value.write(to: &writer)
        case .object(let value): try value.write(to: &writer)
        }
    }
}
