import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// pause, resume, update.
struct ResourceCommands {
    let options: RuntimeCommandLine.GlobalOptions

    func pause(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let (state, status) = try find(try Flags(arguments, valued: [], boolean: []))
        guard status == .running || status == .created else {
            throw CommandError("container not running or created: \(status.rawValue)")
        }
        return try act(state) { (cgroup) throws(CgroupError) in try cgroup.freeze() }
    }

    func resume(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let (state, status) = try find(try Flags(arguments, valued: [], boolean: []))
        guard status == .paused else { throw CommandError("container not paused") }
        return try act(state) { (cgroup) throws(CgroupError) in try cgroup.thaw() }
    }

    private static let updateFlags: Set<String> = [
        "resources", "blkio-weight", "cpu-period", "cpu-quota", "cpu-burst", "cpu-share", "cpu-rt-period",
        "cpu-rt-runtime", "cpuset-cpus", "cpuset-mems", "memory", "memory-reservation", "memory-swap", "pids-limit",
        "cpu-idle", "kernel-memory", "kernel-memory-tcp", "l3-cache-schema", "mem-bw-schema",
    ]

    func update(_ arguments: ArraySlice<String>) throws(CommandError) -> Int32 {
        let flags = try Flags(arguments, valued: Self.updateFlags, boolean: [], aliases: ["r": "resources"])
        let (state, status) = try find(flags)
        guard status != .stopped else { throw CommandError("container not running") }
        let resources = try Self.resources(flags)
        return try act(state) { (cgroup) throws(CgroupError) in
            for warning in try cgroup.update(resources) { options.log.warning(warning) }
            let scope = state.scope
            do throws(CommandError) {
                try scope?.adopt(cgroup)
            } catch {
                throw CgroupError(error.message, errno: EIO)
            }
        }
    }

    private static func resources(_ flags: Flags) throws(CommandError) -> RuntimeSpec.Resources {
        var resources = RuntimeSpec.Resources()
        if let path = flags.value("resources") {
            guard let bytes = path == "-" ? Files.read(0) : Files.read(path) else {
                throw CommandError("cannot read \(path)")
            }
            do {
                resources = try JSONDecoder().decode(RuntimeSpec.Resources.self, from: Data(bytes))
            } catch {
                throw CommandError("\(path) does not describe resources: \(error)")
            }
            // As with runc: callers send the rules of the start along, and whoever added to them since keeps that.
            resources.devices = nil
        }
        if flags.value("l3-cache-schema") != nil || flags.value("mem-bw-schema") != nil {
            throw CommandError("Intel RDT is not supported: leave out --l3-cache-schema and --mem-bw-schema")
        }
        var cpu = resources.cpu ?? RuntimeSpec.CPU()
        if let value = try flags.number("cpu-period") { cpu.period = UInt64(clamping: value) }
        if let value = try flags.number("cpu-quota") { cpu.quota = Int64(value) }
        if let value = try flags.number("cpu-burst") { cpu.burst = UInt64(clamping: value) }
        if let value = try flags.number("cpu-share") { cpu.shares = UInt64(clamping: value) }
        if let value = try flags.number("cpu-rt-period") { cpu.realtimePeriod = UInt64(clamping: value) }
        if let value = try flags.number("cpu-rt-runtime") { cpu.realtimeRuntime = Int64(value) }
        if let value = try flags.number("cpu-idle") { cpu.idle = Int64(value) }
        if let value = flags.value("cpuset-cpus") { cpu.cpus = value }
        if let value = flags.value("cpuset-mems") { cpu.mems = value }
        if cpu != RuntimeSpec.CPU() { resources.cpu = cpu }
        var memory = resources.memory ?? RuntimeSpec.Memory()
        if let value = try flags.number("memory") { memory.limit = Int64(value) }
        if let value = try flags.number("memory-reservation") { memory.reservation = Int64(value) }
        if let value = try flags.number("memory-swap") { memory.swap = Int64(value) }
        if memory != RuntimeSpec.Memory() { resources.memory = memory }
        if let value = try flags.number("pids-limit") { resources.pids = RuntimeSpec.Pids(limit: Int64(value)) }
        if let value = try flags.number("blkio-weight") {
            var io = resources.blockIO ?? RuntimeSpec.BlockIO()
            io.weight = UInt16(clamping: value)
            resources.blockIO = io
        }
        return resources
    }

    private func find(_ flags: Flags) throws(CommandError) -> (ContainerState, ContainerStatus) {
        let store = try ContainerStore.open(try flags.container(), root: options.root)
        let state = try store.readState()
        return (state, state.status(in: store))
    }

    private func act(
        _ state: ContainerState, _ body: (ContainerCgroup) throws(CgroupError) -> Void
    ) throws(CommandError) -> Int32 {
        let cgroup = try state.cgroup()
        do throws(CgroupError) { try body(cgroup) } catch { throw CommandError(error.message) }
        return 0
    }
}
