"""Containers: their documents, their life, and what is refused."""

import io
import tarfile

CONTAINER = "/containers/{name}/json"
LOOP = ["sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"]

# Everything that is not a default, so that each member is seen to arrive.
FULL = {
    "Hostname": "host", "Domainname": "example.org", "User": "1000:1000", "Tty": False, "OpenStdin": True,
    "StdinOnce": True, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True,
    "Env": ["A=1", "B=two words", "EMPTY="], "Cmd": ["-c", "sleep 1000"], "Entrypoint": ["sh"],
    "WorkingDir": "/tmp", "Labels": {"kind": "full", "empty": ""}, "StopSignal": "SIGUSR1", "StopTimeout": 3,
    "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/anonymous": {}},
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 60000000000, "Timeout": 1000000000, "Retries": 2,
                    "StartPeriod": 1000000000},
    "HostConfig": {
        "Memory": 64 << 20, "MemorySwap": 128 << 20, "MemoryReservation": 32 << 20, "CpuShares": 512,
        "NanoCpus": 500000000, "CpusetCpus": "0", "PidsLimit": 100, "OomScoreAdj": 100, "ReadonlyRootfs": True,
        "Privileged": False, "CapAdd": ["NET_ADMIN"], "CapDrop": ["MKNOD"], "GroupAdd": ["20"],
        "Dns": ["10.0.0.1"], "DnsSearch": ["example.org"], "DnsOptions": ["ndots:2"],
        "ExtraHosts": ["db:10.0.0.2"], "Binds": ["/tmp:/bound:ro"], "Tmpfs": {"/scratch": "size=1m"},
        "ShmSize": 32 << 20, "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
        "Sysctls": {"net.ipv4.ip_forward": "1"}, "SecurityOpt": ["no-new-privileges"], "Init": False,
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]},
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "r"}],
        "IpcMode": "private", "CgroupnsMode": "private", "Isolation": "default",
    },
}


def creation(client):
    """The documents of containers that were made and never started."""
    client.step("create plain", "POST", "/containers/create", query={"name": "plain"}, body={"Image": "busybox"})
    client.step("inspect plain", "GET", CONTAINER, "plain")
    client.step("inspect plain with size", "GET", CONTAINER, "plain", {"size": 1})
    client.step("create full", "POST", "/containers/create", query={"name": "full"}, body={"Image": "busybox", **FULL})
    client.step("inspect full", "GET", CONTAINER, "full")
    for name, mode in (("hosted", "host"), ("alone", "none"), ("beside", "container:plain")):
        client.step(f"create {name}", "POST", "/containers/create", query={"name": name},
                    body={"Image": "busybox", "HostConfig": {"NetworkMode": mode}})
        client.step(f"inspect {name}", "GET", CONTAINER, name)
    client.step("create terminal", "POST", "/containers/create", query={"name": "terminal"},
                body={"Image": "busybox", "Tty": True, "OpenStdin": True, "HostConfig": {
                    "AutoRemove": True, "Init": True, "ConsoleSize": [24, 80]}})
    client.step("inspect terminal", "GET", CONTAINER, "terminal")
    client.step("create privileged", "POST", "/containers/create", query={"name": "privileged"},
                body={"Image": "busybox", "HostConfig": {"Privileged": True, "PidMode": "host", "IpcMode": "host",
                                                         "UTSMode": "host"}})
    client.step("inspect privileged", "GET", CONTAINER, "privileged")
    client.step("create by string command", "POST", "/containers/create", query={"name": "string"},
                body={"Image": "busybox", "Cmd": "true", "Entrypoint": "", "Healthcheck": {"Test": ["NONE"]}})
    client.step("inspect by string command", "GET", CONTAINER, "string")
    client.step("create unlimited", "POST", "/containers/create", query={"name": "unlimited"},
                body={"Image": "busybox", "HostConfig": {"PidsLimit": -1, "MemorySwappiness": -1, "OomKillDisable": False,
                                                         "CpuPeriod": 100000, "CpuQuota": 50000, "BlkioWeight": 500}})
    client.step("inspect unlimited", "GET", CONTAINER, "unlimited")
    client.step("rename", "POST", "/containers/{name}/rename", "plain", {"name": "renamed"})
    client.step("list", "GET", "/containers/json", query={"all": 1})
    client.step("list with size", "GET", "/containers/json", query={"all": 1, "size": 1, "limit": 1})
    client.step("changes", "GET", "/containers/{name}/changes", "renamed")
    client.step("top of one that does not run", "GET", "/containers/{name}/top", "renamed")
    client.step("stats of one that does not run", "GET", "/containers/{name}/stats", "renamed", {"stream": 0})
    client.step("logs of one that never ran", "GET", "/containers/{name}/logs", "renamed", {"stdout": 1})
    client.step("remove", "DELETE", "/containers/{name}", "renamed")
    client.step("remove again", "DELETE", "/containers/{name}", "renamed")
    client.events("events of creation", {"type": ["container"]})


def refusals(client):
    """Requests that are refused, or answered with a warning: status and sentence.

    No driver is asked for that is unknown: dockerd looks for a plugin for 15 s before it refuses.
    """
    def create(step, body, query=None, image="busybox"):
        client.step(step, "POST", "/containers/create", query=query, body={"Image": image, **body} if image else body)

    def host(step, **members):
        create(step, {"HostConfig": members})

    id = client.create("taken")
    create("name taken", {}, {"name": "taken"})
    create("name of one letter", {}, {"name": "a"})
    create("name with a slash", {}, {"name": "a/b"})
    create("name that begins with a dash", {}, {"name": "-ab"})
    create("no such image", {}, image="no-such-image")
    create("image name malformed", {}, image="Not A Name")
    create("image empty", {"Image": ""}, image=None)
    create("nothing", {}, image=None)
    create("platform of another machine", {}, {"platform": "windows/amd64"})
    create("working directory not absolute", {"WorkingDir": "relative"})
    create("environment without a name", {"Env": ["=value"]})
    create("host name too long", {"Hostname": "x" * 65})
    create("host name malformed", {"Hostname": "a b"})
    create("stop signal unknown", {"StopSignal": "SIGNONE"})
    create("exposed port malformed", {"ExposedPorts": {"http/tcp": {}}})
    create("health check unknown", {"Healthcheck": {"Test": ["WHAT"]}})
    create("health check interval short", {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000}})
    create("health check timeout negative", {"Healthcheck": {"Test": ["CMD", "true"], "Timeout": -1}})
    create("health check retries negative", {"Healthcheck": {"Test": ["CMD", "true"], "Retries": -1}})
    create("member of the wrong type", {"Env": "A=1"})
    create("volume not absolute", {"Volumes": {"relative": {}}})
    create("volume at the root", {"Volumes": {"/": {}}})
    host("memory below the minimum", Memory=1024)
    host("memory swap without memory", MemorySwap=64 << 20)
    host("memory swap below memory", Memory=64 << 20, MemorySwap=32 << 20)
    host("memory reservation above memory", Memory=64 << 20, MemoryReservation=128 << 20)
    host("memory reservation tiny", MemoryReservation=1024)
    host("swappiness out of range", MemorySwappiness=101)
    host("cpus more than there are", NanoCpus=1000000000000)
    host("cpus and quota", NanoCpus=500000000, CpuQuota=1000)
    host("cpus and period", NanoCpus=500000000, CpuPeriod=1000)
    host("cpu period too short", CpuPeriod=10)
    host("cpu quota too short", CpuQuota=10)
    host("cpu set malformed", CpusetCpus="a-b")
    host("cpu set of processors that are absent", CpusetCpus="900")
    host("memory nodes that are absent", CpusetMems="900")
    host("block weight out of range", BlkioWeight=5)
    host("oom score out of range", OomScoreAdj=2000)
    host("shm size negative", ShmSize=-1)
    host("restart policy unknown", RestartPolicy={"Name": "sometimes"})
    host("restart count without on-failure", RestartPolicy={"Name": "always", "MaximumRetryCount": 3})
    host("restart count negative", RestartPolicy={"Name": "on-failure", "MaximumRetryCount": -1})
    host("restart and auto-remove", RestartPolicy={"Name": "always"}, AutoRemove=True)
    host("bind malformed", Binds=["a:b:c:d"])
    host("bind of an unknown mode", Binds=["/tmp:/x:what"])
    host("bind not absolute", Binds=["/tmp:relative"])
    host("bind of a malformed volume name", Binds=["_bad/name:/x"])
    host("bind at the root", Binds=["/tmp:/"])
    host("bind twice at one place", Binds=["/tmp:/x", "/var:/x"])
    host("mount of an unknown type", Mounts=[{"Type": "what", "Target": "/x"}])
    host("mount without a target", Mounts=[{"Type": "volume"}])
    host("mount without a source", Mounts=[{"Type": "bind", "Target": "/x"}])
    host("mount of an absent source", Mounts=[{"Type": "bind", "Source": "/no/such/path", "Target": "/x"}])
    host("mount not absolute", Mounts=[{"Type": "bind", "Source": "/tmp", "Target": "x"}])
    host("mount of tmpfs with a source", Mounts=[{"Type": "tmpfs", "Source": "/tmp", "Target": "/x"}])
    host("mount with a stranger's options", Mounts=[{"Type": "bind", "Source": "/tmp", "Target": "/x",
                                                     "VolumeOptions": {"NoCopy": True}}])
    host("mount with a propagation unknown", Mounts=[{"Type": "bind", "Source": "/tmp", "Target": "/x",
                                                      "BindOptions": {"Propagation": "what"}}])
    host("tmpfs of a negative size", Mounts=[{"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"SizeBytes": -1}}])
    host("tmpfs with unknown options", Tmpfs={"/x": "what"})
    host("tmpfs not absolute", Tmpfs={"x": ""})
    host("volumes from nobody", VolumesFrom=["nobody"])
    host("volumes from with a mode unknown", VolumesFrom=["taken:what"])
    host("network mode unknown", NetworkMode="no-such-network")
    host("network of nobody", NetworkMode="container:nobody")
    host("network of a container and a host name", NetworkMode="container:taken")
    host("pid mode malformed", PidMode="what")
    host("pid of nobody", PidMode="container:nobody")
    host("ipc mode malformed", IpcMode="what")
    host("uts mode malformed", UTSMode="what")
    host("user namespace malformed", UsernsMode="what")
    host("cgroup namespace malformed", CgroupnsMode="what")
    host("capability unknown", CapAdd=["WHAT"])
    host("capability to drop unknown", CapDrop=["WHAT"])
    host("security option unknown", SecurityOpt=["what=x"])
    host("security option malformed", SecurityOpt=["what"])
    host("seccomp profile malformed", SecurityOpt=["seccomp={"])
    host("log option unknown", LogConfig={"Type": "json-file", "Config": {"what": "1"}})
    host("log size malformed", LogConfig={"Type": "json-file", "Config": {"max-size": "what"}})
    host("log file count malformed", LogConfig={"Type": "json-file", "Config": {"max-file": "0"}})
    host("log files without a size", LogConfig={"Type": "json-file", "Config": {"max-file": "3"}})
    host("log mode unknown", LogConfig={"Type": "json-file", "Config": {"mode": "what"}})
    host("log options of none", LogConfig={"Type": "none", "Config": {"max-size": "1m"}})
    host("port malformed", PortBindings={"80/tcp": [{"HostPort": "what"}]})
    host("port out of range", PortBindings={"80/tcp": [{"HostPort": "70000"}]})
    host("port of an unknown protocol", PortBindings={"80/what": [{"HostPort": "8080"}]})
    host("port at a malformed address", PortBindings={"80/tcp": [{"HostIp": "what", "HostPort": "8080"}]})
    host("dns malformed", Dns=["what"])
    host("extra host malformed", ExtraHosts=["what"])
    host("ulimit unknown", Ulimits=[{"Name": "what", "Soft": 1, "Hard": 1}])
    host("ulimit soft above hard", Ulimits=[{"Name": "nofile", "Soft": 2, "Hard": 1}])
    host("sysctl of the host's network", NetworkMode="host", Sysctls={"net.ipv4.ip_forward": "1"})
    host("sysctl that is not namespaced", Sysctls={"kernel.panic": "1"})
    host("device absent", Devices=[{"PathOnHost": "/dev/no-such-device"}])
    host("device request of nobody", DeviceRequests=[{"Driver": "nobody", "Count": 1}])
    host("runtime unknown", Runtime="what")
    host("isolation unknown", Isolation="what")
    host("storage option", StorageOpt={"size": "1G"})
    host("link to nobody", Links=["nobody:alias"])
    host("annotation without a name", Annotations={"": "x"})
    host("cgroup parent", CgroupParent="relative")

    connection = client.engine.connect()
    for step, body, kind in (("bad JSON", b"{", "application/json"), ("no JSON", b"{}", "text/plain"),
                             ("no body", b"", "application/json"), ("JSON list", b"[]", "application/json"),
                             ("two documents", b"{}{}", "application/json"), ("no media type", b"{}", "")):
        client.step(f"create from {step}", "POST", "/containers/create", body=body, headers={"Content-Type": kind})
    connection.close()

    for step, method, path, query in (
            ("inspect", "GET", CONTAINER, None), ("top", "GET", "/containers/{name}/top", None),
            ("logs", "GET", "/containers/{name}/logs", {"stdout": 1}),
            ("changes", "GET", "/containers/{name}/changes", None), ("export", "GET", "/containers/{name}/export", None),
            ("stats", "GET", "/containers/{name}/stats", None), ("start", "POST", "/containers/{name}/start", None),
            ("stop", "POST", "/containers/{name}/stop", None), ("restart", "POST", "/containers/{name}/restart", None),
            ("kill", "POST", "/containers/{name}/kill", None), ("pause", "POST", "/containers/{name}/pause", None),
            ("unpause", "POST", "/containers/{name}/unpause", None), ("wait", "POST", "/containers/{name}/wait", None),
            ("rename", "POST", "/containers/{name}/rename", {"name": "other"}),
            ("resize", "POST", "/containers/{name}/resize", {"h": 1, "w": 1}),
            ("attach", "POST", "/containers/{name}/attach", {"stream": 1, "stdout": 1}),
            ("archive get", "GET", "/containers/{name}/archive", {"path": "/"}),
            ("archive put", "PUT", "/containers/{name}/archive", {"path": "/"}),
            ("archive head", "HEAD", "/containers/{name}/archive", {"path": "/"}),
            ("remove", "DELETE", "/containers/{name}", None)):
        client.step(f"{step} of nobody", method, path, "nobody", query)
    client.step("update of nobody", "POST", "/containers/{name}/update", "nobody", body={})
    client.step("exec in nobody", "POST", "/containers/{name}/exec", "nobody", body={"Cmd": ["true"]})
    client.step("commit of nobody", "POST", "/commit", query={"container": "nobody"})

    for step, method, path, query in (
            ("top", "GET", "/containers/{name}/top", None), ("kill", "POST", "/containers/{name}/kill", None),
            ("stop", "POST", "/containers/{name}/stop", None), ("pause", "POST", "/containers/{name}/pause", None),
            ("unpause", "POST", "/containers/{name}/unpause", None),
            ("resize", "POST", "/containers/{name}/resize", {"h": 1, "w": 1}),
            ("kill with a signal unknown", "POST", "/containers/{name}/kill", {"signal": "SIGNONE"}),
            ("stop with a time malformed", "POST", "/containers/{name}/stop", {"t": "what"}),
            ("stop with a signal unknown", "POST", "/containers/{name}/stop", {"signal": "SIGNONE"}),
            ("resize without a size", "POST", "/containers/{name}/resize", None),
            ("rename to nothing", "POST", "/containers/{name}/rename", None),
            ("rename to itself", "POST", "/containers/{name}/rename", {"name": "taken"}),
            ("rename to a name malformed", "POST", "/containers/{name}/rename", {"name": "a/b"}),
            ("logs without a stream", "GET", "/containers/{name}/logs", None),
            ("logs since a time malformed", "GET", "/containers/{name}/logs", {"stdout": 1, "since": "what"}),
            ("logs with a tail malformed", "GET", "/containers/{name}/logs", {"stdout": 1, "tail": "what"}),
            ("attach with keys malformed", "POST", "/containers/{name}/attach",
             {"stream": 1, "stdout": 1, "detachKeys": "what,what"}),
            ("attach over no websocket", "GET", "/containers/{name}/attach/ws", {"stream": 1}),
            ("archive without a path", "GET", "/containers/{name}/archive", None),
            ("archive of an absent path", "GET", "/containers/{name}/archive", {"path": "/no/such"}),
            ("archive into an absent path", "PUT", "/containers/{name}/archive", {"path": "/no/such"}),
            ("archive into a file", "PUT", "/containers/{name}/archive", {"path": "/etc/passwd"}),
            ("archive head of an absent path", "HEAD", "/containers/{name}/archive", {"path": "/no/such"}),
            ("remove a link", "DELETE", "/containers/{name}", {"link": 1})):
        client.step(f"{step}, stopped", method, path, id, query)
    client.step("wait with a condition unknown", "POST", "/containers/{name}/wait", id, {"condition": "what"}) \
        if client.minor >= 30 else None
    client.step("update with a limit too low", "POST", "/containers/{name}/update", id, body={"Memory": 1024})
    client.step("update with a policy unknown", "POST", "/containers/{name}/update", id,
                body={"RestartPolicy": {"Name": "sometimes"}})
    client.step("start with a body", "POST", "/containers/{name}/start", id, body={"HostConfig": {}})
    client.step("exec in one that is stopped", "POST", "/containers/{name}/exec", id, body={"Cmd": ["true"]})
    client.step("list with a filter unknown", "GET", "/containers/json", query={"filters": {"what": ["x"]}})
    client.step("list with filters malformed", "GET", "/containers/json", query={"filters": "{"})
    client.step("list with a status unknown", "GET", "/containers/json", query={"filters": {"status": ["what"]}})
    client.step("list before nobody", "GET", "/containers/json", query={"filters": {"before": ["nobody"]}})
    client.step("list with an exit code malformed", "GET", "/containers/json", query={"filters": {"exited": ["x"]}})
    client.step("list with health unknown", "GET", "/containers/json", query={"filters": {"health": ["what"]}})
    client.step("list with a limit malformed", "GET", "/containers/json", query={"limit": "what"})
    client.step("prune with a filter unknown", "POST", "/containers/prune", query={"filters": {"what": ["x"]}})
    client.step("prune until a time malformed", "POST", "/containers/prune", query={"filters": {"until": ["what"]}})


def living(client):
    """A container from start to end, and what is said of it on the way."""
    id = client.create("life", Cmd=LOOP, Labels={"kind": "life"}, Healthcheck={
        "Test": ["CMD-SHELL", "echo well"], "Interval": 10 ** 11, "Timeout": 10 ** 10})
    client.step("start", "POST", "/containers/{name}/start", id)
    client.step("start again", "POST", "/containers/{name}/start", id)
    client.logged(id, b"up")
    client.step("inspect running", "GET", CONTAINER, id)
    client.step("list running", "GET", "/containers/json")
    top = client.ask("GET", "/containers/{name}/top", id, {"ps_args": "-o pid,comm"}).json()
    client.note("top", [top["Titles"], len(top["Processes"]) > 0], "GET /containers/{name}/top")
    client.step("top with arguments that hide the pid", "GET", "/containers/{name}/top", id, {"ps_args": "-o comm"})
    client.step("top with arguments malformed", "GET", "/containers/{name}/top", id, {"ps_args": "--what"})
    client.step("stats once", "GET", "/containers/{name}/stats", id, {"stream": 0, "one-shot": 1})
    client.step("pause", "POST", "/containers/{name}/pause", id)
    client.step("pause again", "POST", "/containers/{name}/pause", id)
    client.step("inspect paused", "GET", CONTAINER, id)
    client.step("list paused", "GET", "/containers/json")
    client.step("start one that is paused", "POST", "/containers/{name}/start", id)
    client.step("exec in one that is paused", "POST", "/containers/{name}/exec", id, body={"Cmd": ["true"]})
    client.step("attach to one that is paused", "POST", "/containers/{name}/attach", id, {"stream": 1, "stdout": 1})
    client.step("remove one that is paused", "DELETE", "/containers/{name}", id)
    client.step("unpause", "POST", "/containers/{name}/unpause", id)
    client.step("unpause again", "POST", "/containers/{name}/unpause", id)
    client.step("rename running", "POST", "/containers/{name}/rename", id, {"name": "lively"})
    client.step("kill with a signal unknown", "POST", "/containers/{name}/kill", id, {"signal": "SIGNONE"})
    client.step("kill with a signal that is ignored", "POST", "/containers/{name}/kill", id, {"signal": "SIGWINCH"})
    client.step("remove running", "DELETE", "/containers/{name}", id)
    client.step("stop", "POST", "/containers/{name}/stop", id, {"t": 10})
    client.step("stop again", "POST", "/containers/{name}/stop", id, {"t": 10})
    client.step("inspect stopped", "GET", CONTAINER, id)
    client.step("list stopped", "GET", "/containers/json", query={"all": 1})
    client.step("restart", "POST", "/containers/{name}/restart", id, {"t": 0})
    client.step("kill", "POST", "/containers/{name}/kill", id)
    client.wait(id)
    client.step("inspect killed", "GET", CONTAINER, id)
    client.step("remove with force", "DELETE", "/containers/{name}", id, {"force": 1})
    absent = client.create("absent", Cmd=["no-such-command"])
    client.step("start a command that is absent", "POST", "/containers/{name}/start", absent)
    client.step("inspect a command that is absent", "GET", CONTAINER, absent)
    denied = client.create("denied", Cmd=["/etc/passwd"])
    client.step("start a command that may not run", "POST", "/containers/{name}/start", denied)
    client.step("inspect a command that may not run", "GET", CONTAINER, denied)
    user = client.create("user", User="nobody-knows", Cmd=["true"])
    client.step("start as an unknown user", "POST", "/containers/{name}/start", user)
    short = client.start("short", Cmd=["sh", "-c", "exit 7"], HostConfig={"AutoRemove": False})
    client.wait(short)
    client.step("inspect ended", "GET", CONTAINER, short)
    if client.minor >= 25:
        brief = client.create("brief", Cmd=["true"], HostConfig={"AutoRemove": True})
        client.step("start one that removes itself", "POST", "/containers/{name}/start", brief)
        client.eventually(lambda: client.ask("GET", CONTAINER, brief).status == 404, "it is removed")
    client.events("events of a life", {"type": ["container"]})
    client.note("prune", sorted(client.ask("POST", "/containers/prune").json()), "POST /containers/prune")


def changing(client):
    """Updates of limits and policies, running and stopped."""
    id = client.start("change", Cmd=["sleep", "1000"], HostConfig={"Memory": 64 << 20, "MemorySwap": 128 << 20})
    client.step("update", "POST", "/containers/{name}/update", id, body={
        "CpuShares": 256, "Memory": 96 << 20, "PidsLimit": 50, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}})
    client.step("inspect updated", "GET", CONTAINER, id)
    client.step("update memory above swap", "POST", "/containers/{name}/update", id, body={"Memory": 512 << 20})
    client.step("update nothing", "POST", "/containers/{name}/update", id, body={})
    client.step("update without a body", "POST", "/containers/{name}/update", id)
    client.step("update the processors", "POST", "/containers/{name}/update", id, body={"NanoCpus": 300000000})
    client.step("update the quota beside the processors", "POST", "/containers/{name}/update", id, body={"CpuQuota": 5000})
    client.ask("POST", "/containers/{name}/kill", id)
    client.wait(id)
    client.step("update stopped", "POST", "/containers/{name}/update", id, body={"CpuShares": 128})
    removing = client.create("removing", HostConfig={"AutoRemove": True})
    client.step("update the policy of one that removes itself", "POST", "/containers/{name}/update", removing,
                body={"RestartPolicy": {"Name": "always"}})
    client.events("events of changes", {"type": ["container"]})


def lists(client):
    """Lists by every filter."""
    client.create("first", Labels={"a": "1"}, ExposedPorts={"80/tcp": {}}, HostConfig={"Binds": ["data:/data"]})
    second = client.start("second", Cmd=["sleep", "1000"], Labels={"a": "2", "b": ""}, HostConfig={
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18081"}]}})
    third = client.start("third", Cmd=["sh", "-c", "exit 5"])
    client.wait(third)
    for filters in ({"label": ["a"]}, {"label": ["a=2"]}, {"label": ["a=2", "b"]}, {"name": ["fir"]}, {"name": ["^/second$"]},
                    {"id": [second]}, {"id": ["0" * 12]}, {"status": ["created"]}, {"status": ["exited", "running"]},
                    {"exited": ["5"]}, {"ancestor": ["busybox"]}, {"ancestor": ["no-such-image"]}, {"before": ["third"]},
                    {"since": ["first"]}, {"volume": ["data"]}, {"volume": ["/data"]}, {"network": ["bridge"]},
                    {"network": ["no-such-network"]}, {"health": ["none"]}, {"is-task": ["true"]}, {"expose": ["80/tcp"]},
                    {"publish": ["80"]}, {"publish": ["18081"]}, {"isolation": ["default"]}, {"label": {"a=1": True}}):
        step = "list " + " ".join(f"{name}={value}" for name, value in filters.items())
        step = step.replace(second, "<second>")
        client.step(step, "GET", "/containers/json", query={"all": 1, "filters": filters})
    client.step("list limited", "GET", "/containers/json", query={"limit": 2})
    client.step("list since", "GET", "/containers/json", query={"all": 1, "since": "first"})


def files(client):
    """Archives in and out, changes, export."""
    id = client.create("files", Cmd=["true"])
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind, link in (("made", tarfile.DIRTYPE, ""), ("made/file", tarfile.REGTYPE, ""),
                                 ("made/link", tarfile.SYMTYPE, "file"), ("made/hard", tarfile.LNKTYPE, "made/file"),
                                 ("made/pipe", tarfile.FIFOTYPE, "")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode, entry.mtime = kind, link, 0o751, 1000000000
            entry.uid, entry.gid = 12, 34
            entry.size = 5 if kind == tarfile.REGTYPE else 0
            tar.addfile(entry, io.BytesIO(b"text\n") if entry.size else None)
    tar_type = {"Content-Type": "application/x-tar"}
    archive = "/containers/{name}/archive"
    client.step("put", "PUT", archive, id, {"path": "/tmp"}, data.getvalue(), tar_type)
    client.step("get a folder", "GET", archive, id, {"path": "/tmp/made"})
    client.step("get the inside of a folder", "GET", archive, id, {"path": "/tmp/made/."})
    client.step("get a file", "GET", archive, id, {"path": "/tmp/made/file"})
    client.step("get a link", "GET", archive, id, {"path": "/tmp/made/link"})
    client.step("head of a file", "HEAD", archive, id, {"path": "/tmp/made/file"})
    client.step("head of a link", "HEAD", archive, id, {"path": "/tmp/made/link"})
    client.step("head of a folder", "HEAD", archive, id, {"path": "/tmp/made"})
    client.step("head of the root", "HEAD", archive, id, {"path": "/"})
    client.step("head of a file as a folder", "HEAD", archive, id, {"path": "/tmp/made/file/"})
    client.step("get a file as a folder", "GET", archive, id, {"path": "/tmp/made/file/"})
    client.step("put into a file", "PUT", archive, id, {"path": "/tmp/made/file"}, data.getvalue(), tar_type)
    client.step("put what is no archive", "PUT", archive, id, {"path": "/tmp"}, b"this is no archive" * 100, tar_type)
    client.step("put a folder over a file, not wanted", "PUT", archive, id, {"path": "/tmp", "noOverwriteDirNonDir": 1},
                replacing("made", tarfile.REGTYPE), tar_type)
    client.step("put with owners", "PUT", archive, id, {"path": "/tmp", "copyUIDGID": 1}, data.getvalue(), tar_type)
    changes = client.ask("GET", "/containers/{name}/changes", id).json()
    client.note("changes after a put", sorted(changes, key=lambda change: change["Path"]), "GET /containers/{name}/changes")
    held = client.create("held", HostConfig={"ReadonlyRootfs": True})
    client.step("put into a root that is read-only", "PUT", archive, held, {"path": "/tmp"}, data.getvalue(), tar_type)
    changed = client.start("changed", Cmd=["sh", "-c", "echo x >/new; rm /etc/passwd; mkdir /d; echo y >/d/f"])
    client.wait(changed)
    changes = client.ask("GET", "/containers/{name}/changes", changed).json()
    client.note("changes", sorted(changes, key=lambda change: change["Path"]), "GET /containers/{name}/changes")
    exported = client.ask("GET", "/containers/{name}/export", changed)
    with tarfile.open(fileobj=io.BytesIO(exported.body)) as tar:
        names = sorted(tar.getnames())
    client.note("export", {"status": exported.status, "type": exported.headers.get("content-type"),
                           "names": [name for name in names if name.count("/") == 0]}, "GET /containers/{name}/export")
    client.events("events of files", {"type": ["container"]})


def replacing(name, kind):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.type = kind
        tar.addfile(entry)
    return data.getvalue()
