// Runs commands one after another and says how long each took, so that every contender is started by the same few
// instructions, in whatever namespaces this process was put.
//
// Each input line is a command, its words separated by the byte 0x1f. Each answer is "NANOSECONDS STATUS".
// The commands' input and output are /dev/null; their errors go to ours.
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(void) {
    char *line = NULL;
    size_t capacity = 0;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    while (getline(&line, &capacity, stdin) > 0) {
        char *words[128];
        int count = 0;
        line[strcspn(line, "\n")] = 0;
        for (char *word = strtok(line, "\x1f"); word && count < 127; word = strtok(NULL, "\x1f")) words[count++] = word;
        words[count] = NULL;
        pid_t child;
        int status = 0;
        long long start = now();
        int error = posix_spawnp(&child, words[0], &actions, NULL, words, environ);
        if (error) {
            fprintf(stderr, "%s: %s\n", words[0], strerror(error));
            printf("0 127\n");
        } else {
            waitpid(child, &status, 0);
            long long took = now() - start;
            printf("%lld %d\n", took, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        }
        fflush(stdout);
    }
    return 0;
}
