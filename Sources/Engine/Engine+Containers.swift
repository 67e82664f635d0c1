import EngineAPI
import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

extension Engine {
    /// Containers, newest first. Waits for none of them.
    public func containers(
        all: Bool, limit: Int?, size: Bool, filters: Filters
    ) async throws -> [ContainerSummary] {
        try await perform {
            let filter = try ContainerFilter(filters, registry: self.registry, images: self.imageStore)
            let limit = limit ?? 0
            let showsAll = all || limit > 0 || filter.includesStopped
            let records = self.registry.all.map(\.record)
                .filter { showsAll || $0.lifecycle.isRunning || $0.lifecycle.isRestarting }
                .sorted { ($0.document.created, $0.id) > ($1.document.created, $1.id) }
                .filter(filter.matches)
            let now = Clock.wall()
            let summaries = records.lazy.filter { record in
                guard filter.concernsNetworks else { return true }
                let network = self.registry.container(record.id)?.network
                return filter.matches(
                    networks: self.endpoints(record, network), ports: self.listedPorts(record, network))
            }
            return (limit > 0 ? Array(summaries.prefix(limit)) : Array(summaries)).map {
                self.summary($0, size: size, now: now)
            }
        }
    }

    func summary(_ record: ContainerRecord, size: Bool, now: Int64) -> ContainerSummary {
        let network = registry.container(record.id)?.network
        var summary = ContainerSummary()
        summary.id = record.id
        summary.names = ["/" + record.name]
        summary.image = imageName(record)
        summary.imageID = record.document.imageID
        // dockerd's quoting: good to read, not to copy.
        let arguments = record.document.arguments.map { $0.contains(" ") ? "'\($0)'" : $0 }
        summary.command = ([record.document.path] + arguments).joined(separator: " ")
        summary.created = record.document.created / 1_000_000_000
        summary.labels = record.config.labels ?? [:]
        summary.state = record.lifecycle.status
        summary.status = StatusText.describe(record.lifecycle, health: record.status.health?.state, now: now)
        summary.hostConfig.networkMode = record.hostConfig.networkMode
        summary.hostConfig.annotations = record.hostConfig.annotations
        var networks = ContainerSummary.NetworkSettingsSummary()
        networks.networks = endpoints(record, network)
        summary.networkSettings = networks
        let anonymous = Set(record.document.mounts.filter(\.isAnonymous).map(\.point.name))
        summary.mounts = record.listedMounts.map { mount in
            var mount = mount
            // An anonymous volume is nowhere before the first start, as with dockerd.
            if anonymous.contains(mount.name), !record.hasBeenTried { mount.source = "" }
            return mount
        }
        summary.ports = listedPorts(record, network)
        if size {
            let sizes = self.sizes(record)
            summary.sizeRw = sizes.own
            summary.sizeRootFs = sizes.total
        }
        return summary
    }

    /// The image as the user named it; its id once that name means another image, or none.
    private func imageName(_ record: ContainerRecord) -> String {
        let image = try? imageStore.resolve(record.config.image)
        return image?.id.description == record.document.imageID ? record.config.image : record.document.imageID
    }

    private func digest(_ text: String) -> OCI.Digest {
        (try? OCI.Digest(parsing: text)) ?? OCI.Digest(bytes: [UInt8](repeating: 0, count: 32))
    }

    /// Bytes of a container's own files, and of everything it sees.
    private func sizes(_ record: ContainerRecord) -> (own: Int64, total: Int64) {
        let own = DiskUsageWalk.size(of: paths.container(record.id) + "/upper")
        let image = imageStore.image(digest(record.document.imageID))?.size ?? 0
        return (own, own.addingClamped(image))
    }

    /// Everything about one container.
    public func inspectContainer(_ id: String, size: Bool) async throws -> ContainerInspect {
        let container = try registry.resolve(id)
        return try await perform { self.inspect(container, size: size) }
    }

    private func inspect(_ container: Container, size: Bool) -> ContainerInspect {
        let record = container.record
        var result = ContainerInspect()
        result.id = record.id
        result.created = Timestamp.format(record.document.created)
        result.path = record.document.path
        result.args = record.document.arguments
        result.state = state(record)
        result.image = record.document.imageID
        // As with dockerd these files are nobody's business before the first start.
        if record.hasBeenTried {
            let files = (try? NamespaceModes(record.hostConfig)).flatMap { try? networkFiles(record, $0) } ?? ""
            result.resolvConfPath = files + "/resolv.conf"
            result.hostnamePath = files + "/hostname"
            result.hostsPath = files + "/hosts"
            // Other drivers' files are of another format than those expect who read json-file logs.
            result.logPath = record.document.logFormat?.format == "json" ? paths.logFile(record.id) : ""
        }
        result.name = "/" + record.name
        result.restartCount = record.status.restartCount
        result.driver = Engine.storageDriver
        result.platform = "linux"
        let execs = container.execs.values.filter { $0.status != .ended }.map(\.id).sorted()
        result.execIDs = execs.isEmpty ? nil : execs
        var host = record.hostConfig
        if host.`init` == nil { host.`init` = record.document.reaper }
        if let maps = (try? userNamespace(of: record))?.maps { host.idMappings = .init(maps) }
        if host.resources.oomKillDisable == nil, capacity.oomKillDisable { host.resources.oomKillDisable = false }
        result.hostConfig = host
        result.graphDriver.name = Engine.storageDriver
        let directory = paths.container(record.id)
        result.graphDriver.data = [
            "ID": record.id, "LowerDir": lowerDirectories(record).joined(separator: ":"),
            "UpperDir": directory + "/upper", "WorkDir": directory + "/work",
        ]
        result.mounts = record.listedMounts
        result.config = record.config
        result.networkSettings = networkSettings(container, record)
        result.seccompAudit = seccompAudit(record)
        let security = try? SecurityOptions(record.hostConfig.securityOpt ?? [])
        if let labels = labels(of: record) { (result.processLabel, result.mountLabel) = (labels.process, labels.mount) }
        result.appArmorProfile =
            appArmor.profile(asked: security?.appArmorProfile, privileged: record.hostConfig.privileged) ?? ""
        if size {
            let sizes = self.sizes(record)
            result.sizeRw = sizes.own
            result.sizeRootFs = sizes.total
        }
        return result
    }

    /// What the audit has found so far; nil where none was asked for.
    func seccompAudit(_ record: ContainerRecord) -> [SeccompAuditCall]? {
        guard (try? SecurityOptions(record.hostConfig.securityOpt ?? []))?.seccompAudit ?? false else { return nil }
        guard let bytes = try? Files.read(paths.seccompAudit(record.id)),
            let report = try? JSONDecoder().decode(SeccompReport.self, from: Data(bytes))
        else { return [] }
        return report.calls.map { call in
            SeccompAuditCall {
                $0.name = call.name
                $0.architecture = call.architecture
                $0.answer = call.answer
                $0.count = call.count
                $0.arguments = call.arguments.map { "0x" + String($0, radix: 16) }
            }
        }
    }

    static let storageDriver = "overlay2"

    private func state(_ record: ContainerRecord) -> ContainerState {
        let lifecycle = record.lifecycle
        var state = ContainerState()
        state.status = lifecycle.status
        state.running = lifecycle.isRunning || lifecycle.isRestarting
        state.paused = lifecycle.isPaused
        state.restarting = lifecycle.isRestarting
        state.oomKilled = lifecycle.run?.outOfMemory ?? lifecycle.exit?.oomKilled ?? false
        if case .dead = lifecycle { state.dead = true }
        state.pid = Int(lifecycle.run?.pid ?? 0)
        state.exitCode = Int(lifecycle.exitCode)
        state.error = lifecycle.errorMessage
        state.startedAt = Timestamp.format(lifecycle.startedAt)
        state.finishedAt = Timestamp.format(record.status.finishedAt)
        state.health = record.status.health.map(Health.init)
        // Nobody looks any more: dockerd's word for that.
        if lifecycle.run == nil || lifecycle.isPaused, lifecycle.startedAt > 0 {
            state.health?.status = HealthStatus.State.unhealthy.rawValue
        }
        return state
    }
}

/// `ps`' STATUS column.
enum StatusText {
    static func describe(_ lifecycle: Lifecycle, health: HealthStatus.State? = nil, now: Int64) -> String {
        switch lifecycle {
        case .created, .starting: return "Created"
        case .running(let run):
            let suffix = health.map { $0 == .starting ? " (health: starting)" : " (\($0.rawValue))" }
            return "Up " + elapsed(now - run.startedAt) + (suffix ?? "")
        case .paused(let run): return "Up " + elapsed(now - run.startedAt) + " (Paused)"
        case .restarting(let exit):
            return "Restarting (\(exit.exitCode)) " + elapsed(now - exit.finishedAt) + " ago"
        case .exited(let exit): return "Exited (\(exit.exitCode)) " + elapsed(now - exit.finishedAt) + " ago"
        case .dead: return "Dead"
        case .removing: return "Removal In Progress"
        }
    }

    /// As go-units' HumanDuration.
    static func elapsed(_ nanoseconds: Int64) -> String {
        let seconds = max(0, nanoseconds / 1_000_000_000)
        let hours = (seconds + 1800) / 3600
        switch seconds {
        case 0: return "Less than a second"
        case 1: return "1 second"
        case ..<60: return "\(seconds) seconds"
        case ..<120: return "About a minute"
        case ..<3600: return "\(seconds / 60) minutes"
        case _ where hours <= 1: return "About an hour"
        case _ where hours < 48: return "\(hours) hours"
        case _ where hours < 24 * 7 * 2: return "\(hours / 24) days"
        case _ where hours < 24 * 30 * 2: return "\(hours / 24 / 7) weeks"
        case _ where hours < 24 * 365 * 2: return "\(hours / 24 / 30) months"
        default: return "\(hours / 24 / 365) years"
        }
    }
}
