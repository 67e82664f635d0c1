import EngineAPI
import Glibc
import LinuxKernel
import OCI

extension Engine {
    public func removeContainer(_ id: String, force: Bool, volumes: Bool) async throws {
        let container = try registry.resolve(id)
        try await perform { try await self.remove(container, force: force, volumes: volumes, called: id) }
    }

    /// - Parameter name: what the client calls it.
    func remove(_ container: Container, force: Bool, volumes: Bool, called name: String? = nil) async throws {
        await container.queue.run {}
        let lifecycle = container.lifecycle
        if case .removing = lifecycle {
            throw EngineError.conflict("removal of container \(container.id) is already in progress")
        }
        if lifecycle.isRunning || lifecycle.isRestarting {
            guard force else {
                let what =
                    lifecycle.isPaused
                    ? "container is paused and must be unpaused first"
                    : "container is running: stop the container before removing or force remove"
                throw EngineError.conflict("cannot remove container \"\(name ?? container.id)\": \(what)")
            }
        }
        try await container.queue.run {
            if container.isRemoved { return }
            if force, container.lifecycle.isRunning || container.lifecycle.isRestarting {
                // Under the queue: nobody who restarts it comes between the kill and the removal.
                container.update { $0.status.stoppedByUser = true }
                container.setRestart(nil)
                if container.lifecycle.isRunning { try await self.killIfRunning(container) }
            }
            try await self.removeHoldingQueue(container, volumes: volumes)
        }
    }

    private func killIfRunning(_ container: Container) async throws {
        do {
            try await killContainer(container.id, signal: nil)
        } catch let error as EngineError where error.kind == .conflict {
            // It has ended by itself.
            if container.lifecycle.isRunning { throw error }
        }
    }

    /// Takes a container away: out of sight in one rename, then, in the background, its rows and its files. Whatever is
    /// left by a crash between the steps is finished at the next start.
    func removeHoldingQueue(_ container: Container, volumes: Bool) async throws {
        if container.isRemoved { return }
        container.setRestart(nil)
        let before = container.update { record -> Lifecycle in
            let before = record.status.lifecycle
            if before.run == nil, !before.isStarting { record.status.lifecycle = .removing(before.exit) }
            return before
        }
        guard before.run == nil, !before.isStarting else {
            throw EngineError.conflict("container \(container.id) is running again")
        }
        let record = container.record
        let grave = "\(paths.graveyard)/\(record.id)"
        if rename(paths.container(record.id), grave) != 0, errno != ENOENT {
            let error = SystemError.current("rename \(paths.container(record.id))")
            container.update { $0.status.lifecycle = .dead(before.exit) }
            throw EngineError.internal("container \(record.id) could not be removed: \(error)")
        }
        store.deleteContainerLater(record.id, images: imageStore)
        registry.remove(container)
        identityRanges.release(record.id)
        selinuxLevels.release(record.id)
        if volumes {
            for mount in record.document.mounts where mount.isAnonymous { removeVolumeQuietly(mount.point.name) }
        }
        post(record, "destroy")
        container.announceRemoval()
        let run = container.activeRun
        Task(executorPreference: workers) {
            // The overlay in the container's namespace goes with its monitor; deleting under it would be undefined.
            await run?.supervision.value
            do {
                // The grave is what says that the rows are to go.
                try self.database.settle()
                try TreeRemoval.remove(grave)
            } catch {
                self.log("what is left of container \(record.id) could not be deleted: \(error)")
            }
        }
    }

    /// An anonymous volume goes with its container, unless another one uses it.
    private func removeVolumeQuietly(_ name: String) {
        do {
            try volumeManager.remove(name)
            post(type: "volume", action: "destroy", id: name, attributes: ["driver": "local"])
        } catch let error as EngineError where error.kind == .conflict || error.kind == .notFound {
            return
        } catch {
            log("volume \(name) could not be removed: \(error)")
        }
    }

    public func pruneContainers(filters: Filters) async throws -> ContainersPruneReport {
        try await perform {
            if let unknown = filters.firstUnknown(["until", "label", "label!"]) {
                throw EngineError.invalid("invalid filter '\(unknown)'")
            }
            let until = try PruneRules.until(filters)
            var report = ContainersPruneReport()
            report.containersDeleted = []
            for container in self.registry.all {
                let record = container.record
                switch record.lifecycle {
                case .created, .exited, .dead: break
                default: continue
                }
                guard record.document.created < until, PruneRules.labels(filters, record.config.labels ?? [:]) else {
                    continue
                }
                let size = DiskUsageWalk.size(of: self.paths.container(record.id) + "/upper")
                do {
                    try await self.remove(container, force: false, volumes: false)
                } catch let error as EngineError where error.kind == .conflict || error.kind == .notFound {
                    continue
                }
                report.containersDeleted?.append(record.id)
                report.spaceReclaimed = UInt64(Int64(clamping: report.spaceReclaimed).addingClamped(size))
            }
            self.post(
                type: "container", action: "prune", id: "", attributes: ["reclaimed": String(report.spaceReclaimed)])
            return report
        }
    }
}

/// Filters that all prunes share.
enum PruneRules {
    /// Only what was made before this time (nanoseconds) goes.
    static func until(_ filters: Filters) throws(EngineError) -> Int64 {
        let values = filters["until"]
        guard let text = values.first else { return Int64.max }
        guard values.count == 1 else { throw .invalid("more than one until filter specified") }
        guard let time = Timestamp.parseParameter(text, now: Clock.wall()) else {
            throw .invalid("failed to parse value as time or duration: \"\(text)\"")
        }
        return time
    }

    /// `label` must match, `label!` must not.
    static func labels(_ filters: Filters, _ labels: [String: String]) -> Bool {
        guard filters.matchesLabels("label", labels) else { return false }
        return filters["label!"].allSatisfy { unwanted in
            !Filters(["label": [unwanted]]).matchesLabels("label", labels)
        }
    }
}
