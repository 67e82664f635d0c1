"""Images: documents, names, archives, commit and import."""

import io
import tarfile


def image_documents(client):
    client.step("list", "GET", "/images/json")
    client.step("list all", "GET", "/images/json", query={"all": 1, "digests": 1, "shared-size": 1})
    client.step("list with manifests", "GET", "/images/json", query={"manifests": 1})
    client.step("inspect", "GET", "/images/{name}/json", "busybox")
    client.step("inspect with manifests", "GET", "/images/{name}/json", "busybox", {"manifests": 1})
    client.step("history", "GET", "/images/{name}/history", "busybox")
    for filters in ({"dangling": ["true"]}, {"dangling": ["false"]}, {"reference": ["busy*"]}, {"reference": ["busybox:l*"]},
                    {"reference": ["nothing"]}, {"label": ["nothing"]}, {"before": ["busybox"]}, {"since": ["busybox"]},
                    {"until": ["2100-01-01"]}, {"until": ["1990-01-01"]}):
        client.step("list " + str(filters), "GET", "/images/json", query={"filters": filters})
    saved = client.ask("GET", "/images/{name}/get", "busybox")
    with tarfile.open(fileobj=io.BytesIO(saved.body)) as tar:
        names = {entry.name.split("/")[0] for entry in tar}
    client.note("save", {"status": saved.status, "type": saved.headers.get("content-type"), "names": sorted(names)},
                "GET /images/{name}/get")


def image_changes(client):
    tag = "/images/{name}/tag"
    client.step("tag", "POST", tag, "busybox", {"repo": "copy", "tag": "one"})
    client.step("tag at a registry", "POST", tag, "busybox", {"repo": "registry.example:5000/team/copy"})
    client.step("tag again", "POST", tag, "busybox", {"repo": "copy", "tag": "one"})
    client.step("list tagged", "GET", "/images/json")
    client.step("inspect by another name", "GET", "/images/{name}/json", "copy:one")
    client.step("remove a tag", "DELETE", "/images/{name}", "copy:one")
    id = client.ask("GET", "/images/{name}/json", "busybox").json()["Id"]
    client.step("remove an image of two tags by its id", "DELETE", "/images/{name}", id)
    client.step("remove the other tag", "DELETE", "/images/{name}", "registry.example:5000/team/copy")

    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        entry = tarfile.TarInfo("hello")
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"hi\n"))
    client.step("import", "POST", "/images/create", query={
        "fromSrc": "-", "repo": "imported", "tag": "v1", "message": "by hand", "changes": ["CMD [\"/hello\"]", "ENV A=1"]},
        body=data.getvalue(), headers={"Content-Type": "application/x-tar"})
    client.step("inspect imported", "GET", "/images/{name}/json", "imported:v1")
    client.step("history of imported", "GET", "/images/{name}/history", "imported:v1")
    client.step("import without a name", "POST", "/images/create", query={"fromSrc": "-"}, body=data.getvalue(),
                headers={"Content-Type": "application/x-tar"})

    container = client.start("changed", Cmd=["sh", "-c", "echo new >/new"])
    client.wait(container)
    client.step("commit", "POST", "/commit", query={
        "container": "changed", "repo": "committed", "tag": "v1", "author": "someone", "comment": "a change",
        "changes": ["CMD [\"cat\", \"/new\"]", "LABEL l=v", "EXPOSE 80", "WORKDIR /tmp", "USER 1000"]}, body={})
    client.step("inspect committed", "GET", "/images/{name}/json", "committed:v1")
    client.step("history of committed", "GET", "/images/{name}/history", "committed:v1")
    client.step("commit without a name", "POST", "/commit", query={"container": "changed"})
    client.step("commit with a change unknown", "POST", "/commit", query={"container": "changed", "changes": ["RUN x"]})
    client.step("list dangling", "GET", "/images/json", query={"filters": {"dangling": ["true"]}})
    client.step("list since", "GET", "/images/json", query={"filters": {"since": ["busybox"], "reference": ["committed"]}})
    client.step("create from an image", "POST", "/containers/create", query={"name": "user"}, body={"Image": "committed:v1"})
    client.step("inspect of an image's configuration", "GET", "/containers/{name}/json", "user")
    client.step("remove an image in use", "DELETE", "/images/{name}", "committed:v1")
    client.step("remove an image in use by force", "DELETE", "/images/{name}", "committed:v1", {"force": 1})
    client.step("remove an image without its parents", "DELETE", "/images/{name}", "imported:v1", {"noprune": 1})
    client.step("inspect of one whose image lost its name", "GET", "/containers/{name}/json", "user")
    client.step("list of one whose image lost its name", "GET", "/containers/json", query={"all": 1})
    client.ask("DELETE", "/containers/{name}", "user")
    client.ask("DELETE", "/containers/{name}", "changed")
    client.step("disk usage", "GET", "/system/df")
    client.step("prune", "POST", "/images/prune")
    client.ask("POST", tag, "busybox", query={"repo": "again"})
    both = client.ask("GET", "/images/get", query={"names": ["busybox", "again"]}).body
    client.step("remove before a load", "DELETE", "/images/{name}", "again")
    client.step("load", "POST", "/images/load", query={"quiet": 1}, body=both, headers={"Content-Type": "application/x-tar"})
    client.step("remove what was loaded", "DELETE", "/images/{name}", "again")
    client.events("events of images", {"type": ["image"]})


def image_refusals(client):
    image = "/images/{name}/json"
    client.step("inspect nothing", "GET", image, "no-such-image")
    client.step("inspect a name malformed", "GET", image, "Not:A:Name")
    client.step("inspect an id that is absent", "GET", image, "sha256:" + "0" * 64)
    client.step("history of nothing", "GET", "/images/{name}/history", "no-such-image")
    client.step("tag nothing", "POST", "/images/{name}/tag", "no-such-image", {"repo": "x"})
    client.step("tag with a name malformed", "POST", "/images/{name}/tag", "busybox", {"repo": "Not A Name"})
    client.step("tag with a tag malformed", "POST", "/images/{name}/tag", "busybox", {"repo": "x", "tag": "a b"})
    client.step("tag with nothing", "POST", "/images/{name}/tag", "busybox")
    client.step("tag with a digest", "POST", "/images/{name}/tag", "busybox", {"repo": "x@sha256:" + "0" * 64})
    client.step("tag as an id", "POST", "/images/{name}/tag", "busybox", {"repo": "0" * 64})
    client.step("remove nothing", "DELETE", "/images/{name}", "no-such-image")
    client.step("remove a name malformed", "DELETE", "/images/{name}", "Not:A:Name")
    running = client.start("running", Cmd=["sleep", "1000"])
    client.step("remove an image that runs", "DELETE", "/images/{name}", "busybox")
    client.ask("DELETE", "/containers/{name}", running, {"force": 1})
    client.step("save nothing", "GET", "/images/{name}/get", "no-such-image")
    client.step("save no names", "GET", "/images/get")
    client.step("load what is no archive", "POST", "/images/load", body=b"this is no archive" * 100,
                headers={"Content-Type": "application/x-tar"})
    client.step("load an empty body", "POST", "/images/load", body=b"", headers={"Content-Type": "application/x-tar"})
    client.step("import what is no archive", "POST", "/images/create", query={"fromSrc": "-", "repo": "bad"},
                body=b"this is no archive" * 100, headers={"Content-Type": "application/x-tar"})
    client.step("import with a name malformed", "POST", "/images/create", query={"fromSrc": "-", "repo": "Bad Name"},
                body=b"", headers={"Content-Type": "application/x-tar"})
    client.step("import with a change unknown", "POST", "/images/create", query={"fromSrc": "-", "changes": ["RUN x"]},
                body=b"", headers={"Content-Type": "application/x-tar"})
    client.step("pull a name malformed", "POST", "/images/create", query={"fromImage": "Not A Name"})
    client.step("pull for a platform malformed", "POST", "/images/create", query={
        "fromImage": "busybox", "platform": "a/b/c/d"})
    # Old versions of the API know no platforms, and remove it.
    client.ask("POST", "/images/{name}/tag", "busybox", query={"repo": "copy"})
    for what, document in (("another machine", '{"os":"linux","architecture":"s390x"}'), ("nothing", "{}")):
        client.step(f"inspect for the platform of {what}", "GET", image, "busybox", {"platform": document})
        client.step(f"history for the platform of {what}", "GET", "/images/{name}/history", "busybox", {"platform": document})
        client.step(f"remove for the platform of {what}", "DELETE", "/images/{name}", "copy", {"platforms": document})
    client.ask("DELETE", "/images/{name}", "copy")
    client.step("inspect with manifests for a platform", "GET", image, "busybox", {
        "platform": '{"os":"linux","architecture":"amd64"}', "manifests": 1})
    client.step("list with a filter unknown", "GET", "/images/json", query={"filters": {"what": ["x"]}})
    client.step("list with dangling malformed", "GET", "/images/json", query={"filters": {"dangling": ["what"]}})
    client.step("list before nothing", "GET", "/images/json", query={"filters": {"before": ["no-such-image"]}})
    client.step("list with a reference malformed", "GET", "/images/json", query={"filters": {"reference": ["[a"]}})
    client.step("prune with a filter unknown", "POST", "/images/prune", query={"filters": {"what": ["x"]}})
    client.step("prune with dangling malformed", "POST", "/images/prune", query={"filters": {"dangling": ["what"]}})
    client.step("commit with a name malformed", "POST", "/commit", query={"container": "nobody", "repo": "Bad Name"})
    client.step("search with a limit malformed", "GET", "/images/search", query={"term": "x", "limit": "what"})
    client.step("search with a filter unknown", "GET", "/images/search", query={"term": "x", "filters": {"what": ["x"]}})
    client.step("distribution of a name malformed", "GET", "/distribution/{name}/json", "Not:A:Name")
    client.step("push of a name malformed", "POST", "/images/{name}/push", "Not:A:Name")
    client.step("push of nothing", "POST", "/images/{name}/push", "no-such-image", headers={"X-Registry-Auth": "e30="})
    client.step("build without a context", "POST", "/build", headers={"Content-Type": "application/x-tar"})
    client.step("prune the build cache", "POST", "/build/prune")
