import Glibc

/// A resource controller of the kernel's cgroups. Raw values are the names of cgroup v2.
public enum CgroupController: String, CaseIterable, Sendable, Codable {
    case cpu, cpuacct, cpuset, memory, io, pids, devices, freezer, hugetlb, rdma, misc

    /// The name under which cgroup v1 mounts it.
    public var legacyName: String { self == .io ? "blkio" : rawValue }

    /// The controller of a v2 or v1 name, for example `io` or `blkio`.
    public init?(name: some StringProtocol) {
        if name == "blkio" { self = .io } else { self.init(rawValue: String(name)) }
    }
}

/// Which version of cgroups a controller is bound to.
public enum CgroupVersion: Int, Sendable, Codable { case v1 = 1, v2 = 2 }

/// Where this host has its cgroup hierarchies: pure v2, v1 with v2 beside it (hybrid), or v1 alone.
///
/// Sources: Documentation/admin-guide/cgroup-v2.rst ("Mounting"), cgroup-v1/cgroups.rst, proc(5) on mountinfo.
public struct CgroupLayout: Sendable, Equatable {
    public enum Mode: String, Sendable, Codable {
        /// Every controller is in the one v2 hierarchy.
        case unified
        /// v2 is mounted too, some or all controllers are bound to v1 hierarchies.
        case hybrid
        /// No v2 hierarchy is mounted.
        case legacy
    }

    /// Where a controller is driven.
    public struct Placement: Sendable, Equatable {
        public let version: CgroupVersion
        /// The hierarchy's mount point.
        public let mountPoint: String

        public init(version: CgroupVersion, mountPoint: String) {
            self.version = version
            self.mountPoint = mountPoint
        }
    }

    public let mode: Mode
    /// Mount point of the v2 hierarchy, for example `/sys/fs/cgroup`; nil where none is mounted.
    public let unifiedMountPoint: String?
    public let placements: [CgroupController: Placement]

    public init(mode: Mode, unifiedMountPoint: String?, placements: [CgroupController: Placement]) {
        self.mode = mode
        self.unifiedMountPoint = unifiedMountPoint
        self.placements = placements
    }

    /// Reads this host's layout from `/proc/self/mountinfo` and `cgroup.controllers`.
    public static func detect() throws(CgroupError) -> CgroupLayout {
        guard let bytes = CgroupFile.readBytes("/proc/self/mountinfo") else {
            throw CgroupError("cannot read /proc/self/mountinfo: is /proc mounted?", errno: errno)
        }
        return detect(mountinfo: linesThatMentionCgroups(bytes)) { CgroupFile.read($0 + "/cgroup.controllers") ?? "" }
    }

    /// Every container's start reads mountinfo, and hosts have thousands of mounts: only lines that may count are
    /// taken apart.
    private static func linesThatMentionCgroups(_ bytes: [UInt8]) -> String {
        var text = ""
        (bytes + [0]).withUnsafeBytes { buffer in
            let start = buffer.baseAddress!.assumingMemoryBound(to: CChar.self)
            var rest = start
            while let hit = strstr(rest, " - cgroup") {
                var first = UnsafePointer(hit)
                while first > start, first[-1] != 0x0a { first -= 1 }
                let end = strchr(hit, 0x0a).map { UnsafePointer($0) } ?? start + bytes.count
                text += String(decoding: UnsafeRawBufferPointer(start: first, count: end - first), as: UTF8.self) + "\n"
                rest = end
            }
        }
        return text
    }

    /// The layout that a mountinfo text describes; `controllers` gives the content of `cgroup.controllers` at a v2
    /// mount point. A hierarchy that is mounted more than once counts where it was mounted first.
    static func detect(mountinfo: String, controllers: (String) -> String) -> CgroupLayout {
        var unified: String?
        var placements: [CgroupController: Placement] = [:]
        for line in mountinfo.lines {
            let fields = line.parts(by: " ")
            guard let separator = fields.firstIndex(of: "-"), fields.count > separator + 3, fields.count > 4 else {
                continue
            }
            // A bind mount of a group further down is not the hierarchy's root (unless a cgroup namespace says so).
            guard fields[3] == "/" else { continue }
            let mountPoint = unescape(fields[4])
            switch fields[separator + 1] {
            case "cgroup2" where unified == nil:
                unified = mountPoint
            case "cgroup":
                for option in fields[separator + 3].parts(by: ",") {
                    guard let controller = CgroupController(name: option), placements[controller] == nil else {
                        continue
                    }
                    placements[controller] = Placement(version: .v1, mountPoint: mountPoint)
                }
            default:
                continue
            }
        }
        let legacy = !placements.isEmpty
        if let unified {
            for name in controllers(unified).split(whereSeparator: \.isWhitespace) {
                guard let controller = CgroupController(name: name) else { continue }
                placements[controller] = Placement(version: .v2, mountPoint: unified)
            }
        }
        let mode: Mode = unified == nil ? .legacy : legacy ? .hybrid : .unified
        return CgroupLayout(mode: mode, unifiedMountPoint: unified, placements: placements)
    }

    /// Which version a controller is on; nil where the kernel has none. v2 has no `cpuacct`, `freezer` and `devices`
    /// controllers: accounting belongs to `cpu`, the other two to every group.
    public func version(of controller: CgroupController) -> CgroupVersion? { placements[controller]?.version }

    /// `1` or `2`, as Docker's `info` names the version: hybrid counts as 1, because limits are enforced there.
    public var dockerVersion: String { mode == .unified ? "2" : "1" }

    /// One line a controller for `info`, for example `memory: v1 at /sys/fs/cgroup/memory`.
    public var descriptions: [String] {
        CgroupController.allCases.compactMap { controller in
            guard let placement = placements[controller] else { return nil }
            let name = placement.version == .v1 ? controller.legacyName : controller.rawValue
            return "\(name): v\(placement.version.rawValue) at \(placement.mountPoint)"
        }
    }

    /// mountinfo writes space, tab, newline and backslash as three octal digits (proc(5)).
    private static func unescape(_ field: Substring) -> String {
        guard field.contains("\\") else { return String(field) }
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ (48...55).contains($0) }) {
                bytes.append(digits.reduce(0) { $0 &* 8 &+ ($1 - 48) })
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A cgroup operation that failed, as one sentence that names the controller where one is concerned.
public struct CgroupError: Error, Sendable, Equatable, CustomStringConvertible {
    public let message: String
    /// The errno behind it, 0 where none applies.
    public let errno: Int32
    public let controller: CgroupController?

    public init(_ message: String, errno: Int32 = 0, controller: CgroupController? = nil) {
        self.message = message
        self.errno = errno
        self.controller = controller
    }

    public var description: String { message }
}
