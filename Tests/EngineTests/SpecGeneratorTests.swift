import EngineAPI
import LinuxKernel
import OCI
import Testing

@testable import Engine

@Suite struct SpecGeneratorTests {
    private func generate(
        sources: [String: String] = [:], userNamespace: ContainerUserNamespace = .host, pids: [String: Int32] = [:],
        sandbox: String? = nil, labels: ContainerLabels? = nil, relabeling: MountRequest.Relabeling? = nil,
        _ configure: (inout ContainerRecord.Document) -> Void = { _ in }
    ) throws -> RuntimeSpec {
        let record = makeRecord(configure)
        return try SpecGenerator(
            record: record, modes: NamespaceModes(record.hostConfig), userNamespace: userNamespace,
            security: SecurityOptions(record.hostConfig.securityOpt ?? []), cgroupPath: "/mycontainer-0/x",
            hostnamePath: "/d/hostname", hostsPath: "/d/hosts", resolvConfPath: "/d/resolv.conf",
            sources: sources.mapValues { MountSource(path: $0, relabeling: relabeling) },
            sandboxPath: sandbox,
            pidOfContainer: { name throws(EngineError) in
                guard let pid = pids[name] else { throw .conflict("container \(name) is not running") }
                return pid
            }, hasSysctl: { _ in true }, hostMaskedPaths: [], recursiveReadOnly: true, labels: labels
        ).generate()
    }

    private func mount(_ spec: RuntimeSpec, _ destination: String) -> RuntimeSpec.Mount? {
        spec.mounts?.first { $0.destination == destination }
    }

    @Test func joinsTheNamespaceThatWasMade() throws {
        #expect(namespaces(try generate(sandbox: "/run/x/netns/1"))["network"] == "/run/x/netns/1")
        let own = try #require(namespaces(try generate())["network"])
        #expect(own == nil)
    }

    private func namespaces(_ spec: RuntimeSpec) -> [String: String?] {
        Dictionary(uniqueKeysWithValues: (spec.linux?.namespaces ?? []).map { ($0.type, $0.path) })
    }

    @Test func aPlainContainerHasDockersDefaults() throws {
        let spec = try generate()
        #expect(spec.process?.args == ["/bin/sh", "-c", "true"])
        #expect(spec.process?.cwd == "/")
        #expect(spec.process?.env?.first == "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        #expect(Set(namespaces(spec).keys) == ["mount", "network", "pid", "ipc", "uts", "cgroup"])
        #expect(spec.linux?.maskedPaths?.contains("/proc/kcore") == true)
        #expect(spec.linux?.readonlyPaths?.contains("/proc/sys") == true)
        #expect(mount(spec, "/sys")?.options?.contains("ro") == true)
        #expect(mount(spec, "/sys/fs/cgroup")?.options?.contains("ro") == true)
        #expect(mount(spec, "/dev/shm")?.options?.contains("size=67108864") == true)
        #expect(mount(spec, "/etc/hosts")?.source == "/d/hosts")
        #expect(spec.linux?.sysctl?["net.ipv4.ip_unprivileged_port_start"] == "0")
        #expect(spec.linux?.resources?.devices?.first == .init(allow: false, access: "rwm"))
        #expect(spec.process?.noNewPrivileges == false)
    }

    @Test func labelsAreTheProcesssAndTheMounts() throws {
        let own = ContainerLabels(process: "u:r:t:s0:c1,c2", mount: "u:object_r:f:s0:c1,c2")
        let sources = ["/b": "/host/b"]
        for relabeling in [MountRequest.Relabeling.shared, .own] {
            for isLabeled in [true, false] {
                let spec = try generate(sources: sources, labels: isLabeled ? own : nil, relabeling: relabeling) {
                    document in
                    var point = MountPoint()
                    (point.type, point.destination, point.source) = ("bind", "/b", "/host/b")
                    document.mounts = [AttachedMount(point: point)]
                }
                #expect(spec.process?.selinuxLabel == (isLabeled ? own.process : nil))
                #expect(spec.linux?.mountLabel == (isLabeled ? own.mount : nil))
                #expect(mount(spec, "/b")?.options?.contains(relabeling.rawValue) == isLabeled)
            }
        }
    }

    @Test func aUserNamespaceHasMappingsAndMappedMounts() throws {
        let ids = [RuntimeSpec.IDMapping(containerID: 0, hostID: 100_000, size: 1000)]
        let maps = IdentityMaps(uids: ids, gids: ids)
        let spec = try generate(sources: ["/v": "/volumes/v", "/b": "/b", "/m": "/m"], userNamespace: .own(maps)) {
            for (destination, type, mapped) in [("/v", "volume", nil), ("/b", "bind", nil), ("/m", "bind", true)] {
                var point = MountPoint()
                point.type = type
                point.destination = destination
                point.rw = true
                var mount = AttachedMount(point: point)
                mount.mapsOwners = mapped
                $0.mounts.append(mount)
            }
        }
        let user = try #require(namespaces(spec)["user"])
        #expect(user == nil)
        #expect(spec.linux?.uidMappings == ids && spec.linux?.gidMappings == ids)
        #expect(mount(spec, "/v")?.options?.contains("idmap") == true)
        #expect(mount(spec, "/b")?.options?.contains { $0.hasSuffix("idmap") } == false)
        #expect(mount(spec, "/m")?.options?.contains("ridmap") == true)
        #expect(mount(spec, "/etc/hosts")?.options?.contains("idmap") == true)
        #expect(spec.linux?.sysctl?["net.ipv4.ping_group_range"] == "0 999")
        let sharing = try generate(userNamespace: .shared("other", maps), pids: ["other": 7])
        #expect(namespaces(sharing)["user"] == "/proc/7/ns/user")
        #expect(namespaces(try generate())["user"] == nil)
    }

    @Test func hostModesLeaveNamespacesOut() throws {
        let spec = try generate {
            $0.hostConfig.networkMode = "host"
            $0.hostConfig.pidMode = "host"
            $0.hostConfig.ipcMode = "host"
            $0.hostConfig.utsMode = "host"
            $0.hostConfig.cgroupnsMode = "host"
        }
        #expect(namespaces(spec).keys.sorted() == ["mount"])
        #expect(spec.hostname == nil)
        #expect(spec.linux?.sysctl == nil)
        #expect(mount(spec, "/dev/shm")?.type == "bind")
    }

    @Test func otherContainersNamespacesAreJoined() throws {
        let spec = try generate(pids: ["db": 77]) {
            $0.hostConfig.networkMode = "container:db"
            $0.hostConfig.pidMode = "container:db"
        }
        #expect(namespaces(spec)["network"] == "/proc/77/ns/net")
        #expect(namespaces(spec)["pid"] == "/proc/77/ns/pid")
    }

    @Test func aContainerThatDoesNotRunCannotBeJoined() {
        let said = refusal {
            _ = try generate {
                $0.hostConfig.networkMode = "container:db"
            }
        }
        #expect(said == "container db is not running")
    }

    @Test func privilegedUnmasksAndAllowsEveryDevice() throws {
        let spec = try generate { $0.hostConfig.privileged = true }
        #expect(spec.linux?.maskedPaths == nil)
        #expect(spec.linux?.readonlyPaths == nil)
        #expect(mount(spec, "/sys")?.options?.contains("ro") == false)
        #expect(mount(spec, "/sys/fs/cgroup")?.options?.contains("ro") == false)
        #expect(spec.linux?.resources?.devices == [.init(allow: true, access: "rwm")])
        #expect(spec.linux?.devices?.contains { $0.path == "/dev/null" } == true)
    }

    @Test func aReadOnlyRootKeepsWhatMustBeWritten() throws {
        let spec = try generate { $0.hostConfig.readonlyRootfs = true }
        #expect(spec.root?.readonly == true)
        #expect(mount(spec, "/dev")?.options?.contains("ro") == false)
        #expect(mount(spec, "/dev/shm")?.options?.contains("ro") == false)
        #expect(mount(spec, "/etc/hosts")?.options?.contains("ro") == true)
    }

    @Test func theContainersOwnMountsReplaceTheDefaults() throws {
        let spec = try generate(sources: ["/dev": "/host/dev", "/a/b": "/host/b", "/a": "/host/a"]) { document in
            for destination in ["/dev", "/a/b", "/a"] {
                var point = MountPoint()
                point.type = "bind"
                point.destination = destination
                point.rw = destination != "/a"
                document.mounts.append(AttachedMount(point: point))
            }
        }
        #expect(mount(spec, "/dev")?.source == "/host/dev")
        #expect(mount(spec, "/dev/pts") == nil)
        #expect(mount(spec, "/dev/shm") == nil)
        #expect(mount(spec, "/a")?.options?.contains("rro") == true)
        let order = spec.mounts!.map(\.destination)
        #expect(order.firstIndex(of: "/a")! < order.firstIndex(of: "/a/b")!)
    }

    @Test func ipcNoneHasNoSharedMemory() throws {
        #expect(mount(try generate { $0.hostConfig.ipcMode = "none" }, "/dev/shm") == nil)
    }

    @Test func limitsCountTheReaperOut() throws {
        let spec = try generate {
            $0.hostConfig.pidsLimit = 10
            $0.hostConfig.nanoCpus = 1_500_000_000
            $0.hostConfig.memory = 64 << 20
            $0.hostConfig.memorySwap = 128 << 20
        }
        #expect(spec.linux?.resources?.pids?.limit == 11)
        #expect(spec.linux?.resources?.cpu?.quota == 150_000)
        #expect(spec.linux?.resources?.cpu?.period == 100_000)
        #expect(spec.linux?.resources?.memory?.limit == 64 << 20)
        #expect(spec.linux?.resources?.memory?.swap == 128 << 20)
        let without = try generate {
            $0.hostConfig.pidsLimit = 10
            $0.reaper = false
        }
        #expect(without.linux?.resources?.pids?.limit == 10)
    }

    @Test(arguments: [
        (["A=1", "PATH=/x"], true, ["PATH=/x", "HOSTNAME=h", "TERM=xterm", "A=1"]),
        (["HOSTNAME"], false, ["PATH=\(DefaultSpec.path)"]),
        (["A=1", "A=2"], false, ["PATH=\(DefaultSpec.path)", "HOSTNAME=h", "A=2"]),
    ])
    func environment(_ own: [String], terminal: Bool, expected: [String]) {
        #expect(SpecGenerator.environment(own, hostname: "h", terminal: terminal) == expected)
    }

    @Test func ulimitsAreCheckedAndConverted() throws {
        let limits = try SpecGenerator.rlimits([
            Ulimit(name: "nofile", soft: 10, hard: 20), Ulimit(name: "core", soft: -1, hard: -1),
        ])
        #expect(limits?[0] == .init(type: "RLIMIT_NOFILE", hard: 20, soft: 10))
        #expect(limits?[1].hard == UInt64.max)
        #expect(
            refusal { _ = try SpecGenerator.rlimits([Ulimit(name: "files", soft: 1, hard: 1)]) }
                == "invalid ulimit type: files")
        #expect(refusal { _ = try SpecGenerator.rlimits([Ulimit(name: "nofile", soft: 2, hard: 1)]) } != nil)
    }

    @Test func devicesExpandAndAreAllowed() throws {
        let spec = try generate {
            var mapping = DeviceMapping()
            mapping.pathOnHost = "/dev/zero"
            mapping.pathInContainer = "/dev/nought"
            mapping.cgroupPermissions = "r"
            $0.hostConfig.devices = [mapping]
            $0.hostConfig.deviceCgroupRules = ["c 7:* rmw"]
        }
        #expect(spec.linux?.devices?.map(\.path) == ["/dev/nought"])
        let rules = spec.linux?.resources?.devices ?? []
        #expect(rules.contains(.init(allow: true, type: "c", major: 1, minor: 5, access: "r")))
        #expect(rules.last == .init(allow: true, type: "c", major: 7, minor: nil, access: "rmw"))
    }
}
