"""Pushes as clients do them: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from bench.client import Connection, abreast, frames
from bench.content import MANIFEST, Blob, manifest, noise


def push_streamed(connection: Connection, repository: str, blob: Blob, framed: bytes) -> None:
    """Push a large layer as docker does: POST, one PATCH in chunks, and a PUT without a body. `framed` is its content as `frames` has it."""
    location = _begin(connection, repository)
    answer = connection.request("PATCH", location, _OCTETS, framed, framed=True, expect=202)
    _end(connection, answer.headers["location"], blob)


def push(connection: Connection, repository: str, blob: Blob) -> None:
    """Push a layer as docker does."""
    push_streamed(connection, repository, blob, frames(blob.content))


def push_in_put(connection: Connection, repository: str, blob: Blob) -> None:
    """Push a layer by POST and one PUT with all of it."""
    _end(connection, _begin(connection, repository), blob, blob.content)


def push_manifest(connection: Connection, repository: str, tag: str, content: Blob) -> None:
    """Push a manifest and tag it."""
    target = f"/v2/{repository}/manifests/{tag}"
    connection.request("PUT", target, {"Content-Type": MANIFEST}, content.content, expect=201)


def push_image(
    address: str, repository: str, tags: Sequence[str], layers: Sequence[Blob], config: Blob | None = None
) -> None:
    """Push layers and, under each tag, a manifest of its own that names them, eight at a time."""
    config = config or noise(200)
    abreast(8, address, lambda connection, blob: push(connection, repository, blob), (config, *layers))

    def tagged(connection: Connection, tag: str) -> None:
        push_manifest(connection, repository, tag, manifest(config, layers, {"tag": tag}))

    abreast(8, address, tagged, tags)


_OCTETS = {"Content-Type": "application/octet-stream"}


def path_of(url: str) -> str:
    """Path and query of a Location, which may name a host or not."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _begin(connection: Connection, repository: str) -> str:
    answer = connection.request("POST", f"/v2/{repository}/blobs/uploads/", expect=202)
    return path_of(answer.headers["location"])


def _end(connection: Connection, location: str, blob: Blob, body: bytes = b"") -> None:
    path = path_of(location)
    target = f"{path}{'&' if '?' in path else '?'}digest={blob.digest}"
    connection.request("PUT", target, _OCTETS if body else None, body, expect=201)
