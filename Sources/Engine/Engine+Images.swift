import EngineAPI
import ImageStore
import OCI

extension Engine {
    /// Images, newest first.
    public func images(all: Bool, filters: Filters, sharedSize: Bool = false) async throws -> [ImageSummary] {
        try await perform {
            let filter = try ImageFilter(filters, self.imageStore)
            var uses: [String: Int64] = [:]
            for container in self.registry.all { uses[container.record.document.imageID, default: 0] += 1 }
            var owners: [OCI.Digest: Int] = [:]
            let everything = self.imageStore.images()
            if sharedSize {
                for image in everything { for layer in image.layers { owners[layer.chainID, default: 0] += 1 } }
            }
            return everything.filter(filter.matches).map { image in
                var summary = self.summary(image, filter: filter)
                summary.containers = uses[summary.id] ?? 0
                if sharedSize {
                    summary.sharedSize = image.layers.filter { owners[$0.chainID, default: 0] > 1 }.map(\.size)
                        .clampedSum()
                }
                return summary
            }
        }
    }

    private func summary(_ image: Image, filter: ImageFilter) -> ImageSummary {
        var summary = ImageSummary()
        summary.id = image.id.description
        summary.created = image.created / 1_000_000_000
        summary.labels = image.config.config?.labels
        summary.repoTags = image.tags.filter(filter.showsName).map(\.familiar)
        summary.repoDigests = image.digests.filter(filter.showsName).map(\.familiar)
        summary.size = image.size
        return summary
    }

    public func inspectImage(_ reference: String) async throws -> ImageInspect {
        try await perform {
            let image = try self.resolveImage(reference)
            let config = image.config
            var result = ImageInspect()
            result.id = image.id.description
            result.repoTags = image.tags.map(\.familiar)
            result.repoDigests = image.digests.map(\.familiar)
            result.comment = config.comment ?? config.history?.last?.comment ?? ""
            result.created = config.created ?? ""
            result.dockerVersion = config.dockerVersion ?? ""
            result.author = config.author ?? ""
            result.config = config.config.map(ImageConversion.config)
            result.architecture = config.architecture
            result.variant = config.variant ?? ""
            result.os = config.os
            result.osVersion = config.osVersion ?? ""
            result.size = image.size
            result.graphDriver.name = Engine.storageDriver
            let directories = self.imageStore.lowerDirectories(of: image)
            var data = ["UpperDir": directories[0]]
            if directories.count > 1 { data["LowerDir"] = directories.dropFirst().joined(separator: ":") }
            result.graphDriver.data = data
            result.rootFS.layers = (config.rootfs.diffIDs ?? []).map(\.description)
            result.metadata.lastTagTime = Timestamp.format(image.lastTagged)
            return result
        }
    }

    public func imageHistory(_ reference: String) async throws -> [ImageHistoryItem] {
        try await perform {
            let image = try self.resolveImage(reference)
            return self.imageStore.history(of: image).map { entry in
                var item = EngineAPI.ImageHistoryItem()
                item.id = entry.id?.description ?? "<missing>"
                item.created = entry.created / 1_000_000_000
                item.createdBy = entry.createdBy
                item.comment = entry.comment
                item.size = entry.size
                item.tags = entry.tags.isEmpty ? nil : entry.tags
                return item
            }
        }
    }

    public func tagImage(_ source: String, repository: String, tag: String) async throws {
        try await perform {
            let image = try self.resolveImage(source)
            let repositoryAlone = try ImageReference(parsing: repository)
            guard tag.isEmpty || (try? repositoryAlone.withTag(tag)) != nil else {
                throw EngineError.invalid("invalid tag format")
            }
            let reference = tag.isEmpty ? repositoryAlone : try repositoryAlone.withTag(tag)
            guard repositoryAlone.digest == nil else {
                throw EngineError.invalid("cannot import digest reference")
            }
            try await self.imageStore.tag(image, as: reference.withDefaultTag)
            self.postImage(image, "tag", name: reference.withDefaultTag.familiar)
        }
    }

    /// Removes a name or an image. What a container stands on is refused in dockerd's words.
    public func removeImage(_ reference: String, force: Bool, prune: Bool) async throws -> [ImageDeleteItem] {
        try await perform {
            let image = try self.resolveImage(reference)
            let removals = try await self.imageStore.remove(reference, force: force, users: self.imageUsers)
            self.postRemovals(removals, of: image, among: [image.id.description])
            return removals.map(ImageConversion.item)
        }
    }

    @Sendable private func imageUsers(_ id: OCI.Digest) -> [ImageUser] {
        let text = id.description
        return registry.all.map(\.record).filter { $0.document.imageID == text }.map { record in
            ImageUser(containerID: record.id, running: record.lifecycle.isRunning || record.lifecycle.isRestarting)
        }
    }

    /// Layers are reported to the client, but only images are events.
    private func postRemovals(_ removals: [ImageRemoval], of image: Image?, among images: Set<String>) {
        for removal in removals {
            switch removal {
            case .untagged(let name):
                var attributes = image?.config.config?.labels ?? [:]
                attributes["name"] = image?.id.description ?? name
                eventBus.post(type: "image", action: "untag", id: attributes["name"] ?? "", attributes: attributes)
            case .deleted(let id) where images.contains(id):
                eventBus.post(type: "image", action: "delete", id: id, attributes: ["name": id])
            case .deleted: break
            }
        }
    }

    func postImage(_ image: Image, _ action: String, name: String) {
        var attributes = image.config.config?.labels ?? [:]
        attributes["name"] = name
        eventBus.post(
            type: "image", action: action, id: action == "pull" ? name : image.id.description, attributes: attributes)
    }

    /// Pulls from the registry directories. `progress` is called on any thread, in order.
    public func pullImage(
        _ reference: String, progress: @escaping @Sendable (ProgressMessage) -> Void
    ) async throws {
        try await perform {
            let parsed = try ImageReference(parsing: reference)
            let image = try await self.imageStore.pull(parsed, from: self.configuration.registries) { line in
                progress(ImageConversion.progress(line))
            }
            self.postImage(image, "pull", name: parsed.withDefaultTag.familiar)
        }
    }

    /// Loads a `docker save` archive or an OCI layout, tar, possibly compressed, read from `descriptor` to its end.
    public func loadImages(
        from descriptor: Int32, progress: @escaping @Sendable (ProgressMessage) -> Void
    ) async throws {
        try await perform {
            let names = try await self.imageStore.load(from: descriptor) { line in
                // dockerd knows one step of a layer here, and says nothing of those that it has.
                guard line.current != nil else { return }
                var line = line
                line.status = "Loading layer"
                progress(ImageConversion.progress(line))
            }
            var told: Set<OCI.Digest> = []
            for name in names {
                let isID = name.hasPrefix("sha256:")
                progress(ProgressMessage(stream: "Loaded image\(isID ? " ID" : ""): \(name)\n"))
                if let image = try? self.imageStore.resolve(name), told.insert(image.id).inserted {
                    self.postImage(image, "load", name: image.id.description)
                }
            }
        }
    }

    /// Writes the images as a tar archive to `descriptor`.
    public func saveImages(_ names: [String], to descriptor: Int32) async throws {
        try await perform {
            let images = try names.map { name in
                do {
                    return try self.resolveImage(name)
                } catch let error as EngineError where error.kind == .notFound {
                    throw EngineError.notFound("No such image: \(name)")
                }
            }
            try await self.imageStore.save(names, to: descriptor)
            var told: Set<OCI.Digest> = []
            for image in images where told.insert(image.id).inserted {
                self.postImage(image, "save", name: image.id.description)
            }
        }
    }

    /// Makes an image of one layer out of a tar stream, possibly compressed. `changes` are Dockerfile instructions for its
    /// configuration. Returns its id.
    public func importImage(
        from descriptor: Int32, repository: String, tag: String, message: String, changes: [String],
        progress: @escaping @Sendable (ProgressMessage) -> Void
    ) async throws -> String {
        try await perform {
            var reference: ImageReference?
            if !repository.isEmpty {
                reference = try ImageReference(parsing: tag.isEmpty ? repository : "\(repository):\(tag)")
                    .withDefaultTag
            }
            let config = try ConfigChanges.apply(changes, to: ContainerConfig())
            let image = try await self.imageStore.importLayer(
                from: descriptor, reference: reference, config: OCI.ImageConfig.Execution(config), message: message
            ) { line in progress(ImageConversion.progress(line)) }
            if let reference { self.postImage(image, "tag", name: reference.familiar) }
            self.postImage(image, "import", name: image.id.description)
            return image.id.description
        }
    }

    public func pruneImages(filters: Filters) async throws -> ImagesPruneReport {
        try await perform {
            if let unknown = filters.firstUnknown(["dangling", "label", "label!", "until"]) {
                throw EngineError.invalid("invalid filter '\(unknown)'")
            }
            let until = try PruneRules.until(filters)
            let danglingOnly = try filters.flag("dangling") ?? true
            let before = Set(self.imageStore.images().map(\.id.description))
            let result = try await self.imageStore.prune(
                all: !danglingOnly,
                matching: { image in
                    image.created < until && PruneRules.labels(filters, image.config.config?.labels ?? [:])
                }, users: self.imageUsers)
            self.postRemovals(result.removed, of: nil, among: before)
            self.eventBus.post(
                type: "image", action: "prune", id: "", attributes: ["reclaimed": String(result.bytes)])
            var report = ImagesPruneReport()
            report.imagesDeleted = result.removed.map(ImageConversion.item)
            report.spaceReclaimed = UInt64(max(0, result.bytes))
            return report
        }
    }
}

/// The store's values in the API's terms.
enum ImageConversion {
    static func item(_ removal: ImageRemoval) -> ImageDeleteItem {
        switch removal {
        case .untagged(let name): return .untagged(name)
        case .deleted(let id): return .deleted(id)
        }
    }

    static func progress(_ line: ImageProgress) -> ProgressMessage {
        // dockerd has an empty one where a layer's step has no bar.
        var detail = line.isLayer ? ProgressMessage.Detail() : nil
        if let current = line.current { detail = ProgressMessage.Detail(current: current, total: line.total ?? 0) }
        return ProgressMessage(status: line.status, id: line.id ?? "", detail: detail)
    }

    static func config(_ image: OCI.ImageConfig.Execution) -> EngineAPI.ImageConfig {
        var config = EngineAPI.ImageConfig()
        config.user = image.user ?? ""
        config.exposedPorts = image.exposedPorts.map { $0.mapValues { _ in .init() } }
        config.env = image.env
        config.entrypoint = image.entrypoint?.values
        config.cmd = image.cmd?.values
        config.volumes = image.volumes.map { $0.mapValues { _ in .init() } }
        config.workingDir = image.workingDir ?? ""
        config.labels = image.labels
        config.stopSignal = image.stopSignal ?? ""
        config.argsEscaped = image.argsEscaped ?? false
        config.healthcheck = image.healthcheck.map(HealthConfig.init)
        config.onBuild = image.onBuild
        config.shell = image.shell?.values
        return config
    }
}

/// `images --filter`.
struct ImageFilter: Sendable {
    private let filters: Filters
    private let dangling: Bool?
    private let before: Int64?
    private let since: Int64?
    private let until: Int64?

    init(_ filters: Filters, _ store: ImageStore) throws {
        let known: Set<String> = ["before", "dangling", "label", "reference", "since", "until"]
        if let unknown = filters.firstUnknown(known) { throw EngineError.invalid("invalid filter '\(unknown)'") }
        self.filters = filters
        for pattern in filters["reference"] { try Glob.check(pattern) }
        dangling = try filters.flag("dangling")
        before = try filters["before"].map { try store.resolve($0).created }.min()
        since = try filters["since"].map { try store.resolve($0).created }.max()
        until = filters.contains("until") ? try PruneRules.until(filters) : nil
    }

    func matches(_ image: Image) -> Bool {
        if let dangling, image.tags.isEmpty != dangling { return false }
        if let before, image.created >= before { return false }
        if let since, image.created <= since { return false }
        if let until, image.created >= until { return false }
        guard filters.matchesLabels("label", image.config.config?.labels ?? [:]) else { return false }
        return filters["reference"].isEmpty || (image.tags + image.digests).contains(where: showsName)
    }

    /// Whether a name passes the `reference` patterns.
    func showsName(_ reference: ImageReference) -> Bool {
        let patterns = filters["reference"]
        if patterns.isEmpty { return true }
        let candidates = [
            reference.familiar, reference.familiarName, reference.description, reference.name,
        ]
        return patterns.contains { pattern in candidates.contains { Glob.matches(pattern, $0) } }
    }
}

/// Go's `path.Match`: `*` and `?` stop at slashes, `[a-z]` and `[^a-z]` are classes, `\\` takes what follows as it is.
enum Glob {
    static func matches(_ pattern: String, _ text: String) -> Bool {
        matches(Array(pattern.utf8)[...], Array(text.utf8)[...])
    }

    /// - Throws: for a class that is not closed and an escape of nothing.
    static func check(_ pattern: String) throws(EngineError) {
        var rest = Array(pattern.utf8)[...]
        while let first = rest.first {
            guard let next = step(rest, matching: nil) else {
                guard first == UInt8(ascii: "*") || first == UInt8(ascii: "?") else {
                    throw .invalid("syntax error in pattern")
                }
                rest = rest.dropFirst()
                continue
            }
            rest = next.rest
        }
    }

    private static func matches(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
        guard let first = pattern.first else { return text.isEmpty }
        if first == UInt8(ascii: "*") {
            var rest = text
            while true {
                if matches(pattern.dropFirst(), rest) { return true }
                guard let next = rest.first, next != UInt8(ascii: "/") else { return false }
                rest = rest.dropFirst()
            }
        }
        guard let byte = text.first else { return false }
        if first == UInt8(ascii: "?") {
            return byte != UInt8(ascii: "/") && matches(pattern.dropFirst(), text.dropFirst())
        }
        guard let (rest, isMatch) = step(pattern, matching: byte), isMatch else { return false }
        return matches(rest, text.dropFirst())
    }

    /// Takes a byte, an escaped byte or a class off the pattern, and says whether it stands for `byte`; nil where it is
    /// none of them, or malformed.
    private static func step(
        _ pattern: ArraySlice<UInt8>, matching byte: UInt8?
    ) -> (rest: ArraySlice<UInt8>, isMatch: Bool)? {
        var rest = pattern
        guard let first = rest.popFirst() else { return nil }
        switch first {
        case UInt8(ascii: "*"), UInt8(ascii: "?"): return nil
        case UInt8(ascii: "\\"):
            guard let literal = rest.popFirst() else { return nil }
            return (rest, literal == byte)
        case UInt8(ascii: "["):
            let isNegated = rest.first == UInt8(ascii: "^")
            if isNegated { rest = rest.dropFirst() }
            var isMatch = false
            var isEmpty = true
            while let low = rest.popFirst(), low != UInt8(ascii: "]") || isEmpty {
                isEmpty = false
                var high = low
                if rest.first == UInt8(ascii: "-"), let end = rest.dropFirst().first, end != UInt8(ascii: "]") {
                    high = end
                    rest = rest.dropFirst(2)
                }
                if let byte, low <= byte, byte <= high { isMatch = true }
                if rest.isEmpty { return nil }
            }
            return isEmpty ? nil : (rest, isMatch != isNegated && byte != UInt8(ascii: "/"))
        default: return (rest, first == byte)
        }
    }
}
