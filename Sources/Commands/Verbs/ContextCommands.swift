import Glibc

/// `context`: name daemons, and choose among them.
enum ContextCommands {
    private static let description = Flag.string("description", "Description of the context")
    private static let endpoint = Flag<[String: String]?>(
        "docker", type: "stringToString", "set the docker endpoint", initial: nil
    ) { value, word throws(InvalidValue) in
        for part in word.split(byte: ",") {
            let (name, content) = cut(part, "=")
            guard let content else { throw InvalidValue("\(part) must be formatted as key=value") }
            value = (value ?? [:]).merging([name: content]) { $1 }
        }
    }
    private static let from = Flag.string("from", "create context from a named context").completed(by: .contexts)
    private static let endpointDetails =
        "The endpoint is given as --docker \"host=unix:///run/mycontainer.sock\", or as \"from=CONTEXT\" to take that of "
        + "another context. Contexts are kept where docker keeps its own, so each program can use the other's; which one "
        + "is used by default is each program's own choice."

    private static func store(_ invocation: Invocation) throws(CommandFailure) -> ContextStore {
        invocation.global.contexts(try invocation.global.configuration())
    }

    private static func announce(_ name: String, _ sentence: String) {
        output(name + "\n")
        complain(sentence)
    }

    // MARK: Making and changing

    static var create: Command {
        Command(
            spellings: ["context create"], summary: "Create a context", usage: "[OPTIONS] CONTEXT",
            details: endpointDetails, options: [description.option, endpoint.option, from.option],
            operands: .exactly(1)
        ) { invocation in
            let name = invocation.operands[0]
            let store = try store(invocation)
            try checkNew(name, store)
            let source = invocation[from]
            if let settings = invocation[endpoint], source.isEmpty {
                let (host, skips) = try Self.endpoint(settings, store)
                try store.save(
                    .init(name: name, description: invocation[description], host: host, skipsVerification: skips))
            } else {
                if invocation[endpoint] != nil {
                    throw CommandFailure("cannot use --docker flag when --from is set")
                }
                // The keys of the other context come along.
                let current = invocation.global.contextName(try invocation.global.configuration())
                try store.importArchive(store.archive(source.isEmpty ? current : source), as: name)
                if !invocation[description].isEmpty {
                    try store.save(described(store.metadata(name), invocation[description]))
                }
            }
            announce(name, "Successfully created context \(quoted(name))")
            return 0
        }
    }

    static var update: Command {
        Command(
            spellings: ["context update"], summary: "Update a context", usage: "[OPTIONS] CONTEXT",
            details: endpointDetails, options: [description.option, endpoint.option], operands: .exactly(1),
            completion: .contexts
        ) { invocation in
            let name = invocation.operands[0]
            try ContextStore.validate(name)
            let store = try store(invocation)
            var metadata = try store.metadata(name)
            if !invocation[description].isEmpty { metadata = described(metadata, invocation[description]) }
            if let settings = invocation[endpoint] {
                let (host, skips) = try Self.endpoint(settings, store)
                var endpoints = metadata.document["Endpoints"].members.filter { $0.key != "docker" }
                endpoints.append((key: "docker", value: ContextStore.Metadata.endpoint(host, skips)))
                metadata.set("Endpoints", .object(JSONObject(endpoints.map { ($0.key, $0.value) })))
            }
            try store.save(metadata)
            announce(name, "Successfully updated context \(quoted(name))")
            return 0
        }
    }

    private static func described(_ metadata: ContextStore.Metadata, _ text: String) -> ContextStore.Metadata {
        var metadata = metadata
        let others = metadata.document["Metadata"].members.filter { $0.key != "Description" }
        metadata.set(
            "Metadata",
            .object(JSONObject([("Description", .string(text))] + others.map { ($0.key, $0.value) })))
        return metadata
    }

    private static func checkNew(_ name: String, _ store: ContextStore) throws(CommandFailure) {
        try ContextStore.validate(name)
        if store.exists(name) { throw CommandFailure("context \(quoted(name)) already exists") }
    }

    /// The host that `--docker` names.
    private static func endpoint(_ settings: [String: String], _ store: ContextStore) throws(CommandFailure) -> (
        host: String, skipsVerification: Bool
    ) {
        let known = ["from", "host", "ca", "cert", "key", "skip-tls-verify"]
        if let unknown = settings.keys.sorted().first(where: { !known.contains($0) }) {
            throw CommandFailure("unable to create docker endpoint config: unrecognized config key: \(unknown)")
        }
        if let source = settings["from"] { return (try store.metadata(source).host, false) }
        if let option = ["ca", "cert", "key"].first(where: { settings[$0] != nil }) {
            throw CommandFailure(
                "unable to create docker endpoint config: mycontainer talks to unix sockets only, which have no use "
                    + "for '\(option)'; make a context for a daemon on TCP with docker itself")
        }
        let host = settings["host"] ?? ""
        if !host.isEmpty
            && !["unix://", "tcp://", "ssh://", "npipe://", "fd://", "http://", "https://"]
                .contains(where: host.hasPrefix)
        {
            throw CommandFailure(
                "unable to create docker endpoint config: invalid docker endpoint options: unable to parse docker host "
                    + "`\(host)`")
        }
        do {
            return (host, try settings["skip-tls-verify"].map(parseBool) ?? false)
        } catch {
            throw CommandFailure("unable to create docker endpoint config: skip-tls-verify: \(error.reason)")
        }
    }

    static var remove: Command {
        let force = Flag.toggle("force", short: "f", "Force the removal of a context in use")
        return Command(
            spellings: ["context rm", "context remove"], summary: "Remove one or more contexts",
            usage: "CONTEXT [CONTEXT...]", options: [force.option], operands: .atLeast(1), completion: .contexts
        ) { invocation in
            let store = try store(invocation)
            var configuration = try invocation.global.configuration()
            let current = invocation.global.contextName(configuration)
            var failures: [String] = []
            for name in invocation.operands {
                do {
                    if name == ContextStore.defaultName {
                        throw CommandFailure("context \"default\" cannot be removed")
                    }
                    if name == current && !invocation[force] {
                        throw CommandFailure("context \(quoted(name)) is in use, set -f flag to force remove")
                    }
                    if !store.exists(name) && !invocation[force] {
                        throw CommandFailure("context \(quoted(name)) does not exist")
                    }
                    if configuration.currentContext == name {
                        configuration.currentContext = ""
                        try configuration.save()
                    }
                    try store.remove(name)
                    output(name + "\n")
                } catch {
                    failures.append(sentence(error))
                }
            }
            return try LifecycleCommands.finish(failures)
        }
    }

    // MARK: Choosing

    static var use: Command {
        Command(
            spellings: ["context use"], summary: "Set the default context of mycontainer (docker's own stays as it is)",
            usage: "CONTEXT", operands: .exactly(1), completion: .contexts
        ) { invocation in
            let name = invocation.operands[0]
            if name != ContextStore.defaultName {
                try ContextStore.validate(name)
                _ = try store(invocation).metadata(name)
            }
            var configuration = try invocation.global.configuration()
            let chosen = name == ContextStore.defaultName ? "" : name
            if configuration.currentContext != chosen {
                configuration.currentContext = chosen
                try configuration.save()
            }
            announce(name, "Current context is now \(quoted(name))")
            if !chosen.isEmpty { warnOfOverride() }
            return 0
        }
    }

    private static func warnOfOverride() {
        guard
            let variable = ["MYCONTAINER_HOST", "MYCONTAINER_CONTEXT"].first(where: {
                environment($0)?.isEmpty == false
            })
        else { return }
        complain(
            "Warning: \(variable) environment variable overrides the active context. To use a context, either set the "
                + "global --context flag, or unset \(variable) environment variable.")
    }

    static var show: Command {
        Command(
            spellings: ["context show"], summary: "Print the name of the current context", usage: "", operands: .none
        ) { invocation in
            output(invocation.global.contextName(invocation.settings) + "\n")
            return 0
        }
    }

    // MARK: Looking

    private static let quiet = Flag.toggle("quiet", short: "q", "Only show context names")

    private static let kind = ListKind(
        headers: [
            "Name": "NAME", "Description": "DESCRIPTION", "DockerEndpoint": "DOCKER ENDPOINT", "Error": "ERROR",
            "Current": "CURRENT",
        ],
        columns: ["Name", "Description", "DockerEndpoint", "Error"], quietField: "Name")

    static var list: Command {
        Command(
            spellings: ["context ls", "context list"], summary: "List contexts", usage: "[OPTIONS]",
            options: [ListFormat.format.option, quiet.option], operands: .none
        ) { invocation in
            let store = try store(invocation)
            let current = invocation.global.contextName(try invocation.global.configuration())
            let format = invocation.format()
            let isTable = format.isEmpty || format == "table"
            var found = try store.all()
            var error = ""
            if !store.exists(current) {
                do { _ = try store.metadata(current) } catch let missing { error = sentence(missing) }
                found.append(ContextStore.Metadata(name: current, description: "", host: ""))
                found.sort { $0.name < $1.name }
            }
            let rows = found.map { context in
                let isCurrent = context.name == current
                let mark = isCurrent && isTable && !invocation[quiet] ? " *" : ""
                return ListRow(
                    [
                        "Name": context.name + mark, "Description": context.description,
                        "DockerEndpoint": context.host, "Error": ellipsis(isCurrent ? error : "", 45),
                    ], others: ["Current": .bool(isCurrent)])
            }
            output(try kind.render(rows, format: format, quiet: invocation[quiet]))
            if isTable { warnOfOverride() }
            return 0
        }
    }

    static var inspect: Command {
        let format = Flag.string("format", short: "f", "Format output: 'json', or a Go TEMPLATE")
        return Command(
            spellings: ["context inspect"], summary: "Display detailed information on one or more contexts",
            usage: "[OPTIONS] [CONTEXT] [CONTEXT...]", options: [format.option], operands: .any, completion: .contexts
        ) { invocation in
            let store = try store(invocation)
            let current = invocation.global.contextName(try invocation.global.configuration())
            let names = invocation.operands.isEmpty ? [current] : invocation.operands
            return try InspectCommand.show(names, format: invocation[format]) { name in
                let metadata = try store.metadata(name)
                let keys = store.keyFiles(name).map { endpoint, files in
                    (endpoint, OrderedJSON.array(files.map(OrderedJSON.string)))
                }
                let storage = store.storage(name)
                return .object(
                    JSONObject(
                        metadata.document.members.map { ($0.key, $0.value) } + [
                            ("TLSMaterial", .object(JSONObject(keys))),
                            (
                                "Storage",
                                .object(
                                    JSONObject([
                                        ("MetadataPath", .string(storage.metadata)), ("TLSPath", .string(storage.keys)),
                                    ]))
                            ),
                        ]))
            }
        }
    }

    // MARK: Archives

    static var export: Command {
        Command(
            spellings: ["context export"],
            summary: "Export a context to a tar archive FILE or a tar stream on STDOUT.",
            usage: "[OPTIONS] CONTEXT [FILE|-]", operands: .between(1, 2), completion: .contexts,
            operandsNameFiles: true
        ) { invocation in
            let name = invocation.operands[0]
            if name != ContextStore.defaultName { try ContextStore.validate(name) }
            let target = invocation.operands.count == 2 ? invocation.operands[1] : "\(name).dockercontext"
            if target == "-" && Terminal.isTerminal(STDOUT_FILENO) {
                throw CommandFailure("cowardly refusing to export to a terminal, specify a file path")
            }
            let bytes = try store(invocation).archive(name)
            if target == "-" {
                if !bytes.withUnsafeBytes({ writeAll($0, to: STDOUT_FILENO) }) {
                    throw CommandFailure("cannot write to standard output: \(goReason(errno))")
                }
                return 0
            }
            if withPath(target, { access($0, F_OK) }) == 0 { throw CommandFailure("open \(target): file exists") }
            try replaceFile(target, bytes, mode: 0o600)
            complain("Written file \(quoted(target))")
            return 0
        }
    }

    static var importing: Command {
        Command(
            spellings: ["context import"], summary: "Import a context from a tar file", usage: "CONTEXT FILE|-",
            operands: .exactly(2), completion: .files, operandsNameFiles: true
        ) { invocation in
            let (name, source) = (invocation.operands[0], invocation.operands[1])
            let store = try store(invocation)
            try checkNew(name, store)
            try store.importArchive(try readFile(source == "-" ? "/dev/stdin" : source), as: name)
            announce(name, "Successfully imported context \(quoted(name))")
            return 0
        }
    }
}
