import EngineAPI
import Glibc
import ImageStore
import LinuxKernel
import OCI

/// What a commit is asked to make of a container.
public struct CommitOptions: Sendable {
    /// The image's name; empty: it gets none.
    public var repository = ""
    /// Empty: `latest`.
    public var tag = ""
    public var comment = ""
    public var author = ""
    /// Whether a running container is frozen meanwhile, so that its files agree with each other.
    public var pause = true
    /// Dockerfile instructions for the configuration.
    public var changes: [String] = []
    /// In the place of the container's own configuration.
    public var config: ContainerConfig?

    public init() {}
}

extension Engine {
    /// Makes an image of a container's file system, without what is mounted in it, and configuration. Returns its id.
    ///
    /// - Throws: `conflict` for a container that is being removed, `notFound` where the image that it was made from is
    ///   gone, `invalidParameter` for a name or change that makes no sense.
    public func commitContainer(_ id: String, _ options: CommitOptions) async throws -> String {
        let container = try registry.resolve(id)
        return try await perform {
            var reference: ImageReference?
            if !options.repository.isEmpty {
                let name = options.tag.isEmpty ? options.repository : "\(options.repository):\(options.tag)"
                reference = try ImageReference(parsing: name).withDefaultTag
            }
            let name = reference
            // Nothing starts, stops or renames it meanwhile; a kill need not wait.
            let (record, image) = try await container.queue.run {
                try await self.commit(container, options, as: name)
            }
            let imageID = image.id.description
            self.postImage(image, "create", name: imageID)
            if let name { self.postImage(image, "tag", name: name.familiar) }
            self.post(
                record, "commit",
                extra: ["comment": options.comment, "imageID": imageID, "imageRef": name?.familiar ?? ""])
            return imageID
        }
    }

    private func commit(
        _ container: Container, _ options: CommitOptions, as name: ImageReference?
    ) async throws -> (ContainerRecord, Image) {
        let record = container.record
        switch record.lifecycle {
        case .dead: throw EngineError.conflict("You cannot commit container \(record.id) which is Dead")
        case .removing: throw EngineError.conflict("You cannot commit container \(record.id) which is being removed")
        default: break
        }
        if container.isRemoved { throw EngineError.notFound("No such container: \(record.id)") }
        guard let imageID = try? OCI.Digest(parsing: record.document.imageID), let base = imageStore.image(imageID)
        else {
            throw EngineError.notFound(
                "No such image: \(record.document.imageID): container \(record.id) was made from it, and it has been "
                    + "removed; export the container and import that as an image instead")
        }
        var config = try ConfigChanges.apply(options.changes, to: options.config ?? record.config)
        config = ConfigRules.merge(config, over: OCI.ImageConfig.Execution(record.config))
        try ConfigRules.validate(&config)
        let description = CommitDescription(
            config: OCI.ImageConfig.Execution(config), author: options.author, comment: options.comment,
            createdBy: (record.config.cmd ?? []).joined(separator: " "))
        // The overlay's files are those of its upper directory, so that is where they are read, mounted or not.
        let upper = paths.container(record.id) + "/upper"
        let frozen = options.pause ? try freezeForCommit(container) : false
        defer { if frozen { thawAfterCommit(container) } }
        let image = try await imageStore.commit(over: base, description, reference: name) { descriptor in
            let packer = TarPacker(output: descriptor, purpose: .layer)
            let directory = try FileDescriptor(upper, O_RDONLY | O_DIRECTORY)
            try packer.addContents(of: directory.raw)
            try packer.finish()
        }
        return (record, image)
    }

    /// Pauses a container that runs. That is not written down: should the daemon die meanwhile, the next one finds it
    /// frozen without being paused, and lets it go on.
    private func freezeForCommit(_ container: Container) throws -> Bool {
        guard case .running = container.lifecycle else { return false }
        do {
            try cgroup(container).freeze()
        } catch {
            // It has ended meanwhile, which is as good.
            if container.lifecycle.run == nil { return false }
            throw error
        }
        container.update { record in
            if case .running(let run) = record.status.lifecycle { record.status.lifecycle = .paused(run) }
        }
        container.setHealthChecks(nil)
        post(container.record, "pause")
        return true
    }

    private func thawAfterCommit(_ container: Container) {
        do {
            try cgroup(container).thaw()
        } catch {
            // A container that was killed has no group any more.
            if container.lifecycle.isPaused { log("container \(container.id) could not be unpaused: \(error)") }
        }
        let runs = container.update { record in
            guard case .paused(let run) = record.status.lifecycle else { return false }
            record.status.lifecycle = .running(run)
            return true
        }
        guard runs else { return }
        post(container.record, "unpause")
        checkHealth(container)
    }
}

extension OCI.ImageConfig.Execution {
    /// What of a container's configuration is an image's: not what belongs to one container, as its name and terminal.
    init(_ config: ContainerConfig) {
        func set(_ map: [String: EngineAPI.EmptyObject]?) -> [String: OCI.EmptyObject]? {
            map.flatMap { $0.isEmpty ? nil : $0.mapValues { _ in .init() } }
        }
        self.init(
            user: config.user.isEmpty ? nil : config.user, exposedPorts: set(config.exposedPorts), env: config.env,
            entrypoint: config.entrypoint.map(StringOrList.init), cmd: config.cmd.map(StringOrList.init),
            volumes: set(config.volumes), workingDir: config.workingDir.isEmpty ? nil : config.workingDir,
            labels: config.labels.flatMap { $0.isEmpty ? nil : $0 },
            stopSignal: config.stopSignal.isEmpty ? nil : config.stopSignal, stopTimeout: config.stopTimeout,
            healthcheck: config.healthcheck.map { health in
                OCI.ImageConfig.Healthcheck(
                    test: health.test, interval: nonZero(health.interval), timeout: nonZero(health.timeout),
                    startPeriod: nonZero(health.startPeriod), startInterval: nonZero(health.startInterval),
                    retries: health.retries == 0 ? nil : health.retries)
            }, onBuild: config.onBuild, shell: config.shell.map(StringOrList.init),
            argsEscaped: config.argsEscaped ? true : nil)
    }
}

private func nonZero(_ value: Int) -> Int64? { value == 0 ? nil : Int64(value) }
