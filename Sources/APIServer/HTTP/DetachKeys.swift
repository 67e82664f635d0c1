/// The keys that leave a container's terminal without ending the program, as docker writes them: `ctrl-p,ctrl-q`.
enum DetachKeys {
    static let standard: [UInt8] = [16, 17]

    /// - Throws: a 400 for keys that have no name.
    static func parse(_ text: String?) throws(Failure) -> [UInt8] {
        guard let text, !text.isEmpty else { return standard }
        var keys: [UInt8] = []
        for key in text.split(byte: ",", omittingEmptySubsequences: false) {
            guard let byte = parse(key) else {
                throw .badRequest("Invalid detach keys (\(text)) provided: Unknown character: '\(key)'")
            }
            keys.append(byte)
        }
        return keys
    }

    private static func parse(_ key: Substring) -> UInt8? {
        let bytes = Array(key.utf8)
        if bytes.count == 1 { return bytes[0] }
        guard key.hasPrefix("ctrl-"), bytes.count == 6 else { return nil }
        switch bytes[5] {
        case UInt8(ascii: "a")...UInt8(ascii: "z"): return bytes[5] - UInt8(ascii: "a") + 1
        case UInt8(ascii: "@"): return 0
        case UInt8(ascii: "[")...UInt8(ascii: "_"): return bytes[5] - UInt8(ascii: "@")
        default: return nil
        }
    }
}

/// Finds the detach keys in what a client types. Keys that could be the beginning are held back until it is clear.
struct DetachSequence {
    private let keys: [UInt8]
    private var matched = 0

    init(_ keys: [UInt8]) { self.keys = keys }

    /// What goes on to the container, and whether the keys are complete.
    mutating func process(_ input: some Sequence<UInt8>) -> (output: [UInt8], detached: Bool) {
        var output: [UInt8] = []
        for byte in input {
            if byte == keys[matched] {
                matched += 1
                if matched == keys.count { return (output, true) }
                continue
            }
            output += keys[..<matched]
            matched = 0
            if byte == keys[0] && keys.count > 1 { matched = 1 } else { output.append(byte) }
        }
        return (output, false)
    }
}
