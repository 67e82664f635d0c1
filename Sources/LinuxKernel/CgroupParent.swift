import CLinux
import Glibc

/// The directory that one daemon's containers have their groups in: `/mycontainer-<instance>`, or the same below a
/// subtree that systemd delegated.
public struct CgroupParent: Sendable, Equatable {
    public let layout: CgroupLayout
    /// Path below each hierarchy's mount point.
    public let path: String

    public init(layout: CgroupLayout, path: String) {
        self.layout = layout
        self.path = path
    }

    /// A container's path, as `LaunchDocument.cgroupPath` has it.
    public func path(of container: String) -> String { path + "/" + container }

    /// Finds the place for an instance's containers, makes it in every hierarchy that is driven, and enables the v2
    /// controllers there, so that starting a container costs none of it. Called once by the daemon.
    ///
    /// Where systemd put this process into a subgroup of a subtree that it delegated (`Delegate=yes` with
    /// `DelegateSubgroup=`, systemd 254), containers go beside it, below the same unit. Without the subgroup they
    /// don't, although they could: the daemon would have to move to a leaf, controllers would be enabled above it, and
    /// while containers live there systemd can't start the unit again (status 219/CGROUP; seen with Debian 12's 252),
    /// because a group with controllers for its children takes no process. A restart must not need that.
    public static func prepare(layout: CgroupLayout, instance: String) throws(CgroupError) -> CgroupParent {
        guard let unified = layout.unifiedMountPoint else {
            throw CgroupError(
                "no cgroup v2 hierarchy is mounted: mount one, for example at /sys/fs/cgroup/unified", errno: ENOENT)
        }
        var base = ""
        if layout.mode == .unified, let own = ownPath(CgroupFile.read("/proc/self/cgroup") ?? "") {
            base = delegatedSubtree(unified, own) ?? ""
        }
        let parent = CgroupParent(layout: layout, path: base + "/mycontainer-" + instance)
        try ContainerCgroup.makeDirectories(unified, parent.path)
        ContainerCgroup.enable(ContainerCgroup.enabled(layout), unified, parent.path)
        for mountPoint in ContainerCgroup.legacyMountPoints(layout, ContainerCgroup.alwaysDriven) {
            try ContainerCgroup.makeDirectories(mountPoint, parent.path)
        }
        parent.keepDeviceHookOn()
        return parent
    }

    /// Attaches a device program that allows everything to the parent. The kernel patches its code when the first
    /// cgroup program of a kind is attached and when the last one goes (a static key): with this one in place that
    /// happens once a daemon and not twice a container, which is 0.1 ms on a host that has no other.
    private func keepDeviceHookOn() {
        guard let group = try? ContainerCgroup(layout: layout, path: path), let directory = try? group.openDirectory()
        else { return }
        try? DeviceFilter.attachPermissive(to: directory)
    }

    /// Removes the groups of containers that are not in `keeping`, killing what is left in them.
    /// - Returns: the names removed, sorted.
    @discardableResult
    public func removeStale(keeping: Set<String>) throws(CgroupError) -> [String] {
        var stale: Set<String> = []
        for mountPoint in mountPoints { stale.formUnion(ContainerCgroup.subdirectories(mountPoint + path)) }
        stale.subtract(keeping)
        for name in stale.sorted() {
            let group = try ContainerCgroup(layout: layout, path: path(of: name))
            try group.kill()
            try group.remove()
        }
        return stale.sorted()
    }

    /// Removes the parent where no container is left; does nothing otherwise.
    public func removeIfEmpty() {
        for mountPoint in mountPoints { rmdir(mountPoint + path) }
    }

    private var mountPoints: [String] {
        ContainerCgroup.legacyMountPoints(layout, CgroupController.allCases)
            + (layout.unifiedMountPoint.map { [$0] } ?? [])
    }

    /// The v2 path of `/proc/self/cgroup` (its line that starts with `0::`).
    static func ownPath(_ text: String) -> String? {
        for line in text.lines where line.hasPrefix("0::/") {
            return String(line.dropFirst(3))
        }
        return nil
    }

    /// The delegated group right above the process's own (`own`, below the mount point `unified`), nil where there is
    /// none.
    static func delegatedSubtree(_ unified: String, _ own: String) -> String? {
        guard let slash = own.lastIndex(byte: "/"), slash != own.startIndex, !isDelegated(unified + own) else {
            return nil
        }
        let above = String(own[..<slash])
        return isDelegated(unified + above) ? above : nil
    }

    /// systemd marks what it delegated with this attribute (since 246; `user.delegate` since 251).
    private static func isDelegated(_ directory: String) -> Bool {
        for name in ["trusted.delegate", "user.delegate"] {
            var value = [UInt8](repeating: 0, count: 8)
            if clinux_getxattr(directory, name, &value, value.count) == 1, value[0] == UInt8(ascii: "1") {
                return true
            }
        }
        return false
    }
}
