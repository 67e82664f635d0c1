/// One sample of what a container uses: `GET /containers/{id}/stats`.
public struct ContainerStats: WireObject {
    public var name = ""
    public var id = ""
    /// When this sample was taken, RFC 3339 with nanoseconds.
    public var read = Timestamp.never
    /// When the sample in `precpuStats` was taken.
    public var preread = Timestamp.never
    public var pidsStats = Pids()
    public var blkioStats = BlockIO()
    public var numProcs: UInt32 = 0
    public var storageStats = EmptyObject()
    public var cpuStats = CPU()
    public var precpuStats = CPU()
    public var memoryStats = Memory()
    public var networks: [String: Network]?

    public init() {}

    public mutating func visit(_ fields: inout some FieldVisitor) throws {
        try fields("name", &name, .omitEmpty)
        try fields("id", &id, .omitEmpty)
        try fields("read", &read)
        try fields("preread", &preread)
        try fields("pids_stats", &pidsStats)
        try fields("blkio_stats", &blkioStats)
        try fields("num_procs", &numProcs)
        try fields("storage_stats", &storageStats)
        try fields("cpu_stats", &cpuStats)
        try fields("precpu_stats", &precpuStats)
        try fields("memory_stats", &memoryStats)
        try fields("networks", &networks, .omitEmpty)
    }

    public struct Pids: WireObject {
        public var current: UInt64 = 0
        /// 0: without limit.
        public var limit: UInt64 = 0

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("current", &current, .omitEmpty)
            try fields("limit", &limit, .omitEmpty)
        }
    }

    public struct CPU: WireObject {
        public var usage = Usage()
        /// Nanoseconds that the whole host's CPUs were available.
        public var systemUsage: UInt64 = 0
        public var onlineCPUs: UInt32 = 0
        public var throttling = Throttling()

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("cpu_usage", &usage)
            try fields("system_cpu_usage", &systemUsage, .omitEmpty)
            try fields("online_cpus", &onlineCPUs, .omitEmpty)
            try fields("throttling_data", &throttling)
        }

        /// Nanoseconds.
        public struct Usage: WireObject {
            public var total: UInt64 = 0
            /// Only on cgroup v1.
            public var perCPU: [UInt64]?
            public var kernelMode: UInt64 = 0
            public var userMode: UInt64 = 0

            public init() {}

            public mutating func visit(_ fields: inout some FieldVisitor) throws {
                try fields("total_usage", &total)
                try fields("percpu_usage", &perCPU, .omitEmpty)
                try fields("usage_in_kernelmode", &kernelMode)
                try fields("usage_in_usermode", &userMode)
            }
        }

        public struct Throttling: WireObject {
            public var periods: UInt64 = 0
            public var throttledPeriods: UInt64 = 0
            /// Nanoseconds.
            public var throttledTime: UInt64 = 0

            public init() {}

            public mutating func visit(_ fields: inout some FieldVisitor) throws {
                try fields("periods", &periods)
                try fields("throttled_periods", &throttledPeriods)
                try fields("throttled_time", &throttledTime)
            }
        }
    }

    /// Bytes. `stats` are the lines of `memory.stat`.
    public struct Memory: WireObject {
        public var usage: UInt64 = 0
        /// Only on cgroup v1.
        public var maxUsage: UInt64 = 0
        public var stats: [String: UInt64]?
        public var failcnt: UInt64 = 0
        public var limit: UInt64 = 0

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("usage", &usage, .omitEmpty)
            try fields("max_usage", &maxUsage, .omitEmpty)
            try fields("stats", &stats, .omitEmpty)
            try fields("failcnt", &failcnt, .omitEmpty)
            try fields("limit", &limit, .omitEmpty)
        }
    }

    /// Counters per device and operation; lists the kernel does not keep are null on v2 and empty on v1.
    public struct BlockIO: WireObject {
        public var serviceBytes: [Entry]?
        public var serviced: [Entry]?
        public var queued: [Entry]?
        public var serviceTime: [Entry]?
        public var waitTime: [Entry]?
        public var merged: [Entry]?
        public var time: [Entry]?
        public var sectors: [Entry]?

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("io_service_bytes_recursive", &serviceBytes)
            try fields("io_serviced_recursive", &serviced)
            try fields("io_queue_recursive", &queued)
            try fields("io_service_time_recursive", &serviceTime)
            try fields("io_wait_time_recursive", &waitTime)
            try fields("io_merged_recursive", &merged)
            try fields("io_time_recursive", &time)
            try fields("sectors_recursive", &sectors)
        }

        public struct Entry: WireObject {
            public var major: UInt64 = 0
            public var minor: UInt64 = 0
            /// `read` or `write` (capitalised on v1).
            public var op = ""
            public var value: UInt64 = 0

            public init() {}

            public init(major: UInt64, minor: UInt64, op: String, value: UInt64) {
                self.major = major
                self.minor = minor
                self.op = op
                self.value = value
            }

            public mutating func visit(_ fields: inout some FieldVisitor) throws {
                try fields("major", &major)
                try fields("minor", &minor)
                try fields("op", &op)
                try fields("value", &value)
            }
        }
    }

    /// Counters of one network interface, seen from the container.
    public struct Network: WireObject {
        public var rxBytes: UInt64 = 0
        public var rxPackets: UInt64 = 0
        public var rxErrors: UInt64 = 0
        public var rxDropped: UInt64 = 0
        public var txBytes: UInt64 = 0
        public var txPackets: UInt64 = 0
        public var txErrors: UInt64 = 0
        public var txDropped: UInt64 = 0
        /// The rates that it is limited to (`--network-rate-in`, `--network-rate-out`), in bits per second; absent
        /// without. Docker has none.
        public var rxRateLimit: UInt64 = 0
        public var txRateLimit: UInt64 = 0

        public init() {}

        public mutating func visit(_ fields: inout some FieldVisitor) throws {
            try fields("rx_bytes", &rxBytes)
            try fields("rx_packets", &rxPackets)
            try fields("rx_errors", &rxErrors)
            try fields("rx_dropped", &rxDropped)
            try fields("tx_bytes", &txBytes)
            try fields("tx_packets", &txPackets)
            try fields("tx_errors", &txErrors)
            try fields("tx_dropped", &txDropped)
            try fields("rx_rate_limit", &rxRateLimit, .omitEmpty)
            try fields("tx_rate_limit", &txRateLimit, .omitEmpty)
        }
    }
}
