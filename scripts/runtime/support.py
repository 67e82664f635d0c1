"""What the runtime's suites share: commands with a time limit, with a terminal, and counted checks."""

import ctypes
import errno
import fcntl
import fnmatch
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# PID 1 of a pid namespace: it reaps what is left to it.
INIT = ("bash", "-c", '"$@"; exit $?', "init")
# What engines write beside the folders that they are told goes with it.
FENCE = os.path.join(TOP, "scripts/lib/fence")
LIMIT = int(os.environ.get("CHECK_LIMIT", "60"))


def runtime():
    """The runtime under test."""
    return os.path.join(os.environ.get("MYCONTAINER_BIN", os.path.join(TOP, "bin")), "mycontainer-runtime")


def registry():
    return os.environ.get("MYCONTAINER_REGISTRY", os.path.join(TOP, "images/registry"))


def peers(*which):
    """The folder of unpacked peers, made where it is absent."""
    return subprocess.run([TOP + "/scripts/peers", *which], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def heed_signals():
    """Ends the ignoring of signals: a shell's job in the background ignores some, and make even those two that the C
    library keeps for itself (32 and 33); a runtime hands down what it was given. Python's own two are its own matter."""
    ignored = int(re.search(r"^SigIgn:\s*(\w+)", read("/proc/self/status"), re.M).group(1), 16)
    rt_sigaction = {"x86_64": 13, "aarch64": 134}[os.uname().machine]
    for number in range(1, 65):
        if ignored >> number - 1 & 1 and number not in (signal.SIGPIPE, signal.SIGXFSZ):
            ctypes.CDLL(None).syscall(rt_sigaction, number, bytes(32), None, 8)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def scratch():
    """A folder to work in. Its name is also that of cgroups and of containerd's namespace, which takes no odd letters."""
    path = os.path.join(os.environ.get("MYCONTAINER_SCRATCH", "/var/tmp"), "mycontainer-test-" + os.urandom(6).hex())
    os.mkdir(path, 0o700)
    return path


def read(path):
    with open(path) as file:
        return file.read()


def eventually(condition, seconds=60):
    """Asks until `condition` is true; false when it was not by then."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Result:
    def __init__(self, status, output, error=""):
        self.status, self.output, self.error = status, output, error

    def __repr__(self):
        return f"status {self.status}, output {self.output!r}, errors {self.error[-1500:]!r}"


def call(command, stdin="", **options):
    """Runs a command to its end; output goes to files, so that a child that keeps them open holds nobody up."""
    with open(os.memfd_create("out"), "w+b") as out, open(os.memfd_create("err"), "w+b") as err:
        feed = subprocess.DEVNULL if stdin == "" else subprocess.PIPE
        process = subprocess.Popen(command, stdin=feed, stdout=out, stderr=err, **options)
        try:
            if feed == subprocess.PIPE:
                process.communicate(stdin.encode(), timeout=LIMIT)
            process.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return Result(f"stuck for {LIMIT} s", "")
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return Result(process.returncode, *texts)


def on_terminal(command, rows=30, columns=100, **options):
    """Runs a command on a terminal of its own; what it writes there, with line ends as a file has them."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def take():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take, **options)
    os.close(slave)
    output, deadline = b"", time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            piece = os.read(master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            piece = b""
        if not piece:
            break
        output += piece
    else:
        process.kill()
    os.close(master)
    process.wait()
    return Result(process.returncode, output.decode(errors="replace").replace("\r", ""))


class Checks:
    """Counts checks; one that fails is told at once, with all that its command said."""

    def __init__(self):
        self.passed = self.failed = 0

    def record(self, name, good, told=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f"not ok: {name}\n  {told}", flush=True)
        return good

    def expect(self, name, command, output=None, status=0, error=None, terminal=False, stdin=""):
        """`command` must end with `status`; its output and errors must match the shell patterns."""
        result = on_terminal(command) if terminal else call(command, stdin)
        good = result.status == status
        good = good and (output is None or fnmatch.fnmatchcase(result.output.strip(), output))
        good = good and (error is None or fnmatch.fnmatchcase(result.error.strip(), error))
        wanted = f"status {status}, output {output!r}, errors {error!r}"
        return self.record(name, good, f"command: {' '.join(command)}\n  got:     {result}\n  wanted:  {wanted}")

    def totals(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return self.failed == 0 and self.passed > 0


def settle():
    """In the namespaces: the loopback interface is up."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def as_root():
    if os.geteuid() != 0:
        sys.exit(f"{os.path.basename(sys.argv[0])}: needs root")
    if not os.access(runtime(), os.X_OK):
        sys.exit(f"{os.path.basename(sys.argv[0])}: no {runtime()}: run 'make build' first")
