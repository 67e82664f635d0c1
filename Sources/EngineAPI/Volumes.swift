/// A named place for data that outlives containers.
public struct Volume: WireObject {
    /// RFC 3339, to the second.
    public var createdAt = ""
    public var driver = "local"
    public var labels: [String: String]?
    public var mountpoint = ""
    public var name = ""
    public var options: [String: String]?
    public var scope = "local"
    public var status: [String: JSONValue]?
    /// Only where usage was asked for (`system df`).
    public var usageData: UsageData?

    public init() {}

    public static let fields = Fields<Self> {
        $0("CreatedAt", \.createdAt, .omitEmpty)
        $0("Driver", \.driver)
        $0("Labels", \.labels)
        $0("Mountpoint", \.mountpoint)
        $0("Name", \.name)
        $0("Options", \.options)
        $0("Scope", \.scope)
        $0("Status", \.status, .omitEmpty)
        $0("UsageData", \.usageData, .omitEmpty)
    }

    public struct UsageData: WireObject {
        /// -1: not counted.
        public var refCount: Int64 = -1
        /// Bytes; -1: not counted.
        public var size: Int64 = -1

        public init() {}

        public init(refCount: Int64, size: Int64) {
            self.refCount = refCount
            self.size = size
        }

        public static let fields = Fields<Self> {
            $0("RefCount", \.refCount)
            $0("Size", \.size)
        }
    }
}

/// The body of `POST /volumes/create`.
public struct VolumeCreateRequest: WireObject {
    public var name = ""
    public var driver = ""
    public var driverOpts: [String: String]?
    public var labels: [String: String]?
    /// Only for swarm's cluster volumes, which do not exist here.
    public var clusterVolumeSpec: JSONValue?

    public init() {}

    public static let fields = Fields<Self> {
        $0("Name", \.name, .omitEmpty)
        $0("Driver", \.driver, .omitEmpty)
        $0("DriverOpts", \.driverOpts, .omitEmpty)
        $0("Labels", \.labels, .omitEmpty)
        $0("ClusterVolumeSpec", \.clusterVolumeSpec, .omitEmpty)
    }
}

/// `GET /volumes`.
public struct VolumeListResponse: WireObject {
    public var volumes: [Volume] = []
    public var warnings: [String]?

    public init() {}

    public init(volumes: [Volume], warnings: [String]? = nil) {
        self.volumes = volumes
        self.warnings = warnings
    }

    public static let fields = Fields<Self> {
        $0("Volumes", \.volumes)
        $0("Warnings", \.warnings)
    }
}

/// What `POST /volumes/prune` removed.
public struct VolumesPruneReport: WireObject {
    public var volumesDeleted: [String]?
    public var spaceReclaimed: UInt64 = 0

    public init() {}

    public static let fields = Fields<Self> {
        $0("VolumesDeleted", \.volumesDeleted)
        $0("SpaceReclaimed", \.spaceReclaimed)
    }
}
