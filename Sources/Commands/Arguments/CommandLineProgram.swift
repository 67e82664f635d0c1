import Glibc
import OCI

/// The command line as a whole: options before the verb, the verb, its own options.
public enum CommandLineProgram {
    static let name = "mycontainer"

    /// Runs one call.
    ///
    /// - Parameter words: the arguments without the program's own name, as ``RawBytes`` has them.
    /// - Returns: the exit code: the container's for `run`, `exec` and the like, 125 for a command line or a daemon
    ///   that refuses, 126 and 127 for a program in the container that can't be run or is not there.
    public static func main(_ words: [String]) -> Int32 {
        // A reader that goes away (`| head`) is an error of write(2), not the end of this program.
        signal(SIGPIPE, SIG_IGN)
        do {
            return try dispatch(words)
        } catch let error as CommandFailure {
            if let message = error.message { complain(message) }
            return error.exitCode ?? 1
        } catch {
            complain("\(error)")
            return 1
        }
    }

    private static func dispatch(_ words: [String]) throws -> Int32 {
        let global: GlobalOptions
        do {
            global = GlobalOptions(
                arguments: try ParsedArguments(words, options: GlobalOptions.options, interspersed: false))
        } catch {
            complain(
                "\(error.message)\n\nUsage:  \(name) [OPTIONS] COMMAND [ARG...]\n\n"
                    + "Run '\(name) --help' for more information")
            return 125
        }
        if global.arguments[GlobalOptions.version] {
            output("mycontainer version \(ProductVersion.current)\n")
            return 0
        }
        var rest = global.arguments.operands[...]
        guard let first = rest.popFirst(), !global.arguments.asksForHelp else {
            output(Help.overview())
            return 0
        }
        var spelling = first
        if let group = CommandTable.groups.first(where: { $0.name == first }) {
            guard let second = rest.popFirst() else {
                complain(trimmed(Help.group(group)))
                return 0
            }
            if second == "--help" || second == "-h" {
                output(Help.group(group))
                return 0
            }
            spelling += " " + second
        }
        // A verb that has verbs of its own. Docker's `port` takes two operands at most, so nothing of it is taken away.
        if let next = rest.first, rest.count > 2 || rest.contains("--help") || rest.contains("-h"),
            CommandTable.isVerb("\(spelling) \(next)")
        {
            spelling += " " + next
            rest = rest.dropFirst()
        }
        guard let command = CommandTable.command(spelling) else {
            let (group, verb) = cut(spelling, " ")
            let path = verb == nil ? name : "\(name) \(group)"
            let usage = verb == nil ? "" : "Usage:  \(path)\n\n"
            complain(
                "\(name): unknown command: \(name) \(spelling)\n\n\(usage)Run '\(path) --help' for more information")
            return 1
        }
        return try run(command, as: spelling, rest, global)
    }

    static func run(_ command: Command, as spelling: String, _ words: some Sequence<String>, _ global: GlobalOptions)
        throws -> Int32
    {
        let path = "\(name) \(spelling)"
        let usage = "Usage:  \(path) \(command.usage)".trimmingSpaces
        var arguments: ParsedArguments
        do {
            arguments = try ParsedArguments(words, options: command.options, interspersed: command.interspersed)
            if !command.operandsNameFiles { arguments.repairOperands() }
        } catch {
            complain("\(error.message)\n\n\(usage)\n\nRun '\(path) --help' for more information")
            return 125
        }
        if arguments.asksForHelp {
            output(Help.text(command, spelling: spelling))
            return 0
        }
        if let refusal = command.operands.refusal(of: arguments.operands.count, command: path) {
            // docker's own words.
            let verb = if case .atLeast = command.operands { "See" } else { "Run" }
            complain("\(name): \(refusal)\n\n\(usage)\n\n\(verb) '\(path) --help' for more information")
            return 1
        }
        let invocation = Invocation(
            arguments: arguments, global: global, command: command, spelling: spelling, settings: global.settings)
        do {
            return try command.run(invocation)
        } catch let error as CommandFailure {
            throw CommandFailure(error.message, exitCode: error.exitCode ?? command.failureCode)
        } catch let error as DaemonError {
            throw CommandFailure("\(error)", exitCode: command.failureCode)
        }
    }
}

extension String {
    fileprivate var trimmingSpaces: String { trimmed(self) }
}
