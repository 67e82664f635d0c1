import Foundation
import Glibc
import OCI
import Testing

@testable import LinuxKernel

/// Groups of the running host. Every test has a parent of its own, removed at its end.
@Suite struct CgroupTests {
    /// A parent group for one test, and a helper process in a container's group.
    private final class Host {
        let parent: CgroupParent
        let layout: CgroupLayout

        init() throws {
            layout = try CgroupLayout.detect()
            let instance = String(UInt32.random(in: 0 ... .max), radix: 16)
            parent = try CgroupParent.prepare(layout: layout, instance: "test-" + instance)
        }

        func container(_ name: String = "one") throws -> ContainerCgroup {
            try ContainerCgroup(layout: layout, path: parent.path(of: name))
        }

        deinit {
            _ = try? parent.removeStale(keeping: [])
            parent.removeIfEmpty()
        }
    }

    /// A shell that waits for its standard input to end, moved into a group before it runs `script`.
    private func start(_ script: String, in group: ContainerCgroup) throws -> (process: Foundation.Process, input: Pipe)
    {
        let process = Foundation.Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", "read line; " + script]
        let input = Pipe()
        process.standardInput = input
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        try group.attach(process.processIdentifier, includingUnified: true)
        return (process, input)
    }

    private func content(_ group: ContainerCgroup, _ controller: CgroupController, v1: String, v2: String) throws
        -> String
    {
        let placement = try #require(group.layout.placements[controller])
        let file = placement.version == .v1 ? v1 : v2
        return try #require(CgroupFile.read(placement.mountPoint + group.path + "/" + file)).trimmedLine
    }

    @Test func appliesUpdatesAndRemoves() throws {
        let host = try Host()
        let group = try host.container()
        let warnings = try group.create(
            RuntimeSpec.Resources(
                devices: DeviceFilter.containerDefault,
                memory: RuntimeSpec.Memory(limit: 64 << 20, reservation: 32 << 20, swap: 128 << 20),
                cpu: RuntimeSpec.CPU(shares: 512, quota: 50_000, period: 100_000, cpus: "0", mems: "0"),
                pids: RuntimeSpec.Pids(limit: 20)))
        #expect(warnings.isEmpty)
        #expect(try content(group, .memory, v1: "memory.limit_in_bytes", v2: "memory.max") == String(64 << 20))
        let swap = try content(group, .memory, v1: "memory.memsw.limit_in_bytes", v2: "memory.swap.max")
        #expect(swap == String(group.layout.version(of: .memory) == .v1 ? 128 << 20 : 64 << 20))
        #expect(try content(group, .memory, v1: "memory.soft_limit_in_bytes", v2: "memory.low") == String(32 << 20))
        #expect(["512", "59"].contains(try content(group, .cpu, v1: "cpu.shares", v2: "cpu.weight")))
        #expect(["50000", "50000 100000"].contains(try content(group, .cpu, v1: "cpu.cfs_quota_us", v2: "cpu.max")))
        #expect(try content(group, .cpuset, v1: "cpuset.cpus", v2: "cpuset.cpus") == "0")
        #expect(try content(group, .pids, v1: "pids.max", v2: "pids.max") == "20")

        // Raising past memory+swap, lowering again, lifting: each order of the two files must be found.
        for limit: Int64 in [512 << 20, 16 << 20, -1, 32 << 20] {
            _ = try group.update(
                RuntimeSpec.Resources(memory: RuntimeSpec.Memory(limit: limit, swap: limit < 0 ? -1 : limit * 2)))
            let statistics = try group.statistics()
            #expect(statistics.memory?.limit == (limit < 0 ? nil : UInt64(limit)))
            #expect(statistics.memory?.swapLimit == (limit < 0 ? nil : UInt64(limit)))
        }
        _ = try group.update(RuntimeSpec.Resources(cpu: RuntimeSpec.CPU(quota: 20_000)))
        #expect(["20000", "20000 100000"].contains(try content(group, .cpu, v1: "cpu.cfs_quota_us", v2: "cpu.max")))
        #expect(try content(group, .pids, v1: "pids.max", v2: "pids.max") == "20")
        try group.remove()
        #expect(throws: CgroupError.self) { try group.statistics() }
        // Again: nothing there is no error.
        try group.remove()
    }

    @Test func refusesWithTheControllersName() throws {
        let host = try Host()
        let group = try host.container()
        let error = #expect(throws: CgroupError.self) {
            try group.create(RuntimeSpec.Resources(cpu: RuntimeSpec.CPU(cpus: "4095")))
        }
        #expect(error?.controller == .cpuset)
        #expect(error?.message.hasPrefix("cpuset controller: cannot set the CPU and memory node list") == true)
        // Nothing half-made stays.
        #expect(!CgroupFile.exists(group.unifiedDirectory))
        #expect(try host.parent.removeStale(keeping: []) == [])
        for path in ["relative", "/", "/a/../b", ""] {
            #expect(throws: CgroupError.self) { try ContainerCgroup(layout: host.layout, path: path) }
        }
    }

    @Test func killsFreezesAndListsProcesses() throws {
        let host = try Host()
        let group = try host.container()
        _ = try group.create(nil)
        let (process, _) = try start("exit", in: group)
        #expect(try group.processes() == [process.processIdentifier])
        #expect(try group.statistics().pids?.current == 1)
        #expect(!group.isFrozen)
        try group.freeze()
        #expect(group.isFrozen)
        try group.thaw()
        #expect(!group.isFrozen)
        // A group below, as a container with a cgroup namespace of its own may make.
        #expect(mkdir(group.unifiedDirectory + "/below", 0o755) == 0)
        let error = #expect(throws: CgroupError.self) { try group.remove(timeout: 1) }
        #expect(error?.errno == EBUSY)
        try group.kill()
        try group.remove()
        process.waitUntilExit()
        #expect(process.terminationReason == .uncaughtSignal)
        #expect(process.terminationStatus == SIGKILL)
    }

    @Test func takesOverAnEmptyGroupAndRefusesABusyOne() throws {
        let host = try Host()
        let group = try host.container()
        _ = try group.create(RuntimeSpec.Resources(pids: RuntimeSpec.Pids(limit: 5)))
        _ = try group.create(nil)
        // What the earlier one was limited to does not hold for the new one.
        #expect(try group.statistics().pids?.limit == nil)
        let (process, _) = try start("exit", in: group)
        let error = #expect(throws: CgroupError.self) { try group.create(nil) }
        #expect(error?.errno == EBUSY)
        #expect(try group.processes() == [process.processIdentifier])
        try group.kill()
        process.waitUntilExit()
    }

    @Test func removesWhatOthersLeft() throws {
        let host = try Host()
        let (kept, stale) = (try host.container("kept"), try host.container("stale"))
        _ = try kept.create(nil)
        _ = try stale.create(RuntimeSpec.Resources(cpu: RuntimeSpec.CPU(cpus: "0")))
        let (process, _) = try start("exit", in: stale)
        #expect(try host.parent.removeStale(keeping: ["kept"]) == ["stale"])
        process.waitUntilExit()
        #expect(CgroupFile.exists(kept.unifiedDirectory))
        host.parent.removeIfEmpty()
        #expect(CgroupFile.exists(kept.unifiedDirectory))
    }

    /// A container may give its groups names that are no text.
    @Test func removesGroupsOfAnyName() throws {
        let host = try Host()
        let group = try host.container("odd")
        _ = try group.create(nil)
        var odd = Array(group.unifiedDirectory.utf8CString.dropLast()) + [47, -1, -2, 0]
        #expect(mkdir(odd, 0o755) == 0)
        odd = odd.dropLast() + [47, 120, 0]
        #expect(mkdir(odd, 0o755) == 0)
        try group.remove()
        #expect(!group.exists)
    }

    @Test func staysOutOfADelegatedGroupThatItIsItselfIn() throws {
        let host = try Host()
        let unified = try #require(host.layout.unifiedMountPoint)
        let unit = try host.container("unit").path
        #expect(mkdir(unified + unit, 0o755) == 0)
        #expect(mkdir(unified + unit + "/daemon", 0o755) == 0)
        #expect(CgroupParent.delegatedSubtree(unified, unit + "/daemon") == nil)
        // The mark that systemd puts on what it delegates.
        #expect(try run("/usr/bin/env", ["python3", "-c", Self.mark, unified + unit]) == "")
        #expect(CgroupParent.delegatedSubtree(unified, unit + "/daemon") == unit)
        #expect(CgroupParent.delegatedSubtree(unified, unit) == nil)
        #expect(CgroupParent.delegatedSubtree(unified, "/") == nil)
    }

    private static let mark = "import os, sys; os.setxattr(sys.argv[1], 'trusted.delegate', b'1')"

    @Test func reportsOutOfMemory() throws {
        let host = try Host()
        let group = try host.container()
        _ = try group.create(RuntimeSpec.Resources(memory: RuntimeSpec.Memory(limit: 8 << 20, swap: 8 << 20)))
        guard let watch = try group.watchOutOfMemory() else {
            Issue.record("no memory controller")
            return
        }
        #expect(group.oomKillCount() == 0)
        // tail keeps the only line of /dev/zero in memory.
        let (process, input) = try start("exec tail /dev/zero", in: group)
        try input.fileHandleForWriting.write(contentsOf: Data("\n".utf8))
        var poller = pollfd(fd: watch.descriptor.raw, events: Int16(POLLIN), revents: 0)
        #expect(poll(&poller, 1, 60_000) == 1)
        process.waitUntilExit()
        #expect(process.terminationReason == .uncaughtSignal)
        #expect(process.terminationStatus == SIGKILL)
        #expect(group.oomKillCount() >= 1)
        watch.acknowledge()
        let statistics = try group.statistics()
        #expect(statistics.memory?.limit == 8 << 20)
        #expect((statistics.memory?.peak ?? 8 << 20) >= 7 << 20)
    }

    @Test func throttlesTheProcessor() throws {
        let host = try Host()
        let group = try host.container()
        _ = try group.create(RuntimeSpec.Resources(cpu: RuntimeSpec.CPU(quota: 1_000, period: 100_000)))
        let (process, input) = try start("while :; do :; done", in: group)
        try input.fileHandleForWriting.write(contentsOf: Data("\n".utf8))
        // It works until it was held up; the counters tell, not the clock, which only ends what never will be.
        for _ in 0..<10_000 where try group.statistics().cpu?.throttledTime ?? 0 == 0 { usleep(1000) }
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        let cpu = try #require(try group.statistics().cpu)
        #expect(cpu.throttledPeriods > 0)
        #expect(cpu.throttledTime > 0)
        #expect(cpu.total > 0)
        #expect(try group.statistics().cpuPressure != nil || !CgroupFile.exists("/proc/pressure/cpu"))
    }

    @Test func limitsProcesses() throws {
        let host = try Host()
        let group = try host.container()
        _ = try group.create(RuntimeSpec.Resources(pids: RuntimeSpec.Pids(limit: 3)))
        let (process, input) = try start("sleep 0 & sleep 0 & sleep 0 & sleep 0 & sleep 0 & wait; exit 0", in: group)
        try input.fileHandleForWriting.write(contentsOf: Data("\n".utf8))
        process.waitUntilExit()
        // dash gives up with 2 when it can't fork.
        #expect(process.terminationStatus == 2)
        #expect(try group.statistics().pids?.limit == 3)
    }

    @Test(arguments: [
        (DeviceFilter.containerDefault, ["head -c1 /dev/zero", "head -c1 /dev/urandom", "echo >/dev/null"], true),
        (DeviceFilter.containerDefault, ["head -c1 /dev/kmsg", "head -c1 /dev/mem"], false),
        (
            DeviceFilter.containerDefault + [
                RuntimeSpec.DeviceCgroup(allow: true, type: "c", major: 1, minor: 11, access: "r")
            ], ["exec 3</dev/kmsg"], true
        ),
        (
            DeviceFilter.containerDefault + [
                RuntimeSpec.DeviceCgroup(allow: true, type: "c", major: 1, minor: 11, access: "r")
            ], ["exec 3<>/dev/kmsg"], false
        ),
        (
            DeviceFilter.everything + [
                RuntimeSpec.DeviceCgroup(allow: false, type: "c", major: 1, minor: 5, access: "r")
            ], ["exec 3>/dev/zero", "exec 3</dev/kmsg"], true
        ),
        (
            DeviceFilter.everything + [
                RuntimeSpec.DeviceCgroup(allow: false, type: "c", major: 1, minor: 5, access: "r")
            ], ["exec 3<>/dev/zero", "exec 3</dev/zero"], false
        ),
        ([], ["exec 3</dev/null"], false),
    ])
    func filtersDevices(rules: [RuntimeSpec.DeviceCgroup], commands: [String], allowed: Bool) throws {
        let host = try Host()
        let group = try host.container()
        // First another program, so that the replacement counts.
        _ = try group.create(RuntimeSpec.Resources(devices: allowed ? [] : DeviceFilter.everything))
        _ = try group.update(RuntimeSpec.Resources(devices: rules))
        for command in commands {
            let (process, input) = try start("(" + command + ") || exit 1", in: group)
            try input.fileHandleForWriting.write(contentsOf: Data("\n".utf8))
            process.waitUntilExit()
            #expect((process.terminationStatus == 0) == allowed, "\(command)")
        }
    }

    @Test func checksDeviceRules() throws {
        for rule in [
            RuntimeSpec.DeviceCgroup(allow: true, type: "x"), RuntimeSpec.DeviceCgroup(allow: true, access: "rx"),
            RuntimeSpec.DeviceCgroup(allow: true, type: "c", major: 1 << 40),
        ] {
            #expect(throws: CgroupError.self) { try DeviceFilter.effective([rule]) }
        }
        let lines = try DeviceFilter.effective(DeviceFilter.containerDefault).map(\.legacyLine)
        #expect(lines.prefix(4) == ["a", "c *:* m", "b *:* m", "c 1:3 rwm"])
        #expect(try DeviceFilter.effective(DeviceFilter.containerDefault + DeviceFilter.everything).count == 1)
    }

    @Test func saysWhatTheHostSupports() throws {
        let host = try Host()
        let support = CgroupSupport(parent: host.parent)
        #expect(support.memoryLimit && support.pidsLimit && support.cpuQuota && support.cpuShares && support.cpuset)
        #expect(support.readBpsDevice && support.writeIOPSDevice)
        #expect(support.memorySwappiness == (host.layout.version(of: .memory) == .v1))
        #expect(!support.cpus.isEmpty && !support.mems.isEmpty)
        var resources = RuntimeSpec.Resources(memory: RuntimeSpec.Memory(limit: 1 << 30, swappiness: 10))
        let warnings = try support.discardUnsupported(&resources)
        if host.layout.version(of: .memory) == .v2 {
            #expect(warnings.count == 1)
            #expect(resources.memory?.swappiness == nil)
        } else {
            #expect(warnings.isEmpty)
            #expect(resources.memory?.swappiness == 10)
        }
        #expect(resources.memory?.limit == 1 << 30)
    }
}
