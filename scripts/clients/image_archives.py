#!/usr/bin/env python3
"""Archives of several images between engines: what ours saves, podman and skopeo read as Docker's format and as OCI's;
what they save, ours loads. (dockerd does both in the differential test.) DOCKER_HOST is the daemon, PEERS and PODMAN the
folders of scripts/peers.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "differential"))

from http_unix import Connection

SOCKET = os.environ["DOCKER_HOST"].removeprefix("unix://")
PODMAN, PEERS = os.environ["PODMAN"], os.environ["PEERS"]


def ask(method, target, body=None, headers=()):
    connection = Connection(SOCKET)
    try:
        return connection.request(method, "/v1.51" + target, body, headers)
    finally:
        connection.close()


class Archives(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.mkdtemp(prefix="mycontainer-test-archives-", dir="/var/tmp")
        ask("POST", "/images/create?fromImage=busybox&tag=latest")
        # A second image that shares the first one's layers, under two names.
        id = ask("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sh", "-c", "echo new >/new; rm /etc/passwd"],
                                                "HostConfig": {"NetworkMode": "none"}}).json()["Id"]
        ask("POST", f"/containers/{id}/start")
        ask("POST", f"/containers/{id}/wait")
        ask("POST", f"/commit?container={id}&repo=changed&tag=one", {})
        ask("POST", "/images/changed:one/tag?repo=changed&tag=two")
        ask("DELETE", f"/containers/{id}")
        cls.ids = {name: ask("GET", f"/images/{name}/json").json()["Id"].removeprefix("sha256:") for name in (
            "busybox:latest", "changed:one")}
        cls.archive = cls.scratch + "/ours.tar"
        saved = ask("GET", "/images/get?names=busybox&names=changed:one&names=changed:two")
        with open(cls.archive, "wb") as file:
            file.write(saved.body)
        with open(cls.scratch + "/containers.conf", "w") as file:
            file.write(f'[engine]\nlock_type = "file"\nruntime = "crun"\nconmon_path = ["{PODMAN}/usr/bin/conmon"]\nhelper_binaries_dir = ["{PODMAN}/usr/lib/podman"]\n'
                       f'[engine.runtimes]\ncrun = ["{PEERS}/usr/bin/crun"]\n')

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.scratch)
        for name in ("changed:one", "changed:two"):
            ask("DELETE", f"/images/{name}")

    def podman(self, *arguments):
        environment = dict(os.environ, HOME=self.scratch, XDG_CONFIG_HOME=self.scratch, TMPDIR=self.scratch, PODMAN_IGNORE_CGROUPSV1_WARNING="1",
                           CONTAINERS_CONF=self.scratch + "/containers.conf",
                           CONTAINERS_REGISTRIES_CONF=PODMAN + "/etc/containers/registries.conf")
        result = subprocess.run(
            [PODMAN + "/usr/bin/podman", "--root", self.scratch + "/storage", "--runroot", self.scratch + "/run",
             "--storage-driver", "vfs", "--log-level", "error", *arguments],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def load(self, archive):
        """Loads an archive into our engine, after the images are gone there; ids by name."""
        for name in ("changed:one", "changed:two"):
            ask("DELETE", f"/images/{name}")
        with open(archive, "rb") as file:
            answer = ask("POST", "/images/load?quiet=1", file.read(), {"Content-Type": "application/x-tar"})
        self.assertEqual(answer.status, 200, answer.body)
        self.assertNotIn(b"error", answer.body)
        return answer.body.decode()

    def test_podman_loads_ours_and_ours_loads_podmans(self):
        policy = ["--signature-policy", PODMAN + "/etc/containers/policy.json"]
        loaded = self.podman("load", *policy, "-i", self.archive)
        for name in ("busybox:latest", "changed:one", "changed:two"):
            self.assertIn(f"Loaded image: localhost/{name}\n", loaded)
        listed = {name: image["Id"] for image in json.loads(self.podman("images", "--format", "json"))
                  for name in image["Names"]}
        self.assertEqual(listed["localhost/changed:two"], self.ids["changed:one"])
        self.assertEqual(listed["localhost/busybox:latest"], self.ids["busybox:latest"])

        several = self.scratch + "/podman-docker.tar"
        self.podman("save", "-m", "--format", "docker-archive", "-o", several, "localhost/busybox:latest",
                    "localhost/changed:one")
        told = self.load(several)
        self.assertIn("Loaded image: localhost/busybox:latest", told)
        self.assertEqual(ask("GET", "/images/localhost/changed:one/json").json()["RootFS"]["Layers"],
                         json.loads(self.podman("inspect", "localhost/changed:one"))[0]["RootFS"]["Layers"])
        layout = self.scratch + "/podman-oci.tar"
        self.podman("save", "--format", "oci-archive", "-o", layout, "localhost/changed:two")
        self.load(layout)
        for name in ("localhost/busybox:latest", "localhost/changed:one", "localhost/changed:two"):
            ask("DELETE", f"/images/{name}?force=1")
        self.load(self.archive)

    def test_skopeo_reads_each_image_in_both_formats(self):
        for source in (f"docker-archive:{self.archive}:busybox:latest", f"docker-archive:{self.archive}:changed:one",
                       f"docker-archive:{self.archive}:changed:two"):
            result = subprocess.run(["skopeo", "inspect", "--config", "--raw", source], stdout=subprocess.PIPE)
            self.assertEqual(result.returncode, 0, source)
            self.assertIn("rootfs", json.loads(result.stdout))
        with tempfile.TemporaryDirectory(dir=self.scratch) as layout:
            subprocess.run(["tar", "-xf", self.archive, "-C", layout], check=True)
            with open(layout + "/index.json") as file:
                names = [manifest["annotations"]["io.containerd.image.name"] for manifest in json.load(file)["manifests"]]
            self.assertEqual(names, ["docker.io/library/busybox:latest", "docker.io/library/changed:one",
                                     "docker.io/library/changed:two"])
            target = self.scratch + "/skopeo.tar"
            subprocess.run(["skopeo", "--insecure-policy", "copy", "--quiet", f"oci:{layout}:two",
                            f"docker-archive:{target}:from-skopeo:1"], check=True)
        self.assertIn("Loaded image: from-skopeo:1", self.load(target))
        self.assertEqual(ask("GET", "/images/from-skopeo:1/json").json()["Id"], "sha256:" + self.ids["changed:one"])
        ask("DELETE", "/images/from-skopeo:1")
        self.load(self.archive)

    def test_ours_loads_ours_again(self):
        told = self.load(self.archive)
        self.assertEqual(told.count("Loaded image: "), 3)
        self.assertEqual(ask("GET", "/images/changed:one/json").json()["Id"], "sha256:" + self.ids["changed:one"])


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    bad = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - bad} passed, {bad} failed")
    sys.exit(bool(bad))
