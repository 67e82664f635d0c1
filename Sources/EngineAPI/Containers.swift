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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Id", &id)
        try fields("Names", &names)
        try fields("Image", &image)
        try fields("ImageID", &imageID)
        try fields("ImageManifestDescriptor", &imageManifestDescriptor, .omitEmpty)
        try fields("Command", &command)
        try fields("Created", &created)
        try fields("Ports", &ports)
        try fields("SizeRw", &sizeRw, .omitEmpty)
        try fields("SizeRootFs", &sizeRootFs, .omitEmpty)
        try fields("Labels", &labels)
        try fields("State", &state)
        try fields("Status", &status)
        try fields("HostConfig", &hostConfig)
        try fields("NetworkSettings", &networkSettings)
        try fields("Mounts", &mounts)
    }

    public struct HostConfigSummary: WireObject {
        public var networkMode = ""
        public var annotations: [String: String]?

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("NetworkMode", &networkMode, .omitEmpty)
            try fields("Annotations", &annotations, .omitEmpty)
        }
    }

    public struct NetworkSettingsSummary: WireObject {
        public var networks: [String: EndpointSettings]?

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws { try fields("Networks", &networks) }
    }
}

/// A port in a list of containers.
public struct Port: WireObject {
    public var ip = ""
    public var privatePort: UInt16 = 0
    public var publicPort: UInt16 = 0
    public var type = ""

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("IP", &ip, .omitEmpty)
        try fields("PrivatePort", &privatePort)
        try fields("PublicPort", &publicPort, .omitEmpty)
        try fields("Type", &type)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Id", &id)
        try fields("Created", &created)
        try fields("Path", &path)
        try fields("Args", &args)
        try fields("State", &state)
        try fields("Image", &image)
        try fields("ResolvConfPath", &resolvConfPath)
        try fields("HostnamePath", &hostnamePath)
        try fields("HostsPath", &hostsPath)
        try fields("LogPath", &logPath)
        try fields("Name", &name)
        try fields("RestartCount", &restartCount)
        try fields("Driver", &driver)
        try fields("Platform", &platform)
        try fields("MountLabel", &mountLabel)
        try fields("ProcessLabel", &processLabel)
        try fields("AppArmorProfile", &appArmorProfile)
        try fields("ExecIDs", &execIDs)
        try fields("HostConfig", &hostConfig)
        try fields("GraphDriver", &graphDriver)
        try fields("SizeRw", &sizeRw, .omitEmpty)
        try fields("SizeRootFs", &sizeRootFs, .omitEmpty)
        try fields("Mounts", &mounts)
        try fields("Config", &config)
        try fields("NetworkSettings", &networkSettings)
        try fields("ImageManifestDescriptor", &imageManifestDescriptor, .omitEmpty)
        try fields("SeccompAudit", &seccompAudit, .omitEmpty)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Name", &name)
        try fields("Architecture", &architecture)
        try fields("Answer", &answer)
        try fields("Count", &count)
        try fields("Arguments", &arguments)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Status", &status)
        try fields("Running", &running)
        try fields("Paused", &paused)
        try fields("Restarting", &restarting)
        try fields("OOMKilled", &oomKilled)
        try fields("Dead", &dead)
        try fields("Pid", &pid)
        try fields("ExitCode", &exitCode)
        try fields("Error", &error)
        try fields("StartedAt", &startedAt)
        try fields("FinishedAt", &finishedAt)
        try fields("Health", &health, .omitEmpty)
    }
}

/// A container's health: `none`, `starting`, `healthy` or `unhealthy`.
public struct Health: WireObject {
    public var status = ""
    public var failingStreak = 0
    /// The last results, oldest first.
    public var log: [HealthcheckResult]?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Status", &status)
        try fields("FailingStreak", &failingStreak)
        try fields("Log", &log)
    }
}

/// One health check that ran.
public struct HealthcheckResult: WireObject {
    public var start = Timestamp.never
    public var end = Timestamp.never
    public var exitCode = 0
    public var output = ""

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Start", &start)
        try fields("End", &end)
        try fields("ExitCode", &exitCode)
        try fields("Output", &output)
    }
}

/// Where the storage driver keeps a container or an image.
public struct DriverData: WireObject {
    public var data: [String: String]?
    public var name = ""

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Data", &data)
        try fields("Name", &name)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Titles", &titles)
        try fields("Processes", &processes)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("StatusCode", &statusCode)
        try fields("Error", &error, .omitEmpty)
    }

    public struct WaitError: WireObject {
        public var message = ""

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("Message", &message, .omitEmpty)
        }
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Kind", &kind)
        try fields("Path", &path)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("name", &name)
        try fields("size", &size)
        try fields("mode", &mode)
        try fields("mtime", &mtime)
        try fields("linkTarget", &linkTarget)
    }
}

/// What `POST /containers/prune` removed.
public struct ContainersPruneReport: WireObject {
    public var containersDeleted: [String]?
    public var spaceReclaimed: UInt64 = 0

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("ContainersDeleted", &containersDeleted)
        try fields("SpaceReclaimed", &spaceReclaimed)
    }
}
