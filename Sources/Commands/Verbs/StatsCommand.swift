import Glibc

/// `stats`: a live table of what containers use.
enum StatsCommand {
    private static let all = Flag.toggle("all", short: "a", "Show all containers (default shows just running)")
    private static let noStream = Flag.toggle("no-stream", "Disable streaming stats and only pull the first result")

    static var command: Command {
        Command(
            spellings: ["stats", "container stats"],
            summary: "Display a live stream of container(s) resource usage statistics",
            usage: "[OPTIONS] [CONTAINER...]",
            options: [all.option, ListFormat.format.option, noStream.option, ListFormat.noTruncation.option],
            operands: .any, completion: .runningContainers
        ) { invocation in
            let engine = try invocation.engine()
            if invocation[noStream] {
                let names = try containers(invocation, engine)
                output(try table(samples(names, engine), invocation))
                return 0
            }
            return try stream(invocation, engine)
        }
    }

    private static func containers(_ invocation: Invocation, _ engine: EngineClient) throws -> [String] {
        if !invocation.operands.isEmpty { return invocation.operands }
        let list = try engine.json(.GET, "/containers/json", ["all": invocation[all] ? "1" : nil])
        return list.elements.compactMap { $0["Id"].string }
    }

    /// One sample of each, all asked for at once: the daemon takes a second for each, to see CPU time pass.
    private static func samples(_ names: [String], _ engine: EngineClient) throws -> [(String, OrderedJSON)] {
        try engine.callAll(.GET, names, { "/containers/\($0)/stats" }, ["stream": "0"]).map { name, result in
            (name, try OrderedJSON(parsing: try result.get()))
        }
    }

    private static func table(_ samples: [(String, OrderedJSON)], _ invocation: Invocation) throws -> String {
        let rows = samples.map {
            StatsRow.row($0.1, asked: $0.0, truncates: !invocation[ListFormat.noTruncation])
        }
        return try StatsRow.kind.render(
            rows, format: invocation.format("statsFormat"), quiet: false, extraColumns: StatsRow.extraColumns(rows))
    }

    private static func stream(_ invocation: Invocation, _ engine: EngineClient) throws -> Int32 {
        let isTerminal = Terminal.isTerminal(STDOUT_FILENO)
        // Also while it waits for a daemon that does not answer.
        for end in [SIGINT, SIGTERM] { signal(end) { _ in _exit(0) } }
        var names = try containers(invocation, engine)
        // Names given that do not exist are an error at once; a container that goes later only leaves the table.
        var asked = monotonicTime()
        var shown = try samples(names, engine)
        if isTerminal { output("\u{1B}[2J") }
        while true {
            let text = try table(shown, invocation)
            if isTerminal {
                // From the top, each line cleared to its end, then everything below.
                let lines = text.split(separator: "\n", omittingEmptySubsequences: false).joined(
                    separator: "\u{1B}[K\n")
                output("\u{1B}[H\(lines)\u{1B}[J")
            } else {
                output(text)
            }
            // A sample of what runs takes the daemon a second; the others are there at once.
            let pause = 1_000_000_000 - (monotonicTime() - asked)
            if pause > 0 { usleep(UInt32(pause / 1000)) }
            asked = monotonicTime()
            names = try containers(invocation, engine)
            shown = engine.callAll(.GET, names, { "/containers/\($0)/stats" }, ["stream": "0"]).compactMap {
                name, result in
                guard let bytes = try? result.get(), let sample = try? OrderedJSON(parsing: bytes) else { return nil }
                return (name, sample)
            }
            if shown.isEmpty && !invocation.operands.isEmpty { return 0 }
        }
    }
}
