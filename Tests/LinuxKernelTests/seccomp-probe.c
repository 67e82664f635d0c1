// Loads the seccomp program in the file argv[1], then makes the system calls that the other arguments name and prints
// for each its result or -errno. An argument is ABI:NUMBER[:ARG…], ABI being 64 (syscall) or 32 (int $0x80).
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static long call32(long number, const unsigned long *a) {
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
#else
    return -ENOSYS;
#endif
}

int main(int argc, char **argv) {
    static struct sock_filter filters[4096];
    int file = open(argv[1], O_RDONLY);
    long size = file < 0 ? -1 : read(file, filters, sizeof filters);
    struct sock_fprog program = {.len = size / sizeof filters[0], .filter = filters};
    if (size <= 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) {
        perror("seccomp");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        char *rest = argv[i];
        int abi = strtol(rest, &rest, 10);
        unsigned long values[7] = {0};
        for (int n = 0; n < 7 && *rest == ':'; n++) values[n] = strtoul(rest + 1, &rest, 0);
        long result;
        if (abi == 32) {
            result = call32(values[0], values + 1);
        } else {
            result = syscall(values[0], values[1], values[2], values[3], values[4], values[5], values[6]);
            if (result < 0) result = -errno;
        }
        printf("%ld\n", result);
    }
    fflush(stdout);
    return 0;
}
