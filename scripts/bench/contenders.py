"""The engines and runtimes that are measured, each started privately: own roots, own namespaces, nothing installed."""

import json
import os
import shutil
import signal
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CGROUP = "/sys/fs/cgroup"
FENCE = TOP + "/scripts/lib/fence"
UNIFIED = CGROUP + "/unified" if os.path.isdir(CGROUP + "/unified") else CGROUP


def programs():
    """The folder of our programs."""
    return os.environ.get("MYCONTAINER_BIN", os.path.join(TOP, "bin"))


class Timer:
    """timer.c, or floor.c, running: takes commands, answers with nanoseconds."""

    def __init__(self, *argv, wrapper=(), environment=None):
        self.process = subprocess.Popen(
            [*wrapper, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment)

    def run(self, *words, expect=0):
        """Runs a command; nanoseconds. Another status than `expect` is an error, with what the command said."""
        self.process.stdin.write("\x1f".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer or (expect is not None and int(answer[1]) != expect):
            self.close()
            raise RuntimeError(f"{' '.join(words) or 'floor'}: status {answer[1:]}: {self.process.stderr.read()[-2000:]}")
        return int(answer[0])

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


def processes(names):
    """The pids of processes that are called one of `names`, by their executable or by their own word for it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            target = os.path.basename(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)"))
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                # What is executed from a detached mount has no path: its first argument says what it is.
                called = os.path.basename(file.read().split(b"\0")[0].decode(errors="replace"))
        except OSError:
            continue
        if target in names or called in names:
            found.append(int(pid))
    return found


def memory(pids, field="Pss"):
    """The sum of a field of smaps_rollup, in KiB."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(field + ":"))
        except OSError:
            continue
    return total


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


class Engine:
    """What ours and docker have in common: a daemon on a socket and a command line."""

    name = ""
    programs = ()

    def __init__(self, scratch, state, registry):
        self.scratch = os.path.join(scratch, self.name)
        # What lives in /run on a real machine.
        self.state = os.path.join(state, self.name)
        self.registry = registry
        self.socket = os.path.join(self.scratch, "sock")
        self.log = os.path.join(self.scratch, "log")
        self.daemons = []
        self.before = set(processes(self.programs))
        os.makedirs(self.scratch)
        os.makedirs(self.state)
        self.environment = dict(os.environ, SWIFT_BACKTRACE="enable=no")

    def spawn(self, *command):
        with open(self.log, "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        self.daemons.append(process)
        return process

    def cli(self, *arguments):
        return [self.client, *arguments]

    def call(self, *arguments, check=True):
        result = subprocess.run(self.cli(*arguments), env=self.environment, stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if check and result.returncode != 0:
            raise RuntimeError(f"{self.name} {' '.join(arguments)}: {result.returncode}: {result.stderr}{result.stdout}")
        return result.stdout.strip()

    def timer(self, path):
        return Timer(path, environment=self.environment)

    def mine(self):
        """All processes that are this engine's: daemons, shims or monitors, and init processes."""
        return [pid for pid in processes(self.programs) if pid not in self.before]

    def detached(self, count, parallel, *flags):
        """Starts containers, `parallel` clients at a time; seconds."""
        command = " ".join(map(subprocess.list2cmdline, [self.cli("run", "-d", *flags, "busybox", "sleep", "100000")]))
        start = time.monotonic()
        subprocess.run(["sh", "-c", f"seq {count} | xargs -P {parallel} -I{{}} {command} >/dev/null"], check=True,
                       env=self.environment)
        return time.monotonic() - start

    def create(self, count):
        command = subprocess.list2cmdline(self.cli("create", "--network", "none", "busybox", "true"))
        subprocess.run(["sh", "-c", f"seq {count} | xargs -P 4 -I{{}} {command} >/dev/null"], check=True,
                       env=self.environment)

    def clear(self):
        """Removes every container."""
        command = subprocess.list2cmdline(self.cli("rm", "-f", "-v"))
        listed = self.call("ps", "-aq", "--no-trunc")
        if listed:
            subprocess.run(["xargs", "-n", "20", "-P", "2", "sh", "-c", command + ' "$@" >/dev/null', "sh"], input=listed,
                           text=True, check=True, env=self.environment)

    def answers(self):
        return subprocess.run(self.cli("version"), env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def stop(self):
        try:
            self.clear()
        except (RuntimeError, subprocess.CalledProcessError):
            pass
        for process in reversed(self.daemons):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in self.mine():
            os.kill(pid, signal.SIGKILL)


class Ours(Engine):
    name = "mycontainer"
    programs = ("mycontainerd", "mycontainer-runtime", "mycontainer-monitor", "mycontainer-init")

    def start(self):
        self.client = os.path.join(programs(), "mycontainer")
        self.environment["MYCONTAINER_HOST"] = "unix://" + self.socket
        self.spawn("unshare", "--net", "--", os.path.join(programs(), "mycontainerd"),
                   "--data-root", self.scratch + "/data", "--exec-root", self.state + "/exec",
                   "-H", "unix://" + self.socket, "--registry", self.registry, "--pidfile", self.scratch + "/pid")
        wait_for(self.answers, 20, "our daemon")
        self.call("pull", "-q", "busybox")
        self.version = self.call("version", "--format", "{{.Server.Version}}")

    def quiet(self):
        """Whether deferred work is done: directories deleted."""
        return not os.listdir(self.scratch + "/data/containers") and not os.listdir(self.state + "/exec/containers")


class Docker(Engine):
    name = "docker"
    programs = ("dockerd", "containerd", "containerd-shim-runc-v2", "docker-init", "runc")

    def __init__(self, scratch, state, registry, peers):
        super().__init__(scratch, state, registry)
        self.peers = peers
        self.group = f"mycontainer-bench-{os.getpid()}-docker"
        self.client = peers + "/usr/bin/docker"
        self.environment.update(
            DOCKER_HOST="unix://" + self.socket, DOCKER_CONFIG=self.scratch + "/config",
            PATH=f"{peers}/usr/bin:{peers}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin")

    def stop(self):
        super().stop()
        for folder, _, _ in os.walk(CGROUP, topdown=False):
            if os.path.basename(folder) == self.group:
                os.rmdir(folder)

    def start(self):
        # A network and a mount namespace of their own: no rule, route or mount of the machine's is touched.
        fence = ["unshare", "--net", "--", FENCE]
        state = self.state + "/containerd"
        with open(self.scratch + "/containerd.toml", "w") as file:
            file.write(f'version = 3\nroot = "{self.scratch}/containerd"\nstate = "{state}/state"\n'
                       'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", '
                       '"io.containerd.cri.v1.runtime"]\n'
                       f'[grpc]\naddress = "{state}/sock"\n')
        os.makedirs(state)
        self.spawn(*fence, "containerd", "--config", self.scratch + "/containerd.toml", "--log-level", "warn")
        wait_for(lambda: os.path.exists(state + "/sock"), 20, "containerd")
        inside = ["nsenter", "--net", "--mount", "-t", str(self.daemons[0].pid), "--"]
        # Its bridge, but no firewall rules: they would need kernel modules that a machine may lack, and cost it more.
        self.spawn(*inside, "dockerd", "-H", "unix://" + self.socket, "--data-root", self.scratch + "/data",
                   "--exec-root", self.state + "/exec", "--pidfile", self.scratch + "/pid",
                   "--containerd", state + "/sock", "--iptables=false", "--ip6tables=false",
                   "--ip-forward=false", "--cgroup-parent", "/" + self.group, "--ip-masq=false", "--userland-proxy=false", "--log-level", "warn")
        wait_for(self.answers, 60, "dockerd")
        archive = self.scratch + "/busybox.tar"
        subprocess.run([FENCE, "skopeo", "copy", "--quiet", f"oci:{self.registry}/busybox:latest",
                        f"docker-archive:{archive}:busybox:latest"], check=True)
        self.call("load", "-q", "-i", archive)
        self.version = self.call("version", "--format", "{{.Server.Version}}")


class Bundles:
    """crun and runc on one prepared bundle: the same root file system, no image, no daemon."""

    def __init__(self, scratch, state, registry, peers, timer):
        self.directory = scratch + "/bundle"
        self.state = state
        self.peers = peers
        unpacked = scratch + "/unpacked"
        subprocess.run(["umoci", "unpack", "--image", f"{registry}/busybox:latest", unpacked], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.makedirs(self.directory)
        shutil.move(unpacked + "/rootfs", self.directory + "/rootfs")
        path = f"{peers}/usr/bin:{peers}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = dict(os.environ, PATH=path)
        subprocess.run(["runc", "spec", "--bundle", self.directory], check=True, env=environment)
        with open(self.directory + "/config.json") as file:
            spec = json.load(file)
        spec["process"].update(args=["true"], terminal=False)
        spec["root"]["readonly"] = False
        spec["process"].pop("rlimits", None)
        with open(self.directory + "/config.json", "w") as file:
            json.dump(spec, file)
        # crun drives cgroup v2 alone: on a hybrid machine it sees the unified hierarchy in a mount namespace of its own.
        # It makes a directory in /run whatever its root is.
        bind = f"mount -t tmpfs run /run && exec {timer}"
        if UNIFIED != CGROUP:
            bind = f"mount --bind {UNIFIED} {CGROUP} && {bind}"
        self.timers = {
            "crun": Timer("sh", "-c", bind, wrapper=("unshare", "--mount", "--propagation", "private", "--"),
                          environment=environment),
            "runc": Timer(timer, environment=environment),
            "mycontainer-runtime": Timer(timer, environment=dict(environment, PATH=f"{programs()}:{path}")),
        }
        self.count = 0

    def command(self, runtime, bundle=None):
        self.count += 1
        root = f"{self.state}/{runtime}-bundles"
        return [runtime, "--root", root, "run", "--bundle", bundle or self.directory, f"bench-{os.getpid()}-{self.count}"]

    def with_profile(self):
        """A second bundle, with podman's default seccomp profile (docker's, for the most part) in its configuration."""
        folder = self.directory + "-profile"
        os.makedirs(folder, exist_ok=True)
        with open(self.directory + "/config.json") as file:
            spec = json.load(file)
        spec["root"]["path"] = self.directory + "/rootfs"
        spec["linux"]["seccomp"] = self.profile(set(spec["process"]["capabilities"]["bounding"]))
        with open(folder + "/config.json", "w") as file:
            json.dump(spec, file)
        return folder

    @staticmethod
    def profile(capabilities):
        """The profile as an engine resolves it: rules that these capabilities and this architecture ask for."""
        unpacked = subprocess.run([TOP + "/scripts/peers", "podman"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        with open(unpacked + "/usr/share/containers/seccomp.json") as file:
            document = json.load(file)
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        rules = []
        for rule in document["syscalls"]:
            wanted, unwanted = rule.pop("includes", {}), rule.pop("excludes", {})
            if set(unwanted.get("caps") or ()) & capabilities or architecture in (unwanted.get("arches") or ()):
                continue
            if set(wanted.get("caps") or ()) - capabilities or architecture not in (wanted.get("arches") or [architecture]):
                continue
            rules.append({key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key) is not None})
        for entry in document["archMap"]:
            if entry["architecture"] == {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}[architecture]:
                architectures = [entry["architecture"], *entry["subArchitectures"]]
        return {"defaultAction": document["defaultAction"], "defaultErrnoRet": document.get("defaultErrnoRet", 1),
                "architectures": architectures, "syscalls": rules}

    def version(self, runtime):
        folder = "sbin" if runtime == "runc" else "bin"
        return subprocess.run([f"{self.peers}/usr/{folder}/{runtime}", "--version"], stdout=subprocess.PIPE,
                              text=True).stdout.split("\n")[0].split()[-1]

    def close(self):
        for timer in self.timers.values():
            timer.close()
