"""Seccomp policies: actions, arguments, architectures, flags, the listener."""

import array
import fcntl
import json
import os
import socket
import struct
import threading

import support
from cases import case


def policy(t, *rules, default="SCMP_ACT_ALLOW", **more):
    t.linux["seccomp"] = {"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                          "syscalls": list(rules), **more}


def rule(*names, action="SCMP_ACT_ERRNO", **more):
    return {"names": list(names), "action": action, **more}


@case
def errno_default(t):
    policy(t, rule("mkdir", "mkdirat"))
    assert "not permitted" in t.sh("mkdir /made 2>&1; true")
    assert t.run("grep", "Seccomp:", "/proc/self/status").endswith("2")


@case
def errno_given(t):
    policy(t, rule("mkdir", "mkdirat", errnoRet=100))
    assert "network is down" in t.sh("mkdir /made 2>&1; true").lower()


@case
def default_errno(t):
    policy(t, rule("mkdir", "mkdirat", action="SCMP_ACT_ALLOW"), rule("mkdir", "mkdirat", errnoRet=38))
    policy(t, rule("chmod", "fchmod", "fchmodat", "fchmodat2", errnoRet=6))
    assert "no such device or address" in t.sh("chmod 700 /etc 2>&1; true").lower()


@case
def in_force_without_no_new_privileges(t):
    t.process["noNewPrivileges"] = False
    policy(t, rule("mkdir", "mkdirat"))
    assert "not permitted" in t.sh("mkdir /made 2>&1; true")
    assert t.run("grep", "NoNewPrivs", "/proc/self/status").endswith("0")


@case
def in_force_for_exec(t):
    policy(t, rule("mkdir", "mkdirat"))
    t.background()
    assert "not permitted" in t.exec("sh", "-c", "mkdir /made 2>&1; true")


@case
def kill(t):
    policy(t, rule("mkdir", "mkdirat", action="SCMP_ACT_KILL"))
    t.sh("mkdir /made; exit $?", status=128 + 31)


@case
def kill_process(t):
    policy(t, rule("mkdir", "mkdirat", action="SCMP_ACT_KILL_PROCESS"))
    t.sh("mkdir /made; exit $?", status=128 + 31)


@case
def trap_and_log(t):
    policy(t, rule("mkdir", "mkdirat", action="SCMP_ACT_TRAP"), rule("chmod", action="SCMP_ACT_LOG"))
    t.sh("chmod 700 /tmp; mkdir /made; exit $?", status=128 + 31)


@case
def arguments(t):
    policy(t, rule("personality", args=[{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}], errnoRet=95),
           rule("sched_getscheduler", args=[{"index": 0, "value": 0xf0, "valueTwo": 0x50, "op": "SCMP_CMP_MASKED_EQ"}], errnoRet=95),
           rule("getpriority", args=[{"index": 1, "value": 100, "op": "SCMP_CMP_GT"}], errnoRet=95))
    assert t.sh("probe 135 8; probe 135 0; probe 145 0x51; probe 140 0 101; probe 140 0 0").split() == \
        ["EOPNOTSUPP", "0", "EOPNOTSUPP", "EOPNOTSUPP", "20"]


@case
def unknown_calls_are_enosys(t):
    """Newer than the policy: programs must fall back, not fail."""
    policy(t, rule("read", "write", "openat", "close", "execve", "exit", "exit_group", "brk", "mmap", "munmap", "mprotect", "fstat",
                   "newfstatat", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "getrandom", "readlinkat",
                   "readlink", "uname", "futex", "ioctl", "stat", "rt_sigaction", "rt_sigprocmask", "clone", "fork", "vfork", "wait4",
                   "getpid", "getppid", "getuid", "geteuid", "getgid", "getegid", "fcntl", "dup2", "lseek", "poll", "access", "faccessat",
                   "pipe", "pipe2", "getcwd", "sigreturn", "rt_sigreturn", "capget", "capset", "prctl", "chdir", "setuid", "setgid",
                   "setgroups", "setresuid", "setresgid", "umask", "keyctl", "getdents64", "statfs", "fstatfs", "fchdir", "openat2",
                   "close_range", "nanosleep", "clock_nanosleep", "epoll_ctl", "epoll_pwait", "madvise", "tgkill", "gettid", "sendmsg",
                   "recvmsg", "fchown", "faccessat2", "sched_yield", "sched_getaffinity", "sigaltstack", "sendto", "recvfrom",
                   "unlinkat", "fchownat", "statx", "mremap", "pread64", "epoll_create1", "eventfd2", "dup3", "dup", "execveat", "setsid",
                   "waitid", "clone3", "pidfd_open", "write", "writev", "kill", "lstat", "sched_setaffinity", "seccomp", "getrlimit",
                   "timer_create", "timer_settime", "timer_delete", "restart_syscall", "epoll_wait",
                   action="SCMP_ACT_ALLOW"), default="SCMP_ACT_ERRNO")
    assert t.run("probe", "9999") == "ENOSYS"
    assert t.run("probe", "83", "0", "0") == "EPERM"


@case
def unknown_names_are_ignored(t):
    policy(t, rule("nonesuch_call", "mkdir", "mkdirat"))
    assert "not permitted" in t.sh("mkdir /made 2>&1; true")


@case
def unknown_words_are_refused(t):
    policy(t, rule("mkdir", action="SCMP_ACT_NONESUCH"))
    t.refused()
    policy(t, rule("mkdir"), default="NONESUCH")
    t.refused()


@case
def flags(t):
    for names in ([], ["SECCOMP_FILTER_FLAG_LOG"], ["SECCOMP_FILTER_FLAG_TSYNC"],
                  ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]):
        policy(t, rule("mkdir", "mkdirat"), flags=names)
        assert "not permitted" in t.sh("mkdir /made 2>&1; true")
    policy(t, rule("mkdir"), flags=["NONESUCH"])
    t.refused()


@case
def redundant_rules(t):
    """What says no more than the default does is no error."""
    policy(t, rule("bind", action="SCMP_ACT_ALLOW"), rule("mkdir", "mkdirat"))
    assert "not permitted" in t.sh("mkdir /made 2>&1; true")


@case
def hooks_of_the_container(t):
    """startContainer runs under the filter where that is loaded before; either way it runs."""
    policy(t, rule("mkdir", "mkdirat"))
    t.spec["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    t.run("true")


class Agent:
    """Takes the listener's descriptor and answers each notified call with an errno, or lets it go on."""

    RECV, SEND = 0xC0502100, 0xC0182101
    CONTINUE = 1

    def __init__(self, path, answer):
        self.answer, self.document, self.calls = answer, None, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.listener.settimeout(60)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        peer, _ = self.listener.accept()
        found = array.array("i")
        text, control, _, _ = peer.recvmsg(65536, socket.CMSG_LEN(16))
        for _, _, data in control:
            found.frombytes(data[:len(data) - len(data) % found.itemsize])
        self.document = json.loads(text)
        peer.close()
        while True:
            request = bytearray(80)
            try:
                fcntl.ioctl(found[0], self.RECV, request)
                number, pid, _, call = struct.unpack_from("QIIi", request)
                self.calls.append(call)
                error = self.answer(call)
                fcntl.ioctl(found[0], self.SEND, struct.pack("QqiI", number, 0, -error, 0 if error else self.CONTINUE))
            except OSError:
                os.close(found[0])
                return


def notifying(t, answer, *names, **more):
    policy(t, rule(*names, action="SCMP_ACT_NOTIFY"), listenerPath=t.folder + "/agent", listenerMetadata="meta data", **more)
    return Agent(t.folder + "/agent", answer)


@case
def notify(t):
    agent = notifying(t, lambda call: 95, "mkdir", "mkdirat")
    assert "not supported" in t.sh("mkdir /made 2>&1; true")
    document = agent.document
    assert document["metadata"] == "meta data" and document["fds"] == ["seccompFd"] and document["pid"] > 0
    assert document["state"]["id"] == t.id and document["state"]["status"] in ("creating", "created", "running"), document


@case
def notify_without_no_new_privileges(t):
    t.process["noNewPrivileges"] = False
    notifying(t, lambda call: 95, "mkdir", "mkdirat")
    assert "not supported" in t.sh("mkdir /made 2>&1; true")


@case
def notify_and_go_on(t):
    agent = notifying(t, lambda call: 0, "mkdir", "mkdirat")
    t.sh("mkdir /made")
    assert os.path.isdir(t.root + "/made") and agent.calls


@case
def notify_important_calls(t):
    """Calls that the runtime itself makes on the way to the program."""
    for privileged in (True, False):
        t.process["noNewPrivileges"] = not privileged
        agent = notifying(t, lambda call: 0, "execve", "openat", "read", "close", "fchdir")
        t.run("true", id=f"{t.id}-{privileged}")
        agent.listener.close()
        os.unlink(t.folder + "/agent")


@case
def notify_exec(t):
    agent = notifying(t, lambda call: 95, "mkdir", "mkdirat")
    t.background()
    assert support.eventually(lambda: agent.document)
    agent.listener.close()
    os.unlink(t.folder + "/agent")
    Agent(t.folder + "/agent", lambda call: 6)
    assert "no such device" in t.exec("sh", "-c", "mkdir /made 2>&1; true").lower()


@case
def notify_without_a_listener(t):
    policy(t, rule("mkdir", action="SCMP_ACT_NOTIFY"))
    t.process["args"] = ["true"]
    t.refused()
    policy(t, rule("mkdir", action="SCMP_ACT_NOTIFY"), listenerPath="/nonesuch/agent")
    t.refused()
    policy(t, rule("mkdir", action="SCMP_ACT_NOTIFY"), listenerPath="@nonesuch")
    t.refused()
    assert t.state() is None and not t.pids()


@case
def listener_without_a_notify(t):
    """A path that nothing would be sent to is no error."""
    policy(t, rule("mkdir", "mkdirat"), listenerPath="/nonesuch/agent")
    t.run("true")


@case
def notify_and_the_agent_dies(t):
    policy(t, rule("mkdir", "mkdirat", action="SCMP_ACT_NOTIFY"), listenerPath=t.folder + "/agent")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(t.folder + "/agent")
    listener.listen(1)

    def serve():
        peer, _ = listener.accept()
        _, control, _, _ = peer.recvmsg(65536, socket.CMSG_LEN(16))
        found = array.array("i")
        found.frombytes(control[0][2][:4])
        os.close(found[0])
        peer.close()

    threading.Thread(target=serve, daemon=True).start()
    assert "not implemented" in t.sh("mkdir /made 2>&1; true").lower()


@case(runc="1.3 does not know the flag")
def notify_wait_killable(t):
    notifying(t, lambda call: 95, "mkdir", "mkdirat", flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])
    result_text = t.sh("mkdir /made 2>&1; true")
    assert "not supported" in result_text


@case
def notify_by_default_is_refused(t):
    policy(t, default="SCMP_ACT_NOTIFY", listenerPath=t.folder + "/agent")
    t.refused()


@case
def notify_write_is_refused(t):
    """The runtime could not report any more."""
    policy(t, rule("write", action="SCMP_ACT_NOTIFY"), listenerPath=t.folder + "/agent")
    t.refused()
