"""OCI manifests and indexes, and their Docker ancestors: what a manifest says, from its exact bytes.

https://github.com/opencontainers/image-spec/blob/main/manifest.md and image-index.md; Docker's schema 2 has the same shape:
https://distribution.github.io/distribution/spec/manifest-v2-2/
"""

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Annotated, Any

import msgspec

from storage.errors import DigestInvalid, ManifestInvalid
from storage.references import Digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"

IMAGES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_LIST)
INLINE = 64 * 1024  # bytes of a manifest that is read on the event loop
MAX_DEPTH = 100  # arrays and objects within each other; whoever reads a manifest later MUST not have less room on its stack than who took it
MAX_VALUES = (
    200_000  # in a manifest, so that none takes seconds to check; 4 MiB of descriptors with nothing optional have fewer
)
_TOO_DEEP = f"the manifest is nested more than {MAX_DEPTH} deep"
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A reference to content: its type, digest and size in bytes."""

    media_type: str
    digest: str
    size: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None
    urls: tuple[str, ...] | None = None


class _Manifest(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int
    media_type: str | None = None
    artifact_type: str | None = None
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] | None = None
    manifests: tuple[Descriptor, ...] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class _Annotated(msgspec.Struct, frozen=True):
    annotations: dict[str, str] | None = None


class _Entry(msgspec.Struct, frozen=True):
    digest: str


class _Listing(msgspec.Struct, frozen=True):
    manifests: tuple[_Entry, ...] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest that was read and found sound.

    `artifact_type` is what a referrers listing shows. `blobs` and `manifests` are what must exist before it may be pushed: layers that
    name other places in `urls` need not, and an entry of an index that is no manifest (a build cache's layer) is a blob.
    """

    content: bytes
    media_type: str
    artifact_type: str | None
    subject: Digest | None
    blobs: tuple[Digest, ...]
    manifests: tuple[Digest, ...]


def read(content: bytes, content_type: str | None) -> Document:
    """Read a manifest sent as `content_type`, or as what it says itself; raises ManifestInvalid.

    Takes time in proportion to `content`: a large one is not for the event loop.
    """
    manifest = _parse(content)
    media_type = _media_type(manifest, content_type)
    _check_shape(manifest, media_type)
    children = manifest.manifests or ()
    return Document(
        content=content,
        media_type=media_type,
        artifact_type=manifest.artifact_type or (manifest.config.media_type if manifest.config else None),
        subject=_digest(manifest.subject) if manifest.subject else None,
        blobs=_digests([*_blobs(manifest), *(child for child in children if not _is_manifest(child))]),
        manifests=_digests(child for child in children if _is_manifest(child)),
    )


async def read_stored(content: bytes, media_type: str) -> Document:
    """As `read`, of a manifest that is or was stored here, a large one beside the event loop; raises ManifestInvalid."""
    return read(content, media_type) if len(content) <= INLINE else await asyncio.to_thread(read, content, media_type)


def annotations(content: bytes) -> dict[str, str] | None:
    """The annotations of a manifest that `read` has found sound."""
    return msgspec.json.decode(content, type=_Annotated).annotations


def entries(content: bytes) -> tuple[Digest, ...]:
    """The digests that an index lists, of one that `read` has found sound."""
    return tuple(Digest.parse(entry.digest) for entry in msgspec.json.decode(content, type=_Listing).manifests or ())


def named(content: bytes) -> frozenset[str]:
    """Every digest that a descriptor names, at any depth and under any name, optional or unknown ones included; raises ValueError."""
    found: set[str] = set()
    try:
        waiting = [json.loads(content)]
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(digest := value.get("digest"), str):
                found.add(digest)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return frozenset(each for each in found if _is_digest(each))


def size(content: bytes) -> int:
    """Bytes of a manifest that `read` has found sound, and of the config and layers that it names."""
    manifest = msgspec.json.decode(content, type=_Manifest)
    return len(content) + sum(descriptor.size for descriptor in _blobs(manifest))


def _is_digest(text: str) -> bool:
    try:
        Digest.parse(text)
    except DigestInvalid:
        return False
    return True


def _parse(content: bytes) -> _Manifest:
    try:
        manifest = msgspec.json.decode(content, type=_Manifest)
        _require_few(content)
        _require_shallow(content)
        json.loads(content, object_pairs_hook=_refuse_duplicates)
    except RecursionError:
        raise ManifestInvalid(_TOO_DEEP) from None
    except ValueError as error:  # msgspec.DecodeError, json.JSONDecodeError, UnicodeDecodeError
        raise ManifestInvalid(f"not a manifest: {error}") from None
    return manifest


def _require_few(content: bytes) -> None:
    """Raise ManifestInvalid if this JSON has more than MAX_VALUES values, where an empty array or object counts as two."""
    if _separators(content) >= MAX_VALUES and _separators(_STRING.sub(b"", content)) >= MAX_VALUES:
        raise ManifestInvalid(f"the manifest has more than {MAX_VALUES:,} values")


def _separators(content: bytes) -> int:
    """How many bytes are such that each value but the outermost comes after one."""
    return content.count(b"[") + content.count(b"{") + content.count(b",")


def _require_shallow(content: bytes) -> None:
    """Raise ManifestInvalid if more than MAX_DEPTH arrays and objects lie within each other in this JSON."""
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH:  # as in most
        return
    brackets = _STRING.sub(b"", content).translate(None, _NO_BRACKETS)
    if max(accumulate(1 if each in b"[{" else -1 for each in brackets), default=0) > MAX_DEPTH:
        raise ManifestInvalid(_TOO_DEEP)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        names = sorted(name for name, _ in pairs)
        twice = next(a for a, b in pairwise(names) if a == b)
        raise ManifestInvalid(f"the manifest says {twice[:200]!r} twice in one object")


def _media_type(manifest: _Manifest, content_type: str | None) -> str:
    said = content_type.partition(";")[0].strip() if content_type else None
    media_type = said or manifest.media_type
    if media_type and media_type.startswith(DOCKER_SCHEMA_1):
        raise ManifestInvalid("Docker image manifests of schema 1 are not taken; push the image with a current client")
    if media_type not in IMAGES + INDEXES:
        raise ManifestInvalid(f"a manifest's Content-Type is one of {', '.join(IMAGES + INDEXES)}, not {media_type!r}")
    if manifest.media_type and manifest.media_type != media_type:
        raise ManifestInvalid(f"sent as {media_type}, but the manifest says that it is {manifest.media_type[:200]!r}")
    return media_type


def _check_shape(manifest: _Manifest, media_type: str) -> None:
    if manifest.schema_version != 2:  # noqa: PLR2004 - the only version there is
        raise ManifestInvalid(f"schemaVersion is 2, not {manifest.schema_version}")
    if media_type in IMAGES and (manifest.config is None or manifest.manifests is not None):
        raise ManifestInvalid("an image manifest has a config and no manifests")
    if media_type in INDEXES and (manifest.config is not None or manifest.layers is not None):
        raise ManifestInvalid("an index has manifests, and neither a config nor layers")


def _blobs(manifest: _Manifest) -> Iterable[Descriptor]:
    if manifest.config:
        yield manifest.config
    yield from (layer for layer in manifest.layers or () if not layer.urls)


def _is_manifest(entry: Descriptor) -> bool:
    return entry.media_type in IMAGES + INDEXES


def _digests(descriptors: Iterable[Descriptor]) -> tuple[Digest, ...]:
    return tuple(dict.fromkeys(_digest(descriptor) for descriptor in descriptors))


def _digest(descriptor: Descriptor) -> Digest:
    try:
        return Digest.parse(descriptor.digest)
    except DigestInvalid as error:
        raise ManifestInvalid(f"the manifest names a digest that is none: {error}") from None
