/// `{"message": …}`: the body of every refusal.
public struct ErrorResponse: WireObject, Error {
    public var message = ""

    public init() {}

    public init(message: String) { self.message = message }

    public mutating func visit(_ fields: inout some FieldVisitor) throws { try fields("message", &message) }
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Platform", &platform)
        try fields("Components", &components, .omitEmpty)
        try fields("Version", &version)
        try fields("ApiVersion", &apiVersion)
        try fields("MinAPIVersion", &minAPIVersion, .omitEmpty)
        try fields("GitCommit", &gitCommit)
        try fields("GoVersion", &goVersion)
        try fields("Os", &os)
        try fields("Arch", &arch)
        try fields("KernelVersion", &kernelVersion, .omitEmpty)
        try fields("Experimental", &experimental, .omitEmpty)
        try fields("BuildTime", &buildTime, .omitEmpty)
    }

    public struct Platform: WireObject {
        public var name = ""

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws { try fields("Name", &name) }
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

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("Name", &name)
            try fields("Version", &version)
            try fields("Details", &details, .omitEmpty)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("ID", &id)
        try fields("Containers", &containers)
        try fields("ContainersRunning", &containersRunning)
        try fields("ContainersPaused", &containersPaused)
        try fields("ContainersStopped", &containersStopped)
        try fields("Images", &images)
        try fields("Driver", &driver)
        try fields("DriverStatus", &driverStatus)
        try fields("Plugins", &plugins)
        try fields("MemoryLimit", &memoryLimit)
        try fields("SwapLimit", &swapLimit)
        try fields("CpuCfsPeriod", &cpuCfsPeriod)
        try fields("CpuCfsQuota", &cpuCfsQuota)
        try fields("CPUShares", &cpuShares)
        try fields("CPUSet", &cpuSet)
        try fields("PidsLimit", &pidsLimit)
        try fields("IPv4Forwarding", &ipv4Forwarding)
        try fields("Debug", &debug)
        try fields("NFd", &nFd)
        try fields("OomKillDisable", &oomKillDisable)
        try fields("NGoroutines", &nGoroutines)
        try fields("SystemTime", &systemTime)
        try fields("LoggingDriver", &loggingDriver)
        try fields("CgroupDriver", &cgroupDriver)
        try fields("CgroupVersion", &cgroupVersion, .omitEmpty)
        try fields("NEventsListener", &nEventsListener)
        try fields("KernelVersion", &kernelVersion)
        try fields("OperatingSystem", &operatingSystem)
        try fields("OSVersion", &osVersion)
        try fields("OSType", &osType)
        try fields("Architecture", &architecture)
        try fields("IndexServerAddress", &indexServerAddress)
        try fields("RegistryConfig", &registryConfig)
        try fields("NCPU", &nCPU)
        try fields("MemTotal", &memTotal)
        try fields("GenericResources", &genericResources)
        try fields("DockerRootDir", &dockerRootDir)
        try fields("HttpProxy", &httpProxy)
        try fields("HttpsProxy", &httpsProxy)
        try fields("NoProxy", &noProxy)
        try fields("Name", &name)
        try fields("Labels", &labels)
        try fields("ExperimentalBuild", &experimentalBuild)
        try fields("ServerVersion", &serverVersion)
        try fields("Runtimes", &runtimes)
        try fields("DefaultRuntime", &defaultRuntime)
        try fields("Swarm", &swarm)
        try fields("LiveRestoreEnabled", &liveRestoreEnabled)
        try fields("Isolation", &isolation)
        try fields("InitBinary", &initBinary)
        try fields("ContainerdCommit", &containerdCommit)
        try fields("RuncCommit", &runcCommit)
        try fields("InitCommit", &initCommit)
        try fields("SecurityOptions", &securityOptions)
        try fields("CDISpecDirs", &cdiSpecDirs)
        try fields("Warnings", &warnings)
    }

    public struct Plugins: WireObject {
        public var volume: [String]? = ["local"]
        public var network: [String]? = ["bridge", "host", "null"]
        public var authorization: [String]?
        public var log: [String]? = []

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("Volume", &volume)
            try fields("Network", &network)
            try fields("Authorization", &authorization)
            try fields("Log", &log)
        }
    }

    public struct RegistryConfig: WireObject {
        public var insecureRegistryCIDRs: [String] = []
        public var indexConfigs: [String: IndexInfo] = [:]
        public var mirrors: [String]?

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("InsecureRegistryCIDRs", &insecureRegistryCIDRs)
            try fields("IndexConfigs", &indexConfigs)
            try fields("Mirrors", &mirrors)
        }
    }

    public struct IndexInfo: WireObject {
        public var name = ""
        public var mirrors: [String] = []
        public var secure = false
        public var official = false

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("Name", &name)
            try fields("Mirrors", &mirrors)
            try fields("Secure", &secure)
            try fields("Official", &official)
        }
    }

    public struct RuntimeInfo: WireObject {
        public var path = ""
        public var args: [String]?
        public var status: [String: String]?

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("path", &path, .omitEmpty)
            try fields("runtimeArgs", &args, .omitEmpty)
            try fields("status", &status, .omitEmpty)
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

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("NodeID", &nodeID)
            try fields("NodeAddr", &nodeAddr)
            try fields("LocalNodeState", &localNodeState)
            try fields("ControlAvailable", &controlAvailable)
            try fields("Error", &error)
            try fields("RemoteManagers", &remoteManagers)
        }
    }

    public struct Commit: WireObject {
        public var id = ""
        /// Only written for API versions below 1.49.
        public var expected = ""

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("ID", &id)
            try fields("Expected", &expected, .omitEmpty)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("LayersSize", &layersSize)
        try fields("Images", &images)
        try fields("Containers", &containers)
        try fields("Volumes", &volumes)
        try fields("BuildCache", &buildCache)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("username", &username, .omitEmpty)
        try fields("password", &password, .omitEmpty)
        try fields("auth", &auth, .omitEmpty)
        try fields("email", &email, .omitEmpty)
        try fields("serveraddress", &serverAddress, .omitEmpty)
        try fields("identitytoken", &identityToken, .omitEmpty)
        try fields("registrytoken", &registryToken, .omitEmpty)
    }
}
