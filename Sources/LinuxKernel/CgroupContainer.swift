import Glibc
import OCI

/// One container's groups: the same path in the v2 hierarchy and in every v1 hierarchy that is driven.
///
/// The v2 group always exists: `cgroup.kill`, `cgroup.freeze`, `populated` and the device program work there even
/// where no controller is bound to v2. A value holds no descriptor; any process may make one for a path.
public struct ContainerCgroup: Sendable {
    public let layout: CgroupLayout
    /// Path below each hierarchy's mount point, for example `/mycontainer-1a2b3c4d/<id>`.
    public let path: String

    /// - Throws: when `path` is not absolute, leaves the hierarchy (`..`), or the host has no v2 hierarchy.
    public init(layout: CgroupLayout, path: String) throws(CgroupError) {
        self.layout = layout
        self.path = path
    }

    /// Makes the groups (and missing parents), enables the v2 controllers, applies `resources`. What was made is
    /// removed again when it throws.
    /// - Returns: warnings: limits that this host cannot enforce and that dockerd only warns about.
    /// - Throws: a sentence that names the controller which refused.
    public func create(_ resources: RuntimeSpec.Resources?) throws(CgroupError) -> [String] { fatalError() }

    /// Changes the limits of a running container; what `resources` leaves nil stays.
    public func update(_ resources: RuntimeSpec.Resources) throws(CgroupError) -> [String] { fatalError() }

    /// The v2 directory, for `CLONE_INTO_CGROUP`.
    public func openDirectory() throws(CgroupError) -> FileDescriptor { fatalError() }

    /// Moves a process (host pid) into the v1 groups and, when `includingUnified`, into the v2 group. A process
    /// started with `CLONE_INTO_CGROUP` is in the v2 group already. No-op on pure v2 without `includingUnified`.
    public func attach(_ pid: Int32, includingUnified: Bool = false) throws(CgroupError) { fatalError() }

    /// SIGKILL to everything in the group and below, forks included.
    public func kill() throws(CgroupError) { fatalError() }

    /// Freezes and waits until the kernel says `frozen 1`, at most `timeout` nanoseconds.
    public func freeze(timeout: Int64 = 10_000_000_000) throws(CgroupError) { fatalError() }

    public func thaw(timeout: Int64 = 10_000_000_000) throws(CgroupError) { fatalError() }

    public var isFrozen: Bool { fatalError() }

    /// Host pids in the group and below.
    public func processes() throws(CgroupError) -> [Int32] { fatalError() }

    public func statistics() throws(CgroupError) -> CgroupStatistics { fatalError() }

    /// How many processes the kernel has killed for memory here; 0 without a memory controller. Read it once more
    /// after the container's end: v1 notifies before it kills.
    public func oomKillCount() -> UInt64 { fatalError() }

    /// A descriptor that becomes readable when memory ran out; nil without a memory controller.
    public func watchOutOfMemory() throws(CgroupError) -> OutOfMemoryWatch? { fatalError() }

    /// Waits until the groups are empty (at most `timeout` nanoseconds, killing nothing) and removes them with
    /// those that the container made below. Absent groups are no error.
    public func remove(timeout: Int64 = 5_000_000_000) throws(CgroupError) { fatalError() }

    /// Removes the groups directly below `parent` (for example `/mycontainer-1a2b3c4d`) that are not in `keeping`,
    /// killing what is left in them; the parent too when nothing remains.
    /// - Returns: the names removed.
    public static func removeStale(
        layout: CgroupLayout, parent: String, keeping: Set<String>
    ) throws(CgroupError) -> [String] { fatalError() }

    /// Where containers' groups go: `<delegated>/mycontainer-<instance>` when systemd delegated a subtree to this
    /// process (which is moved to a leaf of it), else `/mycontainer-<instance>`. Called once by the daemon.
    public static func prepareParent(layout: CgroupLayout, instance: String) throws(CgroupError) -> String {
        fatalError()
    }
}

/// A descriptor to poll (`EPOLLIN`) for out-of-memory events of one container.
public struct OutOfMemoryWatch: ~Copyable, Sendable {
    public let descriptor: FileDescriptor

    /// Reads away what is pending, so that the descriptor can be polled again.
    public func acknowledge() {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
            _ = read(descriptor.raw, buffer.baseAddress, buffer.count)
        }
    }
}
