"""The store contract: object-storage primitives, and nothing that a bucket cannot do.

An implementation MUST keep every promise below; tests/contract holds each one to it. Errors are those of storage.errors:
NotFound, PreconditionFailed and Overtaken, Unavailable, Denied, Invalid, and no others. A missing bucket MUST be Unavailable, never
NotFound: a registry whose bucket is gone must say so.

Keys are UTF-8 strings of slash-separated, non-empty components, none of them '.' or '..'. No key is ever another key plus
'/…' (MinIO hides the longer one from listings). A prefix is empty or ends with '/'.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

PAGE = 1_000
"""Keys that one request lists at most, as S3 does."""


class ObjectInfo(msgspec.Struct, frozen=True):
    """What a listing says of an object. `modified` is in seconds since 1970 by the store's clock; `size` in bytes."""

    key: str
    size: int
    etag: str
    modified: float


class StoredObject(msgspec.Struct, frozen=True):
    """A whole object: what is said of it, and its bytes."""

    info: ObjectInfo
    body: bytes


@dataclass(frozen=True, slots=True)
class IncompleteUpload:
    """A stream that was begun and neither completed nor aborted. `initiated` is in seconds since 1970, the store's clock."""

    key: str
    upload: str
    initiated: float


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do beyond the least that moorage needs. Probed or declared, never guessed from a vendor's name.

    `checksums`: a body that is sent with the checksum of another one is refused, as a whole object and as a part.
    """

    conditional_create: bool
    conditional_replace: bool
    conditional_delete: bool
    ordered_listing: bool
    presigning: bool
    part_copy: bool
    checksums: bool


class ObjectStore(Protocol):
    """A bucket, or a prefix of one. Every method may raise Unavailable, Denied or Invalid besides what it names."""

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do."""
        ...

    async def get(self, key: str) -> StoredObject:
        """Read a whole object; raises NotFound. MUST be strongly consistent: it sees every write acknowledged before."""
        ...

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """As `get`, but None while the object still has `etag`. MUST be one request."""
        ...

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """Stream `length` bytes from `start`, or all the rest.

        NotFound MUST be raised by the call itself, before the first chunk. A stream that ends early MUST raise Unavailable.
        Closing the generator MUST free what it holds. `start` and `length` MUST lie within the object, or it raises Invalid.
        """
        ...

    async def head(self, key: str) -> ObjectInfo:
        """As `get`, without the bytes."""
        ...

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write a whole object and return its etag. MUST be atomic: a reader sees all of it or none, and so does a crash.

        With `if_absent` it MUST raise PreconditionFailed if the key exists; with `if_match`, if the object's etag is another
        one or the key does not exist. Of any number of concurrent conditional writes on one state exactly one MUST succeed.
        An ambiguous outcome MUST be resolved by reading back: success if the object's bytes are `body` (every conditional
        body in moorage holds a nonce, so equal bytes are our own), Overtaken if the state is neither that nor the one
        before: the write may have been applied and replaced since; who cares looks for its nonce.
        """
        ...

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """Write `chunks` as they come, in bounded memory, and return the size in bytes.

        The object MUST appear whole or not at all. If `chunks` raises, the error passes through unchanged, nothing MUST be
        visible, and no incomplete upload MUST be left behind (unless the process dies). Objects of up to 5 TiB.
        """
        ...

    async def compose(self, key: str, sources: Sequence[tuple[str, int]]) -> None:
        """Concatenate the whole objects `sources`, pairs of key and size, into `key`; raises NotFound.

        MUST be as atomic as put_stream. Copies on the server where the store's part sizes allow.
        """
        ...

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Remove an object; a missing one is no error. `if_match` raises PreconditionFailed, and Invalid without the capability."""
        ...

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Remove up to 1,000 objects in one request where the store can; missing ones are no error."""
        ...

    def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """Every object whose key begins with `prefix` and sorts after `start_after`, in byte order, at most `limit`.

        MUST see every write acknowledged before the request that returns its page; one request a PAGE of keys.
        """
        ...

    async def presign_get(self, key: str, expires: int) -> str:
        """A URL that anyone may GET for `expires` seconds, ranges included; Invalid without the capability. No request."""
        ...

    def list_incomplete_uploads(self) -> AsyncGenerator[IncompleteUpload]:
        """Every stream below the store's root that has neither completed nor been aborted."""
        ...

    async def abort_incomplete_upload(self, upload: IncompleteUpload) -> None:
        """Free what an incomplete upload holds; a missing one is no error."""
        ...

    async def close(self) -> None:
        """Let go of connections, threads and files. Idempotent."""
        ...
