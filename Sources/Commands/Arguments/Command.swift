/// One verb: its spellings, its option table, and what it does.
struct Command: Sendable {
    /// Every way to write it, the one whose help and completion are listed under first: `["run", "container run"]`.
    let spellings: [String]
    /// One line, without a full stop.
    let summary: String
    /// What follows the verb in the usage line, for example `[OPTIONS] CONTAINER [CONTAINER...]`.
    let usage: String
    /// Further paragraphs for the help text and the manual page.
    var details: String?
    var options: [Option] = []
    let operands: OperandCount
    /// Whether options may follow operands (not where a container's own command line follows).
    var interspersed = true
    /// What the operands are completed with.
    var completion = Completion.none
    /// Whether operands may name files of the user's, whose names need not be UTF-8 (``RawBytes``).
    var operandsNameFiles = false
    /// The exit code for a failure that has none of its own: 125 where the exit code otherwise is the container's.
    var failureCode: Int32 = 1
    var isHidden = false
    let run: @Sendable (Invocation) throws -> Int32

    /// The name alone, for example `ls`.
    var name: String { String(spellings[0].split(separator: " ").last ?? "") }
}

/// How many operands a command takes; the sentences are docker's.
enum OperandCount: Sendable {
    case none, any
    case exactly(Int)
    case atLeast(Int)
    case between(Int, Int)
    case atMost(Int)

    /// Why `count` operands are refused, nil when they are fine. `command` is the whole path, as `docker run`.
    func refusal(of count: Int, command: String) -> String? {
        func arguments(_ number: Int) -> String { number == 1 ? "1 argument" : "\(number) arguments" }
        switch self {
        case .any: return nil
        case .none: return count == 0 ? nil : "'\(command)' accepts no arguments"
        case .exactly(let number):
            return count == number ? nil : "'\(command)' requires \(arguments(number))"
        case .atLeast(let number):
            return count >= number ? nil : "'\(command)' requires at least \(arguments(number))"
        case .atMost(let number):
            return count <= number ? nil : "'\(command)' requires at most \(arguments(number))"
        case .between(let low, let high):
            return (low...high).contains(count)
                ? nil : "'\(command)' requires at least \(low) and at most \(arguments(high))"
        }
    }
}

/// What a command is given to work with.
struct Invocation: Sendable {
    let arguments: ParsedArguments
    let global: GlobalOptions
    let command: Command
    /// How the user wrote the verb: `container run` or `run`.
    let spelling: String
    /// The user's own settings, nil where they can't be read.
    let settings: ClientConfiguration?

    var operands: [String] { arguments.operands }
    subscript<Value>(flag: Flag<Value>) -> Value { arguments[flag] }

    /// The daemon that this call talks to; nothing is sent yet.
    func engine() throws -> EngineClient {
        EngineClient(host: try global.host(settings), debug: global.debug, headers: settings?.headers ?? [])
    }

    /// What `--format` says, else what the user's settings have for this list under `setting`. A list of names alone
    /// (`--quiet`) follows the flag only.
    func format(_ setting: String? = nil, quiet: Bool = false) -> String {
        let given = self[ListFormat.format]
        guard given.isEmpty, !quiet, let setting else { return given }
        return settings?.text(setting) ?? ""
    }

    /// A moment that a flag names, as the API takes it; nil where it is not given.
    ///
    /// - Parameter named: whether an error names the flag, as docker's `logs` does and its `events` does not.
    func timestamp(_ flag: Flag<String>, now: Nanoseconds, named: Bool = false) throws(CommandFailure) -> String? {
        let word = self[flag]
        if word.isEmpty { return nil }
        do {
            return try apiTimestamp(word, now: now)
        } catch {
            throw CommandFailure((named ? "invalid value for \(quoted(flag.option.name)): " : "") + error.reason)
        }
    }

    /// The keys that detach: the flag's, else the user's own; empty for the default.
    func detachKeys() throws(CommandFailure) -> String {
        let given = self[DetachKeys.flag]
        let keys = given.isEmpty ? settings?.detachKeys ?? "" : given
        try DetachKeys.check(keys)
        return keys
    }
}

/// A failure that a command reports: a sentence on standard error and an exit code.
struct CommandFailure: Error {
    /// Nil when everything has been said already.
    let message: String?
    /// Nil for the command's own `failureCode`.
    let exitCode: Int32?
    /// Whether it is about one of the objects that a command is given: the others go on.
    let isAboutObject: Bool

    init(_ message: String?, exitCode: Int32? = nil, isAboutObject: Bool = false) {
        self.message = message
        self.exitCode = exitCode
        self.isAboutObject = isAboutObject
    }
}
