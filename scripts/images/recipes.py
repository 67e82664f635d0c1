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


IMAGES = {recipe.name: recipe for recipe in (Busybox,)}
