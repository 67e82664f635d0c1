import Glibc

/// A group of the v2 hierarchy below a container's, for some of its processes: they can be killed together, forks
/// included. No controller is enabled in it, so that they count and are limited as the container's own.
public struct CgroupSubgroup: Sendable {
    private let container: ContainerCgroup
    public let name: String

    fileprivate init(container: ContainerCgroup, name: String) {
        self.container = container
        self.name = name
    }

    private var directory: String { container.unifiedDirectory + "/" + name }

    /// For `CLONE_INTO_CGROUP`.
    public func openDirectory() throws(CgroupError) -> FileDescriptor {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ContainerCgroup.failure("open the group \(name)", errno) }
        return FileDescriptor(owning: descriptor)
    }

    /// SIGKILL to everything in the group and below (`cgroup.kill`, Linux 5.14).
    public func kill() throws(CgroupError) {
        let result = CgroupFile.write(directory + "/cgroup.kill", "1")
        guard result == 0 || result == ENOENT else { throw ContainerCgroup.failure("kill \(name)", result) }
    }

    /// Waits until the group is empty, at most `timeout` nanoseconds.
    public func awaitEnd(timeout: Int64) {
        _ = try? ContainerCgroup.wait(in: directory, for: "populated", toBe: 0, timeout)
    }

    /// Moves what still runs in the group into the container's. What forks faster than it is moved stays, after a
    /// number of rounds.
    public func releaseProcesses() {
        for _ in 0..<16 {
            let pids = (CgroupFile.read(directory + "/cgroup.procs") ?? "").split(separator: "\n")
            if pids.isEmpty { return }
            for pid in pids { _ = CgroupFile.write(container.unifiedDirectory + "/cgroup.procs", String(pid)) }
        }
    }

    /// Removes the group if it is empty; otherwise it goes with the container's.
    public func remove() { rmdir(directory) }
}

extension ContainerCgroup {
    /// Makes a group below this one. `name` has no `/`.
    public func makeSubgroup(_ name: String) throws(CgroupError) -> CgroupSubgroup {
        guard mkdir(unifiedDirectory + "/" + name, 0o755) == 0 || errno == EEXIST else {
            throw Self.failure("make the group \(name)", errno)
        }
        return CgroupSubgroup(container: self, name: name)
    }
}
