import MonitorProtocol

/// Where a container is in its life. Each case carries what only that state has.
enum Lifecycle: Sendable, Codable, Equatable {
    /// Never started, or its start failed (then with the reason and the exit code clients see).
    case created(failure: FailedStart?)
    /// The monitor is being spawned.
    case starting(since: Int64)
    case running(Run)
    /// Running, and frozen in its cgroup.
    case paused(Run)
    /// Ended, to be started again by its restart policy.
    case restarting(Exit)
    case exited(Exit)
    /// Could not be removed entirely; `rm` may be tried again.
    case dead(Exit?)
    case removing(Exit?)

    /// A start that did not get as far as the user's program.
    struct FailedStart: Sendable, Codable, Equatable {
        var exitCode: Int32
        var message: String
    }

    /// A process that lives.
    struct Run: Sendable, Codable, Equatable {
        /// Host pid of PID 1.
        var pid: Int32
        var startedAt: Int64
        /// Whether the kernel has killed something in it for memory.
        var outOfMemory = false
    }

    /// How the last run ended.
    struct Exit: Sendable, Codable, Equatable {
        var exitCode: Int32
        var startedAt: Int64
        var finishedAt: Int64
        var oomKilled = false
        /// Why it ended, where that is not the program's own doing.
        var message = ""
    }

    /// Docker's word for it.
    var status: String {
        switch self {
        case .created, .starting: return "created"
        case .running: return "running"
        case .paused: return "paused"
        case .restarting: return "restarting"
        case .exited: return "exited"
        case .dead: return "dead"
        case .removing: return "removing"
        }
    }

    var run: Run? {
        switch self {
        case .running(let run), .paused(let run): return run
        default: return nil
        }
    }

    var exit: Exit? {
        switch self {
        case .restarting(let exit), .exited(let exit): return exit
        case .dead(let exit), .removing(let exit): return exit
        default: return nil
        }
    }

    /// Whether a process lives (Docker's `State.Running`, which is true while paused and while restarting).
    var isRunning: Bool { run != nil }

    var isStarting: Bool {
        if case .starting = self { return true }
        return false
    }

    var isPaused: Bool {
        if case .paused = self { return true }
        return false
    }

    var isRestarting: Bool {
        if case .restarting = self { return true }
        return false
    }

    var isRemoving: Bool {
        if case .removing = self { return true }
        return false
    }

    var exitCode: Int32 {
        if case .created(let failure?) = self { return failure.exitCode }
        return exit?.exitCode ?? 0
    }

    var errorMessage: String {
        if case .created(let failure?) = self { return failure.message }
        return exit?.message ?? ""
    }

    /// Nanoseconds since the epoch, 0 if never.
    var startedAt: Int64 { run?.startedAt ?? exit?.startedAt ?? 0 }
    var finishedAt: Int64 { exit?.finishedAt ?? 0 }
}
