#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clinux_reaper.h"

enum { page = 4096 };

static void release(uintptr_t start, uintptr_t end, uintptr_t at_most) {
    if (start < end && end - start < at_most) madvise((void *)start, end - start, MADV_DONTNEED);
}

// Each container has a reaper, so each of its private pages counts hundreds of times. Nothing of what the setup left
// behind is looked at again.
static void release_memory(uintptr_t frame) {
    // The heap, but not its start: a static executable's thread-local storage (errno, the stack guard) is there, made
    // before anything else (glibc's __libc_setup_tls).
    uintptr_t local = (uintptr_t)&errno & ~(uintptr_t)(page - 1);
    release(local + 2 * page, (uintptr_t)sbrk(0), 64 << 20);
    // The callers' stack: there is no way back. Arguments and environment at the very top stay, ps reads them.
    release((frame & ~(uintptr_t)(page - 1)) + 2 * page, (uintptr_t)environ & ~(uintptr_t)(page - 1), 8 << 20);
    // What deeper calls have used below. Where nothing is mapped madvise says ENOMEM and goes on.
    uintptr_t below = (frame & ~(uintptr_t)(page - 1)) - 2 * page;
    release(below - (512 << 10), below, 1 << 20);
}

// Reaps what has ended; ends the process with the child's code when it is among it. One SIGCHLD may stand for many.
static void reap(pid_t child, int options) {
    int status;
    pid_t pid;
    int code = -1;
    while ((pid = waitpid(-1, &status, options)) > 0 || (pid < 0 && errno == EINTR)) {
        if (pid == child) {
            code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
            options = WNOHANG;
        }
    }
    if (code >= 0) _exit(code);
}

_Noreturn void clinux_serve_as_reaper(pid_t child) {
    release_memory((uintptr_t)__builtin_frame_address(0));
    sigset_t all;
    sigfillset(&all);
    for (;;) {
        int number = sigwaitinfo(&all, NULL);
        if (number == SIGCHLD) {
            reap(child, WNOHANG);
        } else if (number > 0) {
            // Only to the process, not its group: that is what `docker kill` does. What a terminal sends (Ctrl-C, a new
            // size, Ctrl-Z) goes to the foreground group without passing here.
            kill(child, number);
        } else if (errno != EINTR) {
            // A seccomp filter that refuses the wait: no forwarding then, but no spinning either.
            reap(child, 0);
        }
    }
}
