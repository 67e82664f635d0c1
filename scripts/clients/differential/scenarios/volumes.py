"""Volumes, and containers that have them."""


def volumes(client):
    create, volume = "/volumes/create", "/volumes/{name}"
    client.step("create", "POST", create, body={"Name": "data", "Labels": {"a": "1"}})
    client.step("create again", "POST", create, body={"Name": "data"})
    client.step("create anonymous", "POST", create, body={})
    client.step("create without a body", "POST", create)
    client.step("create tmpfs", "POST", create, body={
        "Name": "scratch", "Driver": "local", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=1000"}})
    client.step("inspect", "GET", volume, "data")
    client.step("inspect tmpfs", "GET", volume, "scratch")
    client.step("create with other options", "POST", create, body={"Name": "scratch", "DriverOpts": {"type": "ext4"}})
    listed = client.ask("GET", "/volumes").json()
    client.note("list", {"Warnings": listed["Warnings"], "names": sorted(
        volume["Name"] for volume in listed["Volumes"] if len(volume["Name"]) < 64)}, "GET /volumes")
    for filters in ({"name": ["dat"]}, {"label": ["a"]}, {"label": ["a=2"]}, {"driver": ["local"], "name": ["data"]},
                    {"dangling": ["true"], "name": ["data"]}, {"dangling": ["false"]}, {"driver": ["what"]}):
        client.step("list " + str(filters), "GET", "/volumes", query={"filters": filters})
    client.step("list with a filter unknown", "GET", "/volumes", query={"filters": {"what": ["x"]}})
    client.step("list with dangling malformed", "GET", "/volumes", query={"filters": {"dangling": ["what"]}})
    client.step("create with a name malformed", "POST", create, body={"Name": "a/b"})
    client.step("create with a name of one letter", "POST", create, body={"Name": "a"})
    client.step("create with an option unknown", "POST", create, body={"Name": "odd", "DriverOpts": {"what": "x"}})
    client.step("create without a device", "POST", create, body={"Name": "odd", "DriverOpts": {"type": "tmpfs", "o": "x"}})
    client.step("create without a type", "POST", create, body={"Name": "odd", "DriverOpts": {"o": "bind"}})
    client.step("create with a bad body", "POST", create, body=b"{", headers={"Content-Type": "application/json"})
    client.step("inspect nothing", "GET", volume, "nothing")
    client.step("remove nothing", "DELETE", volume, "nothing")
    client.step("remove nothing by force", "DELETE", volume, "nothing", {"force": 1})
    client.step("update", "PUT", volume, "data", {"version": 1}, body={})
    client.create("user", HostConfig={"Binds": ["data:/data"]})
    client.step("remove in use", "DELETE", volume, "data")
    client.step("remove in use by force", "DELETE", volume, "data", {"force": 1})
    usage = client.ask("GET", "/system/df").json()["Volumes"]
    client.note("usage", [volume for volume in usage if volume["Name"] == "data"], "GET /system/df")
    client.step("prune with a filter unknown", "POST", "/volumes/prune", query={"filters": {"what": ["x"]}})
    client.step("prune by label", "POST", "/volumes/prune", query={"filters": {"label": ["nothing"]}})
    client.ask("DELETE", "/containers/{name}", "user")
    pruned = client.ask("POST", "/volumes/prune", query={"filters": {"all": ["true"]} if client.minor >= 42 else {}}).json()
    client.note("prune", sorted(name for name in pruned["VolumesDeleted"] if len(name) < 64), "POST /volumes/prune")
    client.step("prune again", "POST", "/volumes/prune")
    client.events("events of volumes", {"volume": ["data", "scratch"]})


def mounts(client):
    """Every kind of mount, as inspect and the program see it."""
    client.ask("POST", "/volumes/create", body={"Name": "given", "Labels": {"a": "1"}})
    client.ask("POST", "/volumes/create", body={"Name": "limited", "DriverOpts": {
        "type": "tmpfs", "device": "tmpfs", "o": "size=1m"}})
    client.ask("POST", "/volumes/create", body={"Name": "elsewhere", "DriverOpts": {
        "type": "none", "device": "/usr/share", "o": "bind,ro"}})
    binds = client.start("binds", Cmd=["sleep", "1000"], Volumes={"/anonymous": {}}, HostConfig={
        "Binds": ["given:/given", "fresh:/etc:nocopy", "/tmp:/tmp2:ro", "elsewhere:/elsewhere", "limited:/limited"],
        "Tmpfs": {"/scratch": "size=1m,mode=700"}})
    client.step("inspect binds", "GET", "/containers/{name}/json", binds)
    mounted = client.start("mounted", Cmd=["sleep", "1000"], HostConfig={"Mounts": [
        {"Type": "volume", "Source": "given", "Target": "/given", "ReadOnly": True},
        {"Type": "volume", "Target": "/unnamed", "VolumeOptions": {"NoCopy": True, "Labels": {"b": "2"}}},
        {"Type": "bind", "Source": "/usr", "Target": "/host", "ReadOnly": True, "BindOptions": {"Propagation": "rprivate"}},
        {"Type": "tmpfs", "Target": "/memory", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700}}]})
    client.step("inspect mounts", "GET", "/containers/{name}/json", mounted)
    client.step("list mounts", "GET", "/containers/json")
    shell = ("cat /proc/mounts | grep -E ' /(given|etc|tmp2|elsewhere|limited|scratch|anonymous|host|memory|unnamed) ' "
             "| awk '{print $2, ($3 == \"tmpfs\" ? $3 : \"disk\"), substr($4, 1, 2)}' | sort")
    for name in ("binds", "mounted"):
        client.note(f"seen inside {name}", run(client, name, shell))
    client.note("volume copied up", run(client, "binds", "ls /etc | grep -v -E 'hostname|hosts|resolv.conf|mtab' | wc -l"))
    heir = client.create("heir", HostConfig={"VolumesFrom": ["binds:ro"]})
    client.step("inspect volumes from", "GET", "/containers/{name}/json", heir)
    if client.minor >= 45:
        run(client, "binds", "mkdir -p /given/sub; echo below >/given/sub/file")
        below = {"Type": "volume", "Source": "given", "Target": "/below", "VolumeOptions": {"Subpath": "sub"}}
        sub = client.start("sub", Cmd=["cat", "/below/file"], HostConfig={"Mounts": [below]})
        client.wait(sub)
        client.step("inspect a subpath", "GET", "/containers/{name}/json", sub)
        client.step("logs through a subpath", "GET", "/containers/{name}/logs", sub, {"stdout": 1})
        for step, path in (("outside", "../x"), ("absolute", "/x"), ("absent", "nothing")):
            bad = {**below, "VolumeOptions": {"Subpath": path}}
            made = client.step(f"create with a subpath {step}", "POST", "/containers/create",
                               body={"Image": "busybox", "HostConfig": {"Mounts": [bad]}})
            if made.status == 201:
                client.step(f"start with a subpath {step}", "POST", "/containers/{name}/start", made.json()["Id"])
    client.events("events of mounts", {"type": ["volume"]})


def run(client, container, command):
    """What a command in a container prints on its output."""
    exec = client.ask("POST", "/containers/{name}/exec", container, body={
        "Cmd": ["sh", "-c", command], "AttachStdout": True, "Tty": True}).json()["Id"]
    return client.ask("POST", "/exec/{name}/start", exec, body={"Tty": True}).body.decode().splitlines()
