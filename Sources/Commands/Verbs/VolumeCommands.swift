import EngineAPI

/// `volume create|ls|rm`.
enum VolumeCommands {
    private static let driver = Flag.string("driver", short: "d", "Specify volume driver name", initially: "local")
    private static let driverOption = Flag.list("opt", short: "o", type: "map", "Set driver specific options")
    private static let label = Flag.list("label", "Set metadata for a volume", check: parseLabel)
    private static let name = Flag.string("name", "Specify volume name").hidden

    static var create: Command {
        Command(
            spellings: ["volume create"], summary: "Create a volume", usage: "[OPTIONS] [VOLUME]",
            options: [driver.option, label.option, name.option, driverOption.option], operands: .atMost(1)
        ) { invocation in
            let named = invocation[name]
            if !named.isEmpty && !invocation.operands.isEmpty {
                throw CommandFailure(
                    "conflicting options: cannot specify a volume-name through both --name and as a positional arg")
            }
            let request = VolumeCreateRequest {
                $0.name = invocation.operands.first ?? named
                $0.driver = invocation[driver]
                $0.driverOpts = dictionary(invocation[driverOption])
                $0.labels = dictionary(invocation[label])
            }
            let volume = try invocation.engine().json(.POST, "/volumes/create", body: JSON.encode(request))
            output((volume["Name"].string ?? "") + "\n")
            return 0
        }
    }

    private static let force = Flag.toggle("force", short: "f", "Force the removal of one or more volumes")

    static var remove: Command {
        Command(
            spellings: ["volume rm", "volume remove"],
            summary: "Remove one or more volumes",
            usage: "[OPTIONS] VOLUME [VOLUME...]",
            details: "A volume that is in use by a container can't be removed.", options: [force.option],
            operands: .atLeast(1), completion: .volumes
        ) { invocation in
            let engine = try invocation.engine()
            var failures: [String] = []
            for name in invocation.operands {
                do {
                    try engine.call(.DELETE, "/volumes/\(pathPart(name))", ["force": invocation[force] ? "1" : nil])
                    output(name + "\n")
                } catch let error as DaemonError {
                    failures.append("\(error)")
                }
            }
            return try LifecycleCommands.finish(failures)
        }
    }

    private static let quiet = Flag.toggle("quiet", short: "q", "Only display volume names")
    private static let filter = Flag.filter("Provide filter values (e.g. \"dangling=true\")")

    static let kind = ListKind(
        headers: [
            "Name": "VOLUME NAME", "Driver": "DRIVER", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT",
            "Labels": "LABELS", "Links": "LINKS", "Size": "SIZE", "Availability": "AVAILABILITY", "Group": "GROUP",
            "Status": "STATUS",
        ],
        columns: ["Driver", "Name"], quietField: "Name", raw: [("name", "Name"), ("driver", "Driver")])

    static func row(_ volume: OrderedJSON) -> ListRow {
        let usage = volume["UsageData"]
        let labels = volume["Labels"].members
        return ListRow(
            [
                "Name": volume["Name"].string ?? "", "Driver": volume["Driver"].string ?? "",
                "Scope": volume["Scope"].string ?? "", "Mountpoint": volume["Mountpoint"].string ?? "",
                "Labels": labelText(labels),
                "Links": usage["RefCount"].integer.map(String.init) ?? "N/A",
                "Size": usage["Size"].integer.map { $0 < 0 ? "N/A" : humanSize($0) } ?? "N/A",
                "Availability": "N/A", "Group": "N/A", "Status": "N/A",
            ], methods: ListRow.labelMethod { labels })
    }

    static var list: Command {
        Command(
            spellings: ["volume ls", "volume list"], summary: "List volumes", usage: "[OPTIONS]",
            options: [filter.option, ListFormat.format.option, quiet.option], operands: .none
        ) { invocation in
            let answer = try invocation.engine().json(.GET, "/volumes", ["filters": invocation[filter].query])
            let volumes = answer["Volumes"].elements.sorted { ($0["Name"].string ?? "") < ($1["Name"].string ?? "") }
            output(
                try kind.render(
                    volumes.map(row), format: invocation.format("volumesFormat", quiet: invocation[quiet]),
                    quiet: invocation[quiet]))
            return 0
        }
    }
}
