// What the kernel itself takes for one container: no engine can be faster.
//
//   floor LOWER SCRATCH [CGROUP]
//
// For each input line: clone3 with mount, PID, network, IPC, UTS and cgroup namespaces (into CGROUP, a v2 directory, when
// given), an overlay over LOWER with its upper directory in SCRATCH, proc, sysfs, a tmpfs on /dev, pivot_root, exec of
// /bin/true, wait, and the removal of what was made. Answers "NANOSECONDS STATUS".
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *scratch, *lower;

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void must(int failed, const char *what) {
    if (!failed) return;
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    _exit(70);
}

static void child(const char *options) {
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
    must(mount("overlay", scratch, "overlay", 0, options), "overlay");
    must(chdir(scratch), "chdir");
    must(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "proc");
    must(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL), "sysfs");
    must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755"), "dev");
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "detach");
    must(chdir("/"), "chdir /");
    must(sethostname("floor", 5), "sethostname");
    char *words[] = {"/bin/true", NULL}, *none[] = {NULL};
    execve(words[0], words, none);
    must(1, "exec");
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    lower = argv[1];
    must(mkdir(argv[2], 0700) && errno != EEXIST, argv[2]);
    char upper[4096], work[4096], root[4096], index_directory[4200], options[16384], line[16];
    snprintf(upper, sizeof upper, "%s/upper", argv[2]);
    snprintf(work, sizeof work, "%s/work", argv[2]);
    snprintf(root, sizeof root, "%s/root", argv[2]);
    snprintf(index_directory, sizeof index_directory, "%s/work", work);
    scratch = root;
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work);
    while (fgets(line, sizeof line, stdin)) {
        long long start = now();
        must(mkdir(upper, 0755) || mkdir(work, 0755) || mkdir(root, 0755), "mkdir");
        struct clone_args arguments = {
            .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
            .exit_signal = SIGCHLD,
        };
        char group[4096] = "";
        int directory = -1;
        if (argc > 3) {
            snprintf(group, sizeof group, "%s/one", argv[3]);
            must(mkdir(group, 0755), group);
            directory = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            arguments.flags |= CLONE_INTO_CGROUP;
            arguments.cgroup = (unsigned long long)directory;
        }
        pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
        must(pid < 0, "clone3");
        if (pid == 0) child(options);
        int status = 0;
        waitpid(pid, &status, 0);
        if (directory >= 0) {
            close(directory);
            while (rmdir(group) && errno == EBUSY) usleep(50);
        }
        rmdir(index_directory);
        rmdir(work);
        rmdir(upper);
        rmdir(root);
        printf("%lld %d\n", now() - start, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        fflush(stdout);
    }
    rmdir(argv[2]);
    return 0;
}
