import Glibc

/// `login` and `logout`: keep and forget the credentials of a registry.
enum LoginCommands {
    private static let username = Flag.string("username", short: "u", "Username")
    private static let password = Flag.string("password", short: "p", "Password or Personal Access Token (PAT)")
    private static let passwordInput = Flag.toggle(
        "password-stdin", "Take the Password or Personal Access Token (PAT) from stdin")

    static var login: Command {
        Command(
            spellings: ["login"], summary: "Authenticate to a registry", usage: "[OPTIONS] [SERVER]",
            details: "Defaults to Docker Hub if no server is specified. The daemon checks the credentials with the "
                + "registry; they are then kept in config.json, or in a credential helper where credsStore or "
                + "credHelpers in it name one.",
            options: [password.option, passwordInput.option, username.option], operands: .atMost(1)
        ) { invocation in
            try checkFlags(invocation)
            var server = invocation.operands.first ?? ""
            if server.isEmpty || server == "docker.io" { server = CredentialStore.hub }
            if server != CredentialStore.hub { server = CredentialStore.hostname(server) }
            var store = CredentialStore(try invocation.global.configuration())
            let engine = try invocation.engine()
            if invocation[username].isEmpty && invocation[password].isEmpty {
                let known = try store.credentials(server)
                if !known.username.isEmpty && !known.password.isEmpty {
                    complain(
                        "Authenticating with existing credentials... [Username: \(known.username)]\n\n"
                            + "Info → To login with a different account, run 'mycontainer logout' followed by "
                            + "'mycontainer login'\n")
                    do {
                        return try finish(known, &store, engine)
                    } catch let error as DaemonError where error.status == 401 {
                        complain("Stored credentials invalid or expired")
                    }
                }
            }
            let entered = try ask(server, invocation)
            return try finish(entered, &store, engine)
        }
    }

    private static func checkFlags(_ invocation: Invocation) throws(CommandFailure) {
        let arguments = invocation.arguments
        if arguments[passwordInput] {
            if arguments.isGiven(password) {
                throw CommandFailure("conflicting options: cannot specify both --password and --password-stdin")
            }
            if !arguments.isGiven(username) {
                throw CommandFailure("the --password-stdin option requires --username to be set")
            }
        }
        if arguments.isGiven(username) && arguments[username].isEmpty { throw CommandFailure("username is empty") }
        if arguments.isGiven(password) && arguments[password].isEmpty { throw CommandFailure("password is empty") }
        if !arguments[password].isEmpty {
            complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
        }
    }

    /// Has the daemon check the credentials, then keeps them.
    private static func finish(_ credentials: Credentials, _ store: inout CredentialStore, _ engine: EngineClient)
        throws
        -> Int32
    {
        let answer = try engine.json(.POST, "/auth", body: Array(credentials.document.text.utf8))
        var kept = credentials
        if let token = answer["IdentityToken"].string, !token.isEmpty {
            (kept.password, kept.identityToken) = ("", token)
        }
        do {
            try store.store(kept)
        } catch {
            throw CommandFailure("error saving credentials: \(error.message ?? "")")
        }
        if let status = answer["Status"].string, !status.isEmpty { output(status + "\n") }
        return 0
    }

    private static func ask(_ server: String, _ invocation: Invocation) throws(CommandFailure) -> Credentials {
        var credentials = Credentials(
            username: trimmed(invocation[username]), password: invocation[password], serverAddress: server)
        if invocation[passwordInput] {
            var text = try readFile("/dev/stdin")
            if text.last == 10 { text.removeLast() }
            if text.last == 13 { text.removeLast() }
            credentials.password = String(decoding: text, as: UTF8.self)
            if credentials.password.isEmpty { throw CommandFailure("password is empty") }
        }
        if !credentials.username.isEmpty && !credentials.password.isEmpty { return credentials }
        if !Terminal.isTerminal(STDIN_FILENO) {
            throw CommandFailure("Error: Cannot perform an interactive login from a non TTY device")
        }
        if credentials.username.isEmpty {
            output("Username: ")
            credentials.username = trimmed(readLine() ?? "")
            if credentials.username.isEmpty { throw CommandFailure("Error: Non-null Username Required") }
        }
        if credentials.password.isEmpty {
            output("Password: ")
            credentials.password = try Terminal.readSecret(STDIN_FILENO)
            output("\n")
            if credentials.password.isEmpty { throw CommandFailure("Error: Password Required") }
        }
        return credentials
    }

    static var logout: Command {
        Command(
            spellings: ["logout"], summary: "Log out from a registry", usage: "[SERVER]",
            details: "If no server is specified, Docker Hub is meant.", operands: .atMost(1)
        ) { invocation in
            let server = invocation.operands.first ?? ""
            let host = server.isEmpty ? CredentialStore.hub : CredentialStore.hostname(server)
            // Older entries have the whole address as their key.
            let keys = server.isEmpty ? [host] : [server, host, "http://\(host)", "https://\(host)"]
            var store = CredentialStore(try invocation.global.configuration())
            output("Removing login credentials for \(host)\n")
            var failures: [String] = []
            for key in keys {
                do {
                    _ = try store.erase(key)
                } catch {
                    failures.append("\(key): \(sentence(error))")
                }
            }
            if failures.count == keys.count {
                complain("WARNING: could not erase credentials:\n" + failures.joined(separator: "\n"))
            }
            return 0
        }
    }
}
