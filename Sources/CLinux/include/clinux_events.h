#pragma once
// epoll without its packed union, and glibc's memory tuning: the Swift importer sees neither.
#include <malloc.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>

static inline int clinux_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

// operation: 1 add, 2 remove, 3 change (EPOLL_CTL_*). The token comes back with every event.
static inline int clinux_epoll_ctl(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = events;
    event.data.u64 = token;
    return epoll_ctl(epoll, operation, fd, &event);
}

// At most 16 events; the timeout is in milliseconds, -1 for none.
static inline int clinux_epoll_wait(int epoll, uint64_t *tokens, uint32_t *events, int timeout) {
    struct epoll_event ready[16];
    int count = epoll_wait(epoll, ready, 16, timeout);
    for (int i = 0; i < count; i++) {
        tokens[i] = ready[i].data.u64;
        events[i] = ready[i].events;
    }
    return count;
}

static inline void clinux_malloc_trim(void) { malloc_trim(0); }

// How many heaps the C library may spread threads over: mallopt(3). Its own limit is eight for each processor.
static inline void clinux_limit_heaps(int count) { mallopt(M_ARENA_MAX, count); }
