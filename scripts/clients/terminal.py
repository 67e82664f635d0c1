"""Our command line in a terminal: its size, the keys that detach, what Ctrl-C does, live screens, prompts.

$MYCONTAINER is the program, $MYCONTAINER_HOST the daemon.
"""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

OURS = os.environ["MYCONTAINER"]
FOLDER = tempfile.mkdtemp()
ENVIRONMENT = {**os.environ, "DOCKER_CONFIG": FOLDER, "TERM": "xterm"}


def our(*words):
    """What a call without a terminal prints."""
    result = subprocess.run([OURS, *words], capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=60)
    return result.stdout.strip()


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, *words, rows=24, columns=80):
        self.screen = ""
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            # What whoever runs the tests ignores (nohup, a job in the background) a shell in a terminal doesn't.
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            os.execve(OURS, [OURS, *words], ENVIRONMENT)

    def resize(self, rows, columns):
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.descriptor, text.encode())

    def read(self, seconds):
        """Whether anything more came."""
        if not select.select([self.descriptor], [], [], seconds)[0]:
            return False
        try:
            more = os.read(self.descriptor, 65536)
        except OSError:  # the other side is closed
            return False
        self.screen += more.decode(errors="replace")
        return bool(more)

    def until(self, pattern, seconds=60):
        limit = time.monotonic() + seconds
        while not re.search(pattern, self.screen):
            if not self.read(max(0, limit - time.monotonic())):
                raise AssertionError(f"{pattern!r} was not seen in {self.screen!r}")
        found = re.search(pattern, self.screen)
        self.screen = self.screen[found.end():]
        return found

    def asked(self, question, pattern):
        """Types a question until the answer has come: a new size reaches the container a moment later."""
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            self.type(question)
            try:
                return self.until(pattern, 0.3)
            except AssertionError:
                continue
        raise AssertionError(f"{pattern!r} was not seen in {self.screen!r}")

    def end(self):
        """The exit code."""
        while self.read(60):
            pass
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class TerminalTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        our("pull", "-q", "busybox")

    def tearDown(self):
        for container in our("ps", "-aq").split():
            our("rm", "-f", container)
        if os.path.exists(f"{FOLDER}/config.json"):
            os.unlink(f"{FOLDER}/config.json")

    def configure(self, **settings):
        with open(f"{FOLDER}/config.json", "w", encoding="utf-8") as file:
            json.dump(settings, file)

    def test_size_of_run_exec_and_attach(self):
        box = Terminal("run", "-it", "--name", "box", "busybox", "sh", rows=33, columns=99)
        box.until("# ")
        box.type("stty size\r")
        box.until("33 99")
        box.resize(20, 70)
        box.asked("stty size\r", "20 70")
        other = Terminal("exec", "-it", "box", "sh", rows=11, columns=44)
        other.until("# ")
        other.type("stty size\r")
        other.until("11 44")
        other.resize(12, 45)
        other.asked("stty size\r", "12 45")
        other.type("exit 6\r")
        self.assertEqual(other.end(), 6)
        box.type("\x10\x11")
        self.assertEqual(box.end(), 0)
        self.assertEqual(our("ps", "--format", "{{.Names}}"), "box")
        back = Terminal("attach", "box", rows=21, columns=71)
        back.asked("stty size\r", "21 71")
        back.type("exit 5\r")
        self.assertEqual(back.end(), 5)

    def test_detach_keys(self):
        for words, typed, settings in (
                (["run", "-it", "--detach-keys", "ctrl-a,x"], "\x01x", {}),
                (["run", "-it"], "\x01y", {"detachKeys": "ctrl-a,y"}),
                (["run", "-it", "--detach-keys", "q"], "q", {"detachKeys": "ctrl-a,y"})):
            with self.subTest(words=words, settings=settings):
                self.configure(**settings)
                box = Terminal(*words, "--name", "box", "busybox", "cat")
                self.wait_for("box")
                # The beginning of the keys alone goes through.
                box.type("before\r")
                box.until("before\r\n")
                box.type(typed)
                self.assertEqual(box.end(), 0)
                again = Terminal("attach", *(words[2:] if len(words) > 2 else []), "box")
                again.type("again\r")
                again.until("again\r\n.*again\r\n")
                again.type(typed)
                self.assertEqual(again.end(), 1)
                self.assertEqual(our("inspect", "-f", "{{.State.Running}}", "box"), "true")
                our("rm", "-f", "box")

    def wait_for(self, name):
        limit = time.monotonic() + 60
        while our("inspect", "-f", "{{.State.Running}}", name) != "true":
            self.assertLess(time.monotonic(), limit)

    def test_detach_keys_of_exec_and_start(self):
        our("create", "-it", "--name", "box", "busybox", "cat")
        box = Terminal("start", "-ai", "--detach-keys", "ctrl-x", "box")
        box.type("hello\r")
        box.until("hello\r\n.*hello\r\n")
        box.type("\x18")
        self.assertEqual(box.end(), 0)
        other = Terminal("exec", "-it", "--detach-keys", "ctrl-x", "box", "cat")
        other.type("hello\r")
        other.until("hello\r\n.*hello\r\n")
        other.type("\x18")
        self.assertEqual(other.end(), 0)

    def test_control_c(self):
        # In a terminal it is a key of the container's; without one it is a signal that is passed on.
        box = Terminal("run", "-it", "--name", "box", "busybox", "sh", "-c", "trap 'echo caught; exit 7' INT; echo up; while :; do sleep 0.1; done")
        box.until("up")
        box.type("\x03")
        box.until("caught")
        self.assertEqual(box.end(), 7)
        our("rm", "-f", "box")
        plain = Terminal("run", "--name", "box", "busybox", "sh", "-c", "trap 'echo caught; exit 8' INT; echo up; while :; do sleep 0.1; done")
        plain.until("up")
        plain.type("\x03")
        plain.until("caught")
        self.assertEqual(plain.end(), 8)

    def test_control_c_without_proxy(self):
        box = Terminal("run", "--sig-proxy=false", "--name", "box", "busybox", "sh", "-c", "echo up; sleep 1000")
        box.until("up")
        box.type("\x03")
        self.assertNotEqual(box.end(), 0)
        self.assertEqual(our("inspect", "-f", "{{.State.Running}}", "box"), "true")

    def test_the_terminal_comes_back(self):
        box = Terminal("run", "-it", "--sig-proxy=false", "busybox", "sh")
        box.until("# ")
        during = termios.tcgetattr(box.descriptor)
        self.assertFalse(during[3] & termios.ECHO)
        os.kill(box.pid, signal.SIGTERM)
        while box.read(5):
            pass
        os.waitpid(box.pid, 0)
        after = termios.tcgetattr(box.descriptor)
        self.assertTrue(after[3] & termios.ECHO)
        os.close(box.descriptor)

    def test_statistics_are_drawn_anew(self):
        our("run", "-d", "--name", "one", "busybox", "sleep", "1000")
        live = Terminal("stats")
        live.until(r"CONTAINER ID +NAME +CPU %")
        live.until(r"one ")
        # From the top, not below.
        live.until("\x1b\\[H")
        our("run", "-d", "--name", "two", "busybox", "sleep", "1000")
        live.until(r"two ")
        live.type("\x03")
        live.end()

    def test_pull_draws_bars(self):
        our("rmi", "-f", "redis")
        pulled = Terminal("pull", "redis")
        pulled.until(r"\x1b\[\d+A")
        pulled.until(r"Status: Downloaded newer image for redis:latest")
        self.assertEqual(pulled.end(), 0)
        self.assertEqual(our("pull", "-q", "redis"), "docker.io/library/redis:latest")

    def test_prompts(self):
        our("create", "--name", "box", "busybox")
        asked = Terminal("container", "prune")
        asked.until(r"WARNING! This will remove all stopped containers.\r\nAre you sure you want to continue\? \[y/N\] ")
        asked.type("n\r")
        asked.end()
        self.assertNotEqual(our("ps", "-aq", "--filter", "name=box"), "")
        asked = Terminal("container", "prune")
        asked.until(r"\[y/N\] ")
        asked.type("y\r")
        asked.until("Total reclaimed space: ")
        self.assertEqual(asked.end(), 0)
        self.assertEqual(our("ps", "-aq", "--filter", "name=box"), "")

    def test_a_password_is_not_shown(self):
        login = Terminal("login", "registry.example.com")
        login.until("Username: ")
        login.type("me\r")
        login.until("Password: ")
        login.type("secret\r")
        login.until("Error response from daemon: ")
        self.assertEqual(login.end(), 1)
        self.assertNotIn("secret", login.screen)
        self.assertFalse(os.path.exists(f"{FOLDER}/config.json"))

    def test_refuses_to_fill_the_screen(self):
        our("create", "--name", "box", "busybox")
        for words in (["export", "box"], ["save", "busybox"], ["context", "export", "default", "-"]):
            with self.subTest(words=words):
                refused = Terminal(*words)
                refused.until("cowardly refusing to ")
                self.assertEqual(refused.end(), 1)

    def test_help_follows_the_width(self):
        lengths = []
        for columns in (60, 100, 200):
            shown = Terminal("ps", "--help", columns=columns)
            self.assertEqual(shown.end(), 0)
            self.assertIn("Usage:  mycontainer ps [OPTIONS]", shown.screen)
            options = shown.screen[shown.screen.index("Options:"):].splitlines()
            self.assertLessEqual(max(len(line) for line in options), max(columns, 80))
            lengths.append(len(options))
        self.assertGreater(lengths[0], lengths[2])


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    bad = len(result.failures) + len(result.errors)
    shutil.rmtree(FOLDER)
    print(f"{result.testsRun - bad} passed, {bad} failed")
    sys.exit(bool(bad))
