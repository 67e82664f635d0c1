/// An OCI runtime `config.json` (runtime-spec 1.2, config.md and config-linux.md). Unknown fields are ignored, as the specification asks.
public struct RuntimeSpec: Codable, Hashable, Sendable {
    public var ociVersion: String
    public var process: Process?
    public var root: Root?
    public var hostname: String?
    public var domainname: String?
    public var mounts: [Mount]?
    public var hooks: Hooks?
    public var annotations: [String: String]?
    public var linux: Linux?

    public init(
        ociVersion: String = "", process: Process? = nil, root: Root? = nil, hostname: String? = nil,
        domainname: String? = nil, mounts: [Mount]? = nil, hooks: Hooks? = nil, annotations: [String: String]? = nil,
        linux: Linux? = nil
    ) {
        self.ociVersion = ociVersion
        self.process = process
        self.root = root
        self.hostname = hostname
        self.domainname = domainname
        self.mounts = mounts
        self.hooks = hooks
        self.annotations = annotations
        self.linux = linux
    }
}

extension RuntimeSpec {
    /// The container's root filesystem.
    public struct Root: Codable, Hashable, Sendable {
        public var path: String
        public var readonly: Bool?

        public init(path: String = "", readonly: Bool? = nil) {
            self.path = path
            self.readonly = readonly
        }
    }

    /// The process to start.
    public struct Process: Codable, Hashable, Sendable {
        public var terminal: Bool?
        public var consoleSize: ConsoleSize?
        public var user: User
        public var args: [String]?
        public var env: [String]?
        public var cwd: String
        public var capabilities: Capabilities?
        public var rlimits: [Rlimit]?
        public var noNewPrivileges: Bool?
        public var apparmorProfile: String?
        public var oomScoreAdj: Int?
        public var selinuxLabel: String?
        public var scheduler: Scheduler?
        public var ioPriority: IOPriority?
        public var execCPUAffinity: ExecCPUAffinity?

        public init(
            terminal: Bool? = nil, consoleSize: ConsoleSize? = nil, user: User = User(), args: [String]? = nil,
            env: [String]? = nil, cwd: String = "", capabilities: Capabilities? = nil, rlimits: [Rlimit]? = nil,
            noNewPrivileges: Bool? = nil, apparmorProfile: String? = nil, oomScoreAdj: Int? = nil,
            selinuxLabel: String? = nil, scheduler: Scheduler? = nil, ioPriority: IOPriority? = nil,
            execCPUAffinity: ExecCPUAffinity? = nil
        ) {
            self.terminal = terminal
            self.consoleSize = consoleSize
            self.user = user
            self.args = args
            self.env = env
            self.cwd = cwd
            self.capabilities = capabilities
            self.rlimits = rlimits
            self.noNewPrivileges = noNewPrivileges
            self.apparmorProfile = apparmorProfile
            self.oomScoreAdj = oomScoreAdj
            self.selinuxLabel = selinuxLabel
            self.scheduler = scheduler
            self.ioPriority = ioPriority
            self.execCPUAffinity = execCPUAffinity
        }
    }

    /// Terminal size in characters.
    public struct ConsoleSize: Codable, Hashable, Sendable {
        public var height: UInt
        public var width: UInt

        public init(height: UInt = 0, width: UInt = 0) {
            self.height = height
            self.width = width
        }
    }

    /// Numeric identity; names are resolved by the caller.
    public struct User: Codable, Hashable, Sendable {
        public var uid: UInt32
        public var gid: UInt32
        public var umask: UInt32?
        public var additionalGids: [UInt32]?

        public init(uid: UInt32 = 0, gid: UInt32 = 0, umask: UInt32? = nil, additionalGids: [UInt32]? = nil) {
            self.uid = uid
            self.gid = gid
            self.umask = umask
            self.additionalGids = additionalGids
        }
    }

    /// Capability names (`CAP_…`) per set.
    public struct Capabilities: Codable, Hashable, Sendable {
        public var bounding: [String]?
        public var effective: [String]?
        public var inheritable: [String]?
        public var permitted: [String]?
        public var ambient: [String]?

        public init(
            bounding: [String]? = nil, effective: [String]? = nil, inheritable: [String]? = nil,
            permitted: [String]? = nil, ambient: [String]? = nil
        ) {
            self.bounding = bounding
            self.effective = effective
            self.inheritable = inheritable
            self.permitted = permitted
            self.ambient = ambient
        }
    }

    /// One resource limit; `type` is a `RLIMIT_…` name.
    public struct Rlimit: Codable, Hashable, Sendable {
        public var type: String
        public var hard: UInt64
        public var soft: UInt64

        public init(type: String = "", hard: UInt64 = 0, soft: UInt64 = 0) {
            self.type = type
            self.hard = hard
            self.soft = soft
        }
    }

    /// Scheduling policy and attributes (sched_setattr(2)).
    public struct Scheduler: Codable, Hashable, Sendable {
        public var policy: String
        public var nice: Int32?
        public var priority: Int32?
        public var flags: [String]?
        public var runtime: UInt64?
        public var deadline: UInt64?
        public var period: UInt64?

        public init(
            policy: String = "", nice: Int32? = nil, priority: Int32? = nil, flags: [String]? = nil,
            runtime: UInt64? = nil, deadline: UInt64? = nil, period: UInt64? = nil
        ) {
            self.policy = policy
            self.nice = nice
            self.priority = priority
            self.flags = flags
            self.runtime = runtime
            self.deadline = deadline
            self.period = period
        }
    }

    /// I/O class and priority (ioprio_set(2)).
    public struct IOPriority: Codable, Hashable, Sendable {
        public var `class`: String
        public var priority: Int

        public init(`class`: String = "", priority: Int = 0) {
            self.class = `class`
            self.priority = priority
        }
    }

    /// CPU lists for `exec`, before and after the cgroup move.
    public struct ExecCPUAffinity: Codable, Hashable, Sendable {
        public var initial: String?
        public var final: String?

        public init(initial: String? = nil, final: String? = nil) {
            self.initial = initial
            self.final = final
        }
    }

    /// One mount, in order.
    public struct Mount: Codable, Hashable, Sendable {
        public var destination: String
        public var type: String?
        public var source: String?
        public var options: [String]?
        public var uidMappings: [IDMapping]?
        public var gidMappings: [IDMapping]?
        /// Ours, not the specification's: what of a bind's `source` is mounted. Others may write there at this moment, so the
        /// runtime resolves it inside the source, follows no link, and mounts what it found.
        public var subpath: String?

        public init(
            destination: String = "", type: String? = nil, source: String? = nil, options: [String]? = nil,
            uidMappings: [IDMapping]? = nil, gidMappings: [IDMapping]? = nil, subpath: String? = nil
        ) {
            self.destination = destination
            self.type = type
            self.source = source
            self.options = options
            self.uidMappings = uidMappings
            self.gidMappings = gidMappings
            self.subpath = subpath
        }
    }

    /// A range of ids.
    public struct IDMapping: Codable, Hashable, Sendable {
        public var containerID: UInt32
        public var hostID: UInt32
        public var size: UInt32

        public init(containerID: UInt32 = 0, hostID: UInt32 = 0, size: UInt32 = 0) {
            self.containerID = containerID
            self.hostID = hostID
            self.size = size
        }
    }

    /// Programs run at fixed points of the life cycle; the state document arrives on stdin.
    public struct Hooks: Codable, Hashable, Sendable {
        public var prestart: [Hook]?
        public var createRuntime: [Hook]?
        public var createContainer: [Hook]?
        public var startContainer: [Hook]?
        public var poststart: [Hook]?
        public var poststop: [Hook]?

        public init(
            prestart: [Hook]? = nil, createRuntime: [Hook]? = nil, createContainer: [Hook]? = nil,
            startContainer: [Hook]? = nil, poststart: [Hook]? = nil, poststop: [Hook]? = nil
        ) {
            self.prestart = prestart
            self.createRuntime = createRuntime
            self.createContainer = createContainer
            self.startContainer = startContainer
            self.poststart = poststart
            self.poststop = poststop
        }
    }

    /// One hook; `timeout` is in seconds.
    public struct Hook: Codable, Hashable, Sendable {
        public var path: String
        public var args: [String]?
        public var env: [String]?
        public var timeout: Int?

        public init(path: String = "", args: [String]? = nil, env: [String]? = nil, timeout: Int? = nil) {
            self.path = path
            self.args = args
            self.env = env
            self.timeout = timeout
        }
    }

    /// A NUMA policy (set_mempolicy(2); runtime-spec 1.3).
    public struct MemoryPolicy: Codable, Hashable, Sendable {
        public var mode: String?
        public var nodes: String?
        public var flags: [String]?
    }

    /// Linux-specific configuration.
    public struct Linux: Codable, Hashable, Sendable {
        public var uidMappings: [IDMapping]?
        public var gidMappings: [IDMapping]?
        public var sysctl: [String: String]?
        public var resources: Resources?
        public var cgroupsPath: String?
        public var namespaces: [Namespace]?
        public var devices: [Device]?
        public var netDevices: [String: NetDevice]?
        public var memoryPolicy: MemoryPolicy?
        public var seccomp: Seccomp?
        public var rootfsPropagation: String?
        public var maskedPaths: [String]?
        public var readonlyPaths: [String]?
        public var mountLabel: String?
        public var intelRdt: IntelRdt?
        public var personality: Personality?
        public var timeOffsets: [String: TimeOffset]?

        public init(
            uidMappings: [IDMapping]? = nil, gidMappings: [IDMapping]? = nil, sysctl: [String: String]? = nil,
            resources: Resources? = nil, cgroupsPath: String? = nil, namespaces: [Namespace]? = nil,
            devices: [Device]? = nil, netDevices: [String: NetDevice]? = nil, seccomp: Seccomp? = nil,
            rootfsPropagation: String? = nil, maskedPaths: [String]? = nil, readonlyPaths: [String]? = nil,
            mountLabel: String? = nil, intelRdt: IntelRdt? = nil, personality: Personality? = nil,
            timeOffsets: [String: TimeOffset]? = nil
        ) {
            self.uidMappings = uidMappings
            self.gidMappings = gidMappings
            self.sysctl = sysctl
            self.resources = resources
            self.cgroupsPath = cgroupsPath
            self.namespaces = namespaces
            self.devices = devices
            self.netDevices = netDevices
            self.seccomp = seccomp
            self.rootfsPropagation = rootfsPropagation
            self.maskedPaths = maskedPaths
            self.readonlyPaths = readonlyPaths
            self.mountLabel = mountLabel
            self.intelRdt = intelRdt
            self.personality = personality
            self.timeOffsets = timeOffsets
        }
    }

    /// A namespace to create, or to join when `path` is set. `type`: pid network mount ipc uts user cgroup time.
    public struct Namespace: Codable, Hashable, Sendable {
        public var type: String
        public var path: String?

        public init(type: String = "", path: String? = nil) {
            self.type = type
            self.path = path
        }
    }

    /// A host network device moved into the container.
    public struct NetDevice: Codable, Hashable, Sendable {
        public var name: String?

        public init(name: String? = nil) {
            self.name = name
        }
    }

    /// A device node to make under the root. `type`: c, b, u or p; `fileMode` is a decimal mode.
    public struct Device: Codable, Hashable, Sendable {
        public var path: String
        public var type: String
        public var major: Int64?
        public var minor: Int64?
        public var fileMode: UInt32?
        public var uid: UInt32?
        public var gid: UInt32?

        public init(
            path: String = "", type: String = "", major: Int64? = nil, minor: Int64? = nil, fileMode: UInt32? = nil,
            uid: UInt32? = nil, gid: UInt32? = nil
        ) {
            self.path = path
            self.type = type
            self.major = major
            self.minor = minor
            self.fileMode = fileMode
            self.uid = uid
            self.gid = gid
        }
    }

    /// Clock offset of a time namespace.
    public struct TimeOffset: Codable, Hashable, Sendable {
        public var secs: Int64?
        public var nanosecs: UInt32?

        public init(secs: Int64? = nil, nanosecs: UInt32? = nil) {
            self.secs = secs
            self.nanosecs = nanosecs
        }
    }

    /// Execution domain: LINUX or LINUX32.
    public struct Personality: Codable, Hashable, Sendable {
        public var domain: String
        public var flags: [String]?

        public init(domain: String = "", flags: [String]? = nil) {
            self.domain = domain
            self.flags = flags
        }
    }

    /// Cache allocation; refused where the host lacks it.
    public struct IntelRdt: Codable, Hashable, Sendable {
        public var closID: String?
        public var l3CacheSchema: String?
        public var memBwSchema: String?

        public init(closID: String? = nil, l3CacheSchema: String? = nil, memBwSchema: String? = nil) {
            self.closID = closID
            self.l3CacheSchema = l3CacheSchema
            self.memBwSchema = memBwSchema
        }
    }
}

extension KeyedDecodingContainer {
    /// What is absent is root, as with runc: callers that write a process by hand leave `user` out.
    func decode(_ type: RuntimeSpec.User.Type, forKey key: Key) throws -> RuntimeSpec.User {
        try decodeIfPresent(type, forKey: key) ?? RuntimeSpec.User()
    }
}
