#pragma once
#include <sys/types.h>

// The reaper's life: gives its memory back, then forwards every signal to `child`, reaps everything, and ends with
// child's exit code (128 + n when signal n ended it). All signals are blocked by the caller.
//
// In C because the heap is gone: Swift's runtime keeps type metadata there, and whether compiled Swift code looks at it
// depends on the optimiser.
_Noreturn void clinux_serve_as_reaper(pid_t child);
