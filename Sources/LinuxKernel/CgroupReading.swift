import Glibc

extension ContainerCgroup {
    /// One reading of the counters, each from the hierarchy that enforces it.
    /// - Throws: when the container's groups are gone.
    public func statistics() throws(CgroupError) -> CgroupStatistics {
        guard CgroupFile.exists(unifiedDirectory) else { throw Self.failure("read the statistics of \(path)", ENOENT) }
        var statistics = CgroupStatistics()
        statistics.memory = reading(.memory, v1: Self.legacyMemory, v2: Self.unifiedMemory)
        statistics.cpu = layout.version(of: .cpu) == .v2 ? Self.unifiedCPU(unifiedDirectory) : legacyCPU()
        statistics.pids = reading(.pids, v1: Self.pids, v2: Self.pids)
        statistics.io = reading(.io, v1: Self.legacyIO, v2: Self.unifiedIO)
        statistics.cpuPressure = Self.pressure(unifiedDirectory + "/cpu.pressure")
        statistics.memoryPressure = Self.pressure(unifiedDirectory + "/memory.pressure")
        statistics.ioPressure = Self.pressure(unifiedDirectory + "/io.pressure")
        return statistics
    }

    private func reading<Part>(
        _ controller: CgroupController, v1: (String) -> Part?, v2: (String) -> Part?
    ) -> Part? {
        guard let placement = layout.placements[controller] else { return nil }
        return placement.version == .v1 ? v1(placement.mountPoint + path) : v2(placement.mountPoint + path)
    }

    private static func number(_ file: String) -> UInt64? { CgroupFile.read(file).flatMap { UInt64($0.trimmedLine) } }

    /// Lines of `key value`.
    static func table(_ file: String) -> [String: UInt64] {
        var values: [String: UInt64] = [:]
        for line in (CgroupFile.read(file) ?? "").lines {
            let fields = line.parts(by: " ")
            if fields.count == 2, let value = UInt64(fields[1]) { values[String(fields[0])] = value }
        }
        return values
    }

    /// v1 has no word for "no limit": it is the largest multiple of the page size (PAGE_COUNTER_MAX).
    private static func limited(_ value: UInt64?) -> UInt64? {
        value.flatMap { $0 >= UInt64(Int64.max) & ~0xffff ? nil : $0 }
    }

    private static func legacyMemory(_ directory: String) -> CgroupStatistics.Memory? {
        guard let usage = number(directory + "/memory.usage_in_bytes") else { return nil }
        var memory = CgroupStatistics.Memory()
        memory.usage = usage
        memory.peak = number(directory + "/memory.max_usage_in_bytes")
        memory.limit = limited(number(directory + "/memory.limit_in_bytes"))
        memory.failures = number(directory + "/memory.failcnt")
        memory.statistics = table(directory + "/memory.stat")
        memory.cache = memory.statistics["total_cache"] ?? memory.statistics["cache"] ?? 0
        memory.swapUsage = memory.statistics["total_swap"] ?? memory.statistics["swap"]
        if let combined = limited(number(directory + "/memory.memsw.limit_in_bytes")), let limit = memory.limit {
            memory.swapLimit = combined >= limit ? combined - limit : 0
        }
        return memory
    }

    private static func unifiedMemory(_ directory: String) -> CgroupStatistics.Memory? {
        guard let usage = number(directory + "/memory.current") else { return nil }
        var memory = CgroupStatistics.Memory()
        memory.usage = usage
        memory.peak = number(directory + "/memory.peak")
        memory.limit = number(directory + "/memory.max")
        memory.statistics = table(directory + "/memory.stat")
        memory.cache = memory.statistics["file"] ?? 0
        memory.swapUsage = number(directory + "/memory.swap.current")
        memory.swapLimit = number(directory + "/memory.swap.max")
        return memory
    }

    private static func unifiedCPU(_ directory: String) -> CgroupStatistics.CPU? {
        let values = table(directory + "/cpu.stat")
        guard let total = values["usage_usec"] else { return nil }
        var cpu = CgroupStatistics.CPU()
        cpu.total = total * 1000
        cpu.user = (values["user_usec"] ?? 0) * 1000
        cpu.system = (values["system_usec"] ?? 0) * 1000
        cpu.periods = values["nr_periods"] ?? 0
        cpu.throttledPeriods = values["nr_throttled"] ?? 0
        cpu.throttledTime = (values["throttled_usec"] ?? 0) * 1000
        return cpu
    }

    private func legacyCPU() -> CgroupStatistics.CPU? {
        guard let accounting = directory(of: .cpuacct), let total = Self.number(accounting + "/cpuacct.usage") else {
            return nil
        }
        var cpu = CgroupStatistics.CPU()
        cpu.total = total
        cpu.user = Self.number(accounting + "/cpuacct.usage_user") ?? 0
        cpu.system = Self.number(accounting + "/cpuacct.usage_sys") ?? 0
        cpu.perCPU = (CgroupFile.read(accounting + "/cpuacct.usage_percpu") ?? "")
            .split(whereSeparator: \.isWhitespace).compactMap { UInt64($0) }
        if let scheduler = directory(of: .cpu) {
            let values = Self.table(scheduler + "/cpu.stat")
            cpu.periods = values["nr_periods"] ?? 0
            cpu.throttledPeriods = values["nr_throttled"] ?? 0
            cpu.throttledTime = values["throttled_time"] ?? 0
        }
        return cpu
    }

    private static func pids(_ directory: String) -> CgroupStatistics.Pids? {
        guard let current = number(directory + "/pids.current") else { return nil }
        var pids = CgroupStatistics.Pids()
        pids.current = current
        pids.limit = number(directory + "/pids.max")
        return pids
    }

    private static func legacyIO(_ directory: String) -> CgroupStatistics.IO? {
        // Two policies count: BFQ where it schedules the disk, throttling always.
        func entries(_ what: String) -> [CgroupStatistics.IOEntry]? {
            for policy in ["bfq", "throttle"] {
                guard let text = CgroupFile.read(directory + "/blkio.\(policy).\(what)_recursive") else { continue }
                let entries = text.lines.compactMap { line -> CgroupStatistics.IOEntry? in
                    let fields = line.parts(by: " ")
                    guard fields.count == 3, let device = device(fields[0]), let value = UInt64(fields[2]) else {
                        return nil
                    }
                    return CgroupStatistics.IOEntry(
                        major: device.major, minor: device.minor, operation: String(fields[1]), value: value)
                }
                if !entries.isEmpty || policy == "throttle" { return entries }
            }
            return nil
        }
        guard let bytes = entries("io_service_bytes") else { return nil }
        var io = CgroupStatistics.IO()
        io.serviceBytes = bytes
        io.serviced = entries("io_serviced") ?? []
        return io
    }

    private static func unifiedIO(_ directory: String) -> CgroupStatistics.IO? {
        guard let text = CgroupFile.read(directory + "/io.stat") else { return nil }
        var io = CgroupStatistics.IO()
        for line in text.lines {
            let fields = line.parts(by: " ")
            guard let first = fields.first, let device = device(first) else { continue }
            for field in fields.dropFirst() {
                let parts = field.parts(by: "=")
                guard parts.count == 2, let value = UInt64(parts[1]) else { continue }
                func entry(_ operation: String) -> CgroupStatistics.IOEntry {
                    CgroupStatistics.IOEntry(
                        major: device.major, minor: device.minor, operation: operation, value: value)
                }
                switch parts[0] {
                case "rbytes": io.serviceBytes.append(entry("read"))
                case "wbytes": io.serviceBytes.append(entry("write"))
                case "dbytes": io.serviceBytes.append(entry("discard"))
                case "rios": io.serviced.append(entry("read"))
                case "wios": io.serviced.append(entry("write"))
                case "dios": io.serviced.append(entry("discard"))
                default: continue
                }
            }
        }
        return io
    }

    private static func device(_ text: Substring) -> (major: UInt64, minor: UInt64)? {
        let parts = text.parts(by: ":")
        guard parts.count == 2, let major = UInt64(parts[0]), let minor = UInt64(parts[1]) else { return nil }
        return (major, minor)
    }

    private static func pressure(_ file: String) -> CgroupStatistics.Pressure? {
        guard let text = CgroupFile.read(file) else { return nil }
        return parsePressure(text)
    }

    /// Lines such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
    static func parsePressure(_ text: String) -> CgroupStatistics.Pressure {
        var pressure = CgroupStatistics.Pressure()
        for line in text.lines {
            let fields = line.parts(by: " ")
            var parsed = CgroupStatistics.PressureLine()
            for field in fields.dropFirst() {
                let parts = field.parts(by: "=")
                guard parts.count == 2 else { continue }
                switch parts[0] {
                case "avg10": parsed.average10 = Double(parts[1]) ?? 0
                case "avg60": parsed.average60 = Double(parts[1]) ?? 0
                case "avg300": parsed.average300 = Double(parts[1]) ?? 0
                case "total": parsed.total = UInt64(parts[1]) ?? 0
                default: continue
                }
            }
            if fields.first == "some" { pressure.some = parsed }
            if fields.first == "full" { pressure.full = parsed }
        }
        return pressure
    }
}
