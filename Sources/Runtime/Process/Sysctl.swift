import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// Kernel parameters of the container's own namespaces. Anything else would change the host (CVE-2022-0811).
enum Sysctl {
    private static let ipc: Set<String> = [
        "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall", "kernel/shmmax",
        "kernel/shmmni", "kernel/shm_rmid_forced",
    ]

    /// `a.b.c` or `a/b/c` as a path below /proc/sys; in the first form a slash stands for a dot in a name (sysctl(8)).
    static func path(_ name: String) -> String {
        guard let separator = name.first(where: { $0 == "." || $0 == "/" }), separator == "." else { return name }
        return String(name.map { $0 == "." ? "/" : $0 == "/" ? "." : $0 })
    }

    /// Refuses every parameter that isn't namespaced, or whose namespace the container shares with the host.
    static func validate(_ parameters: [String: String], _ namespaces: [RuntimeSpec.Namespace]) throws(StartFailure) {
        let own = Set(namespaces.map(\.type))
        for name in parameters.keys {
            let path = path(name)
            let needed: String
            if ipc.contains(path) || path.hasPrefix("fs/mqueue/") {
                needed = "ipc"
            } else if path.hasPrefix("net/") {
                needed = "network"
            } else if path == "kernel/domainname" {
                needed = "uts"
            } else if path == "kernel/hostname" {
                throw refusal(name, "use the configuration's hostname instead")
            } else {
                throw refusal(name, "it is not namespaced and would change the host")
            }
            guard own.contains(needed) else {
                throw refusal(name, "the container shares the host's \(needed) namespace")
            }
            guard !path.split(byte: "/").contains("..") else {
                throw refusal(name, "it is not a parameter's name")
            }
        }
    }

    /// A name or a clock of the container's own, without the namespace for it, would be the host's.
    static func refuseHostSettings(_ spec: RuntimeSpec) throws(StartFailure) {
        let own = Set((spec.linux?.namespaces ?? []).map(\.type))
        func refuse(_ what: String, _ namespace: String) throws(StartFailure) {
            throw StartFailure(
                stage: "config", errno: EINVAL,
                message: "\(what) needs a \(namespace) namespace: the container shares the host's")
        }
        if !own.contains("uts") {
            if !(spec.hostname ?? "").isEmpty { try refuse("a hostname", "uts") }
            if !(spec.domainname ?? "").isEmpty { try refuse("a domainname", "uts") }
        }
        if !own.contains("time"), !(spec.linux?.timeOffsets ?? [:]).isEmpty { try refuse("timeOffsets", "time") }
    }

    private static func refusal(_ name: String, _ why: String) -> StartFailure {
        StartFailure(stage: "sysctl", errno: EINVAL, message: "cannot set the sysctl \(name): \(why)")
    }

    /// Writes through the host's procfs: what is at the container's /proc can't redirect it (CVE-2025-52881).
    static func apply(_ parameters: [String: String], proc: Int32) throws(StartFailure) {
        for (name, value) in parameters.sorted(by: { $0.key < $1.key }) {
            try at("sysctl", "cannot set the sysctl \(name) to \(value)") { () throws(SystemError) in
                let file = try FileDescriptor("sys/\(path(name))", O_WRONLY, relativeTo: proc)
                try checked("write") { write(file.raw, value, value.utf8.count) }
            }
        }
    }
}
