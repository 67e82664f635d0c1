import CLinux
import Glibc
import LinuxKernel
import MonitorProtocol
import OCI

/// Id mappings of user namespaces (user_namespaces(7)).
enum UserNamespace {
    /// A user namespace with the given mappings that no process is in, for id-mapped mounts.
    static func make(
        uids: [RuntimeSpec.IDMapping], gids: [RuntimeSpec.IDMapping]
    ) throws(StartFailure) -> FileDescriptor {
        let side = try at("user namespace", "cannot make a user namespace") { () throws(SystemError) in
            try LinuxKernel.Process.clone(.user)
        }
        switch consume side {
        case .child:
            while true { pause() }
        case .parent(let pid, let pidfd):
            defer {
                try? LinuxKernel.Process.signal(pidfd: pidfd.raw, SIGKILL)
                _ = try? LinuxKernel.Process.wait(pidfd: pidfd.raw)
            }
            try map(pid, uids: uids, gids: gids)
            return try at("user namespace", "cannot open the user namespace") { () throws(SystemError) in
                try FileDescriptor("/proc/\(pid)/ns/user", O_RDONLY)
            }
        }
    }

    /// Writes the mappings of the new user namespace that `pid` is in.
    static func map(
        _ pid: pid_t, uids: [RuntimeSpec.IDMapping], gids: [RuntimeSpec.IDMapping]
    ) throws(StartFailure) {
        guard !uids.isEmpty, !gids.isEmpty else {
            throw StartFailure(
                stage: "user namespace", errno: EINVAL,
                message: "a new user namespace needs linux.uidMappings and linux.gidMappings")
        }
        try write(uids, to: "/proc/\(pid)/uid_map")
        try write(gids, to: "/proc/\(pid)/gid_map")
    }

    private static func write(_ mappings: [RuntimeSpec.IDMapping], to path: String) throws(StartFailure) {
        // One write for all lines: the kernel takes the map once.
        let text = mappings.map { "\($0.containerID) \($0.hostID) \($0.size)\n" }.joined()
        try at("user namespace", "cannot write the id mapping") { () throws(SystemError) in
            let file = try FileDescriptor(path, O_WRONLY)
            try checked("write \(path)") { Glibc.write(file.raw, text, text.utf8.count) }
        }
    }
}
