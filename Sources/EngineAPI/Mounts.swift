/// A mount that a client asks for (`--mount`).
public struct Mount: WireObject {
    /// `bind`, `volume`, `tmpfs`, `image`; `npipe` and `cluster` exist elsewhere.
    public var type = ""
    public var source = ""
    public var target = ""
    public var readOnly = false
    public var consistency = ""
    public var bindOptions: BindOptions?
    public var volumeOptions: VolumeOptions?
    public var imageOptions: ImageOptions?
    public var tmpfsOptions: TmpfsOptions?
    public var clusterOptions: EmptyObject?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Type", &type, .omitEmpty)
        try fields("Source", &source, .omitEmpty)
        try fields("Target", &target, .omitEmpty)
        try fields("ReadOnly", &readOnly, .omitEmpty)
        try fields("Consistency", &consistency, .omitEmpty)
        try fields("BindOptions", &bindOptions, .omitEmpty)
        try fields("VolumeOptions", &volumeOptions, .omitEmpty)
        try fields("ImageOptions", &imageOptions, .omitEmpty)
        try fields("TmpfsOptions", &tmpfsOptions, .omitEmpty)
        try fields("ClusterOptions", &clusterOptions, .omitEmpty)
    }

    public struct BindOptions: WireObject {
        /// `rprivate`, `private`, `rshared`, `shared`, `rslave` or `slave`.
        public var propagation = ""
        public var nonRecursive = false
        /// Make the source directory if it is missing.
        public var createMountpoint = false
        public var readOnlyNonRecursive = false
        public var readOnlyForceRecursive = false
        /// Files have a user namespace's ids inside and keep their own on disk; not docker's, but podman's `idmap`.
        public var mapsOwners = false

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("Propagation", &propagation, .omitEmpty)
            try fields("NonRecursive", &nonRecursive, .omitEmpty)
            try fields("CreateMountpoint", &createMountpoint, .omitEmpty)
            try fields("ReadOnlyNonRecursive", &readOnlyNonRecursive, .omitEmpty)
            try fields("ReadOnlyForceRecursive", &readOnlyForceRecursive, .omitEmpty)
            try fields("IDMap", &mapsOwners, .omitEmpty)
        }
    }

    public struct VolumeOptions: WireObject {
        public var noCopy = false
        public var labels: [String: String]?
        public var subpath = ""
        public var driverConfig: Driver?

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("NoCopy", &noCopy, .omitEmpty)
            try fields("Labels", &labels, .omitEmpty)
            try fields("Subpath", &subpath, .omitEmpty)
            try fields("DriverConfig", &driverConfig, .omitEmpty)
        }
    }

    public struct Driver: WireObject {
        public var name = ""
        public var options: [String: String]?

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("Name", &name, .omitEmpty)
            try fields("Options", &options, .omitEmpty)
        }
    }

    public struct ImageOptions: WireObject {
        public var subpath = ""

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("Subpath", &subpath, .omitEmpty)
        }
    }

    public struct TmpfsOptions: WireObject {
        public var sizeBytes: Int64 = 0
        /// Permission bits, and Go's own numbers for setuid and sticky.
        public var mode: UInt32 = 0
        /// Each `[flag]` or `[key, value]`.
        public var options: [[String]]?

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("SizeBytes", &sizeBytes, .omitEmpty)
            try fields("Mode", &mode, .omitEmpty)
            try fields("Options", &options, .omitEmpty)
        }
    }
}

/// A mount that a container has.
public struct MountPoint: WireObject {
    public var type = ""
    /// The volume's name.
    public var name = ""
    public var source = ""
    public var destination = ""
    public var driver = ""
    /// The options as they were asked for.
    public var mode = ""
    public var rw = false
    public var propagation = ""

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("Type", &type, .omitEmpty)
        try fields("Name", &name, .omitEmpty)
        try fields("Source", &source)
        try fields("Destination", &destination)
        try fields("Driver", &driver, .omitEmpty)
        try fields("Mode", &mode)
        try fields("RW", &rw)
        try fields("Propagation", &propagation)
    }
}
