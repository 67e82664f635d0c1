/// A value of D-Bus's type system (D-Bus Specification, "Type System"), as far as systemd's interface needs it.
enum DBusValue {
    case boolean(Bool)
    case int32(Int32)
    case uint32(UInt32)
    case int64(Int64)
    case uint64(UInt64)
    case string(String)
    case objectPath(String)
    case bytes([UInt8])
    /// Elements of one type, whose signature stands here because there may be none.
    case array(String, [DBusValue])
    case structure([DBusValue])
    indirect case variant(DBusValue)

    var signature: String {
        switch self {
        case .boolean: "b"
        case .int32: "i"
        case .uint32: "u"
        case .int64: "x"
        case .uint64: "t"
        case .string: "s"
        case .objectPath: "o"
        case .bytes: "ay"
        case .array(let element, _): "a" + element
        case .structure(let members): "(" + members.map(\.signature).joined() + ")"
        case .variant: "v"
        }
    }
}

/// Writes values as they travel: little-endian, each aligned to its size, counted from the message's (or, since that
/// begins at a multiple of eight, the body's) first byte.
struct DBusWriter {
    private(set) var bytes: [UInt8] = []

    mutating func write(_ value: DBusValue) {
        switch value {
        case .boolean(let value): write(integer: UInt32(value ? 1 : 0))
        case .int32(let value): write(integer: value)
        case .uint32(let value): write(integer: value)
        case .int64(let value): write(integer: value)
        case .uint64(let value): write(integer: value)
        case .string(let text), .objectPath(let text):
            write(integer: UInt32(text.utf8.count))
            bytes += text.utf8
            bytes.append(0)
        case .bytes(let content):
            write(integer: UInt32(content.count))
            bytes += content
        case .array(let element, let values):
            write(integer: UInt32(0))
            let length = bytes.count - 4
            // The padding before the first element doesn't count.
            align("(xt".contains(element.first ?? "y") ? 8 : 4)
            let start = bytes.count
            for value in values { write(value) }
            withUnsafeBytes(of: UInt32(bytes.count - start).littleEndian) {
                bytes.replaceSubrange(length..<length + 4, with: $0)
            }
        case .structure(let members):
            align(8)
            for member in members { write(member) }
        case .variant(let value):
            write(signature: value.signature)
            write(value)
        }
    }

    mutating func write(signature: String) {
        bytes.append(UInt8(signature.utf8.count))
        bytes += signature.utf8
        bytes.append(0)
    }

    mutating func write<T: FixedWidthInteger>(integer: T) {
        align(MemoryLayout<T>.size)
        withUnsafeBytes(of: integer.littleEndian) { bytes += $0 }
    }

    mutating func write(byte: UInt8) { bytes.append(byte) }
    mutating func append(_ content: [UInt8]) { bytes += content }

    mutating func align(_ size: Int) {
        while bytes.count % size != 0 { bytes.append(0) }
    }
}

/// Reads what came: only strings, object paths and 32-bit numbers, which is all that the answers used here carry first.
struct DBusReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    /// nil past the end.
    mutating func uint32() -> UInt32? {
        align(4)
        guard position + 4 <= bytes.endIndex else { return nil }
        defer { position += 4 }
        return bytes[position..<position + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }

    mutating func byte() -> UInt8? {
        guard position < bytes.endIndex else { return nil }
        defer { position += 1 }
        return bytes[position]
    }

    mutating func string() -> String? {
        guard let count = uint32() else { return nil }
        return text(Int(count))
    }

    mutating func signature() -> String? {
        guard let count = byte() else { return nil }
        return text(Int(count))
    }

    private mutating func text(_ count: Int) -> String? {
        guard position + count < bytes.endIndex else { return nil }
        defer { position += count + 1 }
        return String(decoding: bytes[position..<position + count], as: UTF8.self)
    }

    mutating func align(_ size: Int) {
        while (position - bytes.startIndex) % size != 0 { position += 1 }
    }

    var isAtEnd: Bool { position >= bytes.endIndex }
}

/// One message (D-Bus Specification, "Message Format").
struct DBusMessage {
    enum Kind: UInt8 { case call = 1, reply, error, signal }

    var kind: Kind
    var serial: UInt32 = 0
    /// Header fields by their code: 1 path, 2 interface, 3 member, 4 error name, 6 destination.
    var fields: [UInt8: String] = [:]
    /// The serial of the call that this answers.
    var replyTo: UInt32?
    var signature = ""
    var body: [UInt8] = []

    static let maximumSize = 1 << 20

    static func call(_ member: String, _ arguments: [DBusValue]) -> DBusMessage {
        var writer = DBusWriter()
        for argument in arguments { writer.write(argument) }
        return DBusMessage(
            kind: .call,
            fields: [
                1: "/org/freedesktop/systemd1", 2: "org.freedesktop.systemd1.Manager", 3: member,
                6: "org.freedesktop.systemd1",
            ],
            signature: arguments.map(\.signature).joined(), body: writer.bytes)
    }

    var encoded: [UInt8] {
        var writer = DBusWriter()
        for byte in [UInt8(ascii: "l"), kind.rawValue, 0, 1] { writer.write(byte: byte) }
        writer.write(integer: UInt32(body.count))
        writer.write(integer: serial)
        var header = DBusWriter()
        for (code, text) in fields.sorted(by: { $0.key < $1.key }) {
            header.align(8)
            header.write(byte: code)
            header.write(.variant(code == 1 ? .objectPath(text) : .string(text)))
        }
        if !signature.isEmpty {
            header.align(8)
            header.write(byte: 8)
            header.write(signature: "g")
            header.write(signature: signature)
        }
        writer.write(integer: UInt32(header.bytes.count))
        writer.append(header.bytes)
        writer.align(8)
        writer.append(body)
        return writer.bytes
    }

    /// How many bytes the message has whose first sixteen these are; nil where they are none.
    static func size(_ start: ArraySlice<UInt8>) -> Int? {
        var reader = DBusReader(start)
        guard reader.byte() == UInt8(ascii: "l"), reader.byte() != nil, reader.byte() != nil, reader.byte() == 1,
            let body = reader.uint32(), reader.uint32() != nil, let header = reader.uint32(),
            body <= maximumSize, header <= maximumSize
        else { return nil }
        return (16 + Int(header) + 7) / 8 * 8 + Int(body)
    }

    /// A whole message.
    init?(_ bytes: ArraySlice<UInt8>) {
        var reader = DBusReader(bytes)
        guard reader.byte() != nil, let kind = reader.byte().flatMap(Kind.init(rawValue:)), reader.byte() != nil,
            reader.byte() != nil, let length = reader.uint32(), let serial = reader.uint32(),
            let header = reader.uint32(), bytes.count >= 16 + Int(header)
        else { return nil }
        self.kind = kind
        self.serial = serial
        var entries = DBusReader(bytes[bytes.startIndex + 16..<bytes.startIndex + 16 + Int(header)])
        while !entries.isAtEnd {
            entries.align(8)
            guard let code = entries.byte(), let type = entries.signature() else { break }
            switch type {
            case "s", "o": fields[code] = entries.string()
            case "g": signature = entries.signature() ?? ""
            case "u" where code == 5: replyTo = entries.uint32()
            case "u": _ = entries.uint32()
            default: return nil
            }
        }
        body = Array(bytes.suffix(Int(length)))
    }

    private init(kind: Kind, fields: [UInt8: String], signature: String, body: [UInt8]) {
        self.kind = kind
        self.fields = fields
        self.signature = signature
        self.body = body
    }

    var member: String { fields[3] ?? "" }
    /// The first argument, where it is text.
    var text: String? {
        var reader = DBusReader(body[...])
        return reader.string()
    }
}
