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

    public static let fields = Fields<Self> {
        $0("Binds", \.binds)
        $0("ContainerIDFile", \.containerIDFile)
        $0("LogConfig", \.logConfig)
        $0("NetworkMode", \.networkMode)
        $0("PortBindings", \.portBindings)
        $0("RestartPolicy", \.restartPolicy)
        $0("AutoRemove", \.autoRemove)
        $0("VolumeDriver", \.volumeDriver)
        $0("VolumesFrom", \.volumesFrom)
        $0("ConsoleSize", \.consoleSize)
        $0("Annotations", \.annotations, .omitEmpty)
        $0.words("CapAdd", \.capAdd)
        $0.words("CapDrop", \.capDrop)
        $0("CgroupnsMode", \.cgroupnsMode)
        $0("Dns", \.dns)
        $0("DnsOptions", \.dnsOptions)
        $0("DnsSearch", \.dnsSearch)
        $0("ExtraHosts", \.extraHosts)
        $0("GroupAdd", \.groupAdd)
        $0("IpcMode", \.ipcMode)
        $0("Cgroup", \.cgroup)
        $0("Links", \.links)
        $0("OomScoreAdj", \.oomScoreAdj)
        $0("PidMode", \.pidMode)
        $0("Privileged", \.privileged)
        $0("PublishAllPorts", \.publishAllPorts)
        $0("ReadonlyRootfs", \.readonlyRootfs)
        $0("SecurityOpt", \.securityOpt)
        $0("StorageOpt", \.storageOpt, .omitEmpty)
        $0("Tmpfs", \.tmpfs, .omitEmpty)
        $0("UTSMode", \.utsMode)
        $0("UsernsMode", \.usernsMode)
        $0("IDMappings", \.idMappings, .omitEmpty)
        $0("ShmSize", \.shmSize)
        $0("Sysctls", \.sysctls, .omitEmpty)
        $0("Runtime", \.runtime, .omitEmpty)
        $0("Isolation", \.isolation)
        $0.embed(\.resources)
        $0("Mounts", \.mounts, .omitEmpty)
        $0("MaskedPaths", \.maskedPaths)
        $0("ReadonlyPaths", \.readonlyPaths)
        $0("Init", \.`init`, .omitEmpty)
    }
}

/// The id mappings of a container's user namespace, each `inside:host:size`.
public struct IDMappings: WireObject {
    public var uidMap: [String]? = []
    public var gidMap: [String]? = []

    public init() {}

    public static let fields = Fields<Self> {
        $0("UidMap", \.uidMap)
        $0("GidMap", \.gidMap)
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

    public static let fields = Fields<Self> {
        $0("CpuShares", \.cpuShares)
        $0("Memory", \.memory)
        $0("NanoCpus", \.nanoCpus)
        $0("CgroupParent", \.cgroupParent)
        $0("BlkioWeight", \.blkioWeight)
        $0("BlkioWeightDevice", \.blkioWeightDevice)
        $0("BlkioDeviceReadBps", \.blkioDeviceReadBps)
        $0("BlkioDeviceWriteBps", \.blkioDeviceWriteBps)
        $0("BlkioDeviceReadIOps", \.blkioDeviceReadIOps)
        $0("BlkioDeviceWriteIOps", \.blkioDeviceWriteIOps)
        $0("CpuPeriod", \.cpuPeriod)
        $0("CpuQuota", \.cpuQuota)
        $0("CpuRealtimePeriod", \.cpuRealtimePeriod)
        $0("CpuRealtimeRuntime", \.cpuRealtimeRuntime)
        $0("CpusetCpus", \.cpusetCpus)
        $0("CpusetMems", \.cpusetMems)
        $0("Devices", \.devices)
        $0("DeviceCgroupRules", \.deviceCgroupRules)
        $0("DeviceRequests", \.deviceRequests)
        $0("KernelMemory", \.kernelMemory, .omitEmpty)
        $0("KernelMemoryTCP", \.kernelMemoryTCP, .omitEmpty)
        $0("MemoryReservation", \.memoryReservation)
        $0("MemorySwap", \.memorySwap)
        $0("MemorySwappiness", \.memorySwappiness)
        $0("OomKillDisable", \.oomKillDisable)
        $0("PidsLimit", \.pidsLimit)
        $0("Ulimits", \.ulimits)
        $0("CpuCount", \.cpuCount)
        $0("CpuPercent", \.cpuPercent)
        $0("IOMaximumIOps", \.ioMaximumIOps)
        $0("IOMaximumBandwidth", \.ioMaximumBandwidth)
        $0("NetworkRateIn", \.networkRateIn, .omitEmpty)
        $0("NetworkRateOut", \.networkRateOut, .omitEmpty)
        $0("NetworkBurstIn", \.networkBurstIn, .omitEmpty)
        $0("NetworkBurstOut", \.networkBurstOut, .omitEmpty)
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

    public static let fields = Fields<Self> {
        $0("Name", \.name)
        $0("MaximumRetryCount", \.maximumRetryCount)
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

    public static let fields = Fields<Self> {
        $0("Type", \.type)
        $0("Config", \.config)
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

    public static let fields = Fields<Self> {
        $0("Name", \.name)
        $0("Hard", \.hard)
        $0("Soft", \.soft)
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

    public static let fields = Fields<Self> {
        $0("PathOnHost", \.pathOnHost)
        $0("PathInContainer", \.pathInContainer)
        $0("CgroupPermissions", \.cgroupPermissions)
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

    public static let fields = Fields<Self> {
        $0("Driver", \.driver)
        $0("Count", \.count)
        $0("DeviceIDs", \.deviceIDs)
        $0("Capabilities", \.capabilities)
        $0("Options", \.options)
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

    public static let fields = Fields<Self> {
        $0("Path", \.path)
        $0("Weight", \.weight)
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

    public static let fields = Fields<Self> {
        $0("Path", \.path)
        $0("Rate", \.rate)
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

    public static let fields = Fields<Self> {
        $0("HostIp", \.hostIP)
        $0("HostPort", \.hostPort)
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

    public static let fields = Fields<Self> {
        $0.embed(\.resources)
        $0("RestartPolicy", \.restartPolicy)
    }
}

/// The answer to an update.
public struct ContainerUpdateResponse: WireObject {
    public var warnings: [String]?

    public init() {}

    public init(warnings: [String]?) { self.warnings = warnings }

    public static let fields = Fields<Self> { $0("Warnings", \.warnings) }
}
