#define _GNU_SOURCE
#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clinux_confinement.h"

// The headers of the build machine may be older than the kernel that this runs on.
struct ruleset {
    uint64_t files;
    uint64_t network;
};
struct __attribute__((packed)) path_rule {
    uint64_t allowed;
    int32_t parent;
};
enum { create_ruleset = 444, add_rule = 445, restrict_self = 446, version_flag = 1, path_beneath = 1 };

int clinux_set_capabilities(uint64_t permitted) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    memset(data, 0, sizeof data);
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        data[i].permitted = data[i].effective = (uint32_t)(permitted >> (32 * i));
    }
    return (int)syscall(SYS_capset, &header, data);
}

int clinux_get_capabilities(uint64_t *permitted) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) < 0) return -1;
    *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    return 0;
}

int clinux_landlock_version(void) { return (int)syscall(create_ruleset, NULL, 0, version_flag); }

int clinux_landlock_create(uint64_t file_rights, uint64_t network_rights) {
    struct ruleset attributes = {.files = file_rights, .network = network_rights};
    size_t size = network_rights ? sizeof attributes : sizeof attributes.files;
    return (int)syscall(create_ruleset, &attributes, size, 0);
}

int clinux_landlock_allow(int ruleset, int parent, uint64_t file_rights) {
    struct path_rule rule = {.allowed = file_rights, .parent = parent};
    return (int)syscall(add_rule, ruleset, path_beneath, &rule, 0);
}

int clinux_landlock_restrict(int ruleset) { return (int)syscall(restrict_self, ruleset, 0); }
