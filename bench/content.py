"""What is pushed: bytes that were never pushed before, and the manifests and layouts that name them."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes and their digest."""

    content: bytes = field(repr=False)
    digest: str

    def descriptor(self, media_type: str) -> dict[str, Any]:
        """What names it in a manifest."""
        return {"mediaType": media_type, "digest": self.digest, "size": len(self.content)}


def blob(content: bytes) -> Blob:
    """`content` with its digest."""
    return Blob(content, f"sha256:{hashlib.sha256(content).hexdigest()}")


def noise(size: int) -> Blob:
    """So many random bytes."""
    return blob(os.urandom(size))


def manifest(config: Blob, layers: Sequence[Blob], annotations: Mapping[str, str] | None = None) -> Blob:
    """An image manifest."""
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(_CONFIG),
            "layers": [layer.descriptor(_LAYER) for layer in layers],
            "annotations": dict(annotations or {}),
        }
    )


def write_layout(directory: Path, layers: Sequence[Blob]) -> None:
    """An image in the OCI layout, as crane pushes it, with a configuration of its own."""
    digests = [layer.digest for layer in layers]
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": digests},
        }
    )
    image = manifest(config, layers)
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for each in (config, *layers, image):
        (blobs / each.digest.removeprefix("sha256:")).write_bytes(each.content)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', "utf-8")
    index = {"schemaVersion": 2, "manifests": [image.descriptor(MANIFEST)]}
    (directory / "index.json").write_text(json.dumps(index), "utf-8")


def _json(document: Mapping[str, Any]) -> Blob:
    return blob(json.dumps(document, separators=(",", ":")).encode())
