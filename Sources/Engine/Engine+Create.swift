import Database
import EngineAPI
import Glibc
import ImageStore
import LinuxKernel
import OCI

extension Engine {
    /// Makes a container: everything is checked first, nothing half-made is left when it fails.
    ///
    /// - Throws: `EngineError` in dockerd's words: `notFound` for the image, `conflict` for the name,
    ///   `invalidParameter` for what makes no sense.
    public func createContainer(
        name: String?, _ request: ContainerCreateRequest
    ) async throws -> ContainerCreateResponse {
        try await perform { try await self.create(name: name, request) }
    }

    private func create(name: String?, _ request: ContainerCreateRequest) async throws -> ContainerCreateResponse {
        guard !isStopping.load(ordering: .acquiring) else {
            throw EngineError(.unavailable, "the daemon is stopping")
        }
        let wantedName = try name.flatMap { $0.isEmpty ? nil : $0 }.map(Names.normalized)
        var plan = try plan(request)
        let id = Identifier.random()
        if plan.config.hostname.isEmpty { plan.config.hostname = defaultHostname(id, plan.modes) }
        let finalName: String
        if let wantedName {
            try registry.reserve(wantedName, for: id)
            finalName = wantedName
        } else {
            finalName = registry.reserveRandomName(for: id)
        }
        var newVolumes: [String] = []
        do {
            let warnings = try make(plan, id: id, name: finalName, newVolumes: &newVolumes)
            return ContainerCreateResponse(id: id, warnings: plan.warnings + warnings)
        } catch {
            registry.release(finalName, of: id)
            identityRanges.release(id)
            selinuxLevels.release(id)
            try? TreeRemoval.remove(paths.container(id))
            for volume in newVolumes { try? volumeManager.remove(volume) }
            if let error = error as? DatabaseError, error.isConstraint {
                throw EngineError.notFound("No such image: \(plan.config.image): it was removed meanwhile")
            }
            throw error
        }
    }

    /// A request that was found in order, with what the image and the defaults add.
    private struct CreationPlan {
        var config: ContainerConfig
        let host: HostConfig
        let image: Image
        let command: (path: String, arguments: [String])
        let modes: NamespaceModes
        let endpoints: [String: EndpointSettings]
        let log: ContainerRecord.StoredLog?
        let warnings: [String]
    }

    /// Checks everything that needs no name and no place on the disk.
    private func plan(_ request: ContainerCreateRequest) throws -> CreationPlan {
        let image = try resolveImage(request.config.image)
        var config = ConfigRules.merge(request.config, over: image.config.config)
        try ConfigRules.validate(&config)
        let command = try ConfigRules.command(config)
        if config.entrypoint == [""] { config.entrypoint = nil }
        var host = request.hostConfig ?? HostConfig()
        if let endpoints = request.networkingConfig?.endpointsConfig, let only = endpoints.keys.first,
            endpoints.count == 1, host.networkMode.isEmpty || host.networkMode == "default"
        {
            host.networkMode = only
        }
        var warnings = try ConfigRules.validate(
            &host, config: config, capacity: capacity, defaults: configuration)
        warnings += labelWarnings(host)
        try NetworkModeRules.validate(host, requested: request.config)
        try pinSharedNamespaces(&host)
        let modes = try NamespaceModes(host)
        let endpoints = try settleNetworks(request.networkingConfig, mode: host.networkMode)
        for link in host.links ?? [] { _ = try linkTarget(link) }
        let log = try LogDrivers.settle(host.logConfig)
        warnings += LogDrivers.warnings(host.logConfig)
        _ = try seccompProgram(host)
        if host.privileged, host.capAdd?.isEmpty == false || host.capDrop?.isEmpty == false {
            warnings.append("Privileged mode has every capability: --cap-add and --cap-drop have no effect.")
        }
        config.image = request.config.image
        if host.`init` != false, ConfigRules.mustBeFirstProcess(command.path) { host.`init` = false }
        return CreationPlan(
            config: config, host: host, image: image, command: command, modes: modes, endpoints: endpoints, log: log,
            warnings: warnings)
    }

    /// Makes the container's directories and its row. What fails leaves them, and `newVolumes`, to the caller.
    /// - Returns: warnings.
    private func make(
        _ plan: CreationPlan, id: String, name: String, newVolumes: inout [String]
    ) throws -> [String] {
        var config = plan.config
        let (host, image) = (plan.host, plan.image)
        let userNamespace = try settleUserNamespace(id, host, plan.modes)
        let labels = try settleLabels(id, host, plan.modes)
        let mounts = try settleMounts(&config, host, image: image, newVolumes: &newVolumes)
        let record = ContainerRecord(
            id: id, name: name,
            document: ContainerRecord.Document(
                created: Clock.wall(), imageID: image.id.description, chainID: image.chainID?.hex,
                path: plan.command.path, arguments: plan.command.arguments, config: config, hostConfig: host,
                mounts: mounts, reaper: host.`init` ?? configuration.defaultInit, logFormat: plan.log,
                networks: plan.endpoints, identities: userNamespace.maps, labels: labels),
            status: ContainerRecord.Status(lifecycle: .created(failure: nil)))
        try checkMappedBinds(record)
        // Checks what only a whole specification shows (devices, mounts), before anything is on disk.
        _ = try specification(
            record, modes: plan.modes, userNamespace: try self.userNamespace(of: record),
            networkFiles: try networkFiles(record, plan.modes), pidOfContainer: { _ throws(EngineError) in 1 })
        try makeDirectories(record, modes: plan.modes)
        try store.insert(
            record, images: imageStore, volumes: Set(mounts.map(\.point.name).filter { !$0.isEmpty }),
            identities: userNamespace.range, durability: host.autoRemove ? .normal : .full)
        registry.add(Container(record))
        post(record, "create")
        return host.privileged && userNamespace.maps != nil ? [UserNamespaceRules.privilegedWarning] : []
    }

    func resolveImage(_ text: String) throws -> Image {
        guard !text.isEmpty else { throw EngineError.invalid("no image specified: the request names none") }
        do {
            return try imageStore.resolve(text)
        } catch {
            guard error.kind == .notFound else { throw error }
            let name = (try? ImageReference(parsing: text))?.withDefaultTag.familiar ?? text
            throw EngineError.notFound("No such image: \(name)")
        }
    }

    /// What was asked of a security module that this host hasn't.
    private func labelWarnings(_ host: HostConfig) -> [String] {
        guard let security = try? SecurityOptions(host.securityOpt ?? []) else { return [] }
        var warnings: [String] = []
        if appArmor == .absent, let profile = security.appArmorProfile, profile != AppArmor.unconfined {
            warnings.append("AppArmor is not enabled on this host: the profile \(profile) is not applied")
        }
        if !security.labels.isEmpty, security.labels != ["disable"] {
            switch selinux {
            case .ready: break
            case .absent:
                warnings.append("SELinux is not enabled on this host: label=\(security.labels[0]) is not applied")
            case .withoutContainers(let reason):
                warnings.append("label=\(security.labels[0]) is not applied: \(reason)")
            }
        }
        return warnings
    }

    /// - Parameter id: of the container; empty where only the checks matter.
    func seccompProgram(_ host: HostConfig, container id: String = "") throws(EngineError) -> MonitorSeccomp? {
        let security = try SecurityOptions(host.securityOpt ?? [])
        let capabilities = try SpecGenerator.capabilities(
            add: host.capAdd ?? [], drop: host.capDrop ?? [], privileged: host.privileged, user: "")
        return try seccomp.program(
            security, capabilities: capabilities.bounding ?? [], privileged: host.privileged,
            auditPath: paths.seccompAudit(id))
    }

    /// Names of other containers become ids, so that a rename doesn't change what is meant.
    private func pinSharedNamespaces(_ host: inout HostConfig) throws(EngineError) {
        func pinned(_ mode: String) throws(EngineError) -> String {
            guard mode.hasPrefix("container:") else { return mode }
            return "container:" + (try registry.resolve(String(mode.dropFirst(10)))).id
        }
        do {
            host.networkMode = try pinned(host.networkMode)
        } catch {
            // Not a 404, which clients take for an image that is missing.
            throw .invalid("joining network namespace of container: \(error.message)")
        }
        host.pidMode = try pinned(host.pidMode)
        host.ipcMode = try pinned(host.ipcMode)
        host.usernsMode = try pinned(host.usernsMode)
        guard case .container(let other) = try NamespaceModes(host).ipc else { return }
        let record = try registry.resolve(other).record
        guard record.hostConfig.ipcMode == "shareable" || record.hostConfig.ipcMode == "host" else {
            throw .invalid(
                "cannot join IPC namespace of container \(record.name): non-shareable IPC (hint: use IpcMode:shareable "
                    + "for the donor container)")
        }
    }

    private func defaultHostname(_ id: String, _ modes: NamespaceModes) -> String {
        switch modes.network {
        case .own where modes.uts == .own: return Identifier.short(id)
        case .host, .own: return hostFacts.hostname
        case .container(let other):
            return (try? registry.resolve(other))?.record.config.hostname ?? Identifier.short(id)
        }
    }

    // MARK: Directories

    /// `upper`, `work`, `logs` and the files for /etc. Staged where the next start discards them, and renamed when they
    /// are whole.
    private func makeDirectories(_ record: ContainerRecord, modes: NamespaceModes) throws {
        let staged = try stagedDirectories.take()
        do {
            try copyRootAttributes(record, to: staged + "/upper")
            try writeNetworkFiles(record, modes: modes, in: staged)
            try checked("rename \(staged)") { rename(staged, paths.container(record.id)) }
        } catch {
            try? TreeRemoval.remove(staged)
            throw error
        }
    }

    private func copyRootAttributes(_ record: ContainerRecord, to upper: String) throws {
        let chainID = record.document.chainID.flatMap { Digest(hex: $0) }
        guard let top = imageStore.lowerDirectories(chainID: chainID).first else { return }
        let source = try FileDescriptor(top, O_RDONLY | O_DIRECTORY)
        let target = try FileDescriptor(upper, O_RDONLY | O_DIRECTORY)
        try TreeCopy.copyAttributes(of: source.raw, to: target.raw)
    }

    /// hostname, hosts and resolv.conf; a container that shares another's network shares its files.
    private func writeNetworkFiles(_ record: ContainerRecord, modes: NamespaceModes, in directory: String) throws {
        let host = record.hostConfig
        if case .container = modes.network { return }
        try Files.write(
            directory + "/hostname", ContainerFiles.hostname(record.config.hostname), mode: 0o644)
        if modes.network == .host, let hosts = try? Files.text("/etc/hosts") {
            var text = hosts
            for entry in host.extraHosts ?? [] {
                let (name, address) = try ContainerFiles.parse(extraHost: entry)
                // The host's gateway to itself.
                text += "\(address == "host-gateway" ? "127.0.0.1" : address)\t\(name)\n"
            }
            try Files.write(directory + "/hosts", text, mode: 0o644)
        } else {
            try Files.write(
                directory + "/hosts",
                ContainerFiles.hosts(
                    hostname: record.config.hostname, domainname: record.config.domainname,
                    // Written anew at each start, with the addresses of that run.
                    extra: (host.extraHosts ?? []).filter { !$0.hasSuffix("host-gateway") }), mode: 0o644)
        }
        let resolver = (try? Files.text("/etc/resolv.conf")) ?? ""
        let overrides = resolverOverrides(host)
        try Files.write(
            directory + "/resolv.conf",
            ContainerFiles.resolvConf(
                host: resolver, servers: overrides.servers, search: overrides.search, options: overrides.options,
                ownNetwork: modes.network == .own), mode: 0o644)
    }
}
