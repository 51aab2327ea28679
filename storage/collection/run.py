"""One run of the collector: its time, its lease, and the steps by which something goes (docs/design.md, Removal)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from storage import layout
from storage.errors import CorruptRecord
from storage.kinds import owner_of
from storage.lease import Lease
from storage.objects.contract import ObjectInfo
from storage.records import CatalogMarker, Link, changed, encode
from storage.removals import Removal, Removals
from storage.shelf import Context, Shelf
from storage.views import View

Progress = Callable[[str, int], None]
WORK = "collector"
MANY = 1_000  # objects that one request removes

Kind = TypeVar("Kind")
Mortal = TypeVar("Mortal", Link, CatalogMarker)


@dataclass(slots=True)
class Run:
    """What all parts of a run share. `began` is its T0: the store's time, read before its first LIST.

    `offline` says that no gateway serves. `problems` are sentences on what could not be judged, and was left alone.
    """

    context: Context
    lease: Lease
    removals: Removals
    began: float
    offline: bool
    progress: Progress
    problems: list[str] = field(default_factory=list)
    _tombstones: list[str] = field(default_factory=list)

    def is_past_grace(self, info: ObjectInfo) -> bool:
        """Whether a record had been as it is for a grace period when the run began (rule 3)."""
        return info.modified + self.context.periods.grace < self.began

    def session_end(self, upload: str, modified: float) -> float:
        """When the session of an upload ends; by the age of what it wrote, if it was begun before names told that."""
        periods = self.context.periods
        return layout.session_end(upload) or modified + periods.upload_expiry + periods.skew

    async def look(self, shelf: Shelf[Kind], info: ObjectInfo) -> View[Kind] | None:
        """The record that a listing showed, None if it has changed since, or cannot be read."""
        try:
            view = await shelf.read(info.key)
        except CorruptRecord as error:
            self.problems.append(f"{error}; it was left alone")
            return None
        return view if view.value is not None and view.etag == info.etag else None

    async def retire(self, shelf: Shelf[Mortal], view: View[Mortal], removal: Removal) -> None:
        """Condemn a record, or bury one that was condemned a grace period ago, unless it changes first (rule 3)."""
        record = view.value
        assert record is not None  # noqa: S101 - `look` gives no other
        removal = changed(removal, record=encode(record))
        if record.state == "live":
            condemned = changed(record, state="condemned", nonce=self.context.nonce())
            await self.removals.plan(removal, partial(_write, shelf, condemned, view))
        else:
            why, tombstone = f"{removal.why}, nor has since it was condemned", self.context.nonce()
            buried = changed(removal, step="bury", why=why)
            await self.removals.plan(buried, partial(shelf.bury, view, tombstone), tombstone)

    async def purge(self, info: ObjectInfo) -> None:
        """Remove a tombstone that is old enough, where nobody can lose by it (rule 7)."""
        if info.modified + self.context.periods.purge_age >= self.began:
            return
        store = self.context.store
        if store.capabilities.conditional_delete:
            await self.removals.plan(_purge(info.key), partial(store.delete, info.key, if_match=info.etag))
        elif self.offline:
            self._tombstones.append(info.key)
            if len(self._tombstones) == MANY:
                await self._purge_all()

    async def finish(self) -> None:
        """Do what is planned and not done yet."""
        if self._tombstones:
            await self._purge_all()
        await self.removals.flush()

    async def _purge_all(self) -> None:
        keys, self._tombstones = self._tombstones, []
        await self.removals.plan_together([_purge(key) for key in keys], partial(self.context.store.delete_many, keys))


async def _write(shelf: Shelf[Mortal], record: Mortal, over: View[Mortal]) -> None:
    await shelf.write(over.key, record, over)


def _purge(key: str) -> Removal:
    owner = owner_of(key)
    why = "the tombstone of what was removed long ago"
    return Removal("purge", key, why, repository=str(owner) if owner is not None else None)
