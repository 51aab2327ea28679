"""The one place where a store's requests are tried again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_before_delay, wait_random_exponential

from storage.errors import Unavailable

T = TypeVar("T")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 3.0


class Transient(Unavailable):
    """Unavailable for a reason that may pass within seconds: only this is worth another attempt."""


class Retries:
    """Repeats what raises Transient, after growing pauses with jitter; no attempt begins later than `seconds` after the first."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of `attempt`, which may take as long as it makes progress; its last error if there is no result."""
        try:
            return await attempt()
        except Transient:
            return await self._again(attempt)

    async def __call__(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """As `patiently`, but all attempts together MUST end within `seconds`, else it raises Unavailable."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self.patiently(attempt)
        except TimeoutError:
            raise Unavailable(f"the object store gave no answer within {self._seconds:g} s") from None

    async def _again(self, attempt: Callable[[], Awaitable[T]]) -> T:
        await asyncio.sleep(_FIRST_PAUSE)
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            stop=stop_before_delay(self._seconds - _FIRST_PAUSE),
            wait=wait_random_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE),
            reraise=True,
        )

        async def awaited() -> T:  # tenacity would not await what a lambda returns
            return await attempt()

        return await retrying(awaited)
