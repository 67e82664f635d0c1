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

    public static let fields = Fields<Self> {
        $0("Containers", \.containers)
        $0("Created", \.created)
        $0("Id", \.id)
        $0("Labels", \.labels)
        $0("ParentId", \.parentID)
        $0("Descriptor", \.descriptor, .omitEmpty)
        $0("RepoDigests", \.repoDigests)
        $0("RepoTags", \.repoTags)
        $0("SharedSize", \.sharedSize)
        $0("Size", \.size)
        $0("VirtualSize", \.virtualSize, .omitEmpty)
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

    public static let fields = Fields<Self> {
        $0("Id", \.id)
        $0("RepoTags", \.repoTags)
        $0("RepoDigests", \.repoDigests)
        $0("Parent", \.parent)
        $0("Comment", \.comment)
        $0("Created", \.created, .omitEmpty)
        $0("DockerVersion", \.dockerVersion)
        $0("Author", \.author)
        $0("Config", \.config)
        $0("Architecture", \.architecture)
        $0("Variant", \.variant, .omitEmpty)
        $0("Os", \.os)
        $0("OsVersion", \.osVersion, .omitEmpty)
        $0("Size", \.size)
        $0("VirtualSize", \.virtualSize, .omitEmpty)
        $0("GraphDriver", \.graphDriver)
        $0("RootFS", \.rootFS)
        $0("Metadata", \.metadata)
        $0("Descriptor", \.descriptor, .omitEmpty)
    }

    public struct RootFS: WireObject {
        public var type = "layers"
        public var layers: [String] = []

        public init() {}

        public static let fields = Fields<Self> {
            $0("Type", \.type, .omitEmpty)
            $0("Layers", \.layers, .omitEmpty)
        }
    }

    public struct Metadata: WireObject {
        public var lastTagTime = Timestamp.never

        public init() {}

        public static let fields = Fields<Self> { $0("LastTagTime", \.lastTagTime) }
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

    public static let fields = Fields<Self> {
        $0("User", \.user, .omitEmpty)
        $0("ExposedPorts", \.exposedPorts, .omitEmpty)
        $0("Env", \.env, .omitEmpty)
        $0.words("Entrypoint", \.entrypoint, .omitEmpty)
        $0.words("Cmd", \.cmd, .omitEmpty)
        $0("Volumes", \.volumes, .omitEmpty)
        $0("WorkingDir", \.workingDir, .omitEmpty)
        $0("Labels", \.labels, .omitEmpty)
        $0("StopSignal", \.stopSignal, .omitEmpty)
        $0("ArgsEscaped", \.argsEscaped, .omitEmpty)
        $0("Healthcheck", \.healthcheck, .omitEmpty)
        $0("OnBuild", \.onBuild, .omitEmpty)
        $0.words("Shell", \.shell, .omitEmpty)
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

    public static let fields = Fields<Self> {
        $0("Comment", \.comment)
        $0("Created", \.created)
        $0("CreatedBy", \.createdBy)
        $0("Id", \.id)
        $0("Size", \.size)
        $0("Tags", \.tags)
    }
}

/// What removing an image did: one of the two is set.
public struct ImageDeleteItem: WireObject {
    public var deleted = ""
    public var untagged = ""

    public init() {}

    public static func deleted(_ id: String) -> Self { Self { $0.deleted = id } }
    public static func untagged(_ reference: String) -> Self { Self { $0.untagged = reference } }

    public static let fields = Fields<Self> {
        $0("Deleted", \.deleted, .omitEmpty)
        $0("Untagged", \.untagged, .omitEmpty)
    }
}

/// What `POST /images/prune` removed.
public struct ImagesPruneReport: WireObject {
    public var imagesDeleted: [ImageDeleteItem]?
    public var spaceReclaimed: UInt64 = 0

    public init() {}

    public static let fields = Fields<Self> {
        $0("ImagesDeleted", \.imagesDeleted)
        $0("SpaceReclaimed", \.spaceReclaimed)
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

    public static let fields = Fields<Self> {
        $0("star_count", \.starCount)
        $0("is_official", \.isOfficial)
        $0("name", \.name)
        $0("is_automated", \.isAutomated)
        $0("description", \.description)
    }
}

/// What a registry has under a name: `GET /distribution/{name}/json`.
public struct DistributionInspect: WireObject {
    public var descriptor = Descriptor()
    public var platforms: [Descriptor.Platform] = []

    public init() {}

    public static let fields = Fields<Self> {
        $0("Descriptor", \.descriptor)
        $0("Platforms", \.platforms)
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

    public static let fields = Fields<Self> {
        $0("mediaType", \.mediaType)
        $0("digest", \.digest)
        $0("size", \.size)
        $0("urls", \.urls, .omitEmpty)
        $0("annotations", \.annotations, .omitEmpty)
        $0("platform", \.platform, .omitEmpty)
        $0("artifactType", \.artifactType, .omitEmpty)
    }

    public struct Platform: WireObject {
        public var architecture = ""
        public var os = ""
        public var osVersion = ""
        public var osFeatures: [String]?
        public var variant = ""

        public init() {}

        public static let fields = Fields<Self> {
            $0("architecture", \.architecture)
            $0("os", \.os)
            $0("os.version", \.osVersion, .omitEmpty)
            $0("os.features", \.osFeatures, .omitEmpty)
            $0("variant", \.variant, .omitEmpty)
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

    public static let fields = Fields<Self> {
        $0("stream", \.stream, .omitEmpty)
        $0("status", \.status, .omitEmpty)
        $0("progressDetail", \.progressDetail, .omitEmpty)
        $0("progress", \.progress, .omitEmpty)
        $0("id", \.id, .omitEmpty)
        $0("errorDetail", \.errorDetail, .omitEmpty)
        $0("error", \.error, .omitEmpty)
        $0("aux", \.aux, .omitEmpty)
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

        public static let fields = Fields<Self> {
            $0("current", \.current, .omitEmpty)
            $0("total", \.total, .omitEmpty)
        }
    }

    public struct ErrorDetail: WireObject {
        public var code = 0
        public var message = ""

        public init() {}

        public static let fields = Fields<Self> {
            $0("code", \.code, .omitEmpty)
            $0("message", \.message, .omitEmpty)
        }
    }
}
