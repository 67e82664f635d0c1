import EngineAPI
import Glibc
import LinuxKernel
import OCI

extension Engine {
    public func version() -> VersionResponse {
        var version = VersionResponse()
        version.platform.name = "mycontainer"
        version.version = ProductVersion.current
        version.apiVersion = APIVersion.newest.description
        version.minAPIVersion = APIVersion.oldest.description
        version.os = "linux"
        version.arch = OCI.Platform.host.architecture
        version.kernelVersion = hostFacts.kernel
        version.components = [
            .init(
                name: "Engine", version: ProductVersion.current,
                details: [
                    "ApiVersion": version.apiVersion, "MinAPIVersion": version.minAPIVersion, "Os": version.os,
                    "Arch": version.arch, "KernelVersion": version.kernelVersion,
                ]),
            .init(name: "mycontainer-runtime", version: ProductVersion.current),
        ]
        return version
    }

    public func info() async -> SystemInfo {
        var info = SystemInfo()
        info.id = "\(instance)-\(hostFacts.bootID.prefix(8))"
        let records = registry.all.map(\.record)
        info.containers = records.count
        info.containersPaused = records.count { $0.lifecycle.isPaused }
        info.containersRunning = records.count { $0.lifecycle.isRunning && !$0.lifecycle.isPaused }
        info.containersStopped = info.containers - info.containersPaused - info.containersRunning
        info.images = imageStore.images().count
        info.driver = Engine.storageDriver
        info.driverStatus =
            [["Backing Filesystem", backingFilesystem()], ["Supports d_type", "true"]]
            + cgroups.descriptions.map { ["Cgroup controller", $0] }
        info.plugins.log = LogDrivers.names
        info.memoryLimit = capacity.memory
        info.swapLimit = capacity.swap
        info.cpuCfsPeriod = capacity.cpu
        info.cpuCfsQuota = capacity.cpu
        info.cpuShares = capacity.cpu
        info.cpuSet = capacity.cpuset
        info.pidsLimit = capacity.pids
        info.oomKillDisable = capacity.oomKillDisable
        info.ipv4Forwarding = ((try? Files.text("/proc/sys/net/ipv4/ip_forward")) ?? "").hasPrefix("1")
        info.debug = configuration.debug
        info.nFd = (try? Files.list("/proc/self/fd").count) ?? 0
        info.nGoroutines = (try? Files.list("/proc/self/task").count) ?? 0
        info.systemTime = Timestamp.format(Clock.wall())
        info.loggingDriver = configuration.defaultLogDriver
        info.cgroupDriver = "cgroupfs"
        info.cgroupVersion = cgroups.dockerVersion
        info.nEventsListener = eventBus.listenerCount
        info.kernelVersion = hostFacts.kernel
        info.operatingSystem = hostFacts.operatingSystem
        info.osVersion = hostFacts.operatingSystemVersion
        info.osType = "linux"
        info.architecture = hostFacts.architecture
        info.registryConfig = SystemInfo.RegistryConfig()
        info.registryConfig?.mirrors = configuration.registries
        info.nCPU = capacity.cpus
        info.memTotal = hostFacts.memory
        info.dockerRootDir = paths.dataRoot
        info.name = configuration.name ?? hostFacts.hostname
        info.labels = configuration.labels
        info.serverVersion = ProductVersion.current
        var runtime = SystemInfo.RuntimeInfo()
        runtime.path = configuration.runtimePath
        info.runtimes = [ConfigRules.runtimeName: runtime]
        info.defaultRuntime = ConfigRules.runtimeName
        info.liveRestoreEnabled = configuration.liveRestore
        info.initBinary = "mycontainer-runtime"
        var security = ["name=seccomp,profile=\(configuration.seccompProfile == nil ? "builtin" : "custom")"]
        security.append("name=cgroupns")
        if configuration.userNamespaces != "host" { security.append("name=userns") }
        var warnings = cgroupSupport.warnings
        switch appArmor {
        case .absent: break
        case .ready: security.insert("name=apparmor", at: 0)
        case .withoutDefault(let reason):
            warnings.append("WARNING: AppArmor is enabled, but containers get no profile by default: \(reason)")
        }
        switch selinux {
        case .absent: break
        case .ready: security.append("name=selinux")
        case .withoutContainers(let reason):
            warnings.append("WARNING: SELinux is enabled, but containers get no labels: \(reason)")
        }
        info.securityOptions = security
        info.warnings = warnings.isEmpty ? nil : warnings
        return info
    }

    private func backingFilesystem() -> String {
        guard let directory = try? FileDescriptor(paths.dataRoot, O_RDONLY | O_DIRECTORY),
            let type = try? FilesystemType.of(directory.raw)
        else { return "<unknown>" }
        switch type {
        case 0xEF53: return "extfs"
        case 0x5846_5342: return "xfs"
        case 0x9123_683E: return "btrfs"
        case 0x0102_1994: return "tmpfs"
        case 0x794C_7630: return "overlayfs"
        default: return "0x" + String(type, radix: 16)
        }
    }

    /// Events from `since` on (those still kept), then live ones until `until`; nanoseconds since the epoch.
    /// The stream ends at `until` when that is given, otherwise when the reader goes away; it throws a sentence when the
    /// reader is too slow.
    public func events(
        since: Int64?, until: Int64?, filters: Filters
    ) throws -> AsyncThrowingStream<EventMessage, any Error> {
        let filter = try EventFilter(filters)
        return eventBus.stream(since: since, until: until, matching: filter.matches)
    }

    public func diskUsage() async throws -> DiskUsage {
        let images = try await images(all: true, filters: Filters(), sharedSize: true)
        return try await perform {
            var usage = DiskUsage()
            usage.images = images
            var layers: [OCI.Digest: Int64] = [:]
            for image in self.imageStore.images() {
                for layer in image.layers { layers[layer.chainID] = layer.size }
            }
            usage.layersSize = layers.values.clampedSum()
            let now = Clock.wall()
            usage.containers = self.registry.all.map(\.record)
                .sorted { ($0.document.created, $0.id) > ($1.document.created, $1.id) }
                .map { self.summary($0, size: true, now: now) }
            let users = self.volumeUsers()
            usage.volumes = self.volumeManager.all.map { stored in
                var volume = self.wire(stored)
                volume.usageData = .init(
                    refCount: Int64(users[stored.name]?.count ?? 0), size: self.volumeManager.size(stored.name))
                return volume
            }
            return usage
        }
    }
}
