import Foundation
import Glibc
import OCI
import Testing

@testable import LinuxKernel

/// The v2 path on a directory that stands in for cgroupfs, and what needs no kernel at all.
@Suite struct CgroupTableTests {
    /// A root with files as the kernel would make them.
    private func fakeUnified(_ files: [String]) throws -> (TemporaryDirectory, CgroupLayout) {
        let root = try TemporaryDirectory()
        let controllers: [CgroupController] = [.cpu, .cpuset, .memory, .io, .pids, .hugetlb]
        let placement = CgroupLayout.Placement(version: .v2, mountPoint: root.path)
        let layout = CgroupLayout(
            mode: .unified, unifiedMountPoint: root.path,
            placements: Dictionary(uniqueKeysWithValues: controllers.map { ($0, placement) }))
        try FileManager.default.createDirectory(atPath: root.path + "/c", withIntermediateDirectories: true)
        for file in files {
            #expect(FileManager.default.createFile(atPath: root.path + "/c/" + file, contents: nil))
        }
        return (root, layout)
    }

    private func content(_ root: TemporaryDirectory, _ file: String) -> String? {
        CgroupFile.read(root.path + "/c/" + file)
    }

    @Test func convertsForVersion2() throws {
        let (root, layout) = try fakeUnified([
            "memory.max", "memory.swap.max", "memory.low", "cpu.weight", "cpu.max", "cpu.max.burst", "cpu.idle",
            "cpuset.cpus", "cpuset.mems", "pids.max", "io.weight", "io.max", "hugetlb.2MB.max", "memory.high",
        ])
        let group = try ContainerCgroup(layout: layout, path: "/c")
        let warnings = try group.update(
            RuntimeSpec.Resources(
                memory: RuntimeSpec.Memory(
                    limit: 100, reservation: 50, swap: 150, swappiness: 60, disableOOMKiller: true),
                cpu: RuntimeSpec.CPU(
                    shares: 1024, quota: -1, burst: 5, period: 50_000, cpus: "0-1", mems: "0", idle: 1),
                pids: RuntimeSpec.Pids(limit: -1),
                blockIO: RuntimeSpec.BlockIO(
                    weight: 1000, throttleReadBpsDevice: [RuntimeSpec.ThrottleDevice(major: 8, minor: 16, rate: 1_000)]),
                hugepageLimits: [RuntimeSpec.HugepageLimit(pageSize: "2MB", limit: 4096)],
                unified: ["memory.high": "90"]))
        #expect(warnings.count == 2)
        #expect(warnings.first?.contains("swappiness") == true)
        for (file, value) in [
            ("memory.max", "100"), ("memory.swap.max", "50"), ("memory.low", "50"), ("cpu.weight", "100"),
            ("cpu.max", "max 50000"), ("cpu.max.burst", "5"), ("cpu.idle", "1"), ("cpuset.cpus", "0-1"),
            ("cpuset.mems", "0"), ("pids.max", "max"), ("io.weight", "10000"), ("io.max", "8:16 rbps=1000"),
            ("hugetlb.2MB.max", "4096"), ("memory.high", "90"),
        ] {
            #expect(content(root, file) == value, "\(file)")
        }
    }

    @Test func updatesOnlyWhatIsAsked() throws {
        let (root, layout) = try fakeUnified(["memory.max", "memory.swap.max", "cpu.max"])
        let group = try ContainerCgroup(layout: layout, path: "/c")
        func put(_ file: String, _ text: String) throws {
            try Data(text.utf8).write(to: URL(fileURLWithPath: root.path + "/c/" + file))
        }
        // A period alone keeps the quota, swap alone counts from the present limit.
        try put("cpu.max", "25000 100000\n")
        try put("memory.max", "1000\n")
        let change = RuntimeSpec.Resources(
            memory: RuntimeSpec.Memory(swap: 1500), cpu: RuntimeSpec.CPU(period: 50_000))
        #expect(try group.update(change) == [])
        // A file that is not a control file keeps what the shorter text does not cover.
        #expect(content(root, "cpu.max")?.hasPrefix("25000 50000") == true)
        #expect(content(root, "memory.swap.max") == "500")
        #expect(content(root, "memory.max") == "1000\n")
    }

    @Test func tellsWhatIsMissing() throws {
        let (_, layout) = try fakeUnified([])
        let group = try ContainerCgroup(layout: layout, path: "/c")
        #expect(
            try group.update(RuntimeSpec.Resources(memory: RuntimeSpec.Memory(limit: 1))) == [
                "Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
                    + "Limitation discarded."
            ])
        let refused = #expect(throws: CgroupError.self) {
            try group.update(RuntimeSpec.Resources(cpu: RuntimeSpec.CPU(quota: 1000)))
        }
        #expect(refused?.controller == .cpu)
        #expect(refused?.message.hasPrefix("cpu controller: this host cannot enforce the CPU quota") == true)
        for name in ["cgroup.procs", "../x", "memory", ".hidden.x", "cgroup.subtree_control"] {
            #expect(throws: CgroupError.self) { try group.update(RuntimeSpec.Resources(unified: [name: "1"])) }
        }
        for memory in [RuntimeSpec.Memory(limit: 100, swap: 50), RuntimeSpec.Memory(swap: 50)] {
            #expect(throws: CgroupError.self) { try group.update(RuntimeSpec.Resources(memory: memory)) }
        }
        let heavy = RuntimeSpec.Resources(blockIO: RuntimeSpec.BlockIO(weight: 5))
        #expect(throws: CgroupError.self) { try group.update(heavy) }
    }

    @Test func detectsLayouts() {
        let hybrid = """
            31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
            35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
            99 31 0:32 /inner /mnt/memory rw - cgroup cgroup rw,memory
            """
        let layout = CgroupLayout.detect(mountinfo: hybrid) { _ in "hugetlb pids\n" }
        #expect(layout.mode == .hybrid)
        #expect(layout.dockerVersion == "1")
        #expect(layout.version(of: .memory) == .v1)
        #expect(layout.version(of: .pids) == .v2)
        #expect(layout.version(of: .io) == nil)
        #expect(layout.placements[.cpuacct]?.mountPoint == "/sys/fs/cgroup/cpu,cpuacct")
        #expect(layout.descriptions.contains("memory: v1 at /sys/fs/cgroup/memory"))
        let pure = CgroupLayout.detect(
            mountinfo: #"24 18 0:22 / /sys/fs/cg\040roup rw - cgroup2 none rw,nsdelegate"#
        ) { _ in "cpuset cpu io memory hugetlb pids rdma misc\n" }
        #expect(pure.mode == .unified)
        #expect(pure.unifiedMountPoint == "/sys/fs/cg roup")
        #expect(pure.placements[.io] == CgroupLayout.Placement(version: .v2, mountPoint: "/sys/fs/cg roup"))
        let none = CgroupLayout.detect(mountinfo: "") { _ in "" }
        #expect(none.mode == .legacy)
        #expect(throws: CgroupError.self) { try ContainerCgroup(layout: none, path: "/c") }
    }

    @Test func readsVersion2Counters() throws {
        let (root, layout) = try fakeUnified([])
        for (file, text) in [
            ("memory.current", "4096\n"), ("memory.max", "max\n"), ("memory.peak", "8192\n"),
            ("memory.stat", "anon 10\nfile 20\n"),
            ("cpu.stat", "usage_usec 3\nuser_usec 2\nsystem_usec 1\nnr_periods 5\nnr_throttled 4\nthrottled_usec 9\n"),
            ("pids.current", "7\n"), ("pids.max", "100\n"),
            ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n259:1\n"),
            (
                "cpu.pressure",
                "some avg10=1.50 avg60=0.10 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n"
            ),
            ("memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n"),
            ("cgroup.events", "populated 0\nfrozen 1\n"),
        ] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: root.path + "/c/" + file))
        }
        let group = try ContainerCgroup(layout: layout, path: "/c")
        let statistics = try group.statistics()
        #expect(statistics.memory?.usage == 4096)
        #expect(statistics.memory?.limit == nil)
        #expect(statistics.memory?.cache == 20)
        #expect(statistics.cpu?.total == 3000)
        #expect(statistics.cpu?.throttledTime == 9000)
        #expect(statistics.pids?.limit == 100)
        #expect(statistics.io?.serviceBytes.map(\.value) == [1, 2, 0])
        #expect(statistics.io?.serviced.map(\.operation) == ["read", "write", "discard"])
        #expect(statistics.cpuPressure?.some.average10 == 1.5)
        #expect(statistics.cpuPressure?.full.total == 5)
        #expect(statistics.ioPressure == nil)
        #expect(group.oomKillCount() == 2)
        #expect(group.isFrozen)
    }

    @Test(
        arguments: [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (512, 59), (1 << 40, 10_000)] as [(UInt64, UInt64)])
    func keepsCPUWeightsInProportion(shares: UInt64, weight: UInt64) {
        #expect(CgroupConversion.cpuWeight(shares: shares) == weight)
    }

    @Test func findsOwnGroup() {
        #expect(CgroupParent.ownPath("1:cpu:/x\n0::/system.slice/a.service\n") == "/system.slice/a.service")
        #expect(CgroupParent.ownPath("0::/\n") == "/")
        #expect(CgroupParent.ownPath("1:cpu:/\n") == nil)
    }
}
