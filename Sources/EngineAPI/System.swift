/// `{"message": …}`: the body of every refusal.
public struct ErrorResponse: WireObject, Error {
    public var message = ""

    public init() {}

    public init(message: String) { self.message = message }

    public static let fields = Fields<Self> { $0("message", \.message) }
}

/// `GET /version`.
public struct VersionResponse: WireObject {
    public var platform = Platform()
    public var components: [Component]?
    public var version = ""
    public var apiVersion = ""
    public var minAPIVersion = ""
    public var gitCommit = ""
    public var goVersion = ""
    public var os = ""
    public var arch = ""
    public var kernelVersion = ""
    public var experimental = false
    public var buildTime = ""

    public init() {}

    public static let fields = Fields<Self> {
        $0("Platform", \.platform)
        $0("Components", \.components, .omitEmpty)
        $0("Version", \.version)
        $0("ApiVersion", \.apiVersion)
        $0("MinAPIVersion", \.minAPIVersion, .omitEmpty)
        $0("GitCommit", \.gitCommit)
        $0("GoVersion", \.goVersion)
        $0("Os", \.os)
        $0("Arch", \.arch)
        $0("KernelVersion", \.kernelVersion, .omitEmpty)
        $0("Experimental", \.experimental, .omitEmpty)
        $0("BuildTime", \.buildTime, .omitEmpty)
    }

    public struct Platform: WireObject {
        public var name = ""

        public init() {}

        public static let fields = Fields<Self> { $0("Name", \.name) }
    }

    public struct Component: WireObject {
        public var name = ""
        public var version = ""
        public var details: [String: String]?

        public init() {}

        public init(name: String, version: String, details: [String: String]? = nil) {
            self.name = name
            self.version = version
            self.details = details
        }

        public static let fields = Fields<Self> {
            $0("Name", \.name)
            $0("Version", \.version)
            $0("Details", \.details, .omitEmpty)
        }
    }
}

/// `GET /info`.
public struct SystemInfo: WireObject {
    public var id = ""
    public var containers = 0
    public var containersRunning = 0
    public var containersPaused = 0
    public var containersStopped = 0
    public var images = 0
    public var driver = ""
    /// Pairs.
    public var driverStatus: [[String]]?
    public var plugins = Plugins()
    public var memoryLimit = false
    public var swapLimit = false
    public var cpuCfsPeriod = false
    public var cpuCfsQuota = false
    public var cpuShares = false
    public var cpuSet = false
    public var pidsLimit = false
    public var ipv4Forwarding = false
    public var debug = false
    public var nFd = 0
    public var oomKillDisable = false
    public var nGoroutines = 0
    /// RFC 3339 with nanoseconds.
    public var systemTime = ""
    public var loggingDriver = ""
    public var cgroupDriver = ""
    public var cgroupVersion = ""
    public var nEventsListener = 0
    public var kernelVersion = ""
    public var operatingSystem = ""
    public var osVersion = ""
    public var osType = ""
    public var architecture = ""
    public var indexServerAddress = ""
    public var registryConfig: RegistryConfig?
    public var nCPU = 0
    public var memTotal: Int64 = 0
    public var genericResources: [JSONValue]?
    public var dockerRootDir = ""
    public var httpProxy = ""
    public var httpsProxy = ""
    public var noProxy = ""
    public var name = ""
    public var labels: [String]? = []
    public var experimentalBuild = false
    public var serverVersion = ""
    public var runtimes: [String: RuntimeInfo]?
    public var defaultRuntime = ""
    public var swarm = SwarmInfo()
    public var liveRestoreEnabled = false
    public var isolation = ""
    public var initBinary = ""
    public var containerdCommit = Commit()
    public var runcCommit = Commit()
    public var initCommit = Commit()
    public var securityOptions: [String]? = []
    public var cdiSpecDirs: [String]? = []
    public var warnings: [String]?

    public init() {}

    public static let fields = Fields<Self> {
        $0("ID", \.id)
        $0("Containers", \.containers)
        $0("ContainersRunning", \.containersRunning)
        $0("ContainersPaused", \.containersPaused)
        $0("ContainersStopped", \.containersStopped)
        $0("Images", \.images)
        $0("Driver", \.driver)
        $0("DriverStatus", \.driverStatus)
        $0("Plugins", \.plugins)
        $0("MemoryLimit", \.memoryLimit)
        $0("SwapLimit", \.swapLimit)
        $0("CpuCfsPeriod", \.cpuCfsPeriod)
        $0("CpuCfsQuota", \.cpuCfsQuota)
        $0("CPUShares", \.cpuShares)
        $0("CPUSet", \.cpuSet)
        $0("PidsLimit", \.pidsLimit)
        $0("IPv4Forwarding", \.ipv4Forwarding)
        $0("Debug", \.debug)
        $0("NFd", \.nFd)
        $0("OomKillDisable", \.oomKillDisable)
        $0("NGoroutines", \.nGoroutines)
        $0("SystemTime", \.systemTime)
        $0("LoggingDriver", \.loggingDriver)
        $0("CgroupDriver", \.cgroupDriver)
        $0("CgroupVersion", \.cgroupVersion, .omitEmpty)
        $0("NEventsListener", \.nEventsListener)
        $0("KernelVersion", \.kernelVersion)
        $0("OperatingSystem", \.operatingSystem)
        $0("OSVersion", \.osVersion)
        $0("OSType", \.osType)
        $0("Architecture", \.architecture)
        $0("IndexServerAddress", \.indexServerAddress)
        $0("RegistryConfig", \.registryConfig)
        $0("NCPU", \.nCPU)
        $0("MemTotal", \.memTotal)
        $0("GenericResources", \.genericResources)
        $0("DockerRootDir", \.dockerRootDir)
        $0("HttpProxy", \.httpProxy)
        $0("HttpsProxy", \.httpsProxy)
        $0("NoProxy", \.noProxy)
        $0("Name", \.name)
        $0("Labels", \.labels)
        $0("ExperimentalBuild", \.experimentalBuild)
        $0("ServerVersion", \.serverVersion)
        $0("Runtimes", \.runtimes)
        $0("DefaultRuntime", \.defaultRuntime)
        $0("Swarm", \.swarm)
        $0("LiveRestoreEnabled", \.liveRestoreEnabled)
        $0("Isolation", \.isolation)
        $0("InitBinary", \.initBinary)
        $0("ContainerdCommit", \.containerdCommit)
        $0("RuncCommit", \.runcCommit)
        $0("InitCommit", \.initCommit)
        $0("SecurityOptions", \.securityOptions)
        $0("CDISpecDirs", \.cdiSpecDirs)
        $0("Warnings", \.warnings)
    }

    public struct Plugins: WireObject {
        public var volume: [String]? = ["local"]
        public var network: [String]? = ["bridge", "host", "null"]
        public var authorization: [String]?
        public var log: [String]? = []

        public init() {}

        public static let fields = Fields<Self> {
            $0("Volume", \.volume)
            $0("Network", \.network)
            $0("Authorization", \.authorization)
            $0("Log", \.log)
        }
    }

    public struct RegistryConfig: WireObject {
        public var insecureRegistryCIDRs: [String] = []
        public var indexConfigs: [String: IndexInfo] = [:]
        public var mirrors: [String]?

        public init() {}

        public static let fields = Fields<Self> {
            $0("InsecureRegistryCIDRs", \.insecureRegistryCIDRs)
            $0("IndexConfigs", \.indexConfigs)
            $0("Mirrors", \.mirrors)
        }
    }

    public struct IndexInfo: WireObject {
        public var name = ""
        public var mirrors: [String] = []
        public var secure = false
        public var official = false

        public init() {}

        public static let fields = Fields<Self> {
            $0("Name", \.name)
            $0("Mirrors", \.mirrors)
            $0("Secure", \.secure)
            $0("Official", \.official)
        }
    }

    public struct RuntimeInfo: WireObject {
        public var path = ""
        public var args: [String]?
        public var status: [String: String]?

        public init() {}

        public static let fields = Fields<Self> {
            $0("path", \.path, .omitEmpty)
            $0("runtimeArgs", \.args, .omitEmpty)
            $0("status", \.status, .omitEmpty)
        }
    }

    public struct SwarmInfo: WireObject {
        public var nodeID = ""
        public var nodeAddr = ""
        public var localNodeState = "inactive"
        public var controlAvailable = false
        public var error = ""
        public var remoteManagers: [JSONValue]?

        public init() {}

        public static let fields = Fields<Self> {
            $0("NodeID", \.nodeID)
            $0("NodeAddr", \.nodeAddr)
            $0("LocalNodeState", \.localNodeState)
            $0("ControlAvailable", \.controlAvailable)
            $0("Error", \.error)
            $0("RemoteManagers", \.remoteManagers)
        }
    }

    public struct Commit: WireObject {
        public var id = ""
        /// Only written for API versions below 1.49.
        public var expected = ""

        public init() {}

        public static let fields = Fields<Self> {
            $0("ID", \.id)
            $0("Expected", \.expected, .omitEmpty)
        }
    }
}

/// `GET /system/df`.
public struct DiskUsage: WireObject {
    /// Bytes of all layers.
    public var layersSize: Int64 = 0
    public var images: [ImageSummary]? = []
    public var containers: [ContainerSummary]? = []
    public var volumes: [Volume]? = []
    public var buildCache: [JSONValue]? = []

    public init() {}

    public static let fields = Fields<Self> {
        $0("LayersSize", \.layersSize)
        $0("Images", \.images)
        $0("Containers", \.containers)
        $0("Volumes", \.volumes)
        $0("BuildCache", \.buildCache)
    }
}

/// Credentials that a client sends in `X-Registry-Auth` and to `POST /auth`.
public struct AuthConfig: WireObject {
    public var username = ""
    public var password = ""
    public var auth = ""
    public var email = ""
    public var serverAddress = ""
    public var identityToken = ""
    public var registryToken = ""

    public init() {}

    public static let fields = Fields<Self> {
        $0("username", \.username, .omitEmpty)
        $0("password", \.password, .omitEmpty)
        $0("auth", \.auth, .omitEmpty)
        $0("email", \.email, .omitEmpty)
        $0("serveraddress", \.serverAddress, .omitEmpty)
        $0("identitytoken", \.identityToken, .omitEmpty)
        $0("registrytoken", \.registryToken, .omitEmpty)
    }
}
