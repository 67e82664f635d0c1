import Glibc
import LinuxKernel

/// The words of the command line as they were typed, in strings.
///
/// A name of a file need not be UTF-8, and a `String` holds nothing else. So each byte that is none stands in it as a
/// character of its own, out of a private part of Unicode: byte 0xFF is U+10FEFF (PEP 383 is Python's way to do so). Where
/// a word has these characters itself, they are taken byte by byte, so that no word is mistaken for another one.
///
/// Only what names the user's own files may keep such characters (``Option/Bytes``); JSON has no way to carry them.
public enum RawBytes {
    private static let first: UInt32 = 0x10FE00
    /// What the characters begin with in UTF-8, as only few others do.
    private static let mark: UInt8 = 0xF4

    /// The process's own arguments, the program's name left out.
    public static var arguments: [String] {
        (1..<max(1, CommandLine.argc)).compactMap { index in
            CommandLine.unsafeArgv[Int(index)].map { text in
                String(validatingCString: text).flatMap { $0.utf8.contains(mark) ? nil : $0 }
                    ?? self.text(UnsafeRawBufferPointer(start: text, count: strlen(text)))
            }
        }
    }

    static func text(_ bytes: some Collection<UInt8>) -> String {
        var result = String.UnicodeScalarView()
        var parser = Unicode.UTF8.ForwardParser()
        var rest = bytes.makeIterator()
        var index = bytes.startIndex
        while true {
            let count: Int
            switch parser.parseScalar(from: &rest) {
            case .emptyInput: return String(result)
            case .valid(let encoded):
                let scalar = Unicode.UTF8.decode(encoded)
                count = encoded.count
                if scalar.value & ~0xFF != first {
                    result.append(scalar)
                    index = bytes.index(index, offsetBy: count)
                    continue
                }
            case .error(let length): count = length
            }
            for _ in 0..<count {
                result.append(Unicode.Scalar(first | UInt32(bytes[index])) ?? "\u{FFFD}")
                index = bytes.index(after: index)
            }
        }
    }

    /// What `text` was made of.
    static func bytes(_ text: String) -> [UInt8] {
        guard text.utf8.contains(mark) else { return Array(text.utf8) }
        return text.unicodeScalars.flatMap { scalar in
            scalar.value & ~0xFF == first ? [UInt8(truncatingIfNeeded: scalar.value)] : Array(String(scalar).utf8)
        }
    }

    /// The same with U+FFFD in the place of what is no UTF-8, as Go's JSON has it.
    static func repaired(_ text: String) -> String {
        text.utf8.contains(mark) ? String(decoding: bytes(text), as: UTF8.self) : text
    }

    /// - Throws: `InvalidValue` where the daemon can't be told `text`.
    static func requireText(_ text: String) throws(InvalidValue) {
        if text.utf8.contains(mark), String(validating: bytes(text), as: UTF8.self) == nil {
            throw InvalidValue(
                "it is not UTF-8, and nothing else can be sent to the daemon: use another name, or a link to it")
        }
    }
}

/// Gives `body` the name of one of the user's own files as a C string.
func withPath<Result>(_ path: String, _ body: (UnsafePointer<CChar>) -> Result) -> Result {
    withCString(RawBytes.bytes(path), body)
}
