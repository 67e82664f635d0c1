#pragma once
// Giving up privileges for good: capset(2), landlock(7).
#include <stdint.h>

// Sets permitted and effective of the calling thread to the given bits, inheritable to none.
int clinux_set_capabilities(uint64_t permitted);
// The permitted set of the calling thread.
int clinux_get_capabilities(uint64_t *permitted);

// LANDLOCK_CREATE_RULESET_VERSION: the kernel's Landlock ABI, or -1.
int clinux_landlock_version(void);
// A ruleset that handles the given rights: its descriptor (close-on-exec). Rights that the ABI lacks are an error.
int clinux_landlock_create(uint64_t file_rights, uint64_t network_rights);
// Allows rights at and below the file or directory that `parent` refers to.
int clinux_landlock_allow(int ruleset, int parent, uint64_t file_rights);
// Confines the calling thread. Needs no-new-privileges or CAP_SYS_ADMIN.
int clinux_landlock_restrict(int ruleset);
