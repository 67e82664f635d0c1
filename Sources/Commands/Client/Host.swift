import Glibc

/// Where the daemon listens: the path of a unix socket.
struct Host: Sendable, Equatable {
    static let defaultPath = "/run/mycontainer.sock"
    let path: String

    /// Reads what `-H` or `MYCONTAINER_HOST` says: `unix:///path` or a path alone.
    init(_ text: String) throws(CommandFailure) {
        let path = text.hasPrefix("unix://") ? String(text.dropFirst(7)) : text
        guard path.hasPrefix("/") else {
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
    static let host = Flag.string(
        "host", short: "H", "Socket of the daemon, as unix:///path; 'env' takes it from DOCKER_HOST")
    static let debug = Flag.toggle("debug", short: "D", "Print each request to the daemon on standard error")
    static let version = Flag.toggle("version", short: "v", "Print version information and quit")
    static let options = [debug.option, host.option.completed(by: .files), version.option]

    let arguments: ParsedArguments
    var debug: Bool { arguments[Self.debug] }

    /// `-H` first, then `MYCONTAINER_HOST`, then our own socket. `DOCKER_HOST` counts only when asked for with
    /// `-H env`: this command must not act on someone's Docker containers by surprise.
    func host() throws(CommandFailure) -> Host {
        let given = arguments[Self.host]
        if given == "env" {
            guard let host = environment("DOCKER_HOST"), !host.isEmpty else {
                throw CommandFailure("-H env takes the daemon's socket from DOCKER_HOST, which is not set")
            }
            return try Host(host)
        }
        if !given.isEmpty { return try Host(given) }
        if let host = environment("MYCONTAINER_HOST"), !host.isEmpty { return try Host(host) }
        return try Host(Host.defaultPath)
    }
}

extension Option {
    func completed(by completion: Completion) -> Option {
        var copy = self
        copy.completion = completion
        return copy
    }
}
