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

    public static let fields = Fields<Self> {
        $0("Type", \.type, .omitEmpty)
        $0("Source", \.source, .omitEmpty)
        $0("Target", \.target, .omitEmpty)
        $0("ReadOnly", \.readOnly, .omitEmpty)
        $0("Consistency", \.consistency, .omitEmpty)
        $0("BindOptions", \.bindOptions, .omitEmpty)
        $0("VolumeOptions", \.volumeOptions, .omitEmpty)
        $0("ImageOptions", \.imageOptions, .omitEmpty)
        $0("TmpfsOptions", \.tmpfsOptions, .omitEmpty)
        $0("ClusterOptions", \.clusterOptions, .omitEmpty)
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

        public static let fields = Fields<Self> {
            $0("Propagation", \.propagation, .omitEmpty)
            $0("NonRecursive", \.nonRecursive, .omitEmpty)
            $0("CreateMountpoint", \.createMountpoint, .omitEmpty)
            $0("ReadOnlyNonRecursive", \.readOnlyNonRecursive, .omitEmpty)
            $0("ReadOnlyForceRecursive", \.readOnlyForceRecursive, .omitEmpty)
            $0("IDMap", \.mapsOwners, .omitEmpty)
        }
    }

    public struct VolumeOptions: WireObject {
        public var noCopy = false
        public var labels: [String: String]?
        public var subpath = ""
        public var driverConfig: Driver?

        public init() {}

        public static let fields = Fields<Self> {
            $0("NoCopy", \.noCopy, .omitEmpty)
            $0("Labels", \.labels, .omitEmpty)
            $0("Subpath", \.subpath, .omitEmpty)
            $0("DriverConfig", \.driverConfig, .omitEmpty)
        }
    }

    public struct Driver: WireObject {
        public var name = ""
        public var options: [String: String]?

        public init() {}

        public static let fields = Fields<Self> {
            $0("Name", \.name, .omitEmpty)
            $0("Options", \.options, .omitEmpty)
        }
    }

    public struct ImageOptions: WireObject {
        public var subpath = ""

        public init() {}

        public static let fields = Fields<Self> { $0("Subpath", \.subpath, .omitEmpty) }
    }

    public struct TmpfsOptions: WireObject {
        public var sizeBytes: Int64 = 0
        /// Permission bits, and Go's own numbers for setuid and sticky.
        public var mode: UInt32 = 0
        /// Each `[flag]` or `[key, value]`.
        public var options: [[String]]?

        public init() {}

        public static let fields = Fields<Self> {
            $0("SizeBytes", \.sizeBytes, .omitEmpty)
            $0("Mode", \.mode, .omitEmpty)
            $0("Options", \.options, .omitEmpty)
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

    public static let fields = Fields<Self> {
        $0("Type", \.type, .omitEmpty)
        $0("Name", \.name, .omitEmpty)
        $0("Source", \.source)
        $0("Destination", \.destination)
        $0("Driver", \.driver, .omitEmpty)
        $0("Mode", \.mode)
        $0("RW", \.rw)
        $0("Propagation", \.propagation)
    }
}
