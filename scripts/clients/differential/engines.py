"""The two engines that are compared, each private: roots and namespaces of their own, gone when they are closed."""

import os
import shutil
import signal
import subprocess
import time

from http_unix import Connection

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
CGROUPS = "/sys/fs/cgroup"
FENCE = os.path.join(TOP, "scripts", "lib", "fence")
# In the new network namespace, before the daemon takes the shell's place, so that signals reach it.
NETWORK = ["sh", "-c", "ip link set lo up && echo 1 >/proc/sys/net/ipv4/ip_forward && exec \"$@\"", "sh"]


class Engine:
    """A daemon on a socket."""

    def __init__(self, name, scratch):
        self.name = name
        self.directory = os.path.join(scratch, name)
        self.socket = os.path.join(self.directory, "sock")
        self.log = os.path.join(self.directory, "log")
        self.process = None
        os.makedirs(self.directory)

    def connect(self):
        return Connection(self.socket)

    def spawn(self, command, environment):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.connect().request("GET", "/_ping").status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log) as log:
                    raise RuntimeError(f"{self.name} does not answer; its log ends: {log.read()[-2000:]}")
            time.sleep(0.05)

    def close(self):
        """Ends the daemon as systemd would, and by force if that takes more than 30 s."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Ours(Engine):
    def __init__(self, scratch):
        super().__init__("ours", scratch)
        programs = os.environ.get("MYCONTAINER_BIN", os.path.join(TOP, "bin"))
        registry = os.environ.get("MYCONTAINER_REGISTRY", os.path.join(TOP, "images", "registry"))
        self.spawn(
            ["unshare", "--net", "--", *NETWORK, os.path.join(programs, "mycontainerd"), "--data-root", self.directory + "/data",
             "--exec-root", self.directory + "/exec", "--host", "unix://" + self.socket, "--registry", registry,
             "--pidfile", self.directory + "/pid", "--log-driver", "json-file"],
            dict(os.environ, SWIFT_BACKTRACE="enable=no"))


class Docker(Engine):
    """Debian's dockerd with its containerd, in a PID namespace: whatever they start ends with them."""

    def __init__(self, scratch):
        super().__init__("docker", scratch)
        peers = subprocess.run([os.path.join(TOP, "scripts", "peers")], check=True, stdout=subprocess.PIPE, text=True)
        prefix = peers.stdout.strip()
        self.group = f"mycontainer-differential-{os.getpid()}"
        # No firewall rules: they would need kernel modules that a machine may lack.
        dockerd = ["dockerd", "--host", "unix://" + self.socket, "--data-root", self.directory + "/data", "--exec-root",
                   self.directory + "/exec", "--pidfile", self.directory + "/pid", "--iptables=false",
                   "--ip6tables=false", "--ip-forward=false", "--userland-proxy=false",
                   "--default-cgroupns-mode", "private", "--cgroup-parent", "/" + self.group, "--log-level", "warn"]
        self.spawn(
            ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
             "--mount-proc", "--", FENCE, *NETWORK, *dockerd],
            dict(os.environ, PATH=f"{prefix}/usr/bin:{prefix}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin"))

    def close(self):
        # unshare ignores SIGTERM and waits for its child, so the child is asked; it takes its namespace with it.
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(children) as file:
            for pid in file.read().split():
                os.kill(int(pid), signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for folder, _, _ in os.walk(CGROUPS, topdown=False):
            if self.group in folder.split("/"):
                os.rmdir(folder)


def remove(scratch):
    shutil.rmtree(scratch, ignore_errors=True)
