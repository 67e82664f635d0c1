/// A command line that can't be understood; the sentence is docker's own (pflag's).
struct UsageError: Error, Equatable {
    let message: String
    init(_ message: String) { self.message = message }
}

/// The options and operands of one call, checked against a command's option table.
struct ParsedArguments: Sendable {
    private(set) var operands: [String] = []
    /// The words given for each option, by its canonical name, in order.
    private(set) var words: [String: [String]] = [:]
    private(set) var asksForHelp = false

    /// Parses `arguments` with the grammar of GNU long options and pflag: `--name value`, `--name=value`, `-n value`,
    /// `-nvalue`, `-n=value`, grouped switches (`-it`), `--` ends the options.
    ///
    /// - Parameter interspersed: whether options may follow operands. They may not after `run IMAGE`, where
    ///   everything from the image on belongs to the container.
    init(_ arguments: some Sequence<String>, options: [Option], interspersed: Bool) throws(UsageError) {
        var rest = Array(arguments)[...]
        while let word = rest.popFirst() {
            if word == "--" {
                operands += rest
                return
            }
            if word.utf8.count < 2 || word.utf8.first != UInt8(ascii: "-") {
                operands.append(word)
                if !interspersed {
                    operands += rest
                    return
                }
            } else if word.utf8.dropFirst().first == UInt8(ascii: "-") {
                try parseLong(word, &rest, options)
            } else {
                try parseShort(word, &rest, options)
            }
            if asksForHelp { return }
        }
    }

    /// Replaces what is not UTF-8 in the operands.
    mutating func repairOperands() { operands = operands.map(RawBytes.repaired) }

    private mutating func parseLong(_ word: String, _ rest: inout ArraySlice<String>, _ options: [Option])
        throws(UsageError)
    {
        let body = word.dropFirst(2)
        let parts = body.split(byte: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        if name.isEmpty || name.hasPrefix("-") { throw UsageError("bad flag syntax: \(word)") }
        guard let option = options.first(where: { $0.name == name || $0.hiddenSpellings.contains(name) }) else {
            if name == "help" {
                asksForHelp = true
                return
            }
            throw UsageError("unknown flag: --\(name)")
        }
        if parts.count == 2 {
            try add(String(parts[1]), to: option)
        } else if let implied = option.impliedValue {
            try add(implied, to: option)
        } else if let value = rest.popFirst() {
            try add(value, to: option)
        } else {
            throw UsageError("flag needs an argument: --\(name)")
        }
    }

    private mutating func parseShort(_ word: String, _ rest: inout ArraySlice<String>, _ options: [Option])
        throws(UsageError)
    {
        var letters = word.dropFirst()
        while let letter = letters.popFirst() {
            guard let option = options.first(where: { $0.short == letter }) else {
                if letter == "h" {
                    asksForHelp = true
                    return
                }
                throw UsageError("unknown shorthand flag: '\(letter)' in -\(letter)\(letters)")
            }
            if letters.first == "=" && letters.count > 1 {
                try add(String(letters.dropFirst()), to: option)
                return
            }
            if let implied = option.impliedValue {
                try add(implied, to: option)
            } else if !letters.isEmpty {
                try add(String(letters), to: option)
                return
            } else if let value = rest.popFirst() {
                try add(value, to: option)
            } else {
                throw UsageError("flag needs an argument: '\(letter)' in \(word)")
            }
        }
    }

    private mutating func add(_ word: String, to option: Option) throws(UsageError) {
        let word = option.bytes == .repaired ? RawBytes.repaired(word) : word
        do {
            if option.bytes == .refused { try RawBytes.requireText(word) }
            try option.check(word)
        } catch {
            throw UsageError("invalid argument \(quoted(word)) for \"\(option.display)\" flag: \(error.reason)")
        }
        words[option.name, default: []].append(word)
    }

    /// The value of a flag, its default where it was not given.
    subscript<Value>(flag: Flag<Value>) -> Value {
        var value = flag.initial
        for word in words[flag.option.name] ?? [] {
            do {
                try flag.apply(&value, word)
            } catch {
                // Every word went through the same function in `add`.
                preconditionFailure("--\(flag.option.name): \(error.reason)")
            }
        }
        return value
    }

    /// Whether the option was given at all.
    func isGiven<Value>(_ flag: Flag<Value>) -> Bool { words[flag.option.name] != nil }
}

/// A string in double quotes as Go's `%q` writes it.
func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\r": result += "\\r"
        case "\t": result += "\\t"
        case _ where scalar.value < 0x20 || scalar.value == 0x7f:
            let hex = String(scalar.value, radix: 16)
            result += "\\x" + (hex.count < 2 ? "0" : "") + hex
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + "\""
}
