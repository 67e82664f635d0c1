// The system calls and macros behind clinux.h; _GNU_SOURCE stays in here, since it changes what glibc's own headers
// declare and the Swift importer holds them to one definition.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clinux.h"

pid_t clinux_clone3(uint64_t flags, int *pidfd, int cgroup) {
    struct clinux_clone_args args;
    memset(&args, 0, sizeof args);
    args.flags = flags;
    // With CLONE_PARENT the kernel takes the signal from the caller and insists on none here.
    args.exit_signal = flags & 0x00008000 ? 0 : SIGCHLD;
    if (pidfd) {
        args.flags |= 0x00001000;
        args.pidfd = (uint64_t)(uintptr_t)pidfd;
    }
    if (cgroup >= 0) {
        args.flags |= 0x200000000ULL;
        args.cgroup = (uint64_t)cgroup;
    }
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}
pid_t clinux_clone(uint64_t flags, int *pidfd) {
    if (pidfd) flags |= 0x00001000;
#if defined(__x86_64__)
    return (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, pidfd, NULL, 0UL);
#else
    return (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, pidfd, 0UL, NULL);
#endif
}
pid_t clinux_gettid(void) { return (pid_t)syscall(SYS_gettid); }
int clinux_setns(int fd, int flags) { return setns(fd, flags); }
int clinux_unshare(int flags) { return unshare(flags); }
int clinux_pidfd_open(pid_t pid, unsigned flags) { return (int)syscall(434, pid, flags); }
int clinux_pidfd_send_signal(int pidfd, int sig) { return (int)syscall(424, pidfd, sig, NULL, 0); }
int clinux_close_range(unsigned first, unsigned last, unsigned flags) {
    return (int)syscall(436, first, last, flags);
}
int clinux_waitid_pidfd(int pidfd, int options, int *code, int *status) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    int result = waitid((idtype_t)3, (id_t)pidfd, &info, options);
    if (result == 0) {
        *code = info.si_pid ? info.si_code : 0;
        *status = info.si_status;
    }
    return result;
}
int clinux_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d) {
    return prctl(option, a, b, c, d);
}
int clinux_pivot_root(const char *new_root, const char *put_old) {
    return (int)syscall(SYS_pivot_root, new_root, put_old);
}
int clinux_setresuid(uid_t r, uid_t e, uid_t s) { return (int)syscall(SYS_setresuid, r, e, s); }
int clinux_setresgid(gid_t r, gid_t e, gid_t s) { return (int)syscall(SYS_setresgid, r, e, s); }
int clinux_setgroups(size_t count, const gid_t *groups) {
    return (int)syscall(SYS_setgroups, count, groups);
}
int clinux_set_filesystem_ids(uid_t uid, gid_t gid) {
    syscall(SYS_setfsgid, gid);
    syscall(SYS_setfsuid, uid);
    // Neither says whether it was refused: an impossible id changes nothing and brings the present one back.
    if ((uid_t)syscall(SYS_setfsuid, -1) != uid || (gid_t)syscall(SYS_setfsgid, -1) != gid) {
        errno = EPERM;
        return -1;
    }
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) < 0) return -1;
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) data[i].effective = data[i].permitted;
    return (int)syscall(SYS_capset, &header, data);
}
int clinux_prlimit(int resource, const struct rlimit *new_limit, struct rlimit *old_limit) {
    return (int)syscall(SYS_prlimit64, 0, resource, new_limit, old_limit);
}
int clinux_personality(unsigned long persona) { return (int)syscall(SYS_personality, persona); }
long clinux_getcwd(char *buffer, size_t size) { return syscall(SYS_getcwd, buffer, size); }
long clinux_join_session_keyring(const char *name) { return syscall(SYS_keyctl, 1, name, 0, 0, 0); }
int clinux_keyctl_setperm(int key, unsigned perm) { return (int)syscall(SYS_keyctl, 5, key, perm, 0, 0); }
int clinux_keyctl_describe(int key, char *buffer, size_t size) {
    return (int)syscall(SYS_keyctl, 6, key, buffer, size, 0);
}
int clinux_ioprio_set(int which, int who, int value) {
    return (int)syscall(SYS_ioprio_set, which, who, value);
}
int clinux_sched_setattr(const struct clinux_sched_attr *attr) {
    return (int)syscall(SYS_sched_setattr, 0, attr, 0);
}
int clinux_sched_setaffinity(size_t size, const void *mask) {
    return (int)syscall(SYS_sched_setaffinity, 0, size, mask);
}
int clinux_execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags) {
    return (int)syscall(SYS_execveat, fd, path, argv, envp, flags);
}
int clinux_execve(const char *path, char *const argv[], char *const envp[]) {
    return execve(path, argv, envp);
}
int clinux_reset_signals(void) {
    // Ignored signals survive exec: every one that can be reset is (SIGKILL, SIGSTOP and glibc's own two refuse).
    for (int number = 1; number <= 64; number++) {
        struct { void *handler; unsigned long flags; void *restorer; unsigned long mask; } raw = {0, 0, 0, 0};
        syscall(SYS_rt_sigaction, number, &raw, NULL, 8);
    }
    unsigned long none = 0;
    return (int)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
}
int clinux_wifexited(int status) { return WIFEXITED(status); }
int clinux_wexitstatus(int status) { return WEXITSTATUS(status); }
int clinux_wifsignaled(int status) { return WIFSIGNALED(status); }
int clinux_wtermsig(int status) { return WTERMSIG(status); }
int clinux_fsopen(const char *type, unsigned flags) { return (int)syscall(430, type, flags); }
int clinux_fsconfig(int fd, unsigned command, const char *key, const void *value, int aux) {
    return (int)syscall(431, fd, command, key, value, aux);
}
int clinux_fsmount(int fd, unsigned flags, unsigned attributes) {
    return (int)syscall(432, fd, flags, attributes);
}
int clinux_open_tree(int dirfd, const char *path, unsigned flags) {
    return (int)syscall(428, dirfd, path, flags);
}
int clinux_move_mount(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    return (int)syscall(429, from_fd, from, to_fd, to, flags);
}
int clinux_mount_setattr(int fd, const char *path, unsigned flags,
                                       const struct clinux_mount_attr *attributes) {
    return (int)syscall(442, fd, path, flags, attributes, sizeof *attributes);
}
int clinux_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct clinux_open_how how = {flags, mode, resolve};
    return (int)syscall(437, dirfd, path, &how, sizeof how);
}
int clinux_o_path(void) { return O_PATH; }
int clinux_o_tmpfile(void) { return O_TMPFILE; }
dev_t clinux_makedev(unsigned major_number, unsigned minor_number) {
    return makedev(major_number, minor_number);
}
unsigned clinux_major(dev_t device) { return major(device); }
unsigned clinux_minor(dev_t device) { return minor(device); }
int clinux_ioctl_none(int fd, unsigned long request) { return ioctl(fd, request, 0); }
int clinux_ioctl_int(int fd, unsigned long request, int value) { return ioctl(fd, request, value); }
int clinux_ioctl_pointer(int fd, unsigned long request, void *argument) {
    return ioctl(fd, request, argument);
}
int clinux_pty_peer(int master, int flags) { return ioctl(master, TIOCGPTPEER, flags); }
int clinux_pty_unlock(int master) {
    int zero = 0;
    return ioctl(master, TIOCSPTLCK, &zero);
}
int clinux_pty_number(int master, int *number) { return ioctl(master, TIOCGPTN, number); }
int clinux_set_window_size(int fd, unsigned short columns, unsigned short rows) {
    struct winsize size = {rows, columns, 0, 0};
    return ioctl(fd, TIOCSWINSZ, &size);
}
int clinux_set_controlling_terminal(int fd) { return ioctl(fd, TIOCSCTTY, 0); }
int clinux_interface_up(int socket_fd, const char *name) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(socket_fd, SIOCGIFFLAGS, &request) < 0) return -1;
    request.ifr_flags |= IFF_UP;
    return ioctl(socket_fd, SIOCSIFFLAGS, &request);
}
ssize_t clinux_send_with_fd(int socket_fd, const void *data, size_t size, int fd) {
    struct iovec vector = {(void *)(uintptr_t)data, size};
    union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control;
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    if (fd >= 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return sendmsg(socket_fd, &message, MSG_NOSIGNAL);
}
ssize_t clinux_receive_with_fd(int socket_fd, void *data, size_t size, int *fd, pid_t *pid) {
    struct iovec vector = {data, size};
    union { struct cmsghdr header; char space[CMSG_SPACE(4 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))]; } control;
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof control.space;
    *fd = -1;
    *pid = 0;
    ssize_t count = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
    if (count < 0) return count;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET) continue;
        if (header->cmsg_type == SCM_RIGHTS) {
            size_t descriptors = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t index = 0; index < descriptors; index++) {
                int received;
                memcpy(&received, CMSG_DATA(header) + index * sizeof(int), sizeof received);
                if (*fd < 0) *fd = received;
                else close(received);
            }
        } else if (header->cmsg_type == SCM_CREDENTIALS) {
            struct ucred credentials;
            memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
            *pid = credentials.pid;
        }
    }
    return count;
}

long clinux_filesystem_type(int fd) {
    struct statfs status;
    return fstatfs(fd, &status) < 0 ? -1 : (long)status.f_type;
}
int clinux_is_read_only(int fd) {
    struct statfs status;
    return fstatfs(fd, &status) < 0 ? -1 : (status.f_flags & 1) != 0;
}
int clinux_dup_to(int fd, int target) { return dup3(fd, target, O_CLOEXEC); }
int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }
int clinux_get_window_size(int fd, unsigned short *columns, unsigned short *rows) {
    struct winsize size = {0, 0, 0, 0};
    int result = ioctl(fd, TIOCGWINSZ, &size);
    *columns = size.ws_col;
    *rows = size.ws_row;
    return result;
}
int clinux_signalfd(const sigset_t *mask) { return signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK); }
int clinux_signalfd_next(int fd) {
    struct signalfd_siginfo information;
    return read(fd, &information, sizeof information) == sizeof information ? (int)information.ssi_signo : 0;
}
void clinux_set_title(const char *title) {
    // The strings of argv lie next to each other, those of the environment behind them (execve in the kernel).
    char *start = program_invocation_name;
    size_t size = strlen(start) + 1;
    if (environ && environ[0] > start && environ[0] - start < 4096) size = (size_t)(environ[0] - start);
    memset(start, 0, size);
    strncpy(start, title, size - 1);
    prctl(PR_SET_NAME, title, 0, 0, 0);
}
