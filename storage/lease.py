"""A lease on one kind of maintenance, and the store's time, which is what it is renewed by.

It keeps two runs from doing the same work. No safety rests on it: a run may lose it at any moment, and go on for a while.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from storage import layout
from storage.errors import Busy, PreconditionFailed, StoreError
from storage.records import Hold, HoldState, decode, encode
from storage.shelf import Codec, Context, Shelf
from storage.views import View


class Lease:
    """The record under `<work>/lease`, for a `work` such as collector."""

    def __init__(self, context: Context, work: str) -> None:
        self._context = context
        self._work = work
        self._key = layout.lease_key(work)
        self._holds = Shelf[Hold](context, Codec(encode, partial(decode, kind=Hold)))
        self._view: View[Hold] | None = None
        self._renewed_at = 0.0
        self._time = 0.0

    @asynccontextmanager
    async def held(self) -> AsyncIterator[float]:
        """Hold the lease within the block, given the store's time at its beginning, T0; raises Busy if another run holds it."""
        began = await self._acquire()
        try:
            yield began
        except BaseException:
            with suppress(StoreError):  # what went wrong is told; the lease ends by itself
                await self._write("failed")
            raise
        with suppress(Busy):  # the work is done all the same
            await self._write("done")

    async def ended(self) -> float | None:
        """When the last run ended well, by the store's clock; None if it did not, or still goes on. One GET."""
        view = await self._holds.read(self._key)
        return view.modified if view.value is not None and view.value.state == "done" else None

    async def renew(self) -> float:
        """The store's time, at most as late as now; raises Busy if another run has taken over. One PUT and one HEAD."""
        self._renewed_at = self._context.clock()
        await self._write("held")
        self._time = (await self._context.store.head(self._key)).modified
        return self._time

    async def keep(self) -> float:
        """As `renew`, but if that was done lately, the time that it gave: a time that is too early is safe."""
        if self._context.clock() - self._renewed_at < self._context.periods.lease / 5:
            return self._time
        return await self.renew()

    async def _acquire(self) -> float:
        view = await self._holds.read(self._key)
        if view.value is not None and view.value.state == "held" and not await self._is_over(view):
            raise Busy(f"another run of the {self._work} is under way; what it has begun, it will end")
        self._view = view
        return await self.renew()

    async def _is_over(self, view: View[Hold]) -> bool:
        """Whether the holder has given no sign of life for too long. One PUT and one HEAD, for the store's time."""
        key = layout.clock_key(self._work)
        await self._context.store.put(key, self._context.nonce().encode())
        now = (await self._context.store.head(key)).modified
        return now - view.modified > self._context.periods.lease

    async def _write(self, state: HoldState) -> None:
        try:
            self._view = await self._holds.write(self._key, Hold(self._context.nonce(), state), self._view)
        except PreconditionFailed:
            raise Busy(f"another run of the {self._work} has taken over") from None
