"""A client of one engine that keeps what was answered to each step."""

import json
import time
import urllib.parse

import comparison


class Client:
    def __init__(self, engine, version):
        self.engine = engine
        self.version = version
        self.minor = int(version.split(".")[1])
        self.exchanges = []
        self.steps = set()
        self.began = time.time()

    # Requests.

    def target(self, path, name="", query=None):
        target = f"/v{self.version}" + path.replace("{name}", urllib.parse.quote(name, safe="/:@"))
        if query:
            encoded = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in query.items()}
            target += "?" + urllib.parse.urlencode(encoded, doseq=True)
        return target

    def ask(self, method, path, name="", query=None, body=None, headers=()):
        """Sends a request on a connection of its own and gives the answer; nothing is kept of it."""
        connection = self.engine.connect()
        try:
            return connection.request(method, self.target(path, name, query), body, headers)
        finally:
            connection.close()

    def step(self, step, method, path, name="", query=None, body=None, headers=()):
        """Sends a request whose answer is compared."""
        response = self.ask(method, path, name, query, body, headers)
        self.keep(step, f"{method} {path}", comparison.answer(response, self.engine.directory))
        return response

    def open(self, method, path, name="", query=None, body=None, headers=()):
        """A connection on which the request was sent and the head of the answer read."""
        connection = self.engine.connect()
        connection.send(method, self.target(path, name, query), body, headers)
        return connection, connection.head()

    def note(self, step, value, operation="outcome"):
        """Something seen that is no answer, to be compared like one."""
        self.keep(step, operation, comparison.normal(value, self.engine.directory))

    def keep(self, step, operation, answer):
        assert step not in self.steps, f"two steps are called {step}"
        self.steps.add(step)
        self.exchanges.append(comparison.Exchange(operation, step, answer))

    # What scenarios do again and again.

    def create(self, name=None, image="busybox", **config):
        """Makes a container; its id."""
        query = {"name": name} if name else None
        response = self.ask("POST", "/containers/create", query=query, body={"Image": image, **config})
        if response.status != 201:
            raise RuntimeError(f"create {name}: {response.status} {response.body.decode()}")
        return response.json()["Id"]

    def start(self, name=None, **config):
        """Makes and starts a container; its id."""
        id = self.create(name, **config)
        response = self.ask("POST", "/containers/{name}/start", id)
        if response.status != 204:
            raise RuntimeError(f"start {name}: {response.status} {response.body.decode()}")
        return id

    def wait(self, id):
        """Until the container has ended; its code."""
        return self.ask("POST", "/containers/{name}/wait", id).json()["StatusCode"]

    def logged(self, id, text):
        """Until the container has printed the text."""
        deadline = time.monotonic() + 60
        while text not in self.ask("GET", "/containers/{name}/logs", id, {"stdout": 1, "stderr": 1}).body:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{id} did not print {text!r}")
            time.sleep(0.02)

    def eventually(self, condition, what):
        deadline = time.monotonic() + 60
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within 60 s: {what}")
            time.sleep(0.02)

    def events(self, step, filters=None):
        """Compares what happened since this client began: an event each in a line, in order, and what one looks like."""
        time.sleep(0.05)
        query = {"since": f"{self.began:.9f}", "until": f"{time.time():.9f}"}
        if filters:
            query["filters"] = filters
        response = self.ask("GET", "/events", query=query)
        events = [json.loads(line) for line in response.body.splitlines()]
        # Which of the two dockerd tells first is chance.
        for index, (event, following) in enumerate(zip(events, events[1:])):
            if (event["Action"], following["Action"]) == ("stop", "die"):
                events[index:index + 2] = following, event
        self.note(step, comparison.Events(comparison.told(event) for event in events), "GET /events")
        self.note(f"{step}, the first", events[0], "GET /events")

    def clear(self):
        """Removes every container, volume and network, and tags of the tests."""
        for container in self.ask("GET", "/containers/json", query={"all": 1}).json():
            self.ask("DELETE", "/containers/{name}", container["Id"], {"force": 1, "v": 1})
        for volume in self.ask("GET", "/volumes").json()["Volumes"] or []:
            self.ask("DELETE", "/volumes/{name}", volume["Name"], {"force": 1})
        for network in self.ask("GET", "/networks").json():
            if network["Name"] not in ("bridge", "host", "none"):
                self.ask("DELETE", "/networks/{name}", network["Id"])
        for image in self.ask("GET", "/images/json", query={"all": 1}).json():
            for tag in image["RepoTags"] or [image["Id"]]:
                if tag != "busybox:latest":
                    self.ask("DELETE", "/images/{name}", image["Id"] if "<none>" in tag else tag, {"force": 1})
