#pragma once
// seccomp(2) and bpf(2): glibc has no wrappers, and union bpf_attr's anonymous members are lost on the Swift importer.
// Beside them a few calls whose headers Swift's Glibc module leaves out.
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/// seccomp(SECCOMP_SET_MODE_FILTER): 0, or the listener's descriptor with SECCOMP_FILTER_FLAG_NEW_LISTENER; -1 and errno.
static inline int clinux_seccomp_load(const void *filters, uint16_t count, uint32_t flags) {
    struct sock_fprog program = {.len = count, .filter = (struct sock_filter *)filters};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

/// The name of an errno (`EPERM`), NULL for a number that is none (strerrorname_np(3) wants _GNU_SOURCE).
static inline const char *clinux_errno_name(int number) {
    extern const char *strerrorname_np(int);
    return strerrorname_np(number);
}

/// The next system call that waits for the listener's answer: 0, or -1 and errno (ENOENT: it waits no longer).
static inline int clinux_seccomp_receive(int listener, struct seccomp_notif *notification) {
    memset(notification, 0, sizeof *notification);
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, notification);
}

/// Answers that the call goes on as if no filter had stopped it.
static inline int clinux_seccomp_continue(int listener, uint64_t id) {
    struct seccomp_notif_resp answer = {.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

/// Loads a BPF_PROG_TYPE_CGROUP_DEVICE program of `count` instructions: its descriptor (close-on-exec), or -1 and errno.
static inline int clinux_bpf_load_device(const void *instructions, uint32_t count, char *log, uint32_t log_size) {
    static const char license[] = "Apache-2.0";
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = (uint64_t)(uintptr_t)instructions;
    attr.insn_cnt = count;
    attr.license = (uint64_t)(uintptr_t)license;
    if (log_size) {
        attr.log_buf = (uint64_t)(uintptr_t)log;
        attr.log_size = log_size;
        attr.log_level = 1;
    }
    memcpy(attr.prog_name, "device_rules", 13);
    return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
}

/// Attaches `program` to `cgroup`; with `replaced` >= 0 it takes that program's place atomically.
static inline int clinux_bpf_attach_device(int cgroup, int program, int replaced) {
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.target_fd = (uint32_t)cgroup;
    attr.attach_bpf_fd = (uint32_t)program;
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    if (replaced >= 0) {
        attr.attach_flags |= BPF_F_REPLACE;
        attr.replace_bpf_fd = (uint32_t)replaced;
    }
    return (int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof attr);
}

static inline int clinux_bpf_detach_device(int cgroup, int program) {
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.target_fd = (uint32_t)cgroup;
    attr.attach_bpf_fd = (uint32_t)program;
    attr.attach_type = BPF_CGROUP_DEVICE;
    return (int)syscall(SYS_bpf, BPF_PROG_DETACH, &attr, sizeof attr);
}

/// Ids of the device programs attached to `cgroup` itself: how many there are, or -1 and errno.
static inline int clinux_bpf_query_device(int cgroup, uint32_t *ids, uint32_t capacity) {
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.query.target_fd = (uint32_t)cgroup;
    attr.query.attach_type = BPF_CGROUP_DEVICE;
    attr.query.prog_ids = (uint64_t)(uintptr_t)ids;
    attr.query.prog_cnt = capacity;
    int result = (int)syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof attr);
    return result < 0 ? result : (int)attr.query.prog_cnt;
}

static inline int clinux_bpf_open_program(uint32_t id) {
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_id = id;
    return (int)syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &attr, sizeof attr);
}

/// prctl(PR_CAP_AMBIENT_CLEAR_ALL). libcap's cap_reset_ambient asks for each capability first.
static inline int clinux_clear_ambient_capabilities(void) {
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL);
}

/// prctl(PR_SET_KEEPCAPS): whether the permitted set survives a change from uid 0.
static inline int clinux_keep_capabilities(int keep) {
    return prctl(PR_SET_KEEPCAPS, (unsigned long)keep, 0UL, 0UL, 0UL);
}

/// memfd_create(2) with MFD_CLOEXEC (glibc hides it from importers without _GNU_SOURCE).
static inline int clinux_memory_file(const char *name) {
    return (int)syscall(SYS_memfd_create, name, 1U);
}
