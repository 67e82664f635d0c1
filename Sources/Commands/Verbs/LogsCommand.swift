/// `logs`: what a container wrote.
enum LogsCommand {
    private static let follow = Flag.toggle("follow", short: "f", "Follow log output")
    private static let since = Flag.string(
        "since", "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)")
    private static let until = Flag.string(
        "until", "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\")")
    private static let timestamps = Flag.toggle("timestamps", short: "t", "Show timestamps")
    private static let details = Flag.toggle("details", "Show extra details provided to logs")
    private static let tail = Flag.string(
        "tail", short: "n", "Number of lines to show from the end of the logs", initially: "all")

    static var command: Command {
        Command(
            spellings: ["logs", "container logs"], summary: "Fetch the logs of a container",
            usage: "[OPTIONS] CONTAINER",
            options: [
                details.option, follow.option, since.option, tail.option, timestamps.option, until.option,
            ],
            operands: .exactly(1), completion: .containers
        ) { invocation in
            let engine = try invocation.engine()
            let moment = now()
            let (from, to) = (
                try invocation.timestamp(since, now: moment, named: true),
                try invocation.timestamp(until, now: moment, named: true)
            )
            let container = try engine.json(.GET, "/containers/\(pathPart(invocation.operands[0]))/json")
            let answer = try engine.stream(
                .GET, "/containers/\(container["Id"].string ?? pathPart(invocation.operands[0]))/logs",
                [
                    "details": invocation[details] ? "1" : nil, "follow": invocation[follow] ? "1" : nil,
                    "since": from, "stderr": "1", "stdout": "1", "tail": invocation[tail],
                    "timestamps": invocation[timestamps] ? "1" : nil, "until": to,
                ])
            var demultiplexer = OutputDemultiplexer(isFramed: !(container["Config"]["Tty"].bool ?? false))
            while let piece = try answer.next() {
                try piece.withUnsafeBytes { try demultiplexer.write($0) }
            }
            return 0
        }
    }
}
