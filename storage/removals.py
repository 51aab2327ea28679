"""What maintenance removes: planned with a reason, written down in the bucket, and then done.

But for the purge of tombstones, which stand for what is on an older page, a page of the journal is written before anything on it is
done, so that whatever went can be told, and brought back while its bytes are there. A dry run plans the same, by the same code, and does nothing.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

import msgspec

from storage import kinds, layout
from storage.errors import CorruptRecord, NotFound, PreconditionFailed
from storage.records import changed, decode, encode
from storage.shelf import Context, gathered

KEPT = 30 * 24 * 3600.0  # seconds that a page of the journal is kept
PAGE = 200  # removals, and at most about as many bytes of records as
PAGE_BYTES = 4 * 1024 * 1024

Step = Literal["condemn", "bury", "delete", "abort", "purge"]
Outcome = Literal["planned", "done", "changed"]


class Removal(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step on the way of something out of the bucket.

    `condemn` marks a record, `bury` puts a tombstone in its place, `delete` removes instances and bytes, `abort` an incomplete
    upload, `purge` a tombstone. `key` names what goes, `why` says it in words, `size` is in bytes, of the content that it stands for,
    `record` has what lay under `key`, in whose place the nonce `tombstone` is put, and `tags` are those that pointed to it.
    """

    step: Step
    key: str
    why: str
    size: int = 0
    repository: str | None = None
    digest: str | None = None
    record: bytes = b""
    tombstone: str = ""
    tags: tuple[str, ...] = ()


class Page(msgspec.Struct, frozen=True):
    """A page of the journal; `at` is the store's time, in seconds since 1970."""

    work: str
    at: float
    removals: tuple[Removal, ...]
    nonce: str


Act = Callable[[], Awaitable[None]]
Observe = Callable[[Removal, Outcome], None]


@dataclass(frozen=True, slots=True)
class Planned:
    """A removal, and how it is done; `act` raises PreconditionFailed if what goes has changed meanwhile, and stays.

    `tombstone` is what it then puts there, for the journal alone: a dry run, which draws others, plans the same removals.
    """

    removal: Removal
    act: Act
    tombstone: str = ""


class Removals:
    """Carries out what a run of `work` plans, a page at a time; `observe` hears of each."""

    def __init__(self, context: Context, work: str, *, dry_run: bool, observe: Observe) -> None:
        self._journal = Journal(context)
        self._work = work
        self._dry_run = dry_run
        self._observe = observe
        self._planned: list[Planned] = []
        self._bytes = 0
        self.time = 0.0  # by the store's clock, for the journal

    async def plan(self, removal: Removal, act: Act, tombstone: str = "") -> None:
        """Have it done, with others; at the latest by `flush`."""
        if self._dry_run:
            self._observe(removal, "planned")
            return
        self._planned.append(Planned(removal, act, tombstone))
        self._bytes += len(removal.record)
        if len(self._planned) >= PAGE or self._bytes >= PAGE_BYTES:
            await self.flush()

    async def plan_together(self, removals: Sequence[Removal], act: Act) -> None:
        """Have them done by one `act`, right after what was planned before."""
        await self.flush()
        if self._dry_run or not removals:
            for removal in removals:
                self._observe(removal, "planned")
            return
        if removals[0].step != "purge":
            await self._journal.write(self._work, self.time, removals)
        outcome = await _outcome(act)
        for removal in removals:
            self._observe(removal, outcome)

    async def flush(self) -> None:
        """Do all that is planned. A PUT, and what each removal takes."""
        planned, self._planned, self._bytes = self._planned, [], 0
        if not planned:
            return
        lasting = [changed(each.removal, tombstone=each.tombstone) for each in planned if each.removal.step != "purge"]
        if lasting:
            await self._journal.write(self._work, self.time, lasting)
        outcomes = await gathered(_outcome(each.act) for each in planned)
        for each, outcome in zip(planned, outcomes, strict=True):
            self._observe(each.removal, outcome)


class Journal:
    """The pages under `collector/journal/`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def write(self, work: str, at: float, removals: Sequence[Removal]) -> None:
        """Add a page. One PUT."""
        nonce = self._context.nonce()
        page = encode(Page(work, at, tuple(removals), nonce))
        await self._context.store.put(layout.journal_key(at, nonce), page, if_absent=True)

    async def pages(
        self, since: float = 0, damaged: Callable[[CorruptRecord], None] | None = None
    ) -> AsyncGenerator[Page]:
        """The pages written since then, oldest first. One LIST, and a GET each.

        What cannot be read is passed over, and `damaged` hears of it; without that it raises CorruptRecord.
        """
        start = layout.journal_key(since, "")
        async with aclosing(self._context.store.list(layout.JOURNAL_PREFIX, start_after=start)) as listing:
            async for info in listing:
                try:
                    page = await self.page(info.key)
                except CorruptRecord as error:
                    if damaged is None:
                        raise
                    damaged(error)
                    continue
                if page is not None:
                    yield page

    async def page(self, key: str) -> Page | None:
        """A page, None if another run has pruned it; raises CorruptRecord. One GET."""
        try:
            page = decode(await self._context.store.get(key), Page)
        except NotFound:
            return None
        if page is None:
            raise CorruptRecord(key, "is no page of the journal")
        return page


def spoken(removal: Removal) -> str:
    """What goes, as people call it."""
    return kinds.spoken(removal.key)


async def _outcome(act: Act) -> Outcome:
    try:
        await act()
    except PreconditionFailed:
        return "changed"
    return "done"
