#pragma once
// Wrappers for system calls and macros that glibc 2.36 lacks or that the Swift importer cannot see (variadic functions,
// casts in macros). Each returns what the kernel returned, -1 with errno set on failure.
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/types.h>

#include "clinux_confinement.h"
#include "clinux_files.h"
#include "clinux_netlink.h"

// Processes and namespaces.

// struct clone_args of clone3(2), version 2 (with cgroup).
struct clinux_clone_args {
    uint64_t flags;
    uint64_t pidfd;
    uint64_t child_tid;
    uint64_t parent_tid;
    uint64_t exit_signal;
    uint64_t stack;
    uint64_t stack_size;
    uint64_t tls;
    uint64_t set_tid;
    uint64_t set_tid_size;
    uint64_t cgroup;
};

static const uint64_t CLINUX_CLONE_NEWTIME = 0x00000080;
static const uint64_t CLINUX_CLONE_PIDFD = 0x00001000;
static const uint64_t CLINUX_CLONE_PARENT = 0x00008000;
static const uint64_t CLINUX_CLONE_NEWNS = 0x00020000;
static const uint64_t CLINUX_CLONE_NEWCGROUP = 0x02000000;
static const uint64_t CLINUX_CLONE_NEWUTS = 0x04000000;
static const uint64_t CLINUX_CLONE_NEWIPC = 0x08000000;
static const uint64_t CLINUX_CLONE_NEWUSER = 0x10000000;
static const uint64_t CLINUX_CLONE_NEWPID = 0x20000000;
static const uint64_t CLINUX_CLONE_NEWNET = 0x40000000;
static const uint64_t CLINUX_CLONE_INTO_CGROUP = 0x200000000ULL;

// Without CLONE_VM the child is a copy that returns here too, as after fork. Safe in single-threaded programs only:
// glibc's fork handlers and its cached thread id are not run.
pid_t clinux_clone3(uint64_t flags, int *pidfd, int cgroup);

// clone(2) with its kernel's argument order on x86-64 and arm64, for kernels and filters without clone3.
pid_t clinux_clone(uint64_t flags, int *pidfd);

pid_t clinux_gettid(void);
// Replaces what /proc/<pid>/cmdline and comm show of this process, as far as there is room.
void clinux_set_title(const char *title);
int clinux_setns(int fd, int flags);
int clinux_unshare(int flags);
int clinux_pidfd_open(pid_t pid, unsigned flags);
int clinux_pidfd_send_signal(int pidfd, int sig);
int clinux_close_range(unsigned first, unsigned last, unsigned flags);
// waitid(P_PIDFD). On success *code is CLD_EXITED, CLD_KILLED or CLD_DUMPED (0: WNOHANG and still running) and *status
// the exit code or signal.
int clinux_waitid_pidfd(int pidfd, int options, int *code, int *status);
int clinux_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
int clinux_pivot_root(const char *new_root, const char *put_old);
// The raw calls change this thread only; glibc's would signal the other threads, of which there are none.
int clinux_setresuid(uid_t r, uid_t e, uid_t s);
int clinux_setresgid(gid_t r, gid_t e, gid_t s);
int clinux_setgroups(size_t count, const gid_t *groups);
// The calling thread's filesystem ids (setfsuid(2)), with its effective capabilities kept, some of which the kernel takes
// from whom isn't root.
int clinux_set_filesystem_ids(uid_t uid, gid_t gid);
int clinux_prlimit(int resource, const struct rlimit *new_limit, struct rlimit *old_limit);
int clinux_personality(unsigned long persona);
// getcwd(2) itself: the kernel answers "(unreachable)/…" for a directory outside the root, which glibc hides.
long clinux_getcwd(char *buffer, size_t size);
long clinux_join_session_keyring(const char *name);
int clinux_keyctl_setperm(int key, unsigned perm);
int clinux_keyctl_describe(int key, char *buffer, size_t size);
int clinux_ioprio_set(int which, int who, int value);
struct clinux_sched_attr {
    uint32_t size;
    uint32_t sched_policy;
    uint64_t sched_flags;
    int32_t sched_nice;
    uint32_t sched_priority;
    uint64_t sched_runtime;
    uint64_t sched_deadline;
    uint64_t sched_period;
};
int clinux_sched_setattr(const struct clinux_sched_attr *attr);
int clinux_sched_setaffinity(size_t size, const void *mask);
int clinux_execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags);
int clinux_execve(const char *path, char *const argv[], char *const envp[]);
// Default disposition for every signal, empty mask.
int clinux_reset_signals(void);
// A non-blocking, close-on-exec signalfd(2), and the next signal that it has: 0 when there is none.
int clinux_signalfd(const sigset_t *mask);
int clinux_signalfd_next(int fd);
int clinux_wifexited(int status);
int clinux_wexitstatus(int status);
int clinux_wifsignaled(int status);
int clinux_wtermsig(int status);

// Mounts.

struct clinux_mount_attr {
    uint64_t attr_set;
    uint64_t attr_clr;
    uint64_t propagation;
    uint64_t userns_fd;
};

static const unsigned CLINUX_FSOPEN_CLOEXEC = 1;
static const unsigned CLINUX_FSMOUNT_CLOEXEC = 1;
static const unsigned CLINUX_FSCONFIG_SET_FLAG = 0;
static const unsigned CLINUX_FSCONFIG_SET_STRING = 1;
static const unsigned CLINUX_FSCONFIG_SET_FD = 5;
static const unsigned CLINUX_FSCONFIG_CREATE = 6;
static const unsigned CLINUX_OPEN_TREE_CLONE = 1;
static const unsigned CLINUX_MOVE_MOUNT_F_EMPTY_PATH = 0x04;
static const unsigned CLINUX_MOVE_MOUNT_T_EMPTY_PATH = 0x40;
static const unsigned CLINUX_AT_RECURSIVE = 0x8000;
static const unsigned CLINUX_AT_EMPTY_PATH = 0x1000;
static const unsigned CLINUX_AT_SYMLINK_NOFOLLOW = 0x100;
static const uint64_t CLINUX_MOUNT_ATTR_RDONLY = 0x01;
static const uint64_t CLINUX_MOUNT_ATTR_NOSUID = 0x02;
static const uint64_t CLINUX_MOUNT_ATTR_NODEV = 0x04;
static const uint64_t CLINUX_MOUNT_ATTR_NOEXEC = 0x08;
static const uint64_t CLINUX_MOUNT_ATTR__ATIME = 0x70;
static const uint64_t CLINUX_MOUNT_ATTR_NOATIME = 0x10;
static const uint64_t CLINUX_MOUNT_ATTR_STRICTATIME = 0x20;
static const uint64_t CLINUX_MOUNT_ATTR_NODIRATIME = 0x80;
static const uint64_t CLINUX_MOUNT_ATTR_IDMAP = 0x100000;
static const uint64_t CLINUX_MOUNT_ATTR_NOSYMFOLLOW = 0x200000;

int clinux_fsopen(const char *type, unsigned flags);
int clinux_fsconfig(int fd, unsigned command, const char *key, const void *value, int aux);
int clinux_fsmount(int fd, unsigned flags, unsigned attributes);
int clinux_open_tree(int dirfd, const char *path, unsigned flags);
int clinux_move_mount(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int clinux_mount_setattr(int fd, const char *path, unsigned flags,
                                       const struct clinux_mount_attr *attributes);

// Paths.

struct clinux_open_how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};
static const uint64_t CLINUX_RESOLVE_NO_XDEV = 0x01;
static const uint64_t CLINUX_RESOLVE_NO_MAGICLINKS = 0x02;
static const uint64_t CLINUX_RESOLVE_NO_SYMLINKS = 0x04;
static const uint64_t CLINUX_RESOLVE_BENEATH = 0x08;
static const uint64_t CLINUX_RESOLVE_IN_ROOT = 0x10;

int clinux_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int clinux_o_path(void);
// pipe2(2) with O_CLOEXEC.
int clinux_pipe(int ends[2]);
// dup3(2) with O_CLOEXEC.
int clinux_dup_to(int fd, int target);
int clinux_o_tmpfile(void);
dev_t clinux_makedev(unsigned major_number, unsigned minor_number);
unsigned clinux_major(dev_t device);
unsigned clinux_minor(dev_t device);

// f_type of fstatfs(2).
long clinux_filesystem_type(int fd);
// Whether the mount that the descriptor is on is read-only (fstatfs(2), ST_RDONLY).
int clinux_is_read_only(int fd);

// Terminals.

int clinux_ioctl_none(int fd, unsigned long request);
int clinux_ioctl_int(int fd, unsigned long request, int value);
int clinux_ioctl_pointer(int fd, unsigned long request, void *argument);
// Opens the other side of a pseudo-terminal without any path (linux/tty.h: TIOCGPTPEER).
int clinux_pty_peer(int master, int flags);
int clinux_pty_unlock(int master);
int clinux_pty_number(int master, int *number);
int clinux_set_window_size(int fd, unsigned short columns, unsigned short rows);
int clinux_get_window_size(int fd, unsigned short *columns, unsigned short *rows);
int clinux_set_controlling_terminal(int fd);

// Network interfaces.

// Sets IFF_UP on an interface of the caller's network namespace.
int clinux_interface_up(int socket_fd, const char *name);

// Messages with one descriptor and the sender's pid beside them.

ssize_t clinux_send_with_fd(int socket_fd, const void *data, size_t size, int fd);

// *fd is -1 unless a descriptor came (close-on-exec); further ones are closed. *pid is the sender's pid in the
// receiver's pid namespace where SO_PASSCRED is set, else 0.
ssize_t clinux_receive_with_fd(int socket_fd, void *data, size_t size, int *fd, pid_t *pid);
