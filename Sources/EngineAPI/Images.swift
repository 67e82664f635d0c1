/// One image in a list: `GET /images/json`.
public struct ImageSummary: WireObject {
    /// -1: not counted.
    public var containers: Int64 = -1
    /// Seconds since the epoch.
    public var created: Int64 = 0
    /// `sha256:…`.
    public var id = ""
    public var labels: [String: String]?
    public var parentID = ""
    public var descriptor: Descriptor?
    public var repoDigests: [String] = []
    public var repoTags: [String] = []
    /// Bytes shared with other images; -1: not counted.
    public var sharedSize: Int64 = -1
    /// Bytes of the unpacked layers.
    public var size: Int64 = 0
    /// Equal to `size`; only written for API versions below 1.44.
    public var virtualSize: Int64 = 0

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Containers", &containers)
        try fields("Created", &created)
        try fields("Id", &id)
        try fields("Labels", &labels)
        try fields("ParentId", &parentID)
        try fields("Descriptor", &descriptor, .omitEmpty)
        try fields("RepoDigests", &repoDigests)
        try fields("RepoTags", &repoTags)
        try fields("SharedSize", &sharedSize)
        try fields("Size", &size)
        try fields("VirtualSize", &virtualSize, .omitEmpty)
    }
}

/// Everything about one image: `GET /images/{name}/json`.
public struct ImageInspect: WireObject {
    public var id = ""
    public var repoTags: [String] = []
    public var repoDigests: [String] = []
    public var parent = ""
    public var comment = ""
    /// RFC 3339, empty when unknown.
    public var created = ""
    public var dockerVersion = ""
    public var author = ""
    public var config: ImageConfig?
    public var architecture = ""
    public var variant = ""
    public var os = ""
    public var osVersion = ""
    public var size: Int64 = 0
    /// Equal to `size`; only written for API versions below 1.44.
    public var virtualSize: Int64 = 0
    public var graphDriver = DriverData()
    public var rootFS = RootFS()
    public var metadata = Metadata()
    public var descriptor: Descriptor?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Id", &id)
        try fields("RepoTags", &repoTags)
        try fields("RepoDigests", &repoDigests)
        try fields("Parent", &parent)
        try fields("Comment", &comment)
        try fields("Created", &created, .omitEmpty)
        try fields("DockerVersion", &dockerVersion)
        try fields("Author", &author)
        try fields("Config", &config)
        try fields("Architecture", &architecture)
        try fields("Variant", &variant, .omitEmpty)
        try fields("Os", &os)
        try fields("OsVersion", &osVersion, .omitEmpty)
        try fields("Size", &size)
        try fields("VirtualSize", &virtualSize, .omitEmpty)
        try fields("GraphDriver", &graphDriver)
        try fields("RootFS", &rootFS)
        try fields("Metadata", &metadata)
        try fields("Descriptor", &descriptor, .omitEmpty)
    }

    public struct RootFS: WireObject {
        public var type = "layers"
        public var layers: [String] = []

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("Type", &type, .omitEmpty)
            try fields("Layers", &layers, .omitEmpty)
        }
    }

    public struct Metadata: WireObject {
        public var lastTagTime = Timestamp.never

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws { try fields("LastTagTime", &lastTagTime) }
    }
}

/// What an image says about the containers made from it.
public struct ImageConfig: WireObject {
    public var user = ""
    public var exposedPorts: [String: EmptyObject]?
    public var env: [String]?
    public var entrypoint: [String]?
    public var cmd: [String]?
    public var volumes: [String: EmptyObject]?
    public var workingDir = ""
    public var labels: [String: String]?
    public var stopSignal = ""
    public var argsEscaped = false
    public var healthcheck: HealthConfig?
    public var onBuild: [String]?
    public var shell: [String]?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("User", &user, .omitEmpty)
        try fields("ExposedPorts", &exposedPorts, .omitEmpty)
        try fields("Env", &env, .omitEmpty)
        try fields.words("Entrypoint", &entrypoint, .omitEmpty)
        try fields.words("Cmd", &cmd, .omitEmpty)
        try fields("Volumes", &volumes, .omitEmpty)
        try fields("WorkingDir", &workingDir, .omitEmpty)
        try fields("Labels", &labels, .omitEmpty)
        try fields("StopSignal", &stopSignal, .omitEmpty)
        try fields("ArgsEscaped", &argsEscaped, .omitEmpty)
        try fields("Healthcheck", &healthcheck, .omitEmpty)
        try fields("OnBuild", &onBuild, .omitEmpty)
        try fields.words("Shell", &shell, .omitEmpty)
    }
}

/// One step of an image's history.
public struct ImageHistoryItem: WireObject {
    public var comment = ""
    /// Seconds since the epoch.
    public var created: Int64 = 0
    public var createdBy = ""
    /// The image's id, or `<missing>`.
    public var id = ""
    public var size: Int64 = 0
    public var tags: [String]?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Comment", &comment)
        try fields("Created", &created)
        try fields("CreatedBy", &createdBy)
        try fields("Id", &id)
        try fields("Size", &size)
        try fields("Tags", &tags)
    }
}

/// What removing an image did: one of the two is set.
public struct ImageDeleteItem: WireObject {
    public var deleted = ""
    public var untagged = ""

    public init() {}

    public static func deleted(_ id: String) -> Self { Self { $0.deleted = id } }
    public static func untagged(_ reference: String) -> Self { Self { $0.untagged = reference } }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Deleted", &deleted, .omitEmpty)
        try fields("Untagged", &untagged, .omitEmpty)
    }
}

/// What `POST /images/prune` removed.
public struct ImagesPruneReport: WireObject {
    public var imagesDeleted: [ImageDeleteItem]?
    public var spaceReclaimed: UInt64 = 0

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("ImagesDeleted", &imagesDeleted)
        try fields("SpaceReclaimed", &spaceReclaimed)
    }
}

/// A found image: `GET /images/search`.
public struct ImageSearchResult: WireObject {
    public var starCount = 0
    public var isOfficial = false
    public var name = ""
    public var isAutomated = false
    public var description = ""

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("star_count", &starCount)
        try fields("is_official", &isOfficial)
        try fields("name", &name)
        try fields("is_automated", &isAutomated)
        try fields("description", &description)
    }
}

/// What a registry has under a name: `GET /distribution/{name}/json`.
public struct DistributionInspect: WireObject {
    public var descriptor = Descriptor()
    public var platforms: [Descriptor.Platform] = []

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Descriptor", &descriptor)
        try fields("Platforms", &platforms)
    }
}

/// An OCI content descriptor.
public struct Descriptor: WireObject {
    public var mediaType = ""
    public var digest = ""
    public var size: Int64 = 0
    public var urls: [String]?
    public var annotations: [String: String]?
    public var platform: Platform?
    public var artifactType = ""

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("mediaType", &mediaType)
        try fields("digest", &digest)
        try fields("size", &size)
        try fields("urls", &urls, .omitEmpty)
        try fields("annotations", &annotations, .omitEmpty)
        try fields("platform", &platform, .omitEmpty)
        try fields("artifactType", &artifactType, .omitEmpty)
    }

    public struct Platform: WireObject {
        public var architecture = ""
        public var os = ""
        public var osVersion = ""
        public var osFeatures: [String]?
        public var variant = ""

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("architecture", &architecture)
            try fields("os", &os)
            try fields("os.version", &osVersion, .omitEmpty)
            try fields("os.features", &osFeatures, .omitEmpty)
            try fields("variant", &variant, .omitEmpty)
        }
    }
}

/// One line of the JSON streams of pull, load, push and build.
public struct ProgressMessage: WireObject {
    /// Text printed as it is (`docker load`).
    public var stream = ""
    /// `Downloading`, `Pull complete` …
    public var status = ""
    public var progressDetail: Detail?
    /// The bar as text, for clients that do not draw their own.
    public var progress = ""
    /// The layer's short id, or the tag.
    public var id = ""
    /// The end of the operation when it failed: HTTP has said 200 by then.
    public var errorDetail: ErrorDetail?
    public var error = ""
    public var aux: JSONValue?

    public init() {}

    public init(status: String, id: String = "", detail: Detail? = nil) {
        self.status = status
        self.id = id
        self.progressDetail = detail
    }

    public init(stream: String) { self.stream = stream }

    public init(error: String) {
        self.error = error
        self.errorDetail = ErrorDetail { $0.message = error }
    }

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("stream", &stream, .omitEmpty)
        try fields("status", &status, .omitEmpty)
        try fields("progressDetail", &progressDetail, .omitEmpty)
        try fields("progress", &progress, .omitEmpty)
        try fields("id", &id, .omitEmpty)
        try fields("errorDetail", &errorDetail, .omitEmpty)
        try fields("error", &error, .omitEmpty)
        try fields("aux", &aux, .omitEmpty)
    }

    /// Bytes.
    public struct Detail: WireObject {
        public var current: Int64 = 0
        public var total: Int64 = 0

        public init() {}

        public init(current: Int64, total: Int64) {
            self.current = current
            self.total = total
        }

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("current", &current, .omitEmpty)
            try fields("total", &total, .omitEmpty)
        }
    }

    public struct ErrorDetail: WireObject {
        public var code = 0
        public var message = ""

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("code", &code, .omitEmpty)
            try fields("message", &message, .omitEmpty)
        }
    }
}
