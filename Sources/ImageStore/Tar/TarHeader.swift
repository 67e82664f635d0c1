/// One 512-byte header block: POSIX.1-1988 ustar, GNU tar, star and the older format without a magic number
/// (https://www.gnu.org/software/tar/manual/html_node/Standard.html; POSIX.1-2017, pax, "ustar Interchange Format").
struct TarHeader {
    enum Format { case v7, ustar, gnu, star }

    let block: UnsafeRawBufferPointer

    static let size = 512

    var isZero: Bool { block.allSatisfy { $0 == 0 } }

    var format: Format {
        if matches("ustar\0" + "00", at: 257) {
            return matches("tar\0", at: 508) ? .star : .ustar
        }
        if matches("ustar  \0", at: 257) { return .gnu }
        // Some writers leave the version out; only the magic number tells.
        return matches("ustar", at: 257) ? .ustar : .v7
    }

    var typeFlag: UInt8 { block[156] }

    /// The sum of all bytes with the checksum's own field as spaces; some old writers summed signed bytes.
    func verifyChecksum() throws {
        let stored = try number(148, 8, "checksum")
        var unsigned: Int64 = 0
        var signed: Int64 = 0
        for index in 0..<TarHeader.size {
            let byte = (148..<156).contains(index) ? UInt8(ascii: " ") : block[index]
            unsigned += Int64(byte)
            signed += Int64(Int8(bitPattern: byte))
        }
        guard stored == unsigned || stored == signed else {
            throw TarError("it is not a tar stream, or a damaged one: a header's checksum is wrong")
        }
    }

    /// The name with the prefix that ustar and star keep apart.
    func path(_ format: Format) -> [UInt8] {
        let name = text(0, 100)
        let prefix: ArraySlice<UInt8>
        switch format {
        case .ustar: prefix = text(345, 155)[...]
        case .star: prefix = text(345, 131)[...]
        case .v7, .gnu: prefix = []
        }
        return prefix.isEmpty ? name : prefix + [UInt8(ascii: "/")] + name
    }

    /// The bytes of a field up to its first zero.
    func text(_ offset: Int, _ length: Int) -> [UInt8] {
        let field = block[offset..<offset + length]
        return Array(field.prefix { $0 != 0 })
    }

    /// A number in octal digits, or in GNU's base 256 where the first byte's high bit is set.
    func number(_ offset: Int, _ length: Int, _ what: StaticString) throws -> Int64 {
        let first = block[offset]
        if first & 0x80 != 0 {
            // Two's complement of the remaining bits, the sign in bit 6.
            let negative = first & 0x40 != 0
            var value: Int64 = negative ? -1 : 0
            for index in 0..<length {
                let byte = index > 0 || negative ? block[offset + index] : first & 0x7f
                let (shifted, overflow) = value.multipliedReportingOverflow(by: 256)
                guard !overflow else { throw TarError("a header's \(what) doesn't fit in 64 bits") }
                value = shifted | Int64(byte)
            }
            return value
        }
        var value: Int64 = 0
        var sawDigit = false
        for index in offset..<offset + length {
            let byte = block[index]
            if (48...55).contains(byte) {
                value = value << 3 | Int64(byte - 48)
                sawDigit = true
            } else if byte == 0 || (byte == UInt8(ascii: " ") && sawDigit) {
                break
            } else if byte != UInt8(ascii: " ") {
                throw TarError("a header's \(what) is not a number")
            }
        }
        return value
    }

    private func matches(_ text: StaticString, at offset: Int) -> Bool {
        for index in 0..<text.utf8CodeUnitCount where block[offset + index] != text.utf8Start[index] { return false }
        return true
    }

    private func matches(_ text: String, at offset: Int) -> Bool {
        text.utf8.elementsEqual(block[offset..<offset + text.utf8.count])
    }
}
