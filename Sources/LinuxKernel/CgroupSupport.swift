import Glibc
import OCI

/// Which limits this host can enforce, found by looking for their files in the daemon's own group: the root of a v2
/// hierarchy has none of them.
public struct CgroupSupport: Sendable, Equatable {
    // The booleans that Docker's `info` reports.
    public let memoryLimit: Bool
    public let swapLimit: Bool
    public let memoryReservation: Bool
    public let memorySwappiness: Bool
    public let oomKillDisable: Bool
    public let kernelMemoryTCP: Bool
    public let cpuShares: Bool
    /// Period and quota (the CFS bandwidth controller).
    public let cpuQuota: Bool
    public let cpuRealtime: Bool
    public let cpuset: Bool
    public let pidsLimit: Bool
    public let blockIOWeight: Bool
    public let blockIOWeightDevice: Bool
    public let readBpsDevice: Bool
    public let writeBpsDevice: Bool
    public let readIOPSDevice: Bool
    public let writeIOPSDevice: Bool
    /// CPUs and memory nodes that containers may have, as lists such as `0-3`.
    public let cpus: String
    public let mems: String

    private let parent: CgroupParent

    public static func == (left: CgroupSupport, right: CgroupSupport) -> Bool {
        left.warnings == right.warnings && left.cpus == right.cpus && left.mems == right.mems
            && left.parent == right.parent
    }

    /// What can be enforced below `parent`.
    public init(parent: CgroupParent) {
        self.parent = parent
        typealias Resources = RuntimeSpec.Resources
        func can(_ resources: Resources) -> Bool { Self.unsupported(resources, parent).isEmpty }
        func memory(_ change: (inout RuntimeSpec.Memory) -> Void) -> Bool {
            var memory = RuntimeSpec.Memory()
            change(&memory)
            return can(Resources(memory: memory))
        }
        func cpu(_ change: (inout RuntimeSpec.CPU) -> Void) -> Bool {
            var cpu = RuntimeSpec.CPU()
            change(&cpu)
            return can(Resources(cpu: cpu))
        }
        func io(_ change: (inout RuntimeSpec.BlockIO) -> Void) -> Bool {
            var io = RuntimeSpec.BlockIO()
            change(&io)
            return can(Resources(blockIO: io))
        }
        let rate = [RuntimeSpec.ThrottleDevice(major: 8, minor: 0, rate: 1)]
        memoryLimit = memory { $0.limit = 1 << 30 }
        swapLimit = memory {
            $0.limit = 1 << 30
            $0.swap = 2 << 30
        }
        memoryReservation = memory { $0.reservation = 1 << 30 }
        memorySwappiness = memory { $0.swappiness = 60 }
        oomKillDisable = memory { $0.disableOOMKiller = true }
        kernelMemoryTCP = memory { $0.kernelTCP = 1 << 30 }
        cpuShares = cpu { $0.shares = 1024 }
        cpuQuota = cpu {
            $0.quota = 100_000
            $0.period = 100_000
        }
        cpuRealtime = cpu { $0.realtimeRuntime = 1000 }
        cpuset = cpu { $0.cpus = "0" }
        pidsLimit = can(Resources(pids: RuntimeSpec.Pids(limit: 1)))
        blockIOWeight = io { $0.weight = 500 }
        blockIOWeightDevice = io { $0.weightDevice = [RuntimeSpec.WeightDevice(major: 8, minor: 0, weight: 500)] }
        readBpsDevice = io { $0.throttleReadBpsDevice = rate }
        writeBpsDevice = io { $0.throttleWriteBpsDevice = rate }
        readIOPSDevice = io { $0.throttleReadIOPSDevice = rate }
        writeIOPSDevice = io { $0.throttleWriteIOPSDevice = rate }
        func list(_ name: String) -> String {
            guard let placement = parent.layout.placements[.cpuset] else { return "" }
            // v1's group may be empty until a container wants one: its root has the answer.
            let directory = placement.version == .v2 ? placement.mountPoint + parent.path : placement.mountPoint
            let file = placement.version == .v2 ? "cpuset.\(name).effective" : "cpuset.effective_\(name)"
            return (CgroupFile.read(directory + "/" + file) ?? "").trimmedLine
        }
        cpus = list("cpus")
        mems = list("mems")
    }

    /// Docker's lines for `info`, for what is missing.
    public var warnings: [String] {
        [
            (memoryLimit, "memory limit"), (swapLimit, "swap limit"), (cpuQuota, "cpu cfs quota"),
            (cpuShares, "cpu shares"), (cpuset, "cpuset"), (pidsLimit, "pids limit"),
            (blockIOWeight, "blkio weight"), (blockIOWeightDevice, "blkio weight_device"),
            (readBpsDevice, "blkio throttle.read_bps_device"), (writeBpsDevice, "blkio throttle.write_bps_device"),
            (readIOPSDevice, "blkio throttle.read_iops_device"), (writeIOPSDevice, "blkio throttle.write_iops_device"),
        ].filter { !$0.0 }.map { "WARNING: No \($0.1) support" }
    }

    /// Takes out of `resources` what the host cannot enforce and dockerd only warns about.
    /// - Returns: dockerd's warnings.
    /// - Throws: for what dockerd refuses, naming the controller, and for values that are none.
    public func discardUnsupported(_ resources: inout RuntimeSpec.Resources) throws(CgroupError) -> [String] {
        for limit in CgroupLimit.table { _ = try limit.isAsked(resources) }
        var warnings: [String] = []
        for limit in Self.unsupported(resources, parent) {
            guard case .discard(let sentence) = limit.absence else {
                throw CgroupError(
                    "\(limit.controller.rawValue) controller: this host cannot enforce the \(limit.name): the controller "
                        + "is not available or lacks it; leave the limit out", errno: ENOTSUP,
                    controller: limit.controller)
            }
            // Without memory limits there is nothing to say about swap.
            guard try limit.isAsked(resources) else { continue }
            limit.clear(&resources)
            warnings.append(sentence)
        }
        return warnings
    }

    private static func unsupported(_ resources: RuntimeSpec.Resources, _ parent: CgroupParent) -> [CgroupLimit] {
        CgroupLimit.table.filter { limit in
            guard (try? limit.isAsked(resources)) == true else { return false }
            guard let placement = parent.layout.placements[limit.controller] else { return true }
            if placement.version == .v2, limit.v2 == nil { return true }
            // A controller that v1 containers join only when asked has no parent group yet: its root has the files.
            var directory = placement.mountPoint + parent.path
            if !CgroupFile.exists(directory) { directory = placement.mountPoint }
            let writes = try? limit.writes(resources, version: placement.version) { _ in nil }
            return (writes ?? []).contains { write in
                !write.optional && !write.files.contains { CgroupFile.exists(directory + "/" + $0) }
            }
        }
    }
}
