import LinuxKernel

/// One entry of a tar archive (POSIX.1-2001 pax, with GNU's long names read as well). Names are bytes: not every file's is
/// UTF-8.
struct TarHeader: Equatable {
    enum Kind: Equatable {
        case file, directory, pipe
        case hardLink(to: [UInt8])
        case symbolicLink(to: [UInt8])
        case device
    }

    var name: [UInt8]
    var kind: Kind
    /// Permission bits with setuid, setgid and sticky.
    var mode: UInt32 = 0o644
    var owner: UInt32 = 0
    var group: UInt32 = 0
    /// Bytes that follow the header; zero for anything but a file.
    var size: Int64 = 0
    /// Seconds since the epoch.
    var modified: Int64 = 0
}

extension TarHeader {
    init(name: String, kind: Kind, mode: UInt32 = 0o644, size: Int64 = 0) {
        self.init(name: Array(name.utf8), kind: kind, mode: mode, size: size)
    }
}

/// Why an archive is not understood.
struct TarError: Error, CustomStringConvertible {
    let description: String
}

extension TarHeader {
    /// The blocks of 512 bytes that announce this entry: a pax header where a field does not fit, then the classic one.
    var blocks: [UInt8] {
        var target: [UInt8] = []
        var type = UInt8(ascii: "0")
        switch kind {
        case .file: break
        case .directory: type = UInt8(ascii: "5")
        case .pipe: type = UInt8(ascii: "6")
        case .device: type = UInt8(ascii: "3")
        case .hardLink(let name): (type, target) = (UInt8(ascii: "1"), name)
        case .symbolicLink(let name): (type, target) = (UInt8(ascii: "2"), name)
        }
        var records: [UInt8] = []
        func record(_ key: String, _ value: some Collection<UInt8>) {
            // The length counts itself.
            let rest = key.utf8.count + value.count + 3
            var length = rest + String(rest).count
            if String(length).count > String(rest).count { length = rest + String(length).count }
            records += "\(length) \(key)=".utf8
            records += value
            records.append(10)
        }
        if name.count > 100 { record("path", name) }
        if target.count > 100 { record("linkpath", target) }
        if size >= 1 << 33 { record("size", String(size).utf8) }
        if owner >= 1 << 21 { record("uid", String(owner).utf8) }
        if group >= 1 << 21 { record("gid", String(group).utf8) }
        var result: [UInt8] = []
        if !records.isEmpty {
            result += classic(Array("PaxHeaders/entry".utf8), UInt8(ascii: "x"), [], Int64(records.count))
            result += records + TarHeader.padding(Int64(records.count))
        }
        return result + classic(name, type, target, size)
    }

    /// The zeros that follow `size` bytes of content.
    static func padding(_ size: Int64) -> [UInt8] { [UInt8](repeating: 0, count: Int((512 - size % 512) % 512)) }

    private func classic(_ name: [UInt8], _ type: UInt8, _ target: [UInt8], _ size: Int64) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ bytes: some Collection<UInt8>, at offset: Int, _ width: Int) {
            for (index, byte) in bytes.prefix(width).enumerated() { block[offset + index] = byte }
        }
        func octal(_ value: Int64, at offset: Int, _ width: Int) {
            // What does not fit is in the pax header.
            let limit = Int64(1) << (3 * (width - 1))
            let digits = String(value < 0 || value >= limit ? 0 : value, radix: 8)
            put((String(repeating: "0", count: width - 1 - digits.count) + digits).utf8, at: offset, width - 1)
        }
        put(name, at: 0, 100)
        octal(Int64(mode), at: 100, 8)
        octal(Int64(owner), at: 108, 8)
        octal(Int64(group), at: 116, 8)
        octal(size, at: 124, 12)
        octal(modified, at: 136, 12)
        block[156] = type
        put(target, at: 157, 100)
        put("ustar\u{0}00".utf8, at: 257, 8)
        put(repeatElement(32, count: 8), at: 148, 8)
        let sum = block.reduce(0) { $0 + Int64($1) }
        let digits = String(sum, radix: 8)
        put((String(repeating: "0", count: 6 - digits.count) + digits + "\u{0} ").utf8, at: 148, 8)
        return block
    }
}

/// Reads the entries of an archive from a stream of bytes.
struct TarReader {
    private let next: () throws -> [UInt8]?
    private var buffer: [UInt8] = []
    private var position = 0
    /// Content and padding of the current entry that have not been read.
    private var left: Int64 = 0
    private var padding: Int64 = 0

    /// - Parameter next: gives the next bytes of the archive, nil at its end.
    init(_ next: @escaping () throws -> [UInt8]?) { self.next = next }

    /// The next entry; nil at the end of the archive. What was not read of the last one's content is skipped.
    mutating func nextEntry() throws -> TarHeader? {
        while left > 0 {
            let count = try available()
            position += count
            left -= Int64(count)
        }
        _ = try bytes(padding)
        padding = 0
        var extended: [String: [UInt8]] = [:]
        while true {
            let block = try bytes(512)
            if block.isEmpty || block.allSatisfy({ $0 == 0 }) { return nil }
            guard block.count == 512 else { throw TarError(description: "the archive ends within a header") }
            try verify(block)
            let type = block[156]
            let size = try number(block[124..<136])
            switch type {
            case UInt8(ascii: "x"), UInt8(ascii: "g"), UInt8(ascii: "L"), UInt8(ascii: "K"):
                guard (0...(1 << 20)).contains(size) else {
                    throw TarError(description: "an extended header is larger than 1 MiB")
                }
                let body = try bytes(size)
                _ = try bytes((512 - size % 512) % 512)
                if type == UInt8(ascii: "L") { extended["path"] = bytes(body[...]) }
                if type == UInt8(ascii: "K") { extended["linkpath"] = bytes(body[...]) }
                if type == UInt8(ascii: "x") { try records(body, &extended) }
            default: return try entry(block, type, size, extended)
            }
        }
    }

    /// The next piece of the current entry's content; nil at its end.
    mutating func content() throws -> [UInt8]? {
        if left == 0 { return nil }
        let count = try available()
        let piece = Array(buffer[position..<position + count])
        position += count
        left -= Int64(count)
        return piece
    }

    /// How much of the current entry's content is at hand, at least a byte.
    private mutating func available() throws -> Int {
        if position == buffer.count { try fill() }
        if position == buffer.count { throw TarError(description: "the archive ends within a file") }
        return Int(min(Int64(buffer.count - position), left))
    }

    private mutating func entry(_ block: [UInt8], _ type: UInt8, _ size: Int64, _ extended: [String: [UInt8]]) throws
        -> TarHeader
    {
        var name = bytes(block[0..<100])
        func number(_ key: String) -> Int64? { extended[key].flatMap { Int64(String(decoding: $0, as: UTF8.self)) } }
        let isUstar = text(block[257..<263]).hasPrefix("ustar")
        let prefix = bytes(block[345..<500])
        if isUstar && !prefix.isEmpty { name = prefix + [UInt8(ascii: "/")] + name }
        name = extended["path"] ?? name
        let target = extended["linkpath"] ?? bytes(block[157..<257])
        let kind: TarHeader.Kind
        switch type {
        case UInt8(ascii: "0"), 0, UInt8(ascii: "7"): kind = name.last == UInt8(ascii: "/") ? .directory : .file
        case UInt8(ascii: "1"): kind = .hardLink(to: target)
        case UInt8(ascii: "2"): kind = .symbolicLink(to: target)
        case UInt8(ascii: "3"), UInt8(ascii: "4"): kind = .device
        case UInt8(ascii: "5"): kind = .directory
        case UInt8(ascii: "6"): kind = .pipe
        default: throw TarError(description: "\(printable(name)) is an entry of the unknown type \(type)")
        }
        let length = kind == .file ? number("size") ?? size : 0
        guard length >= 0 else { throw TarError(description: "\(printable(name)) has a negative size") }
        left = length
        padding = (512 - length % 512) % 512
        let (owner, group) = (try self.number(block[108..<116]), try self.number(block[116..<124]))
        let modified = try self.number(block[136..<148])
        let precise = extended["mtime"].flatMap { Double(String(decoding: $0, as: UTF8.self)) }
        return TarHeader(
            name: name, kind: kind, mode: UInt32(truncatingIfNeeded: try self.number(block[100..<108])) & 0o7777,
            owner: number("uid").flatMap { UInt32(exactly: $0) } ?? UInt32(truncatingIfNeeded: owner),
            group: number("gid").flatMap { UInt32(exactly: $0) } ?? UInt32(truncatingIfNeeded: group), size: length,
            modified: precise.flatMap { Int64(exactly: $0.rounded(.down)) } ?? modified
        )
    }

    private func verify(_ block: [UInt8]) throws {
        var sum: Int64 = 0
        for (index, byte) in block.enumerated() { sum += (148..<156).contains(index) ? 32 : Int64(byte) }
        if try number(block[148..<156]) != sum { throw TarError(description: "a header's checksum is wrong") }
    }

    /// An octal number, or GNU's base-256 form for large ones.
    private func number(_ field: ArraySlice<UInt8>) throws -> Int64 {
        if let first = field.first, first & 0x80 != 0 {
            return field.dropFirst().suffix(8).reduce(first & 0x40 != 0 ? -1 : 0) { $0 << 8 | Int64($1) }
        }
        let digits = trimmed(text(field))
        if digits.isEmpty { return 0 }
        guard let value = Int64(digits, radix: 8) else { throw TarError(description: "a header holds no number") }
        return value
    }

    /// A field up to its first zero.
    private func bytes(_ field: ArraySlice<UInt8>) -> [UInt8] { Array(field.prefix { $0 != 0 }) }

    private func text(_ field: ArraySlice<UInt8>) -> String {
        String(decoding: bytes(field), as: UTF8.self)
    }

    private func records(_ body: [UInt8], _ extended: inout [String: [UInt8]]) throws {
        var rest = body[...]
        while let space = rest.firstIndex(of: 32) {
            guard let length = Int(String(decoding: rest[..<space], as: UTF8.self)),
                length > space - rest.startIndex + 1,
                length <= rest.count
            else { throw TarError(description: "a pax header is broken") }
            let record = rest[(space + 1)..<(rest.startIndex + length - 1)]
            let key = record.prefix { $0 != UInt8(ascii: "=") }
            extended[String(decoding: key, as: UTF8.self)] = Array(record.dropFirst(key.count + 1))
            rest = rest.dropFirst(length)
        }
    }

    private mutating func bytes(_ count: Int64) throws -> [UInt8] {
        var result: [UInt8] = []
        while result.count < count {
            if position == buffer.count { try fill() }
            if position == buffer.count { return result }
            let piece = buffer[position..<min(buffer.count, position + Int(count) - result.count)]
            result += piece
            position += piece.count
        }
        return result
    }

    private mutating func fill() throws {
        while let piece = try next() {
            if piece.isEmpty { continue }
            buffer = piece
            position = 0
            return
        }
        buffer = []
        position = 0
    }
}
