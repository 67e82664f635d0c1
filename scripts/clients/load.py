#!/usr/bin/env python3
"""Many clients at once, slow ones and stuck containers: everybody else is answered, and the daemon's memory is bounded.
DOCKER_HOST is the daemon, DAEMON_PID its process. Nothing here asserts that something is fast; a deadline is only there
so that a daemon that does stall fails instead of hanging.
"""

import os
import signal
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "differential"))

from http_unix import Connection

SOCKET = os.environ["DOCKER_HOST"].removeprefix("unix://")
DAEMON = int(os.environ["DAEMON_PID"])
MEBIBYTE = 1 << 20


def ask(method, target, body=None):
    connection = Connection(SOCKET)
    try:
        return connection.request(method, "/v1.51" + target, body)
    finally:
        connection.close()


def make(command, name=None, **config):
    host = {"NetworkMode": "none", **config.pop("HostConfig", {})}
    answer = ask("POST", "/containers/create" + (f"?name={name}" if name else ""),
                 {"Image": "busybox", "Cmd": command, "HostConfig": host, **config})
    assert answer.status == 201, answer.body
    return answer.json()["Id"]


def start(command, name=None, **config):
    id = make(command, name, **config)
    answer = ask("POST", f"/containers/{id}/start")
    assert answer.status == 204, answer.body
    return id


def stream(method, target):
    """A connection with the head of its answer read, and nothing of its body."""
    connection = Connection(SOCKET)
    connection.send(method, "/v1.51" + target, headers={"Upgrade": "tcp", "Connection": "Upgrade"} if method == "POST" else {})
    head = connection.head()
    assert head.status in (101, 200), head.status
    return connection


def resident():
    """The daemon's resident memory in bytes."""
    with open(f"/proc/{DAEMON}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))


def runtime():
    """The process that starts containers for the daemon."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                parent = int(stat.read().rsplit(")", 1)[1].split()[1])
            with open(f"/proc/{pid}/cmdline", "rb") as command:
                words = command.read()
        except OSError:
            continue
        if parent == DAEMON and b"zygote" in words:
            return int(pid)
    raise AssertionError("the daemon has no process that starts containers")


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        answer = ask("POST", "/images/create?fromImage=busybox&tag=latest")
        assert answer.status == 200, answer.body

    def setUp(self):
        self.before = resident()

    def tearDown(self):
        for container in ask("GET", "/containers/json?all=1").json():
            ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        # Generous: what a leak of bodies or logs would be far beyond.
        self.assertLess(resident() - self.before, 96 * MEBIBYTE)

    def at_once(self, count, action):
        """Runs an action `count` times at the same time; what each gave."""
        results, ready = [None] * count, threading.Barrier(count)

        def run(index):
            ready.wait(60)
            try:
                results[index] = action(index)
            except Exception as error:  # shown by the assertion
                results[index] = error

        threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        return results

    def test_200_requests_at_once(self):
        id = start(["sleep", "1000"])
        targets = ["/containers/json?all=1", f"/containers/{id}/json", "/info", "/images/json", "/version", "/volumes",
                   "/networks", "/system/df", f"/containers/{id}/stats?stream=0&one-shot=1", "/_ping"]
        answers = self.at_once(200, lambda index: ask("GET", targets[index % len(targets)]).status)
        self.assertEqual(answers, [200] * 200)

    def test_200_containers_made_at_once(self):
        ids = self.at_once(200, lambda index: make(["true"], f"box-{index}"))
        self.assertEqual(len(set(ids)), 200)
        self.assertEqual(len(ask("GET", "/containers/json?all=1").json()), 200)
        removed = self.at_once(200, lambda index: ask("DELETE", f"/containers/box-{index}").status)
        self.assertEqual(removed, [204] * 200)

    def test_the_same_name_200_times(self):
        def create(_):
            return ask("POST", "/containers/create?name=one", {"Image": "busybox", "HostConfig": {"NetworkMode": "none"}}).status

        self.assertEqual(sorted(self.at_once(200, create)), [201] + [409] * 199)

    def test_100_attached_clients(self):
        id = start(["sh", "-c", "read x; i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done"], OpenStdin=True)
        clients = [stream("POST", f"/containers/{id}/attach?stream=1&stdout=1") for _ in range(100)]
        writer = stream("POST", f"/containers/{id}/attach?stream=1&stdin=1")
        writer.socket.sendall(b"go\n")
        expected = "".join(f"line {number}\n" for number in range(200)).encode()
        for client in clients:
            self.assertEqual(unframed(client.rest()), expected)
            client.close()
        writer.close()

    def test_slow_readers_of_logs_stall_nobody(self):
        # 64 MiB of log for 20 readers that read nothing: buffered they would be 1.3 GB.
        id = start(["sh", "-c", "head -c 67108864 /dev/zero | tr '\\0' x | fold -w 1023; echo; echo end"],
                   HostConfig={"LogConfig": {"Type": "json-file", "Config": {"max-size": "200m"}}})
        slow = [stream("GET", f"/containers/{id}/logs?follow=1&stdout=1") for _ in range(20)]
        self.assertEqual(ask("POST", f"/containers/{id}/wait").json()["StatusCode"], 0)
        self.assertLess(resident() - self.before, 96 * MEBIBYTE)
        quick = ask("GET", f"/containers/{id}/logs?stdout=1&tail=1")
        self.assertEqual(unframed(quick.body), b"end\n")
        self.assertEqual(ask("GET", "/containers/json").status, 200)
        # One that begins to read gets all of it.
        connection = Connection(SOCKET)
        connection.send("GET", f"/v1.51/containers/{id}/logs?stdout=1")
        count = sum(len(part) for part in connection.parts(connection.head()))
        self.assertGreater(count, 64 * MEBIBYTE)
        for client in [*slow, connection]:
            client.close()

    def test_a_reader_of_events_that_never_reads_is_cut_off(self):
        slow = Connection(SOCKET)
        slow.send("GET", "/v1.51/events")
        head = slow.head()
        id = start(["sleep", "1000"], Labels={"long": "x" * 512})

        def tops(_):
            connection = Connection(SOCKET)
            for _ in range(1500):
                connection.request("GET", f"/v1.51/containers/{id}/top")
            connection.close()

        self.at_once(4, tops)
        told = list(slow.lines(head))
        self.assertLess(len(told), 6000)
        self.assertIn("fallen behind", told[-1]["message"])
        slow.close()

    def test_ps_answers_while_a_container_is_stuck_in_stop(self):
        id = start(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"])
        stopping = threading.Thread(target=lambda: ask("POST", f"/containers/{id}/stop?t=3600"))
        stopping.start()
        for _ in range(20):
            self.assertEqual([found["State"] for found in ask("GET", "/containers/json").json()], ["running"])
            self.assertTrue(ask("GET", f"/containers/{id}/json").json()["State"]["Running"])
        self.assertTrue(stopping.is_alive())
        self.assertEqual(ask("POST", f"/containers/{id}/kill").status, 204)
        stopping.join(60)
        self.assertFalse(stopping.is_alive())

    def test_ps_answers_while_a_container_is_stuck_in_start(self):
        id = make(["sleep", "1000"])
        other = start(["sleep", "1000"])
        zygote = runtime()
        os.kill(zygote, signal.SIGSTOP)
        try:
            starting = threading.Thread(target=lambda: ask("POST", f"/containers/{id}/start"))
            starting.start()
            for _ in range(20):
                self.assertEqual(len(ask("GET", "/containers/json?all=1").json()), 2)
                self.assertFalse(ask("GET", f"/containers/{id}/json").json()["State"]["Running"])
            self.assertEqual(ask("POST", f"/containers/{other}/kill").status, 204)
            self.assertTrue(starting.is_alive())
        finally:
            os.kill(zygote, signal.SIGCONT)
        starting.join(60)
        self.assertTrue(ask("GET", f"/containers/{id}/json").json()["State"]["Running"])

    def test_connections_that_say_nothing(self):
        idle = [Connection(SOCKET) for _ in range(1000)]
        for connection in idle[::2]:
            connection.socket.sendall(b"GET /v1.51/containers/json HT")
        self.assertEqual(ask("GET", "/_ping").status, 200)
        for connection in idle:
            connection.close()

    def test_exec_and_resize_floods(self):
        id = start(["sleep", "1000"])

        def run(_):
            exec = ask("POST", f"/containers/{id}/exec", {"Cmd": ["echo", "x"], "AttachStdout": True, "Tty": True}).json()["Id"]
            ask("POST", f"/exec/{exec}/resize?h=10&w=10")
            return ask("POST", f"/exec/{exec}/start", {"Tty": True}).body

        self.assertEqual(set(self.at_once(50, run)), {b"x\r\n"})


def unframed(data):
    """What Docker's stream frames hold."""
    text = b""
    while data:
        length = int.from_bytes(data[4:8], "big")
        text += data[8:8 + length]
        data = data[8 + length:]
    return text


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=1)
    result = program.result
    bad = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - bad} passed, {bad} failed")
    sys.exit(1 if bad else 0)
