import Glibc

/// Identifiers of containers, execs and anonymous volumes: 64 hex digits.
enum Identifier {
    /// A new random identifier. The first 12 digits, which users see, are never all decimal: some tools would take
    /// them for a number, and a host name of digits only is one too.
    static func random() -> String {
        while true {
            var generator = SystemRandomNumberGenerator()
            let words = (0..<4).map { _ in generator.next() as UInt64 }
            let id = words.map(hexadecimal).joined()
            if id.prefix(12).contains(where: { !$0.isNumber }) { return id }
        }
    }

    static func short(_ id: String) -> String { String(id.prefix(12)) }

    static func isHexadecimal(_ text: some StringProtocol) -> Bool {
        text.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x66) }
    }

    static func isFull(_ text: String) -> Bool { text.utf8.count == 64 && isHexadecimal(text) }

    private static func hexadecimal(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
