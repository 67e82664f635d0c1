import Glibc
import OCI

/// The profile that containers get unless told otherwise.
///
/// It permits what Docker's newest default profile (github.com/moby/profiles) permits, less:
/// - `socket` compares the low 32 bits of the address family alone: the kernel reads an int, so a comparison of all
///   64 bits lets AF_ALG and AF_VSOCK through with a bit set above;
/// - i386 `socketcall` is denied (its arguments are behind a pointer, where no filter can look);
/// - x32 is not offered.
///
/// Denied by not being listed: io_uring, userfaultfd, keyctl, add_key, request_key, bpf, kexec, modules, mounts,
/// namespaces, swap, quotas, perf, and all else that the kernel gains later.
public enum SeccompProfile {
    /// Docker's name of the machine's architecture, as profile files write it.
    public static let nativeArchitecture: String = {
        #if arch(x86_64)
            return "amd64"
        #elseif arch(arm64)
            return "arm64"
        #else
            return "unknown"
        #endif
    }()

    /// The default profile, resolved for one container.
    /// - Parameters:
    ///   - capabilities: the bounding set, names in the form `CAP_SYS_ADMIN`.
    ///   - architecture: Docker's name, `amd64` or `arm64`.
    public static func dockerDefault(
        capabilities: Set<String>, kernel: KernelVersion = .running, architecture: String = nativeArchitecture
    ) -> RuntimeSpec.Seccomp {
        var rules = [allow(always)]
        if let own = ofArchitecture[architecture] { rules.append(allow(own)) }
        // Before 4.8 ptrace could be used to get around a filter (seccomp(2), "Caveats").
        if kernel >= KernelVersion(4, 8) { rules.append(allow(tracing)) }
        rules += families.map { allow(["socket"], argument(0, mask: $0.mask, equals: $0.value)) }
        rules += personalities.map {
            allow(["personality"], RuntimeSpec.SeccompArg(index: 0, value: $0, op: "SCMP_CMP_EQ"))
        }
        for (capability, names) in ofCapability.sorted(by: { $0.key < $1.key }) where capabilities.contains(capability)
        {
            rules.append(allow(names))
        }
        if !capabilities.contains("CAP_SYS_ADMIN") {
            rules.append(allow(["clone"], argument(0, mask: namespaceFlags, equals: 0)))
            // Its flags are behind a pointer; on ENOSYS libraries go on to clone.
            rules.append(
                RuntimeSpec.SeccompSyscall(names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: UInt32(ENOSYS)))
        }
        return RuntimeSpec.Seccomp(
            defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: UInt32(EPERM),
            architectures: architectures[architecture], syscalls: rules)
    }

    private static let architectures = [
        "amd64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "arm64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    ]

    /// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (clone(2)).
    private static let namespaceFlags: UInt64 = 0x7e02_0000

    /// PER_LINUX and PER_LINUX32, each with and without UNAME26, and 0xffffffff, which only asks (personality(2)).
    private static let personalities: [UInt64] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff]

    /// Address families 0 to 63 without AF_ALG (38) and AF_VSOCK (40), as few masked comparisons as do it.
    private static let families: [(mask: UInt64, value: UInt64)] = [
        (0xffff_ffe0, 0), (0xffff_fffc, 32), (0xffff_fffe, 36), (0xffff_ffff, 39), (0xffff_ffff, 41),
        (0xffff_fffe, 42), (0xffff_fffc, 44), (0xffff_fff0, 48),
    ]

    private static func allow(_ names: [String], _ argument: RuntimeSpec.SeccompArg? = nil)
        -> RuntimeSpec.SeccompSyscall
    {
        RuntimeSpec.SeccompSyscall(names: names, action: "SCMP_ACT_ALLOW", args: argument.map { [$0] })
    }

    private static func argument(_ index: UInt32, mask: UInt64, equals value: UInt64) -> RuntimeSpec.SeccompArg {
        RuntimeSpec.SeccompArg(index: index, value: mask, valueTwo: value, op: "SCMP_CMP_MASKED_EQ")
    }
}

extension SeccompProfile {
    private static func words(_ text: String) -> [String] {
        text.split(whereSeparator: \.isWhitespace).map { String($0) }
    }

    private static let tracing = ["process_vm_readv", "process_vm_writev", "ptrace"]

    private static let ofArchitecture: [String: [String]] = [
        "amd64": ["arch_prctl", "modify_ldt"],
        "arm64": [
            "arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2",
        ],
    ]

    /// What a capability in the bounding set adds.
    private static let ofCapability: [String: [String]] = [
        "CAP_BPF": ["bpf"],
        "CAP_DAC_READ_SEARCH": ["open_by_handle_at"],
        "CAP_PERFMON": ["perf_event_open"],
        "CAP_SYSLOG": ["syslog"],
        "CAP_SYS_ADMIN": words(
            """
            bpf clone clone3 fanotify_init lookup_dcookie perf_event_open quotactl quotactl_fd setdomainname
            sethostname setns syslog unshare
            fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree umount umount2
            lsm_get_self_attr lsm_list_modules lsm_set_self_attr
            """),
        "CAP_SYS_BOOT": ["reboot"],
        "CAP_SYS_CHROOT": ["chroot"],
        "CAP_SYS_MODULE": ["delete_module", "finit_module", "init_module"],
        "CAP_SYS_NICE": ["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"],
        "CAP_SYS_PACCT": ["acct"],
        "CAP_SYS_PTRACE": [
            "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
        ],
        "CAP_SYS_RAWIO": ["ioperm", "iopl"],
        "CAP_SYS_TIME": ["clock_settime", "clock_settime64", "settimeofday", "stime"],
        "CAP_SYS_TTY_CONFIG": ["vhangup"],
    ]

    /// What every container may call, by what it is for.
    private static let always: [String] = words(
        """
        \(files) \(attributes) \(descriptors) \(events) \(memory) \(processes) \(identity) \(signals) \(scheduling)
        \(clocks) \(sockets) \(interprocess) \(hostQueries)
        """)

    private static let files = """
        access chdir chmod chown chown32 creat faccessat faccessat2 fallocate fchdir fchmod fchmodat
        fchmodat2 fchown fchown32 fchownat fstat fstat64 fstatat64 fstatfs fstatfs64 ftruncate ftruncate64 futimesat
        getcwd getdents getdents64 lchown lchown32 link linkat lstat lstat64 mkdir mkdirat mknod mknodat
        name_to_handle_at newfstatat open openat openat2 readlink readlinkat rename renameat renameat2 rmdir stat
        stat64 statfs statfs64 statmount listmount statx symlink symlinkat truncate truncate64 umask unlink unlinkat
        utime utimensat utimensat_time64 utimes
        """

    private static let attributes = """
        fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr
        lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat
        """

    private static let descriptors = """
        close close_range copy_file_range dup dup2 dup3 fadvise64 fadvise64_64 fcntl fcntl64 fdatasync flock fsync
        ioctl io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit _llseek lseek
        pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64 splice
        sync sync_file_range syncfs tee vmsplice write writev
        """

    private static let events = """
        epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
        eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch _newselect poll ppoll
        ppoll_time64 pselect6 pselect6_time64 select
        """

    private static let memory = """
        brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap
        mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
        process_mrelease remap_file_pages
        """

    private static let processes = """
        execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake
        getpgid getpgrp getpid getppid get_robust_list getrusage getsid gettid get_thread_area
        landlock_add_rule landlock_create_ruleset landlock_restrict_self pidfd_open pidfd_send_signal prctl
        restart_syscall rseq seccomp setpgid set_robust_list setsid set_thread_area set_tid_address uretprobe vfork
        wait4 waitid waitpid
        """

    private static let identity = """
        capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32
        getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
        setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid
        setuid32
        """

    private static let signals = """
        kill pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
        rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd signalfd4 sigprocmask sigreturn
        tgkill tkill
        """

    private static let scheduling = """
        getcpu getpriority getrlimit ioprio_get ioprio_set prlimit64 sched_getaffinity sched_getattr sched_getparam
        sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
        sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield
        setpriority setrlimit ugetrlimit
        """

    private static let clocks = """
        adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
        clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create
        timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
        timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times
        """

    private static let sockets = """
        accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
        recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketpair
        """

    private static let interprocess = """
        ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
        mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt
        shmget
        """

    private static let hostQueries = "getrandom riscv_hwprobe sysinfo uname"
}
