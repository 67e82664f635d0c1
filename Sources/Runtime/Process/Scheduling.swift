import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// Scheduling policy, I/O priority, CPU affinity and personality of a process (runtime-spec config.md).
enum Scheduling {
    private static let policies: [String: UInt32] = [
        "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_IDLE": 5, "SCHED_DEADLINE": 6,
        "SCHED_ISO": 4,
    ]
    private static let flags: [String: UInt64] = [
        "SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
        "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10, "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
        "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
    ]

    static func apply(_ scheduler: RuntimeSpec.Scheduler) throws(StartFailure) {
        guard let policy = policies[scheduler.policy] else {
            throw StartFailure(
                stage: "scheduler", errno: EINVAL, message: "unknown scheduling policy \(scheduler.policy)")
        }
        var attributes = clinux_sched_attr()
        attributes.size = UInt32(MemoryLayout<clinux_sched_attr>.size)
        attributes.sched_policy = policy
        for name in scheduler.flags ?? [] {
            guard let flag = flags[name] else {
                throw StartFailure(stage: "scheduler", errno: EINVAL, message: "unknown scheduling flag \(name)")
            }
            attributes.sched_flags |= flag
        }
        attributes.sched_nice = scheduler.nice ?? 0
        attributes.sched_priority = UInt32(clamping: scheduler.priority ?? 0)
        attributes.sched_runtime = scheduler.runtime ?? 0
        attributes.sched_deadline = scheduler.deadline ?? 0
        attributes.sched_period = scheduler.period ?? 0
        try at("scheduler", "cannot set the scheduling policy \(scheduler.policy)") { () throws(SystemError) in
            try checked("sched_setattr") { clinux_sched_setattr(&attributes) }
        }
    }

    static func apply(_ priority: RuntimeSpec.IOPriority) throws(StartFailure) {
        let classes: [String: Int32] = ["IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3]
        guard let number = classes[priority.class], (0...7).contains(priority.priority) else {
            throw StartFailure(
                stage: "io priority", errno: EINVAL,
                message: "\(priority.class) \(priority.priority) is not an I/O class with a priority from 0 to 7")
        }
        try at("io priority", "cannot set the I/O priority") { () throws(SystemError) in
            // Class in the upper bits, IOPRIO_WHO_PROCESS is 1 (ioprio_set(2)).
            try checked("ioprio_set") { clinux_ioprio_set(1, 0, number << 13 | Int32(priority.priority)) }
        }
    }

    static func apply(_ personality: RuntimeSpec.Personality) throws(StartFailure) {
        let domains: [String: UInt] = ["LINUX": 0, "LINUX32": 8]
        guard let domain = domains[personality.domain], personality.flags?.isEmpty ?? true else {
            throw StartFailure(
                stage: "personality", errno: EINVAL, message: "unknown personality \(personality.domain)")
        }
        try at("personality", "cannot set the personality \(personality.domain)") { () throws(SystemError) in
            try checked("personality") { clinux_personality(domain) }
        }
    }

    /// Lets the caller's choice of processors go: those of the cgroup's cpuset remain (sched_setaffinity(2)).
    static func resetAffinity() {
        let mask = [UInt64](repeating: UInt64.max, count: 128)
        clinux_sched_setaffinity(mask.count * 8, mask)
    }

    /// `list` in the form of cpuset(7), for example `0-3,7`.
    static func setAffinity(_ list: String) throws(StartFailure) {
        var mask = [UInt64](repeating: 0, count: 128)
        for range in list.split(byte: ",") {
            let ends = range.split(separator: "-", maxSplits: 1).map { Int($0) }
            guard let first = ends.first ?? nil, let last = ends.last ?? nil, first >= 0, first <= last, last < 8192
            else {
                throw StartFailure(stage: "affinity", errno: EINVAL, message: "\(list) is not a list of CPUs")
            }
            for cpu in first...last { mask[cpu / 64] |= 1 << UInt64(cpu % 64) }
        }
        try at("affinity", "cannot run on the CPUs \(list)") { () throws(SystemError) in
            try checked("sched_setaffinity") { clinux_sched_setaffinity(mask.count * 8, mask) }
        }
    }
}
