"""Completion as a user has it: bash, zsh and fish in a terminal, keys typed, what the line has become read back.

$MYCONTAINER is the program, $MYCONTAINER_HOST the daemon, $SHELLS the folder where zsh and fish are unpacked.
"""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

OURS, SHELLS = os.environ["MYCONTAINER"], os.environ["SHELLS"]
FOLDER = tempfile.mkdtemp()

# What is typed, then TAB, and the line that must come of it. At most one thing fits, so that every shell writes it out
# whole; where none or several do, the line stays.
LINES = [
    ("mycontainer im", "mycontainer im"),
    ("mycontainer container prun", "mycontainer container prune "),
    ("mycontainer rm runn", "mycontainer rm running-box "),
    ("mycontainer start stop", "mycontainer start stopped-box "),
    ("mycontainer stop stop", "mycontainer stop stop"),
    ("mycontainer exec runn", "mycontainer exec running-box "),
    ("mycontainer run --rm busy", "mycontainer run --rm busybox:latest "),
    ("mycontainer rmi tagged:on", "mycontainer rmi tagged:one "),
    ("mycontainer volume rm my-v", "mycontainer volume rm my-volume "),
    ("mycontainer network inspect my-n", "mycontainer network inspect my-network "),
    ("mycontainer run --network my-n", "mycontainer run --network my-network "),
    ("mycontainer run --network=my-n", "mycontainer run --network=my-network "),
    ("mycontainer run --memory-re", "mycontainer run --memory-reservation "),
    ("mycontainer run --pull alw", "mycontainer run --pull always "),
    ("mycontainer run -v my-v", "mycontainer run -v my-volume"),
    ("mycontainer logs running-box stop", "mycontainer logs running-box stopped-box "),
    ("mycontainer cp running-box:/etc/passwd only-f", "mycontainer cp running-box:/etc/passwd only-file "),
    ("mycontainer load -i only-f", "mycontainer load -i only-file "),
    ("mycontainer -c my-c", "mycontainer -c my-context "),
    ("mycontainer context use my-c", "mycontainer context use my-context "),
    ("mycontainer --context=my-c", "mycontainer --context=my-context "),
    ("mycontainer --context my-context vers", "mycontainer --context my-context version "),
    ("mycontainer help imag", "mycontainer help image"),
    ("mycontainer completion fi", "mycontainer completion fish "),
    ("mycontainer run busybox ec", "mycontainer run busybox ec"),
]


def our(*words):
    subprocess.run([OURS, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Shell:
    """A shell in a terminal. After each line it is asked what stands there, by a key that prints the line."""

    def __init__(self, words, environment, setup):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(FOLDER)
            os.execve(words[0], words, {**os.environ, **environment, "TERM": "xterm", "PS1": "$ "})
        self.buffer = ""
        for line in setup:
            self.type(line + "\r")
        # Split in two, so that the echo of what was typed is not taken for the answer.
        self.type("echo rea''dy\r")
        self.until("ready\r")

    def type(self, text):
        os.write(self.terminal, text.encode())

    def until(self, pattern, seconds=20):
        limit = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.buffer)
            if found:
                self.buffer = self.buffer[found.end():]
                return found
            if not select.select([self.terminal], [], [], max(0, limit - time.monotonic()))[0]:
                raise SystemExit(f"not ok: {pattern!r} was not seen in {self.buffer!r}")
            self.buffer += os.read(self.terminal, 65536).decode(errors="replace")

    def complete(self, typed):
        """The line after TAB: the key bound to it writes the line between marks, and clears it."""
        self.type(typed + "\t\x18p")
        return self.until(r"<<<(.*?)>>>")[1]

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


def shells():
    with open(f"{FOLDER}/bash.sh", "w", encoding="utf-8") as script:
        script.write(subprocess.run([OURS, "completion", "bash"], capture_output=True, text=True, check=True).stdout)
    yield "bash", lambda: Shell(
        ["/bin/bash", "--norc", "--noprofile", "-i"], {},
        [". ./bash.sh", "bind 'set enable-bracketed-paste off'", "bind 'set show-all-if-ambiguous off'",
         r"""show() { printf '<<<%s>>>' "$READLINE_LINE"; READLINE_LINE=; READLINE_POINT=0; }""",
         r"""bind -x '"\C-xp": show'"""])
    os.makedirs(f"{FOLDER}/zsh")
    with open(f"{FOLDER}/zsh/_mycontainer", "w", encoding="utf-8") as script:
        script.write(subprocess.run([OURS, "completion", "zsh"], capture_output=True, text=True, check=True).stdout)
    functions = f"{SHELLS}/usr/share/zsh/functions"
    folders = [f"{FOLDER}/zsh"] + [path for path, _, files in os.walk(functions) if files]
    yield "zsh", lambda: Shell(
        [f"{SHELLS}/bin/zsh", "-f", "-i"], {"ZDOTDIR": FOLDER},
        [f"module_path=({SHELLS}/usr/lib/x86_64-linux-gnu/zsh/5.9)", f"fpath=({' '.join(folders)})",
         f"autoload -Uz compinit && compinit -u -d {FOLDER}/dump", "unsetopt zle_bracketed_paste LIST_BEEP",
         "show() { print -rn -- \"<<<$BUFFER>>>\"; BUFFER=; zle -I; }", "zle -N show", r"bindkey '^Xp' show"])
    os.makedirs(f"{FOLDER}/fish/completions")
    with open(f"{FOLDER}/fish/completions/mycontainer.fish", "w", encoding="utf-8") as script:
        script.write(subprocess.run([OURS, "completion", "fish"], capture_output=True, text=True, check=True).stdout)
    yield "fish", lambda: Shell(
        [f"{SHELLS}/usr/bin/fish", "-i"],
        {"XDG_CONFIG_HOME": FOLDER, "XDG_DATA_HOME": FOLDER, "HOME": FOLDER,
         "LD_LIBRARY_PATH": f"{SHELLS}/usr/lib/x86_64-linux-gnu"},
        # Unpacked elsewhere, fish does not find its own functions by itself.
        [f"set -g fish_function_path {SHELLS}/usr/share/fish/functions",
         f"set -g fish_complete_path {FOLDER}/fish/completions", "function show; printf '<<<%s>>>' (commandline); commandline ''; end", r"bind \cxp show"])


def main():
    os.environ["DOCKER_CONFIG"] = FOLDER
    os.environ["PATH"] = f"{os.path.dirname(OURS)}:{os.environ['PATH']}"
    open(f"{FOLDER}/only-file", "w", encoding="utf-8").close()
    our("pull", "-q", "busybox")
    our("tag", "busybox", "tagged:one")
    our("run", "-d", "--name", "running-box", "busybox", "sleep", "1000")
    our("create", "--name", "stopped-box", "busybox", "true")
    our("volume", "create", "my-volume")
    our("network", "create", "my-network")
    our("context", "create", "my-context", "--docker", f"host={os.environ['MYCONTAINER_HOST']}")
    passed, bad = 0, 0
    for name, start in shells():
        shell = start()
        for typed, expected in LINES:
            found = shell.complete(typed)
            # The shells differ in when they put a space behind.
            if found.rstrip() == expected.rstrip():
                passed += 1
            else:
                bad += 1
                print(f"not ok: {name}: {typed!r} became {found!r}, expected {expected!r}")
        shell.close()
    for words in (("rm", "-f", "running-box", "stopped-box"), ("volume", "rm", "my-volume"),
                  ("network", "rm", "my-network"), ("rmi", "tagged:one")):
        our(*words)
    shutil.rmtree(FOLDER)
    print(f"{passed} passed, {bad} failed")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
