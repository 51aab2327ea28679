"""A lease on one kind of maintenance, and the store's time, which is what it is renewed by.

It keeps two runs from doing the same work. No safety rests on it: a run may lose it at any moment, and go on for a while.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from storage import layout
from storage.errors import Busy, PreconditionFailed, StoreError
from storage.records import Hold, HoldState
from storage.shelf import Context, Shelf, codec
from storage.views import View


class Lease:
    """The record under `<work>/lease`, for a `work` such as collector."""

    def __init__(self, context: Context, work: str) -> None:
        self._context = context
        self._work = work
        self._key = layout.lease_key(work)
        self._holds = Shelf(context, codec(Hold))
        self._view: View[Hold] | None = None
        self._ended: float | None = None
        self._renewed_at = 0.0
        self._time = 0.0
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def held(self, *, dry_run: bool = False) -> AsyncIterator[float]:
        """Hold the lease within the block, given the store's time at its beginning, T0; raises Busy if another run holds it.

        A dry run does not count as one that was done.
        """
        began = await self._acquire()
        try:
            yield began
        except BaseException:
            with suppress(StoreError, Busy):  # what went wrong is told; the lease ends by itself
                await self._write("failed")
            raise
        with suppress(Busy):  # the work is done all the same
            await self._write("failed" if dry_run else "done")

    async def ended(self) -> float | None:
        """When a run was last done, by the store's clock; None if none ever was. One GET."""
        return _ended(await self._holds.read_or_discard(self._key))

    async def renew(self) -> float:
        """The store's time, at most as late as now; raises Busy if another run has taken over. One PUT and one HEAD."""
        async with self._turn:
            return await self._renew()

    async def keep(self) -> float:
        """As `renew`, but if that was done lately, the time that it gave: a time that is too early is safe.

        Any number of tasks may keep it at once.
        """
        async with self._turn:
            elapsed = self._context.clock() - self._renewed_at
            if 0 <= elapsed < self._context.periods.lease / 5:  # negative once the clock was put back
                return self._time
            return await self._renew()

    async def _renew(self) -> float:
        began = self._context.clock()
        await self._write("held")
        self._time = (await self._context.store.head(self._key)).modified
        self._renewed_at = began
        return self._time

    async def _acquire(self) -> float:
        view = await self._holds.read_or_discard(self._key)
        if view.value is not None and view.value.state == "held" and not await self._is_over(view):
            raise Busy(f"another run of the {self._work} is under way; what it has begun, it will end")
        self._view, self._ended = view, _ended(view)
        return await self.renew()

    async def _is_over(self, view: View[Hold]) -> bool:
        """Whether the holder has given no sign of life for too long."""
        return await store_time(self._context, self._work) - view.modified > self._context.periods.lease

    async def _write(self, state: HoldState) -> None:
        try:
            self._view = await self._holds.write(self._key, Hold(self._context.nonce(), state, self._ended), self._view)
        except PreconditionFailed:
            raise Busy(f"another run of the {self._work} has taken over") from None


async def store_time(context: Context, work: str) -> float:
    """The store's time, at most as late as now, without a lease. One PUT and one HEAD."""
    key = layout.clock_key(work)
    await context.store.put(key, context.nonce().encode())
    return (await context.store.head(key)).modified


def _ended(view: View[Hold]) -> float | None:
    if view.value is None:
        return None
    return view.modified if view.value.state == "done" else view.value.ended
