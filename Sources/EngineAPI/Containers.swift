/// One container in a list: `GET /containers/json`.
public struct ContainerSummary: WireObject {
    public var id = ""
    /// Each with a leading slash.
    public var names: [String]?
    public var image = ""
    public var imageID = ""
    public var imageManifestDescriptor: Descriptor?
    public var command = ""
    /// Seconds since the epoch.
    public var created: Int64 = 0
    public var ports: [Port] = []
    public var sizeRw: Int64 = 0
    public var sizeRootFs: Int64 = 0
    public var labels: [String: String] = [:]
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    public var state = ""
    /// For people: `Up 3 minutes`.
    public var status = ""
    public var hostConfig = HostConfigSummary()
    public var networkSettings: NetworkSettingsSummary?
    public var mounts: [MountPoint] = []

    public init() {}

    public static let fields = Fields<Self> {
        $0("Id", \.id)
        $0("Names", \.names)
        $0("Image", \.image)
        $0("ImageID", \.imageID)
        $0("ImageManifestDescriptor", \.imageManifestDescriptor, .omitEmpty)
        $0("Command", \.command)
        $0("Created", \.created)
        $0("Ports", \.ports)
        $0("SizeRw", \.sizeRw, .omitEmpty)
        $0("SizeRootFs", \.sizeRootFs, .omitEmpty)
        $0("Labels", \.labels)
        $0("State", \.state)
        $0("Status", \.status)
        $0("HostConfig", \.hostConfig)
        $0("NetworkSettings", \.networkSettings)
        $0("Mounts", \.mounts)
    }

    public struct HostConfigSummary: WireObject {
        public var networkMode = ""
        public var annotations: [String: String]?

        public init() {}

        public static let fields = Fields<Self> {
            $0("NetworkMode", \.networkMode, .omitEmpty)
            $0("Annotations", \.annotations, .omitEmpty)
        }
    }

    public struct NetworkSettingsSummary: WireObject {
        public var networks: [String: EndpointSettings]?

        public init() {}

        public static let fields = Fields<Self> { $0("Networks", \.networks) }
    }
}

/// A port in a list of containers.
public struct Port: WireObject {
    public var ip = ""
    public var privatePort: UInt16 = 0
    public var publicPort: UInt16 = 0
    public var type = ""

    public init() {}

    public static let fields = Fields<Self> {
        $0("IP", \.ip, .omitEmpty)
        $0("PrivatePort", \.privatePort)
        $0("PublicPort", \.publicPort, .omitEmpty)
        $0("Type", \.type)
    }
}

/// Everything about one container: `GET /containers/{id}/json`.
public struct ContainerInspect: WireObject {
    public var id = ""
    /// RFC 3339 with nanoseconds.
    public var created = ""
    public var path = ""
    public var args: [String] = []
    public var state: ContainerState?
    /// The image's id.
    public var image = ""
    public var resolvConfPath = ""
    public var hostnamePath = ""
    public var hostsPath = ""
    public var logPath = ""
    /// With a leading slash.
    public var name = ""
    public var restartCount = 0
    public var driver = ""
    public var platform = ""
    public var mountLabel = ""
    public var processLabel = ""
    public var appArmorProfile = ""
    public var execIDs: [String]?
    public var hostConfig: HostConfig?
    public var graphDriver = DriverData()
    public var sizeRw: Int64?
    public var sizeRootFs: Int64?
    public var mounts: [MountPoint] = []
    public var config: ContainerConfig?
    public var networkSettings: NetworkSettings?
    public var imageManifestDescriptor: Descriptor?
    /// Not docker's: what the profile would have refused; nil where no audit was asked for (`seccomp=audit`).
    public var seccompAudit: [SeccompAuditCall]?

    public init() {}

    public static let fields = Fields<Self> {
        $0("Id", \.id)
        $0("Created", \.created)
        $0("Path", \.path)
        $0("Args", \.args)
        $0("State", \.state)
        $0("Image", \.image)
        $0("ResolvConfPath", \.resolvConfPath)
        $0("HostnamePath", \.hostnamePath)
        $0("HostsPath", \.hostsPath)
        $0("LogPath", \.logPath)
        $0("Name", \.name)
        $0("RestartCount", \.restartCount)
        $0("Driver", \.driver)
        $0("Platform", \.platform)
        $0("MountLabel", \.mountLabel)
        $0("ProcessLabel", \.processLabel)
        $0("AppArmorProfile", \.appArmorProfile)
        $0("ExecIDs", \.execIDs)
        $0("HostConfig", \.hostConfig)
        $0("GraphDriver", \.graphDriver)
        $0("SizeRw", \.sizeRw, .omitEmpty)
        $0("SizeRootFs", \.sizeRootFs, .omitEmpty)
        $0("Mounts", \.mounts)
        $0("Config", \.config)
        $0("NetworkSettings", \.networkSettings)
        $0("ImageManifestDescriptor", \.imageManifestDescriptor, .omitEmpty)
        $0("SeccompAudit", \.seccompAudit, .omitEmpty)
    }
}

/// A system call that a container made and its seccomp profile would have refused.
public struct SeccompAuditCall: WireObject {
    public var name = ""
    /// `x86_64`, `i386` …
    public var architecture = ""
    /// An errno's name, or what would have become of the process.
    public var answer = ""
    public var count: UInt64 = 0
    /// The arguments of the first such call, hexadecimal.
    public var arguments: [String] = []

    public init() {}

    public static let fields = Fields<Self> {
        $0("Name", \.name)
        $0("Architecture", \.architecture)
        $0("Answer", \.answer)
        $0("Count", \.count)
        $0("Arguments", \.arguments)
    }
}

/// What a container is doing. Times are RFC 3339 with nanoseconds; `Timestamp.never` before they happened.
public struct ContainerState: WireObject {
    public var status = ""
    public var running = false
    public var paused = false
    public var restarting = false
    public var oomKilled = false
    public var dead = false
    public var pid = 0
    public var exitCode = 0
    public var error = ""
    public var startedAt = Timestamp.never
    public var finishedAt = Timestamp.never
    public var health: Health?

    public init() {}

    public static let fields = Fields<Self> {
        $0("Status", \.status)
        $0("Running", \.running)
        $0("Paused", \.paused)
        $0("Restarting", \.restarting)
        $0("OOMKilled", \.oomKilled)
        $0("Dead", \.dead)
        $0("Pid", \.pid)
        $0("ExitCode", \.exitCode)
        $0("Error", \.error)
        $0("StartedAt", \.startedAt)
        $0("FinishedAt", \.finishedAt)
        $0("Health", \.health, .omitEmpty)
    }
}

/// A container's health: `none`, `starting`, `healthy` or `unhealthy`.
public struct Health: WireObject {
    public var status = ""
    public var failingStreak = 0
    /// The last results, oldest first.
    public var log: [HealthcheckResult]?

    public init() {}

    public static let fields = Fields<Self> {
        $0("Status", \.status)
        $0("FailingStreak", \.failingStreak)
        $0("Log", \.log)
    }
}

/// One health check that ran.
public struct HealthcheckResult: WireObject {
    public var start = Timestamp.never
    public var end = Timestamp.never
    public var exitCode = 0
    public var output = ""

    public init() {}

    public static let fields = Fields<Self> {
        $0("Start", \.start)
        $0("End", \.end)
        $0("ExitCode", \.exitCode)
        $0("Output", \.output)
    }
}

/// Where the storage driver keeps a container or an image.
public struct DriverData: WireObject {
    public var data: [String: String]?
    public var name = ""

    public init() {}

    public static let fields = Fields<Self> {
        $0("Data", \.data)
        $0("Name", \.name)
    }
}

/// Processes of a container, a row each.
public struct TopResponse: WireObject {
    public var titles: [String] = []
    public var processes: [[String]] = []

    public init() {}

    public init(titles: [String], processes: [[String]]) {
        self.titles = titles
        self.processes = processes
    }

    public static let fields = Fields<Self> {
        $0("Titles", \.titles)
        $0("Processes", \.processes)
    }
}

/// How a container ended.
public struct WaitResponse: WireObject {
    public var statusCode: Int64 = 0
    public var error: WaitError?

    public init() {}

    public init(statusCode: Int64, error: String? = nil) {
        self.statusCode = statusCode
        self.error = error.map { message in WaitError { $0.message = message } }
    }

    public static let fields = Fields<Self> {
        $0("StatusCode", \.statusCode)
        $0("Error", \.error, .omitEmpty)
    }

    public struct WaitError: WireObject {
        public var message = ""

        public init() {}

        public static let fields = Fields<Self> { $0("Message", \.message, .omitEmpty) }
    }
}

/// What a client waits for.
public enum WaitCondition: String, Sendable {
    /// The container is not running (at once if it is not).
    case notRunning = "not-running"
    /// The next time that it exits.
    case nextExit = "next-exit"
    /// The container is gone.
    case removed
}

/// A path that a container changed: kind 0 modified, 1 added, 2 deleted.
public struct FilesystemChange: WireObject {
    public var kind = 0
    public var path = ""

    public init() {}

    public init(kind: Int, path: String) {
        self.kind = kind
        self.path = path
    }

    public static let fields = Fields<Self> {
        $0("Kind", \.kind)
        $0("Path", \.path)
    }
}

/// What `docker cp` learns about a path; sent base64-encoded in `X-Docker-Container-Path-Stat`.
public struct PathStat: WireObject {
    public var name = ""
    public var size: Int64 = 0
    /// Go's `os.FileMode`: permission bits, and Go's own bits for types.
    public var mode: UInt32 = 0
    /// RFC 3339 with nanoseconds.
    public var mtime = Timestamp.never
    public var linkTarget = ""

    public init() {}

    public static let fields = Fields<Self> {
        $0("name", \.name)
        $0("size", \.size)
        $0("mode", \.mode)
        $0("mtime", \.mtime)
        $0("linkTarget", \.linkTarget)
    }
}

/// What `POST /containers/prune` removed.
public struct ContainersPruneReport: WireObject {
    public var containersDeleted: [String]?
    public var spaceReclaimed: UInt64 = 0

    public init() {}

    public static let fields = Fields<Self> {
        $0("ContainersDeleted", \.containersDeleted)
        $0("SpaceReclaimed", \.spaceReclaimed)
    }
}
