import EngineAPI
import OCI

extension Engine {
    public func createVolume(_ request: VolumeCreateRequest) async throws -> Volume {
        try await perform {
            let (volume, isNew) = try self.volumeManager.create(
                name: request.name.isEmpty ? nil : request.name, driver: request.driver,
                labels: request.labels ?? [:], options: request.driverOpts ?? [:])
            if isNew {
                self.post(type: "volume", action: "create", id: volume.name, attributes: ["driver": "local"])
            }
            return self.wire(volume)
        }
    }

    public func volumes(filters: Filters) async throws -> VolumeListResponse {
        try await perform {
            if let unknown = filters.firstUnknown(["dangling", "driver", "label", "name"]) {
                throw EngineError.invalid("invalid filter '\(unknown)'")
            }
            let dangling = try filters.flag("dangling")
            let users = self.volumeUsers()
            let chosen = self.volumeManager.all.filter { volume in
                if let dangling, (users[volume.name] == nil) != dangling { return false }
                let names = filters["name"]
                return filters.matchesExactly("driver", "local") && filters.matchesLabels("label", volume.labels)
                    && (names.isEmpty || names.contains { NamePattern.matches($0, volume.name) })
            }
            return VolumeListResponse(volumes: chosen.map(self.wire))
        }
    }

    public func inspectVolume(_ name: String) async throws -> Volume {
        guard let volume = volumeManager.volume(name) else {
            throw EngineError.notFound("get \(name): no such volume")
        }
        return wire(volume)
    }

    public func removeVolume(_ name: String, force: Bool) async throws {
        try await perform {
            guard self.volumeManager.volume(name) != nil else {
                if force { return }
                throw EngineError.notFound("get \(name): no such volume")
            }
            if let users = self.volumeUsers()[name] {
                throw EngineError.conflict(
                    "remove \(name): volume is in use - [\(users.sorted().joined(separator: ", "))]")
            }
            try self.volumeManager.remove(name)
            self.post(type: "volume", action: "destroy", id: name, attributes: ["driver": "local"])
        }
    }

    /// Removes volumes that no container uses: anonymous ones, and with `all=true` named ones too.
    public func pruneVolumes(filters: Filters) async throws -> VolumesPruneReport {
        try await perform {
            if let unknown = filters.firstUnknown(["all", "label", "label!"]) {
                throw EngineError.invalid("invalid filter '\(unknown)'")
            }
            let all = try filters.flag("all") ?? false
            let users = self.volumeUsers()
            var report = VolumesPruneReport()
            report.volumesDeleted = []
            // One that is mounted from elsewhere is left alone: what is there may not be this host's alone.
            for volume in self.volumeManager.all where users[volume.name] == nil && volume.options.isEmpty {
                guard all || volume.isAnonymous, PruneRules.labels(filters, volume.labels) else { continue }
                let size = self.volumeManager.size(volume.name)
                do {
                    try self.volumeManager.remove(volume.name)
                } catch let error as EngineError where error.kind == .conflict || error.kind == .notFound {
                    continue
                }
                self.post(type: "volume", action: "destroy", id: volume.name, attributes: ["driver": "local"])
                report.volumesDeleted?.append(volume.name)
                report.spaceReclaimed = UInt64(Int64(clamping: report.spaceReclaimed).addingClamped(size))
            }
            self.post(
                type: "volume", action: "prune", id: "", attributes: ["reclaimed": String(report.spaceReclaimed)])
            return report
        }
    }

    /// Ids of the containers by the volume they have.
    func volumeUsers() -> [String: [String]] {
        var users: [String: [String]] = [:]
        for container in registry.all {
            for mount in container.record.document.mounts where !mount.point.name.isEmpty {
                users[mount.point.name, default: []].append(container.id)
            }
        }
        return users
    }

    func wire(_ volume: StoredVolume) -> Volume {
        var result = Volume()
        result.name = volume.name
        result.createdAt = RFC3339.formatSeconds(volume.created)
        result.labels = volume.labels.isEmpty ? nil : volume.labels
        result.mountpoint = volumeManager.dataPath(volume.name)
        result.options = volume.options.isEmpty ? nil : volume.options
        return result
    }
}
