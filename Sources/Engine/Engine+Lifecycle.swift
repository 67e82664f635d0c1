import EngineAPI
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

extension Engine {
    /// `timeout` in seconds, -1 without end; nil: the container's own. `notModified` when it is not running.
    public func stopContainer(_ id: String, signal: String?, timeout: Int?) async throws {
        let container = try registry.resolve(id)
        try await perform {
            let signal = try signal.map(Signal.parse)
            guard try await self.stop(container, signal: signal, timeout: timeout) else {
                throw EngineError(.notModified, "container \(container.id) is already stopped")
            }
        }
    }

    public func restartContainer(_ id: String, signal: String?, timeout: Int?) async throws {
        let container = try registry.resolve(id)
        try await perform {
            let signal = try signal.map(Signal.parse)
            do {
                container.setRestarted(true)
                // Its end has been dealt with when the stop returns.
                defer { container.setRestarted(false) }
                _ = try await self.stop(container, signal: signal, timeout: timeout)
            }
            try await container.queue.run {
                container.setRestart(nil)
                do {
                    try await self.start(container, isAutomatic: false)
                } catch let error as EngineError where error.kind == .notModified {
                    // Somebody else has started it meanwhile: it runs, as was asked for.
                    return
                }
            }
            self.post(container.record, "restart")
        }
    }

    /// Asks, waits, insists. Returns false when nothing ran.
    ///
    /// The queue is not held while it waits: a kill or an inspect need not.
    func stop(_ container: Container, signal: Int32?, timeout: Int?) async throws -> Bool {
        // A start that is under way is finished first.
        await container.queue.run {}
        let ticket = container.wait(.notRunning)
        let record = container.record
        let cancelled = container.update { record -> Bool in
            record.status.stoppedByUser = true
            guard case .restarting(let exit) = record.status.lifecycle else { return false }
            record.status.lifecycle = .exited(exit)
            return true
        }
        container.setRestart(nil)
        if cancelled {
            persistStatus(container)
            post(container.record, "stop")
            return true
        }
        guard record.lifecycle.isRunning else {
            container.forget(ticket)
            return false
        }
        let stopSignal =
            try signal ?? (record.config.stopSignal.isEmpty ? SIGTERM : Signal.parse(record.config.stopSignal))
        let seconds = timeout ?? record.config.stopTimeout ?? configuration.defaultStopTimeout
        if record.lifecycle.isPaused { try? await thaw(container) }
        try? await send(stopSignal, to: container)
        post(container.record, "kill", extra: ["signal": String(stopSignal)])
        let grace = seconds < 0 ? -1 : Int64(min(seconds, 1 << 32)) * 1_000_000_000
        let answer = try await ticket.value(within: grace)
        if answer == nil {
            let final = container.wait(.notRunning)
            let patience = await kill(container)
            post(container.record, "kill", extra: ["signal": String(SIGKILL)])
            try await end(of: container, final, within: patience)
        }
        post(container.record, "stop")
        return true
    }

    /// `signal` by name or number; nil: SIGKILL.
    public func killContainer(_ id: String, signal: String?) async throws {
        let container = try registry.resolve(id)
        try await perform {
            let number = try signal.flatMap { $0.isEmpty ? nil : $0 }.map(Signal.parse) ?? SIGKILL
            let record = container.record
            guard record.lifecycle.run != nil else {
                throw EngineError.conflict("container \(container.id) is not running")
            }
            let stopSignal = record.config.stopSignal.isEmpty ? SIGTERM : try Signal.parse(record.config.stopSignal)
            if number == SIGKILL || number == stopSignal {
                container.update { $0.status.stoppedByUser = true }
            }
            if number == SIGKILL {
                let ticket = container.wait(.notRunning)
                let patience = await self.kill(container)
                self.post(record, "kill", extra: ["signal": String(number)])
                try await self.end(of: container, ticket, within: patience)
            } else {
                try await self.send(number, to: container)
                self.post(record, "kill", extra: ["signal": String(number)])
            }
        }
    }

    /// A signal to the user's process, through the monitor.
    private func send(_ signal: Int32, to container: Container) async throws {
        guard let run = container.activeRun else {
            throw EngineError.conflict("container \(container.id) is not running")
        }
        do {
            try await run.monitor.request(.signal(signal), within: Self.answerTime)
        } catch let failure as StartFailure {
            throw EngineError.internal("cannot send signal \(signal) to container \(container.id): \(failure.message)")
        }
    }

    /// How long a monitor has to answer, in nanoseconds: it does nothing that takes long.
    private static let answerTime: UInt64 = 3_000_000_000

    /// SIGKILL, by the monitor; where that can't be asked or does not answer, by the cgroup. A frozen container dies too.
    /// - Returns: how long the end may take to be heard of, in nanoseconds.
    @discardableResult
    func kill(_ container: Container) async -> Int64 {
        let group = try? ContainerCgroup(layout: cgroups, path: cgroupParent.path(of: container.id))
        do {
            try await send(SIGKILL, to: container)
            if container.lifecycle.isPaused { try? group?.thaw() }
            return 10_000_000_000
        } catch {
            try? group?.kill()
            try? group?.thaw()
            return 2_000_000_000
        }
    }

    /// The end of a container that was killed. A process that the kernel can't end, or a monitor that somebody stopped,
    /// keeps nobody waiting for ever.
    private func end(of container: Container, _ ticket: WaitTicket, within patience: Int64) async throws {
        if try await ticket.value(within: patience) == nil {
            throw EngineError.internal(
                "container \(container.id) was killed, but its monitor has not reported its end: a process of it hangs in "
                    + "the kernel, or the monitor is stopped (look for state D or T in ps, and try again)")
        }
    }

    public func pauseContainer(_ id: String) async throws {
        let container = try registry.resolve(id)
        try await perform {
            try await container.queue.run {
                let lifecycle = container.lifecycle
                if lifecycle.isPaused {
                    throw EngineError.conflict("Container \(container.id) is already paused")
                }
                if lifecycle.isRestarting {
                    throw EngineError.conflict(
                        "container \(container.id) is restarting, wait until the container is running")
                }
                guard lifecycle.run != nil else {
                    throw EngineError.conflict("container \(container.id) is not running")
                }
                try self.cgroup(container).freeze()
                container.update { record in
                    if case .running(let run) = record.status.lifecycle { record.status.lifecycle = .paused(run) }
                }
                container.setHealthChecks(nil)
                self.persistStatus(container)
                self.post(container.record, "pause")
            }
        }
    }

    public func unpauseContainer(_ id: String) async throws {
        let container = try registry.resolve(id)
        try await perform {
            guard container.lifecycle.isPaused else {
                throw EngineError.conflict("Container \(container.id) is not paused")
            }
            try await self.thaw(container)
            self.post(container.record, "unpause")
        }
    }

    private func thaw(_ container: Container) async throws {
        try await container.queue.run {
            try self.cgroup(container).thaw()
            container.update { record in
                if case .paused(let run) = record.status.lifecycle { record.status.lifecycle = .running(run) }
            }
            self.persistStatus(container)
            self.checkHealth(container)
        }
    }

    func cgroup(_ container: Container) throws -> ContainerCgroup {
        try ContainerCgroup(layout: cgroups, path: cgroupParent.path(of: container.id))
    }

    public func renameContainer(_ id: String, to name: String) async throws {
        let container = try registry.resolve(id)
        try await perform {
            try await container.queue.run {
                guard !name.isEmpty else {
                    throw EngineError.invalid("Neither old nor new names may be empty")
                }
                let newName: String
                do throws(EngineError) {
                    newName = try Names.normalized(name.hasPrefix(bytes: "/") ? name : "/" + name)
                } catch {
                    throw EngineError(error.kind, "Error when allocating new name: \(error.message)")
                }
                let old = container.record.name
                guard newName != old else {
                    throw EngineError.invalid("Renaming a container with the same name as its current name")
                }
                try self.registry.reserve(newName, for: container.id)
                container.update { $0.name = newName }
                do {
                    try self.persist(container)
                } catch {
                    container.update { $0.name = old }
                    self.registry.release(newName, of: container.id)
                    throw error
                }
                self.registry.release(old, of: container.id)
                // Its neighbours find it under its new name at once.
                for endpoint in container.network?.endpoints ?? [] { self.enterNames(container.record, endpoint) }
                self.post(container.record, "rename", extra: ["oldName": "/" + old])
            }
        }
    }

    /// Changes limits and the restart policy, live where it runs. Returns warnings.
    public func updateContainer(_ id: String, _ request: ContainerUpdateRequest) async throws -> [String] {
        let container = try registry.resolve(id)
        return try await perform {
            try await container.queue.run { try self.update(container, request) }
        }
    }

    private func update(_ container: Container, _ request: ContainerUpdateRequest) throws -> [String] {
        let before = container.record
        if before.lifecycle.isRemoving {
            throw EngineError.conflict("container is marked for removal and cannot be \"update\"")
        }
        var host = before.hostConfig
        let policy = request.restartPolicy
        if !policy.name.isEmpty {
            let rule = try RestartRule(name: policy.name, maximumRetryCount: policy.maximumRetryCount)
            if host.autoRemove && rule != .no {
                throw EngineError.conflict(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container")
            }
            host.restartPolicy = policy
        }
        try UpdateRules.apply(request.resources, to: &host.resources)
        try NetworkModeRules.rates(host)
        let warnings = try ResourceRules.validate(&host.resources, host: capacity, isUpdate: true)
        let resources = try RuntimeSpec.Resources(host.resources, extraTasks: before.document.reaper ? 1 : 0)
        var allWarnings = warnings
        if before.lifecycle.run != nil {
            var live = resources
            live.devices = nil
            allWarnings += try cgroup(container).update(live)
        }
        let settled = host
        container.update { $0.document.hostConfig = settled }
        if settled.rateLimits != before.hostConfig.rateLimits {
            do {
                try applyRates(container)
            } catch {
                container.update { $0.document.hostConfig = before.hostConfig }
                throw error
            }
        }
        try persist(container)
        post(container.record, "update")
        return allWarnings
    }

    /// Writes the whole record, durably.
    func persist(_ container: Container) throws {
        try container.persistence.withLock { _ in try store.update(container.record) }
    }

    /// Begins to wait, at once: the result is awaited separately.
    public func waitContainer(_ id: String, condition: WaitCondition) async throws -> ContainerWait {
        let container = try registry.resolve(id)
        let ticket = container.wait(condition)
        return ContainerWait {
            defer { container.forget(ticket) }
            return try await ticket.value()
        }
    }
}

/// Which limits a running container takes over from an update: dockerd's rules.
enum UpdateRules {
    static func apply(_ new: Resources, to old: inout Resources) throws(EngineError) {
        if new.nanoCpus > 0 && (old.cpuPeriod > 0 || old.cpuQuota > 0) && new.cpuPeriod == 0 && new.cpuQuota == 0 {
            throw .conflict(
                "Conflicting options: Nano CPUs cannot be updated as CPU Quota or Period has already been set")
        }
        for (name, value) in [("Period", new.cpuPeriod), ("Quota", new.cpuQuota)] where old.nanoCpus > 0 && value > 0 {
            throw .conflict(
                "Conflicting options: CPU \(name) cannot be updated as NanoCPUs has already been set")
        }
        if new.blkioWeight != 0 { old.blkioWeight = new.blkioWeight }
        if new.cpuShares != 0 { old.cpuShares = new.cpuShares }
        if new.nanoCpus != 0 { old.nanoCpus = new.nanoCpus }
        if new.cpuPeriod != 0 { old.cpuPeriod = new.cpuPeriod }
        if new.cpuQuota != 0 { old.cpuQuota = new.cpuQuota }
        if new.cpuRealtimePeriod != 0 { old.cpuRealtimePeriod = new.cpuRealtimePeriod }
        if new.cpuRealtimeRuntime != 0 { old.cpuRealtimeRuntime = new.cpuRealtimeRuntime }
        if !new.cpusetCpus.isEmpty { old.cpusetCpus = new.cpusetCpus }
        if !new.cpusetMems.isEmpty { old.cpusetMems = new.cpusetMems }
        if new.memory != 0 {
            // A limit above memory+swap would be refused by the kernel: say what to do.
            if new.memory > old.memorySwap && old.memorySwap > 0 && new.memorySwap == 0 {
                throw .conflict(
                    "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the "
                        + "same time")
            }
            old.memory = new.memory
        }
        if new.memorySwap != 0 { old.memorySwap = new.memorySwap }
        if new.memoryReservation != 0 { old.memoryReservation = new.memoryReservation }
        if let limit = new.pidsLimit { old.pidsLimit = limit }
        // A rate comes with its burst; -1 takes both away.
        if new.networkRateIn != 0 {
            old.networkRateIn = max(new.networkRateIn, 0)
            old.networkBurstIn = new.networkRateIn < 0 ? 0 : new.networkBurstIn
        }
        if new.networkRateOut != 0 {
            old.networkRateOut = max(new.networkRateOut, 0)
            old.networkBurstOut = new.networkRateOut < 0 ? 0 : new.networkBurstOut
        }
    }
}
