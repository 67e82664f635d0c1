import Glibc

/// Where the daemon listens: the path of a unix socket.
struct Host: Sendable, Equatable {
    static let defaultPath = "/run/mycontainer.sock"
    let path: String

    /// Reads what `-H` or `MYCONTAINER_HOST` says: `unix:///path` or a path alone.
    init(_ text: String) throws(CommandFailure) {
        let path = text.hasPrefix("unix://") ? String(text.dropFirst(7)) : text
        guard path.hasPrefix(bytes: "/") else {
            throw CommandFailure(
                "cannot use the host \(quoted(text)): mycontainer talks to a unix socket, "
                    + "so give it as unix:///path/to/socket")
        }
        self.path = path
    }

    var display: String { "unix://\(path)" }
}

/// The options that come before the verb.
struct GlobalOptions: Sendable {
    static let config = Flag.string("config", "Location of client config files").completed(by: .directories)
    static let context = Flag.string(
        "context", short: "c",
        "Name of the context to use to connect to the daemon (overrides the one set with "
            + "'mycontainer context use')"
    ).completed(by: .contexts)
    static let host = Flag.string(
        "host", short: "H",
        "Socket of the daemon, as unix:///path; 'env' takes what docker itself would: "
            + "DOCKER_HOST, DOCKER_CONTEXT or its current context"
    ).completed(by: .files)
    static let debug = Flag.toggle("debug", short: "D", "Print each request to the daemon on standard error")
    static let logLevel = Flag(
        "log-level", short: "l", type: "string",
        "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", "
            + "\"fatal\")", initial: "info", shownDefault: "\"info\""
    ) { value, word throws(InvalidValue) in
        guard levels.contains(word) else { throw InvalidValue("it is one of \(levels.joined(separator: ", "))") }
        value = word
    }.completed(by: .words(levels))
    static let version = Flag.toggle("version", short: "v", "Print version information and quit")
    static let options = [
        config.option, context.option, debug.option, host.option, logLevel.option, version.option,
    ]
    private static let levels = ["debug", "info", "warn", "error", "fatal"]

    let arguments: ParsedArguments
    var debug: Bool { arguments[Self.debug] || arguments[Self.logLevel] == "debug" }

    /// The user's settings. A file that is broken is told of and counts as empty, as with docker; it is never
    /// overwritten, since `configuration()` throws then.
    var settings: ClientConfiguration? {
        do {
            return try configuration()
        } catch {
            complain("WARNING: \(error.message ?? "")")
            return nil
        }
    }

    func configuration() throws(CommandFailure) -> ClientConfiguration {
        let directory = arguments[Self.config]
        return try ClientConfiguration(directory: directory.isEmpty ? ClientConfiguration.standardDirectory : directory)
    }

    /// The context that this call uses; `default` where the daemon is named in another way or not at all.
    ///
    /// `--context` first, then `-H` and `MYCONTAINER_HOST`, which name a daemon without one, then
    /// `MYCONTAINER_CONTEXT`, then what `context use` chose. docker's own choice counts only with `-H env`: this command
    /// must not act on someone's Docker containers by surprise.
    func contextName(_ configuration: ClientConfiguration?) -> String {
        func named(_ name: String?) -> String? { name.flatMap { $0.isEmpty ? nil : $0 } }
        if let name = named(arguments[Self.context]) { return name }
        if arguments[Self.host] == "env" {
            if named(environment("DOCKER_HOST")) != nil { return ContextStore.defaultName }
            return named(environment("DOCKER_CONTEXT")) ?? named(configuration?.dockerContext)
                ?? ContextStore.defaultName
        }
        if !arguments[Self.host].isEmpty || named(environment("MYCONTAINER_HOST")) != nil {
            return ContextStore.defaultName
        }
        return named(environment("MYCONTAINER_CONTEXT")) ?? named(configuration?.currentContext)
            ?? ContextStore.defaultName
    }

    func contexts(_ configuration: ClientConfiguration) -> ContextStore {
        ContextStore(configuration, defaultHost: defaultHost ?? "unix://\(Host.defaultPath)")
    }

    /// What `-H` or the environment says; nil where they say nothing.
    private var defaultHost: String? {
        func named(_ name: String) -> String? { environment(name).flatMap { $0.isEmpty ? nil : $0 } }
        let given = arguments[Self.host]
        if given == "env" { return named("DOCKER_HOST") }
        return given.isEmpty ? named("MYCONTAINER_HOST") : given
    }

    /// The daemon that this call talks to.
    func host(_ configuration: ClientConfiguration?) throws(CommandFailure) -> Host {
        if !arguments[Self.host].isEmpty && !arguments[Self.context].isEmpty {
            throw CommandFailure("conflicting options: cannot specify both --host and --context")
        }
        let name = contextName(configuration)
        if name != ContextStore.defaultName {
            // A context that was named is never silently another one: what can't be read is an error here.
            let settings = if let configuration { configuration } else { try self.configuration() }
            let address: String
            do {
                address = try contexts(settings).metadata(name).host
            } catch {
                throw CommandFailure(
                    "Failed to initialize: unable to resolve docker endpoint: \(error.message ?? "")", exitCode: 1)
            }
            do {
                return try Host(address)
            } catch {
                throw CommandFailure("the context \(quoted(name)) can't be used here: \(error.message ?? "")")
            }
        }
        if let address = defaultHost { return try Host(address) }
        if arguments[Self.host] == "env" {
            throw CommandFailure(
                "-H env takes the daemon from DOCKER_HOST, DOCKER_CONTEXT or docker's current context: none is set")
        }
        return try Host(Host.defaultPath)
    }
}
