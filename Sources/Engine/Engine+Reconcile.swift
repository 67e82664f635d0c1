import EngineAPI
import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol

/// What the daemon does when it starts: make what the database says agree with what `/run` and the kernel say.
extension Engine {
    func reconcile() async throws {
        labelLayers()
        let rebooted = try noteBoot()
        try loadNetworks()
        try loadContainers()
        try configureDefaultNetwork()
        finishDeletions()
        quarantineUnknown()
        await withTaskGroup(of: Void.self) { group in
            for container in registry.all {
                group.addTask(executorPreference: self.workers) { await self.recover(container, rebooted: rebooted) }
            }
        }
        removeLeftovers()
        adoptNetworks()
        adoptVolumes()
        restartByPolicy()
    }

    /// Whether the machine was booted since the last time: nothing that ran then runs now, whatever `/run` holds.
    private func noteBoot() throws -> Bool {
        let previous = try store.setting("boot-id")
        if previous != hostFacts.bootID { try store.set("boot-id", hostFacts.bootID) }
        return previous != nil && previous != hostFacts.bootID
    }

    private func loadContainers() throws {
        for (id, range) in try store.identityRanges() { identityRanges.restore(range, of: id) }
        let (records, unreadable) = try store.containers()
        for (id, reason) in unreadable {
            log("container \(id) can't be read from the database and is left alone: \(reason)")
        }
        for record in records {
            try registry.reserve(record.name, for: record.id)
            if let level = record.document.labels.flatMap({ SecurityContext($0.process) })?.level {
                selinuxLevels.reserve(level, for: record.id)
            }
            registry.add(Container(record))
        }
        unreadableContainers.withLock { $0 = Set(unreadable.map(\.id)) }
    }

    /// Deletions and creations that a crash cut short.
    private func finishDeletions() {
        for name in (try? Files.list(paths.graveyard)) ?? [] {
            // A removal that was cut short between the rename and the database: it goes on, the user asked for it.
            if let container = registry.container(name) {
                do {
                    try store.deleteContainer(name, images: imageStore)
                    registry.remove(container)
                    identityRanges.release(container.id)
                    selinuxLevels.release(container.id)
                } catch {
                    log("container \(name) could not be removed: \(error)")
                    continue
                }
            }
            removeTreeLater("\(paths.graveyard)/\(name)")
        }
    }

    private func removeTreeLater(_ path: String) {
        Task(executorPreference: workers) {
            do {
                try TreeRemoval.remove(path)
            } catch {
                self.log("\(path) could not be deleted: \(error)")
            }
        }
    }

    /// Directories that no row stands for may be somebody's data: they are put aside, never deleted.
    private func quarantineUnknown() {
        let known = unreadableContainers.withLock { $0 }
        for name in (try? Files.list(paths.containers)) ?? [] {
            if registry.container(name) != nil || known.contains(name) { continue }
            do {
                // What was renamed into place but never entered holds nothing yet.
                if isUntouched("\(paths.containers)/\(name)") {
                    try TreeRemoval.remove("\(paths.containers)/\(name)")
                    continue
                }
                try Files.makeDirectory(paths.quarantine, mode: 0o700)
                let target = "\(paths.quarantine)/\(name)-\(Clock.wall())"
                try checked("rename \(name)") { rename("\(paths.containers)/\(name)", target) }
                log("container directory \(name) belongs to no container: moved to \(target)")
            } catch {
                log("container directory \(name) belongs to no container and can't be moved: \(error)")
            }
        }
    }

    private func isUntouched(_ directory: String) -> Bool {
        guard let upper = try? Files.list(directory + "/upper"), let logs = try? Files.list(directory + "/logs") else {
            return false
        }
        return upper.isEmpty && logs.isEmpty
    }

    /// Adopts a container that lives, records the end of one that doesn't.
    private func recover(_ container: Container, rebooted: Bool) async {
        let bundle = paths.bundle(container.id)
        if !rebooted, MonitorLock.isHeld(bundle) {
            do {
                if try await resume(container, bundle, adopt: { try self.adopt(container, $0) }) {
                    checkHealth(container)
                    return
                }
            } catch {
                log("the monitor of container \(container.id) lives but can't be reached: \(error)")
            }
        }
        let lifecycle = container.lifecycle
        let record = rebooted ? nil : Engine.exitRecord(bundle + "/exit.json")
        switch lifecycle {
        case .running, .paused:
            recordEnd(container, record)
        case .starting:
            // Nobody has been told that it started.
            if record != nil {
                recordEnd(container, record)
            } else {
                container.update { $0.status.lifecycle = .created(failure: nil) }
                persistStatus(container)
            }
        case .created, .exited, .restarting:
            // A run that the last daemon started and did not live to write down.
            if let record, record.failure == nil, record.startedAt != lifecycle.startedAt {
                recordEnd(container, record)
            }
        case .removing(let exit):
            container.update { $0.status.lifecycle = exit.map { .exited($0) } ?? .dead(nil) }
        default: break
        }
        if Files.exists(bundle) { removeBundle(container.id) }
        if container.record.hostConfig.autoRemove, case .exited = container.lifecycle {
            do {
                try await removeHoldingQueue(container, volumes: true)
            } catch {
                log("container \(container.id) could not be removed: \(error)")
            }
        }
    }

    /// A container that ended while no daemon watched: as its record says, or, without one, with the machine (255).
    private func recordEnd(_ container: Container, _ record: ExitRecord?) {
        let startedAt = record?.startedAt ?? container.lifecycle.startedAt
        let exit = Lifecycle.Exit(
            exitCode: record?.exitCode ?? 255, startedAt: startedAt, finishedAt: record?.finishedAt ?? Clock.wall(),
            oomKilled: record?.oomKilled ?? false)
        container.update { stored in
            stored.status.lifecycle = .exited(exit)
            stored.status.finishedAt = exit.finishedAt
            stored.status.endedUnseen = true
        }
        persistStatus(container)
        let duration = max(0, (exit.finishedAt - exit.startedAt) / 1_000_000_000)
        post(
            container.record, "die",
            extra: ["exitCode": String(exit.exitCode), "execDuration": String(duration)], time: exit.finishedAt)
    }

    /// A container that runs, whatever is stored: what the last daemon did not live to write may be its start.
    private func adopt(_ container: Container, _ status: MonitorMessage.Status) throws {
        let frozen = try thawUnlessPaused(container)
        container.update { record in
            let run = Lifecycle.Run(pid: status.pid, startedAt: status.startedAt)
            record.status.lifecycle = frozen ? .paused(run) : .running(run)
            record.status.hasBeenStarted = true
        }
        for (id, pid) in status.execs {
            let exec = ExecSession(id: id, containerID: container.id, request: ExecCreateRequest())
            _ = exec.begin()
            exec.started(pid: pid)
            container.add(exec)
        }
        persistStatus(container)
    }

    /// Whether the container is paused. One that is frozen and was not paused by a user is in the middle of a commit that
    /// the last daemon did not live to end: it goes on.
    private func thawUnlessPaused(_ container: Container) throws -> Bool {
        let group = try cgroup(container)
        guard group.isFrozen else { return false }
        if container.lifecycle.isPaused { return true }
        try group.thaw()
        return false
    }

    /// Bundles and cgroups of containers that don't run.
    private func removeLeftovers() {
        let alive = Set(registry.all.filter { $0.activeRun != nil }.map(\.id))
        for name in (try? Files.list(paths.bundles)) ?? [] where !alive.contains(name) {
            if MonitorLock.isHeld(paths.bundle(name)) {
                log("a monitor of \(name) lives, which is no container of this daemon: left alone")
                continue
            }
            removeBundle(name)
        }
        do {
            var keeping = alive
            for name in try Files.list(paths.bundles) { keeping.insert(name) }
            let removed = try cgroupParent.removeStale(keeping: keeping)
            for name in removed { log("removed the stale cgroup of \(name)") }
        } catch {
            log("stale cgroups could not be removed: \(error)")
        }
    }

    private func restartByPolicy() {
        for container in registry.all {
            let record = container.record
            if record.lifecycle.isRunning { continue }
            let wasRunning = record.status.endedUnseen || record.lifecycle.isRestarting
            container.update { $0.status.endedUnseen = false }
            let policy = record.hostConfig.restartPolicy
            guard record.status.hasBeenStarted || wasRunning,
                let rule = try? RestartRule(name: policy.name, maximumRetryCount: policy.maximumRetryCount),
                rule.startsWithDaemon(
                    stoppedByUser: record.status.stoppedByUser, wasRunning: wasRunning,
                    exitCode: record.lifecycle.exitCode)
            else {
                if record.lifecycle.isRestarting, let exit = record.lifecycle.exit {
                    container.update { $0.status.lifecycle = .exited(exit) }
                    persistStatus(container)
                }
                continue
            }
            container.update { record in
                if let exit = record.status.lifecycle.exit { record.status.lifecycle = .restarting(exit) }
            }
            scheduleRestart(container, after: 0)
        }
    }
}

/// A monitor that lives holds a lock on its bundle's lock file: never a bare pid, which may be somebody else's by now.
enum MonitorLock {
    static func isHeld(_ bundle: String) -> Bool {
        guard let file = try? FileDescriptor("\(bundle)/\(MonitorProtocol.lockName)", O_RDWR) else { return false }
        if flock(file.raw, LOCK_EX | LOCK_NB) == 0 { return false }
        return errno == EWOULDBLOCK
    }
}
