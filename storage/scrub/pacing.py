"""A bound on the bytes that are read in a second."""

import asyncio
from collections.abc import Awaitable, Callable

Sleep = Callable[[float], Awaitable[None]]
_CREDIT = 1.0  # seconds of time that was not used, at most


class Pace:
    """Holds its users together to `rate` bytes a second, None for any number, on average over a second."""

    def __init__(self, rate: float | None, clock: Callable[[], float], sleep: Sleep = asyncio.sleep) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()
        self._turn = asyncio.Lock()
        self.read = 0

    async def spend(self, size: int) -> None:
        """Account for `size` bytes that were read, and wait until more may be."""
        self.read += size
        if self._rate is not None:
            async with self._turn:
                await self._wait(size / self._rate)

    async def _wait(self, seconds: float) -> None:
        now = self._clock()
        # A clock that was set back must not be waited for.
        begin = self._free_at if now - _CREDIT <= self._free_at <= now + _CREDIT else now
        self._free_at = begin + seconds
        if self._free_at > now:
            await self._sleep(self._free_at - now)
