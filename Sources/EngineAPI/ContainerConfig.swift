/// What runs in a container, independent of the host: Docker's `container.Config`.
public struct ContainerConfig: WireObject {
    public var hostname = ""
    public var domainname = ""
    /// `name|uid[:name|gid]`.
    public var user = ""
    public var attachStdin = false
    public var attachStdout = false
    public var attachStderr = false
    /// Keys such as `80/tcp`.
    public var exposedPorts: [String: EmptyObject]?
    public var tty = false
    public var openStdin = false
    /// stdin closes when the first attached client goes away.
    public var stdinOnce = false
    /// `NAME=value`; a bare `NAME` removes what the image sets.
    public var env: [String]?
    public var cmd: [String]?
    public var healthcheck: HealthConfig?
    public var argsEscaped = false
    /// The image as the client named it.
    public var image = ""
    /// Container paths that get a volume.
    public var volumes: [String: EmptyObject]?
    public var workingDir = ""
    public var entrypoint: [String]?
    public var networkDisabled = false
    public var macAddress = ""
    public var onBuild: [String]?
    public var labels: [String: String]?
    public var stopSignal = ""
    /// Seconds; -1 waits for ever.
    public var stopTimeout: Int?
    public var shell: [String]?

    public init() {}

    public static let fields = Fields<Self> {
        $0("Hostname", \.hostname)
        $0("Domainname", \.domainname)
        $0("User", \.user)
        $0("AttachStdin", \.attachStdin)
        $0("AttachStdout", \.attachStdout)
        $0("AttachStderr", \.attachStderr)
        $0("ExposedPorts", \.exposedPorts, .omitEmpty)
        $0("Tty", \.tty)
        $0("OpenStdin", \.openStdin)
        $0("StdinOnce", \.stdinOnce)
        $0("Env", \.env)
        $0.words("Cmd", \.cmd)
        $0("Healthcheck", \.healthcheck, .omitEmpty)
        $0("ArgsEscaped", \.argsEscaped, .omitEmpty)
        $0("Image", \.image)
        $0("Volumes", \.volumes)
        $0("WorkingDir", \.workingDir)
        $0.words("Entrypoint", \.entrypoint)
        $0("NetworkDisabled", \.networkDisabled, .omitEmpty)
        $0("MacAddress", \.macAddress, .omitEmpty)
        $0("OnBuild", \.onBuild)
        $0("Labels", \.labels)
        $0("StopSignal", \.stopSignal, .omitEmpty)
        $0("StopTimeout", \.stopTimeout, .omitEmpty)
        $0.words("Shell", \.shell, .omitEmpty)
    }
}

/// How to find out whether a container is well. Durations are nanoseconds; zero means the default or what the image says.
public struct HealthConfig: WireObject {
    /// `[]` inherits, `["NONE"]` disables, `["CMD", …]` runs words, `["CMD-SHELL", text]` runs a shell.
    public var test: [String]?
    public var interval = 0
    public var timeout = 0
    public var startPeriod = 0
    public var startInterval = 0
    /// Consecutive failures until a container is unhealthy.
    public var retries = 0

    /// The label that says what is done with a container that becomes unhealthy: `none`, `kill`, `restart` or `stop`.
    /// Docker has no such thing; a label reaches the daemon from every client.
    public static let onFailureLabel = "mycontainer.health-on-failure"

    public init() {}

    public static let fields = Fields<Self> {
        $0("Test", \.test, .omitEmpty)
        $0("Interval", \.interval, .omitEmpty)
        $0("Timeout", \.timeout, .omitEmpty)
        $0("StartPeriod", \.startPeriod, .omitEmpty)
        $0("StartInterval", \.startInterval, .omitEmpty)
        $0("Retries", \.retries, .omitEmpty)
    }
}

/// The body of `POST /containers/create`: a `ContainerConfig` with two more members.
public struct ContainerCreateRequest: WireObject {
    public var config = ContainerConfig()
    public var hostConfig: HostConfig?
    public var networkingConfig: NetworkingConfig?

    public init() {}

    public init(
        config: ContainerConfig, hostConfig: HostConfig? = nil, networkingConfig: NetworkingConfig? = nil
    ) {
        self.config = config
        self.hostConfig = hostConfig
        self.networkingConfig = networkingConfig
    }

    public static let fields = Fields<Self> {
        $0.embed(\.config)
        $0("HostConfig", \.hostConfig, .omitEmpty)
        $0("NetworkingConfig", \.networkingConfig, .omitEmpty)
    }
}

/// The answer to a creation.
public struct ContainerCreateResponse: WireObject {
    public var id = ""
    public var warnings: [String] = []

    public init() {}

    public init(id: String, warnings: [String] = []) {
        self.id = id
        self.warnings = warnings
    }

    public static let fields = Fields<Self> {
        $0("Id", \.id)
        $0("Warnings", \.warnings)
    }
}
