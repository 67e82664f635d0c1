#!/usr/bin/env python3
"""docker-py's scenario: the same life cycle through the library most programs use. DOCKER_HOST is the daemon,
$API_VERSION the version to speak; without it, the newest that both know. docker_py_objects.py has the rest of the tests."""

import io
import os
import socket
import sys
import tarfile
import unittest

import docker
from docker import errors


VERSION = os.environ.get("API_VERSION", "auto")


def since(version):
    """Leaves a test out of an older API, which lacks what it is about."""
    wanted = tuple(map(int, version.split(".")))
    return unittest.skipIf(VERSION != "auto" and tuple(map(int, VERSION.split("."))) < wanted, f"API {version}")


class DaemonTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = docker.from_env(timeout=60, version=VERSION)
        cls.client.images.pull("busybox", tag="latest")

    @classmethod
    def tearDownClass(cls):
        cls.client.close()

    def tearDown(self):
        for container in self.client.containers.list(all=True):
            container.remove(force=True, v=True)

    def detached(self, command, **options):
        return self.client.containers.run("busybox", command, detach=True, **options)

    def output(self, command, **options):
        """What a container printed. docker-py hands it back only for the drivers json-file and journald, with any daemon."""
        return self.client.containers.run("busybox", command, remove=True, log_config={"type": "json-file"}, **options)


class LifeCycle(DaemonTest):
    def test_version_and_info(self):
        self.assertTrue(self.client.ping())
        version = self.client.version()
        self.assertGreaterEqual(tuple(map(int, version["ApiVersion"].split("."))), (1, 44))
        self.assertEqual(version["Os"], "linux")
        self.assertIn("Containers", self.client.info())

    def test_run(self):
        self.assertEqual(self.output("echo hello"), b"hello\n")

    def test_exit_code(self):
        with self.assertRaises(errors.ContainerError) as caught:
            self.client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 42"], remove=True)
        self.assertEqual(caught.exception.exit_status, 42)
        self.assertEqual(caught.exception.stderr, b"bad\n")

    def test_command_not_found(self):
        with self.assertRaises(errors.APIError) as caught:
            self.client.containers.run("busybox", "no-such-command", remove=True)
        self.assertEqual(caught.exception.status_code, 400)

    def test_image_not_found(self):
        with self.assertRaises(errors.ImageNotFound):
            self.client.images.get("no-such-image")
        with self.assertRaises(errors.NotFound):
            self.client.containers.get("nobody")

    def test_life_cycle(self):
        container = self.detached(
            ["sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done"],
            name="life", environment={"A": "1"}, labels={"kind": "test"}, mem_limit="64m", pids_limit=50)
        self.assertEqual(next(container.logs(stream=True, follow=True)), b"up\n")
        container.reload()
        self.assertEqual(container.status, "running")
        self.assertEqual(container.attrs["HostConfig"]["Memory"], 64 << 20)
        self.assertEqual(self.client.containers.list(filters={"label": "kind=test"})[0].id, container.id)
        self.assertEqual(container.exec_run("sh -c 'echo $A; exit 7'"), (7, b"1\n"))
        container.pause()
        container.reload()
        self.assertEqual(container.status, "paused")
        container.unpause()
        self.assertIn("sleep", str(container.top()["Processes"]))
        stats = container.stats(stream=False)
        self.assertEqual(stats["memory_stats"]["limit"], 64 << 20)
        container.rename("other")
        container.stop(timeout=10)
        self.assertEqual(container.wait()["StatusCode"], 3)
        container.start()
        container.kill()
        self.assertEqual(container.wait()["StatusCode"], 137)
        container.remove()
        with self.assertRaises(errors.NotFound):
            container.reload()

    def test_conflict(self):
        self.detached("sleep 100", name="one")
        with self.assertRaises(errors.APIError) as caught:
            self.detached("true", name="one")
        self.assertEqual(caught.exception.status_code, 409)

    def test_exec_streams_apart(self):
        container = self.detached("sleep 100")
        code, (output, error) = container.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True)
        self.assertEqual((code, output, error), (0, b"out\n", b"err\n"))

    def test_attach_socket(self):
        container = self.client.containers.create("busybox", "cat", stdin_open=True)
        attached = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
        container.start()
        raw = attached._sock
        raw.sendall(b"over the wire\n")
        raw.shutdown(socket.SHUT_WR)
        raw.settimeout(30)
        received = b""
        while True:
            more = raw.recv(4096)
            if not more:
                break
            received += more
        attached.close()
        # One stdcopy frame: stream 1, three zero bytes, the length in four.
        self.assertEqual(received, b"\x01\x00\x00\x00\x00\x00\x00\x0eover the wire\n")
        self.assertEqual(container.wait()["StatusCode"], 0)

    def test_volumes(self):
        volume = self.client.volumes.create("py-data", labels={"a": "b"})
        self.assertEqual(self.client.volumes.get("py-data").attrs["Labels"], {"a": "b"})
        self.client.containers.run("busybox", "sh -c 'echo kept >/d/f'", volumes={"py-data": {"bind": "/d", "mode": "rw"}},
                                   remove=True)
        read = self.output("cat /d/f", volumes={"py-data": {"bind": "/d", "mode": "ro"}})
        self.assertEqual(read, b"kept\n")
        volume.remove()
        self.assertNotIn("py-data", [v.name for v in self.client.volumes.list()])

    def test_archives(self):
        container = self.client.containers.create("busybox", "cat /tmp/in")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo("in")
            entry.size = 5
            archive.addfile(entry, io.BytesIO(b"sent\n"))
        self.assertTrue(container.put_archive("/tmp", packed.getvalue()))
        container.start()
        self.assertEqual(container.wait()["StatusCode"], 0)
        self.assertEqual(container.logs(), b"sent\n")
        chunks, stat = container.get_archive("/tmp/in")
        self.assertEqual(stat["name"], "in")
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            self.assertEqual(archive.extractfile("in").read(), b"sent\n")

    @since("1.30")
    def test_wait_for_removal(self):
        container = self.detached(["sh", "-c", "exit 4"], name="later")
        self.assertEqual(container.wait()["StatusCode"], 4)
        removed = self.detached("sleep 0.2", remove=True)
        try:
            removed.wait(condition="removed")
        except errors.NotFound:
            pass
        self.assertEqual(self.client.containers.list(all=True, filters={"id": removed.id}), [])

    def test_events(self):
        container = self.detached("true", name="eventful")
        container.wait()
        stamp = container.attrs["Created"][:19] + "Z"
        import datetime
        since = datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ") - datetime.timedelta(seconds=2)
        until = since + datetime.timedelta(seconds=30)
        actions = []
        for event in self.client.events(since=since, filters={"container": "eventful"}, decode=True, until=until):
            actions.append(event["Action"])
            if event["Action"] == "die":
                self.assertEqual(event["Actor"]["Attributes"]["exitCode"], "0")
                break
        self.assertEqual(actions[:3], ["create", "start", "die"])

    @since("1.25")
    def test_prune(self):
        self.detached("true").wait()
        self.assertEqual(len(self.client.containers.prune()["ContainersDeleted"]), 1)

    def test_image_tag_and_save(self):
        image = self.client.images.get("busybox")
        self.assertTrue(image.tag("py-box", "one"))
        self.assertIn("py-box:one", self.client.images.get("py-box:one").tags)
        self.client.images.remove("py-box:one")
        self.assertTrue(image.history())


if __name__ == "__main__":
    # The program is a module of its own name for the other file.
    sys.modules["docker_py"] = sys.modules["__main__"]
    from docker_py_objects import *  # noqa: F401,F403
    result = unittest.main(exit=False, verbosity=1, warnings="ignore").result
    bad = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - len(result.skipped) - bad} passed, {bad} failed")
    sys.exit(bool(bad))
