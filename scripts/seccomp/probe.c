/* Tries every system call number of x86-64, x32 and i386 with hopeless arguments, then those calls whose arguments a
 * profile looks at, and says what came back: `ABI WHAT ANSWER`, where ANSWER is `ok`, a number (errno), or `ran` for
 * what doesn't come back (exit, pause). Static, and without any library call in the child.
 *
 *   cc -O2 -static -o probe probe.c && ./probe */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum abi { NATIVE, X32, I386 };
static const char *const abi_names[] = {"x86_64", "x32", "i386"};
enum { X32_BIT = 0x40000000, UNSET = 1 };

static long call64(long number, const uint64_t a[6]) {
    long result;
    register uint64_t r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall" : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static long call32(long number, const uint64_t a[6]) {
    int32_t result;
    /* The sixth argument (ebp) is left as it is. */
    __asm__ volatile("int $0x80" : "=a"(result)
                     : "a"((int32_t)number), "b"((uint32_t)a[0]), "c"((uint32_t)a[1]), "d"((uint32_t)a[2]),
                       "S"((uint32_t)a[3]), "D"((uint32_t)a[4])
                     : "r8", "r9", "r10", "r11", "memory");
    return result;
}

static volatile long *answer;

static void print(enum abi abi, const char *what, long number, const uint64_t arguments[6]) {
    *answer = UNSET;
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(1);
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_DUMPABLE, 1);
        pid_t self = getpid();
        long result = abi == I386 ? call32(number, arguments)
                                  : call64(abi == X32 ? number | X32_BIT : number, arguments);
        /* A copy that a fork made says nothing. */
        if (getpid() == self) *answer = result < 0 && result > -4096 ? result : 0;
        syscall(SYS_exit_group, 0);
    }
    /* What waits for something (pause, a signal, a child) is ended: it ran. Signals would disturb the probe: a pidfd. */
    int watch = syscall(SYS_pidfd_open, child, 0);
    struct pollfd entry = {watch, POLLIN, 0};
    int timeout = 300;
    if (watch < 0) {
        usleep(20000);
    } else {
        poll(&entry, 1, timeout);
        close(watch);
    }
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    if (*answer == UNSET)
        printf("%s %s ran\n", abi_names[abi], what);
    else if (*answer == 0)
        printf("%s %s ok\n", abi_names[abi], what);
    else
        printf("%s %s %ld\n", abi_names[abi], what, -*answer);
}

static void every(enum abi abi) {
    const uint64_t hopeless[6] = {-1, -1, -1, -1, -1, -1};
    char what[16];
    for (long number = 0; number <= 600; number++) {
        snprintf(what, sizeof what, "%ld", number);
        print(abi, what, number, hopeless);
    }
}

/* One argument of a call takes each of several values. */
static void vary(enum abi abi, const char *name, long number, int index, const uint64_t *values, int count,
                 uint64_t second, uint64_t third) {
    for (int i = 0; i < count; i++) {
        uint64_t arguments[6] = {0, second, third, 0, 0, 0};
        char what[64];
        arguments[index] = values[i];
        snprintf(what, sizeof what, "%s:%#llx", name, (unsigned long long)values[i]);
        print(abi, what, number, arguments);
    }
}

int main(void) {
    answer = mmap(NULL, sizeof *answer, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int number = 1; number < 32; number++)
        if (number != SIGCHLD && number != SIGKILL && number != SIGSTOP) signal(number, SIG_DFL);
    every(NATIVE);
    every(X32);
    every(I386);

    static const uint64_t flags[] = {SIGCHLD, CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER,
                                     CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET, 0x80, 0x110000000};
    int count = sizeof flags / sizeof *flags;
    vary(NATIVE, "clone", SYS_clone, 0, flags, count, 0, 0);
    vary(I386, "clone", 120, 0, flags, count, 0, 0);

    static const uint64_t domains[] = {0, 8, 0x20000, 0x20008, 0xffffffff, 0x40000, 0x0400000, 0x1000000, 1, 0x10, 0x100000008};
    count = sizeof domains / sizeof *domains;
    vary(NATIVE, "personality", SYS_personality, 0, domains, count, 0, 0);
    vary(I386, "personality", 136, 0, domains, count, 0, 0);

    for (int high = 0; high < 2; high++)
        for (uint64_t family = 0; family < 70; family++) {
            uint64_t value = family | (uint64_t)high << 32;
            vary(NATIVE, "socket-stream", SYS_socket, 0, &value, 1, 1, 0);
            vary(NATIVE, "socket-packet", SYS_socket, 0, &value, 1, 5, 0);
            if (!high) vary(I386, "socket-stream", 359, 0, &value, 1, 1, 0);
            if (!high) vary(I386, "socket-packet", 359, 0, &value, 1, 5, 0);
        }
    static const uint64_t subcalls[] = {1, 2, 3, 9, 20, 0};
    vary(I386, "socketcall", 102, 0, subcalls, 6, 0, 0);
    static const uint64_t ipc[] = {1, 2, 3, 11, 21, 23};
    vary(I386, "ipc", 117, 0, ipc, 6, 0, 0);
    return 0;
}
