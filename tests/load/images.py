"""Small images over HTTP, as any client pushes and pulls them."""

import hashlib
import os
from dataclasses import dataclass

import httpx
import msgspec

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Image:
    """An image that was acknowledged: its tag and digest, and the digests of its blobs."""

    tag: str
    digest: str
    blobs: tuple[str, ...]


def digest_of(content: bytes) -> str:
    """The sha256 digest of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def push_blob(client: httpx.Client, repository: str, content: bytes) -> dict[str, object]:
    """Push a blob by POST, PATCH and PUT; its descriptor."""
    digest = digest_of(content)
    location = _ok(client.post(f"/v2/{repository}/blobs/uploads/")).headers["Location"]
    location = _ok(client.patch(location, content=content)).headers["Location"]
    _ok(client.put(location, params={"digest": digest}))
    return {"mediaType": "application/octet-stream", "digest": digest, "size": len(content)}


def push_image(client: httpx.Client, repository: str, tag: str) -> Image:
    """Push a config and two layers, one of them large enough for a file of its own, and a manifest for them."""
    config, *layers = [push_blob(client, repository, os.urandom(size)) for size in (200, 3_000, 200_000)]
    manifest = msgspec.json.encode({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
    _ok(client.put(f"/v2/{repository}/manifests/{tag}", content=manifest, headers={"Content-Type": MANIFEST}))
    return Image(tag, digest_of(manifest), tuple(str(part["digest"]) for part in (config, *layers)))


def check_image(client: httpx.Client, repository: str, image: Image) -> None:
    """Pull the image by tag and digest, and hold every byte to its digest."""
    for reference in (image.tag, image.digest):
        manifest = _ok(client.get(f"/v2/{repository}/manifests/{reference}")).content
        assert digest_of(manifest) == image.digest
    for digest in image.blobs:
        assert digest_of(_ok(client.get(f"/v2/{repository}/blobs/{digest}")).content) == digest


def _ok(response: httpx.Response) -> httpx.Response:
    assert response.is_success, (response.request.method, response.request.url, response.status_code, response.text)
    return response
