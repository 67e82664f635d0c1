"""root, mounts and their options, devices, masked and read-only paths, propagation, id-mapped mounts."""

import os
import subprocess

from cases import case


def options(t, path, field=1, **more):
    """The options of a mount as mountinfo gives them: its own (1), or its file system's (2)."""
    script = f"awk '$5 == \"{path}\" {{ print $6 \" \" $NF }}' /proc/self/mountinfo | tail -n 1"
    return t.sh(script, **more).split(" ")[field - 1].split(",")


@case
def root_read_only(t):
    t.spec["root"]["readonly"] = True
    t.sh("touch /made", status=1)
    assert "ro" in options(t, "/")


@case
def root_writable(t):
    t.sh("touch /made")
    assert os.path.exists(t.root + "/made")


@case
def root_absolute_and_dot(t):
    t.spec["root"]["path"] = t.root
    assert t.run("echo", "here") == "here"
    t.spec["root"]["path"] = "./rootfs/"
    assert t.run("echo", "here") == "here"


@case
def root_that_is_not_there(t):
    t.spec["root"]["path"] = "nonesuch"
    t.refused("nonesuch*no such file", "no such file*nonesuch", "no such file")


@case
def root_is_all_there_is(t):
    assert "etc" in t.run("ls", "/").split() and "work" not in t.run("ls", "/").split()
    assert t.sh("ls -d /.. /../.. && ls /../../bin/probe").endswith("probe")


@case
def bind(t):
    t.file("source/file", "content")
    t.mount("/made/there", "bind", t.folder + "/source", "bind")
    assert t.run("cat", "/made/there/file") == "content"
    assert "rw" in options(t, "/made/there")


@case
def bind_relative(t):
    t.mount("/tmp/bundle", None, ".", "bind")
    t.run("test", "-f", "/tmp/bundle/config.json")


@case
def bind_file(t):
    t.mount("/made/file", "bind", t.file("source", "content"), "bind", "ro")
    assert t.run("cat", "/made/file") == "content"
    t.sh("echo x >/made/file", status=1)


@case
def bind_options(t):
    t.mount("/mnt", "bind", t.host("source"), "bind", "ro", "nosuid", "nodev", "noexec", "noatime")
    assert set(options(t, "/mnt")) >= {"ro", "nosuid", "nodev", "noexec", "noatime"}


@case
def bind_of_nothing(t):
    t.mount("/mnt", "bind", t.folder + "/nonesuch", "bind")
    t.refused("no such file")


@case
def bind_through_links(t):
    """Links in the root are resolved in the root."""
    os.makedirs(t.root + "/real")
    os.symlink("/real", t.root + "/absolute")
    os.symlink("../../../../real", t.root + "/upwards")
    t.file("source/file", "content")
    t.mount("/absolute/a", "bind", t.folder + "/source", "bind")
    t.mount("/upwards/b", "bind", t.folder + "/source", "bind")
    assert t.run("cat", "/real/a/file", "/real/b/file") == "contentcontent"
    assert not os.path.exists("/real")


@case
def bind_on_a_dangling_link(t):
    os.symlink("/not/there", t.root + "/dangling")
    t.file("source/file", "content")
    t.mount("/dangling/x", "bind", t.folder + "/source", "bind")
    assert t.run("cat", "/not/there/x/file") == "content"


@case
def rbind(t):
    t.host("source", "below")
    subprocess.run(["mount", "-t", "tmpfs", "case", t.folder + "/source/below"], check=True)
    t.file("source/below/file", "content")
    try:
        t.mount("/recursive", "bind", t.folder + "/source", "rbind")
        t.mount("/plain", "bind", t.folder + "/source", "bind")
        assert t.run("cat", "/recursive/below/file") == "content"
        t.run("test", "-e", "/plain/below/file", status=1)
    finally:
        subprocess.run(["umount", t.folder + "/source/below"], check=True)


def nested(t, *words):
    """A tree of two mounts, bound with these options; the options of both inside."""
    t.host("source", "below")
    subprocess.run(["mount", "-t", "tmpfs", "case", t.folder + "/source/below"], check=True)
    try:
        t.mount("/mnt", "bind", t.folder + "/source", *words)
        return options(t, "/mnt"), options(t, "/mnt/below")
    finally:
        subprocess.run(["umount", t.folder + "/source/below"], check=True)


@case
def ro_is_for_one_mount(t):
    outer, inner = nested(t, "rbind", "ro")
    assert "ro" in outer and "rw" in inner


@case
def rro_is_for_all(t):
    outer, inner = nested(t, "rbind", "rro")
    assert "ro" in outer and "ro" in inner


@case
def ro_and_rro(t):
    outer, inner = nested(t, "rbind", "ro", "rro")
    assert "ro" in outer and "ro" in inner


@case
def recursive_attributes(t):
    for word in ("nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"):
        outer, inner = nested(t, "rbind", "r" + word)
        assert word in outer and word in inner, (word, outer, inner)
        t.mounts.pop()


@case
def recursive_atime(t):
    outer, inner = nested(t, "rbind", "rstrictatime")
    assert "relatime" not in outer + inner and "noatime" not in outer + inner
    t.mounts.pop()
    outer, inner = nested(t, "rbind", "rrelatime")
    assert "relatime" in outer and "relatime" in inner


@case
def flags_of_the_source_stay(t):
    """A plain bind keeps what the source's mount forbids."""
    t.host("source")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec", "case", t.folder + "/source"], check=True)
    try:
        t.mount("/mnt", "bind", t.folder + "/source", "bind")
        assert set(options(t, "/mnt")) >= {"nosuid", "nodev", "noexec"}
    finally:
        subprocess.run(["umount", t.folder + "/source"], check=True)


@case
def propagation_of_a_mount(t):
    t.host("source")
    subprocess.run(["mount", "-t", "tmpfs", "case", t.folder + "/source"], check=True)
    subprocess.run(["mount", "--make-shared", t.folder + "/source"], check=True)
    try:
        for word, tag in (("rshared", "shared:"), ("rslave", "master:"), ("rprivate", " - ")):
            t.mount("/mnt", "bind", t.folder + "/source", "rbind", word)
            line = t.sh("awk '$5 == \"/mnt\"' /proc/self/mountinfo")
            fields = line.split(" - ")[0].split()[6:]
            if word == "rprivate":
                assert not fields, line
            else:
                assert any(field.startswith(tag) for field in fields), line
            t.mounts.pop()
    finally:
        subprocess.run(["umount", t.folder + "/source"], check=True)


@case
def rootfs_propagation(t):
    for word, tag in (("shared", "shared:"), ("slave", "master:"), ("private", None)):
        t.linux["rootfsPropagation"] = word
        line = t.sh("awk '$5 == \"/\"' /proc/self/mountinfo")
        fields = [field for field in line.split(" - ")[0].split()[6:]]
        if word == "shared":
            assert any(field.startswith("shared:") for field in fields), (word, line)
        else:
            assert not any(field.startswith("shared:") for field in fields), (word, line)


@case
def nothing_appears_on_the_host(t):
    t.capable("CAP_SYS_ADMIN")
    t.mount("/mnt", "bind", t.host("source"), "rbind")
    t.sh("mount -t tmpfs none /mnt && touch /mnt/inside")
    assert not os.path.exists(t.folder + "/source/inside")


@case
def tmpfs(t):
    t.mount("/mnt", "tmpfs", "tmpfs", "size=1m", "mode=700", "nodev", "ro")
    assert set(options(t, "/mnt")) >= {"ro", "nodev"}
    assert t.sh("stat -c %a /mnt; df -k /mnt | tail -n 1 | awk '{ print $2 }'") == "700\n1024"


@case
def tmpfs_mode_of_the_directory(t):
    os.makedirs(t.root + "/there")
    os.chmod(t.root + "/there", 0o710)
    t.mount("/there", "tmpfs", "tmpfs", "nodev")
    assert t.run("stat", "-c", "%a", "/there") == "710"


@case(crun="takes 755")
def tmpfs_mode_of_a_new_directory(t):
    t.mount("/new", "tmpfs", "tmpfs", "nodev")
    assert t.run("stat", "-c", "%a", "/new") == "1777"


@case
def tmpfs_copy_up(t):
    os.makedirs(t.root + "/there/below")
    os.chmod(t.root + "/there/below", 0o777)
    t.file("rootfs/there/below/file", "content")
    os.symlink("below", t.root + "/there/link")
    t.mount("/there", "tmpfs", "tmpfs", "tmpcopyup")
    assert t.sh("stat -c %a /there/below; cat /there/link/file; echo new >/there/below/file") == "777\ncontent"
    assert open(t.root + "/there/below/file").read() == "content"


@case
def tmpfs_through_a_link(t):
    os.makedirs(t.root + "/real/conf")
    os.symlink("/real/conf", t.root + "/conf")
    t.mount("/conf/stack", "tmpfs", "tmpfs", "ro", "nodev")
    t.run("test", "-d", "/real/conf/stack")


@case
def mount_points_inherit_setgid(t):
    os.makedirs(t.root + "/setgid")
    os.chmod(t.root + "/setgid", 0o7755)
    t.mount("/setgid/a/b", "tmpfs", "tmpfs", "ro")
    t.run("true")
    assert os.stat(t.root + "/setgid/a").st_mode & 0o7777 == 0o2755


@case
def mounts_in_order(t):
    t.file("one/file", "one")
    t.file("two/file", "two")
    t.mount("/mnt", "bind", t.folder + "/one", "bind")
    t.mount("/mnt", "bind", t.folder + "/two", "bind")
    assert t.run("cat", "/mnt/file") == "two"


@case(differs="sources are opened before any mount is made, so that the container's half-made root is never one of them",
      crun="as runc")
def source_below_the_root(t):
    """A source that is a mount point of an earlier entry, named by its path on the host."""
    t.file("source/file", "content")
    os.makedirs(t.root + "/mnt")
    t.mount("/mnt", "bind", t.folder + "/source", "bind")
    t.mount("/final", "bind", t.root + "/mnt", "bind")
    assert t.run("cat", "/final/file") == "content"


@case
def proc_as_a_link_is_refused(t):
    """CVE-2019-19921."""
    os.rmdir(t.root + "/proc") if os.path.isdir(t.root + "/proc") else None
    os.makedirs(t.root + "/elsewhere")
    os.symlink("/elsewhere", t.root + "/proc")
    t.refused()


@case
def mount_on_proc_is_refused(t):
    """CVE-2019-16884: only a few files of /proc may be replaced."""
    t.mount("/proc/self", "bind", t.host("source"), "bind")
    t.refused("proc")
    t.mounts.pop()
    t.mount("/proc/uptime", "bind", t.file("uptime", "1 2\n"), "bind")
    assert t.run("cat", "/proc/uptime") == "1 2"


@case
def unknown_file_system(t):
    t.mount("/mnt", "nonesuchfs", "none")
    t.refused("no such device", "nonesuchfs", "unknown")


@case
def unknown_mount_option(t):
    t.mount("/mnt", "tmpfs", "tmpfs", "nonesuch=1")
    t.refused()


@case
def proc_sys_dev(t):
    assert t.sh("awk '$2 == \"/proc\" || $2 == \"/sys\" || $2 == \"/dev\" { print $3 }' /proc/mounts").split() == ["proc", "tmpfs", "sysfs"]


@case
def default_devices(t):
    for name, numbers in (("null", "1,3"), ("zero", "1,5"), ("full", "1,7"), ("random", "1,8"), ("urandom", "1,9"), ("tty", "5,0")):
        assert t.run("stat", "-c", "%t,%T %a", f"/dev/{name}") == f"{numbers} 666", name
    assert t.sh("for name in fd stdin stdout stderr; do readlink /dev/$name; done").split() == \
        ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"]
    assert t.run("readlink", "/dev/ptmx").endswith("pts/ptmx")
    t.sh("echo x >/dev/null && head -c 1 /dev/zero >/dev/null")


@case
def dev_read_only(t):
    for entry in t.mounts:
        if entry["destination"] == "/dev":
            entry["options"].append("ro")
    assert "ro" in options(t, "/dev")
    t.sh("echo x >/dev/null")


@case
def devices(t):
    t.linux["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o640, "uid": 5, "gid": 6},
                          {"path": "/made/pipe", "type": "p", "fileMode": 0o600}]
    assert t.run("stat", "-c", "%t,%T %a %u:%g", "/dev/kmsg") == "1,b 640 5:6"
    t.run("test", "-p", "/made/pipe")


@case
def devices_that_are_there_anyway(t):
    t.linux["devices"] = [{"path": "/dev/tty", "type": "c", "major": 5, "minor": 0, "fileMode": 0o666, "uid": 0, "gid": 0}]
    t.run("test", "-c", "/dev/tty")


@case
def device_ptmx_that_is_there_anyway(t):
    t.linux["devices"] = [{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}]
    t.run("test", "-e", "/dev/ptmx")


@case
def device_of_an_unknown_kind(t):
    t.linux["devices"] = [{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]
    t.refused()


@case
def masked_paths(t):
    t.file("rootfs/secret/file", "secret")
    t.file("rootfs/file", "secret")
    t.linux["maskedPaths"] = ["/secret", "/file", "/nonesuch", "/secret", "/proc/kcore"]
    assert t.sh("ls /secret; cat /file; stat -c %t,%T /file") == "1,3"
    t.sh("touch /secret/x", status=1)


@case
def masked_through_a_link(t):
    t.file("rootfs/secret/file", "secret")
    os.symlink("/secret", t.root + "/link")
    t.linux["maskedPaths"] = ["/link"]
    assert t.sh("ls /secret") in ("", "file")


@case
def masked_under_a_read_only_root(t):
    t.spec["root"]["readonly"] = True
    os.makedirs(t.root + "/secret")
    t.linux["maskedPaths"] = ["/secret"]
    t.run("true")


@case
def read_only_paths(t):
    t.file("rootfs/there/file", "content")
    t.linux["readonlyPaths"] = ["/there", "/nonesuch", "/proc/sys"]
    t.sh("cat /there/file; touch /there/file", status=1)
    t.sh("echo x >/proc/sys/kernel/hostname", status=1)


@case
def sysctl_is_read_only_inside(t):
    t.sh("echo 1 >/proc/sys/net/ipv4/ip_forward", status=1)


@case(runc="leaves the root of the v1 mounts, a tmpfs, writable")
def cgroup_mount_is_read_only(t):
    t.sh("for f in $(awk '$2 ~ \"^/sys/fs/cgroup\" { print $2 }' /proc/mounts); do mkdir $f/made 2>/dev/null && exit 1; done; exit 0")


@case
def cgroup_mount_shows_the_container_alone(t):
    """Its processes in its own group, and nobody else's groups."""
    assert t.sh("cat /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/unified/cgroup.procs /sys/fs/cgroup/pids/cgroup.procs 2>/dev/null | "
                "grep -c '^1$'") != "0"


def mapped(first):
    return {"uidMappings": [{"containerID": 0, "hostID": first, "size": 65536}],
            "gidMappings": [{"containerID": 0, "hostID": first, "size": 65536}]}


@case
def idmap(t):
    """On the disk 0, in the mount 100000 as seen by the host."""
    t.file("source/file", "content")
    t.mount("/mnt", "bind", t.folder + "/source", "bind", **mapped(100000))
    assert t.run("stat", "-c", "%u:%g", "/mnt/file") == "100000:100000"


@case
def idmap_in_a_user_namespace(t):
    t.user_namespace()
    t.file("source/file", "content")
    t.mount("/mnt", "bind", t.folder + "/source", "bind", **mapped(100000))
    t.mount("/plain", "bind", t.folder + "/source", "bind")
    assert t.sh("stat -c %u:%g /mnt/file /plain/file; touch /mnt/new") == "0:0\n65534:65534"
    assert os.stat(t.folder + "/source/new").st_uid == 0


@case
def idmap_by_option(t):
    """`idmap` without mappings means those of the user namespace."""
    t.user_namespace()
    t.file("source/file", "content")
    t.mount("/mnt", "bind", t.folder + "/source", "bind", "idmap")
    assert t.run("stat", "-c", "%u:%g", "/mnt/file") == "0:0"


@case
def idmap_without_any_mapping(t):
    t.mount("/mnt", "bind", t.host("source"), "bind", "idmap")
    t.refused()


@case(crun="has another notation for it")
def ridmap(t):
    t.user_namespace()
    t.host("source", "below")
    subprocess.run(["mount", "-t", "tmpfs", "case", t.folder + "/source/below"], check=True)
    t.file("source/below/file")
    try:
        t.mount("/once", "bind", t.folder + "/source", "rbind", "idmap")
        t.mount("/all", "bind", t.folder + "/source", "rbind", "ridmap")
        assert t.sh("stat -c %u:%g /once /once/below/file /all /all/below/file").split() == ["0:0", "65534:65534", "0:0", "0:0"]
    finally:
        subprocess.run(["umount", t.folder + "/source/below"], check=True)


@case
def idmap_two_kinds(t):
    t.file("source/file", "content")
    t.mount("/one", "bind", t.folder + "/source", "bind", **mapped(100000))
    t.mount("/two", "bind", t.folder + "/source", "bind", **mapped(200000))
    t.mount("/plain", "bind", t.folder + "/source", "bind")
    assert t.sh("stat -c %u /one/file /two/file /plain/file").split() == ["100000", "200000", "0"]


@case
def idmap_of_several_ranges(t):
    os.chown(t.file("source/a"), 0, 0)
    os.chown(t.file("source/b"), 1000, 1000)
    ranges = [{"containerID": 0, "hostID": 5000, "size": 1}, {"containerID": 1000, "hostID": 6000, "size": 10}]
    t.mount("/mnt", "bind", t.folder + "/source", "bind", uidMappings=ranges, gidMappings=ranges)
    assert t.sh("stat -c %u:%g /mnt/a /mnt/b").split() == ["5000:5000", "6000:6000"]


@case
def idmap_relative_and_propagation(t):
    t.file("source/file", "content")
    t.mount("/mnt", "bind", "source", "rbind", "rshared", **mapped(100000))
    assert t.run("stat", "-c", "%u", "/mnt/file") == "100000"


@case
def no_mount_namespace_and_a_root(t):
    """Without a mount namespace of its own there is nothing to mount in."""
    t.namespace("mount", False)
    t.mount("/mnt", "tmpfs", "tmpfs")
    t.launch("run")
    assert not os.path.ismount(t.root + "/mnt") and "/mnt" not in open("/proc/mounts").read().split()
