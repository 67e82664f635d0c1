"""Our command line against docker's, verb by verb and flag by flag, as `--help` of both lists them.

Every verb and flag that docker has and ours lacks needs its reason in ABSENT; a reason that no longer stands fails the
run too, so that the list only gets shorter. $DOCKER and $MYCONTAINER are the two programs; neither needs a daemon.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

SWARM = "swarm: one host is the aim"
PLUGIN = "plugins are not an aim"
BUILD = "building images is not there yet"
WINDOWS = "Windows only"
CLUSTER = "cluster volumes are swarm's"
TRUST = "Docker Content Trust signs with Notary, which its makers gave up"
MANIFEST = "manifest lists are written at a registry, and pushing is not there yet"
TCP = "our daemon listens on a unix socket only"
CHECKPOINT = "checkpoint and restore is not an aim"
CONFIG_ONLY = "configuration-only networks only serve swarm"

# What docker has and we have not: a verb stands for all below it, `VERB --flag` for one flag.
ABSENT = {
    "swarm": SWARM, "node": SWARM, "service": SWARM, "stack": SWARM, "config": SWARM, "secret": SWARM,
    "plugin": PLUGIN, "trust": TRUST, "manifest": MANIFEST,
    "checkpoint": CHECKPOINT,
    "build": BUILD, "builder": BUILD, "image build": BUILD,
    "volume update": CLUSTER,
    **{f"volume create --{flag}": CLUSTER for flag in (
        "availability", "group", "limit-bytes", "required-bytes", "scope", "secret", "sharing", "topology-preferred",
        "topology-required", "type")},
    "volume ls --cluster": CLUSTER,
    "network create --config-from": CONFIG_ONLY, "network create --config-only": CONFIG_ONLY,
    "network create --ingress": SWARM, "network create --scope": SWARM,
    **{f"{verb} --{flag}": WINDOWS for verb in ("run", "create") for flag in (
        "cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops")},
    "start --checkpoint": CHECKPOINT, "start --checkpoint-dir": CHECKPOINT,
    "images --tree": "a view of images for several platforms; here an image has one",
    **{f"--{flag}": TCP for flag in ("tls", "tlscacert", "tlscert", "tlskey", "tlsverify")},
}

# May only fall.
LIMIT = 45

# Verbs of the Debian package's plugins, which are programs of their own.
PLUGINS = {"buildx", "compose"}


def page(program, verb):
    result = subprocess.run([program, *verb, "--help"], capture_output=True, text=True, timeout=60, check=False)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join([program, *verb])} --help ended with {result.returncode}: {result.stderr}")
    return result.stdout


class Page:
    """What one help text lists: verbs below it, flags, other spellings of the verb, operands."""

    def __init__(self, text):
        self.verbs, self.flags, self.aliases = [], {}, []
        section = ""
        for line in text.splitlines():
            if re.match(r"^[A-Z][A-Za-z ]*:( |$)", line):
                section = line.split(":")[0]
            elif section.endswith("Commands"):
                found = re.match(r"^  ([a-z][a-z-]*)\*? +\S", line)
                if found:
                    self.verbs.append(found[1])
            elif section.endswith("Options"):
                found = re.match(r"^  (?:-(\w), |    )--([a-z0-9-]+)(?: (\S+))?(?:  |$)", line)
                if found:
                    self.flags[found[2]] = (found[1], found[3] is not None)
            elif section == "Aliases":
                self.aliases += [part.strip().split(" ", 1)[1] for part in line.split(",") if part.strip()]
        self.flags.pop("help", None)


def tree(program, pool):
    """Every verb of a program with its page."""
    pages, level = {}, [()]
    while level:
        texts = pool.map(lambda verb: page(program, verb), level)
        below = []
        for verb, text in zip(level, texts):
            pages[verb] = Page(text)
            if verb and set(verb) & PLUGINS:
                continue
            below += [verb + (name,) for name in pages[verb].verbs if name not in PLUGINS and name != "help"]
        level = below
    return pages


def main():
    os.environ["DOCKER_CONFIG"] = tempfile.mkdtemp()
    # docker hides what the daemon is too old for: without a daemon it shows everything.
    os.environ["DOCKER_HOST"] = "unix:///nonexistent"
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        theirs = tree(os.environ["DOCKER"], pool)
        ours = tree(os.environ["MYCONTAINER"], pool)
    os.rmdir(os.environ["DOCKER_CONFIG"])
    bad, used, spellings, flags = [], set(), 0, 0

    def allowed(*keys):
        found = next((key for key in keys if key in ABSENT), None)
        used.add(found)
        return found is not None

    for verb, page_of_theirs in theirs.items():
        name = " ".join(verb)
        parents = [" ".join(verb[:depth]) for depth in range(1, len(verb) + 1)]
        if verb not in ours:
            if not allowed(*parents):
                bad.append(f"no verb '{name}'")
            continue
        if any(parent in ABSENT for parent in parents):
            bad.append(f"the verb '{name}' is there, and still listed as absent")
        spellings += 1
        page_of_ours = ours[verb]
        for alias in page_of_theirs.aliases:
            if alias not in page_of_ours.aliases and tuple(alias.split()) not in ours:
                bad.append(f"'{name}' is not written '{alias}' too")
        # One verb under two spellings has one reason.
        names = {name, *page_of_theirs.aliases}
        for flag, (short, takes_value) in page_of_theirs.flags.items():
            flags += 1
            if flag not in page_of_ours.flags:
                if not allowed(*(f"{other} --{flag}".strip() for other in sorted(names))):
                    bad.append(f"'{name}' has no --{flag}")
                continue
            if any(f"{other} --{flag}" in ABSENT for other in names):
                bad.append(f"'{name}' has --{flag}, and it is still listed as absent")
            if page_of_ours.flags[flag] != (short, takes_value):
                bad.append(f"'{name} --{flag}': the letter and whether it takes a value are {page_of_ours.flags[flag]}, "
                           f"docker's {(short, takes_value)}")
    bad += [f"the reason for '{key}' is not needed any more" for key in ABSENT if key not in used]
    if len(ABSENT) > LIMIT:
        bad.append(f"{len(ABSENT)} verbs and flags are absent, {LIMIT} may be")
    for line in bad:
        print(f"not ok: {line}")
    extra = sorted(" ".join(verb) for verb in ours if verb not in theirs)
    extra_flags = sum(1 for verb, mine in ours.items() if verb in theirs for flag in mine.flags
                      if flag not in theirs[verb].flags)
    print(f"docker's command line: {spellings} spellings of verbs and {flags} of their flags compared; "
          f"{len(ABSENT)} verbs and flags are absent with a reason, {LIMIT} may be; "
          f"{len(extra)} verbs ({', '.join(extra)}) and {extra_flags} flags are ours alone")
    checks = spellings + flags
    print(f"{max(0, checks - len(bad))} passed, {len(bad)} failed")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
