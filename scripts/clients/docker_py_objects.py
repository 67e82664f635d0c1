"""docker-py's scenario, continued: what programs do with images, networks, volumes, streams and the system."""

import io
import json
import tarfile
import threading
import time

from docker import errors, types
from docker_py import DaemonTest, since


class Containers(DaemonTest):
    def test_logs(self):
        container = self.detached(["sh", "-c", "echo one; echo two >&2; sleep 0.3; echo three"])
        container.wait()
        self.assertEqual(container.logs(), b"one\ntwo\nthree\n")
        self.assertEqual(container.logs(stdout=True, stderr=False), b"one\nthree\n")
        self.assertEqual(container.logs(tail=1), b"three\n")
        self.assertEqual(list(container.logs(stream=True)), [b"one\n", b"two\n", b"three\n"])
        stamped = container.logs(timestamps=True).decode().splitlines()
        self.assertEqual([line.split(" ", 1)[1] for line in stamped], ["one", "two", "three"])
        self.assertEqual(container.logs(since=int(time.time()) + 100), b"")

    def test_follow_while_it_writes(self):
        container = self.detached(["sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.05; done"])
        self.assertEqual(b"".join(container.logs(stream=True, follow=True)), b"1\n2\n3\n4\n5\n")

    def test_a_follow_can_be_closed(self):
        container = self.detached(["sh", "-c", "while :; do echo x; sleep 0.05; done"])
        stream = container.logs(stream=True, follow=True)
        self.assertEqual(next(stream), b"x\n")
        stream.close()

    def test_several_attached(self):
        container = self.client.containers.create("busybox", "sh -c 'echo hello; sleep 0.2; echo bye'")
        received = [[] for _ in range(5)]
        streams = [container.attach(stream=True, logs=False, stdout=True, stderr=True) for _ in received]
        threads = [threading.Thread(target=lambda stream=stream, into=into: into.extend(stream))
                   for stream, into in zip(streams, received)]
        container.start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        for into in received:
            self.assertEqual(b"".join(into), b"hello\nbye\n")

    def test_terminal(self):
        container = self.detached(["sh", "-c", "stty size; read line; stty size"], tty=True, stdin_open=True)
        attached = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1, "logs": 1})
        container.resize(33, 101)
        attached._sock.sendall(b"\n")
        self.assertEqual(container.wait()["StatusCode"], 0)
        attached.close()
        self.assertEqual(container.logs().split()[-2:], [b"33", b"101"])

    def test_exec(self):
        container = self.detached("sleep 1000", environment={"A": "1"})
        code, output = container.exec_run(["sh", "-c", "id -u; echo $A"], user="1000")
        self.assertEqual((code, output), (0, b"1000\n1\n"))
        low = self.client.api
        made = low.exec_create(container.id, ["sh", "-c", "sleep 0.1; exit 5"])["Id"]
        self.assertEqual(low.exec_inspect(made)["ExitCode"], None)
        low.exec_start(made, detach=True)
        while low.exec_inspect(made)["Running"]:
            time.sleep(0.01)
        self.assertEqual(low.exec_inspect(made)["ExitCode"], 5)
        code, chunks = container.exec_run("sh -c 'echo a; echo b'", stream=True)
        self.assertEqual(b"".join(chunks), b"a\nb\n")
        self.assertEqual(container.exec_run("no-such-program").exit_code, 127)

    @since("1.35")
    def test_exec_elsewhere(self):
        container = self.detached("sleep 1000", environment={"A": "1"})
        code, output = container.exec_run(["sh", "-c", "pwd; echo $A$B"], workdir="/tmp", environment={"B": "2"})
        self.assertEqual((code, output), (0, b"/tmp\n12\n"))

    def test_exec_socket(self):
        container = self.detached("sleep 1000")
        made = self.client.api.exec_create(container.id, "cat", stdin=True)["Id"]
        attached = self.client.api.exec_start(made, socket=True)
        attached._sock.sendall(b"there and back\n")
        attached._sock.settimeout(30)
        self.assertEqual(attached._sock.recv(100)[8:], b"there and back\n")
        attached.close()

    def test_limits_and_update(self):
        container = self.detached("sleep 1000", mem_limit="64m", cpu_period=100_000, cpu_quota=50_000, pids_limit=20,
                                  ulimits=[types.Ulimit(name="nofile", soft=64, hard=128)], cap_drop=["ALL"],
                                  read_only=True, tmpfs={"/t": "size=1m"}, shm_size="8m", oom_score_adj=100)
        host = container.attrs["HostConfig"]
        self.assertEqual((host["Memory"], host["PidsLimit"], host["ShmSize"]), (64 << 20, 20, 8 << 20))
        self.assertEqual(container.exec_run("sh -c 'ulimit -n; ulimit -Hn'").output, b"64\n128\n")
        self.assertEqual(container.exec_run("sh -c 'echo x >/f'").exit_code, 1)
        container.update(mem_limit="128m", memswap_limit="256m", restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})
        container.reload()
        host = container.attrs["HostConfig"]
        self.assertEqual((host["Memory"], host["RestartPolicy"]["MaximumRetryCount"]), (128 << 20, 2))

    def test_statistics(self):
        container = self.detached("sh -c 'while :; do :; done'", cpu_period=100_000, cpu_quota=10_000)
        stream = container.stats(decode=True)
        first, second = next(stream), next(stream)
        stream.close()
        self.assertGreater(second["cpu_stats"]["cpu_usage"]["total_usage"], first["cpu_stats"]["cpu_usage"]["total_usage"])
        self.assertIn("memory_stats", second)

    def test_changes_export_commit(self):
        container = self.detached(["sh", "-c", "echo made >/made; rm /etc/group"])
        container.wait()
        changes = {change["Path"]: change["Kind"] for change in container.diff()}
        self.assertEqual((changes["/made"], changes["/etc/group"]), (1, 2))
        with tarfile.open(fileobj=io.BytesIO(b"".join(container.export()))) as archive:
            self.assertEqual(archive.extractfile("made").read(), b"made\n")
        image = container.commit("py-made", "one", message="why", changes='CMD ["cat", "/made"]')
        self.assertEqual(self.client.containers.run(image.id, remove=True, log_config={"type": "json-file"}), b"made\n")
        self.client.images.remove(image.id)

    def test_listing(self):
        one = self.detached("sleep 1000", name="one", labels={"kind": "a"})
        two = self.detached("true", name="two", labels={"kind": "b"})
        two.wait()
        names = lambda **options: sorted(found.name for found in self.client.containers.list(**options))
        self.assertEqual(names(), ["one"])
        self.assertEqual(names(all=True), ["one", "two"])
        self.assertEqual(names(all=True, filters={"status": "exited"}), ["two"])
        self.assertEqual(names(all=True, filters={"label": ["kind=b"]}), ["two"])
        self.assertEqual(names(all=True, filters={"name": "o"}), ["one", "two"])
        self.assertEqual(names(all=True, limit=1), ["two"])
        self.assertEqual(names(all=True, since=one.id), ["two"])
        self.assertEqual(names(all=True, before=two.id), ["one"])

    def test_health(self):
        container = self.detached("sleep 1000", healthcheck={"test": ["CMD", "true"], "interval": 100_000_000})
        for event in self.client.events(decode=True, since=int(time.time()) - 5,
                                        filters={"container": container.id, "event": "health_status"}):
            self.assertEqual(event["Action"], "health_status: healthy")
            break
        container.reload()
        self.assertEqual(container.attrs["State"]["Health"]["Status"], "healthy")

    def test_restart_policy(self):
        container = self.detached("false", restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})
        deaths = 0
        for event in self.client.events(decode=True, since=int(time.time()) - 5,
                                        filters={"container": container.id, "event": "die"}):
            deaths += event["Action"] == "die"
            if deaths == 3:
                break
        container.reload()
        self.assertEqual(container.attrs["RestartCount"], 2)

    def test_refusals(self):
        with self.assertRaises(errors.APIError) as caught:
            self.client.containers.create("busybox", "true", mem_limit="1k")
        self.assertEqual(caught.exception.status_code, 400)
        with self.assertRaises(errors.APIError) as caught:
            self.detached("sleep 1000").remove()
        self.assertEqual(caught.exception.status_code, 409)
        with self.assertRaises(errors.ImageNotFound):
            self.client.api.create_container("nothing-like-it")
        with self.assertRaises(errors.NullResource):
            self.client.containers.get("")


class Images(DaemonTest):
    def test_pull_shows_its_progress(self):
        lines = list(self.client.api.pull("busybox", tag="latest", stream=True, decode=True))
        self.assertTrue(lines[-1]["status"].startswith("Status: "), lines)
        with self.assertRaises(errors.NotFound):
            self.client.images.pull("nothing-like-it", tag="latest")

    def test_inspect_list_history(self):
        image = self.client.images.get("busybox:latest")
        self.assertIn("busybox:latest", image.tags)
        self.assertEqual((image.attrs["Os"], image.attrs["Architecture"]), ("linux", "amd64"))
        self.assertIn(image.id, [found.id for found in self.client.images.list("busybox")])
        self.assertEqual(self.client.images.list(filters={"dangling": True}), [])
        self.assertTrue(image.history()[-1]["CreatedBy"])

    def test_tag_save_load_remove(self):
        image = self.client.images.get("busybox")
        image.tag("py-copy", "one")
        saved = b"".join(self.client.images.get("py-copy:one").save(named="py-copy:one"))
        with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
            manifest = json.loads(archive.extractfile("manifest.json").read())
        self.assertEqual(manifest[0]["RepoTags"], ["py-copy:one"])
        self.client.images.remove("py-copy:one")
        self.assertEqual(self.client.images.load(saved)[0].id, image.id)
        self.client.images.remove("py-copy:one")

    def test_import(self):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo("note")
            entry.size = 5
            archive.addfile(entry, io.BytesIO(b"hello"))
        self.client.api.import_image_from_data(packed.getvalue(), repository="py-imported", tag="one")
        self.assertEqual(self.client.images.get("py-imported:one").tags, ["py-imported:one"])
        self.client.images.remove("py-imported:one")

    @since("1.30")
    def test_registry_data(self):
        data = self.client.images.get_registry_data("busybox")
        self.assertTrue(data.id.startswith("sha256:"))
        self.assertTrue(data.has_platform("linux/amd64"))

    def test_search(self):
        self.assertEqual(self.client.images.search("busybox", limit=1)[0]["name"], "busybox")

    @since("1.25")
    def test_prune(self):
        self.assertIn("SpaceReclaimed", self.client.images.prune())

    def test_what_is_not_there_yet_is_refused(self):
        with self.assertRaises(errors.APIError) as caught:
            self.client.images.build(fileobj=io.BytesIO(b"FROM busybox\n"), tag="never")
        self.assertEqual(caught.exception.status_code, 501)
        with self.assertRaises(errors.APIError):
            self.client.login("me", "secret", registry="registry.example.com")


class Networks(DaemonTest):
    def test_life(self):
        pool = types.IPAMConfig(pool_configs=[types.IPAMPool(subnet="10.88.0.0/24", gateway="10.88.0.1")])
        network = self.client.networks.create("py-net", driver="bridge", ipam=pool, labels={"kind": "test"})
        self.addCleanup(network.remove)
        self.assertEqual(self.client.networks.list(filters={"label": "kind=test"})[0].id, network.id)
        container = self.detached("sleep 1000")
        network.connect(container, aliases=["alias"], ipv4_address="10.88.0.9")
        network.reload()
        self.assertEqual([found.id for found in network.containers], [container.id])
        container.reload()
        settings = container.attrs["NetworkSettings"]["Networks"]["py-net"]
        self.assertEqual(settings["IPAddress"], "10.88.0.9")
        self.assertIn("alias", settings["Aliases"])
        with self.assertRaises(errors.APIError) as caught:
            network.remove()
        self.assertEqual(caught.exception.status_code, 403)

    def test_neighbours_by_name(self):
        network = self.client.networks.create("py-near")
        self.addCleanup(network.remove)
        web = self.detached(["sh", "-c", "mkdir /w; echo hi >/w/index.html; exec httpd -f -p 80 -h /w"], name="web",
                            network="py-near", ports={"80/tcp": None})
        asked = self.output("sh -c 'until wget -q -O - http://web/; do sleep 0.1; done'", network="py-near")
        self.assertEqual(asked, b"hi\n")
        web.reload()
        self.assertTrue(int(web.ports["80/tcp"][0]["HostPort"]) > 0)

    @since("1.25")
    def test_prune(self):
        self.client.networks.create("py-unused")
        self.assertIn("py-unused", self.client.networks.prune()["NetworksDeleted"])


class Volumes(DaemonTest):
    def test_life(self):
        volume = self.client.volumes.create(name="py-volume", driver="local", labels={"kind": "test"})
        self.assertEqual([found.name for found in self.client.volumes.list(filters={"label": "kind=test"})], ["py-volume"])
        holder = self.detached("sleep 1000", volumes={"py-volume": {"bind": "/v", "mode": "rw"}})
        with self.assertRaises(errors.APIError) as caught:
            volume.remove()
        self.assertEqual(caught.exception.status_code, 409)
        mount = holder.attrs["Mounts"][0]
        self.assertEqual((mount["Type"], mount["Name"], mount["RW"]), ("volume", "py-volume", True))
        holder.remove(force=True)
        volume.remove()
        with self.assertRaises(errors.NotFound):
            self.client.volumes.get("py-volume")

    @since("1.30")
    def test_mounts(self):
        mounts = [types.Mount("/v", "py-mounted", type="volume"), types.Mount("/t", None, type="tmpfs", tmpfs_size=1 << 20)]
        self.assertEqual(self.output("sh -c 'stat -f -c %T /t; echo x >/v/f; ls /v'", mounts=mounts), b"tmpfs\nf\n")
        self.client.volumes.get("py-mounted").remove()

    @since("1.25")
    def test_prune(self):
        self.detached("true", volumes=["/anonymous"]).remove(force=True)
        self.assertEqual(len(self.client.volumes.prune()["VolumesDeleted"]), 1)


class System(DaemonTest):
    def test_questions(self):
        self.assertEqual(self.client.api.ping(), "OK" if isinstance(self.client.api.ping(), str) else True)
        self.assertEqual(self.client.version()["Os"], "linux")
        info = self.client.info()
        self.assertEqual(info["OSType"], "linux")
        self.assertEqual(info["Swarm"]["LocalNodeState"], "inactive")

    @since("1.25")
    def test_disk_usage(self):
        usage = self.client.df()
        self.assertGreater(usage["LayersSize"], 0)
        self.assertTrue(usage["Images"])

    def test_swarm_is_refused(self):
        with self.assertRaises(errors.APIError) as caught:
            self.client.api.nodes()
        self.assertEqual(caught.exception.status_code, 503)

    def test_events_of_everything(self):
        start = int(time.time()) - 1
        network = self.client.networks.create("py-events")
        network.remove()
        self.client.volumes.create("py-events").remove()
        found = [(event["Type"], event["Action"]) for event in
                 self.client.events(decode=True, since=start, until=int(time.time()) + 1)]
        for expected in (("network", "create"), ("network", "destroy"), ("volume", "create"), ("volume", "destroy")):
            self.assertIn(expected, found)
