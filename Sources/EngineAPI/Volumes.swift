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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("CreatedAt", &createdAt, .omitEmpty)
        try fields("Driver", &driver)
        try fields("Labels", &labels)
        try fields("Mountpoint", &mountpoint)
        try fields("Name", &name)
        try fields("Options", &options)
        try fields("Scope", &scope)
        try fields("Status", &status, .omitEmpty)
        try fields("UsageData", &usageData, .omitEmpty)
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

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("RefCount", &refCount)
            try fields("Size", &size)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Name", &name, .omitEmpty)
        try fields("Driver", &driver, .omitEmpty)
        try fields("DriverOpts", &driverOpts, .omitEmpty)
        try fields("Labels", &labels, .omitEmpty)
        try fields("ClusterVolumeSpec", &clusterVolumeSpec, .omitEmpty)
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

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Volumes", &volumes)
        try fields("Warnings", &warnings)
    }
}

/// What `POST /volumes/prune` removed.
public struct VolumesPruneReport: WireObject {
    public var volumesDeleted: [String]?
    public var spaceReclaimed: UInt64 = 0

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("VolumesDeleted", &volumesDeleted)
        try fields("SpaceReclaimed", &spaceReclaimed)
    }
}
