import Glibc
import OCI

/// One value for one control file.
struct CgroupWrite: Equatable, Sendable {
    var file: String
    var value: String
    /// Used instead where `file` doesn't exist: kernels differ in which I/O scheduler's file they have.
    var otherwise: [CgroupWrite] = []
    /// No error where no file exists: the value is what holds there anyway.
    var optional = false

    init(_ file: String, _ value: String, otherwise: [CgroupWrite] = [], optional: Bool = false) {
        self.file = file
        self.value = value
        self.otherwise = otherwise
        self.optional = optional
    }

    var files: [String] { [file] + otherwise.map(\.file) }
}

/// One limit of the runtime specification: who enforces it, with which file in which version, and what Docker says
/// where it can't be enforced.
struct CgroupLimit: Sendable {
    enum Absence: Sendable {
        /// dockerd refuses the container.
        case refuse
        /// dockerd starts it without the limit; the sentence comes back in `Warnings`.
        case discard(String)
    }

    typealias Resources = RuntimeSpec.Resources
    /// Gives the present content of a control file of the group, nil where there is none.
    typealias Reader = (String) -> String?

    let name: String
    let controller: CgroupController
    let absence: Absence
    let v1: @Sendable (Resources, Reader) throws(CgroupError) -> [CgroupWrite]
    /// nil: v2 has nothing like it.
    let v2: (@Sendable (Resources, Reader) throws(CgroupError) -> [CgroupWrite])?
    /// Takes the limit out of the resources.
    let clear: @Sendable (inout Resources) -> Void
    var isWritten = true

    func writes(
        _ resources: Resources, version: CgroupVersion, _ read: Reader
    ) throws(CgroupError) -> [CgroupWrite] {
        guard version == .v2 else { return try v1(resources, read) }
        return try v2?(resources, read) ?? []
    }

    /// Whether the resources ask for it.
    func isAsked(_ resources: Resources) throws(CgroupError) -> Bool { try !v1(resources) { _ in nil }.isEmpty }
}

extension CgroupLimit {
    /// Every limit, in the order in which it is written.
    static let table: [CgroupLimit] = memoryLimits + cpuLimits + [pids] + ioLimits + otherLimits

    private static func discarded(_ what: String, _ result: String) -> Absence {
        .discard("Your kernel does not support \(what) or the cgroup is not mounted. \(result)")
    }

    private static let memoryLimits = [
        CgroupLimit(
            name: "memory limit", controller: .memory,
            absence: discarded("memory limit capabilities", "Limitation discarded."),
            // v1 refuses memory above memory+swap at every step, so which comes first depends on the present limit.
            v1: { resources, read throws(CgroupError) in
                guard let memory = resources.memory else { return [] }
                var writes: [CgroupWrite] = []
                if let limit = memory.limit, limit != 0 {
                    writes.append(CgroupWrite("memory.limit_in_bytes", String(max(limit, -1))))
                }
                var swap = memory.swap.flatMap { $0 == 0 ? nil : $0 }
                if memory.limit == -1, swap == nil { swap = -1 }
                if let swap, swap > 0, let limit = memory.limit, limit > swap {
                    throw CgroupError(
                        "memory controller: memory plus swap (\(swap) bytes) is less than memory (\(limit) bytes)",
                        errno: EINVAL, controller: .memory)
                }
                guard let swap else { return writes }
                let write = CgroupWrite("memory.memsw.limit_in_bytes", String(max(swap, -1)), optional: swap < 0)
                let present = read("memory.limit_in_bytes").flatMap { UInt64($0.trimmedLine) }
                let first = swap < 0 || (present.map { $0 < UInt64(swap) } ?? false)
                return first ? [write] + writes : writes + [write]
            },
            v2: { resources, read throws(CgroupError) in
                guard let memory = resources.memory else { return [] }
                var writes: [CgroupWrite] = []
                if let swap = try CgroupConversion.swap(memory, read) {
                    let harmless = swap == "max" || swap == "0"
                    writes.append(CgroupWrite("memory.swap.max", swap, optional: harmless))
                }
                if let limit = memory.limit, limit != 0 {
                    writes.append(CgroupWrite("memory.max", CgroupConversion.maximum(limit)))
                }
                return writes
            },
            clear: {
                $0.memory?.limit = nil
                $0.memory?.swap = nil
            }),
        // Written together with the memory limit above; an entry of its own because hosts may lack it alone.
        CgroupLimit(
            name: "swap limit", controller: .memory,
            absence: discarded("swap limit capabilities", "Memory limited without swap."),
            v1: { resources, _ in
                guard let memory = resources.memory, (memory.swap ?? 0) > 0 else { return [] }
                return [CgroupWrite("memory.memsw.limit_in_bytes", "")]
            },
            v2: { resources, _ in
                guard let memory = resources.memory, (memory.swap ?? 0) > 0 else { return [] }
                // Without swap accounting there is no swap to use either, which is what equal limits ask for.
                return [CgroupWrite("memory.swap.max", "", optional: memory.swap == memory.limit)]
            }, clear: { $0.memory?.swap = nil }, isWritten: false),
        CgroupLimit(
            name: "memory reservation", controller: .memory,
            absence: discarded("memory soft limit capabilities", "Limitation discarded."),
            v1: { resources, _ in
                guard let value = resources.memory?.reservation, value != 0 else { return [] }
                return [CgroupWrite("memory.soft_limit_in_bytes", String(max(value, -1)))]
            },
            v2: { resources, _ in
                guard let value = resources.memory?.reservation, value != 0 else { return [] }
                return [CgroupWrite("memory.low", CgroupConversion.maximum(value))]
            }, clear: { $0.memory?.reservation = nil }),
        CgroupLimit(
            name: "memory swappiness", controller: .memory,
            absence: discarded("memory swappiness capabilities", "Memory swappiness discarded."),
            v1: { resources, _ in
                guard let value = resources.memory?.swappiness else { return [] }
                return [CgroupWrite("memory.swappiness", String(value))]
            }, v2: nil, clear: { $0.memory?.swappiness = nil }),
        CgroupLimit(
            name: "OOM killer setting", controller: .memory,
            absence: .discard("Your kernel does not support OomKillDisable. OomKillDisable discarded."),
            v1: { resources, _ in
                resources.memory?.disableOOMKiller == true ? [CgroupWrite("memory.oom_control", "1")] : []
            }, v2: nil, clear: { $0.memory?.disableOOMKiller = nil }),
        CgroupLimit(
            name: "kernel TCP memory limit", controller: .memory,
            absence: discarded("kernel memory TCP limit capabilities", "Limitation discarded."),
            v1: { resources, _ in
                guard let value = resources.memory?.kernelTCP, value != 0 else { return [] }
                return [CgroupWrite("memory.kmem.tcp.limit_in_bytes", String(max(value, -1)))]
            }, v2: nil, clear: { $0.memory?.kernelTCP = nil }),
    ]

    private static let cpuLimits = [
        CgroupLimit(
            name: "CPU shares", controller: .cpu, absence: discarded("CPU shares", "Shares discarded."),
            v1: { resources, _ in
                guard let shares = resources.cpu?.shares, shares != 0 else { return [] }
                return [CgroupWrite("cpu.shares", String(shares))]
            },
            v2: { resources, _ in
                guard let shares = resources.cpu?.shares, shares != 0 else { return [] }
                return [CgroupWrite("cpu.weight", String(CgroupConversion.cpuWeight(shares: shares)))]
            }, clear: { $0.cpu?.shares = nil }),
        CgroupLimit(
            name: "CPU quota", controller: .cpu, absence: .refuse,
            v1: { resources, _ in
                var writes: [CgroupWrite] = []
                if let period = resources.cpu?.period, period != 0 {
                    writes.append(CgroupWrite("cpu.cfs_period_us", String(period)))
                }
                if let quota = resources.cpu?.quota, quota != 0 {
                    writes.append(CgroupWrite("cpu.cfs_quota_us", String(max(quota, -1))))
                }
                return writes
            },
            v2: { resources, read in
                let period = resources.cpu?.period.flatMap { $0 == 0 ? nil : $0 }
                let quota = resources.cpu?.quota.flatMap { $0 == 0 ? nil : $0 }
                guard period != nil || quota != nil else { return [] }
                // One file holds both: what isn't asked for stays as it is.
                let present = read("cpu.max")?.split(whereSeparator: \.isWhitespace).first.map { String($0) }
                let first = quota.map { $0 > 0 ? String($0) : "max" } ?? present ?? "max"
                return [CgroupWrite("cpu.max", period.map { "\(first) \($0)" } ?? first)]
            },
            clear: {
                $0.cpu?.quota = nil
                $0.cpu?.period = nil
            }),
        CgroupLimit(
            name: "CPU burst", controller: .cpu, absence: .refuse,
            v1: { resources, _ in resources.cpu?.burst.map { [CgroupWrite("cpu.cfs_burst_us", String($0))] } ?? [] },
            v2: { resources, _ in resources.cpu?.burst.map { [CgroupWrite("cpu.max.burst", String($0))] } ?? [] },
            clear: { $0.cpu?.burst = nil }),
        CgroupLimit(
            name: "CPU idle setting", controller: .cpu, absence: .refuse,
            v1: { resources, _ in resources.cpu?.idle.map { [CgroupWrite("cpu.idle", String($0))] } ?? [] },
            v2: { resources, _ in resources.cpu?.idle.map { [CgroupWrite("cpu.idle", String($0))] } ?? [] },
            clear: { $0.cpu?.idle = nil }),
        CgroupLimit(
            name: "real-time CPU limit", controller: .cpu, absence: .refuse,
            v1: { resources, _ in
                var writes: [CgroupWrite] = []
                if let period = resources.cpu?.realtimePeriod, period != 0 {
                    writes.append(CgroupWrite("cpu.rt_period_us", String(period)))
                }
                if let runtime = resources.cpu?.realtimeRuntime, runtime != 0 {
                    writes.append(CgroupWrite("cpu.rt_runtime_us", String(runtime)))
                }
                return writes
            }, v2: nil,
            clear: {
                $0.cpu?.realtimePeriod = nil
                $0.cpu?.realtimeRuntime = nil
            }),
        CgroupLimit(
            name: "CPU and memory node list", controller: .cpuset, absence: discarded("cpuset", "Cpuset discarded."),
            v1: { resources, _ in CgroupConversion.cpuset(resources) },
            v2: { resources, _ in CgroupConversion.cpuset(resources) },
            clear: {
                $0.cpu?.cpus = nil
                $0.cpu?.mems = nil
            }),
    ]

    private static let pids = CgroupLimit(
        name: "PIDs limit", controller: .pids,
        absence: discarded("PIDs limit capabilities", "PIDs limit discarded."),
        v1: { resources, _ in CgroupConversion.pids(resources) },
        v2: { resources, _ in CgroupConversion.pids(resources) }, clear: { $0.pids = nil })

    private static let ioLimits =
        [
            CgroupLimit(
                name: "block I/O weight", controller: .io,
                absence: discarded("Block I/O weight", "Weight discarded."),
                v1: { resources, _ throws(CgroupError) in
                    guard let weight = try CgroupConversion.weight(resources.blockIO?.weight) else { return [] }
                    return [
                        CgroupWrite(
                            "blkio.weight", String(weight),
                            otherwise: [CgroupWrite("blkio.bfq.weight", String(weight))])
                    ]
                },
                v2: { resources, _ throws(CgroupError) in
                    guard let weight = try CgroupConversion.weight(resources.blockIO?.weight) else { return [] }
                    let converted = String(CgroupConversion.ioWeight(weight))
                    return [
                        CgroupWrite(
                            "io.bfq.weight", String(weight), otherwise: [CgroupWrite("io.weight", converted)])
                    ]
                }, clear: { $0.blockIO?.weight = nil }),
            CgroupLimit(
                name: "block I/O device weight", controller: .io,
                absence: discarded("Block I/O weight_device", "Weight-device discarded."),
                v1: { resources, _ throws(CgroupError) in
                    try CgroupConversion.deviceWeights(resources) { device, weight in
                        CgroupWrite(
                            "blkio.weight_device", "\(device) \(weight)",
                            otherwise: [CgroupWrite("blkio.bfq.weight_device", "\(device) \(weight)")])
                    }
                },
                v2: { resources, _ throws(CgroupError) in
                    try CgroupConversion.deviceWeights(resources) { device, weight in
                        CgroupWrite(
                            "io.bfq.weight", "\(device) \(weight)",
                            otherwise: [CgroupWrite("io.weight", "\(device) \(CgroupConversion.ioWeight(weight))")])
                    }
                }, clear: { $0.blockIO?.weightDevice = nil }),
        ]
        + [
            throttle("read_bps", "rbps", "BPS Block I/O read limit", "Block I/O BPS read", \.throttleReadBpsDevice),
            throttle("write_bps", "wbps", "BPS Block I/O write limit", "Block I/O BPS write", \.throttleWriteBpsDevice),
            throttle("read_iops", "riops", "IOPS Block read limit", "Block I/O IOPS read", \.throttleReadIOPSDevice),
            throttle(
                "write_iops", "wiops", "IOPS Block write limit", "Block I/O IOPS write", \.throttleWriteIOPSDevice),
        ]

    private static func throttle(
        _ v1Name: String, _ key: String, _ capability: String, _ short: String,
        _ devices: WritableKeyPath<RuntimeSpec.BlockIO, [RuntimeSpec.ThrottleDevice]?> & Sendable
    ) -> CgroupLimit {
        CgroupLimit(
            name: "\(short) limit", controller: .io, absence: discarded(capability, "\(short) limit discarded."),
            v1: { resources, _ in
                (resources.blockIO?[keyPath: devices] ?? []).map {
                    CgroupWrite("blkio.throttle.\(v1Name)_device", "\($0.major):\($0.minor) \($0.rate)")
                }
            },
            v2: { resources, _ in
                (resources.blockIO?[keyPath: devices] ?? []).map {
                    CgroupWrite("io.max", "\($0.major):\($0.minor) \(key)=\($0.rate == 0 ? "max" : String($0.rate))")
                }
            }, clear: { $0.blockIO?[keyPath: devices] = nil })
    }

    private static let otherLimits = [
        CgroupLimit(
            name: "huge page limit", controller: .hugetlb, absence: .refuse,
            v1: { resources, _ throws(CgroupError) in
                try CgroupConversion.hugePages(resources).map {
                    CgroupWrite("hugetlb.\($0.pageSize).limit_in_bytes", String($0.limit))
                }
            },
            v2: { resources, _ throws(CgroupError) in
                try CgroupConversion.hugePages(resources).map {
                    CgroupWrite("hugetlb.\($0.pageSize).max", String($0.limit))
                }
            }, clear: { $0.hugepageLimits = nil }),
        CgroupLimit(
            name: "RDMA limit", controller: .rdma, absence: .refuse,
            v1: { resources, _ in CgroupConversion.rdma(resources) },
            v2: { resources, _ in CgroupConversion.rdma(resources) }, clear: { $0.rdma = nil }),
    ]
}
