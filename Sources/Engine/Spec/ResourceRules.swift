import EngineAPI
import Glibc
import LinuxKernel
import OCI

/// What of the limits this host can enforce.
struct HostCapacity: Sendable {
    var cpus: Int
    /// CPU and memory node lists, for example `0-3`.
    var availableCPUs: Set<Int>
    var availableMemoryNodes: Set<Int>
    var memory: Bool
    var swap: Bool
    var swappiness: Bool
    var oomKillDisable: Bool
    var cpu: Bool
    var cpuset: Bool
    var pids: Bool
    var blockIO: Bool
    var blockIOWeight: Bool

    /// Every limit works: for tests, and as a start.
    static let full = HostCapacity(
        cpus: 4, availableCPUs: [0, 1, 2, 3], availableMemoryNodes: [0], memory: true, swap: true, swappiness: true,
        oomKillDisable: true, cpu: true, cpuset: true, pids: true, blockIO: true, blockIOWeight: true)

    init(
        cpus: Int, availableCPUs: Set<Int>, availableMemoryNodes: Set<Int>, memory: Bool, swap: Bool,
        swappiness: Bool, oomKillDisable: Bool, cpu: Bool, cpuset: Bool, pids: Bool, blockIO: Bool, blockIOWeight: Bool
    ) {
        self.cpus = cpus
        self.availableCPUs = availableCPUs
        self.availableMemoryNodes = availableMemoryNodes
        self.memory = memory
        self.swap = swap
        self.swappiness = swappiness
        self.oomKillDisable = oomKillDisable
        self.cpu = cpu
        self.cpuset = cpuset
        self.pids = pids
        self.blockIO = blockIO
        self.blockIOWeight = blockIOWeight
    }

    /// What the running host has.
    init(_ support: CgroupSupport) {
        let online = max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1)
        cpus = online
        availableCPUs = HostCapacity.list(support.cpus) ?? Set(0..<online)
        availableMemoryNodes = HostCapacity.list(support.mems) ?? [0]
        memory = support.memoryLimit
        swap = support.swapLimit
        swappiness = support.memorySwappiness
        oomKillDisable = support.oomKillDisable
        cpu = support.cpuQuota
        cpuset = support.cpuset
        pids = support.pidsLimit
        blockIO = support.readBpsDevice
        blockIOWeight = support.blockIOWeight
    }

    private static func list(_ text: String) -> Set<Int>? {
        let numbers = try? ResourceRules.parse(list: text)
        return numbers?.isEmpty == false ? numbers : nil
    }
}

/// dockerd's rules for limits: what is refused, what is dropped with a warning, what is filled in.
enum ResourceRules {
    static let minimumMemory: Int64 = 6 << 20

    /// Checks and adapts `resources`; returns warnings.
    static func validate(
        _ resources: inout Resources, host: HostCapacity, isUpdate: Bool
    ) throws(EngineError) -> [String] {
        var warnings: [String] = []
        if resources.memorySwappiness == -1 { resources.memorySwappiness = nil }
        try memory(&resources, host, isUpdate, &warnings)
        try cpu(&resources, host, &warnings)
        try cpuset(&resources, host, &warnings)
        try blockIO(&resources, host, &warnings)
        if let limit = resources.pidsLimit, !host.pids {
            if limit > 0 { warnings.append(discarded("PIDs limit", "PIDs limit")) }
            resources.pidsLimit = nil
        }
        return warnings
    }

    private static func discarded(_ capability: String, _ what: String) -> String {
        "Your kernel does not support \(capability) capabilities or the cgroup is not mounted. \(what) discarded."
    }

    private static func memory(
        _ resources: inout Resources, _ host: HostCapacity, _ isUpdate: Bool, _ warnings: inout [String]
    ) throws(EngineError) {
        if resources.memory != 0 && resources.memory < minimumMemory {
            throw .invalid("Minimum memory limit allowed is 6MB")
        }
        if resources.memory > 0 && !host.memory {
            warnings.append(discarded("memory limit", "Limitation"))
            resources.memory = 0
            resources.memorySwap = -1
        }
        if resources.memory > 0 && resources.memorySwap != -1 && !host.swap {
            warnings.append(
                "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
                    + "Memory limited without swap.")
            resources.memorySwap = -1
        }
        if resources.memory > 0 && resources.memorySwap > 0 && resources.memorySwap < resources.memory {
            throw .invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
        }
        if resources.memory == 0 && resources.memorySwap > 0 && !isUpdate {
            throw .invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
        }
        if let swappiness = resources.memorySwappiness {
            if !host.swappiness {
                warnings.append(discarded("memory swappiness", "Memory swappiness"))
                resources.memorySwappiness = nil
            } else if !(0...100).contains(swappiness) {
                throw .invalid("Invalid value: \(swappiness), valid memory swappiness range is 0-100")
            }
        }
        if resources.memoryReservation > 0 && !host.memory {
            warnings.append(discarded("memory soft limit", "Limitation"))
            resources.memoryReservation = 0
        }
        if resources.memoryReservation > 0 && resources.memoryReservation < minimumMemory {
            throw .invalid("Minimum memory reservation allowed is 6MB")
        }
        if resources.memory > 0 && resources.memoryReservation > resources.memory {
            throw .invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
        }
        if let disabled = resources.oomKillDisable {
            if !host.oomKillDisable {
                if disabled {
                    warnings.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
                }
                resources.oomKillDisable = nil
            } else if disabled && resources.memory == 0 {
                warnings.append(
                    "OOM killer is disabled for the container, but no memory limit is set, this can result in the "
                        + "system running out of resources.")
            }
        }
        if resources.kernelMemory > 0 || resources.kernelMemoryTCP > 0 {
            warnings.append("Kernel memory limits are deprecated by the kernel and were discarded.")
            resources.kernelMemory = 0
            resources.kernelMemoryTCP = 0
        }
    }

    private static func cpu(
        _ resources: inout Resources, _ host: HostCapacity, _ warnings: inout [String]
    ) throws(EngineError) {
        if resources.nanoCpus > 0 && resources.cpuPeriod > 0 {
            throw .invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set")
        }
        if resources.nanoCpus > 0 && resources.cpuQuota > 0 {
            throw .invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
        }
        if resources.nanoCpus > 0 && !host.cpu {
            throw .invalid(
                "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted"
            )
        }
        if resources.nanoCpus < 0 || resources.nanoCpus > Int64(host.cpus) * 1_000_000_000 {
            throw .invalid(
                "range of CPUs is from 0.01 to \(host.cpus).00, as there are only \(host.cpus) CPUs available")
        }
        if resources.cpuShares < 0 {
            throw .invalid("invalid CPU shares (\(resources.cpuShares)): value must be a positive integer")
        }
        if resources.cpuShares > 0 && !host.cpu {
            warnings.append("Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.")
            resources.cpuShares = 0
        }
        if (resources.cpuPeriod != 0 || resources.cpuQuota != 0) && !host.cpu {
            warnings.append("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.")
            resources.cpuPeriod = 0
            resources.cpuQuota = 0
        }
        if resources.cpuPeriod != 0 && !(1000...1_000_000).contains(resources.cpuPeriod) {
            throw .invalid(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
        }
        if resources.cpuQuota > 0 && resources.cpuQuota < 1000 {
            throw .invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
        }
        if resources.cpuRealtimePeriod < 0 {
            throw .invalid("invalid CPU real-time period (\(resources.cpuRealtimePeriod)): it can not be negative")
        }
        if resources.cpuPercent > 0 {
            warnings.append("linux does not support CPU percent. Percent discarded.")
            resources.cpuPercent = 0
        }
    }

    private static func cpuset(
        _ resources: inout Resources, _ host: HostCapacity, _ warnings: inout [String]
    ) throws(EngineError) {
        if (!resources.cpusetCpus.isEmpty || !resources.cpusetMems.isEmpty) && !host.cpuset {
            warnings.append("Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.")
            resources.cpusetCpus = ""
            resources.cpusetMems = ""
        }
        try available(resources.cpusetCpus, host.availableCPUs, "cpus", "CPUs")
        try available(resources.cpusetMems, host.availableMemoryNodes, "mems", "memory nodes")
    }

    private static func available(
        _ text: String, _ present: Set<Int>, _ name: String, _ plural: String
    ) throws(EngineError) {
        let wanted: Set<Int>
        do {
            wanted = try parse(list: text)
        } catch {
            throw .invalid("Invalid value \(text) for cpuset \(name): \(error.message)")
        }
        guard wanted.isSubset(of: present) else {
            throw .invalid(
                "Requested \(plural) are not available - requested \(text), available: \(list(of: present))")
        }
    }

    /// {0, 1, 2, 4} → `0-2,4`.
    static func list(of numbers: Set<Int>) -> String {
        var ranges: [ClosedRange<Int>] = []
        for number in numbers.sorted() {
            if let last = ranges.last, last.upperBound == number - 1 {
                ranges[ranges.count - 1] = last.lowerBound...number
            } else {
                ranges.append(number...number)
            }
        }
        return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ",")
    }

    /// `0-2,4` → {0, 1, 2, 4}.
    static func parse(list text: String) throws(EngineError) -> Set<Int> {
        var numbers: Set<Int> = []
        if text.isEmpty { return numbers }
        for part in text.split(byte: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false)
            // Linux has no more than 8192 CPUs.
            guard (1...2).contains(ends.count), let first = Int(ends[0]), let last = Int(ends[ends.count - 1]),
                first >= 0, first <= last, last < 8192
            else { throw .invalid("invalid format: \(text)") }
            numbers.formUnion(first...last)
        }
        return numbers
    }

    private static func blockIO(
        _ resources: inout Resources, _ host: HostCapacity, _ warnings: inout [String]
    ) throws(EngineError) {
        if resources.blkioWeight > 0 && !host.blockIOWeight {
            warnings.append(
                "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.")
            resources.blkioWeight = 0
        }
        if resources.blkioWeight > 0 && !(10...1000).contains(resources.blkioWeight) {
            throw .invalid("Range of blkio weight is from 10 to 1000")
        }
        if resources.ioMaximumBandwidth != 0 || resources.ioMaximumIOps != 0 {
            throw .invalid("Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps")
        }
        if resources.blkioWeightDevice?.isEmpty == false && !host.blockIOWeight {
            warnings.append(
                "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. "
                    + "Weight-device discarded.")
            resources.blkioWeightDevice = []
        }
        for device in resources.blkioWeightDevice ?? [] where !(10...1000).contains(device.weight) {
            throw .invalid("Range of blkio weight is from 10 to 1000")
        }
        let throttles: [(WritableKeyPath<Resources, [ThrottleDevice]?>, String, String)] = [
            (\.blkioDeviceReadBps, "BPS Block I/O read limit", "Block I/O BPS read limit"),
            (\.blkioDeviceWriteBps, "BPS Block I/O write limit", "Block I/O BPS write limit"),
            (\.blkioDeviceReadIOps, "IOPS Block read limit", "Block I/O IOPS read limit"),
            (\.blkioDeviceWriteIOps, "IOPS Block write limit", "Block I/O IOPS write limit"),
        ]
        for (path, capability, what) in throttles where resources[keyPath: path]?.isEmpty == false && !host.blockIO {
            warnings.append(
                "Your kernel does not support \(capability) or the cgroup is not mounted. \(what) discarded.")
            resources[keyPath: path] = []
        }
    }
}

extension RuntimeSpec.Resources {
    /// Docker's limits in the runtime specification's terms. `extraTasks` are ours: the reaper doesn't count against
    /// the container's own limit.
    init(_ resources: Resources, extraTasks: Int64) throws(EngineError) {
        self.init()
        var memory = RuntimeSpec.Memory()
        if resources.memory > 0 { memory.limit = resources.memory }
        if resources.memoryReservation > 0 { memory.reservation = resources.memoryReservation }
        if resources.memorySwap != 0 { memory.swap = resources.memorySwap }
        memory.swappiness = resources.memorySwappiness.map { UInt64($0) }
        if resources.oomKillDisable == true { memory.disableOOMKiller = true }
        if memory != RuntimeSpec.Memory() { self.memory = memory }

        var cpu = RuntimeSpec.CPU()
        if resources.cpuShares != 0 { cpu.shares = UInt64(resources.cpuShares) }
        if !resources.cpusetCpus.isEmpty { cpu.cpus = resources.cpusetCpus }
        if !resources.cpusetMems.isEmpty { cpu.mems = resources.cpusetMems }
        if resources.nanoCpus > 0 {
            // Documentation/scheduler/sched-bwc.rst: both in microseconds.
            cpu.period = 100_000
            cpu.quota = resources.nanoCpus / 10_000
        }
        if resources.cpuPeriod != 0 { cpu.period = UInt64(resources.cpuPeriod) }
        if resources.cpuQuota != 0 { cpu.quota = resources.cpuQuota }
        if resources.cpuRealtimePeriod != 0 { cpu.realtimePeriod = UInt64(resources.cpuRealtimePeriod) }
        if resources.cpuRealtimeRuntime != 0 { cpu.realtimeRuntime = resources.cpuRealtimeRuntime }
        if cpu != RuntimeSpec.CPU() { self.cpu = cpu }

        if let limit = resources.pidsLimit {
            let (whole, overflows) = limit.addingReportingOverflow(extraTasks)
            pids = RuntimeSpec.Pids(limit: limit > 0 && !overflows ? whole : -1)
        }

        var io = RuntimeSpec.BlockIO()
        if resources.blkioWeight != 0 { io.weight = resources.blkioWeight }
        var weights: [RuntimeSpec.WeightDevice] = []
        for device in resources.blkioWeightDevice ?? [] {
            let (major, minor) = try Devices.numbers(of: device.path)
            weights.append(RuntimeSpec.WeightDevice(major: major, minor: minor, weight: device.weight))
        }
        if !weights.isEmpty { io.weightDevice = weights }
        io.throttleReadBpsDevice = try Self.throttles(resources.blkioDeviceReadBps)
        io.throttleWriteBpsDevice = try Self.throttles(resources.blkioDeviceWriteBps)
        io.throttleReadIOPSDevice = try Self.throttles(resources.blkioDeviceReadIOps)
        io.throttleWriteIOPSDevice = try Self.throttles(resources.blkioDeviceWriteIOps)
        if io != RuntimeSpec.BlockIO() { blockIO = io }
    }

    private static func throttles(
        _ devices: [ThrottleDevice]?
    ) throws(EngineError) -> [RuntimeSpec.ThrottleDevice]? {
        var result: [RuntimeSpec.ThrottleDevice] = []
        for device in devices ?? [] {
            let (major, minor) = try Devices.numbers(of: device.path)
            result.append(RuntimeSpec.ThrottleDevice(major: major, minor: minor, rate: device.rate))
        }
        return result.isEmpty ? nil : result
    }
}
