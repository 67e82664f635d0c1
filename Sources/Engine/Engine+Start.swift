import ContainerLog
import EngineAPI
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

typealias MonitorSeccomp = LaunchDocument.SeccompProgram

extension Engine {
    /// Starts a container. `notModified` when it runs already.
    public func startContainer(_ id: String) async throws {
        let container = try registry.resolve(id)
        try await perform {
            try await container.queue.run {
                container.setRestart(nil)
                try await self.start(container, isAutomatic: false)
            }
        }
    }

    /// Starts a container; the caller holds its queue.
    func start(_ container: Container, isAutomatic: Bool) async throws {
        guard !isStopping.load(ordering: .acquiring) else {
            throw EngineError(.unavailable, "the daemon is stopping")
        }
        if container.isRemoved { throw EngineError.notFound("No such container: \(container.id)") }
        let before = container.record
        switch before.lifecycle {
        case .running: throw EngineError(.notModified, "container \(before.id) is already running")
        case .paused:
            throw EngineError.conflict("cannot start a paused container, try unpause instead")
        case .removing:
            throw EngineError.conflict("container is marked for removal and cannot be started")
        case .dead: throw EngineError.conflict("container is marked for removal and cannot be started")
        case .created, .starting, .restarting, .exited: break
        }
        // The last run's monitor may still be cleaning up what this run is about to make.
        await container.activeRun?.supervision.value
        container.setActiveRun(nil)
        container.removeExecs()

        container.setBegun(Clock.monotonic())
        container.update { record in
            record.status.lifecycle = .starting(since: Clock.wall())
            record.status.stoppedByUser = false
            record.status.health = HealthCheck(record.config).map { _ in HealthStatus(after: record.status.health) }
            if !isAutomatic {
                record.status.restartCount = 0
                record.status.backoff = RestartBackoff()
            }
        }
        let record = container.record
        do {
            let run = try await launch(container, record)
            let isNews = container.update { record -> Bool in
                // A short program may have ended by now: then its exit has been recorded, and stays.
                guard record.status.lifecycle.isStarting else { return false }
                record.status.lifecycle = .running(run)
                record.status.hasBeenStarted = true
                return true
            }
            if isNews {
                post(record, "start", time: run.startedAt)
                persistStatusSoon(container)
                checkHealth(container)
            }
        } catch {
            try await startFailed(container, error)
        }
    }

    /// Writes the bundle and lets a monitor carry it. Returns when the user's program has been executed.
    private func launch(_ container: Container, _ record: ContainerRecord) async throws -> Lifecycle.Run {
        let bundle = paths.bundle(record.id)
        let waiting = container.takeWaitingAttachments()
        let modes = try NamespaceModes(record.hostConfig)
        let userNamespace = try userNamespace(of: record)
        for other in modes.neededContainers + userNamespace.neededContainers {
            let needed = try registry.resolve(other)
            guard needed.lifecycle.run != nil else {
                throw EngineError.conflict("cannot join network of a non running container: \(needed.id)")
            }
        }
        defer { replenishment.started(replenish) }
        let network = try await reserveNetworks(container, record, owner: try owner(userNamespace))
        container.setNetwork(network)
        try holdVolumes(of: record)
        let networkFiles = try networkFiles(record, modes)
        let specification = try self.specification(
            record, modes: modes, userNamespace: userNamespace, networkFiles: networkFiles,
            sandbox: network?.state.sandbox
        ) {
            other throws(EngineError) in
            guard let run = try self.registry.resolve(other).lifecycle.run else {
                throw .conflict("container \(other) is not running")
            }
            return run.pid
        }
        try labelNetworkFiles(record, in: networkFiles)
        let document = try launchDocument(record, bundle)
        try writeBundle(bundle, specification, document)
        let namespaces = specification.linux?.namespaces ?? []
        let ownNetwork =
            namespaces.contains { $0.type == "network" && $0.path == nil } && !namespaces.contains { $0.type == "user" }
        let client = try startMonitor(container, bundle, ownNetwork: ownNetwork, waiting)
        let root: OwnedDescriptor?
        do {
            // While the monitor reads its bundle and prepares what it can.
            root = mountedLayers(document, specification)
            if let network { try joinNetworks(container, record, network) }
        } catch {
            _ = try? client.send(.abandon)
            throw error
        }
        let order = try client.send(.start, descriptor: root?.raw)
        withExtendedLifetime(consume root) {}
        let reply = try await client.reply(to: order)
        switch reply.body {
        case .started(let pid, let startedAt):
            return Lifecycle.Run(pid: pid, startedAt: startedAt)
        case .failed(let failure): throw failure
        default: throw EngineError.internal("the container's monitor gave an answer that makes no sense")
        }
    }

    /// The container's root, mounted here, on a processor that would wait for the monitor otherwise. nil where that is
    /// the monitor's: for user namespaces, labels and old kernels; and where it fails, since the monitor then says why.
    private func mountedLayers(_ document: LaunchDocument, _ specification: RuntimeSpec) -> OwnedDescriptor? {
        guard let linux = specification.linux, linux.mountLabel == nil, let overlay = document.overlay,
            linux.namespaces?.contains(where: { $0.type == "user" }) == false, LaunchDocument.Overlay.isSupported,
            let mount = try? overlay.mounted(label: nil)
        else { return nil }
        return OwnedDescriptor(mount)
    }

    /// Starts the monitor, which prepares itself and waits for the word.
    private func startMonitor(
        _ container: Container, _ bundle: String, ownNetwork: Bool, _ waiting: [WaitingAttachment]
    ) throws -> MonitorClient {
        if let client = try forkMonitor(container, bundle, ownNetwork: ownNetwork, waiting) { return client }
        let (client, monitorEnd) = try openChannel(container, waiting)
        let pid = try launcher.spawn(bundle: bundle, channel: monitorEnd.raw)
        try supervise(container, client, monitor: pid)
        withExtendedLifetime(monitorEnd) {}
        return client
    }

    /// nil where the zygote can't. One that died may have forked before: that monitor hears the end of this channel, and
    /// goes, so another one gets a channel of its own.
    private func forkMonitor(
        _ container: Container, _ bundle: String, ownNetwork: Bool, _ waiting: [WaitingAttachment]
    ) throws -> MonitorClient? {
        let (client, monitorEnd) = try openChannel(container, waiting)
        guard launcher.fork(bundle: bundle, ownNetwork: ownNetwork, channel: monitorEnd.raw) else { return nil }
        try supervise(container, client, monitor: nil)
        withExtendedLifetime(monitorEnd) {}
        return client
    }

    /// A channel to a monitor that is about to be started, and the monitor's end. Ours of that is closed when the monitor
    /// has it: as long as it was open, the end of a monitor that is killed would go unheard.
    private func openChannel(
        _ container: Container, _ waiting: [WaitingAttachment]
    ) throws -> (MonitorClient, OwnedDescriptor) {
        let pair = try MonitorChannel.pair()
        let (client, monitorEnd) = pair.split { daemon, monitor in
            (monitorClient(daemon, of: container), OwnedDescriptor(monitor.release()))
        }
        _ = try client.send(.hello(version: MonitorProtocol.version))
        for attachment in waiting {
            _ = try client.send(.attach(attachment.streams), descriptor: attachment.descriptor.raw)
        }
        return (client, monitorEnd)
    }

    /// A start that failed: the container goes back to `created` with the reason, or away when it was `--rm`.
    private func startFailed(_ container: Container, _ error: any Error) async throws {
        let failure = error as? StartFailure
        let engineError = failure.map(EngineError.init) ?? EngineError(wrapping: error)
        // 126 and 127 as a shell would say it; 128 is dockerd's code for what is not the program's fault.
        let code: Int32 =
            switch (failure?.stage, failure?.errno) {
            case ("exec", ENOENT): 127
            case ("exec", _), ("chdir", _): failure?.errno == ENOENT ? 127 : 126
            default: 128
            }
        container.update { record in
            let failed = Lifecycle.FailedStart(exitCode: code, message: engineError.message)
            record.status.lifecycle = .created(failure: failed)
        }
        leaveNetworks(container)
        releaseVolumes(of: container.record)
        if let run = container.activeRun {
            await run.supervision.value
            container.setActiveRun(nil)
        }
        // Also what was written into it while the monitor died and the rest was removed.
        removeBundle(container.id)
        container.announceFailedStart()
        if container.record.hostConfig.autoRemove {
            try? await removeHoldingQueue(container, volumes: true)
        } else {
            persistStatus(container)
        }
        throw engineError
    }

    /// Makes anew what is kept ready: directories, a monitor, network namespaces.
    func replenish() {
        stagedDirectories.prepare()
        launcher.prepare()
        hostNetworks.refillSandboxes()
    }

    // MARK: What the monitor gets

    func specification(
        _ record: ContainerRecord, modes: NamespaceModes, userNamespace: ContainerUserNamespace,
        networkFiles: String, sandbox: String? = nil,
        pidOfContainer: @escaping (String) throws(EngineError) -> Int32
    ) throws(EngineError) -> RuntimeSpec {
        let generator = SpecGenerator(
            record: record, modes: modes, userNamespace: userNamespace,
            security: try SecurityOptions(record.hostConfig.securityOpt ?? []),
            cgroupPath: cgroupParent.path(of: record.id), hostnamePath: networkFiles + "/hostname",
            hostsPath: networkFiles + "/hosts", resolvConfPath: networkFiles + "/resolv.conf",
            sources: try mountSources(record),
            sandboxPath: sandbox, pidOfContainer: pidOfContainer, hasSysctl: hostFacts.hasSysctl,
            hostMaskedPaths: hostFacts.thermalPaths,
            recursiveReadOnly: hostFacts.recursiveReadOnly, appArmor: appArmor, labels: labels(of: record))
        return try generator.generate()
    }

    /// The directory of the files for /etc: its own, or that of the container whose network it shares.
    func networkFiles(_ record: ContainerRecord, _ modes: NamespaceModes) throws(EngineError) -> String {
        guard case .container(let other) = modes.network else { return paths.container(record.id) }
        let next = try registry.resolve(other).record
        // At most one step: the other one shares a third one's namespace in the same way.
        if case .container(let third) = try NamespaceModes(next.hostConfig).network {
            return paths.container(try registry.resolve(third).id)
        }
        return paths.container(next.id)
    }

    private func launchDocument(_ record: ContainerRecord, _ bundle: String) throws -> LaunchDocument {
        let directory = paths.container(record.id)
        let user = record.config.user
        var document = LaunchDocument(
            id: record.id, cgroupPath: cgroupParent.path(of: record.id),
            overlay: LaunchDocument.Overlay(
                lower: lowerDirectories(record), upper: directory + "/upper", work: directory + "/work",
                isVolatile: record.hostConfig.autoRemove),
            streams: LaunchDocument.Streams(
                openStdin: record.config.openStdin, stdinOnce: record.config.stdinOnce),
            log: try logDocument(record),
            reaper: record.document.reaper, seccompProgram: try seccompProgram(record.hostConfig, container: record.id),
            // Root, too, is looked up: /etc/passwd and /etc/group say which groups it has.
            user: user.isEmpty ? "0" : user, groups: record.hostConfig.groupAdd,
            exitRecordPath: bundle + "/exit.json")
        document.confinesReaper = configuration.seccompProfile == nil && usesStandardProfile(record.hostConfig)
        return document
    }

    /// Whether the seccomp filter is the built-in one, or there is none.
    private func usesStandardProfile(_ host: HostConfig) -> Bool {
        guard let security = try? SecurityOptions(host.securityOpt ?? []) else { return false }
        if case .profile = security.seccomp { return false }
        return true
    }

    private func logDocument(_ record: ContainerRecord) throws(EngineError) -> LaunchDocument.Log? {
        guard let log = record.document.logFormat else { return nil }
        var document = LaunchDocument.Log(
            format: LogFormat(rawValue: log.format) ?? .cri,
            path: LogDrivers.isReadable(record.hostConfig.logConfig) ? paths.logFile(record.id) : "/dev/null",
            maxSize: log.maxSize, maxFiles: log.maxFiles)
        if document.format == .json { document.attributes = LogDrivers.attributes(record) }
        document.destination = try LogDrivers.destination(
            record, hostname: hostFacts.hostname, journal: configuration.journalSocket)
        return document
    }

    private func writeBundle(
        _ bundle: String, _ specification: RuntimeSpec, _ document: LaunchDocument
    ) throws {
        if mkdir(bundle, 0o700) != 0 {
            guard errno == EEXIST else { throw SystemError.current("mkdir \(bundle)") }
            try TreeRemoval.remove(bundle)
            try Files.makeDirectory(bundle, mode: 0o700)
        }
        try Files.write(bundle + "/config.json", try JSONTextEncoder.encode(specification))
        try Files.write(bundle + "/" + MonitorProtocol.launchDocumentName, try JSONTextEncoder.encode(document))
    }
}
