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

    public static let fields = Fields<Self> {
        $0("name", \.name, .omitEmpty)
        $0("id", \.id, .omitEmpty)
        $0("read", \.read)
        $0("preread", \.preread)
        $0("pids_stats", \.pidsStats)
        $0("blkio_stats", \.blkioStats)
        $0("num_procs", \.numProcs)
        $0("storage_stats", \.storageStats)
        $0("cpu_stats", \.cpuStats)
        $0("precpu_stats", \.precpuStats)
        $0("memory_stats", \.memoryStats)
        $0("networks", \.networks, .omitEmpty)
    }

    public struct Pids: WireObject {
        public var current: UInt64 = 0
        /// 0: without limit.
        public var limit: UInt64 = 0

        public init() {}

        public static let fields = Fields<Self> {
            $0("current", \.current, .omitEmpty)
            $0("limit", \.limit, .omitEmpty)
        }
    }

    public struct CPU: WireObject {
        public var usage = Usage()
        /// Nanoseconds that the whole host's CPUs were available.
        public var systemUsage: UInt64 = 0
        public var onlineCPUs: UInt32 = 0
        public var throttling = Throttling()

        public init() {}

        public static let fields = Fields<Self> {
            $0("cpu_usage", \.usage)
            $0("system_cpu_usage", \.systemUsage, .omitEmpty)
            $0("online_cpus", \.onlineCPUs, .omitEmpty)
            $0("throttling_data", \.throttling)
        }

        /// Nanoseconds.
        public struct Usage: WireObject {
            public var total: UInt64 = 0
            /// Only on cgroup v1.
            public var perCPU: [UInt64]?
            public var kernelMode: UInt64 = 0
            public var userMode: UInt64 = 0

            public init() {}

            public static let fields = Fields<Self> {
                $0("total_usage", \.total)
                $0("percpu_usage", \.perCPU, .omitEmpty)
                $0("usage_in_kernelmode", \.kernelMode)
                $0("usage_in_usermode", \.userMode)
            }
        }

        public struct Throttling: WireObject {
            public var periods: UInt64 = 0
            public var throttledPeriods: UInt64 = 0
            /// Nanoseconds.
            public var throttledTime: UInt64 = 0

            public init() {}

            public static let fields = Fields<Self> {
                $0("periods", \.periods)
                $0("throttled_periods", \.throttledPeriods)
                $0("throttled_time", \.throttledTime)
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

        public static let fields = Fields<Self> {
            $0("usage", \.usage, .omitEmpty)
            $0("max_usage", \.maxUsage, .omitEmpty)
            $0("stats", \.stats, .omitEmpty)
            $0("failcnt", \.failcnt, .omitEmpty)
            $0("limit", \.limit, .omitEmpty)
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

        public static let fields = Fields<Self> {
            $0("io_service_bytes_recursive", \.serviceBytes)
            $0("io_serviced_recursive", \.serviced)
            $0("io_queue_recursive", \.queued)
            $0("io_service_time_recursive", \.serviceTime)
            $0("io_wait_time_recursive", \.waitTime)
            $0("io_merged_recursive", \.merged)
            $0("io_time_recursive", \.time)
            $0("sectors_recursive", \.sectors)
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

            public static let fields = Fields<Self> {
                $0("major", \.major)
                $0("minor", \.minor)
                $0("op", \.op)
                $0("value", \.value)
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

        public static let fields = Fields<Self> {
            $0("rx_bytes", \.rxBytes)
            $0("rx_packets", \.rxPackets)
            $0("rx_errors", \.rxErrors)
            $0("rx_dropped", \.rxDropped)
            $0("tx_bytes", \.txBytes)
            $0("tx_packets", \.txPackets)
            $0("tx_errors", \.txErrors)
            $0("tx_dropped", \.txDropped)
            $0("rx_rate_limit", \.rxRateLimit, .omitEmpty)
            $0("tx_rate_limit", \.txRateLimit, .omitEmpty)
        }
    }
}
