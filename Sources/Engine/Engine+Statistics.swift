import EngineAPI
import Glibc
import LinuxKernel

extension Engine {
    public func topContainer(_ id: String, psArguments: String) async throws -> TopResponse {
        let container = try registry.resolve(id)
        return try await perform {
            guard let run = container.lifecycle.run else {
                throw EngineError.conflict("container \(container.id) is not running")
            }
            if container.lifecycle.isRestarting {
                throw EngineError.conflict(
                    "container \(container.id) is restarting, wait until the container is running")
            }
            var pids = try self.cgroup(container).processes()
            // The reaper is ours, not the container's.
            if container.record.document.reaper { pids.removeAll { $0 == run.pid } }
            let words = psArguments.split(separator: " ").map(String.init)
            let table: ProcessTable
            if words.isEmpty || words == ["-ef"] {
                table = ProcessTable.full(of: pids)
            } else {
                table = try ProcessTable.parse(output: HostCommand.output("ps", words), pids: Set(pids))
            }
            self.post(container.record, "top")
            return TopResponse(titles: table.titles, processes: table.rows)
        }
    }

    /// One sample. A container that is not running gives one with zero counters.
    public func containerStats(_ id: String) async throws -> ContainerStats {
        let container = try registry.resolve(id)
        return try await perform {
            let record = container.record
            var stats = ContainerStats()
            stats.name = "/" + record.name
            stats.id = record.id
            guard let run = record.lifecycle.run, let sample = try? self.cgroup(container).statistics() else {
                return stats
            }
            stats.read = Timestamp.format(Clock.wall())
            StatisticsConversion.fill(&stats, from: sample, host: self.hostFacts, layout: self.cgroups)
            if record.document.reaper {
                // Docker's PIDS column and limit are the container's own.
                if stats.pidsStats.current > 0 { stats.pidsStats.current -= 1 }
                if stats.pidsStats.limit > 0 { stats.pidsStats.limit -= 1 }
            }
            if record.hostConfig.networkMode != "host" {
                stats.networks = StatisticsConversion.interfaces(pid: run.pid)
                let limits = record.hostConfig.rateLimits
                for endpoint in container.network?.endpoints ?? [] {
                    stats.networks?[endpoint.attachment.interfaceName]?.rxRateLimit = limits.ingress?.bitsPerSecond ?? 0
                    stats.networks?[endpoint.attachment.interfaceName]?.txRateLimit = limits.egress?.bitsPerSecond ?? 0
                }
            }
            return stats
        }
    }
}

/// Counters of cgroups as Docker's clients expect them.
enum StatisticsConversion {
    static func fill(
        _ stats: inout ContainerStats, from sample: CgroupStatistics, host: HostFacts, layout: CgroupLayout
    ) {
        if let cpu = sample.cpu {
            stats.cpuStats.usage.total = cpu.total
            stats.cpuStats.usage.userMode = cpu.user
            stats.cpuStats.usage.kernelMode = cpu.system
            stats.cpuStats.usage.perCPU = cpu.perCPU.isEmpty ? nil : cpu.perCPU
            stats.cpuStats.throttling.periods = cpu.periods
            stats.cpuStats.throttling.throttledPeriods = cpu.throttledPeriods
            stats.cpuStats.throttling.throttledTime = cpu.throttledTime
        }
        stats.cpuStats.systemUsage = systemUsage((try? Files.text("/proc/stat")) ?? "")
        stats.cpuStats.onlineCPUs = UInt32(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1))
        if let memory = sample.memory {
            stats.memoryStats.usage = memory.usage
            stats.memoryStats.maxUsage = memory.peak ?? 0
            stats.memoryStats.failcnt = memory.failures ?? 0
            // Without a limit of its own the container has the host's memory.
            stats.memoryStats.limit = min(memory.limit ?? UInt64.max, UInt64(host.memory))
            stats.memoryStats.stats = memory.statistics
        }
        if let pids = sample.pids {
            stats.pidsStats.current = pids.current
            stats.pidsStats.limit = pids.limit ?? 0
        }
        if let io = sample.io {
            stats.blkioStats.serviceBytes = io.serviceBytes.map(entry)
            if layout.version(of: .io) == .v1 {
                stats.blkioStats.serviced = io.serviced.map(entry)
                stats.blkioStats.queued = []
                stats.blkioStats.serviceTime = []
                stats.blkioStats.waitTime = []
                stats.blkioStats.merged = []
                stats.blkioStats.time = []
                stats.blkioStats.sectors = []
            }
        }
    }

    private static func entry(_ entry: CgroupStatistics.IOEntry) -> ContainerStats.BlockIO.Entry {
        .init(major: entry.major, minor: entry.minor, op: entry.operation, value: entry.value)
    }

    /// Nanoseconds that all CPUs together have been up, busy or idle: the first seven columns of /proc/stat's first
    /// line (proc(5)).
    static func systemUsage(_ stat: String) -> UInt64 {
        guard let line = stat.split(separator: "\n").first, line.hasPrefix("cpu ") else { return 0 }
        let ticks = line.split(separator: " ").dropFirst().prefix(7).reduce(UInt64(0)) { $0 + (UInt64($1) ?? 0) }
        return ticks * (1_000_000_000 / UInt64(max(sysconf(Int32(_SC_CLK_TCK)), 1)))
    }

    /// The interfaces of a container's network namespace but its loopback.
    static func interfaces(pid: Int32) -> [String: ContainerStats.Network]? {
        guard let text = try? Files.text("/proc/\(pid)/net/dev") else { return nil }
        var result: [String: ContainerStats.Network] = [:]
        for line in text.split(separator: "\n").dropFirst(2) {
            guard let colon = line.firstIndex(byte: ":") else { continue }
            let name = line[..<colon].filter { $0 != " " }
            let numbers = line[line.utf8.index(after: colon)...].split(separator: " ").compactMap { UInt64($0) }
            guard name != "lo", numbers.count >= 12 else { continue }
            var network = ContainerStats.Network()
            network.rxBytes = numbers[0]
            network.rxPackets = numbers[1]
            network.rxErrors = numbers[2]
            network.rxDropped = numbers[3]
            network.txBytes = numbers[8]
            network.txPackets = numbers[9]
            network.txErrors = numbers[10]
            network.txDropped = numbers[11]
            result[String(name)] = network
        }
        return result.isEmpty ? nil : result
    }
}

/// Programs of the host that the daemon asks for something.
enum HostCommand {
    /// What `program` prints on stdout, at most 8 MiB.
    static func output(_ program: String, _ arguments: [String]) throws -> String {
        var ends: [Int32] = [-1, -1]
        try checked("pipe") { pipe(&ends) }
        let read = FileDescriptor(owning: ends[0])
        _ = fcntl(read.raw, F_SETFD, FD_CLOEXEC)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_addclose(&actions, ends[1])
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var pid: pid_t = 0
        let result = withCStrings([program] + arguments) { argv in
            withCStrings(["PATH=" + DefaultSpec.path, "LC_ALL=C"]) { envp in
                posix_spawnp(&pid, program, &actions, nil, argv, envp)
            }
        }
        close(ends[1])
        guard result == 0 else {
            throw EngineError.internal("error running \(program): \(String(cString: strerror(result)))")
        }
        let text = try? Files.read(read.raw, program, limit: 8 << 20)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        guard let text, status == 0 else {
            throw EngineError.invalid("error running \(program) \(arguments.joined(separator: " "))")
        }
        return String(decoding: text, as: UTF8.self)
    }
}
