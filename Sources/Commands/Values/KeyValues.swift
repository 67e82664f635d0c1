import EngineAPI
import Glibc

/// Splits at the first `separator`; the second half is nil where there is none.
func cut(_ text: some StringProtocol, _ separator: Unicode.Scalar) -> (String, String?) {
    guard let index = text.firstIndex(byte: separator) else { return (String(text), nil) }
    return (String(text[..<index]), String(text[text.utf8.index(after: index)...]))
}

/// `--env`: a name alone takes the value of the user's own environment, and stays alone where there is none.
func parseEnvironmentEntry(_ word: String) throws(InvalidValue) -> String {
    let (name, value) = cut(word, "=")
    if name.isEmpty { throw InvalidValue("invalid environment variable: \(word)") }
    if value == nil, let inherited = environment(name) { return "\(name)=\(inherited)" }
    return word
}

/// `--label`.
func parseLabel(_ word: String) throws(InvalidValue) -> String {
    let name = cut(word, "=").0.drop { $0 == " " || $0 == "\t" }
    if name.isEmpty { throw InvalidValue("invalid label '\(word)': empty name") }
    if name.contains(where: { $0 == " " || $0 == "\t" }) {
        throw InvalidValue("label '\(name)' contains whitespaces")
    }
    return word
}

/// `--sysctl`: only those that belong to a namespace of the container.
func parseSysctl(_ word: String) throws(InvalidValue) -> String {
    let namespaced: Set = [
        "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
        "kernel.shmmni", "kernel.shm_rmid_forced",
    ]
    let (name, value) = cut(word, "=")
    guard value != nil, namespaced.contains(name) || name.hasPrefix("net.") || name.hasPrefix("fs.mqueue.") else {
        throw InvalidValue("sysctl '\(word)' is not allowed")
    }
    return word
}

/// `k=v` words as pairs; a later one replaces an earlier one of the same name, a word without `=` has an empty value.
func dictionary(_ words: [String]) -> [String: String] {
    var result: [String: String] = [:]
    for word in words {
        let (name, value) = cut(word, "=")
        result[name] = value ?? ""
    }
    return result
}

/// Reads a file of `NAME=value` lines (`--env-file`, `--label-file`): blank lines and lines that start with `#` are
/// skipped, a name alone takes its value from `inherit` or is left out.
///
/// - Throws: `CommandFailure` naming the file and the line that is wrong.
func readKeyValueFile(_ path: String, inherit: (String) -> String?) throws(CommandFailure) -> [String] {
    var bytes = try readFile(path)
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
    var result: [String] = []
    for (index, line) in bytes.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
        guard var text = String(validating: line, as: UTF8.self).map({ $0[...] }) else {
            throw CommandFailure("invalid env file (\(path)): invalid utf8 bytes at line \(index + 1): \(Array(line))")
        }
        if text.last == "\r" { text = text.dropLast() }
        text = text.drop { $0.isWhitespace }
        if text.isEmpty || text.first == "#" { continue }
        let (name, value) = cut(text, "=")
        if name.isEmpty { throw CommandFailure("invalid env file (\(path)): no variable name on line '\(text)'") }
        if name.contains(where: { $0 == " " || $0 == "\t" }) {
            throw CommandFailure("invalid env file (\(path)): variable '\(name)' contains whitespaces")
        }
        if value != nil {
            result.append(String(text))
        } else if let inherited = inherit(name) {
            result.append("\(name)=\(inherited)")
        }
    }
    return result
}

func environment(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
}

/// The whole of a file that the user names; at most 64 MiB, which no option's file needs.
func readFile(_ path: String) throws(CommandFailure) -> [UInt8] {
    let descriptor = withPath(path) { open($0, O_RDONLY | O_CLOEXEC) }
    if descriptor < 0 { throw CommandFailure("open \(path): \(goReason(errno))") }
    defer { close(descriptor) }
    var result: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0 && errno == EINTR { continue }
        if count < 0 { throw CommandFailure("read \(path): \(goReason(errno))") }
        if count == 0 { return result }
        result += chunk[..<count]
        if result.count > 64 << 20 { throw CommandFailure("read \(path): the file is larger than 64 MiB") }
    }
}

/// The system's reason in lower case, as docker's sentences have it.
func goReason(_ code: Int32) -> String {
    let text = String(cString: strerror(code))
    return text.prefix(1).lowercased() + text.dropFirst()
}

extension Filters {
    /// Adds what `--filter` was given: `name=value`.
    mutating func add(_ word: String) throws(InvalidValue) {
        if word.isEmpty { return }
        let (name, value) = cut(word, "=")
        guard let value else { throw InvalidValue("bad format of filter (expected name=value)") }
        add(trimmed(name).lowercased(), trimmed(value))
    }

    /// The query parameter, `{"name":{"value":true}}`; nil where nothing is filtered.
    var query: String? {
        if values.isEmpty { return nil }
        let object = values.sorted { $0.key < $1.key }.map { name, values in
            (name, OrderedJSON.object(JSONObject(values.sorted().map { ($0, OrderedJSON.bool(true)) })))
        }
        return OrderedJSON.object(JSONObject(object)).text
    }
}

extension Flag where Value == Filters {
    static func filter(_ help: String = "Filter output based on conditions provided") -> Self {
        Flag("filter", short: "f", type: "filter", help, initial: Filters()) { value, word throws(InvalidValue) in
            try value.add(word)
        }
    }
}

func trimmed(_ text: some StringProtocol) -> String {
    var slice = text[...]
    while slice.first?.isWhitespace == true { slice.removeFirst() }
    while slice.last?.isWhitespace == true { slice.removeLast() }
    return String(slice)
}
