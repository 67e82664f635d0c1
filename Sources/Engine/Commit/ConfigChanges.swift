import EngineAPI

/// The Dockerfile instructions that `commit` and `import` take with `--change`: those that change nothing but an image's
/// configuration. Rules and sentences are dockerd's.
enum ConfigChanges {
    /// - Throws: `invalidParameter` for an instruction that isn't one of these, or makes no sense.
    static func apply(_ changes: [String], to config: ContainerConfig) throws(EngineError) -> ContainerConfig {
        var state = State(config: config)
        for line in lines(changes.joined(separator: "\n")) { try state.apply(line) }
        return state.config
    }

    /// Logical lines: without comments, with continued ones joined.
    private static func lines(_ text: String) -> [String] {
        var lines: [String] = []
        var open: String?
        for physical in text.split(separator: "\n") {
            let line = trimmed(physical)
            if line.isEmpty || line.hasPrefix("#") { continue }
            if line.hasSuffix("\\") {
                open = (open ?? "") + line.dropLast()
            } else {
                lines.append((open ?? "") + line)
                open = nil
            }
        }
        if let open { lines.append(open) }
        return lines
    }

    fileprivate static func trimmed(_ text: some StringProtocol) -> String {
        let start = text.drop { $0.isWhitespace }
        guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(start[...last])
    }

    private struct State {
        var config: ContainerConfig
        /// A CMD of the same list survives an ENTRYPOINT after it; one of the image doesn't.
        private var commandIsNew = false

        init(config: ContainerConfig) { self.config = config }

        mutating func apply(_ line: String) throws(EngineError) {
            let name = String(line.prefix { !$0.isWhitespace })
            let rest = ConfigChanges.trimmed(line.dropFirst(name.count))
            let instruction = name.uppercased()
            switch instruction {
            case "CMD":
                config.cmd = commandLine(rest)
                commandIsNew = !rest.isEmpty
            case "ENTRYPOINT":
                config.entrypoint = commandLine(rest)
                if !commandIsNew { config.cmd = nil }
            case "ENV":
                for (key, value) in try pairs(rest, instruction) { setVariable(key, value) }
            case "LABEL":
                for (key, value) in try pairs(rest, instruction) { State.set(key, value, in: &config.labels) }
            case "EXPOSE": try expose(rest)
            case "VOLUME":
                let paths = try words(rest, instruction)
                guard !paths.contains("") else { throw .invalid("VOLUME specified can not be an empty string") }
                for path in paths { State.set(path, .init(), in: &config.volumes) }
            case "USER": config.user = try one(rest, instruction)
            case "WORKDIR":
                let path = try one(rest, instruction)
                let base = config.workingDir.isEmpty ? "/" : config.workingDir
                config.workingDir = path.hasPrefix(bytes: "/") ? Paths.clean(path) : Paths.join(base, path)
            case "STOPSIGNAL":
                let signal = try one(rest, instruction)
                _ = try Signal.parse(signal)
                config.stopSignal = signal
            case "ONBUILD": try addTrigger(rest)
            case "HEALTHCHECK": config.healthcheck = try HealthInstruction.parse(rest)
            default: throw .invalid("\(name) is not a valid change command")
            }
        }

        /// Words in JSON as they are, anything else for a shell.
        private func commandLine(_ text: String) -> [String] {
            if let words = jsonWords(text) { return words }
            let shell = config.shell.flatMap { $0.isEmpty ? nil : $0 } ?? ["/bin/sh", "-c"]
            return shell + [text]
        }

        private func variable(_ name: String) -> String? {
            config.env?.last { $0.hasPrefix(name + "=") }.map { String($0.dropFirst(name.count + 1)) }
        }

        private func expanded(_ word: String) throws(EngineError) -> String {
            try InstructionWords.expand(word, variable)
        }

        private func one(_ text: String, _ instruction: String) throws(EngineError) -> String {
            guard !text.isEmpty else { throw .invalid("\(instruction) requires exactly one argument") }
            return try expanded(text)
        }

        private func words(_ text: String, _ instruction: String) throws(EngineError) -> [String] {
            guard !text.isEmpty else { throw .invalid("\(instruction) requires at least one argument") }
            var result: [String] = []
            for word in jsonWords(text) ?? text.split(whereSeparator: \.isWhitespace).map(String.init) {
                result.append(try expanded(word))
            }
            return result
        }

        /// `NAME=value …`, or `NAME value` for one.
        private func pairs(_ text: String, _ instruction: String) throws(EngineError) -> [(String, String)] {
            let words = InstructionWords.split(text)
            guard let first = words.first else { throw .invalid("\(instruction) requires at least one argument") }
            if !first.contains(byte: "=") {
                guard words.count > 1 else { throw .invalid("\(instruction) must have two arguments") }
                let value = ConfigChanges.trimmed(text.dropFirst(first.count))
                return [(try expanded(first), try expanded(value))]
            }
            var result: [(String, String)] = []
            for word in words {
                guard let sign = word.firstIndex(byte: "=") else {
                    throw .invalid(
                        "Syntax error - can't find = in \"\(word)\". Must be of the form: name=value")
                }
                let key = try expanded(String(word[..<sign]))
                guard !key.isEmpty else { throw .invalid("\(instruction) names can not be blank") }
                result.append((key, try expanded(String(word[word.utf8.index(after: sign)...]))))
            }
            return result
        }

        private mutating func setVariable(_ name: String, _ value: String) {
            var list = config.env ?? []
            let entry = "\(name)=\(value)"
            if let index = list.firstIndex(where: { $0 == name || $0.hasPrefix(name + "=") }) {
                list[index] = entry
            } else {
                list.append(entry)
            }
            config.env = list
        }

        /// In place: `EXPOSE 1-65535` would copy the map 65535 times.
        private static func set<Value>(_ key: String, _ value: Value, in map: inout [String: Value]?) {
            if map == nil { map = [:] }
            map?[key] = value
        }

        private mutating func expose(_ text: String) throws(EngineError) {
            // The value of a variable may be several ports.
            for word in try words(text, "EXPOSE").flatMap({ $0.split(whereSeparator: \.isWhitespace) }) {
                // Host addresses and ports mean nothing in an image; old Dockerfiles have them.
                let parts = (word.split(byte: ":").last ?? "").split(
                    separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
                let ports = (parts.first ?? "").split(separator: "-", omittingEmptySubsequences: false).map {
                    UInt16($0)
                }
                let protocolName = parts.count == 2 && !parts[1].isEmpty ? parts[1].lowercased() : "tcp"
                guard ["tcp", "udp", "sctp"].contains(protocolName) else {
                    throw .invalid("invalid proto: \(protocolName)")
                }
                guard (1...2).contains(ports.count), let low = ports[0], let high = ports.last ?? nil, low <= high
                else {
                    throw .invalid("invalid containerPort: \(parts.first ?? "")")
                }
                for port in low...high {
                    State.set("\(port)/\(protocolName)", .init(), in: &config.exposedPorts)
                }
            }
        }

        private mutating func addTrigger(_ text: String) throws(EngineError) {
            let name = text.prefix { !$0.isWhitespace }.uppercased()
            switch name {
            case "": throw .invalid("ONBUILD requires at least one argument")
            case "ONBUILD": throw .invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
            case "FROM", "MAINTAINER": throw .invalid("\(name) isn't allowed as an ONBUILD trigger")
            default: config.onBuild = (config.onBuild ?? []) + [text]
            }
        }
    }
}

/// nil for what is no JSON list of strings.
private func jsonWords(_ text: String) -> [String]? {
    text.hasPrefix("[") ? try? JSON.decode([String].self, from: text) : nil
}

/// `HEALTHCHECK [--interval=…] CMD …` and `HEALTHCHECK NONE`.
private enum HealthInstruction {
    static func parse(_ text: String) throws(EngineError) -> HealthConfig {
        var health = HealthConfig()
        var rest = text[...]
        var hasOptions = false
        while rest.hasPrefix("--") {
            let option = rest.prefix { !$0.isWhitespace }
            rest = rest[option.endIndex...].drop { $0.isWhitespace }
            hasOptions = true
            try apply(option.dropFirst(2), to: &health)
        }
        let kind = rest.prefix { !$0.isWhitespace }
        let command = ConfigChanges.trimmed(rest[kind.endIndex...])
        switch kind.uppercased() {
        case "NONE":
            guard command.isEmpty, !hasOptions else { throw .invalid("HEALTHCHECK NONE takes no arguments") }
            health.test = ["NONE"]
        case "CMD":
            guard !command.isEmpty else { throw .invalid("Missing command after HEALTHCHECK CMD") }
            health.test = jsonWords(command).map { ["CMD"] + $0 } ?? ["CMD-SHELL", command]
        case "": throw .invalid("HEALTHCHECK requires at least one argument")
        default: throw .invalid("Unknown type \"\(kind.uppercased())\" in HEALTHCHECK (try CMD)")
        }
        return health
    }

    private static func apply(_ option: Substring, to health: inout HealthConfig) throws(EngineError) {
        let parts = option.split(byte: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2 else { throw .invalid("missing a value on flag: \(parts[0])") }
        if parts[0] == "retries" {
            guard let retries = Int(parts[1]), retries >= 0 else {
                throw .invalid("--retries cannot be negative (\(parts[1]))")
            }
            health.retries = retries
            return
        }
        guard let duration = Timestamp.parseDuration(parts[1]) else {
            throw .invalid("time: invalid duration \"\(parts[1])\"")
        }
        guard duration == 0 || duration >= 1_000_000 else {
            throw .invalid("Interval \"\(parts[0])\" cannot be less than 1ms")
        }
        switch parts[0] {
        case "interval": health.interval = Int(duration)
        case "timeout": health.timeout = Int(duration)
        case "start-period": health.startPeriod = Int(duration)
        case "start-interval": health.startInterval = Int(duration)
        default: throw .invalid("unknown flag: \(parts[0])")
        }
    }
}
