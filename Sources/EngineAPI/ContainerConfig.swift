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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Hostname", &hostname)
        try fields("Domainname", &domainname)
        try fields("User", &user)
        try fields("AttachStdin", &attachStdin)
        try fields("AttachStdout", &attachStdout)
        try fields("AttachStderr", &attachStderr)
        try fields("ExposedPorts", &exposedPorts, .omitEmpty)
        try fields("Tty", &tty)
        try fields("OpenStdin", &openStdin)
        try fields("StdinOnce", &stdinOnce)
        try fields("Env", &env)
        try fields.words("Cmd", &cmd)
        try fields("Healthcheck", &healthcheck, .omitEmpty)
        try fields("ArgsEscaped", &argsEscaped, .omitEmpty)
        try fields("Image", &image)
        try fields("Volumes", &volumes)
        try fields("WorkingDir", &workingDir)
        try fields.words("Entrypoint", &entrypoint)
        try fields("NetworkDisabled", &networkDisabled, .omitEmpty)
        try fields("MacAddress", &macAddress, .omitEmpty)
        try fields("OnBuild", &onBuild)
        try fields("Labels", &labels)
        try fields("StopSignal", &stopSignal, .omitEmpty)
        try fields("StopTimeout", &stopTimeout, .omitEmpty)
        try fields.words("Shell", &shell, .omitEmpty)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Test", &test, .omitEmpty)
        try fields("Interval", &interval, .omitEmpty)
        try fields("Timeout", &timeout, .omitEmpty)
        try fields("StartPeriod", &startPeriod, .omitEmpty)
        try fields("StartInterval", &startInterval, .omitEmpty)
        try fields("Retries", &retries, .omitEmpty)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields.embed(&config)
        try fields("HostConfig", &hostConfig, .omitEmpty)
        try fields("NetworkingConfig", &networkingConfig, .omitEmpty)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Id", &id)
        try fields("Warnings", &warnings)
    }
}
