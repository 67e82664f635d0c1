#define _GNU_SOURCE
#include "test_support.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

const short test_spawn_setsid = POSIX_SPAWN_SETSID;

int test_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1); }

int test_open_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int test_resize_terminal(int descriptor, unsigned short rows, unsigned short columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return ioctl(descriptor, TIOCSWINSZ, &size);
}

int test_open_terminal(unsigned short rows, unsigned short columns, char *slave, size_t capacity) {
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0) return -1;
    if (grantpt(master) || unlockpt(master) || ptsname_r(master, slave, capacity) ||
        test_resize_terminal(master, rows, columns)) {
        close(master);
        return -1;
    }
    return master;
}
