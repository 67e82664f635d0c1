"""One case's workbench: a bundle, one of the runtimes, and the words to ask it with."""

import array
import contextlib
import copy
import fnmatch
import json
import os
import shutil
import socket
import subprocess
import threading

import support

CGROUP = "/sys/fs/cgroup"
HYBRID = os.path.isdir(CGROUP + "/unified")
UNIFIED = CGROUP + "/unified" if HYBRID else CGROUP
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]

SPEC = {
    "ociVersion": "1.2.0",
    "process": {
        "terminal": False, "user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/",
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": False},
    "hostname": "case",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
    ],
    "linux": {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
        "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
}


class Runtime:
    """A runtime under test: how it is started."""

    def __init__(self, name, program):
        self.name, self.program = name, program
        # crun drives cgroup v2 alone: on a hybrid machine it gets the v2 hierarchy in a mount namespace of its own.
        self.prefix = [] if name != "crun" or not HYBRID else [
            "unshare", "--mount", "--propagation", "slave", "--", "sh", "-c",
            f'mount --bind {UNIFIED} {CGROUP} && exec "$@"', "sh"]
        # Whether limits can be set at all where it looks for controllers.
        self.controllers = name != "crun" or not HYBRID


class Receiver:
    """A socket that a runtime hands a descriptor to."""

    def __init__(self, path):
        self.path, self.descriptor, self.payload = path, None, b""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.listener.settimeout(60)
        self.thread = threading.Thread(target=self._receive)
        self.thread.start()

    def _receive(self):
        try:
            peer, _ = self.listener.accept()
        except OSError:
            return
        with peer:
            peer.settimeout(60)
            found = array.array("i")
            self.payload, control, _, _ = peer.recvmsg(65536, socket.CMSG_LEN(4 * found.itemsize))
            for _, kind, data in control:
                if kind == socket.SCM_RIGHTS:
                    found.frombytes(data[:len(data) - len(data) % found.itemsize])
            if found:
                self.descriptor = found[0]

    def take(self):
        """The descriptor that came, or None."""
        self.thread.join()
        self.listener.close()
        os.unlink(self.path)
        return self.descriptor

    def text(self):
        """All that is written to the terminal that came, to its end."""
        master, output = self.take(), b""
        assert master is not None, "no descriptor came"
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                piece = b""
            if not piece:
                break
            output += piece
        os.close(master)
        return output.decode(errors="replace").replace("\r", "")


class Workbench:
    def __init__(self, runtime, folder, rootfs, group, name):
        self.runtime, self.folder, self.group = runtime, folder, group
        self.base = rootfs
        self.id = name
        self.ids = []
        self.root = folder + "/rootfs"
        self.path = f"/{group}/{name}"
        self.spec = copy.deepcopy(SPEC)
        os.makedirs(folder)
        subprocess.run(["cp", "-al", rootfs, self.root], check=True)

    # What the bundle says.

    process = property(lambda self: self.spec["process"])
    linux = property(lambda self: self.spec["linux"])
    mounts = property(lambda self: self.spec["mounts"])

    def mount(self, destination, kind=None, source=None, *options, **more):
        entry = {"destination": destination, "options": list(options), **more}
        if kind:
            entry["type"] = kind
        if source:
            entry["source"] = source
        self.mounts.append(entry)

    def host(self, *names, mode=0o755):
        """A directory of the host's, below the bundle."""
        path = os.path.join(self.folder, *names)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        return path

    def file(self, path, text="", mode=0o644):
        """A file below the bundle (`rootfs/…` for one in the root)."""
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def capable(self, *names):
        """Adds capabilities."""
        sets = self.process["capabilities"]
        for kind in ("bounding", "effective", "permitted"):
            sets[kind] = sets[kind] + list(names)

    def namespace(self, kind, path=None):
        """Replaces the entry of a namespace; path None: a new one, False: none at all."""
        spaces = [entry for entry in self.linux["namespaces"] if entry["type"] != kind]
        if path is not False:
            spaces.append({"type": kind, "path": path} if path else {"type": kind})
        self.linux["namespaces"] = spaces

    def user_namespace(self, first=100000):
        """A user namespace, and a root filesystem that belongs to it."""
        self.namespace("user")
        mapping = [{"containerID": 0, "hostID": first, "size": 65536}]
        self.linux["uidMappings"], self.linux["gidMappings"] = mapping, copy.deepcopy(mapping)
        shutil.rmtree(self.root)
        subprocess.run(["cp", "-a", self.base, self.root], check=True)
        subprocess.run(["chown", "-hR", f"{first}:{first}", self.root], check=True)

    # What the runtime is asked.

    def command(self, *words, root=True):
        return [*self.runtime.prefix, self.runtime.program, *(["--root", self.folder + "/state"] if root else []), *words]

    def call(self, *words, root=True, terminal=False, **options):
        """Any command; its result."""
        ask = support.on_terminal if terminal else support.call
        options.setdefault("cwd", self.folder)
        return ask(self.command(*words, root=root), **options)

    def write(self, name="config.json"):
        with open(os.path.join(self.folder, name), "w") as file:
            json.dump(self.spec, file)

    def launch(self, verb, *flags, id=None, globals=(), **options):
        """`create` or `run` of the bundle as it stands; flags go before the id."""
        self.write()
        id = id or self.id
        self.ids.append(id)
        if self.linux.get("cgroupsPath") is None:
            self.linux["cgroupsPath"] = f"/{self.group}/{id}"
            self.write()
            del self.linux["cgroupsPath"]
        return self.call(*globals, verb, *flags, id, **options)

    def run(self, *args, flags=(), status=0, **options):
        """A program in the foreground, which must end with `status`; what it printed."""
        if args:
            self.process["args"] = list(args)
        result = self.launch("run", *flags, **options)
        assert result.status == status, f"run: {result}"
        return result.output.strip()

    def sh(self, script, **options):
        return self.run("sh", "-c", script, **options)

    def refused(self, *patterns, verb="run", flags=(), **options):
        """The bundle must be refused, for a reason that matches one of the patterns."""
        result = self.launch(verb, *flags, **options)
        assert result.status not in (0, "stuck"), f"{verb} was not refused: {result}"
        told = result.error + result.output
        assert not patterns or any(fnmatch.fnmatch(told.lower(), f"*{pattern}*") for pattern in patterns), \
            f"refused for another reason: {result}"
        return told

    def background(self, script="sleep 1000", flags=(), **options):
        self.process["args"] = ["sh", "-c", script]
        result = self.launch("run", "--detach", *flags, **options)
        assert result.status == 0, f"run --detach: {result}"

    def create(self, *args, flags=(), **options):
        if args:
            self.process["args"] = list(args)
        result = self.launch("create", *flags, **options)
        assert result.status == 0, f"create: {result}"

    def ok(self, *words, **options):
        """A command that must succeed; what it printed."""
        result = self.call(*words, **options)
        assert result.status == 0, f"{' '.join(words)}: {result}"
        return result.output.strip()

    def bad(self, *words, status=None, **options):
        """A command that must fail; what it said."""
        result = self.call(*words, **options)
        assert result.status != 0 and (status is None or result.status == status), f"{' '.join(words)}: {result}"
        return result.error + result.output

    def exec(self, *words, flags=(), status=0, id=None, **options):
        result = self.call("exec", *flags, id or self.id, *words, **options)
        assert result.status == status, f"exec {' '.join(words)}: {result}"
        return result.output.strip()

    @contextlib.contextmanager
    def reading(self, *words):
        """The lines that a command prints while it runs; it is ended afterwards, or when it takes too long."""
        process = subprocess.Popen(self.command(*words), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        limit = threading.Timer(20, process.kill)
        limit.start()
        try:
            yield iter(process.stdout)
        except StopIteration:
            raise AssertionError("it ended, or had to be ended, without a further line") from None
        finally:
            limit.cancel()
            process.kill()
            process.stdout.close()
            process.wait()

    def state(self, id=None):
        result = self.call("state", id or self.id)
        return json.loads(result.output) if result.status == 0 else None

    def status(self, id=None):
        return (self.state(id) or {}).get("status")

    def becomes(self, status, id=None):
        assert support.eventually(lambda: self.status(id) == status), f"it is {self.status(id)} and not {status}"

    def receiver(self, name="sock"):
        return Receiver(os.path.join(self.folder, name))

    # What the kernel says.

    def cgroup_file(self, controller, v1, v2, id=None):
        """A limit, where this runtime's controllers are."""
        where = f"{CGROUP}/{controller}" if HYBRID else CGROUP
        return support.read(f"{where}/{self.group}/{id or self.id}/{v1 if HYBRID else v2}").strip()

    def cgroups(self, id=None):
        """All its cgroups on all hierarchies."""
        ending = f"/{self.group}/{id or self.id}"
        return [folder for folder, _, _ in os.walk(CGROUP) if folder.endswith(ending)]

    def pids(self, id=None):
        found = []
        for folder in self.cgroups(id):
            for below, _, _ in os.walk(folder):
                try:
                    found += support.read(below + "/cgroup.procs").split()
                except OSError:
                    pass
        return set(found)

    def clean(self):
        """Removes all containers; what is left of them."""
        for id in dict.fromkeys(self.ids):
            self.call("delete", "--force", id)
        left = [folder for id in dict.fromkeys(self.ids) for folder in self.cgroups(id)]
        subprocess.run(["rm", "-rf", "--one-file-system", self.folder], check=False)
        return left
