import EngineAPI
import OCI

/// A container's health check with dockerd's defaults filled in. Durations are nanoseconds.
struct HealthCheck: Sendable, Equatable {
    var command: [String]
    /// From the end of one check to the start of the next.
    var interval: Int64
    var timeout: Int64
    /// After the start: failures don't count until a check has succeeded.
    var startPeriod: Int64
    /// The interval within the start period.
    var startInterval: Int64
    /// Consecutive failures that make a container unhealthy.
    var retries: Int
    var onFailure: HealthAction

    /// nil where nothing is to be checked.
    init?(_ config: ContainerConfig) {
        guard let health = config.healthcheck, let test = health.test, test.count > 1 else { return nil }
        let words = Array(test.dropFirst())
        switch test[0] {
        case "CMD": command = words
        case "CMD-SHELL":
            let shell = config.shell.flatMap { $0.isEmpty ? nil : $0 } ?? ["/bin/sh", "-c"]
            command = shell + words
        default: return nil
        }
        func duration(_ value: Int, default seconds: Int64) -> Int64 {
            value > 0 ? Int64(value) : seconds * 1_000_000_000
        }
        interval = duration(health.interval, default: 30)
        timeout = duration(health.timeout, default: 30)
        startPeriod = duration(health.startPeriod, default: 0)
        startInterval = duration(health.startInterval, default: 5)
        retries = health.retries > 0 ? health.retries : 3
        // `create` has refused what can't be read.
        onFailure = (config.labels?[HealthAction.label]).flatMap { try? HealthAction(parsing: $0) } ?? .none
    }

    /// How long to wait before the next check, `elapsed` after the container's start.
    func delay(_ state: HealthStatus.State, elapsed: Int64) -> Int64 {
        state == .starting && elapsed < startPeriod ? startInterval : interval
    }
}

/// What is done with a container that becomes unhealthy; Docker has no such thing.
enum HealthAction: String, Sendable, CaseIterable {
    case none
    /// SIGKILL; what then happens is for the restart policy to say.
    case kill
    /// Stopped and started again, whatever the restart policy.
    case restart
    /// Stopped, as by `stop`: it stays so.
    case stop

    static let label = HealthConfig.onFailureLabel

    init(parsing text: String) throws(EngineError) {
        guard let action = HealthAction(rawValue: text) else {
            throw .invalid(
                "invalid value '\(text)' of the label \(HealthAction.label): use one of 'none', 'kill', 'restart' or "
                    + "'stop'")
        }
        self = action
    }
}

/// How a container is, as its checks say. Kept when it ends, until the next start.
struct HealthStatus: Sendable, Codable, Equatable {
    enum State: String, Sendable, Codable { case starting, healthy, unhealthy }

    /// One check that ran; times are nanoseconds since the epoch.
    struct Result: Sendable, Codable, Equatable {
        var start: Int64
        var end: Int64
        /// -1: it could not be run, or took too long.
        var exitCode: Int32
        var output: String
    }

    /// Results that are kept.
    static let maximumLog = 5
    /// Bytes of a check's output that are kept.
    static let maximumOutput = 4096

    private(set) var state = State.starting
    private(set) var failingStreak = 0
    private(set) var log: [Result] = []

    /// At a container's start: what was logged before stays.
    init(after previous: HealthStatus?) { log = previous?.log ?? [] }

    /// Takes a result in, `elapsed` nanoseconds after the container's start (when the check began).
    /// - Returns: whether anything but the log is different now.
    mutating func record(_ result: Result, of check: HealthCheck, elapsed: Int64) -> Bool {
        let before = (state, failingStreak)
        log = log.suffix(HealthStatus.maximumLog - 1) + [result]
        if result.exitCode == 0 {
            failingStreak = 0
            state = .healthy
        } else if state != .starting || elapsed >= check.startPeriod {
            failingStreak += 1
            if failingStreak >= check.retries { state = .unhealthy }
        }
        return before != (state, failingStreak)
    }
}

extension Health {
    init(_ status: HealthStatus) {
        self.init()
        self.status = status.state.rawValue
        failingStreak = status.failingStreak
        log = status.log.map { result in
            HealthcheckResult {
                $0.start = Timestamp.format(result.start)
                $0.end = Timestamp.format(result.end)
                $0.exitCode = Int(result.exitCode)
                $0.output = result.output
            }
        }
    }
}

extension HealthConfig {
    init(_ image: OCI.ImageConfig.Healthcheck) {
        self.init()
        test = image.test
        interval = Int(image.interval ?? 0)
        timeout = Int(image.timeout ?? 0)
        startPeriod = Int(image.startPeriod ?? 0)
        startInterval = Int(image.startInterval ?? 0)
        retries = image.retries ?? 0
    }
}
