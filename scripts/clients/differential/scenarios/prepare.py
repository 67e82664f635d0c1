"""What both engines have before anything is compared, and what they take of each other."""

from client import Client

TAR = {"Content-Type": "application/x-tar"}


def prepare(docker, ours):
    """Gives both the same image, out of one archive: what ours saves, both load."""
    connection = ours.connect()
    connection.request("POST", "/images/create?fromImage=busybox&tag=latest")
    archive = connection.request("GET", "/images/busybox/get").body
    connection.request("DELETE", "/images/busybox")
    for engine in (docker, ours):
        answer = engine.connect().request("POST", "/images/load?quiet=1", archive, TAR)
        if answer.status != 200 or b"error" in answer.body:
            raise RuntimeError(f"{engine.name} does not load what ours saved: {answer.status} {answer.body.decode()}")


def exchange(docker, ours):
    """Each loads several images out of one archive that the other saved, and runs one; the exchanges of both."""
    clients = [Client(docker, "1.51"), Client(ours, "1.51")]
    archives = []
    for client in clients:
        client.wait(client.start("changed", Cmd=["sh", "-c", "echo new >/new; rm /etc/passwd"]))
        client.ask("POST", "/commit", query={"container": "changed", "repo": "changed", "tag": "one"}, body={})
        client.ask("POST", "/images/{name}/tag", "changed:one", {"repo": "changed", "tag": "two"})
        archives.append(client.ask("GET", "/images/get", query={"names": ["busybox", "changed:one", "changed:two"]}).body)
        client.clear()
    for client, archive in zip(clients, reversed(archives)):
        client.step("load what the other saved", "POST", "/images/load", query={"quiet": 1}, body=archive, headers=TAR)
        reader = client.start("reader", image="changed:two", Cmd=["sh", "-c", "cat /new; ls /etc/passwd 2>&1"])
        client.wait(reader)
        client.step("read what the other saved", "GET", "/containers/{name}/logs", reader, {"stdout": 1, "stderr": 1})
        client.clear()
    return [client.exchanges for client in clients]
