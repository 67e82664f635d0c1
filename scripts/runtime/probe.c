// Makes one system call and prints what it returned, or the errno's name: for what busybox has no word for.
//
//   probe NUMBER [ARGUMENT...]     arguments are numbers
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words) {
    long arguments[7] = {0};
    for (int index = 1; index < count && index < 8; index++) arguments[index - 1] = strtol(words[index], NULL, 0);
    long result = syscall(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5], arguments[6]);
    if (result == -1)
        printf("%s\n", strerrorname_np(errno));
    else
        printf("%ld\n", result);
    return 0;
}
