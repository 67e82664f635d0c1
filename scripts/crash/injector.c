// Kills a process right after the N-th system call by which it changed something.
//
//   injector [--follow] PID N
//
// All threads of PID are watched; system calls that succeeded and change files, mounts, processes or sockets count,
// over all threads together. After the N-th, PID gets SIGKILL before any of its threads returns to user mode.
// With --follow the calls of PID's descendants count instead, and the one that made the call is killed.
// Prints "ready" once it watches. When the time comes it prints "killed PID SYSCALL COUNT" and ends with 0; when PID
// ends by itself or SIGTERM asks it to stop, "counted COUNT" and 3.
//
// See ptrace(2): PTRACE_SEIZE, PTRACE_O_TRACECLONE for new threads, and the FORK and VFORK options for --follow.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    long number;
    const char *name;
} mutating[] = {
#define CALL(name) {SYS_##name, #name}
    CALL(write), CALL(pwrite64), CALL(writev), CALL(pwritev), CALL(pwritev2), CALL(sendmsg), CALL(sendto),
    CALL(copy_file_range), CALL(sendfile), CALL(splice), CALL(ftruncate), CALL(truncate), CALL(fallocate),
    CALL(open), CALL(openat), CALL(openat2), CALL(creat), CALL(mkdir), CALL(mkdirat), CALL(mknod), CALL(mknodat),
    CALL(rename), CALL(renameat), CALL(renameat2), CALL(unlink), CALL(unlinkat), CALL(rmdir), CALL(link),
    CALL(linkat), CALL(symlink), CALL(symlinkat), CALL(chmod), CALL(fchmod), CALL(fchmodat), CALL(chown),
    CALL(lchown), CALL(fchown), CALL(fchownat), CALL(utimensat), CALL(setxattr), CALL(lsetxattr), CALL(fsetxattr),
    CALL(removexattr), CALL(lremovexattr), CALL(fremovexattr), CALL(bind), CALL(flock), CALL(mount), CALL(umount2),
    CALL(move_mount), CALL(fsmount), CALL(open_tree), CALL(mount_setattr), CALL(pivot_root), CALL(unshare),
    CALL(setns), CALL(clone), CALL(clone3), CALL(fork), CALL(vfork), CALL(execve), CALL(kill), CALL(tgkill),
    CALL(pidfd_send_signal), CALL(sethostname), CALL(bpf),
#undef CALL
};

static volatile sig_atomic_t asked_to_stop;

static void stop(int number) {
    (void)number;
    asked_to_stop = 1;
}

// What a thread is in the middle of, by thread id; a plain list, there are few.
static struct {
    pid_t thread, group;
    int inside;
    struct __ptrace_syscall_info entry;
} threads[1024];
static int thread_count;

static int slot_of(pid_t thread) {
    for (int i = 0; i < thread_count; i++)
        if (threads[i].thread == thread) return i;
    if (thread_count == 1024) return -1;
    // The thread group's id stands in /proc/<tid>/status.
    char path[64], line[256];
    pid_t group = thread;
    snprintf(path, sizeof path, "/proc/%d/status", thread);
    FILE *file = fopen(path, "re");
    if (file) {
        while (fgets(line, sizeof line, file))
            if (sscanf(line, "Tgid: %d", &group) == 1) break;
        fclose(file);
    }
    memset(&threads[thread_count], 0, sizeof threads[0]);
    threads[thread_count].thread = thread;
    threads[thread_count].group = group;
    return thread_count++;
}

static void forget(pid_t thread) {
    for (int i = 0; i < thread_count; i++)
        if (threads[i].thread == thread) {
            threads[i] = threads[--thread_count];
            return;
        }
}

// Whether the call changed anything: opening only when it may create, writing only to what is not an eventfd.
static const char *change(pid_t thread, const struct __ptrace_syscall_info *call) {
    const char *name = NULL;
    for (size_t i = 0; i < sizeof mutating / sizeof mutating[0]; i++)
        if ((long)call->entry.nr == mutating[i].number) name = mutating[i].name;
    if (!name) return NULL;
    switch ((long)call->entry.nr) {
    case SYS_open: return call->entry.args[1] & (O_CREAT | O_TRUNC) ? name : NULL;
    case SYS_openat: return call->entry.args[2] & (O_CREAT | O_TRUNC) ? name : NULL;
    case SYS_openat2: {
        unsigned long flags = (unsigned long)ptrace(PTRACE_PEEKDATA, thread, call->entry.args[2], 0);
        return flags & (O_CREAT | O_TRUNC) ? name : NULL;
    }
    case SYS_write: case SYS_writev: {
        char path[64], target[64] = "";
        snprintf(path, sizeof path, "/proc/%d/fd/%d", thread, (int)call->entry.args[0]);
        if (readlink(path, target, sizeof target - 1) < 0) return NULL;
        return strncmp(target, "anon_inode:", 11) == 0 ? NULL : name;
    }
    default: return name;
    }
}

static int seize_all(pid_t process, long options) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", process);
    // A thread born while the list is read is caught by a second look.
    for (int round = 0; round < 3; round++) {
        DIR *directory = opendir(path);
        if (!directory) return -1;
        struct dirent *entry;
        while ((entry = readdir(directory))) {
            pid_t thread = atoi(entry->d_name);
            if (thread <= 0) continue;
            if (ptrace(PTRACE_SEIZE, thread, 0, options) == 0) {
                slot_of(thread);
                ptrace(PTRACE_INTERRUPT, thread, 0, 0);
            }
        }
        closedir(directory);
    }
    return thread_count > 0 ? 0 : -1;
}

// Seizes the children that `process` has already, and theirs (proc(5), /proc/pid/task/tid/children).
static void seize_descendants(pid_t process, long options) {
    char path[128];
    snprintf(path, sizeof path, "/proc/%d/task", process);
    DIR *directory = opendir(path);
    if (!directory) return;
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        if (atoi(entry->d_name) <= 0) continue;
        snprintf(path, sizeof path, "/proc/%d/task/%d/children", process, atoi(entry->d_name));
        FILE *file = fopen(path, "re");
        pid_t child;
        while (file && fscanf(file, "%d", &child) == 1) {
            seize_all(child, options);
            seize_descendants(child, options);
        }
        if (file) fclose(file);
    }
    closedir(directory);
}

int main(int argc, char **argv) {
    int follow = argc > 1 && strcmp(argv[1], "--follow") == 0;
    if (argc != 3 + follow) {
        fprintf(stderr, "usage: injector [--follow] PID N\n");
        return 2;
    }
    pid_t process = atoi(argv[1 + follow]);
    long wanted = atol(argv[2 + follow]), count = 0;
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);

    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;
    if (follow) options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;
    if (seize_all(process, options)) {
        perror("ptrace");
        return 2;
    }
    if (follow) seize_descendants(process, options);
    puts("ready");
    fflush(stdout);

    int stopping = 0;
    while (1) {
        int status;
        pid_t thread = waitpid(-1, &status, __WALL);
        if (asked_to_stop && !stopping) {
            // Our own end detaches every tracee (ptrace(2)); a stopped one is resumed.
            printf("counted %ld\n", count);
            return 3;
        }
        if (thread < 0) {
            if (errno == EINTR) continue;
            printf("counted %ld\n", count);
            return 3;
        }
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            forget(thread);
            if (thread == process) {
                printf("counted %ld\n", count);
                return 3;
            }
            continue;
        }
        int slot = slot_of(thread), signal_number = WSTOPSIG(status);
        unsigned event = (unsigned)status >> 16;
        if (slot < 0) return 2;
        if (signal_number == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info;
            if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) > 0) {
                if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
                    threads[slot].entry = info;
                    threads[slot].inside = 1;
                } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && threads[slot].inside) {
                    threads[slot].inside = 0;
                    const char *name = NULL;
                    int ours = follow ? threads[slot].group != process : threads[slot].group == process;
                    if (ours && !info.exit.is_error) name = change(thread, &threads[slot].entry);
                    if (name && ++count == wanted) {
                        pid_t group = threads[slot].group;
                        kill(group, SIGKILL);
                        printf("killed %d %s %ld\n", group, name, count);
                        return 0;
                    }
                }
            }
            ptrace(PTRACE_SYSCALL, thread, 0, 0);
        } else if (event == PTRACE_EVENT_STOP) {
            // A group stop is kept; our own interrupts and new threads go on.
            if (signal_number == SIGTRAP) ptrace(PTRACE_SYSCALL, thread, 0, 0);
            else ptrace(PTRACE_LISTEN, thread, 0, 0);
        } else if (event) {
            ptrace(PTRACE_SYSCALL, thread, 0, 0);
        } else {
            ptrace(PTRACE_SYSCALL, thread, 0, signal_number);
        }
    }
}
