"""Records of one kind in the bucket, read as views and changed by compare-and-swap."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from itertools import islice
from math import ceil
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from storage import layout
from storage.errors import Contended, CorruptRecord, NotFound, PreconditionFailed, Unavailable
from storage.objects.contract import ObjectStore, StoredObject
from storage.periods import Periods
from storage.records import Record, changed, decode, encode
from storage.sharing import Sharing
from storage.views import Moment, View, Views

Value = TypeVar("Value")

Arguments = ParamSpec("Arguments")

ATTEMPTS = 32
FIRST_PAUSE = 0.005  # seconds
LONGEST_PAUSE = 0.5
PARALLEL = 32


@dataclass(frozen=True, slots=True)
class Context:
    """What every noun works with. `nonce` gives 16 random hex digits, `clock` seconds since 1970."""

    store: ObjectStore
    views: Views
    clock: Callable[[], float]
    nonce: Callable[[], str]
    periods: Periods = field(default_factory=Periods)

    def new_upload(self) -> str:
        """An upload whose session ends when `upload_expiry` has passed."""
        end = ceil(self.clock() + self.periods.upload_expiry)
        return layout.upload_until(self.nonce() + self.nonce(), end)

    def own_segment(self) -> layout.Segment:
        """Where bytes are written that no client sends as such: no session lists them as something that it was sent."""
        return layout.Segment(self.new_upload(), 0, self.nonce())

    def is_over(self, upload: str) -> bool:
        """Whether the session of an upload has ended: nothing of it may be published any more."""
        return self.clock() > layout.session_end(upload)


@dataclass(frozen=True, slots=True)
class Codec(Generic[Value]):
    """How a kind of record becomes bytes and back; `decode` gives None for a tombstone and raises CorruptRecord."""

    encode: Callable[[Value], bytes]
    decode: Callable[[StoredObject], Value | None]


def codec(kind: type[Record]) -> Codec[Record]:
    """That of a record which is written as storage.records has it."""
    return Codec(encode, partial(decode, kind=kind))


class _Noun(Protocol):
    _context: Context


Noun = TypeVar("Noun", bound=_Noun)


class Shelf(Generic[Value]):
    """Reads, writes and removes records of one kind by key."""

    def __init__(self, context: Context, codec: Codec[Value]) -> None:
        self._context = context
        self._codec = codec
        self._recent = Sharing(self._known_or_read)
        self._current = Sharing(self._ask)

    async def read(self, key: str) -> View[Value]:
        """A fresh view of `key`: one GET, and another look at what was damaged, maybe only on the way here.

        It is shared with nobody: of writers that compare and swap what one read saw, all but one would be too late.
        """
        try:
            return await self._look(key)
        except CorruptRecord:
            return await self._look(key)

    async def read_or_discard(self, key: str) -> View[Value]:
        """As `read`, of a record that nothing rests on: what cannot be read is removed, and as good as absent."""
        try:
            return await self.read(key)
        except CorruptRecord:
            await self._context.store.delete(key)
            return await self.read(key)

    async def recent(self, key: str) -> View[Value]:
        """A view of `key` with a record in it at most a minute old, or else a fresh one: no request, or one GET, which may be shared."""
        return self.known(key) or await self.shared(key)

    async def shared(self, key: str) -> View[Value]:
        """As `recent`, for a caller who has looked among what is known."""
        return await self._recent.read(key)

    async def current(self, key: str) -> View[Value]:
        """A fresh view of `key`, by a conditional GET where it has been seen before, which may be shared."""
        return await self._current.read(key)

    async def _known_or_read(self, key: str) -> View[Value]:
        return self._context.views.peek(key) or await self.read(key)

    async def _ask(self, key: str) -> View[Value]:
        known: View[Value] | None = self._context.views.get(key)
        if known is None or known.etag is None:
            return await self.read(key)
        taken = self._context.views.now()
        try:
            found = await self._context.store.get_if_changed(key, known.etag)
            if found is not None:
                return self._seen(found, taken)
        except NotFound:
            return self._missing(key, taken)
        except CorruptRecord:
            return await self._look(key)
        unchanged = changed(known, taken=taken)
        self._context.views.keep(key, unchanged)
        return unchanged

    def known(self, key: str) -> View[Value] | None:
        """The recent view of `key` that this process already has: no request."""
        return self._context.views.get(key)

    async def write(self, key: str, value: Value, over: View[Value] | None) -> View[Value]:
        """Replace exactly what `over` saw, nothing if it is None or saw nothing; raises PreconditionFailed. One PUT."""
        taken = self._context.views.now()
        body = self._codec.encode(value)
        etag = await self._put(key, body, over)
        view = View(key, value, etag, len(body), 0, taken)
        self._context.views.keep(key, view)
        return view

    async def bury(self, over: View[Value], tombstone: str | None = None) -> None:
        """Put a tombstone, a nonce, in place of exactly what `over` saw; raises PreconditionFailed. One PUT.

        Whatever the outcome, no process of this host relies on an older view afterwards.
        """
        try:
            await self._put(over.key, (tombstone or self._context.nonce()).encode(), over)
        finally:
            self._context.views.begin_epoch(self._context.nonce())

    async def _put(self, key: str, body: bytes, over: View[Value] | None) -> str:
        self._context.views.forget(key)
        if over is None or over.etag is None:
            return await self._context.store.put(key, body, if_absent=True)
        return await self._context.store.put(key, body, if_match=over.etag)

    async def _look(self, key: str) -> View[Value]:
        taken = self._context.views.now()
        try:
            return self._seen(await self._context.store.get(key), taken)
        except NotFound:
            return self._missing(key, taken)

    def _missing(self, key: str, taken: Moment) -> View[Value]:
        self._context.views.forget(key)
        return View(key, None, None, 0, 0, taken)

    def _seen(self, found: StoredObject, taken: Moment) -> View[Value]:
        info = found.info
        view = View(info.key, self._codec.decode(found), info.etag, info.size, info.modified, taken)
        if view.value is None:
            self._context.views.forget(view.key)
        else:
            self._context.views.keep(view.key, view)
        return view


async def settle(attempt: Callable[[], Awaitable[Value | None]], key: str) -> Value:
    """Call `attempt` until it gives a result; None or PreconditionFailed means that somebody else was faster: look again."""
    for number in range(ATTEMPTS):
        await pause(number)
        try:
            result = await attempt()
        except PreconditionFailed:
            continue
        if result is not None:
            return result
    raise Contended(key)


async def pause(attempt: int) -> None:
    """Wait before attempt number `attempt`, counted from 0: not before the first, then ever longer, with jitter."""
    if attempt > 0:
        longest = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
        await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - jitter is no secret


def bounded(
    operation: Callable[Concatenate[Noun, Arguments], Awaitable[Value]],
) -> Callable[Concatenate[Noun, Arguments], Coroutine[Any, Any, Value]]:
    """End a noun's operation in time with Unavailable: nobody MUST rely on a view for longer (docs/design.md, Removal)."""

    async def limited(noun: Noun, *args: Arguments.args, **named: Arguments.kwargs) -> Value:
        bound = noun._context.periods.bound  # noqa: SLF001 - every noun has one
        try:
            async with asyncio.timeout(bound):
                return await operation(noun, *args, **named)
        except TimeoutError:
            raise Unavailable(f"it was not done within {bound:g} s, though the object store answered") from None

    return wraps(operation)(limited)  # type: ignore[return-value]


async def gathered(reads: Iterable[Coroutine[Any, Any, Value]], at_once: int = PARALLEL) -> Sequence[Value]:
    """The results in order, `at_once` at a time; the first error cancels the rest of them, and begins no more."""
    waiting = iter(reads)
    results: list[Value] = []
    while batch := list(islice(waiting, at_once)):
        results += [await batch[0]] if len(batch) == 1 else await _together(batch)
    return results


async def _together(reads: Iterable[Coroutine[Any, Any, Value]]) -> Sequence[Value]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(read) for read in reads]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
