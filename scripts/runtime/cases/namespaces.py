"""Namespaces, new, joined and left out; id mappings, sysctls, clocks, names."""

import os

from cases import case

INSIDE = "for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done"


@case
def new(t):
    inside = t.sh(INSIDE).split()
    outside = [os.readlink(f"/proc/self/ns/{name}") for name in ("pid", "net", "ipc", "uts", "mnt", "cgroup")]
    assert not set(inside) & set(outside)
    assert t.sh("echo $$") == "1"


@case
def left_out(t):
    for kind, name in (("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")):
        t.namespace(kind, False)
        if kind == "uts":
            del t.spec["hostname"]
        assert t.run("readlink", f"/proc/self/ns/{name}") == os.readlink(f"/proc/self/ns/{name}"), kind


@case
def joined(t):
    t.background(id=t.id + "-a")
    pid = t.state(t.id + "-a")["pid"]
    for kind, name in (("network", "net"), ("ipc", "ipc"), ("pid", "pid"), ("cgroup", "cgroup"), ("uts", "uts")):
        t.namespace(kind, f"/proc/{pid}/ns/{name}")
    del t.spec["hostname"]
    inside = t.sh("for n in net ipc pid cgroup uts; do readlink /proc/self/ns/$n; done").split()
    assert inside == [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("net", "ipc", "pid", "cgroup", "uts")]


@case
def joined_mount_namespace(t):
    t.file("rootfs/mark", "first")
    t.background(id=t.id + "-a")
    pid = t.state(t.id + "-a")["pid"]
    t.namespace("mount", f"/proc/{pid}/ns/mnt")
    t.namespace("pid", f"/proc/{pid}/ns/pid")
    t.spec["mounts"], t.linux["maskedPaths"], t.linux["readonlyPaths"] = [], [], []
    t.process["args"] = ["true"]
    result = t.launch("run")
    assert result.status in (0, 1), result
    assert t.status(t.id + "-a") == "running"


@case
def joined_path_that_is_not_there(t):
    t.namespace("network", "/nonesuch")
    t.refused("no such file")


@case
def joined_path_of_another_kind(t):
    t.namespace("network", "/proc/self/ns/uts")
    t.refused()


@case
def unknown_kind(t):
    t.linux["namespaces"].append({"type": "nonesuch"})
    t.refused("namespace")


@case
def one_kind_twice(t):
    t.linux["namespaces"].append({"type": "pid"})
    t.refused("twice", "duplicat*", "namespace")


@case
def user(t):
    t.user_namespace()
    assert t.sh("id -u; cat /proc/self/uid_map /proc/self/gid_map").split() == ["0"] + ["0", "100000", "65536"] * 2
    assert t.sh("stat -c %u:%g /bin/busybox; touch /made") == "0:0"
    assert os.stat(t.root + "/made").st_uid == 100000


@case
def user_of_another_id(t):
    t.user_namespace()
    t.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5]}
    assert t.sh("id -u; touch /tmp/made 2>/dev/null; id -G").split()[0] == "1000"


@case
def user_without_mappings(t):
    t.namespace("user")
    t.refused("mapping", "uid")


@case
def user_joined(t):
    t.user_namespace()
    t.background(id=t.id + "-a")
    pid = t.state(t.id + "-a")["pid"]
    for kind, name in (("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")):
        t.namespace(kind, f"/proc/{pid}/ns/{name}")
    del t.linux["uidMappings"], t.linux["gidMappings"], t.spec["hostname"]
    assert t.run("readlink", "/proc/self/ns/user") == os.readlink(f"/proc/{pid}/ns/user")
    assert t.run("readlink", "/proc/self/ns/net") == os.readlink(f"/proc/{pid}/ns/net")


@case
def user_reaches_a_closed_source(t):
    """A source that only the host's root can reach is bound all the same."""
    t.user_namespace()
    t.host("closed", "source")
    t.file("closed/source/file", "content", 0o644)
    os.chmod(t.folder + "/closed", 0o700)
    t.mount("/mnt", "bind", t.folder + "/closed/source", "bind")
    assert t.run("cat", "/mnt/file") == "content"
    t.background()
    assert t.exec("cat", "/mnt/file") == "content"


@case
def user_gets_devices(t):
    t.user_namespace()
    t.sh("echo x >/dev/null && head -c 1 /dev/zero >/dev/null && test -c /dev/tty")


@case
def user_terminal(t):
    t.user_namespace()
    t.process["terminal"] = True
    assert t.sh("stat -c %u:%g $(tty)", terminal=True) == "0:5"


@case
def user_can_name_its_host(t):
    t.user_namespace()
    assert t.run("hostname") == "case"


@case
def hostname_and_domainname(t):
    t.spec["hostname"], t.spec["domainname"] = "one", "two.example"
    assert t.sh("hostname; cat /proc/sys/kernel/domainname") == "one\ntwo.example"
    assert os.uname().nodename != "one"


@case
def hostname_without_a_namespace(t):
    before = os.uname().nodename
    t.namespace("uts", False)
    t.refused("hostname", "uts")
    assert os.uname().nodename == before


@case
def loopback_is_up(t):
    assert "UP" in t.sh("ip link show lo")


@case
def sysctl(t):
    t.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "123456", "net/ipv4/ip_local_port_range": "2000 3000"}
    assert t.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax /proc/sys/net/ipv4/ip_local_port_range").split() == \
        ["1", "123456", "2000", "3000"]


@case
def sysctl_of_the_host_is_refused(t):
    """CVE-2022-0811 among others."""
    for name, value in (("kernel.core_pattern", "|/bin/x"), ("vm.swappiness", "1"), ("kernel.panic", "1"), ("fs.file-max", "100")):
        t.linux["sysctl"] = {name: value}
        t.refused(name.split(".")[1].replace("_", "?"), "sysctl")


@case
def sysctl_of_a_shared_namespace_is_refused(t):
    t.namespace("network", False)
    t.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    t.refused("net")


@case
def sysctl_in_a_user_namespace(t):
    t.user_namespace()
    t.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    assert t.sh("cat /proc/sys/net/ipv4/ip_forward") == "1"


@case
def time(t):
    t.namespace("time")
    t.linux["timeOffsets"] = {"monotonic": {"secs": 7881, "nanosecs": 2718281}, "boottime": {"secs": 1337, "nanosecs": 3141519}}
    lines = t.run("cat", "/proc/self/timens_offsets").split()
    assert lines == ["monotonic", "7881", "2718281", "boottime", "1337", "3141519"], lines
    t.background()
    assert t.exec("cat", "/proc/self/timens_offsets").split() == lines
    assert t.exec("readlink", "/proc/self/ns/time") == os.readlink(f"/proc/{t.state()['pid']}/ns/time")


@case
def time_without_offsets(t):
    t.namespace("time")
    assert t.run("readlink", "/proc/self/ns/time") != os.readlink("/proc/self/ns/time")


@case
def time_offsets_without_a_namespace(t):
    t.linux["timeOffsets"] = {"monotonic": {"secs": 7881}}
    t.refused("time")


@case
def time_in_a_user_namespace(t):
    t.user_namespace()
    t.namespace("time")
    t.linux["timeOffsets"] = {"monotonic": {"secs": 7881}, "boottime": {"secs": 1337}}
    assert "7881" in t.run("cat", "/proc/self/timens_offsets")


@case
def intel_rdt(t):
    """Refused where it can't be had, in words."""
    t.linux["intelRdt"] = {"closID": "guaranteed_group", "l3CacheSchema": "L3:0=7f0"}
    t.refused("rdt")


@case(alone="ours is the only one to refuse it", runc="1.3 ignores it", crun="has another notion of it")
def memory_policy(t):
    """Of runtime-spec 1.3, refused by name; an empty one asks for nothing."""
    t.linux["memoryPolicy"] = {}
    t.run("true")
    t.linux["memoryPolicy"] = {"mode": "MPOL_INTERLEAVE", "nodes": "0"}
    t.refused("memorypolicy")


@case(alone="ours is the only one to refuse it", runc="1.3 ignores it", crun="moves the device")
def net_devices(t):
    """Of runtime-spec 1.3, refused by name."""
    t.linux["netDevices"] = {}
    t.run("true")
    t.linux["netDevices"] = {"eth0": {"name": "eth1"}}
    t.refused("netdevices")


@case
def apparmor_where_there_is_none(t):
    """A profile is only for hosts that have the module."""
    if os.path.exists("/sys/module/apparmor/parameters/enabled"):
        return
    t.process["apparmorProfile"] = "nonesuch"
    t.launch("run")


@case
def version_of_the_specification(t):
    for text in ("1.0.0", "1.0.2-dev", "1.2.0", "1.3.0"):
        t.spec["ociVersion"] = text
        t.run("true")


@case
def unknown_fields_are_ignored(t):
    t.spec["nonesuch"] = {"a": [1]}
    t.linux["nonesuch"] = True
    t.process["nonesuch"] = None
    t.run("true")
