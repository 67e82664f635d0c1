"""cgroupsPath and resources, as the kernel has them and as they bite."""

import os
import subprocess

import support
import workbench
from cases import case

MIB = 1 << 20


def limits(t, **resources):
    t.linux["resources"].update(resources)


@case
def path(t):
    t.background()
    assert t.cgroups(), "there is no group of that name"
    assert t.path in support.read(f"/proc/{t.state()['pid']}/cgroup")


@case
def path_of_several_parts(t):
    t.linux["cgroupsPath"] = f"/{t.group}/a/b/{t.id}"
    t.background()
    assert f"/{t.group}/a/b/{t.id}" in support.read(f"/proc/{t.state()['pid']}/cgroup")


@case
def root_of_the_cgroup_namespace(t):
    lines = t.run("cat", "/proc/self/cgroup").splitlines()
    assert all(line.split(":", 2)[2] == "/" for line in lines if line.split(":")[1] in ("", "memory", "pids", "cpu")), lines


@case
def groups_go_with_the_container(t):
    t.background()
    assert t.cgroups()
    t.ok("delete", "--force", t.id)
    assert not t.cgroups()


@case
def groups_made_inside_go_too(t):
    t.capable("CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE")
    for entry in t.mounts:
        if entry["destination"] == "/sys/fs/cgroup":
            entry["options"] = ["nosuid", "noexec", "nodev", "rw"]
    t.background("mkdir -p /sys/fs/cgroup/unified/below/deep /sys/fs/cgroup/below /sys/fs/cgroup/pids/below; "
                 "touch /ready; sleep 1000")
    assert support.eventually(lambda: os.path.exists(t.root + "/ready"))
    t.ok("delete", "--force", t.id)
    assert not t.cgroups()


@case(crun="takes it")
def occupied_group_is_refused(t):
    """Another container's group, or anybody's with processes in it."""
    t.background(id=t.id + "-a")
    t.linux["cgroupsPath"] = f"/{t.group}/{t.id}-a"
    t.refused("cgroup", verb="create")
    assert t.status(t.id + "-a") == "running" and t.pids(t.id + "-a")


@case(crun="takes it")
def frozen_group_is_refused_or_thawed(t):
    """What was left frozen must not hang the start."""
    hierarchy = f"{workbench.CGROUP}/freezer" if workbench.HYBRID and t.runtime.name == "runc" else workbench.UNIFIED
    folder = f"{hierarchy}/{t.group}/{t.id}"
    os.makedirs(folder)
    name, value = ("freezer.state", "FROZEN") if "freezer" in folder else ("cgroup.freeze", "1")
    with open(f"{folder}/{name}", "w") as file:
        file.write(value)
    t.linux["cgroupsPath"] = t.path
    result = t.launch("run")
    assert result.status != "stuck" and not str(result.status).startswith("stuck"), result


@case(controllers=True)
def memory(t):
    limits(t, memory={"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB})
    t.background()
    assert t.cgroup_file("memory", "memory.limit_in_bytes", "memory.max") == str(64 * MIB)
    assert t.cgroup_file("memory", "memory.soft_limit_in_bytes", "memory.low") == str(32 * MIB)
    swap = "memory.memsw.limit_in_bytes" if workbench.HYBRID else "memory.swap.max"
    if os.path.exists(f"{workbench.CGROUP}/{'memory/' if workbench.HYBRID else ''}{t.group}/{t.id}/{swap}"):
        assert t.cgroup_file("memory", swap, swap) == str((96 if workbench.HYBRID else 32) * MIB)


@case(controllers=True)
def memory_bites(t):
    limits(t, memory={"limit": 20 * MIB, "swap": 20 * MIB})
    t.namespace("pid", False)
    t.sh("x=a; while :; do x=$x$x; done", status=137)


@case(controllers=True)
def memory_unlimited(t):
    limits(t, memory={"limit": -1})
    t.background()
    text = t.cgroup_file("memory", "memory.limit_in_bytes", "memory.max")
    assert text == "max" or int(text) > 1 << 60


@case(controllers=True)
def cpu(t):
    limits(t, cpu={"shares": 512, "quota": 50000, "period": 100000})
    t.background()
    if workbench.HYBRID:
        assert t.cgroup_file("cpu", "cpu.shares", "") == "512"
        assert t.cgroup_file("cpu", "cpu.cfs_quota_us", "") == "50000"
    else:
        assert t.cgroup_file("", "", "cpu.max") == "50000 100000"
        assert t.cgroup_file("", "", "cpu.weight") == "59"


@case(controllers=True)
def cpu_period_alone(t):
    limits(t, cpu={"period": 900000})
    t.background()
    assert "900000" in t.cgroup_file("cpu", "cpu.cfs_period_us", "cpu.max")


@case(controllers=True)
def cpu_quota_alone(t):
    limits(t, cpu={"quota": 5000})
    t.background()
    assert t.cgroup_file("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "5000"


@case(controllers=True)
def cpu_period_out_of_range(t):
    limits(t, cpu={"period": 100})
    t.refused("cpu", "invalid argument")
    assert not t.pids()


@case(controllers=True)
def cpuset(t):
    limits(t, cpu={"cpus": "0", "mems": "0"})
    assert t.run("grep", "Cpus_allowed_list", "/proc/self/status").split()[1] == "0"


@case(controllers=True)
def cpuset_out_of_range(t):
    limits(t, cpu={"cpus": "4000"})
    t.refused("cpuset", "cpus")


@case(controllers=True)
def affinity_is_that_of_the_cpuset(t):
    """Whoever pinned the runtime pinned it alone."""
    limits(t, cpu={"cpus": "0-1"})
    t.process["args"] = ["grep", "Cpus_allowed_list", "/proc/self/status"]
    result = t.launch("run", preexec_fn=lambda: os.sched_setaffinity(0, {1}))
    assert result.output.split()[1] == "0-1", result


@case(controllers=True)
def pids(t):
    limits(t, pids={"limit": 10})
    t.background()
    assert t.cgroup_file("pids", "pids.max", "pids.max") == "10"


@case(controllers=True)
def pids_bite(t):
    limits(t, pids={"limit": 10})
    assert "can't fork" in t.sh("(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do sleep 5 & done) 2>&1; true")


@case(controllers=True)
def pids_unlimited(t):
    limits(t, pids={"limit": -1})
    t.background()
    assert t.cgroup_file("pids", "pids.max", "pids.max") == "max"


@case(controllers=True)
def io_throttle(t):
    device = next((name for name in sorted(os.listdir("/sys/block")) if not name.startswith(("loop", "ram"))), None)
    if device is None:
        return
    major, minor = support.read(f"/sys/block/{device}/dev").strip().split(":")
    rates = [{"major": int(major), "minor": int(minor), "rate": 1048576}]
    limits(t, blockIO={"throttleReadBpsDevice": rates, "throttleWriteBpsDevice": rates})
    t.background()
    assert "1048576" in t.cgroup_file("blkio", "blkio.throttle.read_bps_device", "io.max")


@case
def devices_denied(t):
    t.linux["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]
    t.capable("CAP_SYSLOG")
    assert "not permitted" in t.sh("head -c 1 /dev/kmsg 2>&1; echo x 2>&1 >/dev/kmsg; true")


@case
def devices_denied_after_update(t):
    t.linux["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]
    t.background()
    if t.runtime.controllers:
        t.ok("update", "--pids-limit", "42", t.id)
    assert "not permitted" in t.exec("sh", "-c", "head -c 1 /dev/kmsg 2>&1; true")


@case
def devices_allowed(t):
    t.linux["resources"]["devices"].append({"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"})
    t.linux["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]
    t.capable("CAP_SYSLOG")
    t.sh("head -n 1 /dev/kmsg")


@case
def devices_of_every_container(t):
    t.sh("echo x >/dev/null; head -c 1 /dev/zero; head -c 1 /dev/urandom >/dev/null")


@case
def devices_made_inside_cannot_be_opened(t):
    t.capable("CAP_MKNOD")
    assert "not permitted" in t.sh("mknod /tmp/mem c 1 1 2>&1 && head -c 1 /tmp/mem 2>&1; true").lower()


@case
def unified(t):
    """A file of cgroup v2 by its name."""
    t.linux["resources"]["unified"] = {"cgroup.max.descendants": "5"}
    if workbench.HYBRID and t.runtime.name == "runc":
        t.refused("unified")
        return
    t.background()
    assert support.read(f"{workbench.UNIFIED}/{t.group}/{t.id}/cgroup.max.descendants").strip() == "5"


@case
def unified_that_is_none(t):
    t.linux["resources"]["unified"] = {"nonesuch.max": "1"}
    t.refused()
    t.linux["resources"]["unified"] = {"../cgroup.procs": "1"}
    t.refused()


@case
def hugepages_of_an_unknown_size(t):
    t.linux["resources"]["hugepageLimits"] = [{"pageSize": "3MB", "limit": 3 * MIB}]
    t.refused()
    assert not t.pids()


@case(controllers=True)
def failure_leaves_nothing(t):
    limits(t, cpu={"period": 1})
    t.refused()
    assert not t.cgroups() or t.runtime.name == "runc"


@case(controllers=True)
def cgroup_files_inside(t):
    limits(t, memory={"limit": 64 * MIB})
    assert str(64 * MIB) in t.sh("cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true")


@case
def delegated_to_a_user_namespace(t):
    """A writable cgroup2 mount belongs to the container's root where the container has a user and a cgroup namespace."""
    if workbench.HYBRID:
        return
    t.user_namespace()
    for entry in t.mounts:
        if entry["destination"] == "/sys/fs/cgroup":
            entry["options"] = ["nosuid", "noexec", "nodev"]
    t.sh("mkdir /sys/fs/cgroup/below && echo $$ >/sys/fs/cgroup/below/cgroup.procs")
