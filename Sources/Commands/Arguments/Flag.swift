/// A word on the command line that an option refuses; `reason` completes docker's sentence
/// `invalid argument "x" for "-m, --memory" flag: …`.
struct InvalidValue: Error, Equatable {
    let reason: String
    init(_ reason: String) { self.reason = reason }
}

/// One option as the user sees it. It is the only source of how the option is parsed, of its line in the help text,
/// of its completion and of its entry in the manual page.
struct Option: Sendable {
    let name: String
    let short: Character?
    /// What the help text calls the value (`string`, `list`, `bytes`, …); empty for a switch.
    let valueName: String
    let help: String
    /// The default as the help text shows it, nil where there is nothing to show.
    let shownDefault: String?
    /// Other spellings that are accepted but not advertised, for example `net` for `network`.
    var hiddenSpellings: [String] = []
    /// Accepted but absent from help, completion and the manual page.
    var isHidden = false
    /// What the option means when it is given without `=value`; nil when a value must follow.
    let impliedValue: String?
    var completion = Completion.none
    /// What becomes of bytes in its words that are not UTF-8.
    var bytes = Bytes.repaired
    /// Throws when a word is not a value of this option.
    let check: @Sendable (String) throws(InvalidValue) -> Void

    /// What becomes of bytes that are not UTF-8 (``RawBytes``).
    enum Bytes: Sendable {
        /// They become U+FFFD, as with docker.
        case repaired
        /// They stay: the word names a file of the user's.
        case kept
        /// The word is refused: it names a file, and the daemon can't be told it.
        case refused
    }

    var takesValue: Bool { impliedValue == nil }
    /// `-m, --memory`, as errors name it.
    var display: String { short.map { "-\($0), --\(name)" } ?? "--\(name)" }
}

/// An option together with the type of its value: the key with which a command reads what was parsed.
struct Flag<Value: Sendable>: Sendable {
    private(set) var option: Option
    let initial: Value
    /// Takes one more occurrence into account.
    let apply: @Sendable (inout Value, String) throws(InvalidValue) -> Void

    init(
        _ name: String, short: Character? = nil, type: String, _ help: String, initial: Value,
        shownDefault: String? = nil, impliedValue: String? = nil,
        apply: @escaping @Sendable (inout Value, String) throws(InvalidValue) -> Void
    ) {
        self.initial = initial
        self.apply = apply
        option = Option(
            name: name, short: short, valueName: type, help: help, shownDefault: shownDefault,
            impliedValue: impliedValue,
            check: { word throws(InvalidValue) in
                var value = initial
                try apply(&value, word)
            })
    }

    /// The same flag, also understood as `--spelling` without being advertised so.
    func alsoSpelled(_ spelling: String) -> Self {
        var copy = self
        copy.option.hiddenSpellings.append(spelling)
        return copy
    }

    /// The same flag, completed by `completion`.
    func completed(by completion: Completion) -> Self {
        var copy = self
        copy.option.completion = completion
        return copy
    }

    /// The same flag, whose words name files of the user's.
    var namingFiles: Self {
        var copy = completed(by: .files)
        copy.option.bytes = .kept
        return copy
    }

    /// The same flag, whose words name files that the daemon opens.
    var namingFilesOfTheDaemon: Self {
        var copy = self
        copy.option.bytes = .refused
        return copy
    }

    /// The same flag, left out of help, completion and the manual page.
    var hidden: Self {
        var copy = self
        copy.option.isHidden = true
        return copy
    }
}

extension Flag where Value == Bool {
    static func toggle(_ name: String, short: Character? = nil, _ help: String, initially initial: Bool = false)
        -> Self
    {
        Flag(
            name, short: short, type: "", help, initial: initial, shownDefault: initial ? "true" : nil,
            impliedValue: "true"
        ) { value, word throws(InvalidValue) in
            value = try parseBool(word)
        }
    }
}

extension Flag where Value == String {
    static func string(
        _ name: String, short: Character? = nil, _ help: String, initially initial: String = "",
        type: String = "string"
    ) -> Self {
        Flag(
            name, short: short, type: type, help, initial: initial,
            shownDefault: initial.isEmpty ? nil : "\"\(initial)\""
        ) { value, word throws(InvalidValue) in value = word }
    }
}

extension Flag where Value == String? {
    /// A string whose absence differs from an empty one (`--entrypoint ""`).
    static func optionalString(_ name: String, short: Character? = nil, _ help: String) -> Self {
        Flag(name, short: short, type: "string", help, initial: nil) { value, word throws(InvalidValue) in value = word
        }
    }
}

extension Flag where Value == Int64 {
    static func integer(_ name: String, short: Character? = nil, _ help: String, initially initial: Int64 = 0)
        -> Self
    {
        Flag(
            name, short: short, type: "int", help, initial: initial, shownDefault: initial == 0 ? nil : "\(initial)"
        ) { value, word throws(InvalidValue) in
            value = try parseInteger(word, anyBase: true)
        }
    }

    /// A size such as `64m`: a number of bytes, or with a 1024-based unit.
    static func bytes(_ name: String, short: Character? = nil, _ help: String) -> Self {
        Flag(name, short: short, type: "bytes", help, initial: 0) { value, word throws(InvalidValue) in
            value = try parseBytes(word)
        }
    }

    /// A duration such as `1m30s`, in nanoseconds.
    static func duration(_ name: String, short: Character? = nil, _ help: String) -> Self {
        Flag(name, short: short, type: "duration", help, initial: 0, shownDefault: "0s") {
            value, word throws(InvalidValue) in
            value = try parseDuration(word)
        }
    }
}

extension Flag where Value == Int64? {
    /// A number whose absence differs from zero (`--stop-timeout 0`).
    static func optionalInteger(_ name: String, short: Character? = nil, _ help: String) -> Self {
        Flag(name, short: short, type: "int", help, initial: nil) { value, word throws(InvalidValue) in
            value = try parseInteger(word, anyBase: true)
        }
    }
}

extension Flag where Value == [String] {
    /// An option that may be repeated; `check` throws on a word that is no element of it, or returns it tidied.
    static func list(
        _ name: String, short: Character? = nil, type: String = "list", _ help: String,
        check: @escaping @Sendable (String) throws(InvalidValue) -> String = { word throws(InvalidValue) in word }
    ) -> Self {
        Flag(name, short: short, type: type, help, initial: []) { value, word throws(InvalidValue) in
            value.append(try check(word))
        }
    }
}

/// What a word may be completed with.
enum Completion: Sendable, Equatable {
    case none
    /// Names from the shell itself.
    case files, directories
    case words([String])
    /// Live names, asked from the daemon.
    case containers, runningContainers, stoppedContainers, pausedContainers
    case images, volumes, networks
    /// The user's contexts.
    case contexts
    /// The verbs of this command line, for `help`.
    case commands
}

/// Reads a boolean as Go's `strconv.ParseBool` does.
func parseBool(_ word: String) throws(InvalidValue) -> Bool {
    switch word {
    case "1", "t", "T", "true", "TRUE", "True": true
    case "0", "f", "F", "false", "FALSE", "False": false
    default: throw InvalidValue("strconv.ParseBool: parsing \"\(word)\": invalid syntax")
    }
}

/// Reads an integer; the sentences are those of Go's `strconv.ParseInt`, which docker passes on.
///
/// - Parameter anyBase: whether a prefix says the base, as in `0x1F`, `0b101`, `0o17` and `017`: flags take that.
func parseInteger(_ word: String, anyBase: Bool = false) throws(InvalidValue) -> Int64 {
    if let value = anyBase ? integerOfAnyBase(word) : Int64(word) { return value }
    let digits = word.drop { $0 == "-" || $0 == "+" }
    let isNumber = !digits.isEmpty && digits.utf8.allSatisfy { (48...57).contains($0) } && word.count - digits.count < 2
    throw InvalidValue(
        "strconv.ParseInt: parsing \"\(word)\": " + (isNumber ? "value out of range" : "invalid syntax"))
}

/// An integer whose prefix says its base (Go's integer literals); nil where it is none. An underscore between two digits,
/// or a digit and the prefix, does not count.
private func integerOfAnyBase(_ word: String) -> Int64? {
    let sign = word.prefix { $0 == "-" || $0 == "+" }
    let body = word.dropFirst(sign.count).lowercased()
    let hasPrefix = body.hasPrefix("0") && body.utf8.count > 1
    let named = hasPrefix ? ["x": 16, "o": 8, "b": 2][body.dropFirst().prefix(1)] : nil
    let digits = body.dropFirst(named != nil ? 2 : hasPrefix ? 1 : 0)
    let isWellSpaced = !digits.hasSuffix("_") && !digits.contains("__") && (hasPrefix || !digits.hasPrefix("_"))
    // Int64 would take a sign of its own.
    guard sign.count < 2, isWellSpaced, digits.first?.isHexDigit ?? false || digits.first == "_" else { return nil }
    return Int64(sign + String(digits.filter { $0 != "_" }), radix: named ?? (hasPrefix ? 8 : 10))
}
