import EngineAPI
import LinuxKernel
import OCI

/// Turns a container's stored configuration into an OCI `config.json`, as dockerd does.
///
/// Everything that depends on the moment (namespaces of other containers, host paths) comes in as a value, so that
/// the result is a function of its input.
struct SpecGenerator {
    let record: ContainerRecord
    let modes: NamespaceModes
    let userNamespace: ContainerUserNamespace
    let security: SecurityOptions
    /// `/mycontainer-<instance>/<id>`.
    let cgroupPath: String
    /// Host paths of the three files in /etc; nil where the container has none of its own.
    let hostnamePath: String?
    let hostsPath: String?
    let resolvConfPath: String?
    /// Mounts resolved for this start: host source of each of `record.document.mounts`, nil for a tmpfs.
    let sources: [String: MountSource]
    /// The file that pins the network namespace; nil where the runtime makes it.
    let sandboxPath: String?
    /// Host pid of another container's PID 1, for namespaces that are shared with it.
    let pidOfContainer: (String) throws(EngineError) -> Int32
    /// Whether the kernel has a sysctl.
    let hasSysctl: (String) -> Bool
    /// Masked paths that depend on this host's hardware.
    let hostMaskedPaths: [String]
    /// Whether mounts below a read-only bind can be made read-only too (mount_setattr, Linux 5.12).
    let recursiveReadOnly: Bool
    var appArmor = AppArmor.absent
    /// SELinux labels; nil where the host has none.
    var labels: ContainerLabels?

    private var config: ContainerConfig { record.config }
    private var host: HostConfig { record.hostConfig }

    func generate() throws(EngineError) -> RuntimeSpec {
        var spec = RuntimeSpec(ociVersion: "1.2.1")
        spec.root = RuntimeSpec.Root(path: "rootfs", readonly: host.readonlyRootfs)
        spec.process = try process()
        if modes.uts == .own {
            spec.hostname = config.hostname
            if !config.domainname.isEmpty { spec.domainname = config.domainname }
        }
        if let annotations = host.annotations, !annotations.isEmpty { spec.annotations = annotations }

        var linux = RuntimeSpec.Linux()
        linux.cgroupsPath = cgroupPath
        linux.mountLabel = labels?.mount
        linux.namespaces = try namespaces()
        linux.uidMappings = userNamespace.maps?.uids
        linux.gidMappings = userNamespace.maps?.gids
        linux.sysctl = sysctls()
        var resources = try RuntimeSpec.Resources(host.resources, extraTasks: record.document.reaper ? 1 : 0)
        let devices = try devices()
        linux.devices = devices.nodes
        resources.devices = devices.rules
        linux.resources = resources
        if !host.privileged {
            linux.maskedPaths = host.maskedPaths ?? DefaultSpec.maskedPaths + hostMaskedPaths
            linux.readonlyPaths = host.readonlyPaths ?? DefaultSpec.readonlyPaths
        }
        spec.mounts = try mounts(&linux)
        spec.linux = linux
        return spec
    }

    // MARK: Process

    private func process() throws(EngineError) -> RuntimeSpec.Process {
        var process = RuntimeSpec.Process()
        process.terminal = config.tty
        process.args = [record.document.path] + record.document.arguments
        process.cwd = config.workingDir.isEmpty ? "/" : config.workingDir
        process.env = SpecGenerator.environment(
            config.env ?? [], hostname: config.hostname, terminal: config.tty)
        if config.tty, host.consoleSize.count == 2, host.consoleSize != [0, 0] {
            process.consoleSize = RuntimeSpec.ConsoleSize(height: host.consoleSize[0], width: host.consoleSize[1])
        }
        process.capabilities = try SpecGenerator.capabilities(
            add: host.capAdd ?? [], drop: host.capDrop ?? [], privileged: host.privileged, user: config.user)
        process.noNewPrivileges = security.noNewPrivileges
        process.oomScoreAdj = host.oomScoreAdj
        process.rlimits = try SpecGenerator.rlimits(host.ulimits ?? [])
        process.selinuxLabel = labels?.process
        process.apparmorProfile = appArmor.profile(asked: security.appArmorProfile, privileged: host.privileged)
        return process
    }

    /// PATH, HOSTNAME and TERM, with the container's own variables over them; HOME is the runtime's, which knows the
    /// user.
    static func environment(_ own: [String], hostname: String, terminal: Bool) -> [String] {
        var result = ["PATH=\(DefaultSpec.path)", "HOSTNAME=\(hostname)"]
        if terminal { result.append("TERM=xterm") }
        return merge(environment: result, with: own)
    }

    /// `overrides` replace variables of the same name in place; a bare `NAME` removes one; the rest is appended.
    static func merge(environment base: [String], with overrides: [String]) -> [String] {
        var result = base
        var places: [Substring: Int] = [:]
        for (index, entry) in base.enumerated() { places[name(of: entry)] = index }
        var removed: Set<Int> = []
        for entry in overrides {
            let name = name(of: entry)
            if !entry.contains(byte: "=") {
                if let place = places[name] { removed.insert(place) }
            } else if let place = places[name] {
                result[place] = entry
                removed.remove(place)
            } else {
                places[name] = result.count
                result.append(entry)
            }
        }
        return result.enumerated().filter { !removed.contains($0.offset) }.map(\.element)
    }

    private static func name(of entry: String) -> Substring { entry.prefix(before: "=") }

    /// The daemon's own don't change while it runs.
    private static let availableCapabilities = Capabilities.available

    static func capabilities(
        add: [String], drop: [String], privileged: Bool, user: String
    ) throws(EngineError) -> RuntimeSpec.Capabilities {
        do {
            let bounding = try Capabilities.resolve(
                add: add, drop: drop, privileged: privileged, available: availableCapabilities)
            // A user by name is resolved in the child, which takes effective capabilities from all but root.
            let uid = user.isEmpty ? 0 : UInt32(user.prefix { $0 != ":" }) ?? 0
            return Capabilities.specification(bounding: bounding, uid: uid)
        } catch {
            throw .invalid(error.message)
        }
    }

    private static let rlimitNames: Set<String> = [
        "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
        "rttime", "sigpending", "stack",
    ]

    static func rlimits(_ limits: [Ulimit]) throws(EngineError) -> [RuntimeSpec.Rlimit]? {
        var result: [RuntimeSpec.Rlimit] = []
        for limit in limits {
            guard rlimitNames.contains(limit.name) else { throw .invalid("invalid ulimit type: \(limit.name)") }
            guard limit.hard == -1 || (limit.soft != -1 && limit.soft <= limit.hard), limit.soft >= -1 else {
                throw .invalid(
                    "ulimit soft limit must be less than or equal to hard limit: \(limit.soft) > \(limit.hard)")
            }
            let type = "RLIMIT_" + limit.name.uppercased()
            result.removeAll { $0.type == type }
            result.append(
                RuntimeSpec.Rlimit(
                    type: type, hard: UInt64(bitPattern: limit.hard), soft: UInt64(bitPattern: limit.soft)))
        }
        return result.isEmpty ? nil : result
    }

    // MARK: Namespaces

    private func namespaces() throws(EngineError) -> [RuntimeSpec.Namespace] {
        var result = [RuntimeSpec.Namespace(type: "mount")]
        switch userNamespace {
        case .host: break
        // Where the network is set up beforehand, its namespace's owner is the one that is meant.
        case .own: result.append(RuntimeSpec.Namespace(type: "user"))
        case .shared(let other, _):
            result.append(RuntimeSpec.Namespace(type: "user", path: "/proc/\(try pidOfContainer(other))/ns/user"))
        }
        let kinds: [(String, String, NamespaceMode)] = [
            ("network", "net", modes.network), ("pid", "pid", modes.pid), ("ipc", "ipc", modes.ipc),
            ("uts", "uts", modes.uts), ("cgroup", "cgroup", modes.cgroup),
        ]
        for (type, file, mode) in kinds {
            switch mode {
            case .host: continue
            case .own where type == "network":
                result.append(RuntimeSpec.Namespace(type: type, path: sandboxPath))
            case .own: result.append(RuntimeSpec.Namespace(type: type))
            case .container(let other):
                let pid = try pidOfContainer(other)
                result.append(RuntimeSpec.Namespace(type: type, path: "/proc/\(pid)/ns/\(file)"))
            }
        }
        return result
    }

    private func sysctls() -> [String: String]? {
        var result: [String: String] = [:]
        if modes.network == .own {
            // Ping without CAP_NET_RAW, and low ports without CAP_NET_BIND_SERVICE: the container's own network.
            if hasSysctl("net.ipv4.ping_group_range") {
                // Groups that aren't mapped can't be named.
                let last = userNamespace.maps.map { max(1, IdentityMaps.unbroken($0.gids)) - 1 } ?? UInt32.max
                result["net.ipv4.ping_group_range"] = "0 \(min(last, 2_147_483_647))"
            }
            if hasSysctl("net.ipv4.ip_unprivileged_port_start") {
                result["net.ipv4.ip_unprivileged_port_start"] = "0"
            }
        }
        for (name, value) in host.sysctls ?? [:] { result[Sysctls.canonical(name)] = value }
        return result.isEmpty ? nil : result
    }

    // MARK: Devices

    private func devices() throws(EngineError) -> (nodes: [RuntimeSpec.Device]?, rules: [RuntimeSpec.DeviceCgroup]) {
        if host.deviceRequests?.isEmpty == false {
            throw .invalid("could not select device driver \"\" with capabilities: device requests are not supported")
        }
        var nodes: [RuntimeSpec.Device] = []
        var rules = DeviceFilter.containerDefault
        if host.privileged {
            // Nodes belong to the container's root, and the host's disks must not.
            if userNamespace == .host { nodes = Devices.all() }
            rules = DeviceFilter.everything
        }
        for mapping in host.devices ?? [] {
            let inside = mapping.pathInContainer.isEmpty ? mapping.pathOnHost : mapping.pathInContainer
            if host.privileged && userNamespace == .host && mapping.pathOnHost == inside { continue }
            let permissions = mapping.cgroupPermissions.isEmpty ? "rwm" : mapping.cgroupPermissions
            for (node, rule) in try Devices.expand(
                host: mapping.pathOnHost, container: Paths.clean(inside), permissions: permissions)
            {
                nodes.append(node)
                if !host.privileged { rules.append(rule) }
            }
        }
        if !host.privileged {
            for rule in host.deviceCgroupRules ?? [] { rules.append(try Devices.parse(rule: rule)) }
        }
        return (nodes.isEmpty ? nil : nodes, rules)
    }

    // MARK: Mounts

    private func mounts(_ linux: inout RuntimeSpec.Linux) throws(EngineError) -> [RuntimeSpec.Mount] {
        let own = try ownMounts(&linux)
        let taken = Set(own.map(\.destination))
        var result: [RuntimeSpec.Mount] = []
        for var mount in DefaultSpec.mounts {
            if taken.contains(mount.destination) { continue }
            if taken.contains("/dev"), mount.destination.hasPrefix(bytes: "/dev/") { continue }
            switch mount.destination {
            case "/dev/shm":
                if modes.withoutSharedMemory { continue }
                switch modes.ipc {
                case .own: mount.options!.append("size=\(host.shmSize)")
                case .host:
                    mount = RuntimeSpec.Mount(
                        destination: "/dev/shm", type: "bind", source: "/dev/shm", options: ["rbind", "rprivate"])
                case .container(let other):
                    let pid = try pidOfContainer(other)
                    mount = RuntimeSpec.Mount(
                        destination: "/dev/shm", type: "bind", source: "/proc/\(pid)/root/dev/shm",
                        options: ["rbind", "rprivate"])
                }
            case "/dev/mqueue" where modes.ipc == .host && userNamespace != .host:
                // Elsewhere a mount of its own shows the host's queues, but that takes power over the host's IPC namespace.
                guard Files.exists("/dev/mqueue") else { continue }
                mount = RuntimeSpec.Mount(
                    destination: "/dev/mqueue", type: "bind", source: "/dev/mqueue", options: ["rbind", "rprivate"])
            case "/sys" where host.privileged, "/sys/fs/cgroup" where security.writableCgroups ?? host.privileged:
                mount.options!.removeAll { $0 == "ro" }
            default: break
            }
            if host.readonlyRootfs,
                !["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"].contains(mount.destination),
                !mount.options!.contains("ro")
            {
                mount.options!.append("ro")
            }
            result.append(mount)
        }
        return result + own
    }

    /// The container's own mounts, parents before what lies in them.
    private func ownMounts(_ linux: inout RuntimeSpec.Linux) throws(EngineError) -> [RuntimeSpec.Mount] {
        var result: [RuntimeSpec.Mount] = []
        for mount in record.document.mounts {
            let point = mount.point
            if point.type == "tmpfs" {
                result.append(
                    RuntimeSpec.Mount(
                        destination: point.destination, type: "tmpfs", source: "tmpfs",
                        options: (mount.tmpfsOptions ?? []) + ["rprivate"]))
                continue
            }
            guard let source = sources[point.destination] else {
                throw .internal("the mount at \(point.destination) has no source")
            }
            var options = [mount.nonRecursive ? "bind" : "rbind"]
            if !point.rw {
                if mount.readOnlyForceRecursive && !recursiveReadOnly {
                    throw .invalid("recursive read-only mounts need Linux 5.12 or newer")
                }
                options.append(recursiveReadOnly && !mount.readOnlyNonRecursive ? "rro" : "ro")
            }
            if userNamespace != .host, point.type == "volume" || mount.mapsOwners ?? false {
                options.append(mount.nonRecursive || point.type == "volume" ? "idmap" : "ridmap")
            }
            if labels != nil, let relabeling = source.relabeling { options.append(relabeling.rawValue) }
            options.append(point.propagation.isEmpty ? "rprivate" : point.propagation)
            switch point.propagation {
            case "shared", "rshared": linux.rootfsPropagation = "shared"
            case "slave", "rslave":
                if linux.rootfsPropagation == nil { linux.rootfsPropagation = "rslave" }
            default: break
            }
            result.append(
                RuntimeSpec.Mount(
                    destination: point.destination, type: "bind", source: source.path, options: options,
                    subpath: source.subpath))
        }
        let files = [("/etc/resolv.conf", resolvConfPath), ("/etc/hostname", hostnamePath), ("/etc/hosts", hostsPath)]
        for (destination, path) in files {
            guard let path, !result.contains(where: { $0.destination == destination }) else { continue }
            var options = ["rbind", "rprivate"]
            if userNamespace != .host { options.append("idmap") }
            if host.readonlyRootfs { options.append("ro") }
            result.append(
                RuntimeSpec.Mount(destination: destination, type: "bind", source: path, options: options))
        }
        return result.sorted { left, right in
            let depths = (left.destination.split(byte: "/").count, right.destination.split(byte: "/").count)
            return depths.0 == depths.1 ? left.destination < right.destination : depths.0 < depths.1
        }
    }
}
