/// Containers as rows of a list.
enum ContainerRows {
    static let kind = ListKind(
        headers: [
            "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT",
            "RunningFor": "CREATED", "Status": "STATUS", "State": "STATE", "Ports": "PORTS", "Names": "NAMES",
            "Size": "SIZE", "Labels": "LABELS", "Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES",
            "Networks": "NETWORKS", "Platform": "PLATFORM",
        ],
        columns: ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"], quietField: "ID",
        raw: [
            ("container_id", "ID"), ("image", "Image"), ("command", "Command"), ("created_at", "CreatedAt"),
            ("state", "State"), ("status", "Status"), ("names", "Names"), ("labels", "Labels"), ("ports", "Ports"),
        ])

    static func row(_ container: OrderedJSON, truncates: Bool, showsWholeSize: Bool = true, now: Nanoseconds)
        -> ListRow
    {
        let id = container["Id"].string ?? ""
        let created = container["Created"].integer ?? 0
        let mounts = container["Mounts"].elements
        let command = container["Command"].string ?? ""
        let names = container["Names"].elements.compactMap(\.string).map {
            $0.hasPrefix(bytes: "/") ? String($0.dropFirst()) : $0
        }
        let mountNames = mounts.map { mount in
            let name = mount["Name"].string ?? ""
            let text = name.isEmpty ? mount["Source"].string ?? "" : name
            return truncates ? ellipsis(text, 15) : text
        }
        let labels = container["Labels"].members
        let size = humanSize(container["SizeRw"].integer ?? 0)
        let whole = showsWholeSize ? container["SizeRootFs"].integer ?? 0 : 0
        return ListRow(
            [
                "ID": truncates ? shortID(id) : id,
                "Image": image(container, truncates: truncates),
                "Command": quoted(truncates ? ellipsis(command, 20) : command),
                "CreatedAt": localTime(created),
                "RunningFor": age(ofSeconds: created, now: now),
                "Status": container["Status"].string ?? "",
                "State": container["State"].string ?? "",
                "Ports": ports(container["Ports"].elements),
                // Names with a slash are links that others have to this container.
                "Names": (truncates ? names.filter { !$0.contains("/") } : names).joined(separator: ","),
                "Size": whole > 0 ? "\(size) (virtual \(humanSize(whole)))" : size,
                "Labels": labelText(labels),
                "Mounts": mountNames.joined(separator: ","),
                "LocalVolumes": "\(mounts.count { $0["Driver"].string == "local" })",
                "Networks": container["NetworkSettings"]["Networks"].members.map(\.key).sorted().joined(separator: ","),
            ], others: ["Platform": container["ImageManifestDescriptor"]["platform"]],
            methods: ListRow.labelMethod { labels })
    }

    private static func image(_ container: OrderedJSON, truncates: Bool) -> String {
        let image = container["Image"].string ?? ""
        if image.isEmpty { return "<no image>" }
        // The image's name was taken away: what is left is its id.
        if truncates, image.hasPrefix("sha256:") || image == container["ImageID"].string { return shortID(image) }
        return image
    }

    /// The ports as docker shows them, neighbours joined to ranges: `0.0.0.0:80-81->80-81/tcp, 90/tcp`.
    static func ports(_ ports: [OrderedJSON]) -> String {
        struct Entry {
            let address: String
            let inside: Int64
            let outside: Int64
            let transport: String
        }
        let entries = ports.map {
            Entry(
                address: $0["IP"].string ?? "", inside: $0["PrivatePort"].integer ?? 0,
                outside: $0["PublicPort"].integer ?? 0, transport: $0["Type"].string ?? "tcp")
        }.sorted {
            ($0.inside, $0.address, $0.outside, $0.transport) < ($1.inside, $1.address, $1.outside, $1.transport)
        }
        var published: [String] = []
        var exposed: [String] = []
        var ranges: [(first: Entry, last: Entry)] = []
        for entry in entries {
            let index = ranges.firstIndex { range in
                range.last.address == entry.address && range.last.transport == entry.transport
                    && range.last.inside &+ 1 == entry.inside
                    && (entry.outside == 0 ? range.last.outside == 0 : range.last.outside &+ 1 == entry.outside)
            }
            if let index { ranges[index].last = entry } else { ranges.append((entry, entry)) }
        }
        for (first, last) in ranges {
            func span(_ low: Int64, _ high: Int64) -> String { low == high ? "\(low)" : "\(low)-\(high)" }
            let inside = span(first.inside, last.inside) + "/\(first.transport)"
            if first.outside == 0 {
                exposed.append(inside)
            } else {
                let address = first.address.contains(":") ? "[\(first.address)]" : first.address
                let outside = span(first.outside, last.outside)
                published.append("\(address.isEmpty ? "" : address + ":")\(outside)->\(inside)")
            }
        }
        return (published + exposed).joined(separator: ", ")
    }
}

/// Labels as `a=1,b=2`, sorted.
func labelText(_ labels: [(key: String, value: OrderedJSON)]) -> String {
    labels.map { "\($0.key)=\($0.value.string ?? "")" }.sorted().joined(separator: ",")
}
