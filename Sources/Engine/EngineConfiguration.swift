/// How an engine is set up; every path is absolute.
public struct EngineConfiguration: Sendable {
    /// Durable data: images, containers' layers, volumes, the database. Made with mode 0700.
    public var dataRoot: String
    /// Run state: bundles, monitor sockets, exit records. Rebuilt after a reboot.
    public var executionRoot: String
    /// Directories that `pull` reads images from, in order.
    public var registries: [String]
    /// The `mycontainer-runtime` executable.
    public var runtimePath: String
    /// Name that `info` shows for this daemon; nil takes the host's.
    public var name: String?
    /// Labels of the daemon itself (`key=value`), shown by `info`.
    public var labels: [String]
    public var debug: Bool
    /// Whether containers go on running when the daemon is told to stop.
    public var liveRestore: Bool
    /// systemd-journald's socket for its native protocol.
    public var journalSocket = "/run/systemd/journal/socket"
    /// Log driver of containers that ask for none: one of `LogDrivers`, or `none`.
    public var defaultLogDriver: String
    public var defaultLogOptions: [String: String]
    /// Whether the reaper is PID 1 of containers that don't say.
    public var defaultInit: Bool
    /// Seconds that `stop` waits before SIGKILL when neither the request nor the container says.
    public var defaultStopTimeout: Int
    /// Bytes of /dev/shm of containers that don't say.
    public var defaultShmSize: Int64
    /// A seccomp profile (JSON) instead of the built-in one; `unconfined` for none.
    public var seccompProfile: String?
    /// User namespace of containers that don't say: `host`, or `auto` with its options.
    public var userNamespaces: String
    /// `START:SIZE`: the host's ids that `auto` takes from; nil: those of the account `containers`, or a built-in range.
    public var userNamespaceRange: String?
    /// Whether containers get SELinux labels on a host that has it.
    public var labelsContainers = true
    public var networks = NetworkDefaults()

    public init(dataRoot: String, executionRoot: String, registries: [String], runtimePath: String) {
        self.dataRoot = dataRoot
        self.executionRoot = executionRoot
        self.registries = registries
        self.runtimePath = runtimePath
        name = nil
        labels = []
        debug = false
        liveRestore = true
        defaultLogDriver = "local"
        defaultLogOptions = [:]
        defaultInit = true
        defaultStopTimeout = 10
        defaultShmSize = 64 << 20
        seccompProfile = nil
        userNamespaces = "host"
        userNamespaceRange = nil
    }
}
