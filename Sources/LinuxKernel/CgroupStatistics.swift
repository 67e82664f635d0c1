/// One reading of a container's counters, from the hierarchies that enforce its limits.
///
/// Absent parts are nil: the host has no such controller. Times are nanoseconds, sizes bytes.
public struct CgroupStatistics: Sendable, Equatable {
    /// memory.current & co. (v2) or memory.usage_in_bytes & co. (v1).
    public struct Memory: Sendable, Equatable {
        public var usage: UInt64 = 0
        /// Highest usage so far; nil where the kernel doesn't keep it.
        public var peak: UInt64?
        /// nil: unlimited.
        public var limit: UInt64?
        /// How often the limit was hit (v1 only: v2 counts `max` in memory.events).
        public var failures: UInt64?
        /// Swap in use, without memory.
        public var swapUsage: UInt64?
        /// nil: unlimited or no swap accounting.
        public var swapLimit: UInt64?
        /// Page cache: `cache` (v1) or `file` (v2) of memory.stat.
        public var cache: UInt64 = 0
        /// memory.stat as it is; names differ between versions, and Docker's clients know both.
        public var statistics: [String: UInt64] = [:]

        public init() {}
    }

    public struct CPU: Sendable, Equatable {
        public var total: UInt64 = 0
        public var user: UInt64 = 0
        public var system: UInt64 = 0
        /// v1 only.
        public var perCPU: [UInt64] = []
        public var periods: UInt64 = 0
        public var throttledPeriods: UInt64 = 0
        public var throttledTime: UInt64 = 0

        public init() {}
    }

    public struct Pids: Sendable, Equatable {
        public var current: UInt64 = 0
        /// nil: unlimited.
        public var limit: UInt64?

        public init() {}
    }

    /// One counter of one block device; `operation` is `Read`, `Write`, `Sync`, `Async`, `Discard` or `Total` on v1,
    /// `read`, `write` or `discard` on v2, as Docker passes them on.
    public struct IOEntry: Sendable, Equatable {
        public var major: UInt64
        public var minor: UInt64
        public var operation: String
        public var value: UInt64

        public init(major: UInt64, minor: UInt64, operation: String, value: UInt64) {
            self.major = major
            self.minor = minor
            self.operation = operation
            self.value = value
        }
    }

    public struct IO: Sendable, Equatable {
        /// Bytes, this group and those below.
        public var serviceBytes: [IOEntry] = []
        /// Operations.
        public var serviced: [IOEntry] = []

        public init() {}
    }

    /// A line of a pressure file: shares of time in percent, the total in microseconds
    /// (Documentation/accounting/psi.rst).
    public struct PressureLine: Sendable, Equatable {
        public var average10: Double = 0
        public var average60: Double = 0
        public var average300: Double = 0
        public var total: UInt64 = 0

        public init() {}
    }

    public struct Pressure: Sendable, Equatable {
        public var some = PressureLine()
        public var full = PressureLine()

        public init() {}
    }

    public var memory: Memory?
    public var cpu: CPU?
    public var pids: Pids?
    public var io: IO?
    public var cpuPressure: Pressure?
    public var memoryPressure: Pressure?
    public var ioPressure: Pressure?

    public init() {}
}
