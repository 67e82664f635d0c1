/// How a container meets its host: Docker's `container.HostConfig`. The members of `resources` are also its own.
@dynamicMemberLookup
public struct HostConfig: WireObject {
    /// `source:destination[:options]`.
    public var binds: [String]?
    public var containerIDFile = ""
    public var logConfig = LogConfig()
    /// `default`, `none`, `host`, `bridge`, `container:<id>` or a network's name.
    public var networkMode = ""
    /// Container port (`80/tcp`) to host addresses.
    public var portBindings: [String: [PortBinding]?]?
    public var restartPolicy = RestartPolicy()
    public var autoRemove = false
    public var volumeDriver = ""
    /// `container[:ro|rw]`.
    public var volumesFrom: [String]?
    /// Rows, columns.
    public var consoleSize: [UInt] = [0, 0]
    public var annotations: [String: String]?

    public var capAdd: [String]?
    public var capDrop: [String]?
    /// ``, `private` or `host`.
    public var cgroupnsMode = ""
    public var dns: [String]?
    public var dnsOptions: [String]?
    public var dnsSearch: [String]?
    /// `name:address`.
    public var extraHosts: [String]?
    public var groupAdd: [String]?
    /// ``, `none`, `private`, `shareable`, `host` or `container:<id>`.
    public var ipcMode = ""
    public var cgroup = ""
    public var links: [String]?
    public var oomScoreAdj = 0
    /// ``, `host` or `container:<id>`.
    public var pidMode = ""
    public var privileged = false
    public var publishAllPorts = false
    public var readonlyRootfs = false
    public var securityOpt: [String]?
    public var storageOpt: [String: String]?
    /// Destination to mount options.
    public var tmpfs: [String: String]?
    /// `` or `host`.
    public var utsMode = ""
    /// ``, `host`; ours, as podman's: `auto[:…]`, `keep-id`, `map:…`, `container:<id>`.
    public var usernsMode = ""
    /// What the user namespace maps, in inspect's answer; not docker's, but podman's.
    public var idMappings: IDMappings?
    /// Bytes; 0 is the daemon's default.
    public var shmSize: Int64 = 0
    public var sysctls: [String: String]?
    public var runtime = ""
    public var isolation = ""
    public var resources = Resources()
    public var mounts: [Mount]?
    /// nil: the default list; empty: none.
    public var maskedPaths: [String]?
    /// nil: the default list; empty: none.
    public var readonlyPaths: [String]?
    /// Whether a reaper is PID 1; nil: the daemon's default.
    public var `init`: Bool?

    public init() {}

    public subscript<Value>(dynamicMember path: WritableKeyPath<Resources, Value>) -> Value {
        get { resources[keyPath: path] }
        set { resources[keyPath: path] = newValue }
    }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Binds", &binds)
        try fields("ContainerIDFile", &containerIDFile)
        try fields("LogConfig", &logConfig)
        try fields("NetworkMode", &networkMode)
        try fields("PortBindings", &portBindings)
        try fields("RestartPolicy", &restartPolicy)
        try fields("AutoRemove", &autoRemove)
        try fields("VolumeDriver", &volumeDriver)
        try fields("VolumesFrom", &volumesFrom)
        try fields("ConsoleSize", &consoleSize)
        try fields("Annotations", &annotations, .omitEmpty)
        try fields.words("CapAdd", &capAdd)
        try fields.words("CapDrop", &capDrop)
        try fields("CgroupnsMode", &cgroupnsMode)
        try fields("Dns", &dns)
        try fields("DnsOptions", &dnsOptions)
        try fields("DnsSearch", &dnsSearch)
        try fields("ExtraHosts", &extraHosts)
        try fields("GroupAdd", &groupAdd)
        try fields("IpcMode", &ipcMode)
        try fields("Cgroup", &cgroup)
        try fields("Links", &links)
        try fields("OomScoreAdj", &oomScoreAdj)
        try fields("PidMode", &pidMode)
        try fields("Privileged", &privileged)
        try fields("PublishAllPorts", &publishAllPorts)
        try fields("ReadonlyRootfs", &readonlyRootfs)
        try fields("SecurityOpt", &securityOpt)
        try fields("StorageOpt", &storageOpt, .omitEmpty)
        try fields("Tmpfs", &tmpfs, .omitEmpty)
        try fields("UTSMode", &utsMode)
        try fields("UsernsMode", &usernsMode)
        try fields("IDMappings", &idMappings, .omitEmpty)
        try fields("ShmSize", &shmSize)
        try fields("Sysctls", &sysctls, .omitEmpty)
        try fields("Runtime", &runtime, .omitEmpty)
        try fields("Isolation", &isolation)
        try fields.embed(&resources)
        try fields("Mounts", &mounts, .omitEmpty)
        try fields("MaskedPaths", &maskedPaths)
        try fields("ReadonlyPaths", &readonlyPaths)
        try fields("Init", &`init`, .omitEmpty)
    }
}

/// The id mappings of a container's user namespace, each `inside:host:size`.
public struct IDMappings: WireObject {
    public var uidMap: [String]? = []
    public var gidMap: [String]? = []

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("UidMap", &uidMap)
        try fields("GidMap", &gidMap)
    }
}

/// The limits of a container: Docker's `container.Resources`. Zero or nil: no limit, or unchanged in an update.
public struct Resources: WireObject {
    /// Relative weight; the kernel's default is 1024.
    public var cpuShares: Int64 = 0
    /// Bytes.
    public var memory: Int64 = 0
    /// Billionths of a CPU.
    public var nanoCpus: Int64 = 0
    public var cgroupParent = ""
    /// 10 to 1000.
    public var blkioWeight: UInt16 = 0
    public var blkioWeightDevice: [WeightDevice]?
    public var blkioDeviceReadBps: [ThrottleDevice]?
    public var blkioDeviceWriteBps: [ThrottleDevice]?
    public var blkioDeviceReadIOps: [ThrottleDevice]?
    public var blkioDeviceWriteIOps: [ThrottleDevice]?
    /// Microseconds.
    public var cpuPeriod: Int64 = 0
    /// Microseconds of CPU time per period.
    public var cpuQuota: Int64 = 0
    public var cpuRealtimePeriod: Int64 = 0
    public var cpuRealtimeRuntime: Int64 = 0
    public var cpusetCpus = ""
    public var cpusetMems = ""
    public var devices: [DeviceMapping]?
    /// Rules such as `c 7:* rmw`.
    public var deviceCgroupRules: [String]?
    public var deviceRequests: [DeviceRequest]?
    public var kernelMemory: Int64 = 0
    public var kernelMemoryTCP: Int64 = 0
    /// Bytes.
    public var memoryReservation: Int64 = 0
    /// Memory plus swap in bytes; -1: swap without limit.
    public var memorySwap: Int64 = 0
    /// 0 to 100; nil and -1: the kernel's.
    public var memorySwappiness: Int64?
    public var oomKillDisable: Bool?
    /// 0 and -1: without limit; nil: unchanged.
    public var pidsLimit: Int64?
    public var ulimits: [Ulimit]?
    public var cpuCount: Int64 = 0
    public var cpuPercent: Int64 = 0
    public var ioMaximumIOps: UInt64 = 0
    public var ioMaximumBandwidth: UInt64 = 0
    // Members of this engine's own. Bits per second on each of the container's interfaces, as the container sees
    // directions; -1 in an update takes a limit away. Bursts are bytes.
    public var networkRateIn: Int64 = 0
    public var networkRateOut: Int64 = 0
    public var networkBurstIn: Int64 = 0
    public var networkBurstOut: Int64 = 0

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("CpuShares", &cpuShares)
        try fields("Memory", &memory)
        try fields("NanoCpus", &nanoCpus)
        try fields("CgroupParent", &cgroupParent)
        try fields("BlkioWeight", &blkioWeight)
        try fields("BlkioWeightDevice", &blkioWeightDevice)
        try fields("BlkioDeviceReadBps", &blkioDeviceReadBps)
        try fields("BlkioDeviceWriteBps", &blkioDeviceWriteBps)
        try fields("BlkioDeviceReadIOps", &blkioDeviceReadIOps)
        try fields("BlkioDeviceWriteIOps", &blkioDeviceWriteIOps)
        try fields("CpuPeriod", &cpuPeriod)
        try fields("CpuQuota", &cpuQuota)
        try fields("CpuRealtimePeriod", &cpuRealtimePeriod)
        try fields("CpuRealtimeRuntime", &cpuRealtimeRuntime)
        try fields("CpusetCpus", &cpusetCpus)
        try fields("CpusetMems", &cpusetMems)
        try fields("Devices", &devices)
        try fields("DeviceCgroupRules", &deviceCgroupRules)
        try fields("DeviceRequests", &deviceRequests)
        try fields("KernelMemory", &kernelMemory, .omitEmpty)
        try fields("KernelMemoryTCP", &kernelMemoryTCP, .omitEmpty)
        try fields("MemoryReservation", &memoryReservation)
        try fields("MemorySwap", &memorySwap)
        try fields("MemorySwappiness", &memorySwappiness)
        try fields("OomKillDisable", &oomKillDisable)
        try fields("PidsLimit", &pidsLimit)
        try fields("Ulimits", &ulimits)
        try fields("CpuCount", &cpuCount)
        try fields("CpuPercent", &cpuPercent)
        try fields("IOMaximumIOps", &ioMaximumIOps)
        try fields("IOMaximumBandwidth", &ioMaximumBandwidth)
        try fields("NetworkRateIn", &networkRateIn, .omitEmpty)
        try fields("NetworkRateOut", &networkRateOut, .omitEmpty)
        try fields("NetworkBurstIn", &networkBurstIn, .omitEmpty)
        try fields("NetworkBurstOut", &networkBurstOut, .omitEmpty)
    }
}

/// `no` or ``, `always`, `on-failure` or `unless-stopped`.
public struct RestartPolicy: WireObject {
    public var name = ""
    /// Only for `on-failure`; 0: without limit.
    public var maximumRetryCount = 0

    public init() {}

    public init(name: String, maximumRetryCount: Int = 0) {
        self.name = name
        self.maximumRetryCount = maximumRetryCount
    }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Name", &name)
        try fields("MaximumRetryCount", &maximumRetryCount)
    }
}

/// The log driver and its options.
public struct LogConfig: WireObject {
    public var type = ""
    public var config: [String: String]?

    public init() {}

    public init(type: String, config: [String: String]? = nil) {
        self.type = type
        self.config = config
    }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Type", &type)
        try fields("Config", &config)
    }
}

/// A resource limit of processes: name as in `ulimit` (`nofile`), -1 for unlimited.
public struct Ulimit: WireObject {
    public var name = ""
    public var hard: Int64 = 0
    public var soft: Int64 = 0

    public init() {}

    public init(name: String, soft: Int64, hard: Int64) {
        self.name = name
        self.hard = hard
        self.soft = soft
    }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Name", &name)
        try fields("Hard", &hard)
        try fields("Soft", &soft)
    }
}

/// A device of the host and what the container may do with it (letters of `rwm`).
public struct DeviceMapping: WireObject {
    public var pathOnHost = ""
    public var pathInContainer = ""
    public var cgroupPermissions = ""

    public init() {}

    public init(pathOnHost: String, pathInContainer: String, cgroupPermissions: String) {
        self.pathOnHost = pathOnHost
        self.pathInContainer = pathInContainer
        self.cgroupPermissions = cgroupPermissions
    }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("PathOnHost", &pathOnHost)
        try fields("PathInContainer", &pathInContainer)
        try fields("CgroupPermissions", &cgroupPermissions)
    }
}

/// Devices asked for by what they can do (`--gpus`).
public struct DeviceRequest: WireObject {
    public var driver = ""
    public var count = 0
    public var deviceIDs: [String]?
    /// Alternatives of sets.
    public var capabilities: [[String]]?
    public var options: [String: String]?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Driver", &driver)
        try fields("Count", &count)
        try fields("DeviceIDs", &deviceIDs)
        try fields("Capabilities", &capabilities)
        try fields("Options", &options)
    }
}

/// The I/O weight of one block device.
public struct WeightDevice: WireObject {
    public var path = ""
    public var weight: UInt16 = 0

    public init() {}

    public init(path: String, weight: UInt16) {
        self.path = path
        self.weight = weight
    }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Path", &path)
        try fields("Weight", &weight)
    }
}

/// A limit of one block device, in bytes or operations per second.
public struct ThrottleDevice: WireObject {
    public var path = ""
    public var rate: UInt64 = 0

    public init() {}

    public init(path: String, rate: UInt64) {
        self.path = path
        self.rate = rate
    }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Path", &path)
        try fields("Rate", &rate)
    }
}

/// An address of the host that leads to a container's port.
public struct PortBinding: WireObject {
    public var hostIP = ""
    public var hostPort = ""

    public init() {}

    public init(hostIP: String, hostPort: String) {
        self.hostIP = hostIP
        self.hostPort = hostPort
    }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("HostIp", &hostIP)
        try fields("HostPort", &hostPort)
    }
}

/// The body of `POST /containers/{id}/update`: zero and nil members stay as they are.
@dynamicMemberLookup
public struct ContainerUpdateRequest: WireObject {
    public var resources = Resources()
    public var restartPolicy = RestartPolicy()

    public init() {}

    public subscript<Value>(dynamicMember path: WritableKeyPath<Resources, Value>) -> Value {
        get { resources[keyPath: path] }
        set { resources[keyPath: path] = newValue }
    }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields.embed(&resources)
        try fields("RestartPolicy", &restartPolicy)
    }
}

/// The answer to an update.
public struct ContainerUpdateResponse: WireObject {
    public var warnings: [String]?

    public init() {}

    public init(warnings: [String]?) { self.warnings = warnings }

    public mutating func visit(_ fields: inout some FieldVisitor) throws { try fields("Warnings", &warnings) }
}
