import EngineAPI

/// `ps`: list containers.
enum PsCommand {
    private static let all = Flag.toggle("all", short: "a", "Show all containers (default shows just running)")
    private static let filter = Flag.filter()
    private static let last = Flag.integer(
        "last", short: "n", "Show n last created containers (includes all states)", initially: -1)
    private static let latest = Flag.toggle(
        "latest", short: "l", "Show the latest created container (includes all states)")
    private static let size = Flag.toggle("size", short: "s", "Display total file sizes")

    static var command: Command {
        Command(
            spellings: ["ps", "container ls", "container ps", "container list"], summary: "List containers",
            usage: "[OPTIONS]",
            options: [
                all.option, filter.option, ListFormat.format.option, last.option, latest.option,
                ListFormat.noTruncation.option, ListFormat.quiet.option, size.option,
            ],
            operands: .none
        ) { invocation in
            let format = invocation.format("psFormat", quiet: invocation[ListFormat.quiet])
            let limit = invocation[latest] && invocation[last] == -1 ? 1 : invocation[last]
            let showsSize = invocation[size]
            let needsSize =
                showsSize
                || ((format.contains(".Size") || format.contains("{{json .}}")) && !invocation[ListFormat.quiet])
            let containers = try invocation.engine().json(
                .GET, "/containers/json",
                [
                    "all": invocation[all] ? "1" : nil, "filters": invocation[filter].query,
                    "limit": limit > 0 ? "\(limit)" : nil, "size": needsSize ? "1" : nil,
                ])
            let now = now()
            let rows = containers.elements.map {
                ContainerRows.row($0, truncates: !invocation[ListFormat.noTruncation], now: now)
            }
            // A template with a mistake is one in an empty list, too.
            if rows.isEmpty {
                _ = try ContainerRows.kind.render(
                    [ContainerRows.row(.null, truncates: true, now: now)], format: format,
                    quiet: invocation[ListFormat.quiet])
            }
            output(
                try ContainerRows.kind.render(
                    rows, format: format, quiet: invocation[ListFormat.quiet],
                    extraColumns: showsSize ? ["Size"] : []))
            return 0
        }
    }
}
