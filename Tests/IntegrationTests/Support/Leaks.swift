import Glibc

/// Looks for what a daemon left on the machine, by names that are its own.
enum Leaks {
    /// What should have gone with the last container: run directories, upper directories, mounts, cgroups, processes.
    static func ofContainers(_ daemon: TestDaemon) -> [String] {
        var found: [String] = []
        // The answer to a removal may come before directories are deleted in the background.
        let gone = eventually {
            found = names(daemon.execRoot + "/containers").map { "run directory of \($0)" }
            found += names(daemon.dataRoot + "/containers").map { "data directory of \($0)" }
            found += mounts(under: daemon.directory).map { "mount \($0)" }
            found += cgroups(of: daemon).filter { $0.split(separator: "/").last?.hasPrefix("mycontainer-") == false }
                .map { "cgroup \($0)" }
            found += processes(naming: daemon.directory, but: daemon.pid).map { "process \($0)" }
            found += names(daemon.execRoot + "/netns").map { "network namespace \($0)" }
            found += links(of: daemon, ["ve", "if"]) + publishedPorts(of: daemon)
            return found.isEmpty
        }
        return gone ? [] : found
    }

    /// What should have gone with the daemon.
    static func ofDaemon(_ daemon: TestDaemon) -> [String] {
        var found: [String] = []
        if exists(daemon.socket) { found.append("the socket") }
        if exists(daemon.directory + "/pid") { found.append("the pid file") }
        found += mounts(under: daemon.directory).map { "mount \($0)" }
        found += cgroups(of: daemon).map { "cgroup \($0)" }
        found += links(of: daemon, ["br", "ve", "if"])
        if let tables = try? daemon.inside("nft", "list", "tables"), let instance = try? instance(of: daemon),
            tables.status != 0 || tables.output.contains(instance)
        {
            found.append("the firewall's table: \(tables.output)\(tables.error)")
        }
        found += processes(naming: daemon.directory, but: -1).map { "process \($0)" }
        found += ((try? host("losetup", "--noheadings", "--list", "--output", "NAME,BACK-FILE")) ?? "")
            .split(separator: "\n").filter { $0.contains(daemon.directory) }.map { "loop device \($0)" }
        return found
    }

    /// Undoes by force what `ofDaemon` may have found, so that one failure stays one.
    static func clean(_ daemon: TestDaemon) {
        for cgroup in cgroups(of: daemon).sorted(by: { $0.utf8.count > $1.utf8.count }) {
            for process in (try? readFile(cgroup + "/cgroup.procs"))?.split(separator: "\n") ?? [] {
                if let pid = pid_t(process) { kill(pid, SIGKILL) }
            }
            _ = eventually(seconds: 2) { rmdir(cgroup) == 0 || errno == ENOENT }
        }
        for process in processIDs(naming: daemon.directory) { kill(process, SIGKILL) }
        for mount in mounts(under: daemon.directory).reversed() { umount2(mount, Int32(MNT_DETACH)) }
        reapOrphans(of: daemon)
        _ = try? host("rm", "-rf", "--one-file-system", daemon.directory)
    }

    /// Reaps ended processes that came to us when their parent died. Only those that nobody here waits for.
    static func reapOrphans(of daemon: TestDaemon) {
        for task in names("/proc/self/task") {
            let children = (try? readFile("/proc/self/task/\(task)/children")) ?? ""
            for child in children.split(separator: " ").compactMap({ pid_t($0) }) {
                let name = (try? readFile("/proc/\(child)/stat"))?.split(separator: ")").first ?? ""
                if name.contains("(mycontainer-r") { waitpid(child, nil, WNOHANG) }
            }
        }
    }

    static func names(_ directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var found: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { found.append(name) }
        }
        return found.sorted()
    }

    /// The chain IDs of the layers in a daemon's store.
    static func layers(_ daemon: TestDaemon) -> [String] {
        names(daemon.dataRoot + "/layers").filter { $0.utf8.count >= 64 }
    }

    /// Mount points at or beneath `directory` in our mount namespace.
    static func mounts(under directory: String) -> [String] {
        ((try? readFile("/proc/self/mountinfo")) ?? "").split(separator: "\n").compactMap {
            let fields = $0.split(separator: " ")
            return fields.count > 4 && fields[4].hasPrefix(directory) ? String(fields[4]) : nil
        }
    }

    /// The daemon's links in its host's namespace, by their first letters and the instance id.
    private static func links(of daemon: TestDaemon, _ prefixes: [String]) -> [String] {
        guard let instance = try? instance(of: daemon) else { return [] }
        return ((try? daemon.interfaces()) ?? ["of the host can't be listed"]).filter { name in
            prefixes.contains { name.hasPrefix($0 + instance) } || name.contains(" ")
        }.map { "interface \($0)" }
    }

    /// Rules for ports that are published to nobody.
    private static func publishedPorts(of daemon: TestDaemon) -> [String] {
        guard let rules = try? daemon.inside("nft", "list", "ruleset"), rules.status == 0 else {
            return ["the host's rules can't be listed"]
        }
        return rules.lines.filter { line in ["tcp", "udp", "sctp"].contains { line.contains("\($0) . ") } }
            .map { "rule \($0)" }
    }

    /// The daemon's cgroups on every hierarchy, found by its instance id.
    static func cgroups(of daemon: TestDaemon) -> [String] {
        guard let instance = try? instance(of: daemon) else { return [] }
        return ((try? host("find", "/sys/fs/cgroup", "-type", "d", "-path", "*mycontainer-\(instance)*")) ?? "")
            .split(separator: "\n").map(String.init)
    }

    /// Eight hex digits of the data root's SHA-256, which every kernel-visible name of the daemon carries.
    static func instance(of daemon: TestDaemon) throws -> String {
        let digest = try host("sh", "-c", "printf %s \(daemon.dataRoot) | sha256sum")
        return String(digest.prefix(8))
    }

    static func processIDs(naming text: String) -> [pid_t] {
        names("/proc").compactMap { pid_t($0) }.filter { pid in
            guard pid != getpid(), let line = try? readFile("/proc/\(pid)/cmdline") else { return false }
            return line.contains(text)
        }
    }

    private static func processes(naming text: String, but daemon: pid_t) -> [String] {
        processIDs(naming: text).filter { $0 != daemon }.map { pid in
            let line = (try? readFile("/proc/\(pid)/cmdline")) ?? ""
            return "\(pid) \(line.split(separator: "\0").joined(separator: " "))"
        }
    }
}
