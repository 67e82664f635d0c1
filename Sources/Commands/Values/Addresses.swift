import Glibc

func isIPAddress(_ text: String) -> Bool { canonicalAddress(text) != nil }

/// The usual spelling of an IPv4 or IPv6 address; nil where the text is neither.
func canonicalAddress(_ text: String) -> String? {
    for (family, size) in [(AF_INET, 4), (AF_INET6, 16)] {
        var address = [UInt8](repeating: 0, count: size)
        guard inet_pton(family, text, &address) == 1 else { continue }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            inet_ntop(family, address, buffer.baseAddress!, socklen_t(buffer.count)).map { String(cString: $0) }
        }
    }
    return nil
}

/// An address with the length of its network's prefix, for what lies within what.
struct AddressBlock: Equatable {
    private let bytes: [UInt8]
    private let length: Int

    /// `172.28.0.0/16`
    init?(_ text: String) {
        let (address, prefix) = cut(text, "/")
        guard let prefix, let length = Int(prefix), let bytes = Self.bytes(address), 0...bytes.count * 8 ~= length
        else { return nil }
        self.bytes = bytes
        self.length = length
    }

    init?(address text: String) {
        guard let bytes = Self.bytes(text) else { return nil }
        self.bytes = bytes
        length = bytes.count * 8
    }

    func contains(_ other: AddressBlock) -> Bool {
        guard bytes.count == other.bytes.count, length <= other.length else { return false }
        return (0..<length).allSatisfy { (bytes[$0 / 8] ^ other.bytes[$0 / 8]) & (0x80 >> UInt8($0 % 8)) == 0 }
    }

    private static func bytes(_ text: String) -> [UInt8]? {
        for (family, size) in [(AF_INET, 4), (AF_INET6, 16)] {
            var address = [UInt8](repeating: 0, count: size)
            if inet_pton(family, text, &address) == 1 { return address }
        }
        return nil
    }
}

/// `--dns`.
func parseAddress(_ word: String) throws(InvalidValue) -> String {
    guard let address = canonicalAddress(trimmed(word)) else {
        throw InvalidValue("IP address is not correctly formatted: \(word)")
    }
    return address
}

/// `--dns-search`: a domain, or `.` for none.
func parseSearchDomain(_ word: String) throws(InvalidValue) -> String {
    let domain = trimmed(word)
    if domain == "." { return domain }
    let name = domain.hasSuffix(".") ? domain.dropLast() : domain[...]
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    let isValid = labels.allSatisfy { label in
        !label.isEmpty && !label.hasPrefix("-") && !label.hasSuffix("-")
            && label.utf8.allSatisfy { Character(Unicode.Scalar($0)).isASCIIAlphanumeric || $0 == UInt8(ascii: "-") }
    }
    guard isValid, name.utf8.count < 255, name.contains(where: \.isLetter) else {
        throw InvalidValue("\(word) is not a valid domain")
    }
    return String(name)
}

extension Character {
    fileprivate var isASCIIAlphanumeric: Bool { isASCII && (isLetter || isNumber) }
}

/// `--add-host name:address` or `name=address`; the API takes a colon and an address without brackets.
func parseExtraHost(_ word: String) throws(InvalidValue) -> String {
    var (name, value) = cut(word, "=")
    if value == nil { (name, value) = cut(word, ":") }
    guard var address = value, !name.isEmpty, !name.contains(":") else {
        throw InvalidValue("bad format for add-host: \(quoted(word))")
    }
    if address != "host-gateway" {
        if address.count > 2, address.hasPrefix("["), address.hasSuffix("]") {
            address = String(address.dropFirst().dropLast())
        }
        if !isIPAddress(address) { throw InvalidValue("invalid IP address in add-host: \(quoted(address))") }
    }
    return "\(name):\(address)"
}

/// `--link name[:alias]`.
func parseLink(_ word: String) throws(InvalidValue) -> String {
    if word.isEmpty { throw InvalidValue("empty string specified for links") }
    if word.split(byte: ":", omittingEmptySubsequences: false).count > 2 {
        throw InvalidValue("bad format for links: \(word)")
    }
    return word
}
