import EngineAPI
import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

extension Engine {
    /// Listens to a container's monitor until it has gone.
    ///
    /// - Parameter monitor: its pid when it is this process's child, to be reaped; nil for an adopted one.
    func supervise(_ container: Container, _ client: MonitorClient, monitor: pid_t?) throws {
        attend(container, client, monitor: monitor)
        do {
            try reader.add(client)
        } catch {
            client.close()
            throw error
        }
    }

    /// Deals with what the monitor says; somebody has to have added it to the reader.
    private func attend(_ container: Container, _ client: MonitorClient, monitor: pid_t?) {
        let supervision = Task(executorPreference: workers) {
            var exit: ExitRecord?
            for await event in client.events {
                switch event {
                case .exited(let record):
                    exit = record
                    self.exited(container, record)
                case .outOfMemory: self.ranOutOfMemory(container)
                default: continue
                }
            }
            container.endExecs()
            if let monitor { Engine.reap(monitor) }
            if self.isStopping.load(ordering: .acquiring), exit == nil { return }
            if exit == nil { self.monitorLost(container) }
            self.removeLeftCgroup(container.id)
            self.removeBundle(container.id)
            container.endRun(of: client)
        }
        container.setActiveRun(ActiveRun(monitor: client, supervision: supervision))
    }

    /// Takes up the conversation with a monitor that an earlier daemon started.
    ///
    /// - Parameter adopt: is told where the container stands before anything that the monitor says later is looked at.
    /// - Returns: false where it doesn't run: then the monitor has gone, and its record is there if there ever was one.
    func resume(
        _ container: Container, _ bundle: String, adopt: (MonitorMessage.Status) throws -> Void
    ) async throws -> Bool {
        let client = monitorClient(try MonitorChannel.connect(bundle: bundle), of: container)
        try reader.add(client)
        do {
            let reply = try await client.request(.hello(version: MonitorProtocol.version))
            guard case .hello(let status) = reply.body, status.id == container.id else {
                throw EngineError.internal("it answers for another container")
            }
            guard status.state == .running else {
                for await _ in client.events {}
                return false
            }
            try adopt(status)
        } catch {
            client.disconnect()
            throw error
        }
        attend(container, client, monitor: nil)
        return true
    }

    func monitorClient(_ channel: consuming MonitorChannel, of container: Container) -> MonitorClient {
        MonitorClient(channel) { [weak self] id, record, check in self?.execExited(container, id, record, check) }
    }

    /// The monitor closes its socket a moment before it ends, so this does not wait for long.
    private static func reap(_ pid: pid_t) {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    }

    /// A monitor went away without a word: killed, or the machine is out of memory. What it left behind says how the
    /// container ended; a container without a monitor is not left running.
    private func monitorLost(_ container: Container) {
        let bundle = paths.bundle(container.id)
        if let record = Engine.exitRecord(bundle + "/exit.json") {
            exited(container, record)
            return
        }
        guard container.lifecycle.isRunning else { return }
        let message = "the container's monitor was killed; the container was ended with it"
        log("container \(container.id): \(message)")
        removeLeftCgroup(container.id)
        let startedAt = container.lifecycle.startedAt
        exited(
            container,
            ExitRecord(
                exitCode: 137, signal: SIGKILL, oomKilled: false, startedAt: startedAt, finishedAt: Clock.wall()),
            message: message)
    }

    /// A monitor removes its container's cgroup before it goes; one that was killed could not.
    private func removeLeftCgroup(_ id: String) {
        do {
            let group = try ContainerCgroup(layout: cgroups, path: cgroupParent.path(of: id))
            guard group.exists else { return }
            try group.kill()
            try group.remove()
        } catch {
            log("container \(id): its cgroup could not be removed: \(error)")
        }
    }

    /// A whole exit record, nil for none or an unfinished one (its space is allocated before the start).
    static func exitRecord(_ path: String) -> ExitRecord? {
        guard let bytes = try? Files.read(path), let end = bytes.lastIndex(of: UInt8(ascii: "}")) else { return nil }
        return try? JSONDecoder().decode(ExitRecord.self, from: Data(bytes[...end]))
    }

    /// The user's process ended: one transition, then everything that follows from it.
    func exited(_ container: Container, _ record: ExitRecord, message: String = "") {
        // A start that failed is answered by whoever started it.
        if record.failure != nil { return }
        let exit = Lifecycle.Exit(
            exitCode: record.exitCode, startedAt: record.startedAt, finishedAt: record.finishedAt,
            oomKilled: record.oomKilled, message: message.isEmpty ? Engine.reason(record) : message)
        let duration = RunDuration.nanoseconds(container.begun, since: exit.startedAt, now: exit.finishedAt)
        // A short program ends before the answer to its start has been looked at.
        var startIsNews = false
        guard let decision = decide(after: exit, duration, of: container, startIsNews: &startIsNews) else { return }
        leaveNetworks(container)
        releaseVolumes(of: container.record)
        if startIsNews { post(container.record, "start", time: record.startedAt) }
        container.setHealthChecks(nil)
        container.endExecs()
        announceEnd(of: container, record, duration)
        switch decision {
        case .stay:
            persistStatus(container)
            container.announceExit()
            replenishment.ended(replenish)
        case .remove:
            // Nothing is written about a container that is about to be forgotten.
            container.announceExit()
            Task(executorPreference: workers) {
                await container.queue.run {
                    do {
                        try await self.removeHoldingQueue(container, volumes: true)
                    } catch {
                        self.log("container \(container.id) could not be removed after its exit: \(error)")
                    }
                }
                self.replenishment.ended(self.replenish)
            }
        case .restart(let delay):
            persistStatus(container)
            container.announceExit()
            scheduleRestart(container, after: delay)
        }
    }

    /// The transition in the container's record; nil where it did not run.
    private func decide(
        after exit: Lifecycle.Exit, _ duration: Int64, of container: Container, startIsNews: inout Bool
    ) -> ExitDecision? {
        let isRestarted = container.isRestarted
        return container.update { stored -> ExitDecision? in
            switch stored.status.lifecycle {
            case .starting: startIsNews = true
            case .running, .paused: break
            default: return nil
            }
            stored.status.hasBeenStarted = true
            stored.status.finishedAt = exit.finishedAt
            let policy = stored.hostConfig.restartPolicy
            let rule = (try? RestartRule(name: policy.name, maximumRetryCount: policy.maximumRetryCount)) ?? .no
            let restarts = rule.restarts(
                exitCode: exit.exitCode, restartCount: stored.status.restartCount,
                stoppedByUser: stored.status.stoppedByUser)
            if restarts, !isStopping.load(ordering: .acquiring) {
                stored.status.lifecycle = .restarting(exit)
                stored.status.restartCount += 1
                return .restart(after: stored.status.backoff.next(afterRunOf: duration))
            }
            stored.status.lifecycle = .exited(exit)
            return stored.hostConfig.autoRemove && !isRestarted ? .remove : .stay
        }
    }

    private func announceEnd(of container: Container, _ record: ExitRecord, _ duration: Int64) {
        post(
            container.record, "die",
            extra: ["exitCode": String(record.exitCode), "execDuration": String(duration / 1_000_000_000)],
            time: record.finishedAt)
        if let calls = seccompAudit(container.record), !calls.isEmpty {
            let list = calls.map { "\($0.name) (\($0.answer), \($0.count))" }.joined(separator: ", ")
            post(container.record, "seccomp-audit", extra: ["calls": list], time: record.finishedAt)
        }
    }

    private enum ExitDecision: Sendable {
        case stay
        case remove
        case restart(after: Int64)
    }

    private static func reason(_ record: ExitRecord) -> String {
        guard record.oomKilled else { return "" }
        let victims =
            record.oomVictims.isEmpty ? "" : ": the kernel killed " + record.oomVictims.joined(separator: ", ")
        return "out of memory" + victims
    }

    func scheduleRestart(_ container: Container, after delay: Int64) {
        let task = Task(executorPreference: workers) {
            try? await Task.sleep(nanoseconds: UInt64(max(0, delay)))
            if Task.isCancelled { return }
            await container.queue.run {
                guard container.lifecycle.isRestarting, !Task.isCancelled else { return }
                do {
                    try await self.start(container, isAutomatic: true)
                } catch {
                    self.restartFailed(container, error)
                }
            }
        }
        container.setRestart(task)
    }

    /// A container that can't be started again has ended for good, as in dockerd.
    private func restartFailed(_ container: Container, _ error: any Error) {
        log("container \(container.id) could not be restarted: \(error)")
        let now = Clock.wall()
        container.update { record in
            guard case .created(let failure?) = record.status.lifecycle else { return }
            record.status.lifecycle = .exited(
                Lifecycle.Exit(
                    exitCode: failure.exitCode, startedAt: now, finishedAt: now, message: failure.message))
        }
        if !container.isRemoved { persistStatus(container) }
    }

    private func ranOutOfMemory(_ container: Container) {
        container.update { record in
            switch record.status.lifecycle {
            case .running(var run):
                run.outOfMemory = true
                record.status.lifecycle = .running(run)
            case .paused(var run):
                run.outOfMemory = true
                record.status.lifecycle = .paused(run)
            default: break
            }
        }
        post(container.record, "oom")
    }

    func removeBundle(_ id: String) {
        do {
            try TreeRemoval.remove(paths.bundle(id))
        } catch {
            log("the bundle of container \(id) could not be removed: \(error)")
        }
    }

    /// Writes where the container stands. A failure is logged, not thrown: what happened has happened.
    func persistStatus(_ container: Container) {
        persist(container) { try store.updateStatus($0) }
    }

    /// The same a moment later: a start is not held up by it, and most short programs have ended by then.
    func persistStatusSoon(_ container: Container) {
        persist(container) { try store.updateStatusLater($0) }
        Task(executorPreference: workers) {
            try? await Task.sleep(for: .milliseconds(20))
            self.persist(container) { _ in try self.database.settle() }
        }
    }

    private func persist(_ container: Container, _ write: (ContainerRecord) throws -> Void) {
        container.persistence.withLock { _ in
            do {
                try write(container.record)
            } catch {
                log("the state of container \(container.id) could not be saved: \(error)")
            }
        }
    }

    // MARK: Events

    func post(
        _ record: ContainerRecord, _ action: String, extra: [String: String] = [:], time: Int64 = Clock.wall()
    ) {
        var attributes = record.config.labels ?? [:]
        attributes["image"] = record.config.image
        attributes["name"] = record.name
        attributes.merge(extra) { $1 }
        eventBus.post(type: "container", action: action, id: record.id, attributes: attributes, time: time)
    }

    func post(type: String, action: String, id: String, attributes: [String: String]) {
        eventBus.post(type: type, action: action, id: id, attributes: attributes)
    }
}
