import CLinux
import Glibc
import LinuxKernel
import OCI

/// A container's cgroup as systemd makes it: a scope in a slice, delegated to the runtime (systemd's
/// docs/CGROUP_DELEGATION).
struct SystemdScope {
    let unit: String
    let slice: String

    init(unit: String, slice: String) {
        self.unit = unit
        self.slice = slice
    }

    /// `cgroupsPath` in the form that callers of `--systemd-cgroup` use: `slice:prefix:name`.
    init(cgroupsPath: String, id: String) throws(CommandError) {
        let text = cgroupsPath.isEmpty ? "::\(id)" : cgroupsPath
        let parts = text.split(byte: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, !parts[2].isEmpty else {
            throw CommandError(
                "with the systemd cgroup driver cgroupsPath has the form slice:prefix:name, not \(cgroupsPath)")
        }
        slice = parts[0].isEmpty ? "system.slice" : parts[0]
        let name = parts[1].isEmpty ? parts[2] : "\(parts[1])-\(parts[2])"
        unit = name.hasSuffix(".slice") ? name : "\(name).scope"
        guard slice.hasSuffix(".slice"), !(slice + unit).contains("/"), !slice.contains("--") else {
            throw CommandError("\(slice) is not the name of a slice, or \(unit) not that of a scope")
        }
    }

    /// Below the hierarchy: `a-b.slice` lies in `a.slice` (systemd.slice(5)).
    var path: String {
        if slice == "-.slice" { return "/\(unit)" }
        var path = ""
        var prefix = ""
        for part in slice.dropLast(6).split(separator: "-") {
            prefix += prefix.isEmpty ? part : "-\(part)"
            path += "/\(prefix).slice"
        }
        return "\(path)/\(unit)"
    }

    /// Has systemd make the scope. A scope begins with a process in it: a child of ours holds the place until the
    /// container's first process has been cloned into the cgroup.
    func start(id: String, annotations: [String: String]) throws(CommandError) -> PlaceHolder {
        var manager = try SystemdManager.connect()
        let holder = try PlaceHolder()
        var properties: [(String, DBusValue)] = [
            ("Description", .string("container \(id)")),
            ("Slice", .string(slice)),
            ("Delegate", .boolean(true)),
            ("DefaultDependencies", .boolean(false)),
            ("PIDs", .array("u", [.uint32(UInt32(holder.pid))])),
        ]
        for accounting in ["CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting"] {
            properties.append((accounting, .boolean(true)))
        }
        properties += try Self.properties(annotations)
        try manager.startScope(unit, properties)
        return holder
    }

    /// Tells systemd the limits that stand in the cgroup's files, so that it won't write others over them.
    func adopt(_ cgroup: ContainerCgroup) throws(CommandError) {
        guard let mountPoint = cgroup.layout.unifiedMountPoint else { return }
        func value(_ file: String) -> Substring? {
            Files.read("\(mountPoint)\(cgroup.path)/\(file)").map {
                String(decoding: $0, as: UTF8.self).prefix { $0 != "\n" }
            }
        }
        func number(_ text: Substring) -> DBusValue { .uint64(UInt64(text) ?? UInt64.max) }
        var properties: [(String, DBusValue)] = []
        for (file, name) in [
            ("memory.max", "MemoryMax"), ("memory.low", "MemoryLow"), ("memory.swap.max", "MemorySwapMax"),
            ("pids.max", "TasksMax"), ("cpu.weight", "CPUWeight"),
        ] {
            if let text = value(file) { properties.append((name, number(text))) }
        }
        if let fields = value("cpu.max")?.split(separator: " "), fields.count == 2, let period = UInt64(fields[1]) {
            let share = UInt64(fields[0]).map { DBusValue.uint64($0 * 1_000_000 / max(1, period)) }
            properties.append(("CPUQuotaPerSecUSec", share ?? .uint64(UInt64.max)))
            properties.append(("CPUQuotaPeriodUSec", .uint64(period)))
        }
        for (file, name) in [("cpuset.cpus", "AllowedCPUs"), ("cpuset.mems", "AllowedMemoryNodes")] {
            if let text = value(file), !text.isEmpty { properties.append((name, .bytes(Self.mask(text)))) }
        }
        guard !properties.isEmpty else { return }
        var manager = try SystemdManager.connect()
        try manager.set(unit, properties)
    }

    func stop() throws(CommandError) {
        var manager = try SystemdManager.connect()
        try manager.stop(unit)
    }

    /// A list as in cpuset(7) as bits, the lowest first.
    static func mask(_ list: Substring) -> [UInt8] {
        var bytes: [UInt8] = []
        for range in list.split(byte: ",") {
            let ends = range.split(separator: "-").compactMap { Int($0) }
            guard let first = ends.first, let last = ends.last, first <= last, last < 8192 else { continue }
            for bit in first...last {
                while bytes.count <= bit / 8 { bytes.append(0) }
                bytes[bit / 8] |= 1 << UInt8(bit % 8)
            }
        }
        return bytes
    }

    /// Annotations `org.systemd.property.NAME` as properties of the unit, in the text form that runc takes: a string
    /// in quotes, true, false, `uint64 N`, a number. `…Sec` becomes `…USec` in microseconds.
    static func properties(_ annotations: [String: String]) throws(CommandError) -> [(String, DBusValue)] {
        var result: [(String, DBusValue)] = []
        for (key, text) in annotations.sorted(by: { $0.key < $1.key }) where key.hasPrefix("org.systemd.property.") {
            var name = String(key.dropFirst("org.systemd.property.".count))
            guard var value = value(text) else {
                throw CommandError("the annotation \(key) has a value that can't be read: \(text)")
            }
            if name.hasSuffix("Sec"), !name.hasSuffix("USec") {
                name = String(name.dropLast(3)) + "USec"
                switch value {
                case .int32(let seconds): value = .uint64(UInt64(max(0, seconds)) * 1_000_000)
                case .uint64(let seconds): value = .uint64(seconds * 1_000_000)
                default: throw CommandError("the annotation \(key) needs a number of seconds, not \(text)")
                }
            }
            result.append((name, value))
        }
        return result
    }

    private static func value(_ text: String) -> DBusValue? {
        if text == "true" || text == "false" { return .boolean(text == "true") }
        if text.count >= 2, let quote = text.first, quote == "'" || quote == "\"", text.last == quote {
            return .string(String(text.dropFirst().dropLast()))
        }
        let words = text.split(separator: " ")
        if words.count == 2 {
            switch words[0] {
            case "uint64": return UInt64(words[1]).map { .uint64($0) }
            case "int64": return Int64(words[1]).map { .int64($0) }
            case "uint32": return UInt32(words[1]).map { .uint32($0) }
            case "int32": return Int32(words[1]).map { .int32($0) }
            default: return nil
            }
        }
        return Int32(text).map { .int32($0) }
    }
}

/// A child that does nothing but be in a cgroup; it ends with this value, or with the runtime.
struct PlaceHolder: ~Copyable {
    let pid: pid_t
    private let pidfd: FileDescriptor

    init() throws(CommandError) {
        do throws(SystemError) {
            let parent = getpid()
            switch try LinuxKernel.Process.clone([]) {
            case .child:
                _ = clinux_prctl(PR_SET_PDEATHSIG, UInt(SIGKILL), 0, 0, 0)
                while getppid() == parent { pause() }
                _exit(0)
            case .parent(let pid, let pidfd):
                self.pid = pid
                self.pidfd = pidfd
            }
        } catch {
            throw CommandError("cannot make a process for the scope: \(error)")
        }
    }

    deinit {
        try? LinuxKernel.Process.signal(pidfd: pidfd.raw, SIGKILL)
        _ = try? LinuxKernel.Process.wait(pidfd: pidfd.raw)
    }
}
