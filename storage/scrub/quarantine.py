"""Records that a scrub took out of use, kept so that nothing of them is lost, and so that links come back when their bytes do."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from storage import layout
from storage.catalog import Catalog
from storage.errors import CorruptRecord, NotFound, PreconditionFailed
from storage.kinds import kind_of, owner_of
from storage.objects.contract import StoredObject
from storage.records import decode, encode
from storage.references import RepositoryName
from storage.shelf import Context


class Quarantined(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record that lay under `key`, and the nonce of the tombstone that stands there since.

    `bytes` is the data key of content found damaged, where that is why.
    """

    key: str
    why: str
    record: bytes
    tombstone: str
    nonce: str
    bytes: str | None = None


class Quarantine:
    """The records under `scrub/quarantine/`."""

    def __init__(self, context: Context, catalog: Catalog) -> None:
        self._context = context
        self._catalog = catalog

    async def take(self, found: StoredObject, why: str, damaged: str | None = None) -> None:
        """Keep a copy of exactly this record, and put a tombstone in its place; raises PreconditionFailed and keeps nothing.

        Content that goes is noted before, as by every DELETE: writers of manifests look again (docs/design.md, Removal, rule 1).
        """
        name = _content_of(found.info.key)
        if name is not None:
            try:
                await self._catalog.note_deletion(name)
            except CorruptRecord as error:  # since the run began: the next one mends it first
                raise PreconditionFailed(found.info.key) from error
        nonce, tombstone = self._context.nonce(), self._context.nonce()
        place = layout.quarantine_key(nonce, found.info.key)
        record = Quarantined(found.info.key, why, found.body, tombstone, nonce, damaged)
        await self._context.store.put(place, encode(record), if_absent=True)
        try:
            await self.bury(found.info.key, found.info.etag, tombstone)
        except PreconditionFailed:
            await self.drop(place)
            raise

    async def bury(self, key: str, etag: str, tombstone: str) -> None:
        """Put a tombstone in place of exactly one state of a record; no process of this host relies on an older view then."""
        try:
            await self._context.store.put(key, tombstone.encode(), if_match=etag)
        finally:
            self._context.views.forget(key)
            self._context.views.begin_epoch(self._context.nonce())

    async def drop(self, place: str) -> None:
        """Remove a copy that nobody needs any more."""
        await self._context.store.delete(place)

    async def kept(self, damaged: Callable[[CorruptRecord], None]) -> AsyncGenerator[tuple[str, Quarantined]]:
        """All copies, each with its own key; `damaged` hears of those that cannot be read. One LIST, and a GET each."""
        async with aclosing(self._context.store.list(layout.QUARANTINE_PREFIX)) as listing:
            async for info in listing:
                try:
                    record = await self._read(info.key)
                except NotFound:
                    continue  # it was removed meanwhile
                except CorruptRecord:
                    damaged(CorruptRecord(info.key, "is no record in quarantine, or was damaged there: remove it"))
                    continue
                yield info.key, record

    async def _read(self, place: str) -> Quarantined:
        record = decode(await self._context.store.get(place), Quarantined)
        if record is None or place != layout.quarantine_key(record.nonce, record.key):
            raise CorruptRecord(place, "is in the wrong place")
        return record


def _content_of(key: str) -> RepositoryName | None:
    """The repository from which content goes with the record under `key`: a link or a manifest."""
    kind = kind_of(key)
    return owner_of(key) if kind is not None and kind.name in {"link", "manifest"} else None
