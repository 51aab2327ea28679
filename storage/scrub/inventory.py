"""What all records in the bucket say, side by side in a temporary database, and what does not fit together there.

A listing takes time, and gateways go on meanwhile: what does not fit here is no more than a suspicion.
"""

import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from storage import layout
from storage.errors import CorruptRecord, NotFound
from storage.kinds import OTHERS, Kind, kind_of
from storage.objects.contract import ObjectInfo, ObjectStore
from storage.records import is_tombstone
from storage.shelf import PARALLEL, gathered

Row = tuple[Any, ...]
Rows = Sequence[tuple[str, Row]]
Step = Callable[[int, int], Awaitable[None]]

_BATCH_BYTES = 16 * 1024 * 1024
_FETCH = 1_000

# Content first and its records last: what a push adds meanwhile is then mostly seen whole, for it writes the other way round.
_ROOMS = (layout.REPOSITORIES_PREFIX, layout.CATALOG_PREFIX, layout.BLOBS_PREFIX, layout.DATA_PREFIX)

_TABLES = """
CREATE TABLE manifests (repository, digest, generation, subject, PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE TABLE needs (repository, digest, needed, kind, PRIMARY KEY (repository, digest, needed, kind)) WITHOUT ROWID;
CREATE TABLE named (repository, digest, tag, PRIMARY KEY (repository, digest, tag)) WITHOUT ROWID;
CREATE TABLE tags (repository, tag, digest, generation, PRIMARY KEY (repository, tag)) WITHOUT ROWID;
CREATE TABLE referrers (repository, subject, digest, generation, PRIMARY KEY (repository, subject, digest)) WITHOUT ROWID;
CREATE TABLE links (digest, repository, key, size, PRIMARY KEY (digest, repository)) WITHOUT ROWID;
CREATE TABLE instances (at PRIMARY KEY, digest, key, size) WITHOUT ROWID;
CREATE INDEX instances_by_key ON instances (key, digest, size);
CREATE TABLE data (key PRIMARY KEY, size) WITHOUT ROWID;
CREATE TABLE markers (repository PRIMARY KEY, modified) WITHOUT ROWID;
CREATE TABLE quarantined (key PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE corrupt (key PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE stray (key PRIMARY KEY) WITHOUT ROWID;
"""

SUSPECT = {
    "missing": """
        SELECT needs.repository, needs.digest, needed, kind FROM needs
        LEFT JOIN links ON kind = 'blob' AND links.digest = needed AND links.repository = needs.repository
        LEFT JOIN manifests ON kind = 'manifest' AND manifests.digest = needed AND manifests.repository = needs.repository
        WHERE links.key IS NULL AND manifests.generation IS NULL""",
    "dangling-tag": """
        SELECT repository, tag FROM tags LEFT JOIN manifests USING (repository, digest)
        WHERE manifests.generation IS NOT tags.generation""",
    "unlisted-tag": """
        SELECT repository, tag FROM tags JOIN manifests USING (repository, digest) LEFT JOIN named USING (repository, digest, tag)
        WHERE manifests.generation = tags.generation AND named.repository IS NULL""",
    "dead-referrer": """
        SELECT repository, referrers.subject, digest FROM referrers LEFT JOIN manifests USING (repository, digest)
        WHERE manifests.generation IS NULL OR manifests.subject IS NOT referrers.subject""",
    "missing-referrer": """
        SELECT repository, manifests.subject, digest FROM manifests LEFT JOIN referrers USING (repository, subject, digest)
        WHERE manifests.subject IS NOT NULL AND referrers.generation IS NOT manifests.generation""",
    "dangling-link": """
        SELECT links.repository, links.digest FROM links LEFT JOIN instances USING (key, digest)
        WHERE instances.size IS NOT links.size""",
    "quarantined-bytes": "SELECT repository, digest, key FROM links JOIN quarantined USING (key)",
    "missing-marker": """
        SELECT DISTINCT repository FROM manifests LEFT JOIN markers USING (repository) WHERE markers.repository IS NULL""",
    "empty-repository": """
        SELECT markers.repository FROM markers LEFT JOIN manifests USING (repository)
        WHERE manifests.repository IS NULL AND modified < ?""",
    "bytes": """
        SELECT at FROM instances LEFT JOIN data USING (key) WHERE data.size IS NOT instances.size""",
    "corrupt-record": "SELECT key FROM corrupt",
    "stray-key": "SELECT key FROM stray",
}
"""What to look at again, by the kind of finding that it may be."""


class Inventory:
    """Reads every record once, into `database`, see storage.scratch. `step` hears of the records and bytes of each batch before."""

    def __init__(self, store: ObjectStore, database: sqlite3.Connection, step: Step) -> None:
        self._store = store
        self._database = database
        self._step = step
        for table in _TABLES.split(";"):
            database.execute(table)
        self.records = 0

    async def fill(self) -> None:
        """List everything, and read every record."""
        for room in _ROOMS:
            async with aclosing(self._store.list(room)) as listing, aclosing(_batches(listing)) as batches:
                async for batch in batches:
                    await self._take(batch)
        async with aclosing(_strays(self._store)) as strays:
            async for key in strays:
                self.insert([("stray", (key,))])

    def insert(self, rows: Rows) -> None:
        """Add rows to tables."""
        for table, row in rows:
            self._database.execute(f"INSERT OR REPLACE INTO {table} VALUES ({','.join('?' * len(row))})", row)  # noqa: S608 - our own names

    def suspects(self, kind: str, *parameters: float) -> Iterator[Row]:
        """What may be a finding of this kind."""
        return self._rows(SUSPECT[kind], parameters)

    def instances(self, after: str) -> Iterator[tuple[str, int]]:
        """The key of each instance after a key, in their order, and the bytes that it names."""
        for row in self._rows("SELECT at, size FROM instances WHERE at > ? ORDER BY at", (after,)):
            yield row[0], row[1]

    def totals(self, after: str = "") -> tuple[int, int]:
        """How many instances there are after a key, and the bytes that they name."""
        [row] = self._rows("SELECT count(*), coalesce(sum(size), 0) FROM instances WHERE at > ?", (after,))
        return row[0], row[1]

    def _rows(self, query: str, parameters: Sequence[Any]) -> Iterator[Row]:
        cursor = self._database.execute(query, parameters)
        while rows := cursor.fetchmany(_FETCH):
            yield from rows

    async def _take(self, batch: Sequence[ObjectInfo]) -> None:
        known: list[tuple[Kind, ObjectInfo]] = []
        for info in batch:
            try:
                kind = kind_of(info.key)
            except ValueError:
                self.insert([("stray", (info.key,))])
                continue
            if kind is None:
                self.insert([("data", (info.key, info.size))])
            elif not is_tombstone(info.size) or kind.name == "instance":
                known.append((kind, info))
        await self._step(len(known), sum(info.size for _, info in known))
        self.records += len(known)
        for rows in await gathered(self._read(kind, info) for kind, info in known):
            self.insert(rows)

    async def _read(self, kind: Kind, info: ObjectInfo) -> Rows:
        """What the record comes to; nothing if it has gone since it was listed."""
        try:
            found = await self._store.get(info.key)
            record = kind.decode(found)
        except NotFound:
            return ()
        except CorruptRecord:
            return [("corrupt", (info.key,))]
        parsed = kind.parse(info.key)
        return _ROWS[kind.name](parsed, record, found.info) if record is not None else ()


def _manifest(parsed: Any, header: Any, _: ObjectInfo) -> Rows:
    name, digest = str(parsed[0]), str(parsed[1])
    return [
        ("manifests", (name, digest, header.generation, header.subject)),
        *(("needs", (name, digest, needed, "blob")) for needed in header.blobs),
        *(("needs", (name, digest, needed, "manifest")) for needed in header.manifests),
        *(("named", (name, digest, tag)) for tag in header.tags),
    ]


def _tag(parsed: Any, pointer: Any, _: ObjectInfo) -> Rows:
    name, tag = parsed
    return [("tags", (str(name), str(tag), pointer.digest, pointer.generation))]


def _referrer(parsed: Any, entry: Any, _: ObjectInfo) -> Rows:
    name, subject, digest = parsed
    return [("referrers", (str(name), str(subject), str(digest), entry.generation))]


def _link(parsed: Any, link: Any, _: ObjectInfo) -> Rows:
    digest, name = parsed
    return [("links", (str(digest), str(name), link.key, link.size))]


def _instance(parsed: Any, instance: Any, info: ObjectInfo) -> Rows:
    return [("instances", (info.key, str(parsed[0]), instance.key, instance.size))]


def _marker(parsed: Any, _: Any, info: ObjectInfo) -> Rows:
    return [("markers", (str(parsed[0]), info.modified))]


_ROWS = {
    "manifest": _manifest,
    "tag": _tag,
    "referrer": _referrer,
    "link": _link,
    "instance": _instance,
    "marker": _marker,
}


async def _batches(listing: AsyncGenerator[ObjectInfo]) -> AsyncGenerator[Sequence[ObjectInfo]]:
    """Objects in groups that can be read at once, in few bytes of memory; content does not count, since it is not read here."""
    batch: list[ObjectInfo] = []
    size = 0
    async for info in listing:
        weight = 0 if info.key.startswith(layout.DATA_PREFIX) else info.size
        if batch and (len(batch) >= PARALLEL or size + weight > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(info)
        size += weight
    if batch:
        yield batch


async def _strays(store: ObjectStore) -> AsyncGenerator[str]:
    """Keys in no room of moorage; rooms are leapt over, one LIST each."""
    rooms = {*OTHERS, *(room.removesuffix("/") for room in _ROOMS)}
    after: str | None = ""
    while after is not None:
        start, after = after, None
        async with aclosing(store.list("", start_after=start)) as listing:
            async for info in listing:
                room, slash, _ = info.key.partition("/")
                if slash and room in rooms:
                    rooms.remove(room)  # where a listing is not in the order of bytes, it may come to it again
                    after = f"{room}0"  # the byte after the slash
                    break
                if info.key != layout.FORMAT_KEY:
                    yield info.key
