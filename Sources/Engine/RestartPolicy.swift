/// How long a run has lasted.
enum RunDuration {
    /// - Parameters:
    ///   - begun: when its start began on the monotonic clock, nil where this daemon has not seen it. Then the wall clock has
    ///     to tell, which may have been set since.
    ///   - startedAt: by the wall clock, as `now`.
    static func nanoseconds(
        _ begun: Int64?, since startedAt: Int64, monotonic: Int64 = Clock.monotonic(), now: Int64 = Clock.wall()
    ) -> Int64 {
        begun.map { monotonic - $0 } ?? max(0, now - startedAt)
    }
}

/// When a container that ended is started again, and after how long (dockerd's rules).
struct RestartBackoff: Sendable, Codable, Equatable {
    /// Nanoseconds waited before the last restart; 0 before the first.
    private(set) var delay: Int64 = 0

    static let initial: Int64 = 100_000_000
    static let maximum: Int64 = 60_000_000_000
    /// A run of at least this long counts as healthy: the next delay starts over.
    static let healthyRun: Int64 = 10_000_000_000

    /// The delay before the next start, after a run of `duration` nanoseconds.
    mutating func next(afterRunOf duration: Int64) -> Int64 {
        if duration >= RestartBackoff.healthyRun || delay == 0 {
            delay = RestartBackoff.initial
        } else {
            delay = min(delay * 2, RestartBackoff.maximum)
        }
        return delay
    }
}

/// The policy itself, decoded from `HostConfig.RestartPolicy`.
enum RestartRule: Sendable, Equatable {
    case no
    case onFailure(maximumRetries: Int)
    case always
    case unlessStopped

    init(name: String?, maximumRetryCount: Int?) throws(EngineError) {
        let count = maximumRetryCount ?? 0
        switch name ?? "" {
        case "", "no":
            self = .no
        case "always":
            self = .always
        case "unless-stopped":
            self = .unlessStopped
        case "on-failure":
            guard count >= 0 else {
                throw .invalid("invalid restart policy: maximum retry count cannot be negative")
            }
            self = .onFailure(maximumRetries: count)
            return
        case let other:
            throw .invalid(
                "invalid restart policy: unknown policy '\(other)'; use one of 'no', 'always', 'on-failure', "
                    + "or 'unless-stopped'")
        }
        guard count == 0 else {
            throw .invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'")
        }
    }

    /// Whether a container that ended with `exitCode` is started again.
    func restarts(exitCode: Int32, restartCount: Int, stoppedByUser: Bool) -> Bool {
        if stoppedByUser { return false }
        switch self {
        case .no: return false
        case .always, .unlessStopped: return true
        case .onFailure(let maximum): return exitCode != 0 && (maximum == 0 || restartCount < maximum)
        }
    }

    /// Whether a container that is not running is started when the daemon starts.
    func startsWithDaemon(stoppedByUser: Bool, wasRunning: Bool, exitCode: Int32) -> Bool {
        switch self {
        case .no: return false
        case .always: return true
        case .unlessStopped: return !stoppedByUser
        case .onFailure: return wasRunning && exitCode != 0 && !stoppedByUser
        }
    }
}
