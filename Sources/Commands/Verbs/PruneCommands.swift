import EngineAPI
import Glibc

/// `container|image|network|volume|system prune`: remove what is not in use.
enum PruneCommands {
    private static let force = Flag.toggle("force", short: "f", "Do not prompt for confirmation")
    private static let filter = Flag.filter("Provide filter values (e.g. \"label=<key>=<value>\")").withoutShort
    private static let allImages = Flag.toggle("all", short: "a", "Remove all unused images, not just dangling ones")
    private static let allVolumes = Flag.toggle("all", short: "a", "Remove all unused volumes, not just anonymous ones")
    private static let withVolumes = Flag.toggle("volumes", "Prune anonymous volumes")

    static var containers: Command {
        Command(
            spellings: ["container prune"], summary: "Remove all stopped containers", usage: "[OPTIONS]",
            options: [filter.option, force.option], operands: .none
        ) { invocation in
            try confirm("This will remove all stopped containers.", invocation)
            let freed = try prune(.containers, filters(invocation), try invocation.engine())
            return total(freed)
        }
    }

    static var images: Command {
        Command(
            spellings: ["image prune"], summary: "Remove unused images", usage: "[OPTIONS]",
            options: [allImages.option, filter.option, force.option], operands: .none
        ) { invocation in
            let all = invocation[allImages]
            try confirm(
                all
                    ? "This will remove all images without at least one container associated to them."
                    : "This will remove all dangling images.", invocation)
            var filters = try filters(invocation)
            filters.add("dangling", all ? "false" : "true")
            return total(try prune(.images, filters, try invocation.engine()))
        }
    }

    static var volumes: Command {
        Command(
            spellings: ["volume prune"], summary: "Remove unused local volumes", usage: "[OPTIONS]",
            options: [allVolumes.option, filter.option, force.option], operands: .none
        ) { invocation in
            let all = invocation[allVolumes]
            try confirm(
                "This will remove \(all ? "all" : "anonymous") local volumes not used by at least one container.",
                invocation)
            var filters = try filters(invocation)
            if all { filters.add("all", "true") }
            return total(try prune(.volumes, filters, try invocation.engine()))
        }
    }

    static var networks: Command {
        Command(
            spellings: ["network prune"], summary: "Remove all unused networks", usage: "[OPTIONS]",
            options: [filter.option, force.option], operands: .none
        ) { invocation in
            try confirm("This will remove all custom networks not used by at least one container.", invocation)
            _ = try prune(.networks, filters(invocation), try invocation.engine())
            return 0
        }
    }

    static var system: Command {
        Command(
            spellings: ["system prune"], summary: "Remove unused data", usage: "[OPTIONS]",
            options: [allImages.option, filter.option, force.option, withVolumes.option], operands: .none
        ) { invocation in
            let all = invocation[allImages]
            var items = ["all stopped containers", "all networks not used by at least one container"]
            if invocation[withVolumes] { items.append("all anonymous volumes not used by at least one container") }
            items.append(
                all ? "all images without at least one container associated to them" : "all dangling images")
            try confirm("This will remove:\n" + items.map { "  - \($0)\n" }.joined(), invocation)
            let engine = try invocation.engine()
            var filters = try filters(invocation)
            var freed = try prune(.containers, filters, engine)
            _ = try prune(.networks, filters, engine)
            if invocation[withVolumes] { freed &+= try prune(.volumes, filters, engine) }
            filters.add("dangling", all ? "false" : "true")
            freed &+= try prune(.images, filters, engine)
            return total(freed)
        }
    }

    /// What `--filter` says and what the user's settings add to every prune: there a label filter gives way to the
    /// opposite one on the command line.
    private static func filters(_ invocation: Invocation) throws(CommandFailure) -> Filters {
        var filters = invocation[filter]
        for word in invocation.settings?.pruneFilters ?? [] {
            let (name, value) = cut(word, "=")
            let opposite = name == "label" ? "label!" : name == "label!" ? "label" : ""
            if let value, filters.values[opposite]?.contains(value) == true { continue }
            do {
                try filters.add(word)
            } catch {
                throw CommandFailure("pruneFilters in the configuration: \(error.reason)")
            }
        }
        return filters
    }

    private enum Kind { case containers, images, networks, volumes }

    /// - Returns: bytes freed.
    private static func prune(_ kind: Kind, _ filters: Filters, _ engine: EngineClient) throws -> UInt64 {
        let path: String
        switch kind {
        case .containers: path = "/containers/prune"
        case .images: path = "/images/prune"
        case .networks: path = "/networks/prune"
        case .volumes: path = "/volumes/prune"
        }
        let report = try engine.json(.POST, path, ["filters": filters.query])
        switch kind {
        case .containers: list("Deleted Containers:", report["ContainersDeleted"].elements.compactMap(\.string))
        case .networks: list("Deleted Networks:", report["NetworksDeleted"].elements.compactMap(\.string))
        case .volumes: list("Deleted Volumes:", report["VolumesDeleted"].elements.compactMap(\.string))
        case .images:
            let lines = report["ImagesDeleted"].elements.map { item in
                item["Untagged"].string.map { "untagged: \($0)" } ?? "deleted: \(item["Deleted"].string ?? "")"
            }
            list("Deleted Images:", lines)
        }
        return report["SpaceReclaimed"].unsigned ?? 0
    }

    private static func list(_ title: String, _ lines: [String]) {
        if !lines.isEmpty { output(title + "\n" + lines.map { $0 + "\n" }.joined() + "\n") }
    }

    private static func total(_ bytes: UInt64) -> Int32 {
        output("Total reclaimed space: \(humanSize(bytes, digits: 4))\n")
        return 0
    }

    /// Asks the user, unless `--force` is given; anything but yes ends the command.
    private static func confirm(_ warning: String, _ invocation: Invocation) throws(CommandFailure) {
        if invocation[force] { return }
        output("WARNING! \(warning)\nAre you sure you want to continue? [y/N] ")
        guard let answer = readLine(), ["y", "yes"].contains(trimmed(answer).lowercased()) else {
            throw CommandFailure(nil, exitCode: 1)
        }
    }
}

extension Flag {
    /// The same flag without its letter.
    fileprivate var withoutShort: Self {
        Flag(
            option.name, type: option.valueName, option.help, initial: initial, shownDefault: option.shownDefault,
            impliedValue: option.impliedValue, apply: apply)
    }
}
