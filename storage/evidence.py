"""What records say, as far as maintenance has read them: read once, and remembered in the bucket until a record changes.

Every state of a record has an etag of its own, so what was read under a key and an etag holds for good. Parts of it are lost at no
more cost than reading those records again.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from storage import layout
from storage.documents import named
from storage.errors import CorruptRecord, NotFound
from storage.objects.contract import ObjectInfo, StoredObject
from storage.records import (
    CatalogMarker,
    ManifestHeader,
    TagPointer,
    changed,
    decode,
    decode_manifest,
    decode_pointer,
    encode,
)
from storage.shelf import Context, gathered

BATCH, BATCH_BYTES = (
    500,
    16 * 1024**2,
)  # records that are read together, and about how much of the store that is at most
PART, PART_BYTES = 2_000, 8 * 1024**2  # the same of what is written down together
MOST_PARTS = 16
LARGE = 64 * 1024  # bytes; few records beyond that are in memory at a time
LARGE_AT_ONCE = 4
_SCHEMA = "CREATE TABLE known (key TEXT, etag TEXT, packed BLOB, seen INTEGER, PRIMARY KEY (key, etag)) WITHOUT ROWID"


class KnownManifest(msgspec.Struct, frozen=True, array_like=True, tag="manifest"):
    """A manifest record under a key and an etag: all digests that it names, and its header without blobs."""

    key: str
    etag: str
    named: tuple[str, ...]
    header: ManifestHeader


class KnownPointer(msgspec.Struct, frozen=True, array_like=True, tag="pointer"):
    """A tag or a referrer entry under a key and an etag: the manifest that it points to, and its generation."""

    key: str
    etag: str
    digest: str
    generation: str


class KnownMarker(msgspec.Struct, frozen=True, array_like=True, tag="marker"):
    """A catalog marker under a key and an etag: whether content was ever deleted from the repository."""

    key: str
    etag: str
    deletions: bool


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that cannot be read, so that nothing is known of what it says."""

    key: str
    why: str


Known = KnownManifest | KnownPointer | KnownMarker
K = TypeVar("K", bound=Known)
_Look = Callable[[StoredObject], Awaitable[K | None]]


class Batch:
    """Records that were listed, at most about as many as should be read together."""

    def __init__(self) -> None:
        self._infos: list[ObjectInfo] = []
        self._bytes = 0

    def add(self, info: ObjectInfo) -> bool:
        """Take one more; returns whether it is time to read them."""
        self._infos.append(info)
        self._bytes += info.size
        return len(self._infos) >= BATCH or self._bytes >= BATCH_BYTES

    def taken(self) -> Sequence[ObjectInfo]:
        """All of them, in order, of which none stays."""
        infos, self._infos, self._bytes = self._infos, [], 0
        return infos


def batches(infos: Iterable[ObjectInfo]) -> Iterator[Sequence[ObjectInfo]]:
    """These records, as many at a time as should be read together."""
    batch = Batch()
    for info in infos:
        if batch.add(info):
            yield batch.taken()
    if rest := batch.taken():
        yield rest


class Part(msgspec.Struct, frozen=True):
    """Some of what was read."""

    known: tuple[Known, ...]
    nonce: str


class Evidence:
    """What records say. `database` is the run's own, see storage.scratch."""

    def __init__(self, context: Context, database: sqlite3.Connection) -> None:
        self._context = context
        self._database = database
        self._parts: list[str] = []
        self._fresh: list[Known] = []
        self._fresh_bytes = 0
        self.manifests_read = 0
        database.execute(_SCHEMA)

    async def open(self, parts: Iterable[str] | None = None) -> None:
        """Load what earlier runs have read: a GET for each of the keys `parts`, which one LIST finds if they are not given."""
        if parts is None:
            parts = [info.key async for info in self._context.store.list(layout.EVIDENCE_PREFIX)]
        for key in parts:
            self._parts.append(key)
            try:
                part = decode(await self._context.store.get(key), Part)
            except (NotFound, CorruptRecord):
                continue  # gone, or damaged: its records are read again, and it goes with the next compaction
            for known in part.known if part is not None else ():
                self._remember(known)

    async def manifests(self, infos: Sequence[ObjectInfo]) -> list[KnownManifest | Unreadable]:
        """What the listed records reference; those that are gone meanwhile are left out. A GET for each that is not known."""
        return await self._know(infos, KnownManifest, self._manifest)

    async def pointers(self, infos: Sequence[ObjectInfo]) -> list[KnownPointer | Unreadable]:
        """Where the listed tags and referrer entries point; those that are gone meanwhile are left out. A GET for each that is not known."""
        return await self._know(infos, KnownPointer, _pointer)

    async def markers(self, infos: Sequence[ObjectInfo]) -> list[KnownMarker | Unreadable]:
        """What the listed markers of the catalog say; those that are gone meanwhile are left out. A GET for each that is not known."""
        return await self._know(infos, KnownMarker, _marker)

    def generation(self, key: str) -> str | None:
        """That of a manifest record as this run came by it, None if it was not there."""
        row = self._database.execute("SELECT packed FROM known WHERE key = ? AND seen", (key,)).fetchone()
        return None if row is None else msgspec.msgpack.decode(row[0], type=KnownManifest).header.generation

    async def flush(self) -> None:
        """Write down what was read since: a PUT, or none."""
        fresh, self._fresh, self._fresh_bytes = self._fresh, [], 0
        if fresh:
            self._parts.append(await self._write(fresh))

    async def compact(self) -> None:
        """Join the parts if they are many more than need be, without what no longer exists. Only after all records were read."""
        await self.flush()
        sql = "SELECT count(*), coalesce(sum(length(packed)), 0) FROM known WHERE seen"
        count, size = self._database.execute(sql).fetchone()
        if len(self._parts) <= max(count / PART, size / PART_BYTES) + MOST_PARTS:
            return
        before, self._parts = self._parts, []
        for (packed,) in self._database.execute("SELECT packed FROM known WHERE seen ORDER BY key"):
            await self._add(msgspec.msgpack.decode(packed, type=Known), len(packed))
        await self.flush()
        await self._context.store.delete_many(before)

    async def _add(self, known: Known, size: int) -> None:
        """Have it written down with others, soon; `size` is what it takes, in bytes."""
        self._fresh.append(known)
        self._fresh_bytes += size
        if len(self._fresh) >= PART or self._fresh_bytes >= PART_BYTES:
            await self.flush()

    async def _write(self, known: Sequence[Known]) -> str:
        nonce = self._context.nonce()
        key = layout.evidence_key(nonce)
        await self._context.store.put(key, encode(Part(tuple(known), nonce)), if_absent=True)
        return key

    def _remember(self, known: Known, *, seen: bool = False) -> int:
        """Returns how many bytes it takes."""
        packed = msgspec.msgpack.encode(known)
        self._database.execute(
            "INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?)", (known.key, known.etag, packed, seen)
        )
        return len(packed)

    async def _know(self, infos: Sequence[ObjectInfo], kind: type[K], look: _Look[K]) -> list[K | Unreadable]:
        known = self._recall(infos, kind)
        unknown = [info for info in infos if info.key not in known]
        small, large = [each for each in unknown if each.size <= LARGE], [each for each in unknown if each.size > LARGE]
        found = [
            *await gathered(self._read(info.key, look) for info in small),
            *await gathered((self._read(info.key, look) for info in large), LARGE_AT_ONCE),
        ]
        return [*known.values(), *(each for each in found if each is not None)]

    def _recall(self, infos: Sequence[ObjectInfo], kind: type[K]) -> dict[str, K]:
        etags = {info.key: info.etag for info in infos}
        marks = ", ".join("?" * len(etags))
        sql = f"SELECT key, etag, packed FROM known WHERE key IN ({marks})"  # noqa: S608 - nothing but question marks
        found = [(key, packed) for key, etag, packed in self._database.execute(sql, tuple(etags)) if etags[key] == etag]
        sql = "UPDATE known SET seen = 1 WHERE key = ? AND etag = ?"
        self._database.executemany(sql, [(key, etags[key]) for key, _ in found])
        return {key: msgspec.msgpack.decode(packed, type=kind) for key, packed in found}

    async def _read(self, key: str, look: _Look[K]) -> K | Unreadable | None:
        """A record, and another look at one that was damaged, maybe only on its way here; None if it is gone."""
        try:
            known = await self._get(key, look)
        except CorruptRecord:
            try:
                known = await self._get(key, look)
            except CorruptRecord as error:
                return Unreadable(key, str(error))
        if known is not None:
            await self._add(known, self._remember(known, seen=True))
        return known

    async def _get(self, key: str, look: _Look[K]) -> K | None:
        try:
            found = await self._context.store.get(key)
        except NotFound:
            return None
        return await look(found)

    async def _manifest(self, found: StoredObject) -> KnownManifest | None:
        self.manifests_read += 1
        decoded = decode_manifest(found)
        if decoded is None:
            return None
        header, content = decoded
        try:
            digests = await asyncio.to_thread(named, content) if len(content) > LARGE else named(content)
        except ValueError as error:
            raise CorruptRecord(found.info.key, f"its manifest cannot be parsed: {error}") from None
        names = tuple(sorted({*header.blobs, *digests}))
        return KnownManifest(found.info.key, found.info.etag, names, changed(header, blobs=()))


async def _pointer(found: StoredObject) -> KnownPointer | None:
    key, pointer = found.info.key, decode_pointer(found)
    if pointer is None:
        return None
    digest = pointer.digest if isinstance(pointer, TagPointer) else str(layout.parse_referrer_key(key)[2])
    return KnownPointer(key, found.info.etag, digest, pointer.generation)


async def _marker(found: StoredObject) -> KnownMarker | None:
    marker = decode(found, CatalogMarker)
    return None if marker is None else KnownMarker(found.info.key, found.info.etag, marker.deletions)
