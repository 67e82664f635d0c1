// What the integration tests need of libc and the Swift importer hides.
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

#include <sys/types.h>

// POSIX_SPAWN_SETSID, which glibc declares under _GNU_SOURCE alone.
extern const short test_spawn_setsid;

// Makes the calling process adopt its descendants' orphans. 0, or -1 with errno.
int test_become_subreaper(void);

// Opens the master side of a new pseudo-terminal, CLOEXEC, with that many rows and columns, and writes the slave's
// path to `slave`. The descriptor, or -1 with errno.
int test_open_terminal(unsigned short rows, unsigned short columns, char *slave, size_t capacity);

// pipe2 with O_CLOEXEC. 0, or -1 with errno.
int test_open_pipe(int ends[2]);

// Changes a terminal's size. 0, or -1 with errno.
int test_resize_terminal(int descriptor, unsigned short rows, unsigned short columns);

// Exchanges two names (renameat2 with RENAME_EXCHANGE). 0, or -1 with errno.
int test_exchange(const char *one, const char *other);

// A thread that exchanges two names as fast as it can, until it is stopped.
struct test_exchanger;
struct test_exchanger *test_exchanger_start(const char *one, const char *other);
void test_exchanger_stop(struct test_exchanger *exchanger);

#endif
