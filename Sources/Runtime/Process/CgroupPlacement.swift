import Glibc
import LinuxKernel
import MonitorProtocol

/// The cgroup that a process is born into: descriptors that belong to a `CgroupHandle`.
public struct CgroupPlacement: Sendable {
    /// A v1 hierarchy and the container's directory in it.
    public struct Legacy: Sendable {
        /// The hierarchy's mount point on the host, for example `/sys/fs/cgroup/memory`.
        public var mountPoint: String
        /// The open, writable `tasks`.
        public var tasks: Int32
    }

    /// The open directory of the cgroup in the v2 hierarchy (for `CLONE_INTO_CGROUP`), or -1.
    public var unified: Int32
    /// Mount point of the v2 hierarchy.
    public var unifiedMountPoint: String?
    public var legacy: [Legacy]
    /// The cgroup's path below each mount point.
    public var path: String

    /// The caller's own cgroup: no placement at all.
    public static let inherited = CgroupPlacement(unified: -1, unifiedMountPoint: nil, legacy: [], path: "/")

    init(unified: Int32, unifiedMountPoint: String?, legacy: [Legacy], path: String) {
        self.unified = unified
        self.unifiedMountPoint = unifiedMountPoint
        self.legacy = legacy
        self.path = path
    }

    /// Moves the calling process, which must have one thread only, into the v1 groups and closes their descriptors.
    ///
    /// A thread that moves itself (0 to `tasks`) takes no lock against forks and execs elsewhere; moving a process from
    /// outside (`cgroup.procs`) waits for an RCU grace period, ten milliseconds on an idle machine
    /// (cgroup_procs_write_start in the kernel's kernel/cgroup/cgroup.c).
    func enterLegacy() throws(StartFailure) {
        for hierarchy in legacy {
            try at("cgroup", "cannot enter the cgroup \(path) below \(hierarchy.mountPoint)") {
                () throws(SystemError) in
                try checked("write tasks") { write(hierarchy.tasks, "0", 1) }
            }
            close(hierarchy.tasks)
        }
    }
}

/// An existing cgroup, opened for placing processes in it; keep it for as long as its placement is used.
public struct CgroupHandle: ~Copyable, Sendable {
    public let placement: CgroupPlacement
    private let descriptors: DescriptorSet

    /// The caller's own cgroup.
    public init() {
        placement = .inherited
        descriptors = DescriptorSet()
    }

    /// `subgroup` is a group of the v2 hierarchy below the container's to place processes in; v1 has no such group.
    public init(_ cgroup: ContainerCgroup, subgroup: CgroupSubgroup? = nil) throws(StartFailure) {
        var descriptors = DescriptorSet()
        var unified: Int32 = -1
        if cgroup.layout.unifiedMountPoint != nil {
            do throws(CgroupError) {
                let directory =
                    if let subgroup { try subgroup.openDirectory() } else { try cgroup.openDirectory() }
                unified = descriptors.adopt(directory)
            } catch {
                throw StartFailure(stage: "cgroup", errno: error.errno, message: error.message)
            }
        }
        var legacy: [CgroupPlacement.Legacy] = []
        for (controller, placement) in cgroup.layout.placements where placement.version == .v1 {
            // Controllers that are mounted together (cpu,cpuacct) share a hierarchy.
            if legacy.contains(where: { $0.mountPoint == placement.mountPoint }) { continue }
            let file = "\(placement.mountPoint)\(cgroup.path)/tasks"
            // The rest has a group only where it is limited (freezer never: v2 freezes).
            let optional = ![.cpu, .memory, .pids].contains(controller)
            if optional && access(file, F_OK) < 0 { continue }
            let descriptor = try at("cgroup", "cannot open \(file)") { () throws(SystemError) in
                try FileDescriptor(file, O_WRONLY)
            }
            legacy.append(
                CgroupPlacement.Legacy(mountPoint: placement.mountPoint, tasks: descriptors.adopt(descriptor)))
        }
        placement = CgroupPlacement(
            unified: unified, unifiedMountPoint: cgroup.layout.unifiedMountPoint, legacy: legacy, path: cgroup.path)
        self.descriptors = descriptors
    }
}
