"""An image of about 220 MB in three layers, of this machine's own files: as an OCI layout and as docker's archive."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile

LAYER_BYTES = 73 << 20


class Image:
    def __init__(self, directory, layout):
        self.directory = directory
        self.layout = layout
        self.archive = directory + "/archive.tar"
        self.layers = []
        self.size = 0

    def remove(self):
        shutil.rmtree(self.directory)
        shutil.rmtree(self.layout)


def files():
    """Regular files of /usr in a fixed order, of every size that an image has."""
    for top in ("/usr/lib/python3", "/usr/share", "/usr/lib/x86_64-linux-gnu", "/usr/lib", "/usr/bin"):
        for folder, names, entries in os.walk(top):
            names.sort()
            for entry in sorted(entries):
                path = os.path.join(folder, entry)
                if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) < 16 << 20:
                    yield path


def blob(layout, content):
    digest = hashlib.sha256(content).hexdigest()
    with open(f"{layout}/blobs/sha256/{digest}", "wb") as file:
        file.write(content)
    return {"digest": "sha256:" + digest, "size": len(content)}


def file_digest(path):
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()


def make(scratch, layout, compressed):
    """`layout` is the folder to make; other files go to `scratch`."""
    image = Image(f"{scratch}/big-{'gzip' if compressed else 'tar'}", layout)
    blobs = image.layout + "/blobs/sha256"
    os.makedirs(blobs)
    os.makedirs(image.directory)
    source, seen, descriptors, diffs = files(), set(), [], []
    for number in range(3):
        path, total = f"{image.directory}/layer", 0
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            for file in source:
                if file in seen:
                    continue
                seen.add(file)
                entry = tarfile.TarInfo(f"layer{number}" + file)
                entry.size, entry.mode = os.path.getsize(file), os.stat(file).st_mode & 0o7777
                with open(file, "rb") as content:
                    archive.addfile(entry, content)
                total += entry.size
                if total >= LAYER_BYTES:
                    break
        image.size += total
        diffs.append("sha256:" + file_digest(path))
        if compressed:
            subprocess.run(["gzip", "--no-name", "-6", path], check=True)
            os.rename(path + ".gz", path)
        digest = file_digest(path)
        os.rename(path, f"{blobs}/{digest}")
        image.layers.append(f"{blobs}/{digest}")
        kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if compressed else "")
        descriptors.append({"mediaType": kind, "digest": "sha256:" + digest, "size": os.path.getsize(image.layers[-1])})
    config = blob(image.layout, json.dumps({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}}).encode())
    manifest = blob(image.layout, json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config}, "layers": descriptors}).encode())
    with open(image.layout + "/oci-layout", "w") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)
    with open(image.layout + "/index.json", "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", **manifest,
            "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}, file)
    # docker load reads this form the fastest: layers by their own names, compressed or not.
    names = ["blobs/sha256/" + os.path.basename(layer) for layer in image.layers]
    listing = json.dumps([{"Config": "blobs/sha256/" + config["digest"][7:], "RepoTags": ["big:latest"], "Layers": names}])
    with open(image.directory + "/manifest.json", "w") as file:
        file.write(listing)
    subprocess.run(["tar", "-c", "-f", image.archive, "-C", image.layout, "blobs", "-C", image.directory, "manifest.json"],
                   check=True)
    return image
