/// Watches what is typed for the keys that detach from a container, ctrl-p ctrl-q unless others are asked for.
struct DetachKeys: Sendable, Equatable {
    let sequence: [UInt8]
    /// How many of them have been typed.
    private var matched = 0

    /// Reads `--detach-keys`: single characters and `ctrl-<key>`, separated by commas; empty for the default.
    init(_ text: String) throws(InvalidValue) {
        var sequence: [UInt8] = text.isEmpty ? [16, 17] : []
        for key in text.isEmpty ? [] : text.split(byte: ",", omittingEmptySubsequences: false) {
            if key.utf8.count == 1, let byte = key.utf8.first {
                sequence.append(byte)
            } else if key.hasPrefix("ctrl-"), key.utf8.count == 6, let byte = key.utf8.last,
                let code = DetachKeys.control(byte)
            {
                sequence.append(code)
            } else {
                throw InvalidValue("Unknown character: '\(key)'")
            }
        }
        self.sequence = sequence
    }

    private static func control(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 1
        case UInt8(ascii: "@"): 0
        case UInt8(ascii: "["): 27
        case UInt8(ascii: "\\"): 28
        case UInt8(ascii: "]"): 29
        case UInt8(ascii: "^"): 30
        case UInt8(ascii: "_"): 31
        default: nil
        }
    }

    /// What of `typed` goes to the container. Keys that may be the start of the sequence are held back until it is
    /// known that they are not.
    ///
    /// - Returns: the bytes to send, and whether the sequence is complete.
    mutating func filter(_ typed: some Sequence<UInt8>) -> (bytes: [UInt8], detaches: Bool) {
        var bytes: [UInt8] = []
        for byte in typed {
            if byte == sequence[matched] {
                matched += 1
                if matched == sequence.count { return (bytes, true) }
                continue
            }
            bytes += sequence[..<matched]
            matched = byte == sequence[0] ? 1 : 0
            if matched == 0 { bytes.append(byte) }
        }
        return (bytes, false)
    }
}
