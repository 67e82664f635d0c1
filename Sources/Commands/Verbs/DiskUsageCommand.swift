import OCI

/// `system df`: what images, containers and volumes take on the disk.
enum DiskUsageCommand {
    private static let verbose = Flag.toggle("verbose", short: "v", "Show detailed information on space usage")

    private static let kind = ListKind(
        headers: [
            "Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE",
        ],
        columns: ["Type", "TotalCount", "Active", "Size", "Reclaimable"], quietField: "Type")

    static var command: Command {
        Command(
            spellings: ["system df"], summary: "Show mycontainer disk usage", usage: "[OPTIONS]",
            options: [ListFormat.format.option, verbose.option], operands: .none
        ) { invocation in
            let usage = try invocation.engine().json(.GET, "/system/df")
            let format = invocation[ListFormat.format]
            if invocation[verbose] && (format.isEmpty || format == "table") {
                output(try details(usage))
            } else if invocation[verbose] {
                let document = document(usage)
                if format == "json" {
                    output(document.textForPages + "\n")
                } else {
                    try output(document, template: format, name: "")
                }
            } else {
                output(try kind.render(rows(usage), format: format, quiet: false))
            }
            return 0
        }
    }

    private static func row(_ type: String, _ count: Int, _ active: Int, _ size: Int64, _ free: Int64) -> ListRow {
        let share = size > 0 ? " (\(Int(Double(free) * 100 / Double(size)))%)" : ""
        return ListRow([
            "Type": type, "TotalCount": "\(count)", "Active": "\(active)", "Size": humanSize(size, digits: 4),
            "Reclaimable": humanSize(free, digits: 4) + share,
        ])
    }

    static func rows(_ usage: OrderedJSON) -> [ListRow] {
        let images = usage["Images"].elements
        let layers = usage["LayersSize"].integer ?? 0
        let usedImages = images.filter { ($0["Containers"].integer ?? 0) > 0 }
        // What images in use need themselves and share with others stays.
        let kept = usedImages.map { $0["Size"].integer ?? 0 }.clampedSum()
        let containers = usage["Containers"].elements
        let isRunning: (OrderedJSON) -> Bool = {
            ["running", "paused", "restarting"].contains(($0["State"].string ?? "").lowercased())
        }
        func written(_ list: [OrderedJSON]) -> Int64 { list.map { $0["SizeRw"].integer ?? 0 }.clampedSum() }
        let volumes = usage["Volumes"].elements
        func stored(_ list: [OrderedJSON]) -> Int64 {
            list.map { max(0, $0["UsageData"]["Size"].integer ?? 0) }.clampedSum()
        }
        let freeVolumes = volumes.filter { ($0["UsageData"]["RefCount"].integer ?? 0) == 0 }
        return [
            row("Images", images.count, usedImages.count, layers, max(0, layers &- kept)),
            row(
                "Containers", containers.count, containers.count(where: isRunning), written(containers),
                written(containers.filter { !isRunning($0) })),
            row(
                "Local Volumes", volumes.count, volumes.count - freeVolumes.count, stored(volumes),
                stored(freeVolumes)),
            // Images are not built here, so there is no cache of builds.
            row("Build Cache", 0, 0, 0, 0),
        ]
    }

    /// What `-v` shows, for templates and as JSON: nothing is cut.
    private static func document(_ usage: OrderedJSON) -> OrderedJSON {
        let now = now()
        func objects(_ rows: [ListRow]) -> OrderedJSON { .array(rows.map { .object($0.fields) }) }
        let images = usage["Images"].elements.compactMap {
            ImageRows.rows($0, truncates: false, showsDigests: false, now: now).first
        }
        let containers = usage["Containers"].elements.map {
            ContainerRows.row($0, truncates: false, showsWholeSize: false, now: now)
        }
        return .object(
            JSONObject([
                ("Images", objects(images)), ("Containers", objects(containers)),
                ("Volumes", objects(usage["Volumes"].elements.map(VolumeCommands.row))), ("BuildCache", .array([])),
            ]))
    }

    private static func details(_ usage: OrderedJSON) throws -> String {
        let now = now()
        // Each image once, under the first of its names.
        let images = usage["Images"].elements.compactMap {
            ImageRows.rows($0, truncates: true, showsDigests: false, now: now).first
        }
        let imageKind = ListKind(
            headers: ImageRows.kind(showsDigests: false).headers,
            columns: [
                "Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers",
            ], quietField: "ID")
        let containerKind = ListKind(
            headers: ContainerRows.kind.headers,
            columns: ["ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"],
            quietField: "ID")
        let volumeKind = ListKind(
            headers: VolumeCommands.kind.headers, columns: ["Name", "Links", "Size"], quietField: "Name")
        let containers = usage["Containers"].elements.map {
            ContainerRows.row($0, truncates: true, showsWholeSize: false, now: now)
        }
        return "Images space usage:\n\n" + (try imageKind.render(images, format: "", quiet: false))
            + "\nContainers space usage:\n\n" + (try containerKind.render(containers, format: "", quiet: false))
            + "\nLocal Volumes space usage:\n\n"
            + (try volumeKind.render(usage["Volumes"].elements.map(VolumeCommands.row), format: "", quiet: false))
            // Images are not built here.
            + "\nBuild cache usage: 0B\n\nCACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED\n"
    }
}
