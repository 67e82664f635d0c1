/// What the extended headers before an entry say about it: PAX records (POSIX.1-2017, pax, "pax Extended Header") and
/// GNU's long names. Only one entry's worth is kept.
struct ExtendedHeader {
    var path: [UInt8]?
    var linkPath: [UInt8]?
    var size: Int64?
    var uid: Int64?
    var gid: Int64?
    var modified: (seconds: Int64, nanoseconds: Int)?
    var deviceMajor: Int64?
    var deviceMinor: Int64?
    var extendedAttributes: [TarEntry.ExtendedAttribute] = []
    var sparse = Sparse()

    /// GNU tar's sparse files in PAX form:
    /// https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
    struct Sparse {
        var major: Int64?
        var minor: Int64?
        var name: [UInt8]?
        var realSize: Int64?
        /// Format 0.0 gives offsets and lengths in records of their own, 0.1 in one list.
        var numbers: [Int64] = []

        var isPresent: Bool { major != nil || realSize != nil || !numbers.isEmpty }
    }

    /// Reads the records `<length> <key>=<value>\n` of one PAX header.
    mutating func parse(_ data: [UInt8], limits: UnpackLimits) throws {
        var rest = data[...]
        while let first = rest.first, first != 0 {
            guard let space = rest.prefix(20).firstIndex(of: UInt8(ascii: " ")),
                let length = decimal(rest[..<space]), length <= Int64(rest.count),
                rest.startIndex + Int(length) > space + 2,
                rest[rest.startIndex + Int(length) - 1] == UInt8(ascii: "\n")
            else { throw TarError("a PAX header has a malformed record") }
            let end = rest.startIndex + Int(length)
            let record = rest[(space + 1)..<(end - 1)]
            guard let equals = record.firstIndex(of: UInt8(ascii: "=")) else {
                throw TarError("a PAX header has a record without a key")
            }
            try apply(key: record[..<equals], value: record[(equals + 1)...], limits: limits)
            rest = rest[end...]
        }
    }

    private mutating func apply(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>, limits: UnpackLimits) throws {
        if key.starts(with: xattrPrefix) {
            let name = Array(key.dropFirst(xattrPrefix.count))
            extendedAttributes.removeAll { $0.name == name }
            extendedAttributes.append(.init(name: name, value: Array(value)))
            return
        }
        switch String(decoding: key, as: UTF8.self) {
        // An empty value takes back what an earlier record said.
        case "path": path = value.isEmpty ? nil : Array(value)
        case "linkpath": linkPath = value.isEmpty ? nil : Array(value)
        case "size": size = try optional(value, "size")
        case "uid": uid = try optional(value, "uid")
        case "gid": gid = try optional(value, "gid")
        case "mtime": modified = value.isEmpty ? nil : try time(value)
        case "SCHILY.devmajor": deviceMajor = try optional(value, "device number")
        case "SCHILY.devminor": deviceMinor = try optional(value, "device number")
        case "GNU.sparse.major": sparse.major = try optional(value, "sparse format")
        case "GNU.sparse.minor": sparse.minor = try optional(value, "sparse format")
        case "GNU.sparse.name": sparse.name = Array(value)
        case "GNU.sparse.realsize", "GNU.sparse.size": sparse.realSize = try optional(value, "sparse size")
        case "GNU.sparse.offset", "GNU.sparse.numbytes": try addSparse([value], limits)
        case "GNU.sparse.map": try addSparse(value.split(separator: UInt8(ascii: ",")), limits)
        default: break
        }
    }

    private mutating func addSparse(_ values: [ArraySlice<UInt8>], _ limits: UnpackLimits) throws {
        guard sparse.numbers.count + values.count <= 2 * limits.sparsePieces else {
            throw TarError("a sparse file has more than \(limits.sparsePieces) pieces")
        }
        for value in values { sparse.numbers.append(try optional(value, "sparse map") ?? 0) }
    }

    private func optional(_ value: ArraySlice<UInt8>, _ what: StaticString) throws -> Int64? {
        if value.isEmpty { return nil }
        guard let number = decimal(value) else { throw TarError("a PAX header's \(what) is not a number") }
        return number
    }

    /// `[-]seconds[.fraction]`; the fraction is cut to nanoseconds and counts away from zero.
    private func time(_ value: ArraySlice<UInt8>) throws -> (Int64, Int) {
        let negative = value.first == UInt8(ascii: "-")
        let parts = (negative ? value.dropFirst() : value).split(
            separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        guard let seconds = decimal(parts[0]) else { throw TarError("a PAX header's time is not a number") }
        var nanoseconds = 0
        if parts.count == 2 {
            for index in 0..<9 {
                let digit = index < parts[1].count ? parts[1][parts[1].startIndex + index] : UInt8(ascii: "0")
                guard (48...57).contains(digit) else { throw TarError("a PAX header's time is not a number") }
                nanoseconds = nanoseconds * 10 + Int(digit - 48)
            }
        }
        guard negative else { return (seconds, nanoseconds) }
        return nanoseconds == 0 ? (-seconds, 0) : (-seconds - 1, 1_000_000_000 - nanoseconds)
    }
}

private let xattrPrefix = Array("SCHILY.xattr.".utf8)

/// A number without a sign in decimal digits, at most 18 of them.
func decimal(_ digits: some Collection<UInt8>) -> Int64? {
    guard !digits.isEmpty, digits.count <= 18 else { return nil }
    var value: Int64 = 0
    for digit in digits {
        guard (48...57).contains(digit) else { return nil }
        value = value * 10 + Int64(digit - 48)
    }
    return value
}
