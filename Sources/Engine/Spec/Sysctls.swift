/// Which sysctls a container may set: those that the kernel keeps per namespace (CVE-2022-0811 set
/// `kernel.core_pattern` from inside).
enum Sysctls {
    private static let ipc: Set<String> = [
        "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
        "kernel.shmmni", "kernel.shm_rmid_forced", "kernel.msg_next_id", "kernel.sem_next_id", "kernel.shm_next_id",
    ]

    /// Refuses names that are not namespaced, or whose namespace is the host's.
    static func validate(
        _ sysctls: [String: String], hostNetwork: Bool, hostIPC: Bool, hostUTS: Bool
    ) throws(EngineError) {
        for (name, value) in sysctls.sorted(by: { $0.key < $1.key }) {
            let key = canonical(name)
            guard isWellFormed(key), !value.contains("\0") else {
                throw .invalid("sysctl '\(name)' is not a valid sysctl name")
            }
            if ipc.contains(key) || key.hasPrefix("fs.mqueue.") {
                guard !hostIPC else { throw refused(name, "not allowed in the host ipc namespace") }
            } else if key.hasPrefix("net.") {
                guard !hostNetwork else { throw refused(name, "not allowed in host network namespace") }
            } else if key == "kernel.domainname" {
                guard !hostUTS else { throw refused(name, "not allowed in the host uts namespace") }
            } else {
                throw refused(name, "is not in a separate kernel namespace")
            }
        }
    }

    private static func refused(_ name: String, _ why: String) -> EngineError {
        .invalid("invalid sysctl: \"\(name)\" \(why)")
    }

    /// sysctl(8) accepts both separators; where the first one is a slash, dots are part of names.
    static func canonical(_ name: String) -> String {
        guard let first = name.first(where: { $0 == "." || $0 == "/" }), first == "/" else { return name }
        return String(name.map { $0 == "/" ? "." : $0 == "." ? "/" : $0 })
    }

    private static func isWellFormed(_ key: String) -> Bool {
        !key.isEmpty
            && key.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { part in
                !part.isEmpty && part != "/" && !part.contains("..") && !part.hasPrefix(bytes: "/")
                    && part.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
            }
    }
}
