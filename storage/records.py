"""What is stored under a key, and how it is written: JSON, every record with a nonce, every change a new one.

Removing a record replaces it by a tombstone, exactly 16 bytes of nonce; every record is longer, so a listing tells a tombstone
by its size. A link, a catalog marker and a manifest record are live or condemned: a condemned one still serves, and whoever
needs it revives it first (docs/design.md, Removal).
"""

from typing import Any, Literal, TypeVar

import msgspec

from storage.errors import CorruptRecord
from storage.objects.contract import StoredObject

TOMBSTONE_SIZE = 16
MAX_HISTORY = 32

State = Literal["live", "condemned"]


class Link(msgspec.Struct, frozen=True):
    """This repository may serve this digest: the data key of an instance, and its size in bytes."""

    key: str
    size: int
    nonce: str
    state: State = "live"


class Instance(msgspec.Struct, frozen=True):
    """Verified bytes of a digest lie at this data key."""

    key: str
    size: int
    nonce: str


class CatalogMarker(msgspec.Struct, frozen=True):
    """The repository exists. If content was ever deleted from it, its LastModified tells since when none has been."""

    nonce: str
    state: State = "live"
    deletions: bool = False


class ManifestHeader(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The first line of a manifest record: what moorage needs to know without reading the manifest.

    `generation` is drawn whenever the record is created from nothing or from a tombstone; a tag or a referrer entry of another
    generation is dead. `tags` holds all tags that point here, and maybe some that no longer do.
    `pushed_at` is in seconds since 1970. `blobs` and `manifests` are the digests that the manifest references.
    """

    media_type: str
    size: int
    generation: str
    nonce: str
    pushed_at: int
    artifact_type: str | None = None
    subject: str | None = None
    blobs: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    state: State = "live"


class TagMove(msgspec.Struct, frozen=True, rename="camel"):
    """What a tag pointed to, from when on, and the nonce of the request that moved it there."""

    digest: str
    generation: str
    media_type: str
    size: int
    pushed_at: int
    nonce: str


class TagPointer(TagMove, frozen=True, rename="camel"):
    """Where a tag points now, and its last moves before this one, newest first."""

    history: tuple[TagMove, ...] = ()


class ReferrerEntry(msgspec.Struct, frozen=True):
    """A manifest of this generation names the subject."""

    generation: str
    nonce: str


class Format(msgspec.Struct, frozen=True):
    """What wrote this store, and by which version of the layout."""

    format: str
    version: int


Record = TypeVar("Record", bound=msgspec.Struct)


def is_tombstone(size: int) -> bool:
    """Whether an object of this size stands for a removed record."""
    return size == TOMBSTONE_SIZE


def encode(record: msgspec.Struct) -> bytes:
    """The bytes of a record."""
    return msgspec.json.encode(record)


def decode(found: StoredObject, kind: type[Record]) -> Record | None:
    """The record in an object, None for a tombstone; raises CorruptRecord."""
    if is_tombstone(found.info.size):
        return None
    return _decoded(found.info.key, found.body, kind)


def encode_manifest(header: ManifestHeader, content: bytes) -> bytes:
    """The bytes of a manifest record."""
    return encode(header) + b"\n" + content


def decode_manifest(found: StoredObject) -> tuple[ManifestHeader, bytes] | None:
    """Header and exact content of a manifest record, None for a tombstone; raises CorruptRecord."""
    if is_tombstone(found.info.size):
        return None
    line, newline, content = found.body.partition(b"\n")
    header = _decoded(found.info.key, line, ManifestHeader)
    if not newline or len(content) != header.size:
        raise CorruptRecord(found.info.key, f"{len(content)} bytes of manifest where the header says {header.size}")
    return header, content


def changed(record: Record, **fields: Any) -> Record:
    """A copy of `record` with some fields replaced."""
    return msgspec.structs.replace(record, **fields)


def _decoded(key: str, body: bytes, kind: type[Record]) -> Record:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptRecord(key, f"is no {kind.__name__}: {error}") from error
