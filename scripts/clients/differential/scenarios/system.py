"""The system: what the engine says of itself, and what one without a swarm refuses."""


def system(client):
    client.step("ping", "GET", "/_ping")
    client.step("ping by head", "HEAD", "/_ping")
    client.step("version", "GET", "/version")
    client.step("events of a malformed time", "GET", "/events", query={"since": "what"})
    client.step("events that end before they begin", "GET", "/events", query={"since": 20, "until": 10})
    client.step("events with a filter unknown", "GET", "/events", query={"until": 1, "filters": {"what": ["x"]}})
    client.step("events of the past", "GET", "/events", query={"since": 1, "until": 2})
    client.step("disk usage of a type unknown", "GET", "/system/df", query={"type": "what"})
    for kind in ("container", "image", "volume", "build-cache"):
        client.step(f"disk usage of {kind}", "GET", "/system/df", query={"type": kind})
    client.step("log in without a body", "POST", "/auth")
    client.step("no such page", "GET", "/nothing")
    client.step("no such method", "PUT", "/containers/json")
    client.step("a container's page with a slash", "GET", "/containers/a/b/json")
    for step, path in (("too old", "/v1.12/version"), ("too new", "/v1.99/version"), ("malformed", "/vx/version"),
                       ("of three parts", "/v1.2.3/version"), ("without one", "/version"), ("double slash", "//version")):
        connection = client.engine.connect()
        import comparison
        response = connection.request("GET", path)
        client.keep(f"version {step}", "GET /version", comparison.answer(response, client.engine.directory))
        connection.close()


def documents(client):
    """Documents whose form depends on the version; asked for of every version."""
    client.step("info", "GET", "/info")
    client.step("version", "GET", "/version")
    client.step("disk usage", "GET", "/system/df")
    client.step("images", "GET", "/images/json")
    client.step("image", "GET", "/images/{name}/json", "busybox")
    client.step("network", "GET", "/networks/{name}", "bridge")
    client.step("networks", "GET", "/networks", query={"filters": {"name": ["none"]}})
    client.step("create", "POST", "/containers/create", query={"name": "document"}, body={
        "Image": "busybox", "MacAddress": "02:42:ac:11:00:99", "HostConfig": {
            "KernelMemory": 64 << 20, "ConsoleSize": [10, 20], "Annotations": {"a": "1"}, "AutoRemove": True}})
    client.step("container", "GET", "/containers/{name}/json", "document")
    client.step("containers", "GET", "/containers/json", query={"all": 1})


def absent(client):
    """What needs a swarm, a session or a plugin."""
    for method, path in (("GET", "/swarm"), ("POST", "/swarm/init"), ("POST", "/swarm/join"), ("POST", "/swarm/leave"),
                         ("POST", "/swarm/update"), ("GET", "/swarm/unlockkey"), ("POST", "/swarm/unlock"), ("GET", "/nodes"), ("GET", "/nodes/x"),
                         ("DELETE", "/nodes/x"), ("POST", "/nodes/x/update"), ("GET", "/services"), ("GET", "/services/x"),
                         ("POST", "/services/create"), ("POST", "/services/x/update"), ("DELETE", "/services/x"),
                         ("GET", "/services/x/logs"), ("GET", "/tasks"), ("GET", "/tasks/x"), ("GET", "/tasks/x/logs"),
                         ("GET", "/secrets"), ("GET", "/secrets/x"), ("POST", "/secrets/create"), ("DELETE", "/secrets/x"),
                         ("POST", "/secrets/x/update"), ("GET", "/configs"), ("GET", "/configs/x"),
                         ("POST", "/configs/create"), ("DELETE", "/configs/x"), ("POST", "/configs/x/update"),
                         ("GET", "/plugins"), ("GET", "/plugins/x/json"), ("POST", "/plugins/x/enable"),
                         ("POST", "/plugins/x/disable"), ("DELETE", "/plugins/x"), ("POST", "/plugins/x/set"),
                         ("GET", "/containers/x/checkpoints")):
        needs_body = method == "POST" and not path.endswith(("leave", "able"))
        client.step(f"{method} {path}", method, path, query={"stdout": 1} if path.endswith("logs") else None,
                    body=({} if not path.endswith("set") else []) if needs_body else None)
