"""exec: another process in a running container."""

import json
import os
import subprocess

import support
from cases import case


@case
def exec_(t):
    t.background()
    assert t.exec("echo", "hello") == "hello"
    assert t.exec("cat", stdin="one\n") == "one"


@case
def exec_exit_codes(t):
    t.background()
    t.exec("false", status=1)
    t.exec("sh", "-c", "exit 42", status=42)
    t.exec("sh", "-c", "kill -KILL $$", status=137)


@case(crun="ends with 1, or with 127 and 126 as a shell does")
def exec_failures_are_255(t):
    t.background()
    t.exec("nonesuch", status=255)
    t.exec("true", status=255, flags=("--pid-file", "/nonexistent/pid"))
    t.exec("true", status=255, id="nobody")


@case
def exec_of_what_is_not_there(t):
    t.background()
    assert "not found" in t.bad("exec", t.id, "nonesuch")
    assert "no such file" in t.bad("exec", t.id, "/nonesuch").lower()


@case
def exec_of_a_script_without_its_interpreter(t):
    t.file("rootfs/script", "#!/nonesuch\n", 0o755)
    t.background()
    assert "no such file or directory" in t.bad("exec", t.id, "/script").lower()


@case
def exec_in_the_stopped(t):
    t.background()
    t.ok("kill", t.id, "KILL")
    t.becomes("stopped")
    t.bad("exec", t.id, "true")


@case
def exec_in_the_created(t):
    t.create("sleep", "1000")
    assert t.exec("echo", "early") == "early"
    assert t.status() == "created"


@case
def exec_in_the_paused(t):
    t.background()
    t.ok("pause", t.id)
    assert "paused" in t.bad("exec", t.id, "true")
    t.ok("resume", t.id)
    assert t.exec("echo", "awake") == "awake"


@case(crun="has no such flag")
def exec_ignore_paused(t):
    t.background()
    t.ok("pause", t.id)
    process = subprocess.Popen(t.command("exec", "--ignore-paused", t.id, "echo", "late"), cwd=t.folder,
                               stdout=subprocess.PIPE, text=True)
    t.ok("resume", t.id)
    assert process.communicate(timeout=60)[0] == "late\n"


@case
def exec_pid_file(t):
    t.background()
    t.exec("sleep", "1000", flags=("--detach", "--pid-file", "pid"))
    pid = support.read(t.folder + "/pid")
    assert int(pid) != t.state()["pid"] and pid in t.pids()


@case
def exec_detached(t):
    t.background()
    t.exec("sh", "-c", "echo ran >/made; sleep 1000", flags=("--detach",))
    assert support.eventually(lambda: os.path.exists(t.root + "/made"))


@case
def exec_cwd(t):
    t.background()
    assert t.exec("pwd", flags=("--cwd", "/bin")) == "/bin"
    t.bad("exec", "--cwd", "/nonesuch", t.id, "pwd")


@case
def exec_env(t):
    t.background()
    lines = t.exec("env", flags=("--env", "ONE=two", "--env", "TERM=other")).splitlines()
    assert "ONE=two" in lines and "TERM=other" in lines and "TERM=xterm" not in lines
    assert any(line.startswith("PATH=") for line in lines) and "HOME=/root" in lines


@case
def exec_user(t):
    t.background()
    assert t.exec("id", flags=("--user", "1000:1001")).startswith("uid=1000 gid=1001")
    assert t.exec("sh", "-c", "echo $HOME", flags=("--user", "1000")) == "/"


@case
def exec_user_home(t):
    t.file("rootfs/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nme:x:2000:2000:me:/home/me:/bin/sh\n")
    t.background()
    assert t.exec("sh", "-c", "echo $HOME", flags=("--user", "2000")) == "/home/me"


@case
def exec_leaves_dev_null_alone(t):
    t.background()
    with open("/dev/null") as null:
        before = os.fstat(null.fileno())
    t.exec("id", flags=("--user", "1000:1000"))
    after = os.stat("/dev/null")
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid) == (0, 0)


@case(crun="does not list the primary group")
def exec_additional_gids(t):
    t.background()
    assert t.exec("id", "-G", flags=("--user", "1000:1000", "--additional-gids", "100", "--additional-gids", "65534")) \
        == "1000 100 65534"


@case
def exec_preserve_fds(t):
    t.background()
    descriptor = os.open(t.file("secret", "from outside"), os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        assert t.exec("cat", f"/proc/self/fd/{descriptor}", flags=("--preserve-fds", str(descriptor - 2)),
                      pass_fds=[descriptor]) == "from outside"
        t.exec("cat", f"/proc/self/fd/{descriptor}", pass_fds=[descriptor], status=1)
    finally:
        os.close(descriptor)


@case
def exec_process_file(t):
    t.background()
    t.file("process.json", json.dumps({
        "args": ["sh", "-c", "id; pwd; env; ulimit -n"], "cwd": "/tmp", "user": {"uid": 5, "gid": 6, "additionalGids": [7]},
        "env": ["FOO=bar", "PATH=/bin"], "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}]}))
    lines = t.ok("exec", "--process", "process.json", t.id).splitlines()
    assert lines[0].startswith("uid=5 gid=6") and "7" in lines[0] and lines[1] == "/tmp" and lines[-1] == "64"
    assert "FOO=bar" in lines and not any(line.startswith("TERM=") for line in lines)
    assert any(line.startswith("HOME=") for line in lines)


@case
def exec_process_without_env(t):
    t.background()
    t.file("process.json", json.dumps({"args": ["/usr/bin/env"], "cwd": "/"}))
    assert "HOME=/root" in t.ok("exec", "--process", "process.json", t.id)


@case
def exec_terminal(t):
    t.background()
    assert t.exec("tty", flags=("--tty",), terminal=True) == "/dev/pts/0"
    assert t.exec("sh", "-c", "stat -c %u:%g $(tty)", flags=("--tty", "--user", "1000"), terminal=True) == "1000:5"


@case(alone="runc and crun want a terminal to be there")
def exec_terminal_without_one_outside(t):
    t.background()
    assert "/dev/pts/" in t.exec("tty", flags=("--tty",))


@case
def exec_console_socket(t):
    t.background()
    t.file("process.json", json.dumps({"terminal": True, "consoleSize": {"height": 10, "width": 110}, "cwd": "/",
                                       "args": ["sh", "-c", "stty size"], "env": ["PATH=/bin"]}))
    receiver = t.receiver()
    t.ok("exec", "--detach", "--console-socket", "sock", "--process", "process.json", t.id)
    assert receiver.text() == "10 110\n"


@case
def exec_terminal_needs_a_console_socket(t):
    t.background()
    t.bad("exec", "--tty", "--detach", t.id, "true")


@case
def exec_cap(t):
    t.background()
    wanted = f"{1 << 0 | 1 << 5 | 1 << 10 | 1 << 29:016x}"
    lines = dict(line.split(":\t") for line in t.exec("grep", "Cap", "/proc/self/status", flags=("--cap", "CAP_CHOWN")).splitlines())
    assert lines["CapEff"] == lines["CapPrm"] == lines["CapBnd"] == wanted, lines


@case
def exec_no_new_privs(t):
    t.process["noNewPrivileges"] = False
    t.background()
    assert t.exec("grep", "NoNewPrivs", "/proc/self/status").endswith("0")
    assert t.exec("grep", "NoNewPrivs", "/proc/self/status", flags=("--no-new-privs",)).endswith("1")


@case
def exec_is_in_all_namespaces(t):
    t.background()
    script = "for n in pid net ipc uts mnt cgroup; do readlink /proc/$0/ns/$n; done"
    assert t.exec("sh", "-c", script.replace("$0", "1")) == t.exec("sh", "-c", script.replace("$0", "self"))


@case
def exec_is_in_the_cgroup(t):
    t.background()
    t.exec("sleep", "1000", flags=("--detach", "--pid-file", "pid"))
    assert support.read(t.folder + "/pid") in t.pids()


@case
def exec_in_a_user_namespace(t):
    t.user_namespace()
    t.background()
    assert t.exec("sh", "-c", "id -u; cat /proc/self/uid_map").split() == ["0", "0", "100000", "65536"]
    assert t.exec("id", "-u", flags=("--user", "1000")) == "1000"


@case
def exec_where_the_user_may_not_go(t):
    """The working directory is entered with the rights that are at hand, before or after becoming the user."""
    os.makedirs(t.root + "/closed")
    os.chown(t.root + "/closed", 42, 42)
    os.chmod(t.root + "/closed", 0o700)
    t.process.update(cwd="/closed", user={"uid": 42, "gid": 42})
    t.background()
    t.exec("true", flags=("--user", "0"))


@case(crun="applies neither set")
def exec_cpu_affinity(t):
    t.background()
    t.file("process.json", json.dumps({"args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"],
                                       "execCPUAffinity": {"initial": "0", "final": "1"}}))
    assert t.ok("exec", "--process", "process.json", t.id).split()[1] == "1"
    t.process["execCPUAffinity"] = {"initial": "0", "final": "0"}
    t.background(id=t.id + "-b")
    assert t.exec("grep", "Cpus_allowed_list", "/proc/self/status", id=t.id + "-b").split()[1] == "0"


@case
def exec_debug(t):
    t.background()
    result = t.call("--debug", "exec", t.id, "true")
    assert result.status == 0 and result.error, result


@case
def exec_subcgroup(t):
    t.background()
    t.bad("exec", "--cgroup", "../..", t.id, "true")
    t.bad("exec", "--cgroup", "nonexistent", t.id, "true")
    t.exec("true", flags=("--cgroup", "/"))


@case(crun="has no such flag")
def exec_pidfd_socket(t):
    t.background()
    receiver = t.receiver()
    t.exec("sleep", "1000", flags=("--detach", "--pid-file", "pid", "--pidfd-socket", "sock"))
    descriptor = receiver.take()
    assert descriptor is not None, "no descriptor came"
    fields = dict(line.split(":\t", 1) for line in support.read(f"/proc/self/fdinfo/{descriptor}").splitlines())
    os.close(descriptor)
    assert fields["Pid"] == support.read(t.folder + "/pid")
