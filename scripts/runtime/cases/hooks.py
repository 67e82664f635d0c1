"""The six hooks: where and when they run, what they are told, what their failure does."""

import json
import os
import time

import support
from cases import case

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def hook(t, script, **more):
    """A hook that reads what it is told before it does anything else."""
    if "cat >" not in script:
        script = "cat >/dev/null; " + script
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"], **more}


@case
def order(t):
    """Each runs once, in the order of the specification, those in the container's namespaces inside."""
    log = t.file("log")
    os.chmod(log, 0o666)
    t.mount("/log", "bind", log, "bind", "rw")
    for kind in KINDS:
        inside = kind == "startContainer"
        t.spec.setdefault("hooks", {})[kind] = [hook(t, f"echo {kind} >>{'/log' if inside else log}")]
    t.create("sh", "-c", "echo program >>/log; sleep 1000")
    assert support.read(log).split() == ["prestart", "createRuntime", "createContainer"], support.read(log)
    t.ok("start", t.id)
    assert support.eventually(lambda: len(support.read(log).split()) == 6)
    words = support.read(log).split()
    assert sorted(words[3:]) == ["poststart", "program", "startContainer"], words
    assert words.index("startContainer") < words.index("program"), words
    t.ok("delete", "--force", t.id)
    assert support.read(log).split()[6:] == ["poststop"]


@case
def state_on_stdin(t):
    t.spec["annotations"] = {"a.b": "c"}
    for kind in KINDS:
        t.file(f"state-{kind}")
        if kind != "startContainer":
            t.spec.setdefault("hooks", {})[kind] = [hook(t, f"cat >{t.folder}/state-{kind}")]
    t.create("sleep", "1000")
    pid = t.state()["pid"]
    t.ok("start", t.id)
    t.ok("delete", "--force", t.id)
    wanted = {"prestart": {"creating", "created"}, "createRuntime": {"creating", "created"}, "createContainer": {"creating", "created"},
              "poststart": {"running"}, "poststop": {"stopped"}}
    for kind, states in wanted.items():
        document = json.loads(support.read(f"{t.folder}/state-{kind}"))
        assert document["id"] == t.id and document["bundle"] == t.folder and document["status"] in states, (kind, document)
        assert document["annotations"] == {"a.b": "c"} and document["ociVersion"], (kind, document)
        if kind in ("prestart", "createRuntime", "poststart"):
            assert document["pid"] == pid, (kind, document)


@case
def state_on_stdin_of_start_container(t):
    t.spec["hooks"] = {"startContainer": [hook(t, "cat >/state")]}
    t.run("true")
    document = json.loads(support.read(t.root + "/state"))
    assert document["id"] == t.id and document["status"] in ("creating", "created")


@case
def runtime_hooks_are_outside(t):
    t.spec["hooks"] = {"createRuntime": [hook(t, f"readlink /proc/self/ns/mnt >{t.folder}/ns")]}
    inside = t.run("readlink", "/proc/self/ns/mnt")
    assert support.read(t.folder + "/ns").strip() == os.readlink("/proc/self/ns/mnt") != inside or t.runtime.prefix


@case
def container_hooks_are_inside(t):
    t.file("ns")
    t.spec["hooks"] = {"createContainer": [hook(t, f"readlink /proc/self/ns/net >{t.folder}/ns; test -d {t.root}")],
                       "startContainer": [hook(t, "readlink /proc/self/ns/net >/ns; hostname >>/ns")]}
    inside = t.run("readlink", "/proc/self/ns/net")
    assert support.read(t.folder + "/ns").strip() == inside
    assert support.read(t.root + "/ns").split() == [inside, "case"]


@case
def create_container_sees_the_mounts(t):
    """It runs before pivot_root, with everything mounted."""
    t.file("seen")
    t.spec["hooks"] = {"createContainer": [hook(t, f"grep -c {t.root}/ /proc/self/mountinfo >{t.folder}/seen")]}
    t.run("true")
    assert int(support.read(t.folder + "/seen")) > 4


@case
def prestart_may_move_a_network_device(t):
    """The namespaces exist by then and are reached through the pid."""
    script = ("pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); ip link add case-veth type veth peer name case-peer && "
              "ip link set case-peer netns $pid name eth7; ip link del case-veth-none 2>/dev/null; true")
    for kind in ("prestart", "createRuntime"):
        t.spec["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", script.replace("case-", f"{t.runtime.name[:4]}{kind[0]}")],
                                   "env": ["PATH=/usr/sbin:/sbin:/bin:/usr/bin"]}]}
        assert "eth7" in t.sh("cat /proc/net/dev", id=f"{t.id}-{kind}")


@case
def failures_stop_the_create(t):
    for kind in ("prestart", "createRuntime", "createContainer"):
        t.spec["hooks"] = {kind: [{"path": "/bin/true"}, {"path": "/bin/false"}]}
        told = t.refused(verb="create")
        assert "hook" in told and t.state() is None, told
        assert not t.cgroups()


@case
def failure_names_the_hook(t):
    t.spec["hooks"] = {"createRuntime": [{"path": "/bin/true"}, {"path": "/bin/false"}]}
    assert "hook" in t.refused(verb="create").lower()


@case
def failures_stop_the_run(t):
    for kind in ("prestart", "createRuntime", "createContainer", "startContainer"):
        t.spec["hooks"] = {kind: [{"path": "/bin/true"}, {"path": "/bin/false"}]}
        t.process["args"] = ["sh", "-c", "echo ran >/ran"]
        t.refused()
        assert not os.path.exists(t.root + "/ran"), kind
        assert t.state() is None or t.runtime.name == "crun", kind


@case(crun="only warns")
def failure_of_poststart_kills(t):
    t.spec["hooks"] = {"poststart": [{"path": "/bin/false"}]}
    t.process["args"] = ["sleep", "1000"]
    t.refused("hook")
    assert t.state() is None and not t.pids()


@case(runc="stops at it and fails")
def failure_of_poststop_is_no_failure(t):
    t.spec["hooks"] = {"poststop": [{"path": "/bin/false"}, hook(t, f"echo ran >{t.folder}/ran")]}
    t.background()
    t.ok("delete", "--force", t.id)
    assert t.state() is None and support.read(t.folder + "/ran") == "ran\n"


@case
def timeout(t):
    start = time.monotonic()
    t.spec["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "50"], "timeout": 1}]}
    t.refused(verb="create")
    assert time.monotonic() - start < 40


@case
def environment_is_the_hooks_own(t):
    t.spec["hooks"] = {"createRuntime": [hook(t, f"echo \"$ONE:$OUTSIDE\" >{t.folder}/told", env=["ONE=two", "PATH=/bin"])]}
    t.process["args"] = ["true"]
    result = t.launch("run", env=dict(os.environ, OUTSIDE="outside"))
    assert result.status == 0 and support.read(t.folder + "/told") == "two:\n", result


@case(runc="1.3 gives it nothing, later versions do")
def start_container_inherits_the_environment(t):
    t.process["env"] += ["ONE=two"]
    t.file("rootfs/check", "#!/bin/sh\ntest \"$ONE\" = two && test -n \"$HOME\"\n", 0o755)
    t.spec["hooks"] = {"startContainer": [{"path": "/check"}]}
    t.run("true")


@case
def argv_is_kept(t):
    t.spec["hooks"] = {"startContainer": [{"path": "/bin/busybox", "args": ["touch", "/made"]}]}
    t.run("true")
    assert os.path.exists(t.root + "/made")


@case
def hook_that_is_not_there(t):
    t.spec["hooks"] = {"createRuntime": [{"path": "/nonesuch"}]}
    t.refused("hook", "no such file", verb="create")


@case
def hook_that_reads_nothing(t):
    """A state larger than a pipe, and a hook that doesn't care."""
    t.spec["annotations"] = {"big": "x" * 200000}
    t.spec["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}
    t.run("true")


@case
def hook_that_reads_a_large_state(t):
    t.spec["annotations"] = {"big": "x" * 200000}
    t.spec["hooks"] = {"createRuntime": [hook(t, f"cat >{t.folder}/told")]}
    t.run("true")
    assert json.loads(support.read(t.folder + "/told"))["annotations"]["big"] == "x" * 200000


@case(runc="needs the host's /proc at this path, which it has not here")
def without_a_mount_namespace(t):
    """runc's host-mntns case: hooks, and the host's mounts."""
    t.spec["hooks"] = {"createContainer": [{"path": "/bin/true"}], "startContainer": [{"path": "/bin/true"}]}
    t.namespace("mount", False)
    t.linux["maskedPaths"], t.linux["readonlyPaths"], t.spec["mounts"] = [], [], []
    t.run("true")
