import CLinux
import Glibc

extension ContainerCgroup {
    /// SIGKILL to everything in the group and below, forks included (`cgroup.kill`, Linux 5.14).
    public func kill() throws(CgroupError) {
        let result = CgroupFile.write(unifiedDirectory + "/cgroup.kill", "1")
        guard result == 0 || result == ENOENT && !CgroupFile.exists(unifiedDirectory) else {
            throw Self.failure("kill \(path)", result)
        }
    }

    /// Freezes and waits until the kernel says `frozen 1`, at most `timeout` nanoseconds.
    public func freeze(timeout: Int64 = 10_000_000_000) throws(CgroupError) { try setFrozen(true, timeout) }

    public func thaw(timeout: Int64 = 10_000_000_000) throws(CgroupError) { try setFrozen(false, timeout) }

    public var isFrozen: Bool {
        Self.event("frozen", in: CgroupFile.read(unifiedDirectory + "/cgroup.events") ?? "") == 1
    }

    private func setFrozen(_ frozen: Bool, _ timeout: Int64) throws(CgroupError) {
        let verb = frozen ? "freeze" : "thaw"
        let result = CgroupFile.write(unifiedDirectory + "/cgroup.freeze", frozen ? "1" : "0")
        guard result == 0 else { throw Self.failure("\(verb) \(path)", result) }
        guard try wait(for: "frozen", toBe: frozen ? 1 : 0, timeout) else {
            if frozen { _ = CgroupFile.write(unifiedDirectory + "/cgroup.freeze", "0") }
            throw Self.failure("\(verb) \(path): a process is stuck in the kernel", ETIMEDOUT)
        }
    }

    /// Host pids in the group and below.
    public func processes() throws(CgroupError) -> [Int32] {
        var pids: [Int32] = []
        for directory in Self.descendants(unifiedDirectory) {
            guard let text = withCString(directory + "/cgroup.procs".utf8, { CgroupFile.read($0) }) else {
                // Gone meanwhile, or a threaded group, whose processes its parent lists.
                if errno == ENOENT || errno == ENODEV || errno == EOPNOTSUPP { continue }
                throw Self.failure("read the processes of \(path)", errno)
            }
            // A process of an outer pid namespace reads as 0.
            pids += text.lines.compactMap { Int32($0) }.filter { $0 > 0 }
        }
        return pids
    }

    /// Waits until the groups are empty (at most `timeout` nanoseconds, killing nothing) and removes them with
    /// those that the container made below. Absent groups are no error.
    public func remove(timeout: Int64 = 5_000_000_000) throws(CgroupError) {
        if CgroupFile.exists(unifiedDirectory), timeout > 0, try !wait(for: "populated", toBe: 0, timeout) {
            throw Self.failure("remove \(path): processes are left in it", EBUSY)
        }
        var mountPoints = Self.legacyMountPoints(layout, CgroupController.allCases)
        mountPoints.append(unified)
        var failed: CgroupError?
        for mountPoint in mountPoints {
            // The usual case: no group below.
            if rmdir(mountPoint + path) == 0 || errno == ENOENT { continue }
            for directory in Self.descendants(mountPoint + path).reversed()
            where withCString(directory, { rmdir($0) }) != 0 && errno != ENOENT {
                failed = failed ?? Self.failure("remove \(printable(directory))", errno)
            }
        }
        if let failed { throw failed }
    }

    /// `directory` and every group below it, parents first. A container names the groups that it makes, so that a path
    /// need not be text.
    static func descendants(_ directory: String) -> [[UInt8]] {
        var found = [Array(directory.utf8)]
        var next = 0
        while next < found.count {
            let parent = found[next] + [UInt8(ascii: "/")]
            found += subdirectories(found[next]).map { parent + $0 }
            next += 1
        }
        return found
    }

    /// Names of the groups in one of our own making, which are text.
    static func subdirectories(_ directory: String) -> [String] {
        subdirectories(Array(directory.utf8)).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func subdirectories(_ directory: [UInt8]) -> [[UInt8]] {
        guard let stream = withCString(directory, { opendir($0) }) else { return [] }
        defer { closedir(stream) }
        var names: [[UInt8]] = []
        while let entry = readdir(stream) {
            guard entry.pointee.d_type == UInt8(DT_DIR) else { continue }
            let name = FileNames.name(of: entry)
            if !FileNames.isDots(name) { names.append(Array(UnsafeRawBufferPointer(start: name, count: strlen(name)))) }
        }
        return names
    }

    private static func event(_ key: String, in text: String) -> Int? {
        for line in text.lines where line.hasPrefix(key + " ") {
            return Int(line.dropFirst(key.utf8.count + 1))
        }
        return nil
    }

    /// Waits for a key of `cgroup.events`; the kernel wakes pollers with POLLPRI when the file changes.
    /// - Returns: false after `timeout` nanoseconds.
    private func wait(for key: String, toBe value: Int, _ timeout: Int64) throws(CgroupError) -> Bool {
        try Self.wait(in: unifiedDirectory, for: key, toBe: value, timeout)
    }

    static func wait(
        in directory: String, for key: String, toBe value: Int, _ timeout: Int64
    ) throws(CgroupError) -> Bool {
        let file = directory + "/cgroup.events"
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return true }
            throw Self.failure("open \(file)", errno)
        }
        defer { close(descriptor) }
        let deadline = Self.monotonic() + timeout
        while true {
            var buffer = [UInt8](repeating: 0, count: 256)
            let count = pread(descriptor, &buffer, buffer.count, 0)
            // ENODEV: the group was removed by another.
            if count < 0 { return true }
            if Self.event(key, in: String(decoding: buffer[..<count], as: UTF8.self)) == value { return true }
            let left = deadline - Self.monotonic()
            guard left > 0 else { return false }
            var poller = pollfd(fd: descriptor, events: Int16(POLLPRI), revents: 0)
            _ = poll(&poller, 1, Int32(clamping: left / 1_000_000 + 1))
        }
    }

    private static func monotonic() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

extension ContainerCgroup {
    /// How many processes the kernel has killed for memory here; 0 without a memory controller. Read it once more
    /// after the container's end: v1 notifies before it kills.
    public func oomKillCount() -> UInt64 {
        guard let placement = layout.placements[.memory] else { return 0 }
        let file = placement.version == .v1 ? "memory.oom_control" : "memory.events"
        let directory = placement.mountPoint + path
        let text = CgroupFile.read(directory + "/" + file) ?? ""
        guard placement.version == .v1 else { return UInt64(Self.event("oom_kill", in: text) ?? 0) }
        // v1 counts each group for itself; a container may have made some.
        return Self.descendants(directory).reduce(0) { sum, directory in
            let text = withCString(directory + "/\(file)".utf8) { CgroupFile.read($0) }
            return sum + UInt64(Self.event("oom_kill", in: text ?? "") ?? 0)
        }
    }

    /// A descriptor that becomes readable when memory ran out; nil without a memory controller.
    public func watchOutOfMemory() throws(CgroupError) -> OutOfMemoryWatch? {
        guard let placement = layout.placements[.memory] else { return nil }
        let directory = placement.mountPoint + path
        return placement.version == .v1 ? try watchLegacy(directory) : try watchEvents(directory)
    }

    /// memory.events is modified, as inotify sees it (cgroup-v2.rst, "memory.events").
    private func watchEvents(_ directory: String) throws(CgroupError) -> OutOfMemoryWatch {
        let descriptor = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
        guard descriptor >= 0 else { throw Self.failure("watch for out of memory", errno, .memory) }
        let watch = FileDescriptor(owning: descriptor)
        guard inotify_add_watch(descriptor, directory + "/memory.events", UInt32(IN_MODIFY)) >= 0 else {
            throw Self.failure("watch memory.events of \(path)", errno, .memory)
        }
        return OutOfMemoryWatch(descriptor: watch)
    }

    /// An eventfd registered for memory.oom_control (cgroup-v1/memory.rst, "OOM Control").
    private func watchLegacy(_ directory: String) throws(CgroupError) -> OutOfMemoryWatch {
        let event = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard event >= 0 else { throw Self.failure("watch for out of memory", errno, .memory) }
        let watch = FileDescriptor(owning: event)
        let control = open(directory + "/memory.oom_control", O_RDONLY | O_CLOEXEC)
        guard control >= 0 else { throw Self.failure("open memory.oom_control of \(path)", errno, .memory) }
        defer { close(control) }
        let result = CgroupFile.write(directory + "/cgroup.event_control", "\(event) \(control)")
        guard result == 0 else { throw Self.failure("watch memory.oom_control of \(path)", result, .memory) }
        return OutOfMemoryWatch(descriptor: watch)
    }
}

/// A descriptor to poll (`EPOLLIN`) for out-of-memory events of one container. v1 also wakes it when the group goes.
public struct OutOfMemoryWatch: ~Copyable, Sendable {
    public let descriptor: FileDescriptor

    /// Reads away what is pending, so that the descriptor can be polled again.
    public func acknowledge() {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
            while read(descriptor.raw, buffer.baseAddress, buffer.count) == buffer.count {}
        }
    }
}
