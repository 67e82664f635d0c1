import EngineAPI

/// `search`: repositories of the registries that the daemon pulls from.
enum SearchCommand {
    private static let filter = Flag.filter()
    private static let limit = Flag.integer("limit", "Max number of search results")

    private static let kind = ListKind(
        headers: [
            "Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL",
        ],
        columns: ["Name", "Description", "StarCount", "IsOfficial"], quietField: "Name")

    static var command: Command {
        Command(
            spellings: ["search"], summary: "Search the registries for images", usage: "[OPTIONS] TERM",
            options: [filter.option, ListFormat.format.option, limit.option, ListFormat.noTruncation.option],
            operands: .exactly(1)
        ) { invocation in
            let found = try invocation.engine().json(
                .GET, "/images/search",
                [
                    "term": invocation.operands[0], "filters": invocation[filter].query,
                    "limit": invocation[limit] > 0 ? "\(invocation[limit])" : nil,
                ])
            let rows = found.elements.map { result in
                let text = (result["description"].string ?? "").map { $0.isNewline ? " " : String($0) }.joined()
                return ListRow([
                    "Name": result["name"].string ?? "",
                    "Description": invocation[ListFormat.noTruncation] ? text : ellipsis(text, 45),
                    "StarCount": "\(result["star_count"].integer ?? 0)",
                    "IsOfficial": result["is_official"] == .bool(true) ? "[OK]" : "",
                ])
            }
            output(try kind.render(rows, format: invocation[ListFormat.format], quiet: false))
            return 0
        }
    }
}
