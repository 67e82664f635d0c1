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
            guard path.split(byte: ":", omittingEmptySubsequences: false).count != 3 else {
                throw CommandError("cgroupsPath \(path) is for the systemd cgroup driver: add --systemd-cgroup")
            }
            // Relative ones are below the root: the runtime has no group of its own.
            let absolute = path.isEmpty ? "/\(id)" : path.hasPrefix(bytes: "/") ? path : "/\(path)"
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

    func undo() {
        try? cgroup?.kill()
        try? scope?.stop()
        try? cgroup?.remove()
    }
}
