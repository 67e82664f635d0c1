"""Everything else on the command line: list, ps, update, events, spec, features, the global flags."""

import json
import os

import support
import workbench
from cases import case


@case
def list_(t):
    t.background()
    t.background(id=t.id + "-b")
    lines = t.ok("list").splitlines()
    assert lines[0].split()[:4] == ["ID", "PID", "STATUS", "BUNDLE"], lines[0]
    assert [line.split()[0] for line in lines[1:]] == [t.id, t.id + "-b"]
    assert all(line.split()[2:4] == ["running", t.folder] for line in lines[1:])
    assert t.ok("list", "--quiet").split() == t.ok("list", "-q").split() == [t.id, t.id + "-b"]


@case
def list_json(t):
    t.background()
    entries = json.loads(t.ok("list", "--format", "json"))
    assert [(entry["id"], entry["status"], entry["bundle"], entry["pid"]) for entry in entries] \
        == [(t.id, "running", t.folder, t.state()["pid"])]


@case(crun="lists nothing and succeeds")
def list_of_a_root_that_is_not_there(t):
    t.bad("--root", "/nonexistent", "list", root=False)


@case
def roots_keep_containers_apart(t):
    t.background()
    assert t.ok("--root", t.host("other"), "list", "-q", root=False) == ""
    t.bad("--root", t.host("other"), "state", t.id, root=False)


@case
def ps(t):
    t.background("sleep 1001 & sleep 1002 & wait")
    assert support.eventually(lambda: len(t.pids()) == 3)
    lines = t.ok("ps", t.id).splitlines()
    assert "PID" in lines[0] and len(lines) == 4, lines


@case
def ps_json(t):
    t.background()
    assert set(map(str, json.loads(t.ok("ps", "--format", "json", t.id)))) == t.pids()


@case
def ps_options(t):
    t.background()
    lines = t.ok("ps", t.id, "-e", "-x").splitlines()
    assert lines[0].split()[:2] == ["PID", "TTY"] and "sleep 1000" in lines[1], lines


@case(crun="fails where the cgroup is gone")
def ps_of_the_stopped(t):
    t.background()
    t.ok("kill", t.id, "KILL")
    t.becomes("stopped")
    t.ok("ps", t.id)


@case
def spec(t):
    folder = t.host("new")
    t.ok("spec", cwd=folder)
    document = json.loads(support.read(folder + "/config.json"))
    assert document["process"]["args"] == ["sh"] and document["root"]["path"] == "rootfs" and document["ociVersion"]


@case
def spec_bundle(t):
    folder = t.host("new")
    t.ok("spec", "--bundle", folder)
    assert os.path.exists(folder + "/config.json")


@case(crun="writes over what is there")
def spec_overwrites_nothing(t):
    t.write()
    t.bad("spec")


@case
def spec_can_be_run(t):
    folder = t.host("new")
    os.symlink(t.root, folder + "/rootfs")
    t.ok("spec", cwd=folder)
    t.spec = json.loads(support.read(folder + "/config.json"))
    t.process.update(terminal=False)
    assert t.run("echo", "hello") == "hello"


@case
def version(t):
    lines = t.ok("--version").splitlines()
    assert "version" in lines[0] and any("spec" in line for line in lines), lines


@case
def help_(t):
    for words in (("--help",), ("-h",), ("help",)):
        told = t.ok(*words, root=False)
        assert all(word in told for word in ("create", "delete", "exec", "kill", "state")), told


@case
def unknown_commands_and_flags(t):
    t.bad("nonesuch")
    t.bad("run", "--nonesuch", t.id)
    t.bad("--nonesuch", "list")
    for command in ("create", "start", "state", "kill", "delete", "exec", "pause", "resume", "run"):
        t.bad(command)


@case(alone="what the document lists is each runtime's own", runc="lists other things", crun="lists other things")
def features_is_true(t):
    """What it claims to know, it knows: see also the cases of each of these."""
    document = json.loads(t.ok("features"))
    assert document["ociVersionMin"] == "1.0.0" and document["ociVersionMax"].startswith("1.")
    for option in document["mountOptions"]:
        if option in ("iversion", "noiversion", "mand", "nomand", "idmap", "ridmap", "bind", "rbind"):
            continue
        t.spec["mounts"] = [entry for entry in t.mounts if entry["destination"] != "/mnt"]
        t.mount("/mnt", "tmpfs", "tmpfs", "size=1m", option)
        t.run("true")
    seccomp = document["linux"]["seccomp"]
    t.spec["mounts"] = [entry for entry in t.mounts if entry["destination"] != "/mnt"]
    t.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": [name for name in seccomp["archs"] if "X86" in name],
        "flags": [flag for flag in seccomp["supportedFlags"] if not flag.endswith("WAIT_KILLABLE_RECV")],
        "syscalls": [{"names": ["chmod"], "action": action, "args": [{"index": 5, "value": 77 + number, "op": operator}]}
                     for number, action in enumerate(seccomp["actions"]) if action not in ("SCMP_ACT_NOTIFY", "SCMP_ACT_ALLOW")
                     for operator in seccomp["operators"][:1]]}
    t.run("true")
    assert document["linux"]["intelRdt"]["enabled"] is False
    t.process["capabilities"]["bounding"] = document["linux"]["capabilities"]
    t.run("true")


@case(alone="what the document lists is each runtime's own", runc="lists other things", crun="lists other things")
def features_lists_what_there_is(t):
    document = json.loads(t.ok("features"))
    assert document["hooks"] == ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    assert set(document["linux"]["namespaces"]) == {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}
    assert document["linux"]["cgroup"] == {"v1": True, "v2": True, "systemd": True, "systemdUser": False, "rdma": True}
    assert document["linux"]["mountExtensions"]["idmap"]["enabled"] is True
    assert document["potentiallyUnsafeConfigAnnotations"] == ["org.systemd.property."]


@case
def features_is_json(t):
    document = json.loads(t.ok("features"))
    assert document["linux"]["seccomp"]["enabled"] and "CAP_CHOWN" in document["linux"].get("capabilities", ["CAP_CHOWN"])


@case
def checkpoint_is_refused_or_works(t):
    """A runtime without CRIU says so, and leaves the container as it was."""
    t.background()
    t.bad("checkpoint", "--image-path", t.host("image"), t.id)
    assert t.status() == "running"


@case
def systemd_where_there_is_none(t):
    """The systemd cgroup driver on a host without systemd is refused, and nothing is left."""
    if os.path.exists("/run/systemd/private"):
        return
    t.linux["cgroupsPath"] = f"system.slice:case:{t.id}"
    t.refused("systemd", globals=("--systemd-cgroup",))
    assert t.state() is None


@case(runc="has no such flag")
def cgroup_manager(t):
    t.run("true", globals=("--cgroup-manager", "cgroupfs"))
    t.bad("--cgroup-manager", "nonesuch", "list")


@case(runc="has no such flag")
def cgroup_manager_disabled(t):
    """The container stays where its caller is."""
    del t.linux["resources"]
    t.namespace("cgroup", False)
    t.linux["cgroupsPath"] = f"/{t.group}/{t.id}"
    t.background(globals=("--cgroup-manager", "disabled"))
    assert not t.cgroups()
    pid = t.state()["pid"]
    assert support.read(f"/proc/{pid}/cgroup").splitlines()[-1] == support.read("/proc/self/cgroup").splitlines()[-1]
    t.ok("delete", "--force", t.id)


@case
def debug_goes_to_the_log(t):
    t.process["args"] = ["true"]
    result = t.launch("run", globals=("--debug", "--log", t.folder + "/log"))
    assert result.status == 0 and "debug" not in result.error, result
    assert "debug" in support.read(t.folder + "/log").lower()


@case
def debug_goes_to_stderr(t):
    t.process["args"] = ["true"]
    result = t.launch("run", globals=("--debug",))
    assert result.status == 0 and result.error, result


@case
def debug_json(t):
    t.process["args"] = ["true"]
    result = t.launch("run", globals=("--debug", "--log", t.folder + "/log", "--log-format", "json"))
    assert result.status == 0, result
    assert any(json.loads(line)["level"] == "debug" for line in support.read(t.folder + "/log").splitlines())


@case(controllers=True)
def events_stats(t):
    t.background()
    event = json.loads(t.ok("events", "--stats", t.id))
    assert event["type"] == "stats" and event["id"] == t.id
    assert event["data"]["pids"]["current"] == 1 and event["data"]["memory"]["usage"]["usage"] > 0
    assert event["data"]["cpu"]["usage"]["total"] > 0


@case(controllers=True)
def events_interval(t):
    t.background()
    with t.reading("events", "--interval", "100ms", t.id) as lines:
        assert all(json.loads(next(lines))["type"] == "stats" for _ in range(3))


@case(controllers=True)
def events_default_interval(t):
    """Five seconds: nothing comes before, but the command watches."""
    t.background()
    with t.reading("events", t.id) as lines:
        assert json.loads(next(lines))["type"] == "stats"


@case(controllers=True)
def events_out_of_memory(t):
    t.linux["resources"]["memory"] = {"limit": 20 << 20, "swap": 20 << 20}
    t.background("until test -e /go; do usleep 10000; done; x=a; while :; do x=$x$x; done")
    with t.reading("events", "--interval", "100ms", t.id) as lines:
        # It watches from its first word on.
        next(lines)
        t.file("rootfs/go")
        assert any(json.loads(line)["type"] == "oom" for line in lines), "no oom was told"


@case(controllers=True)
def update_limits(t):
    t.linux["resources"].update(memory={"limit": 64 << 20}, pids={"limit": 20}, cpu={"shares": 100, "quota": 50000, "period": 100000})
    t.background()
    read = t.cgroup_file
    assert read("memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert read("pids", "pids.max", "pids.max") == "20"
    t.ok("update", "--memory", str(80 << 20), "--pids-limit", "10", "--cpu-quota", "60000", "--cpu-share", "200",
         "--memory-reservation", str(40 << 20), t.id)
    assert read("memory", "memory.limit_in_bytes", "memory.max") == str(80 << 20)
    assert read("memory", "memory.soft_limit_in_bytes", "memory.low") == str(40 << 20)
    assert read("pids", "pids.max", "pids.max") == "10"
    assert read("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "60000"
    if workbench.HYBRID:
        assert read("cpu", "cpu.shares", "") == "200"


@case(controllers=True)
def update_resources_file(t):
    t.background()
    t.file("resources.json", json.dumps({"memory": {"limit": 70 << 20}, "pids": {"limit": 7}, "cpu": {"quota": 30000, "period": 60000}}))
    t.ok("update", "--resources", "resources.json", t.id)
    assert t.cgroup_file("memory", "memory.limit_in_bytes", "memory.max") == str(70 << 20)
    assert t.cgroup_file("pids", "pids.max", "pids.max") == "7"
    t.ok("update", "-r", "-", t.id, stdin=json.dumps({"pids": {"limit": 8}}))
    assert t.cgroup_file("pids", "pids.max", "pids.max") == "8"
    assert t.cgroup_file("memory", "memory.limit_in_bytes", "memory.max") == str(70 << 20), "what wasn't named changed"


@case(controllers=True)
def update_leaves_devices_alone(t):
    """podman sends the whole of a container's resources along, devices too."""
    t.background()
    t.ok("update", "-r", "-", t.id, stdin=json.dumps({"devices": [{"allow": False, "access": "rwm"}], "pids": {"limit": 8}}))
    t.exec("sh", "-c", "echo x >/dev/null")


@case(controllers=True)
def update_period_and_quota_alone(t):
    t.background()
    t.ok("update", "--cpu-period", "50000", t.id)
    t.ok("update", "--cpu-quota", "25000", t.id)
    if workbench.HYBRID:
        assert t.cgroup_file("cpu", "cpu.cfs_period_us", "") == "50000" and t.cgroup_file("cpu", "cpu.cfs_quota_us", "") == "25000"
    else:
        assert t.cgroup_file("cpu", "", "cpu.max") == "25000 50000"
    t.bad("update", "--cpu-period", "1", t.id)
    t.ok("update", "--cpu-quota", "-1", t.id)


@case(controllers=True)
def update_of_the_paused(t):
    t.background()
    t.ok("pause", t.id)
    t.ok("update", "--pids-limit", "9", t.id)
    assert t.status() == "paused"
    t.ok("resume", t.id)


@case(controllers=True)
def update_cpuset(t):
    t.linux["resources"]["cpu"] = {"cpus": "0-1"}
    t.background()
    t.ok("update", "--cpuset-cpus", "1", t.id)
    assert t.exec("grep", "Cpus_allowed_list", "/proc/self/status").split()[1] == "1"


@case(controllers=True, crun="updates without looking")
def update_below_the_usage(t):
    t.background("head -c 8000000 /dev/zero >/dev/shm/x; touch /ready; sleep 1000")
    assert support.eventually(lambda: os.path.exists(t.root + "/ready"))
    t.bad("update", "-r", "-", t.id, stdin=json.dumps({"memory": {"limit": 1 << 20, "checkBeforeUpdate": True}}))


@case
def update_of_rdt_is_refused(t):
    t.background()
    t.bad("update", "--l3-cache-schema", "L3:0=f", t.id)
