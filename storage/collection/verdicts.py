"""The collector's pass over the blobs, digest by digest: which links are not needed, and which bytes nothing links to.

Rules 3, 4 and 7 of docs/design.md, Removal. Links are judged by what the walk over the manifests has found, instances by what lies
below their digest alone; so that what was seen there is never old, the listing is taken in chunks, each with a time of its own.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from math import inf

from storage import layout
from storage.collection.run import MANY, Run
from storage.collection.survey import Survey
from storage.errors import CorruptRecord
from storage.layout import Segment
from storage.objects.contract import ObjectInfo
from storage.records import Link, is_tombstone
from storage.references import Digest
from storage.removals import Removal
from storage.shelf import PARALLEL, Shelf, codec, gathered

CHUNK = 100_000  # keys


@dataclass(slots=True)
class Blob:
    """What was seen below one digest. `changed` is the latest change of a link or of a tombstone in its place."""

    digest: Digest
    prefix: str
    instances: list[tuple[ObjectInfo, Segment]] = field(default_factory=list)
    is_linked: bool = False
    changed: float = -inf
    named: set[str] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Dead:
    """An instance that nothing will ever name again: the keys of its record and of its bytes, and how many they are."""

    digest: Digest
    key: str
    data: str
    size: int


class Verdicts:
    """Judges all blobs, for `run`, by what `survey` says of the manifests."""

    def __init__(self, run: Run, survey: Survey) -> None:
        self._run = run
        self._survey = survey
        self._links = Shelf(run.context, codec(Link))
        self._unneeded: list[ObjectInfo] = []
        self._dead: list[Dead] = []
        self._count = 0
        self.is_whole = True

    async def all(self) -> None:
        """One LIST, a GET and a PUT for each link that is not needed, and DELETEs."""
        after: str | None = ""
        while after is not None:
            time = await self._run.lease.keep()
            count = self._count
            following = await self._chunk(after, time)
            if self._dead and await self._run.lease.renew() - time > self._run.context.periods.horizon:
                self._dead.clear()  # what was seen is too old for a verdict: look again
                self._count = count
                continue
            await self._delete()
            after = following

    async def _chunk(self, after: str, time: float) -> str | None:
        """Judge the digests behind the key `after`; returns the last key, None if there is nothing behind it."""
        blob: Blob | None = None
        last, keys = after, 0
        async with aclosing(self._run.context.store.list(layout.BLOBS_PREFIX, start_after=after)) as listing:
            async for info in listing:
                if blob is None or not info.key.startswith(blob.prefix):
                    await self._judge(blob, time)
                    blob = None
                    if keys >= CHUNK:
                        await self._retire()
                        return last
                    digest = self._digest(info.key)
                    if digest is None:
                        continue
                    blob = Blob(digest, layout.blob_prefix(digest))
                await self._see(blob, info, time)
                last, keys = info.key, keys + 1
        await self._judge(blob, time)
        await self._retire()
        return None

    def _digest(self, key: str) -> Digest | None:
        try:
            return layout.digest_of(key)
        except ValueError:
            self._foreign(key)
            return None

    def _foreign(self, key: str) -> None:
        """What this names is not known, so that no bytes can be taken for unnamed."""
        self._run.problems.append(f"{key} is no key of moorage; so no bytes of uploads were removed")
        self.is_whole = False

    async def _see(self, blob: Blob, info: ObjectInfo, time: float) -> None:
        self._count += 1
        if self._count % MANY == 0:
            self._run.progress("blobs", self._count)
        if info.key.startswith(layout.instances_prefix(blob.digest)):
            try:
                blob.instances.append((info, layout.parse_instance_key(info.key)[1]))
            except ValueError:
                self._foreign(info.key)
            return
        blob.changed = max(blob.changed, info.modified)
        try:
            _, name = layout.parse_link_key(info.key)
        except ValueError:
            self._foreign(info.key)
            blob.changed = inf
            return
        if is_tombstone(info.size):
            await self._run.purge(info)
            return
        blob.is_linked = True
        if len(blob.instances) > 1 and self._may_die(blob, time):
            await self._name(blob, info.key)
        if self._run.is_past_grace(info) and not self._survey.references(name, blob.digest):
            self._unneeded.append(info)
            if len(self._unneeded) == PARALLEL:
                await self._retire()

    async def _retire(self) -> None:
        """Condemn or bury the links that no manifest needs."""
        listed, self._unneeded = self._unneeded, []
        await self._run.lease.keep()
        for view in await gathered(self._run.look(self._links, info) for info in listed):
            if view is None or view.value is None:
                continue
            digest, name = layout.parse_link_key(view.key)
            why = "no manifest of the repository references it"
            removal = Removal("condemn", view.key, why, size=view.value.size, repository=str(name), digest=str(digest))
            await self._run.retire(self._links, view, removal)

    def _may_die(self, blob: Blob, time: float) -> list[ObjectInfo]:
        """The instances that no session can publish any more, nor has published lately."""
        run, periods = self._run, self._run.context.periods
        return [
            info
            for info, segment in blob.instances
            if info.modified + periods.grace < time
            and run.session_end(segment.upload, info.modified) + periods.last_words < time
        ]

    async def _name(self, blob: Blob, link: str) -> None:
        """Where a digest has several instances, each link is read for the one that it names."""
        blob.unread.append(link)
        if len(blob.unread) == PARALLEL:
            await self._read_names(blob)

    async def _read_names(self, blob: Blob) -> None:
        unread, blob.unread = blob.unread, []
        try:
            views = await gathered(self._links.read(key) for key in unread)
        except CorruptRecord as error:
            self._run.problems.append(f"{error}; so no bytes of {blob.digest} were removed")
            blob.changed = inf
            return
        for view in views:
            blob.changed = max(blob.changed, view.modified if view.etag is not None else inf)
            if view.value is not None:
                blob.named.add(view.value.key)

    async def _judge(self, blob: Blob | None, time: float) -> None:
        """Find the dead instances of a digest of which all was seen (rule 4)."""
        if blob is None:
            return
        await self._read_names(blob)
        if blob.changed + self._run.context.periods.quiet >= time:
            may_die = []
        elif len(blob.instances) > 1:
            may_die = self._may_die(blob, time)
        else:
            may_die = [] if blob.is_linked else self._may_die(blob, time)
        dying = {info.key for info in may_die}
        for info, segment in blob.instances:
            data = layout.data_key(segment)
            size = self._survey.claim(data)
            if info.key in dying and data not in blob.named:
                self._dead.append(Dead(blob.digest, info.key, data, size))

    async def _delete(self) -> None:
        """Remove the dead: their records first, then their bytes."""
        dead, self._dead = self._dead, []
        for at in range(0, len(dead), MANY):
            await self._run.lease.keep()
            some = dead[at : at + MANY]
            removals = [
                Removal("delete", each.key, "no repository links to it", size=each.size, digest=str(each.digest))
                for each in some
            ]
            await self._run.removals.plan_together(removals, partial(self._delete_some, some))

    async def _delete_some(self, dead: Sequence[Dead]) -> None:
        await self._run.context.store.delete_many([each.key for each in dead])
        await self._run.context.store.delete_many([each.data for each in dead])
