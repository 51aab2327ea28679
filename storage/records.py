"""What is stored under a key, and how it is written: JSON, every record with a nonce, every change a new one.

The last field of a record, `check`, is a digest of the bytes before it, and a manifest's key is the digest of its content: what was
damaged, cut or written by hand is CorruptRecord, never a wrong answer.

Removing a record replaces it by a tombstone, exactly 16 bytes of nonce; every record is longer, so a listing tells a tombstone
by its size. A link, a catalog marker and a manifest record are live or condemned: a condemned one still serves, and whoever
needs it revives it first (docs/design.md, Removal).
"""

import hashlib
from typing import Any, Literal, TypeVar

import msgspec

from storage import layout
from storage.errors import CorruptRecord
from storage.objects.contract import StoredObject
from storage.references import Digest

TOMBSTONE_SIZE = 16
MAX_HISTORY = 32
_CHECK_DIGITS = 16
_END_SIZE = len(',"check":""}') + _CHECK_DIGITS

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


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A segment that an upload session has written: offset and length in bytes, and the nonce of its key."""

    offset: int
    length: int
    nonce: str

    @property
    def end(self) -> int:
        """The offset after its last byte."""
        return self.offset + self.length


class SegmentIndex(msgspec.Struct, frozen=True):
    """The first segments of a long upload."""

    pieces: tuple[Piece, ...]


HoldState = Literal["held", "done", "failed"]


class Hold(msgspec.Struct, frozen=True):
    """A run of some maintenance is under way, was done or failed; the record's LastModified tells when that was so.

    `ended` is when one was done before this one, in seconds since 1970 by the store's clock.
    """

    nonce: str
    state: HoldState
    ended: float | None = None


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
    fields = msgspec.json.encode(record).removesuffix(b"}")
    return fields + _check(fields)


def decode(found: StoredObject, kind: type[Record]) -> Record | None:
    """The record in an object, None for a tombstone; raises CorruptRecord."""
    if is_tombstone(found.info.size):
        return None
    return _decoded(found.info.key, found.body, kind)


def decode_pointer(found: StoredObject) -> TagPointer | ReferrerEntry | None:
    """What points to a manifest, by its key a tag or a referrer entry; None for a tombstone; raises CorruptRecord."""
    return decode(found, TagPointer) if layout.is_tag_key(found.info.key) else decode(found, ReferrerEntry)


def encode_manifest(header: ManifestHeader, content: bytes) -> bytes:
    """The bytes of a manifest record."""
    return encode(header) + b"\n" + content


def decode_manifest(found: StoredObject) -> tuple[ManifestHeader, bytes] | None:
    """Header and exact content of a manifest record, None for a tombstone; raises CorruptRecord."""
    if is_tombstone(found.info.size):
        return None
    line, newline, content = found.body.partition(b"\n")
    header = _decoded(found.info.key, line, ManifestHeader)
    _, digest = layout.parse_manifest_key(found.info.key)
    if not newline or Digest.of(content, digest.algorithm) != digest:
        raise CorruptRecord(found.info.key, "its manifest was damaged: it has another digest")
    return header, content


def changed(record: Record, /, **fields: Any) -> Record:
    """A copy of `record` with some fields replaced."""
    return msgspec.structs.replace(record, **fields)


def _check(fields: bytes) -> bytes:
    """The end of a record that begins with `fields`."""
    return b',"check":"%s"}' % hashlib.sha256(fields).hexdigest()[:_CHECK_DIGITS].encode()


def _decoded(key: str, body: bytes, kind: type[Record]) -> Record:
    fields, end = body[:-_END_SIZE], body[-_END_SIZE:]
    if end != _check(fields):
        raise CorruptRecord(key, f"is no {kind.__name__} of moorage, or was damaged: its check is wrong")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptRecord(key, f"is no {kind.__name__}: {error}") from error
