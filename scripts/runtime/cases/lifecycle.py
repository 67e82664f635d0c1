"""From create to delete: states, signals, pid files, sockets, the terminal."""

import json
import os
import signal
import subprocess

import support
from cases import case


@case
def run(t):
    assert t.run("echo", "hello") == "hello"
    assert t.state() is None, "run left the container behind"


@case
def run_exit_codes(t):
    t.sh("exit 42", status=42)
    t.run("false", status=1)
    # The first process of a pid namespace of its own can't be killed from inside.
    t.namespace("pid", False)
    t.sh("kill -KILL $$", status=137)


@case
def run_stdin(t):
    assert t.run("cat", stdin="one\ntwo\n") == "one\ntwo"


@case
def run_keep(t):
    t.run("true", flags=("--keep",))
    assert t.status() == "stopped"
    assert t.cgroups(), "its cgroup went"
    t.ok("delete", t.id)
    assert t.state() is None


@case
def run_detached(t):
    t.background("sleep 1000", flags=("--pid-file", "pid"))
    assert t.status() == "running"
    assert int(support.read(t.folder + "/pid")) == t.state()["pid"]


@case(crun="writes it below the bundle")
def pid_file_elsewhere(t):
    """The bundle is not the working directory: the pid file's path is the caller's."""
    other = t.host("elsewhere")
    t.background(flags=("--bundle", t.folder, "--pid-file", "pid"), cwd=other)
    assert int(support.read(other + "/pid")) == t.state()["pid"]


@case
def pid_file_of_create(t):
    t.create("sleep", "1000", flags=("--pid-file", "pid"))
    assert int(support.read(t.folder + "/pid")) == t.state()["pid"]


@case
def pid_file_cannot_be_written(t):
    t.refused("no such file", flags=("--pid-file", "/nonexistent/pid"), verb="create")
    assert not t.pids()


@case
def create_start_delete(t):
    t.create("sh", "-c", "echo ran >/made; sleep 1000")
    state = t.state()
    assert state["status"] == "created" and state["pid"] > 0
    assert not os.path.exists(t.root + "/made"), "it ran before its start"
    t.ok("start", t.id)
    assert t.status() == "running"
    assert support.eventually(lambda: os.path.exists(t.root + "/made"))
    t.bad("start", t.id)
    t.bad("delete", t.id)
    t.ok("kill", t.id, "KILL")
    t.becomes("stopped")
    t.ok("delete", t.id)
    assert t.state() is None


@case
def state_document(t):
    t.spec["annotations"] = {"one.two": "three \"four\"\n"}
    t.background()
    state = t.state()
    assert state["id"] == t.id and state["bundle"] == t.folder and state["status"] == "running"
    assert state["annotations"] == t.spec["annotations"] and state["ociVersion"].startswith("1.")
    os.kill(state["pid"], 0)
    t.ok("kill", t.id, "KILL")
    t.becomes("stopped")
    assert t.state().get("pid", 0) == 0


@case
def state_of_nobody(t):
    assert "does not exist" in t.bad("state", "nobody")


@case
def same_id_twice(t):
    t.background()
    t.refused("exist")
    assert t.status() == "running"


@case
def bad_ids(t):
    for id in ("../x", "a/b", "a b", ""):
        t.write()
        t.bad("create", id)
        t.bad("run", id)


@case
def kill_by_name_and_number(t):
    t.background("trap 'echo term >>/got' TERM; trap 'echo usr1 >>/got' USR1; trap 'echo hup >>/got' HUP; touch /ready; "
                 "while :; do usleep 10000; done")
    assert support.eventually(lambda: os.path.exists(t.root + "/ready"))
    for words, count in (((), 1), (("SIGUSR1",), 2), (("1",), 3)):
        t.ok("kill", t.id, *words)
        assert support.eventually(lambda: os.path.exists(t.root + "/got")
                                  and len(support.read(t.root + "/got").split()) == count)
    assert support.read(t.root + "/got").split() == ["term", "usr1", "hup"]
    t.bad("kill", t.id, "NONESUCH")


@case(crun="says nothing of a stopped container and succeeds")
def kill_of_the_stopped(t):
    t.background()
    t.ok("kill", t.id, "KILL")
    t.becomes("stopped")
    assert "not running" in t.bad("kill", t.id, "0")
    t.ok("kill", "--all", t.id, "0")


@case
def kill_all(t):
    """With the host's pid namespace, nothing but the cgroup holds the processes together."""
    t.namespace("pid", False)
    t.background("sleep 1001 & sleep 1002 & wait")
    assert support.eventually(lambda: len(t.pids()) == 3)
    t.ok("kill", "--all", t.id, "KILL")
    assert support.eventually(lambda: not t.pids())


@case(crun="ends only the first process")
def kill_with_the_hosts_pids(t):
    """SIGKILL ends all of the container although its first process is nobody special."""
    t.namespace("pid", False)
    t.background("sleep 1001 & sleep 1002 & wait")
    assert support.eventually(lambda: len(t.pids()) == 3)
    t.ok("kill", t.id, "KILL")
    assert support.eventually(lambda: not t.pids())
    t.becomes("stopped")


@case(crun="sees only the first process, and leaves the others")
def kill_when_the_first_is_gone(t):
    t.namespace("pid", False)
    t.background("sleep 1001 & sleep 1002 & wait")
    assert support.eventually(lambda: len(t.pids()) == 3)
    os.kill(t.state()["pid"], signal.SIGKILL)
    t.becomes("stopped")
    assert t.pids()
    t.ok("kill", t.id, "KILL")
    assert support.eventually(lambda: not t.pids())


@case
def kill_in_a_shared_pid_namespace(t):
    t.background("sleep 1000", id=t.id + "-a")
    t.namespace("pid", f"/proc/{t.state(t.id + '-a')['pid']}/ns/pid")
    t.background("sleep 1001")
    t.ok("kill", t.id, "9")
    t.becomes("stopped")
    assert t.status(t.id + "-a") == "running"
    t.ok("delete", "--force", t.id)


@case
def delete_force(t):
    t.background()
    t.ok("delete", "--force", t.id)
    assert t.state() is None and not t.cgroups()


@case
def delete_of_the_created(t):
    t.create("true")
    t.ok("delete", "--force", t.id)
    assert t.state() is None and not t.cgroups()


@case
def delete_force_of_nobody(t):
    t.ok("delete", "--force", "nobody")
    t.bad("delete", "nobody")


@case
def delete_force_of_the_paused(t):
    t.background()
    t.ok("pause", t.id)
    t.ok("delete", "--force", t.id)
    assert t.state() is None and not t.cgroups()


@case
def delete_with_the_hosts_pids(t):
    """What the first process left running goes with the container."""
    t.namespace("pid", False)
    t.background("sleep 1001 & sleep 1002 & wait")
    assert support.eventually(lambda: len(t.pids()) == 3)
    pids = t.pids()
    os.kill(t.state()["pid"], signal.SIGKILL)
    t.becomes("stopped")
    t.ok("delete", "--force", t.id)
    assert support.eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    assert not t.cgroups()


@case
def pause_and_resume(t):
    t.background("while :; do echo x >>/ticks; usleep 10000; done")
    assert support.eventually(lambda: os.path.exists(t.root + "/ticks"))
    t.ok("pause", t.id)
    assert t.status() == "paused"
    size = os.path.getsize(t.root + "/ticks")
    t.ok("resume", t.id)
    assert t.status() == "running"
    assert support.eventually(lambda: os.path.getsize(t.root + "/ticks") > size)
    t.bad("pause", "nobody")
    t.bad("resume", "nobody")


@case
def console_socket(t):
    t.process["terminal"] = True
    receiver = t.receiver()
    t.process["args"] = ["sh", "-c", "tty; echo done"]
    result = t.launch("run", "--detach", "--console-socket", "sock")
    assert result.status == 0, result
    assert receiver.text() == "/dev/pts/0\ndone\n"


@case
def console_socket_of_create(t):
    t.process["terminal"] = True
    receiver = t.receiver()
    t.create("sh", "-c", "stty size; test -c /dev/console && echo console", flags=("--console-socket", "sock"))
    t.ok("start", t.id)
    assert "console\n" in receiver.text()


@case
def console_socket_is_needed(t):
    t.process["terminal"] = True
    t.refused("console-socket", "console socket", "terminal", verb="create")
    t.refused("console-socket", "console socket", "terminal", flags=("--detach",))


@case
def console_socket_without_a_terminal(t):
    t.refused("terminal", "console", verb="create", flags=("--console-socket", "sock"))


@case
def console_size(t):
    t.process["terminal"] = True
    t.process["consoleSize"] = {"height": 12, "width": 34}
    receiver = t.receiver()
    t.process["args"] = ["stty", "size"]
    result = t.launch("run", "--detach", "--console-socket", "sock")
    assert result.status == 0, result
    assert receiver.text() == "12 34\n"


@case
def terminal_in_the_foreground(t):
    t.process["terminal"] = True
    assert t.sh("for n in 0 1 2; do readlink /proc/self/fd/$n; done", terminal=True) == "\n".join(["/dev/pts/0"] * 3)
    assert "root" in t.sh("id -un; cat /etc/passwd", terminal=True)


@case(crun="starts with a size of 0 by 0 and leaves it")
def terminal_size_of_the_caller(t):
    t.process["terminal"] = True
    assert t.sh("until [ \"$(stty size 2>/dev/null)\" = '30 100' ]; do usleep 10000; done; echo good", terminal=True) == "good"


@case
def terminal_belongs_to_its_user(t):
    t.process["terminal"] = True
    t.process["user"] = {"uid": 1000, "gid": 100}
    assert t.sh("stat -c %u:%g $(tty)", terminal=True) == "1000:5"


@case(alone="runc and crun want a terminal to be there")
def terminal_without_one_outside(t):
    """The caller's streams are no terminal, the container's are."""
    t.process["terminal"] = True
    assert "/dev/pts/0" in t.run("tty")


@case
def streams_without_a_terminal(t):
    assert "not a tty" in t.run("tty", status=1)
    t.background("sleep 1000")
    assert t.status() == "running"


@case(crun="has no such flag")
def pidfd_socket(t):
    receiver = t.receiver()
    t.background(flags=("--pidfd-socket", "sock"))
    descriptor = receiver.take()
    assert descriptor is not None, "no descriptor came"
    fields = dict(line.split(":\t", 1) for line in support.read(f"/proc/self/fdinfo/{descriptor}").splitlines())
    os.close(descriptor)
    assert int(fields["Pid"]) == t.state()["pid"]


@case
def preserve_fds(t):
    """Descriptors from 3 on reach the program when asked for, and only then."""
    path = t.file("secret", "from outside")
    descriptor = os.open(path, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        script = f"cat /proc/self/fd/{descriptor}"
        assert t.sh(script, flags=("--preserve-fds", str(descriptor - 2)), pass_fds=[descriptor]) == "from outside"
        t.sh(script, status=1, pass_fds=[descriptor])
    finally:
        os.close(descriptor)


@case
def no_descriptor_leaks(t):
    """Nothing but the three streams, and what reads the directory."""
    descriptor = os.open(t.folder, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        assert t.sh("echo /proc/self/fd/*", pass_fds=[descriptor]).split() == [f"/proc/self/fd/{n}" for n in range(4)][:3] \
            or t.sh("ls /proc/self/fd", pass_fds=[descriptor]).split() == ["0", "1", "2", "3"]
    finally:
        os.close(descriptor)


@case
def no_pivot(t):
    """chroot in place of pivot_root, for hosts whose root is an initramfs; the host stays hidden."""
    assert t.sh("ls /proc/1/root/bin/probe && ! ls /work /root/.cache 2>/dev/null", flags=("--no-pivot",)).endswith("probe")


@case
def no_new_keyring(t):
    t.run("true", flags=("--no-new-keyring",))


@case(runc="has no such flag")
def config_elsewhere(t):
    t.spec["process"]["args"] = ["echo", "other"]
    t.write("other.json")
    t.linux["cgroupsPath"] = f"/{t.group}/{t.id}"
    t.write("other.json")
    t.spec["process"]["args"] = ["false"]
    result = t.launch("run", "--config", t.folder + "/other.json")
    assert result.status == 0 and result.output == "other\n", result


@case
def bundle_without_a_configuration(t):
    result = t.call("run", "--bundle", t.host("empty"), t.id)
    assert result.status not in (0, 255) or "config.json" in result.error, result


@case
def configuration_that_is_none(t):
    for text in ("", "{", "[]", '{"ociVersion": 3}'):
        t.file("config.json", text)
        t.bad("run", t.id)


@case
def signals_go_to_the_container(t):
    t.process["args"] = ["sh", "-c", "trap 'echo got; exit 3' TERM; echo ready; while :; do usleep 10000; done"]
    t.linux["cgroupsPath"] = t.path
    t.write()
    t.ids.append(t.id)
    process = subprocess.Popen(t.command("run", t.id), cwd=t.folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == "got\n"
    assert process.wait(60) == 3


@case
def orphans_of_a_dead_runtime(t):
    """A container goes on without whoever made it."""
    t.background()
    pid = t.state()["pid"]
    assert int(support.read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[1]) == 1


@case
def program_that_is_not_there(t):
    t.process["args"] = ["nonesuch"]
    t.refused("executable file*not found in $path", "executable file*nonesuch*not found")
    t.refused("not found", verb="create")
    t.process["args"] = ["/nonesuch"]
    t.refused("no such file or directory")


@case
def program_that_cannot_be_run(t):
    t.file("rootfs/plain", "text", 0o644)
    t.process["args"] = ["/plain"]
    t.refused("permission denied")
    t.process["args"] = ["/etc"]
    t.refused("permission denied", "is a directory")
    t.file("rootfs/noheader", "true\n", 0o755)
    t.process["args"] = ["/noheader"]
    t.refused("exec format error")
    t.file("rootfs/badheader", "#!/nonesuch\n", 0o755)
    t.process["args"] = ["/badheader"]
    t.refused("no such file or directory")


@case
def json_log(t):
    """What containerd and podman read the reason of a failure from."""
    t.process["args"] = ["nonesuch"]
    t.launch("create", globals=("--log", t.folder + "/log", "--log-format", "json"))
    entries = [json.loads(line) for line in support.read(t.folder + "/log").splitlines()]
    assert entries and set(entries[-1]) >= {"level", "msg", "time"}, entries
    assert entries[-1]["level"] == "error" and "nonesuch" in entries[-1]["msg"], entries
