#pragma once
// Inline wrappers for system calls and macros that glibc lacks or that the Swift importer cannot see.
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
