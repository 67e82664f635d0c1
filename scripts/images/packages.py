"""Debian packages: which ones, at which version, fetched with the host's own apt configuration."""

import os
import re
import shutil
import subprocess


def output(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def version(package):
    """The version that apt would install."""
    found = re.search(r"Candidate: (\S+)", output("apt-cache", "policy", package))
    if not found or found[1] == "(none)":
        raise SystemExit(f"scripts/images: apt knows no package {package}: run apt-get update, then retry")
    return found[1]


def upstream(debian_version):
    """7.0.15 of 5:7.0.15-1~deb12u10."""
    return re.sub(r"[-+~].*$", "", debian_version.split(":")[-1])


def architecture():
    return output("dpkg", "--print-architecture").strip()


def release():
    """The host's Debian release, whose packages the images are made of: bookworm."""
    with open("/etc/os-release") as file:
        found = re.search(r"^VERSION_CODENAME=(\S+)$", file.read(), re.M)
    if not found:
        raise SystemExit("scripts/images: /etc/os-release names no Debian release: images are made on Debian")
    return found[1]


def mirror():
    """The archive that the host's apt gets Debian from."""
    uris = output("apt-get", "--print-uris", "download", "base-files")
    found = re.search(r"'(\S+?)/pool/", uris)
    if not found:
        raise SystemExit("scripts/images: apt has no source for base-files: check /etc/apt/sources.list")
    return found[1]


def download(names, directory):
    """Fetches packages (name=version) and returns the paths of their files, sorted."""
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    # apt wants to drop to its own user, who may not write below a root-only path.
    subprocess.run(
        ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *names], cwd=directory, check=True)
    return sorted(os.path.join(directory, name) for name in os.listdir(directory))


def missing(package, root):
    """What installing `package` into the Debian system at `root` would add: [name=version]."""
    status = os.path.join(root, "var/lib/dpkg/status")
    plan = output(
        "apt-get", "-s", "-o", f"Dir::State::status={status}", "--no-install-recommends", "install", package)
    return sorted(f"{name}={version}" for name, version in re.findall(r"^Inst (\S+) .*?\((\S+) ", plan, re.M))
