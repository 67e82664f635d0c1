"""Writes OCI image layouts (image-spec image-layout.md) with the same bytes for the same content, whenever it runs."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import tarfile
import time
import zlib

MEDIA = "application/vnd.oci.image."
COPY_BYTES = 1 << 20


class Layer:
    """A tar file in the making, then a blob: add entries in any order of calls, `finish`, then use `descriptor`."""

    def __init__(self, path, epoch, compression="gzip"):
        self.path = path
        self.epoch = epoch
        self.compression = compression
        self.tar = tarfile.open(path + ".tar", "w", format=tarfile.PAX_FORMAT)
        self.links = {}

    def _entry(self, name, mode, kind, mtime=None, uid=0, gid=0):
        entry = tarfile.TarInfo(name)
        entry.type = kind
        entry.mode = mode
        entry.uid, entry.gid = uid, gid
        entry.mtime = min(mtime if mtime is not None else self.epoch, self.epoch)
        return entry

    def directory(self, name, mode=0o755, uid=0, gid=0):
        self.tar.addfile(self._entry(name + "/", mode, tarfile.DIRTYPE, uid=uid, gid=gid))

    def file(self, name, source, mode=0o644):
        entry = self._entry(name, mode, tarfile.REGTYPE)
        entry.size = os.path.getsize(source)
        with open(source, "rb") as content:
            self.tar.addfile(entry, content)

    def hard_link(self, name, target, mode=0o755):
        entry = self._entry(name, mode, tarfile.LNKTYPE)
        entry.linkname = target
        self.tar.addfile(entry)

    def symbolic_link(self, name, target):
        entry = self._entry(name, 0o777, tarfile.SYMTYPE)
        entry.linkname = target
        self.tar.addfile(entry)

    def whiteout(self, name):
        """Hides `name` of the layers below."""
        parent, base = os.path.split(name)
        self.tar.addfile(self._entry(os.path.join(parent, ".wh." + base), 0o644, tarfile.REGTYPE))

    def opaque(self, name):
        """Hides what the layers below have in directory `name`."""
        self.tar.addfile(self._entry(name + "/.wh..wh..opq", 0o644, tarfile.REGTYPE))

    def tree_entry(self, root, name):
        """Copies the entry `name` of the tree at `root` with everything that it has."""
        path = os.path.join(root, name)
        info = os.lstat(path)
        kinds = {
            stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFREG: tarfile.REGTYPE, stat.S_IFLNK: tarfile.SYMTYPE,
            stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFBLK: tarfile.BLKTYPE, stat.S_IFIFO: tarfile.FIFOTYPE,
        }
        kind = kinds.get(stat.S_IFMT(info.st_mode))
        if kind is None:
            return
        suffix = "/" if kind == tarfile.DIRTYPE else ""
        entry = self._entry(
            name + suffix, stat.S_IMODE(info.st_mode), kind, int(info.st_mtime), info.st_uid, info.st_gid)
        for key in sorted(os.listxattr(path, follow_symlinks=False)):
            value = os.getxattr(path, key, follow_symlinks=False)
            entry.pax_headers["SCHILY.xattr." + key] = value.decode("utf-8", "surrogateescape")
        if kind == tarfile.SYMTYPE:
            entry.linkname = os.readlink(path)
        elif kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            entry.devmajor, entry.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
        elif kind == tarfile.REGTYPE:
            first = self.links.setdefault((info.st_dev, info.st_ino), name)
            if first != name:
                entry.type, entry.linkname = tarfile.LNKTYPE, first
            else:
                entry.size = info.st_size
                with open(path, "rb") as content:
                    self.tar.addfile(entry, content)
                return
        self.tar.addfile(entry)

    def finish(self):
        self.tar.close()
        source = self.path + ".tar"
        self.diff_id, _ = digest_of(source)
        if self.compression == "gzip":
            # wbits 31 writes a gzip header without name or time.
            packer = zlib.compressobj(9, zlib.DEFLATED, 31)
            with open(source, "rb") as plain, open(self.path, "wb") as packed:
                while chunk := plain.read(COPY_BYTES):
                    packed.write(packer.compress(chunk))
                packed.write(packer.flush())
        else:
            # One thread: zstd's output depends on their number.
            subprocess.run(
                ["zstd", "-q", "-f", "-15", "--single-thread", "--no-progress", source, "-o", self.path], check=True)
        os.unlink(source)
        self.digest, self.size = digest_of(self.path)
        return self

    @property
    def descriptor(self):
        return {
            "mediaType": MEDIA + "layer.v1.tar+" + self.compression, "digest": "sha256:" + self.digest,
            "size": self.size,
        }


def digest_of(path):
    sha = hashlib.sha256()
    size = 0
    with open(path, "rb") as file:
        while chunk := file.read(COPY_BYTES):
            sha.update(chunk)
            size += len(chunk)
    return sha.hexdigest(), size


def timestamp(epoch):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


def to_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class Layout:
    """One repository: its blobs and its tags. Built beside the old one, which `publish` replaces."""

    def __init__(self, directory, staging):
        self.directory = directory
        self.staging = staging
        self.blobs = os.path.join(staging, "blobs/sha256")
        self.manifests = []
        shutil.rmtree(staging, ignore_errors=True)
        os.makedirs(self.blobs)

    def _blob(self, data):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(self.blobs, digest), "wb") as file:
            file.write(data)
        return {"digest": "sha256:" + digest, "size": len(data)}

    def image(self, tags, layers, config, history, epoch, architecture):
        """Adds an image under every tag. `history` has, for each layer, what made it."""
        for layer in layers:
            target = os.path.join(self.blobs, layer.digest)
            if not os.path.exists(target):
                os.link(layer.path, target)
        document = {
            "architecture": architecture, "os": "linux", "created": timestamp(epoch), "config": config,
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + layer.diff_id for layer in layers]},
            "history": [
                {"created": timestamp(epoch), "created_by": line, **({"empty_layer": True} if empty else {})}
                for line, empty in history
            ],
        }
        described = {"mediaType": MEDIA + "config.v1+json", **self._blob(to_json(document))}
        manifest = {
            "schemaVersion": 2, "mediaType": MEDIA + "manifest.v1+json", "config": described,
            "layers": [layer.descriptor for layer in layers],
        }
        described = {"mediaType": MEDIA + "manifest.v1+json", **self._blob(to_json(manifest))}
        for tag in tags:
            self.manifests.append({
                **described, "annotations": {"org.opencontainers.image.ref.name": tag},
                "platform": {"architecture": architecture, "os": "linux"},
            })

    def publish(self):
        with open(os.path.join(self.staging, "oci-layout"), "wb") as file:
            file.write(b'{"imageLayoutVersion":"1.0.0"}')
        with open(os.path.join(self.staging, "index.json"), "wb") as file:
            file.write(to_json({
                "schemaVersion": 2, "mediaType": MEDIA + "index.v1+json", "manifests": self.manifests}))
        shutil.rmtree(self.directory, ignore_errors=True)
        os.makedirs(os.path.dirname(self.directory), exist_ok=True)
        os.rename(self.staging, self.directory)
