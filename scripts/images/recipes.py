"""How each image of the registry directory is made."""

import filecmp
import os
import shutil
import stat
import subprocess

import packages
from layout import Layer, Layout

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Recipe:
    name = ""

    def __init__(self, top, cache, registry):
        self.top = top
        self.cache = cache
        self.registry = registry
        self.directory = os.path.join(registry, self.name)
        self.files = os.path.join(top, "images", self.name)

    def scratch(self, name):
        return os.path.join(self.cache, f"{self.name}-{name}")

    def layout(self):
        # On the registry's own file system, so that publishing is a rename.
        os.makedirs(self.registry, exist_ok=True)
        return Layout(self.directory, os.path.join(self.registry, f".{self.name}.new"))


class Busybox(Recipe):
    """Debian's static busybox with a link for each of its programs. One layer."""

    name = "busybox"

    def key(self):
        return packages.version("busybox-static")

    def build(self):
        version = packages.version("busybox-static")
        [deb] = packages.download([f"busybox-static={version}"], self.scratch("debs"))
        tree = self.scratch("tree")
        shutil.rmtree(tree, ignore_errors=True)
        subprocess.run(["dpkg-deb", "-x", deb, tree], check=True)
        binary = os.path.join(tree, "bin/busybox")
        epoch = int(os.stat(binary).st_mtime)
        programs = sorted(set(packages.output(binary, "--list-full").split()) - {"bin/busybox", "linuxrc"})

        layer = Layer(self.scratch("layer"), epoch)
        layer.directory(".")
        for name in ["bin", "dev", "etc"]:
            layer.directory(name)
        for name in sorted(os.listdir(os.path.join(self.files, "rootfs/etc"))):
            mode = 0o600 if name == "shadow" else 0o644
            layer.file(f"etc/{name}", os.path.join(self.files, "rootfs/etc", name), mode)
        layer.directory("home", uid=65534, gid=65534)
        layer.directory("root", 0o700)
        layer.directory("sbin")
        layer.directory("tmp", 0o1777)
        for name in ["usr", "usr/bin", "usr/sbin", "var", "var/spool"]:
            layer.directory(name)
        layer.directory("var/spool/mail", uid=8, gid=8)
        layer.directory("var/www")
        layer.file("bin/busybox", binary, 0o755)
        for name in programs:
            layer.hard_link(name, "bin/busybox")
        layer.finish()
        layout = self.layout()
        layout.image(
            ["latest", packages.upstream(version)], [layer], {"Cmd": ["sh"], "Env": [PATH]},
            [(f"Debian busybox-static {version}", False), ('CMD ["sh"]', True)], epoch, packages.architecture())
        layout.publish()
        os.unlink(layer.path)


class Debian(Recipe):
    """debootstrap's minbase; a layer that takes away documentation; a layer of settings for containers."""

    name = "debian"

    def key(self):
        return f"{packages.release()} {packages.version('base-files')} {packages.version('libc6')}"

    @property
    def tree(self):
        """The unpacked system, kept for the images that stand on it."""
        return self.scratch("tree")

    def bootstrap(self):
        stamp = self.scratch("tree.key")
        if os.path.exists(stamp) and open(stamp).read() == self.key():
            return
        new = self.tree + ".new"
        shutil.rmtree(new, ignore_errors=True)
        log = self.scratch("debootstrap.log")
        command = ["debootstrap", "--variant=minbase", packages.release(), new, packages.mirror()]
        with open(log, "wb") as file:
            # In a mount namespace of its own, so that the /proc it mounts never outlives it.
            done = subprocess.run(
                ["unshare", "--mount", "--propagation", "private", *command], stdout=file, stderr=file,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"})
        if done.returncode:
            raise SystemExit(f"scripts/images: debootstrap failed, see {log}")
        scrub(new)
        shutil.rmtree(self.tree, ignore_errors=True)
        os.rename(new, self.tree)
        with open(stamp, "w") as file:
            file.write(self.key())

    def layers(self):
        """Layers and the history that goes with them."""
        self.bootstrap()
        epoch = changelog_epoch(self.tree)
        normalise(self.tree, epoch)
        base = Layer(self.scratch("base"), epoch)
        for name in walk(self.tree):
            base.tree_entry(self.tree, name)
        base.finish()

        slim = Layer(self.scratch("slim"), epoch)
        # Files and directories of the layer below that go away…
        for name in ["usr/share/info", "usr/share/lintian", "usr/share/man"]:
            if os.path.lexists(os.path.join(self.tree, name)):
                slim.whiteout(name)
        # …and a directory that is replaced as a whole: of the documentation only the licences stay.
        slim.directory("usr/share/doc")
        slim.opaque("usr/share/doc")
        for package in sorted(os.listdir(os.path.join(self.tree, "usr/share/doc"))):
            source = os.path.join(self.tree, "usr/share/doc", package)
            licence = os.path.join(source, "copyright")
            if os.path.islink(source):
                slim.symbolic_link(f"usr/share/doc/{package}", os.readlink(source))
            elif os.path.islink(licence):
                slim.directory(f"usr/share/doc/{package}")
                slim.symbolic_link(f"usr/share/doc/{package}/copyright", os.readlink(licence))
            elif os.path.exists(licence):
                slim.directory(f"usr/share/doc/{package}")
                slim.file(f"usr/share/doc/{package}/copyright", licence)
        slim.finish()

        settings = Layer(self.scratch("settings"), epoch)
        settings.file("etc/apt/apt.conf.d/docker-clean", os.path.join(self.top, "images/debian/docker-clean"))
        settings.file("usr/sbin/policy-rc.d", os.path.join(self.top, "images/debian/policy-rc.d"), 0o755)
        settings.finish()
        release = packages.release()
        return [base, slim, settings], epoch, [
            (f"debootstrap --variant=minbase {release}", False),
            ("remove documentation but licences", False),
            ("settings for containers", False),
        ]

    def build(self):
        layers, epoch, history = self.layers()
        with open(os.path.join(self.tree, "etc/debian_version")) as file:
            point = file.read().strip()
        layout = self.layout()
        layout.image(
            ["latest", packages.release(), point.split(".")[0], point], layers, {"Cmd": ["bash"], "Env": [PATH]},
            [*history, ('CMD ["bash"]', True)], epoch, packages.architecture())
        layout.publish()


class Redis(Debian):
    """Debian's redis-server on the debian image, once more with its own layer packed by zstd."""

    name = "redis"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.base = Debian(*arguments)

    def key(self):
        return f"{self.base.key()} {packages.version('redis-server')}"

    def build(self):
        version = packages.version("redis-server")
        base, epoch, history = self.base.layers()
        before, tree = self.base.tree, self.scratch("tree")
        shutil.rmtree(tree, ignore_errors=True)
        subprocess.run(["cp", "-a", before, tree], check=True)
        debs = packages.download(packages.missing("redis-server", tree), os.path.join(tree, "debs"))
        shutil.copy(os.path.join(self.top, "images/debian/policy-rc.d"), os.path.join(tree, "usr/sbin/policy-rc.d"))
        log = self.scratch("install.log")
        with open(log, "wb") as file:
            done = subprocess.run(
                ["unshare", "--mount", "--propagation", "private", "chroot", tree, "dpkg", "-i",
                 *("/debs/" + os.path.basename(deb) for deb in debs)], stdout=file, stderr=file,
                env={"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", "PATH": PATH.removeprefix("PATH="),
                     "SOURCE_DATE_EPOCH": str(epoch)})
        if done.returncode:
            raise SystemExit(f"scripts/images: dpkg could not install redis-server, see {log}")
        shutil.rmtree(os.path.join(tree, "debs"))
        os.unlink(os.path.join(tree, "usr/sbin/policy-rc.d"))
        scrub(tree)
        for name in ["usr/share/doc", "usr/share/info", "usr/share/lintian", "usr/share/man"]:
            shutil.rmtree(os.path.join(tree, name))
            shutil.copytree(os.path.join(before, name), os.path.join(tree, name), symlinks=True)
        os.makedirs(os.path.join(tree, "data"))
        owner = os.stat(os.path.join(tree, "var/lib/redis"))
        os.chown(os.path.join(tree, "data"), owner.st_uid, owner.st_gid)
        os.chmod(os.path.join(tree, "data"), 0o750)
        entrypoint = os.path.join(tree, "usr/local/bin/docker-entrypoint.sh")
        shutil.copy(os.path.join(self.files, "docker-entrypoint.sh"), entrypoint)
        os.chmod(entrypoint, 0o755)
        epoch = max(epoch, int(os.stat(os.path.join(tree, "usr/bin/redis-server")).st_mtime))
        normalise(tree, epoch)

        layout = self.layout()
        config = {
            "Cmd": ["redis-server"], "Entrypoint": ["docker-entrypoint.sh"],
            "Env": [PATH, f"REDIS_VERSION={packages.upstream(version)}"], "ExposedPorts": {"6379/tcp": {}},
            "StopSignal": "SIGTERM", "User": "redis", "Volumes": {"/data": {}}, "WorkingDir": "/data",
        }
        number = packages.upstream(version)
        for compression, tags in [("gzip", ["latest", number, number.split(".")[0]]), ("zstd", ["zstd"])]:
            layer = Layer(self.scratch(compression), epoch, compression)
            difference(before, tree, layer)
            layer.finish()
            layout.image(
                tags, [*base, layer], config,
                [*history, (f"Debian redis-server {version}", False), ('CMD ["redis-server"]', True)], epoch,
                packages.architecture())
        layout.publish()
        shutil.rmtree(tree)


def walk(root):
    """Names of everything in a tree, parents first, sorted; `.` is the root itself."""
    yield "."
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted(names + files):
            yield os.path.relpath(os.path.join(directory, name), root)


def scrub(root):
    """Takes away what differs from one installation of the same packages to the next."""
    for name in [
        "etc/hostname", "etc/machine-id", "etc/resolv.conf", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-",
        "etc/.pwd.lock", "var/cache/ldconfig/aux-cache", "var/lib/dpkg/status-old", "var/lib/dpkg/available-old",
        "var/lib/dpkg/diversions-old", "var/lib/dpkg/statoverride-old", "var/cache/debconf/config.dat-old",
        "var/cache/debconf/templates.dat-old", "var/lib/dpkg/lock", "var/lib/dpkg/lock-frontend",
        "var/lib/dpkg/triggers/Lock", "var/lib/systemd/random-seed",
    ]:
        path = os.path.join(root, name)
        if os.path.lexists(path):
            os.unlink(path)
    for name in ["var/log", "var/lib/apt/lists", "var/cache/apt", "tmp", "debootstrap"]:
        for directory, _, files in os.walk(os.path.join(root, name)):
            for file in files:
                os.unlink(os.path.join(directory, file))
    # The kernel's file systems are mounted here by whoever runs the image.
    for name in ["dev", "proc", "run", "sys"]:
        shutil.rmtree(os.path.join(root, name))
        os.mkdir(os.path.join(root, name), 0o755)


def changelog_epoch(root):
    """The time of the newest package in a tree, by the times of the changelogs that packages come with."""
    newest = 0
    for directory, _, files in os.walk(os.path.join(root, "usr/share/doc")):
        for name in files:
            if name.startswith("changelog"):
                newest = max(newest, int(os.lstat(os.path.join(directory, name)).st_mtime))
    return newest


def normalise(root, epoch):
    """Days of the last password change are days of the build: take the packages' time instead."""
    path = os.path.join(root, "etc/shadow")
    with open(path) as file:
        rows = [line.split(":") for line in file.read().splitlines()]
    text = "".join(":".join([*row[:2], str(epoch // 86400), *row[3:]]) + "\n" for row in rows)
    with open(path, "w") as file:
        file.write(text)


def difference(before, after, layer):
    """Writes what turns the tree `before` into `after`: new and changed entries, then whiteouts."""
    new = list(walk(after))
    for name in new:
        if changed(os.path.join(before, name), os.path.join(after, name)):
            layer.tree_entry(after, name)
    gone = set(walk(before)) - set(new)
    for name in sorted(gone):
        if os.path.dirname(name) not in gone:
            layer.whiteout(name)


def changed(old, new):
    if not os.path.lexists(old):
        return True
    left, right = os.lstat(old), os.lstat(new)
    if (left.st_mode, left.st_uid, left.st_gid) != (right.st_mode, right.st_uid, right.st_gid):
        return True
    if stat.S_ISLNK(left.st_mode):
        return os.readlink(old) != os.readlink(new)
    return stat.S_ISREG(left.st_mode) and not filecmp.cmp(old, new, shallow=False)


IMAGES = {recipe.name: recipe for recipe in (Busybox, Debian, Redis)}
