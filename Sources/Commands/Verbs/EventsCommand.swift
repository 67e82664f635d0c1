import EngineAPI

/// `events`: what happens in the daemon, as it happens.
enum EventsCommand {
    private static let filter = Flag.filter()
    private static let since = Flag.string("since", "Show all events created since timestamp")
    private static let until = Flag.string("until", "Stream events until this timestamp")

    static var command: Command {
        Command(
            spellings: ["events", "system events"], summary: "Get real time events from the server",
            usage: "[OPTIONS]",
            options: [filter.option, ListFormat.format.option, since.option, until.option], operands: .none
        ) { invocation in
            let format = invocation[ListFormat.format]
            let template: Template?
            do {
                template = format.isEmpty || format == "json" ? nil : try Template(format)
            } catch let error as TemplateError {
                throw CommandFailure("Error parsing format: \(error.message)", exitCode: 64)
            }
            let moment = now()
            let (from, to) = (
                try invocation.timestamp(since, now: moment), try invocation.timestamp(until, now: moment)
            )
            let answer = try invocation.engine().stream(
                .GET, "/events",
                ["filters": invocation[filter].query, "since": from, "until": to])
            try answer.eachDocument { event in
                if let template {
                    do {
                        output(try template.execute(event) + "\n")
                    } catch let error as TemplateError {
                        throw CommandFailure(error.message)
                    }
                } else {
                    output(format == "json" ? event.text + "\n" : line(event))
                }
            }
            return 0
        }
    }

    /// `2006-01-02T15:04:05.000000000Z container start 0123… (image=busybox, name=x)`
    static func line(_ event: OrderedJSON) -> String {
        let time = event["timeNano"].integer ?? nanoseconds(ofSeconds: event["time"].integer ?? 0)
        let attributes = event["Actor"]["Attributes"].members.sorted { $0.key < $1.key }
            .map { "\($0.key)=\($0.value.string ?? "")" }.joined(separator: ", ")
        let words = [
            time == 0 ? "" : localTimestamp(time), event["Type"].string ?? "", event["Action"].string ?? "",
            event["Actor"]["ID"].string ?? "", attributes.isEmpty ? "" : "(\(attributes))",
        ]
        return words.filter { !$0.isEmpty }.joined(separator: " ") + "\n"
    }
}
