import EngineAPI
import OCI

/// `images`: list images.
enum ImagesCommand {
    private static let all = Flag.toggle("all", short: "a", "Show all images (default hides intermediate images)")
    private static let digests = Flag.toggle("digests", "Show digests")
    private static let filter = Flag.filter()

    static var command: Command {
        Command(
            spellings: ["images", "image ls", "image list"], summary: "List images",
            usage: "[OPTIONS] [REPOSITORY[:TAG]]",
            options: [
                all.option, digests.option, filter.option, ListFormat.format.option, ListFormat.noTruncation.option,
                ListFormat.quiet.option,
            ],
            operands: .atMost(1), completion: .images
        ) { invocation in
            var filters = invocation[filter]
            if let reference = invocation.operands.first { filters.add("reference", reference) }
            let images = try invocation.engine().json(
                .GET, "/images/json", ["all": invocation[all] ? "1" : nil, "filters": filters.query])
            let format = invocation.format("imagesFormat", quiet: invocation[ListFormat.quiet])
            let showsDigests = invocation[digests] || format.contains("{{.Digest}}")
            let now = now()
            let rows = images.elements.flatMap {
                ImageRows.rows(
                    $0, truncates: !invocation[ListFormat.noTruncation], showsDigests: showsDigests, now: now)
            }
            output(
                try ImageRows.kind(showsDigests: invocation[digests]).render(
                    rows, format: format, quiet: invocation[ListFormat.quiet]))
            return 0
        }
    }
}

/// `rmi`: remove images.
enum RemoveImageCommand {
    private static let force = Flag.toggle("force", short: "f", "Force removal of the image")
    private static let noPrune = Flag.toggle("no-prune", "Do not delete untagged parents")
    private static let platforms = Flag.list(
        "platform", type: "strings",
        "Remove only the given platform variant. Formatted as `os[/arch[/variant]]` (e.g., "
            + "`linux/amd64`)")

    static var command: Command {
        Command(
            spellings: ["rmi", "image rm", "image remove"], summary: "Remove one or more images",
            usage: "[OPTIONS] IMAGE [IMAGE...]", options: [force.option, noPrune.option, platforms.option],
            operands: .atLeast(1), completion: .images
        ) { invocation in
            let platforms = try HistoryCommand.platformDocuments(invocation[platforms])
            let query: EngineClient.Query = [
                "force": invocation[force] ? "1" : nil, "noprune": invocation[noPrune] ? "1" : nil,
            ]
            let engine = try invocation.engine()
            var failures: [String] = []
            for name in invocation.operands {
                do {
                    let items = try engine.json(
                        .DELETE, "/images/\(pathPart(name))",
                        query.adding("platforms", platforms))
                    for item in items.elements {
                        if let id = item["Deleted"].string, !id.isEmpty { output("Deleted: \(id)\n") }
                        if let tag = item["Untagged"].string, !tag.isEmpty { output("Untagged: \(tag)\n") }
                    }
                } catch let error as DaemonError {
                    if error.isNotFound && invocation[force] {
                        complain("\(error)")
                    } else {
                        failures.append("\(error)")
                    }
                }
            }
            return try LifecycleCommands.finish(failures)
        }
    }
}

/// `tag`: give an image another name.
enum TagCommand {
    static var command: Command {
        Command(
            spellings: ["tag", "image tag"], summary: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
            usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", operands: .exactly(2), completion: .images
        ) { invocation in
            let target: ImageReference
            do {
                target = try imageReference(invocation.operands[1])
            } catch {
                throw CommandFailure(
                    "Error parsing reference: \(quoted(invocation.operands[1])) is not a valid repository/tag: "
                        + sentence(error))
            }
            if target.digest != nil { throw CommandFailure("refusing to create a tag with a digest reference") }
            try invocation.engine().call(
                .POST, "/images/\(pathPart(invocation.operands[0]))/tag",
                ["repo": target.name, "tag": target.withDefaultTag.tag])
            return 0
        }
    }
}

/// `history`: the layers of an image and what made them.
enum HistoryCommand {
    private static let human = Flag.toggle(
        "human", short: "H", "Print sizes and dates in human readable format", initially: true)

    private static func kind(isHuman: Bool) -> ListKind {
        ListKind(
            headers: [
                "ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY",
                "Size": "SIZE", "Comment": "COMMENT",
            ],
            columns: ["ID", isHuman ? "CreatedSince" : "CreatedAt", "CreatedBy", "Size", "Comment"], quietField: "ID")
    }

    static var command: Command {
        Command(
            spellings: ["history", "image history"], summary: "Show the history of an image", usage: "[OPTIONS] IMAGE",
            options: [
                ListFormat.format.option, human.option, ListFormat.noTruncation.option, ListFormat.quiet.option,
                ContainerCreation.platform.option,
            ],
            operands: .exactly(1), completion: .images
        ) { invocation in
            let platform = invocation[ContainerCreation.platform]
            let layers = try invocation.engine().json(
                .GET, "/images/\(pathPart(invocation.operands[0]))/history",
                ["platform": platform.isEmpty ? nil : try platformDocument(platform)])
            let truncates = !invocation[ListFormat.noTruncation]
            let isHuman = invocation[human]
            let now = now()
            let rows = layers.elements.map { layer in
                let id = layer["Id"].string ?? ""
                let created = layer["Created"].integer ?? 0
                let size = layer["Size"].integer ?? 0
                let text = (layer["CreatedBy"].string ?? "").map { $0 == "\t" ? " " : String($0) }.joined()
                let time = localTimestamp(ofSeconds: created)
                return ListRow([
                    "ID": truncates ? shortID(id) : id,
                    "CreatedSince": !isHuman ? time : created > 0 ? age(ofSeconds: created, now: now) : "N/A",
                    "CreatedAt": time, "CreatedBy": truncates ? ellipsis(text, 45) : text,
                    "Size": isHuman ? humanSize(size) : "\(size)", "Comment": layer["Comment"].string ?? "",
                ])
            }
            output(
                try kind(isHuman: isHuman).render(
                    rows, format: invocation[ListFormat.format], quiet: invocation[ListFormat.quiet]))
            return 0
        }
    }

    /// Comma-separated platforms, each as the API takes it.
    static func platformDocuments(_ words: [String]) throws(CommandFailure) -> [String] {
        var documents: [String] = []
        for word in words.flatMap({ $0.split(byte: ",") }) { documents.append(try platformDocument(String(word))) }
        return documents
    }

    /// `linux/arm64/v8` as the API takes it.
    static func platformDocument(_ text: String) throws(CommandFailure) -> String {
        let parts = text.split(byte: "/").map(String.init)
        guard (2...3).contains(parts.count) else {
            throw CommandFailure("invalid platform \(quoted(text)): write it as os/architecture[/variant]")
        }
        var members: [(String, OrderedJSON)] = [("os", .string(parts[0])), ("architecture", .string(parts[1]))]
        if parts.count == 3 { members.append(("variant", .string(parts[2]))) }
        return OrderedJSON.object(JSONObject(members)).text
    }
}
