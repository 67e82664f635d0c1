/// An image's configuration: image-spec config.md with the fields that Docker adds. Its digest is the image's ID.
///
/// Go writes `null` for an empty list, so every list and map is optional.
public struct ImageConfig: Codable, Hashable, Sendable {
    /// RFC 3339, as written by whoever made the image.
    public var created: String?
    public var author: String?
    public var comment: String?
    public var architecture: String
    public var os: String
    public var variant: String?
    public var osVersion: String?
    public var dockerVersion: String?
    public var config: Execution?
    public var rootfs: RootFS
    public var history: [History]?

    public init(
        created: String? = nil, author: String? = nil, comment: String? = nil,
        architecture: String = Platform.host.architecture, os: String = "linux", variant: String? = nil,
        osVersion: String? = nil, dockerVersion: String? = nil, config: Execution? = nil, rootfs: RootFS,
        history: [History]? = nil
    ) {
        self.created = created
        self.author = author
        self.comment = comment
        self.architecture = architecture
        self.os = os
        self.variant = variant
        self.osVersion = osVersion
        self.dockerVersion = dockerVersion
        self.config = config
        self.rootfs = rootfs
        self.history = history
    }

    enum CodingKeys: String, CodingKey {
        case created, author, comment, architecture, os, variant, config, rootfs, history
        case osVersion = "os.version"
        case dockerVersion = "docker_version"
    }

    /// The platform that the image says it is for.
    public var platform: Platform {
        Platform(architecture: architecture, os: os, variant: variant, osVersion: osVersion)
    }
}

extension ImageConfig {
    /// The layers, bottom first, by the digest of their uncompressed tar streams.
    public struct RootFS: Codable, Hashable, Sendable {
        public var type: String
        public var diffIDs: [Digest]?

        public init(type: String = "layers", diffIDs: [Digest]) {
            self.type = type
            self.diffIDs = diffIDs
        }

        enum CodingKeys: String, CodingKey {
            case type
            case diffIDs = "diff_ids"
        }
    }

    /// How one layer came to be.
    public struct History: Codable, Hashable, Sendable {
        public var created: String?
        public var createdBy: String?
        public var author: String?
        public var comment: String?
        public var emptyLayer: Bool?

        public init(
            created: String? = nil, createdBy: String? = nil, author: String? = nil, comment: String? = nil,
            emptyLayer: Bool? = nil
        ) {
            self.created = created
            self.createdBy = createdBy
            self.author = author
            self.comment = comment
            self.emptyLayer = emptyLayer
        }

        enum CodingKeys: String, CodingKey {
            case created, author, comment
            case createdBy = "created_by"
            case emptyLayer = "empty_layer"
        }
    }

    /// The defaults of a container made from the image: the `config` object.
    public struct Execution: Codable, Hashable, Sendable {
        public var user: String?
        /// `port[/protocol]` to an empty object.
        public var exposedPorts: [String: EmptyObject]?
        public var env: [String]?
        public var entrypoint: StringOrList?
        public var cmd: StringOrList?
        public var volumes: [String: EmptyObject]?
        public var workingDir: String?
        public var labels: [String: String]?
        public var stopSignal: String?
        /// Seconds.
        public var stopTimeout: Int?
        public var healthcheck: Healthcheck?
        public var onBuild: [String]?
        public var shell: StringOrList?
        public var argsEscaped: Bool?
        public var hostname: String?
        public var domainname: String?
        public var tty: Bool?
        public var openStdin: Bool?
        public var stdinOnce: Bool?

        public init(
            user: String? = nil, exposedPorts: [String: EmptyObject]? = nil, env: [String]? = nil,
            entrypoint: StringOrList? = nil, cmd: StringOrList? = nil, volumes: [String: EmptyObject]? = nil,
            workingDir: String? = nil, labels: [String: String]? = nil, stopSignal: String? = nil,
            stopTimeout: Int? = nil, healthcheck: Healthcheck? = nil, onBuild: [String]? = nil,
            shell: StringOrList? = nil, argsEscaped: Bool? = nil
        ) {
            self.user = user
            self.exposedPorts = exposedPorts
            self.env = env
            self.entrypoint = entrypoint
            self.cmd = cmd
            self.volumes = volumes
            self.workingDir = workingDir
            self.labels = labels
            self.stopSignal = stopSignal
            self.stopTimeout = stopTimeout
            self.healthcheck = healthcheck
            self.onBuild = onBuild
            self.shell = shell
            self.argsEscaped = argsEscaped
        }

        enum CodingKeys: String, CodingKey {
            case user = "User"
            case exposedPorts = "ExposedPorts"
            case env = "Env"
            case entrypoint = "Entrypoint"
            case cmd = "Cmd"
            case volumes = "Volumes"
            case workingDir = "WorkingDir"
            case labels = "Labels"
            case stopSignal = "StopSignal"
            case stopTimeout = "StopTimeout"
            case healthcheck = "Healthcheck"
            case onBuild = "OnBuild"
            case shell = "Shell"
            case argsEscaped = "ArgsEscaped"
            case hostname = "Hostname"
            case domainname = "Domainname"
            case tty = "Tty"
            case openStdin = "OpenStdin"
            case stdinOnce = "StdinOnce"
        }
    }

    /// Docker's health check; durations are nanoseconds.
    public struct Healthcheck: Codable, Hashable, Sendable {
        /// `[]` inherits, `["NONE"]` disables, `["CMD", …]`, `["CMD-SHELL", command]`.
        public var test: [String]?
        public var interval: Int64?
        public var timeout: Int64?
        public var startPeriod: Int64?
        public var startInterval: Int64?
        public var retries: Int?

        public init(
            test: [String]? = nil, interval: Int64? = nil, timeout: Int64? = nil, startPeriod: Int64? = nil,
            startInterval: Int64? = nil, retries: Int? = nil
        ) {
            self.test = test
            self.interval = interval
            self.timeout = timeout
            self.startPeriod = startPeriod
            self.startInterval = startInterval
            self.retries = retries
        }

        enum CodingKeys: String, CodingKey {
            case test = "Test"
            case interval = "Interval"
            case timeout = "Timeout"
            case startPeriod = "StartPeriod"
            case startInterval = "StartInterval"
            case retries = "Retries"
        }
    }
}

/// `{}`: the value in Docker's sets of ports and volumes.
public struct EmptyObject: Codable, Hashable, Sendable {
    public init() {}
}

/// A command line: a list of strings, or, in old images, one string, which is read as a list of one.
public struct StringOrList: Codable, Hashable, Sendable, ExpressibleByArrayLiteral {
    public var values: [String]

    public init(_ values: [String]) { self.values = values }
    public init(arrayLiteral elements: String...) { values = elements }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let one = try? container.decode(String.self) {
            values = [one]
        } else {
            values = try container.decode([String].self)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(values)
    }
}
