import CLinux
import Glibc

/// Namespaces as flags of clone3(2), setns(2) and unshare(2).
public struct NamespaceSet: OptionSet, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    public static let mount = NamespaceSet(rawValue: CLINUX_CLONE_NEWNS)
    public static let cgroup = NamespaceSet(rawValue: CLINUX_CLONE_NEWCGROUP)
    public static let uts = NamespaceSet(rawValue: CLINUX_CLONE_NEWUTS)
    public static let ipc = NamespaceSet(rawValue: CLINUX_CLONE_NEWIPC)
    public static let user = NamespaceSet(rawValue: CLINUX_CLONE_NEWUSER)
    public static let pid = NamespaceSet(rawValue: CLINUX_CLONE_NEWPID)
    public static let network = NamespaceSet(rawValue: CLINUX_CLONE_NEWNET)
    public static let time = NamespaceSet(rawValue: CLINUX_CLONE_NEWTIME)
}

/// How a process ended.
public enum ExitStatus: Sendable, Equatable {
    case exited(Int32)
    case signaled(Int32)

    /// As a shell says it: the code, or 128 + the signal's number.
    public var code: Int32 {
        switch self {
        case .exited(let code): code
        case .signaled(let number): 128 + number
        }
    }
}

/// Process-wide system calls. Those that change the caller's identity or namespaces are for single-threaded programs.
public enum Process {
    /// Which side of a `clone` the caller is on.
    public enum Side: ~Copyable {
        case child
        /// The child's pid in the caller's pid namespace, and a pidfd of it.
        case parent(pid: pid_t, pidfd: FileDescriptor)
    }

    /// A copy of this process in new namespaces, born in a v2 cgroup (an open directory; -1: the caller's own).
    /// Needs Linux 5.7. Where clone3 is not there (`ENOSYS`), clone(2) stands in for it unless a cgroup is asked for.
    public static func clone(_ namespaces: NamespaceSet, intoCgroup cgroup: Int32 = -1) throws(SystemError) -> Side {
        var pidfd: Int32 = -1
        let pid = try checked("clone3") {
            let result = clinux_clone3(namespaces.rawValue, &pidfd, cgroup)
            // Docker's seccomp profile, for one, hides clone3, whose flags a filter can't see.
            return result < 0 && errno == ENOSYS && cgroup < 0 ? clinux_clone(namespaces.rawValue, &pidfd) : result
        }
        return pid == 0 ? .child : .parent(pid: pid, pidfd: FileDescriptor(owning: pidfd))
    }

    /// A copy of this process that is a child of this process's parent (CLONE_PARENT), in new namespaces.
    /// - Returns: true in the copy.
    public static func cloneSibling(_ namespaces: NamespaceSet) throws(SystemError) -> Bool {
        try checked("clone3") { clinux_clone3(namespaces.rawValue | CLINUX_CLONE_PARENT, nil, -1) } == 0
    }

    public static func unshare(_ namespaces: NamespaceSet) throws(SystemError) {
        try checked("unshare") { clinux_unshare(Int32(truncatingIfNeeded: namespaces.rawValue)) }
    }

    /// Enters the namespace (or, for a pidfd, the namespaces) that `descriptor` refers to. A pid or time namespace is
    /// entered by children only.
    public static func enter(_ descriptor: Int32, _ namespaces: NamespaceSet = []) throws(SystemError) {
        try checked("setns") { clinux_setns(descriptor, Int32(truncatingIfNeeded: namespaces.rawValue)) }
    }

    public static func openPidfd(_ pid: pid_t) throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try checked("pidfd_open \(pid)") { clinux_pidfd_open(pid, 0) })
    }

    public static func signal(pidfd: Int32, _ number: Int32) throws(SystemError) {
        try checked("pidfd_send_signal \(number)") { clinux_pidfd_send_signal(pidfd, number) }
    }

    /// Reaps the child that `pidfd` refers to. With `block` false nil means that it still runs.
    public static func wait(pidfd: Int32, block: Bool = true) throws(SystemError) -> ExitStatus? {
        var code: Int32 = 0
        var status: Int32 = 0
        try checked("waitid") { clinux_waitid_pidfd(pidfd, WEXITED | (block ? 0 : WNOHANG), &code, &status) }
        // CLD_EXITED is 1; CLD_KILLED and CLD_DUMPED carry a signal (sigaction(2)).
        return code == 0 ? nil : code == 1 ? .exited(status) : .signaled(status)
    }

    /// Whether others may trace this process and see into its /proc directory (prctl(2), PR_SET_DUMPABLE).
    public static func setDumpable(_ dumpable: Bool) throws(SystemError) {
        try checked("prctl PR_SET_DUMPABLE") { clinux_prctl(PR_SET_DUMPABLE, dumpable ? 1 : 0, 0, 0, 0) }
    }

    /// Orphaned descendants become this process's children (prctl(2), PR_SET_CHILD_SUBREAPER).
    public static func becomeSubreaper() throws(SystemError) {
        try checked("prctl PR_SET_CHILD_SUBREAPER") { clinux_prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }
    }

    /// Irrevocable: exec grants no privileges any more (prctl(2), PR_SET_NO_NEW_PRIVS).
    public static func setNoNewPrivileges() throws(SystemError) {
        try checked("prctl PR_SET_NO_NEW_PRIVS") { clinux_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }
    }

    /// Keeps the permitted capabilities over the next change of uid (prctl(2), PR_SET_KEEPCAPS).
    public static func setKeepCapabilities(_ keep: Bool) throws(SystemError) {
        try checked("prctl PR_SET_KEEPCAPS") { clinux_prctl(PR_SET_KEEPCAPS, keep ? 1 : 0, 0, 0, 0) }
    }

    /// Replaces all supplementary groups.
    public static func setGroups(_ groups: [gid_t]) throws(SystemError) {
        try checked("setgroups") { clinux_setgroups(groups.count, groups) }
    }

    /// Real, effective and saved group id.
    public static func setGroup(_ gid: gid_t) throws(SystemError) {
        try checked("setresgid \(gid)") { clinux_setresgid(gid, gid, gid) }
    }

    /// Real, effective and saved user id.
    public static func setUser(_ uid: uid_t) throws(SystemError) {
        try checked("setresuid \(uid)") { clinux_setresuid(uid, uid, uid) }
    }

    /// Default disposition for every signal and an empty mask: ignored and blocked signals survive exec.
    public static func resetSignals() { _ = clinux_reset_signals() }

    /// What `ps` shows of this process.
    public static func setTitle(_ title: String) { clinux_set_title(title) }

    /// Closes every descriptor from `first` on.
    public static func closeDescriptors(from first: Int32) throws(SystemError) {
        try checked("close_range") { clinux_close_range(UInt32(first), UInt32.max, 0) }
    }

    /// Marks every descriptor from `first` on as closed by exec.
    public static func closeOnExec(from first: Int32) throws(SystemError) {
        let flag: UInt32 = 4  // CLOSE_RANGE_CLOEXEC, linux/close_range.h
        try checked("close_range") { clinux_close_range(UInt32(first), UInt32.max, flag) }
    }

    /// The working directory as the kernel names it; not starting with `/` when it is outside the root
    /// (getcwd(2): `(unreachable)`).
    public static func workingDirectory() throws(SystemError) -> String {
        try withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) {
            buffer throws(SystemError) -> String in
            let count = try checked("getcwd") { clinux_getcwd(buffer.baseAddress!, buffer.count) }
            return String(decoding: UnsafeRawBufferPointer(buffer)[..<max(0, count - 1)], as: UTF8.self)
        }
    }

    /// Makes the directory `descriptor` the root, the old root unreachable, and `/` the working directory.
    ///
    /// pivot_root(2) with `.` for both stacks the old root on the new one, so no directory for it is needed inside.
    public static func pivotRoot(to descriptor: Int32) throws(SystemError) {
        let old = try FileDescriptor("/", clinux_o_path() | O_DIRECTORY)
        try checked("fchdir") { fchdir(descriptor) }
        try checked("pivot_root") { clinux_pivot_root(".", ".") }
        // The old root must not send its unmounting back to the host. (`.` is the new one until here.)
        try checked("fchdir") { fchdir(old.raw) }
        try checked("mount MS_SLAVE") { mount("", ".", nil, UInt(MS_SLAVE) | UInt(MS_REC), nil) }
        try Mount.detach(".")
        try checked("chdir /") { chdir("/") }
    }
}
