import Glibc

/// A command line in the form of Go's flag packages, which the callers of OCI runtimes use: `--name value`,
/// `--name=value`, `-n value`; flags come before the first positional argument, `--` ends them.
struct Flags {
    private(set) var values: [String: [String]] = [:]
    private(set) var switches: Set<String> = []
    /// What follows the flags.
    private(set) var rest: [String] = []

    /// - Parameters:
    ///   - valued: names of flags that take a value; aliases map to a name through `aliases`.
    ///   - boolean: names of flags that take none (`--name=false` clears one).
    init(
        _ arguments: ArraySlice<String>, valued: Set<String>, boolean: Set<String>, aliases: [String: String] = [:]
    ) throws(CommandError) {
        var index = arguments.startIndex
        while index < arguments.endIndex {
            let argument = arguments[index]
            index += 1
            if argument == "--" { break }
            guard argument.hasPrefix("-"), argument.count > 1 else {
                index -= 1
                break
            }
            let body = argument.drop { $0 == "-" }
            let parts = body.split(byte: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let given = String(parts[0])
            let name = aliases[given] ?? given
            if boolean.contains(name) {
                if parts.count > 1 && parts[1] == "false" { switches.remove(name) } else { switches.insert(name) }
            } else if valued.contains(name) {
                if parts.count > 1 {
                    values[name, default: []].append(String(parts[1]))
                } else if index < arguments.endIndex {
                    values[name, default: []].append(arguments[index])
                    index += 1
                } else {
                    throw CommandError("flag --\(name) needs a value")
                }
            } else {
                throw CommandError("unknown flag \(argument)")
            }
        }
        rest = Array(arguments[index...])
    }

    func value(_ name: String) -> String? { values[name]?.last }
    func has(_ name: String) -> Bool { switches.contains(name) }

    /// A path as the caller means it: the working directory changes later.
    func path(_ name: String) -> String? {
        guard let path = value(name), !path.hasPrefix(bytes: "/") else { return value(name) }
        guard let directory = getcwd(nil, 0) else { return path }
        defer { free(directory) }
        return "\(String(cString: directory))/\(path)"
    }

    func number(_ name: String) throws(CommandError) -> Int? {
        guard let text = value(name) else { return nil }
        guard let number = Int(text) else { throw CommandError("--\(name) needs a number, not \(text)") }
        return number
    }

    /// The first positional argument: the container's id.
    func container() throws(CommandError) -> String {
        guard let id = rest.first else { throw CommandError("the container's id is missing") }
        return id
    }
}

/// A command that can't be carried out, as one sentence, and the exit code.
struct CommandError: Error {
    let message: String
    let exitCode: Int32

    init(_ message: String, exitCode: Int32 = 1) {
        self.message = message
        self.exitCode = exitCode
    }
}
