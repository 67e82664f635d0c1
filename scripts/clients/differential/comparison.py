"""What is compared of two answers, and the list of differences that are allowed."""

import base64
import difflib
import io
import json
import re
import tarfile

# Headers that say the same of every answer, or that belong to the transport.
IGNORED_HEADERS = {"server", "date", "content-length", "transfer-encoding", "connection", "trailer"}

# Members whose numbers differ between any two runs: only their type is compared, and whether they are zero.
VARYING = {
    "Pid", "NFd", "NGoroutines", "NEventsListener", "MemTotal", "SpaceReclaimed", "SizeRw", "SizeRootFs", "LayersSize",
    "time", "timeNano", "mtime", "Size", "SharedSize", "VirtualSize", "size", "Created", "UsageData", "current", "total", "execDuration", "MemAvailable",
}
# What is below these is a measurement: types only.
MEASURED = {"cpu_stats", "precpu_stats", "memory_stats", "pids_stats", "blkio_stats", "networks", "storage_stats"}

PATTERNS = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"sha256:[0-9a-f]{64}"), "<digest>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<short id>"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b"), "<mac>"),
    (re.compile(r"Less than a second|\b\d+ seconds?|About a minute|\b\d+ minutes"), "<while>"),
    (re.compile(r"\b172\.17\.0\.(?!1\b)\d+\b"), "<address>"),
]
NEVER = "0001-01-01T00:00:00Z"


class Events(list):
    """What happened, in order, a line each."""


class Exchange:
    """A request's operation (`GET /containers/{name}/json`), the step that sent it, and what was answered."""

    def __init__(self, operation, step, answer):
        self.operation = operation
        self.step = step
        self.answer = answer


def answer(response, directory):
    """An answer in a form that can be compared: status, headers, body."""
    headers = {name: value for name, value in response.headers.items() if name not in IGNORED_HEADERS}
    if "x-docker-container-path-stat" in headers:
        headers["x-docker-container-path-stat"] = json.loads(base64.b64decode(headers["x-docker-container-path-stat"]))
    return normal({"status": response.status, "headers": headers, "body": body(response)}, directory)


def body(response):
    kind = response.headers.get("content-type", "").split(";")[0]
    if not response.body:
        return None
    if kind == "application/json":
        lines = [json.loads(line) for line in response.body.splitlines() if line.strip()]
        return lines[0] if len(lines) == 1 else lines
    if kind == "application/x-tar" and response.status == 200:
        return archive(response.body)
    if kind.startswith("application/vnd.docker"):
        return frames(response.body)
    return response.body.decode(errors="replace")


def archive(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: {"type": entry.type.decode(), "mode": oct(entry.mode), "owner": f"{entry.uid}:{entry.gid}",
                             "size": entry.size, "link": entry.linkname, "names": f"{entry.uname}:{entry.gname}"}
                for entry in tar}


def frames(data):
    """Docker's stream frames, those of one stream that follow each other joined, since where one ends is chance."""
    found = []
    rest = data
    while rest:
        if len(rest) < 8 or rest[0] > 3 or rest[1:4] != b"\0\0\0":
            return data.decode(errors="replace")
        length = int.from_bytes(rest[4:8], "big")
        text = rest[8:8 + length].decode(errors="replace")
        if found and found[-1]["stream"] == rest[0]:
            found[-1]["text"] += text
        else:
            found.append({"stream": rest[0], "text": text})
        rest = rest[8 + length:]
    return found


def normal(value, directory):
    """Without what differs between any two engines: ids, times, addresses, the engine's own folder."""
    if isinstance(value, dict):
        return {normal(name, directory): normal(sorted_member(name, member), directory) for name, member in value.items()}
    if isinstance(value, list):
        return type(value)(normal(element, directory) for element in value)
    if not isinstance(value, str) or value == NEVER:
        return value
    value = value.replace(directory, "<root>")
    for pattern, name in PATTERNS:
        value = pattern.sub(name, value)
    return value


def sorted_member(name, member):
    """Lists whose order is chance in dockerd, which keeps them in maps."""
    orders = {"Mounts": ("Destination",), "Networks": ("Name",), "Images": ("RepoTags", "Size")}
    if name in orders and isinstance(member, list):
        return sorted(member, key=lambda element: [str(element[part] or "") for part in orders[name]])
    return member


def differences(docker, ours, path="", measured=False):
    """Pairs of a place (`.body.State.Pid`) and a sentence."""
    if isinstance(docker, dict) and isinstance(ours, dict):
        for name in sorted(docker.keys() | ours.keys()):
            here = f"{path}.{name}"
            if name not in ours:
                yield here, f"docker has {short(docker[name])}, ours lacks it"
            elif name not in docker:
                yield here, f"ours has {short(ours[name])}, docker lacks it"
            elif name in VARYING and kind(docker[name]) == kind(ours[name]) == "number":
                if (docker[name] == 0) != (ours[name] == 0) and not measured:
                    yield here, f"docker {docker[name]}, ours {ours[name]}"
            else:
                yield from differences(docker[name], ours[name], here, measured or name in MEASURED)
    elif isinstance(docker, Events) and isinstance(ours, Events):
        yield from event_differences(docker, ours)
    elif isinstance(docker, list) and isinstance(ours, list) and measured:
        # Devices and processors are the machine's: what each of them looks like is compared.
        if docker and ours:
            yield from differences(docker[0], ours[0], path + "[]", measured)
    elif isinstance(docker, list) and isinstance(ours, list):
        if len(docker) != len(ours):
            yield path + "[]", f"docker {len(docker)}: {short(docker)}, ours {len(ours)}: {short(ours)}"
        else:
            for one, other in zip(docker, ours):
                yield from differences(one, other, path + "[]", measured)
    elif kind(docker) != kind(ours) or (docker != ours and not measured):
        yield path, f"docker {short(docker)}, ours {short(ours)}"


def event_differences(docker, ours):
    """Which events only one of them tells of, or both at other places of the order."""
    for tag, first, last, start, end in difflib.SequenceMatcher(None, docker, ours, autojunk=False).get_opcodes():
        if tag != "equal":
            yield from ((f".{event}", "only docker's") for event in docker[first:last])
            yield from ((f".{event}", "only ours") for event in ours[start:end])


def told(event):
    """An event in a line: type, action, attributes."""
    attributes = event["Actor"].get("Attributes") or {}
    words = ",".join(f"{name}={value}" for name, value in sorted(attributes.items())
                     if name not in ("execDuration", "reclaimed"))
    # A command without arguments ends with a space, which is made visible.
    return f"{event['Type']} {event['Action']} {words}".strip().replace("  ", " (none) ")


def kind(value):
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}
    return names.get(type(value), "null")


def short(value):
    text = json.dumps(value)
    return text if len(text) <= 600 else text[:600] + "…"


class Allowed:
    """The allowed differences: a line each of operation, step (`*` for any), place, and reason."""

    def __init__(self, path):
        self.entries = []
        self.used = set()
        self.limit = 0
        with open(path) as file:
            for line in file:
                if line.startswith("limit "):
                    self.limit = int(line.split()[1])
                elif line.strip() and not line.startswith("#"):
                    entry = re.split(r"\s{2,}", line.strip(), maxsplit=3)
                    if len(entry) != 4:
                        raise ValueError(f"{path}: neither operation, step, place and reason, nor a comment: {line}")
                    self.entries.append(entry)

    def allows(self, operation, step, place):
        """Whether an entry names the difference, or what it is inside of."""
        found = False
        for index, (its_operation, its_step, its_place, _) in enumerate(self.entries):
            if its_operation in (operation, "*") and its_step in (step, "*") and inside(place, its_place):
                self.used.add(index)
                found = True
        return found

    def unused(self):
        return [entry for index, entry in enumerate(self.entries) if index not in self.used]


def inside(place, outer):
    return outer == "." or place == outer or (place.startswith(outer) and place[len(outer)] in ".[")
