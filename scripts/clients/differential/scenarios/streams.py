"""What flows: logs, attachments, programs that are executed beside, and waiting."""

import base64
import os
import re
import socket
import threading

import comparison

UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}
LOGS = "/containers/{name}/logs"


def logging(client):
    # dockerd reads the two streams by themselves, so what follows at once may change places.
    speak = "echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three; printf unfinished"
    id = client.start("speaker", Cmd=["sh", "-c", speak], Labels={"a": "1"}, Env=["E=2"], HostConfig={
        "LogConfig": {"Type": "json-file", "Config": {"labels": "a", "env": "E"}}})
    client.wait(id)
    client.step("all", "GET", LOGS, id, {"stdout": 1, "stderr": 1})
    client.step("stdout", "GET", LOGS, id, {"stdout": 1})
    client.step("stderr", "GET", LOGS, id, {"stderr": 1})
    client.step("tail", "GET", LOGS, id, {"stdout": 1, "stderr": 1, "tail": 2})
    client.step("tail none", "GET", LOGS, id, {"stdout": 1, "stderr": 1, "tail": 0})
    client.step("tail all", "GET", LOGS, id, {"stdout": 1, "stderr": 1, "tail": "all"})
    client.step("tail negative", "GET", LOGS, id, {"stdout": 1, "stderr": 1, "tail": -1})
    client.step("timestamps", "GET", LOGS, id, {"stdout": 1, "stderr": 1, "timestamps": 1})
    client.step("details", "GET", LOGS, id, {"stdout": 1, "stderr": 1, "details": 1})
    client.step("details and timestamps", "GET", LOGS, id, {"stdout": 1, "details": 1, "timestamps": 1})
    client.step("since the future", "GET", LOGS, id, {"stdout": 1, "since": 4000000000})
    client.step("until the past", "GET", LOGS, id, {"stdout": 1, "until": 1000000000})
    client.step("since a duration", "GET", LOGS, id, {"stdout": 1, "since": "10m"})
    client.step("follow of one that ended", "GET", LOGS, id, {"stdout": 1, "stderr": 1, "follow": 1})
    terminal = client.start("terminal", Cmd=["echo", "typed"], Tty=True)
    client.wait(terminal)
    client.step("of a terminal", "GET", LOGS, terminal, {"stdout": 1, "stderr": 1})
    going = client.start("going", Cmd=["sh", "-c", "echo a; sleep 0.3; echo b"])
    client.step("follow", "GET", LOGS, going, {"stdout": 1, "follow": 1})
    silent = client.start("silent", Cmd=["echo", "unheard"], HostConfig={"LogConfig": {"Type": "none"}})
    client.wait(silent)
    client.step("of driver none", "GET", LOGS, silent, {"stdout": 1})
    client.step("inspect driver none", "GET", "/containers/{name}/json", silent)
    local = client.start("local", Cmd=["echo", "heard"], HostConfig={"LogConfig": {"Type": "local"}})
    client.wait(local)
    client.step("of driver local", "GET", LOGS, local, {"stdout": 1})
    client.step("inspect driver local", "GET", "/containers/{name}/json", local)


def drivers(client):
    """What log drivers send to a receiver of the test's own, what they keep, and what is refused."""
    path = client.engine.directory + "/syslog"
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(path)
    receiver.settimeout(30)

    def config(driver, **options):
        return {"LogConfig": {"Type": driver, "Config": {name.replace("_", "-"): value for name, value in options.items()}}}

    for form in ("", "rfc3164", "rfc5424", "rfc5424micro"):
        options = {"syslog_address": "unixgram://" + path, "tag": "{{.Name}}/{{.ImageName}}", "syslog_facility": "local3"}
        if form:
            options["syslog_format"] = form
        name = "syslog" + form
        id = client.start(name, Cmd=["sh", "-c", "echo out; sleep 0.1; echo err >&2"], HostConfig=config("syslog", **options))
        client.wait(id)
        texts = [receiver.recv(65536).decode() for _ in range(2)]
        client.note(f"messages {form}", [told(text) for text in texts])
        client.step(f"logs {form}", "GET", LOGS, id, {"stdout": 1, "stderr": 1})
    client.step("inspect", "GET", "/containers/{name}/json", id)
    receiver.close()
    os.unlink(path)
    for step, driver, options in (
            ("address malformed", "syslog", {"syslog_address": "what"}),
            ("address of a scheme unknown", "syslog", {"syslog_address": "what://x"}),
            ("address of a socket that is absent", "syslog", {"syslog_address": "unixgram:///no/such/socket"}),
            ("facility unknown", "syslog", {"syslog_facility": "what"}),
            ("format unknown", "syslog", {"syslog_format": "what"}),
            ("option unknown", "syslog", {"what": "x"}), ("option of journald unknown", "journald", {"max-size": "1m"}),
            ("buffer without its mode", "json-file", {"max_buffer_size": "1m"})):
        client.step(f"create with a syslog {step}", "POST", "/containers/create",
                    body={"Image": "busybox", "HostConfig": config(driver, **options)})
    if not os.path.exists("/run/systemd/journal/socket"):
        journal = client.create("journal", HostConfig=config("journald"))
        client.step("start without journald", "POST", "/containers/{name}/start", journal)
    rotated = client.start("rotated", Cmd=["sh", "-c", "for i in $(seq 2000); do echo line number $i; done"],
                           HostConfig=config("json-file", max_size="20k", max_file="3"), Labels={"a": "1"})
    client.wait(rotated)
    lines = client.ask("GET", LOGS, rotated, {"stdout": 1, "tail": 3})
    client.note("tail of a rotated log", comparison.body(lines))
    attributes = client.start("attributes", Cmd=["echo", "x"], Labels={"a": "1", "ab": "2", "c": "3"}, Env=["E=4", "F=5"],
                              HostConfig=config("json-file", labels="a,c", labels_regex="^ab", env="E", tag="{{.Name}}"))
    client.wait(attributes)
    with open(client.ask("GET", "/containers/{name}/json", attributes).json()["LogPath"]) as file:
        client.note("file of json-file", file.read())
    client.step("details of json-file", "GET", LOGS, attributes, {"stdout": 1, "details": 1})


def told(text):
    """A syslog message without the sender's process and the time."""
    text = re.sub(r"\[\d+\]", "[pid]", text)
    text = re.sub(r"(?<=>)[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d", "<stamp>", text)
    return re.sub(r"(<time> \S+ \S+) \d+ ", r"\1 pid ", comparison.PATTERNS[0][0].sub("<time>", text))


def attaching(client):
    attach = "/containers/{name}/attach"
    id = client.create("cat", Cmd=["cat"], OpenStdin=True, StdinOnce=True)
    for upgrade in (True, False):
        word = "upgraded" if upgrade else "plain"
        connection, head = client.open("POST", attach, id, {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1},
                                       headers=UPGRADE if upgrade else {})
        client.ask("POST", "/containers/{name}/start", id)
        connection.socket.sendall(b"to and fro\n")
        connection.socket.shutdown(1)
        client.note(f"cat, {word}", {"head": about(head), "output": list(connection.rest())}, f"POST {attach}")
        connection.close()
        client.wait(id)
    connection, head = client.open("POST", attach, id, {"logs": 1, "stdout": 1, "stderr": 1})
    client.note("logs without stream", {"head": about(head), "output": list(connection.rest())}, f"POST {attach}")
    connection.close()

    both = client.start("both", Cmd=["sh", "-c", "read x; echo out; echo err >&2"], OpenStdin=True)
    readers = [client.open("POST", attach, both, {"stream": 1, "stdout": out, "stderr": error}, headers=UPGRADE)
               for out, error in ((1, 0), (0, 1), (1, 1))]
    writer, _ = client.open("POST", attach, both, {"stream": 1, "stdin": 1}, headers=UPGRADE)
    writer.socket.sendall(b"go\n")
    for number, (reader, head) in enumerate(readers):
        text = reader.rest()
        client.note(f"streams of reader {number}", {"head": about(head), "output": sorted(frames(text))}, f"POST {attach}")
        reader.close()
    writer.close()
    client.wait(both)

    terminal = client.start("shell", Cmd=["sh"], Tty=True, OpenStdin=True, Env=["PS1=> "])
    connection, head = client.open("POST", attach, terminal, {"stream": 1, "stdin": 1, "stdout": 1}, headers=UPGRADE)
    client.step("resize", "POST", "/containers/{name}/resize", terminal, {"h": 30, "w": 100})
    connection.socket.sendall(b"stty size; exit 4\n")
    text = connection.rest()
    client.note("terminal", {"head": about(head), "size": b"30 100" in text}, f"POST {attach}")
    connection.close()
    client.note("terminal's code", client.wait(terminal), "POST /containers/{name}/wait")

    keys = client.start("keys", Cmd=["sleep", "1000"], Tty=True, OpenStdin=True)
    connection, head = client.open("POST", attach, keys, {"stream": 1, "stdin": 1, "stdout": 1, "detachKeys": "ctrl-x,q"},
                                   headers=UPGRADE)
    connection.socket.sendall(b"\x18q")
    client.note("detached", {"head": about(head), "output": repr(connection.rest())}, f"POST {attach}")
    connection.close()
    client.note("runs on", client.ask("GET", "/containers/{name}/json", keys).json()["State"]["Running"])

    connection, head = client.open("GET", "/containers/{name}/attach/ws", keys, {"stream": 1, "stdout": 1}, headers={
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Origin": "http://docker",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()})
    client.note("websocket", {"status": head.status, "upgrade": head.headers.get("upgrade", "").lower()},
                "GET /containers/{name}/attach/ws")
    connection.close()
    client.events("events of attaching", {"event": ["attach", "detach", "resize", "die", "start"]})


def executing(client):
    id = client.start("host", Cmd=["sleep", "1000"], Env=["A=1"], Labels={"l": "v"})

    def make(step, **body):
        response = client.step(step, "POST", "/containers/{name}/exec", id, body=body)
        return response.json().get("Id", "")

    def run(step, exec, upgrade=True, input=b"", **body):
        connection = client.engine.connect()
        connection.send("POST", client.target("/exec/{name}/start", exec), body, UPGRADE if upgrade else {})
        head = connection.head()
        if head.status >= 300:
            connection.close()
            return client.note(step, about(head), "POST /exec/{name}/start")
        if input:
            connection.socket.sendall(input)
            connection.socket.shutdown(1)
        output = connection.rest()
        client.note(step, {"head": about(head), "output": sorted(frames(output)) if not body.get("Tty") else
                           output.decode()}, "POST /exec/{name}/start")
        connection.close()

    one = make("create", Cmd=["sh", "-c", "echo $A $B; echo err >&2; pwd; id -u; exit 9"], AttachStdout=True, AttachStderr=True,
               Env=["B=2"], WorkingDir="/tmp", User="1000")
    client.step("inspect before", "GET", "/exec/{name}/json", one)
    run("start", one, Detach=False, Tty=False)
    client.eventually(lambda: not client.ask("GET", "/exec/{name}/json", one).json()["Running"], "the exec has ended")
    client.step("inspect after", "GET", "/exec/{name}/json", one)
    client.step("start again", "POST", "/exec/{name}/start", one, body={"Detach": False})
    client.step("resize ended", "POST", "/exec/{name}/resize", one, {"h": 1, "w": 1})
    plain = make("create for a plain connection", Cmd=["cat"], AttachStdin=True, AttachStdout=True)
    run("start on a plain connection", plain, upgrade=False, input=b"through\n", Detach=False, Tty=False)
    client.eventually(lambda: not client.ask("GET", "/exec/{name}/json", plain).json()["Running"], "the exec has ended")
    detached = make("create detached", Cmd=["true"])
    client.step("start detached", "POST", "/exec/{name}/start", detached, body={"Detach": True})
    client.eventually(lambda: not client.ask("GET", "/exec/{name}/json", detached).json()["Running"], "the exec has ended")
    terminal = make("create with a terminal", Cmd=["echo", "hi"], Tty=True, AttachStdout=True, AttachStdin=True)
    run("start with a terminal", terminal, Tty=True)
    client.eventually(lambda: not client.ask("GET", "/exec/{name}/json", terminal).json()["Running"], "the exec has ended")
    privileged = make("create privileged", Cmd=["sh", "-c", "exit 0"], Privileged=True, DetachKeys="ctrl-a")
    client.step("inspect privileged", "GET", "/exec/{name}/json", privileged)
    absent = make("create absent", Cmd=["no-such-command"], AttachStdout=True)
    run("start absent", absent, Detach=False)
    client.eventually(lambda: not client.ask("GET", "/exec/{name}/json", absent).json()["Running"], "the exec has ended")
    client.step("inspect absent", "GET", "/exec/{name}/json", absent)
    refused = make("create absent, detached", Cmd=["no-such-command"])
    client.step("start absent, detached", "POST", "/exec/{name}/start", refused, body={"Detach": True})
    nowhere = make("create in an absent folder", Cmd=["true"], WorkingDir="/no/such", AttachStdout=True)
    run("start in an absent folder", nowhere, Detach=False)
    stranger = make("create as an unknown user", Cmd=["true"], User="nobody-knows", AttachStdout=True)
    run("start as an unknown user", stranger, Detach=False)
    make("create without a command", AttachStdout=True)
    make("create with keys malformed", Cmd=["true"], DetachKeys="what,what")
    client.step("create with bad JSON", "POST", "/containers/{name}/exec", id, body=b"{",
                headers={"Content-Type": "application/json"})
    client.step("inspect nobody's", "GET", "/exec/{name}/json", "f" * 64)
    client.step("start nobody's", "POST", "/exec/{name}/start", "f" * 64, body={"Detach": True})
    client.step("resize nobody's", "POST", "/exec/{name}/resize", "f" * 64, {"h": 1, "w": 1})
    client.step("resize without a size", "POST", "/exec/{name}/resize", "f" * 64)
    client.step("inspect the container", "GET", "/containers/{name}/json", id)
    client.events("events of executing", {"event": ["exec_create", "exec_start", "exec_die", "exec_detach"]})


def waiting(client):
    wait = "/containers/{name}/wait"
    id = client.create("waited", Cmd=["sh", "-c", "exit 6"])
    client.step("for one that never ran", "POST", wait, id)
    for condition in ("next-exit", "removed") if client.minor >= 30 else ():
        connection, head = client.open("POST", wait, id, {"condition": condition})
        if condition == "next-exit":
            client.ask("POST", "/containers/{name}/start", id)
        else:
            client.ask("DELETE", "/containers/{name}", id)
        answers = list(connection.lines(head))
        client.note(f"until {condition}", {"head": about(head), "answers": answers}, f"POST {wait}")
        connection.close()
    gone = client.start("gone", Cmd=["sleep", "1000"])
    connection, head = None, None
    result = {}
    thread = threading.Thread(target=lambda: result.update(answer=client.ask("POST", wait, gone)))
    thread.start()
    client.ask("DELETE", "/containers/{name}", gone, {"force": 1})
    thread.join(30)
    client.note("for one that is removed by force", result["answer"].json(), f"POST {wait}")


def about(head):
    """What clients read of a head."""
    return {"status": head.status, "type": head.headers.get("content-type"), "upgrade": head.headers.get("upgrade")}


def frames(data):
    """The text of each stream."""
    found = {}
    while len(data) >= 8:
        length = int.from_bytes(data[4:8], "big")
        found[data[0]] = found.get(data[0], "") + data[8:8 + length].decode(errors="replace")
        data = data[8 + length:]
    return [f"{stream}: {text}" for stream, text in found.items()]
