#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clinux_reaper.h"

enum { page = 4096 };

struct range { uintptr_t start, end; };

// The program's variables: its writable segment without what is read-only after relocation (dl_iterate_phdr(3)).
static int find_variables(struct dl_phdr_info *info, size_t size, void *result) {
    (void)size;
    struct range *variables = result;
    uintptr_t constants = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + header->p_vaddr, end = start + header->p_memsz;
        if (header->p_type == PT_LOAD && header->p_flags & PF_W) *variables = (struct range){start, end};
        if (header->p_type == PT_GNU_RELRO) constants = end;
    }
    if (variables->start < constants && constants <= variables->end) variables->start = constants;
    return 1;
}

static void release(uintptr_t start, uintptr_t end, uintptr_t at_most) {
    if (start < end && end - start < at_most) madvise((void *)start, end - start, MADV_DONTNEED);
}

// Each container has a reaper, so each of its private pages counts hundreds of times. Nothing of what the setup left
// behind is looked at again.
static void release_memory(uintptr_t frame) {
    struct range variables = {0, 0};
    dl_iterate_phdr(find_variables, &variables);
    // The heap, but not its start: a static executable's thread-local storage (errno, the stack guard) is there, made
    // before anything else (glibc's __libc_setup_tls).
    uintptr_t local = (uintptr_t)&errno & ~(uintptr_t)(page - 1);
    release(local + 2 * page, (uintptr_t)sbrk(0), 64 << 20);
    // The callers' stack: there is no way back. Arguments and environment at the very top stay, ps reads them.
    release((frame & ~(uintptr_t)(page - 1)) + page, (uintptr_t)environ & ~(uintptr_t)(page - 1), 8 << 20);
    // What deeper calls have used below. Where nothing is mapped madvise says ENOMEM and goes on.
    uintptr_t below = (frame & ~(uintptr_t)(page - 1)) - 2 * page;
    release(below - (512 << 10), below, 1 << 20);
    // The variables, the C library's too: from here on only system calls are made, which use none.
    release((variables.start + page - 1) & ~(uintptr_t)(page - 1), variables.end & ~(uintptr_t)(page - 1), 16 << 20);
}

// Reaps what has ended; ends the process with the child's code when it is among it. One SIGCHLD may stand for many.
static void reap(pid_t child, int options) {
    int status;
    pid_t pid;
    int code = -1;
    while ((pid = (pid_t)syscall(SYS_wait4, -1, &status, options, NULL)) > 0 || (pid < 0 && errno == EINTR)) {
        if (pid == child) {
            code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
            options = WNOHANG;
        }
    }
    if (code >= 0) syscall(SYS_exit_group, code);
}

_Noreturn void clinux_serve_as_reaper(pid_t child) {
    sigset_t all;
    sigfillset(&all);
    release_memory((uintptr_t)__builtin_frame_address(0));
    for (;;) {
        // 8: bytes of the kernel's signal set.
        int number = (int)syscall(SYS_rt_sigtimedwait, &all, NULL, NULL, 8);
        if (number == SIGCHLD) {
            reap(child, WNOHANG);
        } else if (number > 0) {
            // Only to the process, not its group: that is what `docker kill` does. What a terminal sends (Ctrl-C, a new
            // size, Ctrl-Z) goes to the foreground group without passing here.
            syscall(SYS_kill, child, number);
        } else if (errno != EINTR) {
            // A seccomp filter that refuses the wait: no forwarding then, but no spinning either.
            reap(child, 0);
        }
    }
}
