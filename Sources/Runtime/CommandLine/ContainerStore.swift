import CLinux
import FoundationEssentials
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// What the runtime remembers of a container between commands: `<root>/<id>/state.json`, beside a copy of its
/// `config.json`. Written to a temporary file and renamed.
struct ContainerState: Codable {
    var id: String
    var pid: Int32
    /// Start time of `pid` in clock ticks since boot (proc(5), field 22 of stat): tells a reused pid from the old one.
    var startTicks: UInt64
    var bundle: String
    /// The container's own cgroup, which `delete` removes; empty where it stays in its caller's.
    var cgroupPath: String
    /// The scope that systemd made for it, and that scope's slice.
    var systemdUnit: String?
    var systemdSlice: String?
    /// Nanoseconds since the epoch.
    var created: Int64
    var noNewKeyring = false
}

enum ContainerStatus: String {
    case creating, created, running, paused, stopped
}

/// A container's directory below `--root`, locked for as long as this value lives.
struct ContainerStore: ~Copyable {
    let id: String
    let directory: String
    private let lock: FileDescriptor

    static let stateName = "state.json"
    static let specName = "config.json"
    /// FIFOs of the gate between `create` and `start`; the first is there until the start.
    static let commandName = "start.fifo"
    static let statusName = "status.fifo"

    /// Ids become file and cgroup names.
    static func validate(_ id: String) throws(CommandError) {
        let allowed = id.utf8.allSatisfy {
            ($0 >= 48 && $0 <= 57) || ($0 | 0x20 >= 97 && $0 | 0x20 <= 122) || $0 == 95 || $0 == 43 || $0 == 45
                || $0 == 46
        }
        guard !id.isEmpty, id.utf8.count <= 1024, allowed, id != ".", id != ".." else {
            throw CommandError("invalid container id \"\(id)\": letters, digits and _ + - . are allowed")
        }
    }

    /// Makes the directory of a new container.
    static func create(_ id: String, root: String) throws(CommandError) -> ContainerStore {
        try validate(id)
        makeDirectories(root)
        let directory = "\(root)/\(id)"
        if mkdir(directory, 0o711) < 0 {
            if errno == EEXIST { throw CommandError("container with id exists: \(id)") }
            throw CommandError("cannot make \(directory): \(String(cString: strerror(errno)))")
        }
        return try locked(id, directory)
    }

    static func open(_ id: String, root: String) throws(CommandError) -> ContainerStore {
        try validate(id)
        let directory = "\(root)/\(id)"
        guard access("\(directory)/\(stateName)", F_OK) == 0 else {
            throw CommandError("container does not exist: \(id)")
        }
        return try locked(id, directory)
    }

    private init(id: String, directory: String, lock: consuming FileDescriptor) {
        self.id = id
        self.directory = directory
        self.lock = lock
    }

    private static func locked(_ id: String, _ directory: String) throws(CommandError) -> ContainerStore {
        do throws(SystemError) {
            let lock = try FileDescriptor(directory, O_RDONLY | O_DIRECTORY)
            try checked("lock \(directory)") { flock(lock.raw, LOCK_EX) }
            return ContainerStore(id: id, directory: directory, lock: lock)
        } catch {
            throw CommandError("cannot lock the container's state: \(error)")
        }
    }

    /// Others may go on; the state has been written.
    func unlock() { flock(lock.raw, LOCK_UN) }

    func readState() throws(CommandError) -> ContainerState {
        guard let bytes = Files.read("\(directory)/\(Self.stateName)") else {
            throw CommandError("container does not exist: \(id)")
        }
        do {
            return try JSONDecoder().decode(ContainerState.self, from: Data(bytes))
        } catch {
            throw CommandError("the state of \(id) is damaged: \(error)")
        }
    }

    func write(_ state: ContainerState) throws(CommandError) {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            try Files.replace("\(directory)/\(Self.stateName)", with: Array(try encoder.encode(state)))
        } catch {
            throw CommandError("cannot write the state of \(id): \(error)")
        }
    }

    func readSpec() throws(CommandError) -> RuntimeSpec {
        try SpecFile.read("\(directory)/\(Self.specName)").spec
    }

    /// Removes the directory and what the runtime put there.
    func remove() {
        for name in [Self.stateName, Self.specName, Self.commandName, Self.statusName] {
            unlink("\(directory)/\(name)")
        }
        rmdir(directory)
    }

    static func makeDirectories(_ path: String) {
        var current = ""
        for part in path.split(byte: "/") {
            current += "/\(part)"
            mkdir(current, 0o711)
        }
    }
}

extension ContainerState {
    /// What the kernel says about the container's first process.
    func status(in store: borrowing ContainerStore) -> ContainerStatus {
        guard let process = ProcessStatus(pid), process.startTicks == startTicks, !process.isZombie else {
            return .stopped
        }
        if access("\(store.directory)/\(ContainerStore.commandName)", F_OK) == 0 { return .created }
        if let cgroup = try? cgroup(), cgroup.isFrozen { return .paused }
        return .running
    }

    var scope: SystemdScope? {
        guard let systemdUnit, let systemdSlice else { return nil }
        return SystemdScope(unit: systemdUnit, slice: systemdSlice)
    }

    func cgroup() throws(CommandError) -> ContainerCgroup {
        guard !cgroupPath.isEmpty else {
            throw CommandError("container \(id) has no cgroup of its own: it was made with --cgroup-manager disabled")
        }
        do {
            return try ContainerCgroup(layout: try CgroupLayout.detect(), path: cgroupPath)
        } catch {
            throw CommandError(error.message)
        }
    }

    /// A pidfd of the first process, verified to be that very process; nil when it has gone.
    func openProcess() -> FileDescriptor? {
        guard let descriptor = try? LinuxKernel.Process.openPidfd(pid),
            let process = ProcessStatus(pid), process.startTicks == startTicks, !process.isZombie
        else { return nil }
        return descriptor
    }
}

/// Fields of `/proc/<pid>/stat` (proc(5)).
struct ProcessStatus {
    let isZombie: Bool
    let startTicks: UInt64

    init?(_ pid: pid_t) {
        guard pid > 0, let bytes = Files.read("/proc/\(pid)/stat") else { return nil }
        // The name in parentheses may hold anything, parentheses too: count from the last one.
        guard let end = bytes.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = bytes[(end + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 19, let ticks = UInt64(String(decoding: fields[19], as: UTF8.self)) else { return nil }
        isZombie = fields[0].first == UInt8(ascii: "Z") || fields[0].first == UInt8(ascii: "X")
        startTicks = ticks
    }
}

/// Compiled seccomp filters, kept below the runtime's root: compiling one takes as long as all the rest of a start.
enum CompiledFilters {
    static func filter(
        for policy: RuntimeSpec.Seccomp?, _ options: RuntimeCommandLine.GlobalOptions
    ) throws(StartFailure) -> SeccompFilter? {
        guard let policy else { return nil }
        do throws(SeccompError) {
            return try SeccompCache(directory: "\(options.root)/.seccomp").program(for: policy)
        } catch {
            throw StartFailure(stage: "seccomp", errno: EINVAL, message: error.message)
        }
    }
}

/// Small whole files.
enum Files {
    static func read(_ path: String, limit: Int = 16 << 20) -> [UInt8]? {
        guard let file = try? FileDescriptor(path, O_RDONLY) else { return nil }
        return read(file.raw, limit: limit)
    }

    static func read(_ descriptor: Int32, limit: Int = 16 << 20) -> [UInt8]? {
        var bytes: [UInt8] = []
        var status = stat()
        let expected = fstat(descriptor, &status) == 0 ? min(limit, Int(status.st_size)) : 0
        bytes.reserveCapacity(expected + 1)
        return withUnsafeTemporaryAllocation(byteCount: 16384, alignment: 8) { buffer -> [UInt8]? in
            while bytes.count <= limit {
                let count = Glibc.read(descriptor, buffer.baseAddress!, buffer.count)
                if count < 0 {
                    if errno == EINTR { continue }
                    return nil
                }
                if count == 0 { return bytes }
                bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
            return nil
        }
    }

    static func write(_ path: String, _ bytes: [UInt8], mode: mode_t = 0o600) throws(SystemError) {
        let file = try FileDescriptor(path, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        var written = 0
        while written < bytes.count {
            written += try checked("write \(path)") {
                bytes.withUnsafeBytes { Glibc.write(file.raw, $0.baseAddress! + written, $0.count - written) }
            }
        }
    }

    /// Nobody ever reads half of it.
    static func replace(_ path: String, with bytes: [UInt8]) throws(SystemError) {
        let temporary = "\(path).tmp"
        try write(temporary, bytes)
        try checked("rename \(path)") { rename(temporary, path) }
    }
}

/// A bundle's `config.json`.
enum SpecFile {
    static func read(_ path: String) throws(CommandError) -> (spec: RuntimeSpec, bytes: [UInt8]) {
        guard let bytes = Files.read(path) else {
            throw CommandError("cannot read \(path): \(String(cString: strerror(errno)))")
        }
        do {
            return (try JSONDecoder().decode(RuntimeSpec.self, from: Data(bytes)), bytes)
        } catch {
            throw CommandError("\(path) is not a runtime configuration: \(error)")
        }
    }
}
