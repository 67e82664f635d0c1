import EngineAPI
import OCI
import Testing

@testable import Engine

@Suite("Health: when a check is due, and what its results make of a container")
struct HealthTests {
    private static let second: Int64 = 1_000_000_000

    private func check(_ configure: (inout HealthConfig) -> Void = { _ in }) -> HealthCheck {
        var health = HealthConfig()
        health.test = ["CMD", "probe"]
        configure(&health)
        return HealthCheck(ContainerConfig { $0.healthcheck = health })!
    }

    private func result(_ exitCode: Int32, _ output: String = "") -> HealthStatus.Result {
        HealthStatus.Result(start: 1, end: 2, exitCode: exitCode, output: output)
    }

    @Test("The kinds of a check, and dockerd's defaults")
    func kinds() {
        func command(_ test: [String]?, shell: [String]? = nil) -> [String]? {
            HealthCheck(
                ContainerConfig {
                    $0.healthcheck = HealthConfig { $0.test = test }
                    $0.shell = shell
                })?.command
        }
        #expect(command(["CMD", "a", "b"]) == ["a", "b"])
        #expect(command(["CMD-SHELL", "a b"]) == ["/bin/sh", "-c", "a b"])
        #expect(command(["CMD-SHELL", "a b"], shell: ["/bin/ash", "-ec"]) == ["/bin/ash", "-ec", "a b"])
        for none in [nil, [], ["NONE"], ["CMD"], ["HTTP", "/"]] { #expect(command(none) == nil) }
        #expect(HealthCheck(ContainerConfig()) == nil)
        let check = check()
        #expect(check.interval == 30 * Self.second)
        #expect(check.timeout == 30 * Self.second)
        #expect(check.startPeriod == 0)
        #expect(check.startInterval == 5 * Self.second)
        #expect(check.retries == 3)
        #expect(check.onFailure == .none)
    }

    @Test("Failures count from the end of the start period on, or from the first success")
    func startPeriod() {
        let check = check {
            $0.startPeriod = 10_000_000_000
            $0.startInterval = 1_000_000_000
            $0.retries = 2
        }
        #expect(check.delay(.starting, elapsed: 0) == Self.second)
        #expect(check.delay(.starting, elapsed: 10 * Self.second) == 30 * Self.second)
        #expect(check.delay(.healthy, elapsed: 0) == 30 * Self.second)

        var status = HealthStatus(after: nil)
        /// Whether the result was news.
        func record(_ exitCode: Int32, second: Int64) -> Bool {
            status.record(result(exitCode), of: check, elapsed: second * Self.second)
        }
        var isNews = record(1, second: 1)
        #expect(!isNews && status.failingStreak == 0)
        isNews = record(1, second: 10)
        #expect(isNews && status.state == .starting)
        isNews = record(1, second: 11)
        #expect(isNews && status.state == .unhealthy)
        isNews = record(0, second: 12)
        #expect(isNews && status.state == .healthy)
        isNews = record(0, second: 13)
        #expect(!isNews && status.state == .healthy)

        var healthyEarly = HealthStatus(after: nil)
        _ = healthyEarly.record(result(0), of: check, elapsed: 1)
        _ = healthyEarly.record(result(-1), of: check, elapsed: 2)
        #expect(healthyEarly.failingStreak == 1)
        _ = healthyEarly.record(result(-1), of: check, elapsed: 3)
        #expect(healthyEarly.state == .unhealthy)
    }

    @Test("The last five results are kept, over a restart too")
    func log() throws {
        var status = HealthStatus(after: nil)
        for number in 1...7 { _ = status.record(result(1, "\(number)"), of: check(), elapsed: 0) }
        #expect(status.log.map(\.output) == ["3", "4", "5", "6", "7"])
        #expect(status.failingStreak == 7)
        let again = HealthStatus(after: status)
        #expect(again.state == .starting)
        #expect(again.failingStreak == 0)
        #expect(again.log == status.log)
    }

    @Test("What a request leaves open of its check is the image's; NONE turns that off")
    func merging() {
        let image = OCI.ImageConfig.Execution(
            healthcheck: .init(test: ["CMD", "image"], interval: 5, timeout: 6, retries: 7))
        let plain = ConfigRules.merge(ContainerConfig(), over: image)
        #expect(plain.healthcheck?.test == ["CMD", "image"])
        let own = ContainerConfig { $0.healthcheck = HealthConfig { $0.interval = 9 } }
        let merged = ConfigRules.merge(own, over: image).healthcheck
        #expect(merged?.test == ["CMD", "image"])
        #expect(merged?.interval == 9)
        #expect(merged?.timeout == 6)
        #expect(merged?.retries == 7)
        let none = ContainerConfig { $0.healthcheck = HealthConfig { $0.test = ["NONE"] } }
        #expect(HealthCheck(ConfigRules.merge(none, over: image)) == nil)
    }

    @Test("The label of the action is checked when the container is created")
    func action() throws {
        var config = ContainerConfig()
        for action in HealthAction.allCases {
            config.labels = [HealthAction.label: action.rawValue]
            try ConfigRules.validate(&config)
        }
        config.labels = [HealthAction.label: "reboot"]
        #expect(throws: EngineError.self) { try ConfigRules.validate(&config) }
    }

    @Test("STATUS says how the container is")
    func statusText() {
        let running = Lifecycle.running(.init(pid: 1, startedAt: 0))
        let now = 5 * Self.second
        #expect(StatusText.describe(running, now: now) == "Up 5 seconds")
        #expect(StatusText.describe(running, health: .starting, now: now) == "Up 5 seconds (health: starting)")
        #expect(StatusText.describe(running, health: .unhealthy, now: now) == "Up 5 seconds (unhealthy)")
        #expect(
            StatusText.describe(.paused(.init(pid: 1, startedAt: 0)), health: .healthy, now: now)
                == "Up 5 seconds (Paused)")
    }

    @Test("Durations as Go prints them")
    func durations() {
        let cases: [(Int64, String)] = [
            (0, "0s"), (1, "1ns"), (1_500, "1.5µs"), (250_000_000, "250ms"), (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"), (90_000_000_000, "1m30s"), (3_600_000_000_000, "1h0m0s"),
        ]
        for (value, text) in cases { #expect(GoDuration.text(value) == text) }
    }
}
