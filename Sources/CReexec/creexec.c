#define _GNU_SOURCE
#include "creexec.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

// The command of an OCI runtime's command line, behind its global flags.
static const char *command(int argc, char **argv) {
    static const char *valued[] = {"--root", "--log", "--log-format", "--rootless", "--criu"};
    for (int index = 1; index < argc; index++) {
        if (argv[index][0] != '-') return argv[index];
        for (size_t flag = 0; flag < sizeof valued / sizeof *valued; flag++) {
            // One dash does as well as two.
            const char *name = valued[flag] + (argv[index][1] != '-');
            if (strcmp(argv[index], name) == 0) {
                index++;
                break;
            }
        }
    }
    return "";
}

__attribute__((constructor(101))) static void reexecute(int argc, char **argv, char **environment) {
    const char *name = command(argc, argv);
    if (strcmp(name, "run") != 0 && strcmp(name, "create") != 0 && strcmp(name, "exec") != 0) return;
    int own = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    if (own < 0) return;
    struct statfs status;
    int known = fstatfs(own, &status);
    close(own);
    if (known < 0 || (status.f_flags & 1 /* ST_RDONLY */)) return;
    // open_tree(OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), mount_setattr(MOUNT_ATTR_RDONLY, MS_PRIVATE); where the host
    // refuses, the program goes on as it is.
    int tree = (int)syscall(428, AT_FDCWD, "/proc/self/exe", 1 | O_CLOEXEC);
    if (tree < 0) return;
    struct { uint64_t set, clear, propagation, user_namespace; } attributes = {1, 0, 1 << 18, 0};
    if (syscall(442, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) == 0)
        syscall(SYS_execveat, tree, "", argv, environment, AT_EMPTY_PATH);
    close(tree);
}
