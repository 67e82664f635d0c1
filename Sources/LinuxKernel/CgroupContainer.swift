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
    /// Mount point of the v2 hierarchy.
    let unified: String

    /// - Throws: when `path` is not absolute, leaves the hierarchy (`..`), or the host has no v2 hierarchy.
    public init(layout: CgroupLayout, path: String) throws(CgroupError) {
        guard let unified = layout.unifiedMountPoint else {
            throw CgroupError(
                "no cgroup v2 hierarchy is mounted: mount one, for example at /sys/fs/cgroup/unified", errno: ENOENT)
        }
        let parts = path.split(byte: "/")
        guard path.hasPrefix(bytes: "/"), !parts.isEmpty, !parts.contains(where: { $0 == ".." || $0 == "." }) else {
            throw CgroupError("cgroup path \"\(path)\" is not an absolute path below the hierarchy", errno: EINVAL)
        }
        self.layout = layout
        self.path = parts.reduce("") { "\($0)/\($1)" }
        self.unified = unified
    }

    /// The group's directory in the hierarchy of a controller, nil where the host has no such controller.
    func directory(of controller: CgroupController) -> String? {
        layout.placements[controller].map { $0.mountPoint + path }
    }

    var unifiedDirectory: String { unified + path }

    /// v1 hierarchies that every container has a group in, because `statistics()` reads them.
    static let alwaysDriven: [CgroupController] = [.memory, .cpu, .cpuacct, .pids, .io]
    /// v1 hierarchies that a container has a group in when it has a limit there.
    static let drivenWhenAsked: [CgroupController] = [.cpuset, .hugetlb, .rdma, .devices]

    /// Mount points of these controllers' v1 hierarchies, each once (`cpu,cpuacct` is often one).
    static func legacyMountPoints(_ layout: CgroupLayout, _ controllers: [CgroupController]) -> [String] {
        var points: [String] = []
        for controller in controllers {
            guard let placement = layout.placements[controller], placement.version == .v1,
                !points.contains(placement.mountPoint)
            else { continue }
            points.append(placement.mountPoint)
        }
        return points
    }

    /// Makes the groups (and missing parents), enables the v2 controllers, applies `resources`. What was made is
    /// removed again when it throws.
    /// - Returns: warnings: limits that this host cannot enforce and that dockerd only warns about.
    /// - Throws: a sentence that names the controller which refused; EBUSY where processes of an earlier run are left.
    /// - Parameter ready: a loaded device program, used where it is what the rules would become.
    public func create(
        _ resources: RuntimeSpec.Resources?, deviceProgram ready: DeviceProgram? = nil
    ) throws(CgroupError) -> [String] {
        try makeUnified()
        do throws(CgroupError) {
            for mountPoint in Self.legacyMountPoints(layout, Self.alwaysDriven) {
                try Self.makeDirectories(mountPoint, path)
            }
            return try update(resources ?? RuntimeSpec.Resources(), deviceProgram: ready)
        } catch {
            // What made it fail is worth telling, not that the tidying failed too.
            try? remove(timeout: 0)
            throw error
        }
    }

    /// The same for a v2 group that is there already, made for the container by somebody else (systemd), with what holds
    /// its place in it.
    public func adopt(_ resources: RuntimeSpec.Resources?) throws(CgroupError) -> [String] {
        for mountPoint in Self.legacyMountPoints(layout, Self.alwaysDriven) {
            try Self.makeDirectories(mountPoint, path)
        }
        if !CgroupFile.exists(unifiedDirectory) { try makeUnified() }
        return try update(resources ?? RuntimeSpec.Resources())
    }

    /// Changes the limits of a running container; what `resources` leaves nil stays.
    /// - Returns: warnings, as from `create`.
    public func update(
        _ resources: RuntimeSpec.Resources, deviceProgram ready: DeviceProgram? = nil
    ) throws(CgroupError) -> [String] {
        var warnings: [String] = []
        if resources.memory?.checkBeforeUpdate == true { try refuseLimitBelowUsage(resources) }
        for limit in CgroupLimit.table where limit.isWritten {
            guard try limit.isAsked(resources) else { continue }
            guard let placement = layout.placements[limit.controller], placement.version == .v1 || limit.v2 != nil
            else {
                try absent(limit, &warnings)
                continue
            }
            let directory = placement.mountPoint + path
            if placement.version == .v1, Self.drivenWhenAsked.contains(limit.controller) {
                try join(limit.controller, placement.mountPoint)
            }
            let writes = try limit.writes(resources, version: placement.version) {
                CgroupFile.read(directory + "/" + $0)
            }
            var absentFiles = false
            try write(writes, of: limit, in: directory, absentFiles: &absentFiles)
            if absentFiles { try absent(limit, &warnings) }
        }
        try writeUnified(resources.unified ?? [:])
        if let rules = resources.devices { try apply(devices: rules, ready) }
        return warnings
    }

    /// The v2 directory, for `CLONE_INTO_CGROUP`.
    public func openDirectory() throws(CgroupError) -> FileDescriptor {
        let descriptor = open(unifiedDirectory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.failure("open the group \(path)", errno) }
        return FileDescriptor(owning: descriptor)
    }

    /// Moves a process (host pid) into the v1 groups and, when `includingUnified`, into the v2 group. A process
    /// started with `CLONE_INTO_CGROUP` is in the v2 group already. No-op on pure v2 without `includingUnified`.
    ///
    /// Call it before the process unshares its cgroup namespace, or it sees `/../..` paths in `/proc/self/cgroup`.
    public func attach(_ pid: Int32, includingUnified: Bool = false) throws(CgroupError) {
        if includingUnified { try move(pid, unifiedDirectory, nil) }
        for mountPoint in legacyMountPoints {
            try move(pid, mountPoint + path, layout.placements.first { $0.value.mountPoint == mountPoint }?.key)
        }
    }

    /// Whether any of its groups is there.
    public var exists: Bool {
        CgroupFile.exists(unifiedDirectory)
            || Self.legacyMountPoints(layout, Self.alwaysDriven).contains { CgroupFile.exists($0 + path) }
    }

    /// Mount points of the v1 hierarchies that this container has a group in: where its processes must be moved. Fewer
    /// than the host has: a hierarchy without a limit to enforce or a counter to read is left alone.
    public var legacyMountPoints: [String] {
        guard layout.mode != .unified else { return [] }
        return Self.legacyMountPoints(layout, Self.alwaysDriven)
            + Self.legacyMountPoints(layout, Self.drivenWhenAsked).filter { CgroupFile.exists($0 + path) }
    }

    private func move(_ pid: Int32, _ directory: String, _ controller: CgroupController?) throws(CgroupError) {
        let result = CgroupFile.write(directory + "/cgroup.procs", String(pid))
        guard result == 0 else {
            throw Self.failure("move process \(pid) into \(path)", result, controller)
        }
    }
}

extension ContainerCgroup {
    static func failure(_ what: String, _ number: Int32, _ controller: CgroupController? = nil) -> CgroupError {
        let subject = controller.map { "\($0.rawValue) controller: " } ?? "cgroup: "
        return CgroupError(
            "\(subject)cannot \(what): \(String(cString: strerror(number)))", errno: number, controller: controller)
    }

    /// `mkdir -p` below a mount point; existing directories are fine.
    static func makeDirectories(_ mountPoint: String, _ path: String) throws(CgroupError) {
        let full = mountPoint + path
        if mkdir(full, 0o755) == 0 || errno == EEXIST { return }
        guard errno == ENOENT else { throw failure("make \(full)", errno) }
        var partial = mountPoint
        for part in path.split(byte: "/") {
            partial += "/" + part
            guard mkdir(partial, 0o755) == 0 || errno == EEXIST else { throw failure("make \(partial)", errno) }
        }
    }

    /// The v2 group, with the controllers that are bound to v2 enabled for it.
    private func makeUnified() throws(CgroupError) {
        var result = mkdir(unifiedDirectory, 0o755) == 0 ? 0 : errno
        if result == EEXIST {
            // An earlier run whose monitor was killed left it: empty it is nobody's, otherwise it is refused here.
            try remove(timeout: 1)
            result = mkdir(unifiedDirectory, 0o755) == 0 ? 0 : errno
        }
        if result == ENOENT, let slash = path.lastIndex(byte: "/"), slash != path.startIndex {
            try Self.makeDirectories(unified, String(path[..<slash]))
            result = mkdir(unifiedDirectory, 0o755) == 0 ? 0 : errno
        }
        guard result == 0 else { throw Self.failure("make the group \(unifiedDirectory)", result) }
        let wanted = Self.enabled(layout)
        guard !wanted.isEmpty, !Self.has(wanted, unifiedDirectory + "/cgroup.controllers") else { return }
        guard let slash = path.lastIndex(byte: "/") else { return }
        Self.enable(wanted, unified, String(path[..<slash]))
    }

    /// The v2 controllers that containers get.
    static func enabled(_ layout: CgroupLayout) -> [CgroupController] {
        CgroupController.allCases.filter { layout.version(of: $0) == .v2 }
    }

    private static func has(_ wanted: [CgroupController], _ file: String) -> Bool {
        let present = (CgroupFile.read(file) ?? "").split(whereSeparator: \.isWhitespace)
        return wanted.allSatisfy { controller in present.contains { $0 == controller.rawValue } }
    }

    /// Enables controllers for the children of every group from the hierarchy's root down to `path`. One that a
    /// group refuses (`cpu` where real-time processes are about, for example) is left out: a limit that needs it
    /// then says so by name.
    static func enable(_ wanted: [CgroupController], _ mountPoint: String, _ path: String) {
        var directory = mountPoint
        for part in [""] + path.split(byte: "/").map({ String($0) }) {
            if !part.isEmpty { directory += "/" + part }
            let file = directory + "/cgroup.subtree_control"
            let present = (CgroupFile.read(file) ?? "").split(whereSeparator: \.isWhitespace)
            let missing = wanted.filter { controller in !present.contains { $0 == controller.rawValue } }
            guard !missing.isEmpty else { continue }
            let all = missing.map { "+" + $0.rawValue }
            if CgroupFile.write(file, all.joined(separator: " ")) != 0, all.count > 1 {
                for one in all { _ = CgroupFile.write(file, one) }
            }
        }
    }

    private func absent(_ limit: CgroupLimit, _ warnings: inout [String]) throws(CgroupError) {
        switch limit.absence {
        case .discard(let sentence): warnings.append(sentence)
        case .refuse:
            throw CgroupError(
                "\(limit.controller.rawValue) controller: this host cannot enforce the \(limit.name): the controller is "
                    + "not available or lacks it; leave the limit out", errno: ENOTSUP, controller: limit.controller)
        }
    }

    private func write(
        _ writes: [CgroupWrite], of limit: CgroupLimit, in directory: String, absentFiles: inout Bool
    ) throws(CgroupError) {
        var refused: [(CgroupWrite, Int32)] = []
        for write in writes {
            let result = Self.write(write, in: directory)
            if result == 0 { continue }
            if result == ENOENT {
                absentFiles = absentFiles || !write.optional
            } else {
                refused.append((write, result))
            }
        }
        // Two files that constrain each other (period and quota, memory and memory+swap) are refused in one order and
        // taken in the other.
        for (write, first) in refused {
            let result = writes.count > 1 ? Self.write(write, in: directory) : first
            guard result != 0 else { continue }
            throw Self.failure("set the \(limit.name): \(write.file) = \(write.value)", result, limit.controller)
        }
    }

    /// 0 or the errno; ENOENT when none of the files exists.
    private static func write(_ write: CgroupWrite, in directory: String) -> Int32 {
        let result = CgroupFile.write(directory + "/" + write.file, write.value)
        guard result == ENOENT, let next = write.otherwise.first else { return result }
        return CgroupFile.write(directory + "/" + next.file, next.value)
    }

    /// `linux.resources.unified`: v2 files by name.
    private func writeUnified(_ files: [String: String]) throws(CgroupError) {
        for (file, value) in files.sorted(by: { $0.key < $1.key }) {
            let controller = file.split(separator: ".").first.flatMap { CgroupController(name: $0) }
            guard !file.contains("/"), file.contains("."), !file.hasPrefix(".") else {
                throw CgroupError("unified resource \"\(file)\" is not the name of a cgroup v2 file", errno: EINVAL)
            }
            // Memberships and delegation are not resources.
            guard !file.hasPrefix("cgroup.") || file.hasPrefix("cgroup.max.") else {
                throw CgroupError("unified resource \"\(file)\" is not a limit", errno: EINVAL)
            }
            let result = CgroupFile.write(unifiedDirectory + "/" + file, value)
            guard result == 0 else {
                throw Self.failure("set \(file) = \(value) (cgroup v2)", result, controller)
            }
        }
    }

    private func apply(devices: [RuntimeSpec.DeviceCgroup], _ ready: DeviceProgram?) throws(CgroupError) {
        let rules = try DeviceFilter.effective(devices)
        let directory = try openDirectory()
        do throws(CgroupError) {
            try DeviceFilter.attach(rules, to: directory, ready: ready)
        } catch {
            // A host that refuses bpf(2) may still have v1's files.
            guard let legacy = layout.placements[.devices], legacy.version == .v1 else { throw error }
            try join(.devices, legacy.mountPoint)
            for rule in rules {
                let file = legacy.mountPoint + path + (rule.allow ? "/devices.allow" : "/devices.deny")
                let result = CgroupFile.write(file, rule.legacyLine)
                guard result == 0 else { throw Self.failure("set a device rule: \(rule.legacyLine)", result, .devices) }
            }
        }
    }

    /// Makes the group in a v1 hierarchy that the container isn't in yet, and moves what runs there.
    private func join(_ controller: CgroupController, _ mountPoint: String) throws(CgroupError) {
        guard !CgroupFile.exists(mountPoint + path) else { return }
        try Self.makeDirectories(mountPoint, path)
        if controller == .cpuset { inheritCpuset(mountPoint) }
        var moved: Set<Int32> = []
        while true {
            let new = try processes().filter { !moved.contains($0) }
            if new.isEmpty { return }
            for pid in new {
                let result = CgroupFile.write(mountPoint + path + "/cgroup.procs", String(pid))
                guard result == 0 || result == ESRCH else {
                    throw Self.failure("move process \(pid) into \(path)", result, controller)
                }
                moved.insert(pid)
            }
        }
    }

    /// v1 cpusets start empty, and an empty one takes no process (cgroup-v1/cpusets.rst).
    private func inheritCpuset(_ mountPoint: String) {
        var directory = mountPoint
        for part in path.split(byte: "/") {
            let parent = directory
            directory += "/" + part
            for file in ["/cpuset.cpus", "/cpuset.mems"]
            where (CgroupFile.read(directory + file) ?? "").trimmedLine.isEmpty {
                guard let inherited = CgroupFile.read(parent + file) else { continue }
                _ = CgroupFile.write(directory + file, inherited.trimmedLine)
            }
        }
    }

    /// `memory.checkBeforeUpdate`: rather refuse a limit below the usage than have the kernel kill for it.
    private func refuseLimitBelowUsage(_ resources: RuntimeSpec.Resources) throws(CgroupError) {
        guard let limit = resources.memory?.limit, limit > 0, let placement = layout.placements[.memory] else { return }
        let file = placement.version == .v1 ? "memory.usage_in_bytes" : "memory.current"
        guard let text = CgroupFile.read(placement.mountPoint + path + "/" + file),
            let usage = Int64(text.trimmedLine), usage > limit
        else { return }
        throw CgroupError(
            "memory controller: the limit of \(limit) bytes is below the \(usage) bytes in use", errno: EBUSY,
            controller: .memory)
    }
}
