#!/usr/bin/env python3
"""testcontainers' scenario: what a program's tests do with it. DOCKER_HOST is the daemon, in whose network namespace
this runs; $DOCKER the client that its compose module calls.

Ryuk, testcontainers' own reaper, is off: it is an image that no registry here has. What it would clean up after is
removed by each test itself, and the last test looks.
"""

import os
import pathlib
import re
import socket
import sys
import tempfile
import unittest
import urllib.request

os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"

import docker
from testcontainers.community.redis import RedisContainer
from testcontainers.compose import DockerCompose
from testcontainers.core.container import DockerContainer, ExecConfig
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import (CompositeWaitStrategy, ContainerStatusWaitStrategy, ExecWaitStrategy,
                                                 HealthcheckWaitStrategy, HttpWaitStrategy, LogMessageWaitStrategy,
                                                 PortWaitStrategy)
from testcontainers.core.waiting_utils import wait_for_logs

WEB = ["sh", "-c", "mkdir /www; echo hello >/www/index.html; echo up; exec httpd -f -p 80 -h /www"]


def box(command, **options):
    return DockerContainer("busybox", **options).with_command(command)


def fetch(container, port=80):
    address = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(port)}/"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read()


class TestContainers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = docker.from_env(timeout=60)
        for image in ("busybox", "redis"):
            cls.client.images.pull(image, tag="latest")

    @classmethod
    def tearDownClass(cls):
        cls.client.close()

    def tearDown(self):
        self.assertEqual(self.client.containers.list(all=True), [], "a test left containers behind")

    def test_generic_container(self):
        with box(WEB).with_exposed_ports(80).waiting_for(LogMessageWaitStrategy("up")) as web:
            self.assertEqual(fetch(web), b"hello\n")
            self.assertEqual(web.status, "running")
            self.assertIn(b"up", web.get_logs()[0])

    def test_environment_command_and_files(self):
        with tempfile.TemporaryDirectory() as folder:
            given = pathlib.Path(folder, "given")
            given.write_text("from the host\n", encoding="utf-8")
            container = (box(["sh", "-c", "cat /in/given /sent; echo $A; echo error >&2; exit 3"]).with_env("A", "1")
                         .with_volume_mapping(folder, "/in").with_copy_into_container(b"sent\n", "/sent"))
            with container:
                self.assertEqual(container.wait(), 3)
                output, errors = container.get_logs()
                self.assertEqual(output, b"from the host\nsent\n1\n")
                self.assertEqual(errors, b"error\n")

    def test_exec(self):
        with box("sleep 1000").with_tmpfs_mount("/scratch", "size=1m") as container:
            code, output = container.exec("sh -c 'stat -f -c %T /scratch; exit 4'")
            self.assertEqual((code, output), (4, b"tmpfs\n"))
            code, output = container.exec(ExecConfig(command=["sh", "-c", "pwd; echo $B"], workdir="/tmp",
                                                     environment={"B": "2"}))
            self.assertEqual((code, output), (0, b"/tmp\n2\n"))

    def test_copy_out(self):
        with box(["sh", "-c", "echo made >/out; sleep 1000"]).waiting_for(ExecWaitStrategy(["test", "-s", "/out"])) as made:
            with tempfile.TemporaryDirectory() as folder:
                target = pathlib.Path(folder, "out")
                made.copy_from_container("/out", target)
                self.assertEqual(target.read_bytes(), b"made\n")

    def test_wait_strategies(self):
        healthy = {"test": ["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1/"], "interval": 100_000_000}
        for strategy in (PortWaitStrategy(80), HttpWaitStrategy(80, "/index.html").for_status_code(200),
                         LogMessageWaitStrategy(re.compile("^up$", re.M)), ContainerStatusWaitStrategy(),
                         CompositeWaitStrategy(LogMessageWaitStrategy("up"), HttpWaitStrategy(80))):
            with self.subTest(type(strategy).__name__):
                with box(WEB).with_exposed_ports(80).waiting_for(strategy.with_poll_interval(0.05)) as web:
                    wait_for_logs(web, "up", timeout=30)
        with self.subTest("HealthcheckWaitStrategy"):
            strategy = HealthcheckWaitStrategy().with_poll_interval(0.05)
            with box(WEB).with_kwargs(healthcheck=healthy).waiting_for(strategy) as web:
                web.reload()
                self.assertEqual(web.get_wrapped_container().health, "healthy")

    def test_a_wait_that_fails_removes_the_container(self):
        strategy = LogMessageWaitStrategy("never").with_startup_timeout(1).with_poll_interval(0.05)
        with self.assertRaises(TimeoutError):
            with box("sleep 1000").waiting_for(strategy):
                self.fail("a container that is not ready was handed out")

    def test_bound_port(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with box(WEB).with_bind_ports(80, port).waiting_for(HttpWaitStrategy(80).with_poll_interval(0.05)) as web:
            self.assertEqual(web.get_exposed_port(80), port)

    def test_network(self):
        with Network() as network:
            ready = LogMessageWaitStrategy("up").with_poll_interval(0.05)
            with box(WEB).with_network(network).with_network_aliases("web").waiting_for(ready):
                with box("wget -q -O - http://web/").with_network(network) as asking:
                    self.assertEqual(asking.wait(), 0)
                    self.assertEqual(asking.get_logs()[0], b"hello\n")

    def test_redis_module(self):
        with RedisContainer("redis:latest").with_command("redis-server --protected-mode no") as container:
            client = container.get_client()
            self.assertTrue(client.set("greeting", "hello"))
            self.assertEqual(client.get("greeting"), b"hello")
            self.assertEqual(client.incr("count"), 1)
            code, output = container.exec(["redis-cli", "get", "greeting"])
            self.assertEqual((code, output), (0, b"hello\n"))
            client.close()

    def test_redis_module_with_password(self):
        with RedisContainer("redis:latest", password="secret") as container:
            client = container.get_client()
            self.assertTrue(client.ping())
            client.close()

    def test_compose_module(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "compose.yaml").write_text("""
services:
  web:
    image: busybox
    command: sh -c "mkdir /www; echo hello >/www/index.html; exec httpd -f -p 80 -h /www"
    ports: ["80"]
    healthcheck: {test: "wget -q -O /dev/null http://127.0.0.1/", interval: 200ms}
  cache: {image: redis, depends_on: {web: {condition: service_healthy}}}
""", encoding="utf-8")
            with DockerCompose(folder, docker_command_path=os.environ["DOCKER"], wait=True) as project:
                host, port = project.get_service_host_and_port("web", 80)
                # What is published on every address is reached on this one.
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                    self.assertEqual(answer.read(), b"hello\n")
                self.assertTrue(host)
                output, _, code = project.exec_in_container(["redis-cli", "ping"], "cache")
                self.assertEqual((output.strip(), code), ("PONG", 0))
                self.assertIn("Ready to accept connections", project.get_logs("cache")[0])


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1, warnings="ignore").result
    bad = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - bad} passed, {bad} failed")
    sys.exit(bool(bad))
