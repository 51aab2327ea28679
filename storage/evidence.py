"""What manifests reference, as their records say: read once, and remembered in the bucket until a record changes.

Every state of a record has an etag of its own, so what was read under a key and an etag holds for good. Parts of it are lost at no
more cost than reading those manifests again.
"""

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from storage import layout
from storage.documents import named
from storage.errors import CorruptRecord, NotFound
from storage.objects.contract import ObjectInfo
from storage.records import ManifestHeader, changed, decode, decode_manifest, encode
from storage.shelf import Context, gathered

PART = 2_000  # manifests
MOST_PARTS = 16
LARGE = 64 * 1024  # bytes; few records beyond that are in memory at a time
LARGE_AT_ONCE = 4
_SCHEMA = "CREATE TABLE known (key TEXT, etag TEXT, packed BLOB, seen INTEGER, PRIMARY KEY (key, etag)) WITHOUT ROWID"


class Known(msgspec.Struct, frozen=True, array_like=True):
    """A manifest record under a key and an etag: all digests that it names, and its header without blobs."""

    key: str
    etag: str
    named: tuple[str, ...]
    header: ManifestHeader


class Part(msgspec.Struct, frozen=True):
    """Some of what was read."""

    known: tuple[Known, ...]
    nonce: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A manifest record that cannot be read, so that nothing is known of what it references."""

    key: str
    why: str


class Evidence:
    """The headers of manifest records. `database` is the run's own, see storage.scratch."""

    def __init__(self, context: Context, database: sqlite3.Connection) -> None:
        self._context = context
        self._database = database
        self._parts: list[str] = []
        self._fresh: list[Known] = []
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
                continue  # gone, or damaged: its manifests are read again, and it goes with the next compaction
            self._remember(part.known if part is not None else ())

    async def read(self, infos: Sequence[ObjectInfo]) -> list[Known | Unreadable]:
        """What the listed records reference; those that are gone meanwhile are left out. A GET for each that is not known."""
        known = self._recall(infos)
        unknown = [info for info in infos if info.key not in known]
        small, large = [each for each in unknown if each.size <= LARGE], [each for each in unknown if each.size > LARGE]
        found = [
            *known.values(),
            *await gathered(self._read(info.key) for info in small),
            *await gathered((self._read(info.key) for info in large), LARGE_AT_ONCE),
        ]
        if len(self._fresh) >= PART:
            await self.flush()
        return [each for each in found if each is not None]

    async def flush(self) -> None:
        """Write down what was read since: a PUT, or none."""
        fresh, self._fresh = self._fresh, []
        if fresh:
            self._parts.append(await self._write(fresh))

    async def compact(self) -> None:
        """Join the parts if they are many more than need be, without what no longer exists. Only after all records were read."""
        await self.flush()
        (needed,) = self._database.execute("SELECT count(*) FROM known WHERE seen").fetchone()
        if len(self._parts) <= needed / PART + MOST_PARTS:
            return
        before, self._parts = self._parts, []
        rows = self._database.execute("SELECT packed FROM known WHERE seen ORDER BY key")
        while batch := rows.fetchmany(PART):
            self._parts.append(await self._write([_unpacked(packed) for (packed,) in batch]))
        await self._context.store.delete_many(before)

    async def _write(self, known: Sequence[Known]) -> str:
        nonce = self._context.nonce()
        key = layout.evidence_key(nonce)
        await self._context.store.put(key, encode(Part(tuple(known), nonce)), if_absent=True)
        return key

    def _remember(self, known: Iterable[Known], *, seen: bool = False) -> None:
        rows = ((each.key, each.etag, msgspec.msgpack.encode(each), seen) for each in known)
        self._database.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?)", rows)

    def _recall(self, infos: Sequence[ObjectInfo]) -> dict[str, Known | Unreadable]:
        etags = {info.key: info.etag for info in infos}
        marks = ", ".join("?" * len(etags))
        sql = f"SELECT key, etag, packed FROM known WHERE key IN ({marks})"  # noqa: S608 - nothing but question marks
        found = [(key, packed) for key, etag, packed in self._database.execute(sql, tuple(etags)) if etags[key] == etag]
        sql = "UPDATE known SET seen = 1 WHERE key = ? AND etag = ?"
        self._database.executemany(sql, [(key, etags[key]) for key, _ in found])
        return {key: _unpacked(packed) for key, packed in found}

    async def _read(self, key: str) -> Known | Unreadable | None:
        """A record, and another look at one that was damaged, maybe only on its way here; None if it is gone."""
        try:
            known = await self._look(key)
        except CorruptRecord:
            try:
                known = await self._look(key)
            except CorruptRecord as error:
                return Unreadable(key, str(error))
        if known is not None:
            self._remember([known], seen=True)
            self._fresh.append(known)
        return known

    async def _look(self, key: str) -> Known | None:
        try:
            found = await self._context.store.get(key)
        except NotFound:
            return None
        self.manifests_read += 1
        decoded = decode_manifest(found)
        if decoded is None:
            return None
        header, content = decoded
        try:
            digests = await asyncio.to_thread(named, content) if len(content) > LARGE else named(content)
        except ValueError as error:
            raise CorruptRecord(key, f"its manifest cannot be parsed: {error}") from None
        return Known(key, found.info.etag, tuple(sorted({*header.blobs, *digests})), changed(header, blobs=()))


def _unpacked(packed: bytes) -> Known:
    return msgspec.msgpack.decode(packed, type=Known)
