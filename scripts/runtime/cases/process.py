"""config.json's `process`: cwd, env, user, capabilities, limits, priorities."""

import os
import resource

from cases import case


def status(t, field, **options):
    """A field of the program's own /proc/self/status."""
    return t.run("grep", f"^{field}:", "/proc/self/status", **options).split(":\t")[1]


@case
def cwd(t):
    t.process["cwd"] = "/tmp"
    assert t.run("pwd") == "/tmp"


@case
def cwd_is_made(t):
    t.process["cwd"] = "/not/there/yet"
    assert t.run("sh", "-c", "pwd; stat -c %a .") == "/not/there/yet\n755"


@case
def cwd_outside_is_refused(t):
    """CVE-2024-21626: a descriptor of the host's as working directory."""
    for number in range(3, 12):
        t.process["cwd"] = f"/proc/self/fd/{number}"
        t.refused()


@case
def cwd_of_the_user_alone(t):
    """Where only the user may go, and where only root may."""
    os.makedirs(t.root + "/mine")
    os.chown(t.root + "/mine", 42, 42)
    os.chmod(t.root + "/mine", 0o700)
    t.process.update(cwd="/mine", user={"uid": 42, "gid": 42})
    assert t.run("pwd") == "/mine"
    os.chown(t.root + "/mine", 0, 0)
    t.run("true")


@case
def cwd_through_a_link(t):
    os.symlink("tmp", t.root + "/link")
    t.process["cwd"] = "/link"
    assert t.run("sh", "-c", "readlink /proc/self/cwd") == "/tmp"


@case
def env(t):
    t.process["env"] += ["ONE=two", "EMPTY=", "LINES=a\nb"]
    lines = t.run("env").splitlines()
    assert "ONE=two" in lines and "EMPTY=" in lines and "LINES=a" in lines and "b" in lines and "HOME=/root" in lines


@case(crun="passes all on")
def env_last_wins(t):
    t.process["env"] = ["ONE=two", "ONE=three", "PATH=/bin:/usr/bin"]
    assert t.run("env").splitlines().count("ONE=three") == 1 and "two" not in t.run("env")
    t.process["env"] = ["ONE=two", "ONE=", "PATH=/bin:/usr/bin"]
    assert sorted(t.run("env").splitlines()) == ["HOME=/root", "ONE=", "PATH=/bin:/usr/bin"]


@case
def env_home(t):
    t.process["env"] += ["HOME=/override"]
    assert t.sh("echo $HOME") == "/override"
    t.file("rootfs/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000:me:/home/me:/bin/sh\n")
    t.process["env"].pop()
    t.process["user"] = {"uid": 1000, "gid": 1000}
    assert t.sh("echo $HOME") == "/home/me"


@case(crun="takes the empty one")
def env_home_empty(t):
    t.process["env"] += ["HOME=/override", "HOME="]
    assert t.sh("echo $HOME") == "/root"
    assert [line for line in t.run("env").splitlines() if line.startswith("HOME")] == ["HOME=/root"]


@case
def path_is_that_of_the_process(t):
    t.file("rootfs/own/tool", "#!/bin/sh\necho mine\n", 0o755)
    t.process["env"] = ["PATH=/own:/bin"]
    assert t.run("tool") == "mine"


@case
def user(t):
    t.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7, 8]}
    words = t.sh("id -u; id -g; id -G").splitlines()
    assert words[:2] == ["1000", "1001"] and set(words[2].split()) >= {"1001", "7", "8"}


@case
def user_has_no_groups_of_the_host(t):
    t.process["user"] = {"uid": 1000, "gid": 1001}
    assert t.run("id", "-G") == "1001"


@case
def umask(t):
    assert t.sh("umask") == "0022"
    t.process["user"]["umask"] = 0o77
    assert t.sh("umask; touch /made; stat -c %a /made") == "0077\n600"
    t.background()
    assert t.exec("sh", "-c", "umask") == "0077"


@case
def capabilities(t):
    wanted = f"{1 << 0 | 1 << 12:016x}"
    t.process["capabilities"] = {kind: ["CAP_CHOWN", "CAP_NET_ADMIN"] for kind in ("bounding", "effective", "permitted")}
    for field in ("CapBnd", "CapEff", "CapPrm"):
        assert status(t, field) == wanted
    assert status(t, "CapInh") == status(t, "CapAmb") == "0" * 16


@case
def capabilities_none(t):
    t.process["capabilities"] = {}
    for field in ("CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert status(t, field) == "0" * 16
    del t.process["capabilities"]
    assert status(t, "CapEff") == "0" * 16


@case
def capabilities_ambient(t):
    t.process["user"] = {"uid": 1000, "gid": 1000}
    t.process["capabilities"] = {kind: ["CAP_NET_ADMIN"] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")}
    for field in ("CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert status(t, field) == f"{1 << 12:016x}", field


@case
def capabilities_of_another_user(t):
    t.process["user"] = {"uid": 1000, "gid": 1000}
    assert status(t, "CapEff") == "0" * 16
    assert status(t, "CapBnd") == f"{1 << 5 | 1 << 10 | 1 << 29:016x}"


@case(crun="refuses them")
def capabilities_unknown(t):
    """Newer than the runtime: a warning, and without them."""
    t.process["capabilities"]["bounding"] = t.process["capabilities"]["bounding"] + ["CAP_UNKNOWN", "UNKNOWN_CAP"]
    t.process["args"] = ["true"]
    result = t.launch("run")
    assert result.status == 0 and "CAP_UNKNOWN" in result.error, result


@case(crun="refuses them")
def capabilities_ambient_not_inheritable(t):
    t.process["capabilities"]["ambient"] = ["CAP_KILL"]
    assert status(t, "CapAmb") == "0" * 16


@case
def capabilities_bite(t):
    t.sh("chown 1 /etc", status=1)
    t.capable("CAP_CHOWN")
    t.sh("chown 1 /etc")


@case
def no_new_privileges(t):
    assert status(t, "NoNewPrivs") == "1"
    t.process["noNewPrivileges"] = False
    assert status(t, "NoNewPrivs") == "0"
    del t.process["noNewPrivileges"]
    assert status(t, "NoNewPrivs") == "0"


@case
def rlimits(t):
    t.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                            {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 21}]
    assert t.sh("ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Ss") == "100\n200\n0\n1024"
    t.background()
    assert t.exec("sh", "-c", "ulimit -Sn; ulimit -Hn") == "100\n200"


@case
def rlimits_unknown(t):
    t.process["rlimits"] = [{"type": "RLIMIT_NONESUCH", "soft": 1, "hard": 1}]
    t.refused("rlimit")


@case
def rlimits_around_the_hosts(t):
    """As high as the caller's own is possible to everybody; above it to those who may raise it."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    t.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": limit, "hard": limit}]
    assert t.sh("ulimit -n") == str(limit)
    t.background()
    assert t.exec("sh", "-c", "ulimit -n") == str(limit)
    t.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}]
    t.refused(id=t.id + "-b")


@case
def oom_score(t):
    t.process["oomScoreAdj"] = 500
    assert t.run("cat", "/proc/self/oom_score_adj") == "500"
    t.process["oomScoreAdj"] = 0
    assert t.run("cat", "/proc/self/oom_score_adj") == "0"


@case
def oom_score_in_a_user_namespace(t):
    t.user_namespace()
    t.process["oomScoreAdj"] = 300
    assert t.run("cat", "/proc/self/oom_score_adj") == "300"


@case
def scheduler(t):
    t.capable("CAP_SYS_NICE")
    t.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 19}
    # sched_getscheduler(0), and getpriority(PRIO_PROCESS, 0), which the kernel gives as 20 less the value.
    assert t.sh("probe 145 0; probe 140 0 0") == "3\n1"
    t.background()
    assert t.exec("sh", "-c", "probe 145 0; probe 140 0 0") == "3\n1"


@case
def scheduler_idle(t):
    t.process["scheduler"] = {"policy": "SCHED_IDLE"}
    assert t.sh("probe 145 0") == "5"


@case
def scheduler_unknown(t):
    t.process["scheduler"] = {"policy": "SCHED_NONESUCH"}
    t.refused("sched")


@case
def io_priority(t):
    t.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 4}
    # ioprio_get(IOPRIO_WHO_PROCESS, 0): the class in the bits from 13 on.
    assert t.sh("probe 252 1 0") == str(2 << 13 | 4)
    t.background()
    assert t.exec("probe", "252", "1", "0") == str(2 << 13 | 4)


@case
def io_priority_idle(t):
    t.process["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 7}
    assert t.sh("probe 252 1 0") == str(3 << 13 | 7)


@case
def io_priority_unknown(t):
    t.process["ioPriority"] = {"class": "IOPRIO_CLASS_NONESUCH", "priority": 1}
    t.refused("ioprio", "i/o class")


@case
def personality(t):
    t.linux["personality"] = {"domain": "LINUX32"}
    assert t.run("uname", "-m") == "i686"
    t.background()
    assert t.exec("uname", "-m") == "i686"


@case
def personality_linux(t):
    t.linux["personality"] = {"domain": "LINUX"}
    assert t.run("uname", "-m") == os.uname().machine


@case
def personality_unknown(t):
    t.linux["personality"] = {"domain": "NONESUCH"}
    t.refused("personality")


@case
def session_keyring(t):
    """A keyring of the container's own: the host's keys are out of reach."""
    t.linux["maskedPaths"] = []
    # keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0)
    first, second = t.sh("probe 250 0 -3 0"), t.sh("probe 250 0 -3 0")
    assert first != second and first.isdigit(), (first, second)


@case
def signals_are_as_after_a_boot(t):
    """Neither blocked nor ignored signals are handed down."""
    assert status(t, "SigBlk") == status(t, "SigIgn") == "0" * 16


@case
def affinity_is_the_callers_no_more(t):
    """Who pinned the runtime to a processor did not pin the container."""
    t.process["args"] = ["grep", "Cpus_allowed_list", "/proc/self/status"]
    every = sorted(os.sched_getaffinity(0))
    result = t.launch("run", preexec_fn=lambda: os.sched_setaffinity(0, {every[-1]}))
    assert result.output.split()[1] == f"{every[0]}-{every[-1]}", result


@case
def no_process(t):
    del t.spec["process"]
    t.refused("process", verb="create")


@case
def empty_args(t):
    t.process["args"] = []
    t.refused("args", "command", "process")
