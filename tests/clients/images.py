"""A real container image, made without a daemon: an OCI layout of five gzip layers that a shell runs in."""

import gzip
import hashlib
import io
import json
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# More than one part of a multipart upload, which random bytes stay after gzip.
LARGE = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the OCI layout `directory`. `digest` is its manifest's, `image_id` its configuration's.

    `diff_ids` are the digests of the layers' tars, and `payload` is the SHA-256 of the file /payload/0 in the largest.
    """

    directory: Path
    digest: str
    image_id: str
    diff_ids: tuple[str, ...]
    payload: str

    @property
    def blobs(self) -> dict[str, bytes]:
        """Every blob that the manifest names, by digest."""
        return {digest: read_blob(self.directory, digest) for digest in blobs_of(self.manifest)}

    @property
    def manifest(self) -> bytes:
        """The manifest's bytes."""
        return read_blob(self.directory, self.digest)


def make_image(directory: Path, busybox: Path, seed: int) -> Image:
    """Write an image whose content depends on `seed` alone, but for `busybox`, a static binary."""
    (directory / "blobs/sha256").mkdir(parents=True)
    noise = random.Random(seed)
    large = noise.randbytes(LARGE)
    contents = [
        {"bin/busybox": busybox.read_bytes()},
        {"payload/0": large},
        *({f"payload/{index}": noise.randbytes(10_000 * index)} for index in (1, 2)),
        {"etc/text": f"image {seed}\n".encode() * 1000, "etc/empty": b""},
    ]
    tars = [_tar(content) for content in contents]
    layers = [_write(directory, LAYER, gzip.compress(tar, 1, mtime=0)) for tar in tars]
    diff_ids = tuple(digest_of(tar) for tar in tars)
    config = _write(directory, CONFIG, _json(_configuration(diff_ids)))
    manifest = _write(
        directory, MANIFEST, _json({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
    )
    (directory / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    (directory / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [manifest]}))
    return Image(directory, manifest["digest"], config["digest"], diff_ids, hashlib.sha256(large).hexdigest())


def digest_of(content: bytes) -> str:
    """The SHA-256 digest of `content`, as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def read_blob(layout: Path, digest: str) -> bytes:
    """The bytes of a blob of an OCI layout, which have that digest."""
    content = (layout / "blobs" / digest.replace(":", "/")).read_bytes()
    assert digest_of(content) == digest
    return content


def blobs_of(manifest: bytes) -> list[str]:
    """The digests that an image manifest names: its configuration's, then its layers'."""
    parsed = json.loads(manifest)
    return [descriptor["digest"] for descriptor in [parsed["config"], *parsed["layers"]]]


def assert_same(layout: Path, image: Image) -> None:
    """The OCI layout holds `image` and no other, byte for byte."""
    index = json.loads((layout / "index.json").read_bytes())
    assert [descriptor["digest"] for descriptor in index["manifests"]] == [image.digest]
    assert read_blob(layout, image.digest) == image.manifest
    assert {digest: read_blob(layout, digest) for digest in blobs_of(image.manifest)} == image.blobs


def write_docker_archive(image: Image, archive: Path, name: str) -> None:
    """Write `image` as `docker save` would, named `name`: what `docker load` and `podman load` take."""
    members = {f"{digest}.tar": gzip.decompress(blob) for digest, blob in list(image.blobs.items())[1:]}
    entry = {"Config": "config.json", "RepoTags": [name], "Layers": list(members)}
    members |= {"config.json": image.blobs[image.image_id], "manifest.json": _json([entry])}
    archive.write_bytes(_tar(members))


def _configuration(diff_ids: tuple[str, ...]) -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox"]},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }


def _write(directory: Path, media_type: str, content: bytes) -> dict[str, Any]:
    digest = digest_of(content)
    (directory / "blobs" / digest.replace(":", "/")).write_bytes(content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
