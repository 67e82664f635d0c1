import Glibc
import LinuxKernel
import OCI

/// The wall around a process of ours that has done what takes privileges: no capability but CAP_KILL, no new ones, the
/// system calls of its remaining work, and with Landlock the files of it. All of it holds for the calling thread, for good.
enum Confinement {
    // MARK: System calls

    /// A monitor's: streams, the log, the exit record, requests, the end of processes.
    private static let monitorCalls = """
        accept accept4 access brk clock_gettime clock_nanosleep close dup epoll_create1 epoll_ctl \
        epoll_pwait epoll_wait exit exit_group faccessat faccessat2 fallocate fcntl fdatasync flock fstat \
        fsync ftruncate futex getdents64 getpid getrandom getsockopt gettid ioctl lseek lstat madvise mkdir \
        mkdirat mmap mprotect mremap munmap nanosleep newfstatat open openat pidfd_open pidfd_send_signal \
        pipe pipe2 poll ppoll pread64 pwrite64 read readv recvfrom recvmsg rename renameat renameat2 \
        restart_syscall rmdir rt_sigaction rt_sigprocmask rt_sigreturn sched_yield sendmsg sendto setsockopt \
        shutdown sigaltstack stat statx tgkill unlink unlinkat wait4 waitid write writev
        """

    /// What a monitor also needs whose log goes to a receiver, which may be restarted and is connected to again then.
    private static let forwarderCalls = monitorCalls + " connect socket"

    /// The reaper's: it waits, passes signals on and ends.
    private static let reaperCalls = """
        exit exit_group kill madvise restart_syscall rt_sigreturn rt_sigtimedwait wait4 waitid
        """

    /// Compiled once: in the zygote, whose forks have them then.
    private static let monitorFilter = filter(monitorCalls)
    private static let forwarderFilter = filter(forwarderCalls)
    private static let reaperFilter = filter(reaperCalls)

    static func prepare() { _ = (monitorFilter?.flags, forwarderFilter?.flags, reaperFilter?.flags) }

    private static func filter(_ names: String) -> SeccompFilter? {
        // Without a list of architectures: this program's own, and calls of others end it.
        try? SeccompFilter.compile(
            RuntimeSpec.Seccomp(
                defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: UInt32(EPERM),
                syscalls: [
                    RuntimeSpec.SeccompSyscall(
                        names: names.split(separator: " ").map(String.init), action: "SCMP_ACT_ALLOW")
                ]))
    }

    // MARK: Files

    /// What a monitor still works with.
    struct Places {
        /// The bundle and the log's directory: files are made, written, renamed and removed there.
        var writable: [String]
        /// The container's cgroup in each hierarchy.
        var cgroups: [String]
    }

    private static let files: Landlock.Rights = [.readFile, .writeFile, .truncate, .makeFile, .removeFile]
    private static let groups: Landlock.Rights = [
        .readFile, .readDirectory, .writeFile, .truncate, .makeDirectory, .removeDirectory,
    ]

    static func parent(of path: String) -> String {
        path.split(byte: "/").dropLast().reduce("") { "\($0)/\($1)" }
    }

    private static func wall(_ places: Places) throws(SystemError) {
        guard let wall = try Landlock.make() else { return }
        for path in places.writable { try wall.allow(path, files) }
        for path in places.cgroups {
            try wall.allow(path, groups)
            // It removes the group itself in the end. The kernel removes empty ones only.
            try wall.allow(parent(of: path), .removeDirectory)
        }
        try wall.allow("/dev/null", [.readFile, .writeFile])
        // /proc/<pid>/stat says whose child a process is.
        try wall.allow("/proc", .readFile)
        try wall.restrict()
    }

    // MARK: Applying

    /// - Parameter forwards: whether its log goes to a receiver beside the file.
    static func confineMonitor(_ places: Places, forwards: Bool = false) throws(SystemError) {
        // Local time, which syslog's messages have, is read once, from a file that is out of reach afterwards.
        if forwards { tzset() }
        try Process.setNoNewPrivileges()
        try Capabilities.keepOnly(.kill)
        try wall(places)
        if let filter = forwards ? forwarderFilter : monitorFilter { _ = try filter.load() }
    }

    /// The container's own filter, under which this runs, has to allow it: one that ends a process for it would end the
    /// container. What can't be had here isn't missed: the reaper has nothing that the container's program hasn't.
    static func confineReaper() {
        guard (try? Process.setNoNewPrivileges()) != nil else { return }
        try? Capabilities.keepOnly(.kill)
        if let reaperFilter { _ = try? reaperFilter.load() }
    }
}
