import OCI

/// Images as rows of a list, one for each tag.
enum ImageRows {
    static func kind(showsDigests: Bool) -> ListKind {
        ListKind(
            headers: [
                "ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST",
                "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "Size": "SIZE", "VirtualSize": "SIZE",
                "Containers": "CONTAINERS", "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
            ],
            columns: ["Repository", "Tag"] + (showsDigests ? ["Digest"] : []) + ["ID", "CreatedSince", "Size"],
            quietField: "ID",
            raw: [("repository", "Repository"), ("tag", "Tag")] + (showsDigests ? [("digest", "Digest")] : [])
                + [("image_id", "ID"), ("created_at", "CreatedAt"), ("virtual_size", "Size")])
    }

    static func rows(_ image: OrderedJSON, truncates: Bool, showsDigests: Bool, now: Nanoseconds) -> [ListRow] {
        let id = image["Id"].string ?? ""
        let created = image["Created"].integer ?? 0
        let size = image["Size"].integer ?? 0
        let shared = image["SharedSize"].integer ?? -1
        let users = image["Containers"].integer ?? -1
        func row(_ repository: String, _ tag: String, _ digest: String) -> ListRow {
            ListRow([
                "ID": truncates ? shortID(id) : id, "Repository": repository, "Tag": tag, "Digest": digest,
                "CreatedSince": created > 0 ? age(ofSeconds: created, now: now) : "N/A",
                "CreatedAt": localTime(created), "Size": humanSize(size), "VirtualSize": humanSize(size, digits: 4),
                "Containers": users < 0 ? "N/A" : "\(users)",
                "SharedSize": shared < 0 ? "N/A" : humanSize(shared, digits: 4),
                "UniqueSize": shared < 0 ? "N/A" : humanSize(size &- shared, digits: 4),
            ])
        }
        func parts(_ key: String) -> [ImageReference] {
            image[key].elements.compactMap { $0.string.flatMap { try? ImageReference(parsing: $0) } }
        }
        let digests = Dictionary(grouping: parts("RepoDigests"), by: \.familiarName)
        let tags = Dictionary(grouping: parts("RepoTags"), by: \.familiarName)
        let none = "<none>"
        var rows: [ListRow] = []
        for repository in Set(tags.keys).union(digests.keys).sorted() {
            let names = (tags[repository] ?? []).compactMap(\.tag)
            let found = (digests[repository] ?? []).compactMap { $0.digest?.description }
            if names.isEmpty {
                // Pulled by digest: the name is known, a tag is not.
                rows += (showsDigests ? found : Array(found.prefix(1))).map { row(repository, none, $0) }
            } else if showsDigests {
                for name in names { rows += (found.isEmpty ? [none] : found).map { row(repository, name, $0) } }
            } else {
                rows += names.map { row(repository, $0, none) }
            }
        }
        return rows.isEmpty ? [row(none, none, none)] : rows
    }
}
