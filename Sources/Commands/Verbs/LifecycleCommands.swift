import NIOHTTP1

/// The verbs that do one thing to each container named, and print its name when it is done.
enum LifecycleCommands {
    private static let signal = Flag.string("signal", short: "s", "Signal to send to the container")
        .completed(by: .words(SignalName.completions))
    private static let timeout = Flag.optionalInteger(
        "timeout", short: "t", "Seconds to wait before killing the container"
    ).alsoSpelled("time")

    static var stop: Command {
        Command(
            spellings: ["stop", "container stop"], summary: "Stop one or more running containers",
            usage: "[OPTIONS] CONTAINER [CONTAINER...]", options: [signal.option, timeout.option],
            operands: .atLeast(1), completion: .runningContainers
        ) { try forEach($0, .POST, "stop", endQuery($0)) }
    }

    static var restart: Command {
        Command(
            spellings: ["restart", "container restart"], summary: "Restart one or more containers",
            usage: "[OPTIONS] CONTAINER [CONTAINER...]", options: [signal.option, timeout.option],
            operands: .atLeast(1), completion: .containers
        ) { try forEach($0, .POST, "restart", endQuery($0)) }
    }

    private static func endQuery(_ invocation: Invocation) -> EngineClient.Query {
        let signal = invocation[signal]
        return ["signal": signal.isEmpty ? nil : signal, "t": invocation[timeout].map(String.init)]
    }

    static var kill: Command {
        Command(
            spellings: ["kill", "container kill"], summary: "Kill one or more running containers",
            usage: "[OPTIONS] CONTAINER [CONTAINER...]", options: [signal.option], operands: .atLeast(1),
            completion: .runningContainers
        ) { try forEach($0, .POST, "kill", ["signal": $0[signal].isEmpty ? nil : $0[signal]]) }
    }

    static var pause: Command {
        Command(
            spellings: ["pause", "container pause"], summary: "Pause all processes within one or more containers",
            usage: "CONTAINER [CONTAINER...]", operands: .atLeast(1), completion: .runningContainers
        ) { try forEach($0, .POST, "pause") }
    }

    static var unpause: Command {
        Command(
            spellings: ["unpause", "container unpause"],
            summary: "Unpause all processes within one or more containers", usage: "CONTAINER [CONTAINER...]",
            operands: .atLeast(1), completion: .pausedContainers
        ) { try forEach($0, .POST, "unpause") }
    }

    private static let force = Flag.toggle(
        "force", short: "f", "Force the removal of a running container (uses SIGKILL)")
    private static let volumes = Flag.toggle(
        "volumes", short: "v", "Remove anonymous volumes associated with the container")
    private static let link = Flag.toggle("link", short: "l", "Remove the specified link")

    static var remove: Command {
        Command(
            spellings: ["rm", "container rm", "container remove"], summary: "Remove one or more containers",
            usage: "[OPTIONS] CONTAINER [CONTAINER...]", options: [force.option, link.option, volumes.option],
            operands: .atLeast(1), completion: .containers
        ) { invocation in
            let query: EngineClient.Query = [
                "force": invocation[force] ? "1" : nil, "link": invocation[link] ? "1" : nil,
                "v": invocation[volumes] ? "1" : nil,
            ]
            // With --force what is gone already is as wanted: no failure, as with docker.
            return try forEach(invocation, .DELETE, nil, query, toleratesMissing: invocation[force])
        }
    }

    static var rename: Command {
        Command(
            spellings: ["rename", "container rename"], summary: "Rename a container", usage: "CONTAINER NEW_NAME",
            operands: .exactly(2), completion: .containers
        ) { invocation in
            let (old, new) = (trimmed(invocation.operands[0]), trimmed(invocation.operands[1]))
            if old.isEmpty || new.isEmpty { throw CommandFailure("Error: Neither old nor new names may be empty") }
            do {
                try invocation.engine().call(.POST, "/containers/\(pathPart(old))/rename", ["name": new])
            } catch let error as DaemonError {
                complain("\(error)")
                throw CommandFailure("Error: failed to rename container named \(old)")
            }
            return 0
        }
    }

    static var wait: Command {
        Command(
            spellings: ["wait", "container wait"],
            summary: "Block until one or more containers stop, then print their exit codes",
            usage: "CONTAINER [CONTAINER...]", operands: .atLeast(1), completion: .runningContainers
        ) { invocation in
            let engine = try invocation.engine()
            var failures: [String] = []
            // One after the other: a container that has ended meanwhile answers at once.
            for name in invocation.operands {
                do {
                    let result = try engine.json(.POST, "/containers/\(pathPart(name))/wait")
                    if let message = result["Error"]["Message"].string, !message.isEmpty { failures.append(message) }
                    output("\(result["StatusCode"].integer ?? 0)\n")
                } catch let error as DaemonError {
                    failures.append("\(error)")
                }
            }
            return try finish(failures)
        }
    }

    private static func forEach(
        _ invocation: Invocation, _ method: HTTPMethod, _ verb: String?, _ query: EngineClient.Query = [:],
        toleratesMissing: Bool = false
    ) throws -> Int32 {
        let engine = try invocation.engine()
        let suffix = verb.map { "/\($0)" } ?? ""
        let names = invocation.operands.map { $0.hasPrefix(bytes: "/") ? String($0.dropFirst()) : $0 }
        if let empty = names.first(where: \.isEmpty) {
            throw CommandFailure("Container name cannot be empty\(empty)")
        }
        var failures: [String] = []
        for (name, result) in engine.callAll(method, names, { "/containers/\($0)\(suffix)" }, query) {
            switch result {
            case .success: output(name + "\n")
            case .failure(let error as DaemonError) where error.isNotFound && toleratesMissing: complain("\(error)")
            case .failure(let error): failures.append(sentence(error))
            }
        }
        return try finish(failures)
    }

    /// Reports what failed, each in a line of its own.
    static func finish(_ failures: [String]) throws -> Int32 {
        if failures.isEmpty { return 0 }
        // A daemon that can't be reached is said once, not for each name.
        var said: Set<String> = []
        throw CommandFailure(failures.filter { said.insert($0).inserted }.joined(separator: "\n"))
    }
}
