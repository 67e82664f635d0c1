import EngineAPI

/// The limits of `run`, `create` and `update`.
enum LimitFlags {
    static let memory = Flag.bytes("memory", short: "m", "Memory limit")
    static let memoryReservation = Flag.bytes("memory-reservation", "Memory soft limit")
    static let memorySwap = Flag<Int64>(
        "memory-swap", type: "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap",
        initial: 0
    ) { value, word throws(InvalidValue) in value = word == "-1" ? -1 : try parseBytes(word) }
    static let cpus = Flag<Int64>("cpus", type: "decimal", "Number of CPUs", initial: 0) {
        value, word throws(InvalidValue) in value = try parseNanoCPUs(word)
    }
    static let cpuShares = Flag.integer("cpu-shares", short: "c", "CPU shares (relative weight)")
    static let cpuPeriod = Flag.integer("cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period")
    static let cpuQuota = Flag.integer("cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota")
    static let cpuRealtimePeriod = Flag.integer("cpu-rt-period", "Limit the CPU real-time period in microseconds")
    static let cpuRealtimeRuntime = Flag.integer("cpu-rt-runtime", "Limit the CPU real-time runtime in microseconds")
    static let cpusetCPUs = Flag.string("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)")
    static let cpusetMemory = Flag.string("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)")
    static let blkioWeight = Flag<UInt16>(
        "blkio-weight", type: "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable",
        initial: 0
    ) { value, word throws(InvalidValue) in
        guard let number = UInt16(word) else {
            let isNumber = !word.isEmpty && word.utf8.allSatisfy { (48...57).contains($0) }
            throw InvalidValue(
                "strconv.ParseUint: parsing \"\(word)\": " + (isNumber ? "value out of range" : "invalid syntax"))
        }
        value = number
    }
    static let kernelMemory = Flag.bytes("kernel-memory", "Kernel memory limit (no kernel has one any more)")
    static let pidsLimit = Flag.optionalInteger("pids-limit", "Tune container pids limit (set -1 for unlimited)")

    static let networkRateIn = rate("network-rate-in", "Limit what each network interface receives")
    static let networkRateOut = rate("network-rate-out", "Limit what each network interface sends")

    private static func rate(_ name: String, _ what: String) -> Flag<NetworkRate> {
        Flag(
            name, type: "rate",
            "\(what), in bits per second (10mbit, or with a burst in bytes: 10mbit,64kb; -1: no limit)",
            initial: NetworkRate()
        ) { value, word throws(InvalidValue) in value = try NetworkRate(parsing: word) }
    }

    // Only where a container is made.
    static let swappiness = Flag.integer(
        "memory-swappiness", "Tune container memory swappiness (0 to 100)", initially: -1)
    static let oomKillDisable = Flag.toggle("oom-kill-disable", "Disable OOM Killer")
    static let weightDevice = Flag<[WeightDevice]>(
        "blkio-weight-device", type: "list", "Block IO weight (relative device weight)", initial: []
    ) { value, word throws(InvalidValue) in value.append(try parseDeviceWeight(word)) }
    static let readBytes = throttle(
        "device-read-bps", "Limit read rate (bytes per second) from a device", parseByteRate)
    static let writeBytes = throttle(
        "device-write-bps", "Limit write rate (bytes per second) to a device", parseByteRate)
    static let readOperations = throttle(
        "device-read-iops", "Limit read rate (IO per second) from a device", parseOperationRate)
    static let writeOperations = throttle(
        "device-write-iops", "Limit write rate (IO per second) to a device", parseOperationRate)

    private static func throttle(
        _ name: String, _ help: String, _ parse: @escaping @Sendable (String) throws(InvalidValue) -> ThrottleDevice
    ) -> Flag<[ThrottleDevice]> {
        Flag(name, type: "list", help, initial: []) { value, word throws(InvalidValue) in
            value.append(try parse(word))
        }
    }

    /// Those that a running container takes too.
    static let updatable: [Option] = [
        blkioWeight.option, cpuPeriod.option, cpuQuota.option, cpuRealtimePeriod.option, cpuRealtimeRuntime.option,
        cpuShares.option, cpus.option, cpusetCPUs.option, cpusetMemory.option, memory.option,
        memoryReservation.option, memorySwap.option, networkRateIn.option, networkRateOut.option, pidsLimit.option,
    ]
    static let options: [Option] =
        updatable + [
            swappiness.option, oomKillDisable.option, kernelMemory.option, weightDevice.option, readBytes.option,
            writeBytes.option,
            readOperations.option, writeOperations.option,
        ]

    /// The limits that `update` changes; what was not given stays zero or nil and leaves the container as it is.
    static func changes(_ arguments: ParsedArguments) -> Resources {
        Resources {
            $0.blkioWeight = arguments[blkioWeight]
            $0.cpuPeriod = arguments[cpuPeriod]
            $0.cpuQuota = arguments[cpuQuota]
            $0.cpuRealtimePeriod = arguments[cpuRealtimePeriod]
            $0.cpuRealtimeRuntime = arguments[cpuRealtimeRuntime]
            $0.cpuShares = arguments[cpuShares]
            $0.nanoCpus = arguments[cpus]
            $0.cpusetCpus = arguments[cpusetCPUs]
            $0.cpusetMems = arguments[cpusetMemory]
            $0.memory = arguments[memory]
            $0.memoryReservation = arguments[memoryReservation]
            $0.memorySwap = arguments[memorySwap]
            $0.pidsLimit = arguments[pidsLimit]
            $0.networkRateIn = arguments[networkRateIn].bitsPerSecond
            $0.networkBurstIn = arguments[networkRateIn].burst
            $0.networkRateOut = arguments[networkRateOut].bitsPerSecond
            $0.networkBurstOut = arguments[networkRateOut].burst
        }
    }

    /// The limits of a new container.
    ///
    /// - Throws: `CommandFailure` for a number out of range.
    static func all(_ arguments: ParsedArguments) throws(CommandFailure) -> Resources {
        let swappiness = arguments[swappiness]
        guard (-1...100).contains(swappiness) else {
            throw CommandFailure("invalid value: \(swappiness). Valid memory swappiness range is 0-100")
        }
        var resources = changes(arguments)
        resources.memorySwappiness = swappiness
        resources.oomKillDisable = arguments[oomKillDisable]
        resources.kernelMemory = arguments[kernelMemory]
        resources.pidsLimit = arguments[pidsLimit] ?? 0
        resources.blkioWeightDevice = arguments[weightDevice]
        resources.blkioDeviceReadBps = arguments[readBytes]
        resources.blkioDeviceWriteBps = arguments[writeBytes]
        resources.blkioDeviceReadIOps = arguments[readOperations]
        resources.blkioDeviceWriteIOps = arguments[writeOperations]
        return resources
    }
}
