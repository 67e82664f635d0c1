import Glibc
import LinuxKernel
import OCI

/// Who makes containers' cgroups; values are those of crun's `--cgroup-manager`.
enum CgroupDriver: String, Sendable {
    /// The runtime, with the hierarchies' own files.
    case files = "cgroupfs"
    /// systemd, which makes a scope of the container.
    case systemd
    /// Nobody: the container stays in its caller's cgroup.
    case disabled

    init(_ flags: Flags) throws(CommandError) {
        self = flags.has("systemd-cgroup") ? .systemd : .files
        guard let name = flags.value("cgroup-manager") else { return }
        guard let driver = CgroupDriver(rawValue: name) else {
            throw CommandError("unknown cgroup manager \(name): cgroupfs, systemd and disabled are known")
        }
        self = driver
    }
}

/// A new container's cgroup, limits applied. `undo` takes it away again where the start fails.
struct NewCgroup: ~Copyable {
    /// nil: the caller's own.
    let cgroup: ContainerCgroup?
    let scope: SystemdScope?
    private let place: PlaceHolder?

    static func make(
        _ driver: CgroupDriver, id: String, _ spec: RuntimeSpec, _ log: RuntimeLog
    ) throws(CommandError) -> NewCgroup {
        let path = spec.linux?.cgroupsPath ?? ""
        switch driver {
        case .disabled:
            guard (resources(spec) ?? RuntimeSpec.Resources()) == RuntimeSpec.Resources() else {
                throw CommandError("limits need a cgroup: choose another --cgroup-manager than disabled")
            }
            return NewCgroup(cgroup: nil, scope: nil, place: nil)
        case .files:
            guard path.split(separator: ":", omittingEmptySubsequences: false).count != 3 else {
                throw CommandError("cgroupsPath \(path) is for the systemd cgroup driver: add --systemd-cgroup")
            }
            // Relative ones are below the root: the runtime has no group of its own.
            let absolute = path.isEmpty ? "/\(id)" : path.hasPrefix("/") ? path : "/\(path)"
            return NewCgroup(cgroup: try files(absolute, spec, log, isNew: true), scope: nil, place: nil)
        case .systemd:
            let scope = try SystemdScope(cgroupsPath: path, id: id)
            log.debug("asking systemd for \(scope.unit) in \(scope.slice)")
            let place = try scope.start(id: id, annotations: spec.annotations ?? [:])
            do throws(CommandError) {
                let cgroup = try files(scope.path, spec, log, isNew: false)
                try scope.adopt(cgroup)
                return NewCgroup(cgroup: cgroup, scope: scope, place: place)
            } catch {
                try? scope.stop()
                throw error
            }
        }
    }

    private static func files(
        _ path: String, _ spec: RuntimeSpec, _ log: RuntimeLog, isNew: Bool
    ) throws(CommandError) -> ContainerCgroup {
        log.debug("making the cgroup \(path)")
        do throws(CgroupError) {
            let cgroup = try ContainerCgroup(layout: try CgroupLayout.detect(), path: path)
            let warnings =
                isNew ? try cgroup.create(resources(spec)) : try cgroup.adopt(resources(spec))
            for warning in warnings { log.warning(warning) }
            return cgroup
        } catch {
            throw CommandError(error.message)
        }
    }

    /// With the devices that every container needs allowed after the configuration's own rules, as runc does.
    private static func resources(_ spec: RuntimeSpec) -> RuntimeSpec.Resources? {
        guard var resources = spec.linux?.resources, let rules = resources.devices, !rules.isEmpty else {
            return spec.linux?.resources
        }
        resources.devices = rules + DeviceFilter.containerDefault.filter(\.allow)
        return resources
    }

    /// Gives a group that the container sees as its root, and may write to, to the container's user, with the files that
    /// the kernel names for that (runtime-spec config-linux.md, "Cgroup ownership"). Only cgroup v2 can be delegated.
    func delegate(_ spec: RuntimeSpec) throws(CommandError) {
        guard let cgroup, cgroup.layout.mode == .unified, let mountPoint = cgroup.layout.unifiedMountPoint,
            spec.linux?.namespaces?.contains(where: { $0.type == "cgroup" && ($0.path ?? "").isEmpty }) ?? false,
            let mount = spec.mounts?.first(where: { $0.type == "cgroup" || $0.type == "cgroup2" }),
            MountOptions(mount.options ?? []).attributes.set & MountAttributes.readOnly == 0
        else { return }
        var owner = spec.process?.user.uid ?? 0
        if let mappings = spec.linux?.uidMappings, !mappings.isEmpty {
            guard let mapping = mappings.first(where: { owner >= $0.containerID && owner - $0.containerID < $0.size })
            else { return }
            owner = mapping.hostID + (owner - mapping.containerID)
        }
        guard owner != 0 else { return }
        let directory = mountPoint + cgroup.path
        let files = Files.read("/sys/kernel/cgroup/delegate").map { String(decoding: $0, as: UTF8.self) } ?? ""
        for path in [directory] + files.split(separator: "\n").map({ "\(directory)/\($0)" })
        where chown(path, owner, gid_t.max) < 0 && errno != ENOENT {
            throw CommandError("cannot give \(path) to uid \(owner): \(String(cString: strerror(errno)))")
        }
    }

    func undo() {
        try? cgroup?.kill()
        try? scope?.stop()
        try? cgroup?.remove()
    }
}
