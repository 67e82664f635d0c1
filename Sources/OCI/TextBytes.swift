/// Text by its bytes, where others take it so: paths, `NAME=value`, `host:container`.
///
/// A combining character joins the one before it into one `Character`: "/\u{301}a" has none that equals "/", though the
/// kernel sees a slash in it. What is split by characters would be understood here otherwise than there.
extension StringProtocol {
    /// As `split(separator:)`.
    public func split(
        byte separator: Unicode.Scalar, maxSplits: Int = .max, omittingEmptySubsequences: Bool = true
    ) -> [Substring] {
        Substring(self).utf8.split(
            separator: UInt8(ascii: separator), maxSplits: maxSplits,
            omittingEmptySubsequences: omittingEmptySubsequences
        ).map { Substring($0) }
    }

    public func firstIndex(byte: Unicode.Scalar) -> Index? { utf8.firstIndex(of: UInt8(ascii: byte)) }

    public func lastIndex(byte: Unicode.Scalar) -> Index? { Substring(self).utf8.lastIndex(of: UInt8(ascii: byte)) }

    /// What stands before the first `separator`; all of it where there is none.
    public func prefix(before separator: Unicode.Scalar) -> SubSequence {
        self[..<(firstIndex(byte: separator) ?? endIndex)]
    }

    public func contains(byte: Unicode.Scalar) -> Bool { firstIndex(byte: byte) != nil }

    public func hasPrefix(bytes prefix: String) -> Bool { utf8.starts(with: prefix.utf8) }
}
