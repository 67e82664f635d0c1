import CLinux
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
        try make(.user, uids: uids, gids: gids) { (pid) throws(SystemError) in
            try FileDescriptor("/proc/\(pid)/ns/user", O_RDONLY)
        }
    }

    /// A network namespace that no process is in.
    static func makeNetwork(ownedBy owner: NamespaceOwner) throws(StartFailure) -> FileDescriptor {
        switch owner {
        case .new(let maps):
            try make([.user, .network], uids: maps.uids, gids: maps.gids) { (pid) throws(SystemError) in
                try FileDescriptor("/proc/\(pid)/ns/net", O_RDONLY)
            }
        case .existing(let path):
            // There is no way back from a user namespace: a child goes.
            try ChildMaker.make([]) { () throws(StartFailure) in
                try at("network namespace", "cannot make a network namespace for \(path)") { () throws(SystemError) in
                    let user = try FileDescriptor(path, O_RDONLY)
                    let proc = try FileDescriptor("/proc/self/ns", O_RDONLY | O_DIRECTORY)
                    try LinuxKernel.Process.enter(user.raw, .user)
                    try LinuxKernel.Process.unshare(.network)
                    return try FileDescriptor("net", O_RDONLY, relativeTo: proc.raw)
                }
            }
        }
    }

    private static func make(
        _ namespaces: NamespaceSet, uids: [RuntimeSpec.IDMapping], gids: [RuntimeSpec.IDMapping],
        _ open: (pid_t) throws(SystemError) -> FileDescriptor
    ) throws(StartFailure) -> FileDescriptor {
        let side = try at("user namespace", "cannot make a user namespace") { () throws(SystemError) in
            try LinuxKernel.Process.clone(namespaces)
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
                try open(pid)
            }
        }
    }

    /// The user namespace that owns the namespace `descriptor` refers to, opened; nil where that is the caller's own.
    static func owner(of descriptor: Int32) throws(StartFailure) -> Int32? {
        try at("user namespace", "cannot find the owner of the network namespace") { () throws(SystemError) in
            // NS_GET_USERNS of linux/nsfs.h.
            let owner = FileDescriptor(owning: try checked("ioctl") { clinux_ioctl_none(descriptor, 0xB701) })
            var (own, found) = (stat(), stat())
            try checked("stat") { stat("/proc/self/ns/user", &own) }
            try checked("stat") { fstat(owner.raw, &found) }
            return own.st_ino == found.st_ino ? nil : owner.release()
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
