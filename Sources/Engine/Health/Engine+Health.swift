import EngineAPI
import MonitorProtocol

/// Health checks: one task for each running container that has one, asleep between two checks.
extension Engine {
    /// Begins to check a container that runs, if it has a check, until it ends, is paused or the daemon stops.
    func checkHealth(_ container: Container) {
        let record = container.record
        guard let check = HealthCheck(record.config), case .running(let run) = record.lifecycle else { return }
        let start = Clock.monotonic() - RunDuration.nanoseconds(container.begun, since: run.startedAt)
        if record.status.health == nil { container.update { $0.status.health = HealthStatus(after: nil) } }
        container.setHealthChecks(
            Task(executorPreference: workers) { [weak self] in
                while let state = container.record.status.health?.state {
                    let delay = check.delay(state, elapsed: Clock.monotonic() - start)
                    // The clock that stops with the machine: a check must not be late by a night's sleep, nor all be
                    // due at once in the morning.
                    try? await Task.sleep(for: .nanoseconds(delay), clock: .suspending)
                    if Task.isCancelled { return }
                    guard let self else { return }
                    let elapsed = Clock.monotonic() - start
                    guard let result = await self.runCheck(container, check), !Task.isCancelled else { return }
                    self.checked(container, check, result, elapsed: elapsed)
                }
            })
        // It may have ended before the task was known.
        if container.record.lifecycle.run != run { container.setHealthChecks(nil) }
    }

    /// nil when the container ended or was paused meanwhile.
    private func runCheck(_ container: Container, _ check: HealthCheck) async -> HealthStatus.Result? {
        let start = Clock.wall()
        func result(_ exitCode: Int32, _ output: String) -> HealthStatus.Result {
            HealthStatus.Result(start: start, end: Clock.wall(), exitCode: exitCode, output: output)
        }
        let record = container.record
        guard case .running = record.lifecycle, let run = container.activeRun else { return nil }
        var request = ExecCreateRequest()
        request.cmd = check.command
        request.attachStdout = true
        request.attachStderr = true
        let exec = ExecSession(id: Identifier.random(), containerID: record.id, request: request)
        _ = exec.begin()
        container.add(exec)
        let words = check.command.joined(separator: " ")
        post(record, "exec_create: " + words, extra: ["execID": exec.id])
        do {
            let limits = MonitorRequest.Check(timeout: check.timeout, maximumOutput: HealthStatus.maximumOutput)
            let order = try monitorExec(record, exec, detach: false, size: nil, check: limits)
            post(record, "exec_start: " + words, extra: ["execID": exec.id])
            guard case .started(let pid, _) = try await run.monitor.request(.exec(order)).body else {
                throw EngineError.internal("the container's monitor gave an answer that makes no sense")
            }
            exec.started(pid: pid)
        } catch {
            container.removeExec(exec.id)
            guard case .running = container.lifecycle else { return nil }
            return result(-1, (error as? StartFailure)?.message ?? EngineError(wrapping: error).message)
        }
        guard let outcome = await exec.checkOutcome() else { return nil }
        let output = outcome.output + (outcome.isCut ? "..." : "")
        if outcome.timedOut {
            let what = "Health check exceeded timeout (\(GoDuration.text(check.timeout)))"
            return result(-1, output.isEmpty ? what : what + ": " + output)
        }
        return result(exec.exitCode ?? -1, output)
    }

    private func checked(
        _ container: Container, _ check: HealthCheck, _ result: HealthStatus.Result, elapsed: Int64
    ) {
        let (before, after, isNews) = container.update { record in
            let before = record.status.health?.state
            let isNews = record.status.health?.record(result, of: check, elapsed: elapsed) ?? false
            return (before, record.status.health?.state, isNews)
        }
        // The log alone is not worth a write.
        if isNews { persistStatus(container) }
        guard let after, after != before else { return }
        post(container.record, "health_status: " + after.rawValue)
        if after == .unhealthy, check.onFailure != .none { act(check.onFailure, on: container) }
    }

    /// In a task of its own: the one that checks ends with the container.
    private func act(_ action: HealthAction, on container: Container) {
        log("container \(container.id) is unhealthy: \(action.rawValue), as it was created to")
        Task(executorPreference: workers) {
            do {
                switch action {
                case .none: break
                case .kill:
                    guard container.lifecycle.run != nil else { return }
                    await self.kill(container)
                    self.post(container.record, "kill", extra: ["signal": "9"])
                case .restart: try await self.restartContainer(container.id, signal: nil, timeout: nil)
                case .stop: _ = try await self.stop(container, signal: nil, timeout: nil)
                }
            } catch {
                self.log("container \(container.id) is unhealthy, and to \(action.rawValue) it failed: \(error)")
            }
        }
    }
}

/// A duration as Go prints it: `1m30s`, `1.5s`, `250ms`.
enum GoDuration {
    static func text(_ nanoseconds: Int64) -> String {
        guard nanoseconds >= 1_000_000_000 else {
            switch nanoseconds {
            case 0: return "0s"
            case ..<1_000: return "\(nanoseconds)ns"
            case ..<1_000_000: return decimal(nanoseconds, 1_000) + "µs"
            default: return decimal(nanoseconds, 1_000_000) + "ms"
            }
        }
        let minutes = nanoseconds / 60_000_000_000
        let seconds = decimal(nanoseconds % 60_000_000_000, 1_000_000_000) + "s"
        if minutes == 0 { return seconds }
        return minutes < 60 ? "\(minutes)m\(seconds)" : "\(minutes / 60)h\(minutes % 60)m\(seconds)"
    }

    /// `value / unit`, exactly, without zeros at its end. `unit` is a power of ten.
    private static func decimal(_ value: Int64, _ unit: Int64) -> String {
        let rest = value % unit
        if rest == 0 { return String(value / unit) }
        var digits = String(unit + rest).dropFirst()
        while digits.last == "0" { digits.removeLast() }
        return "\(value / unit).\(digits)"
    }
}
