#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_support.h"

struct test_exchanger {
    pthread_t thread;
    atomic_bool over;
    char one[4096], other[4096];
};

int test_exchange(const char *one, const char *other) {
    return renameat2(-100, one, -100, other, 2 /* RENAME_EXCHANGE */);
}

static void *exchange_on(void *argument) {
    struct test_exchanger *exchanger = argument;
    while (!atomic_load_explicit(&exchanger->over, memory_order_relaxed)) test_exchange(exchanger->one, exchanger->other);
    return NULL;
}

struct test_exchanger *test_exchanger_start(const char *one, const char *other) {
    struct test_exchanger *exchanger = calloc(1, sizeof *exchanger);
    strncpy(exchanger->one, one, sizeof exchanger->one - 1);
    strncpy(exchanger->other, other, sizeof exchanger->other - 1);
    if (pthread_create(&exchanger->thread, NULL, exchange_on, exchanger)) abort();
    return exchanger;
}

void test_exchanger_stop(struct test_exchanger *exchanger) {
    atomic_store(&exchanger->over, 1);
    pthread_join(exchanger->thread, NULL);
    free(exchanger);
}
