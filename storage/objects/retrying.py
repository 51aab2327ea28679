"""The one place where a store's requests are tried again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_before_delay,
    wait_random_exponential,
)

from storage.errors import Unavailable

T = TypeVar("T")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 3.0
_BUSY_PAUSE = 1.0


class Transient(Unavailable):
    """Unavailable for a reason that may pass within seconds: only this is worth another attempt."""


class Busy(Transient):
    """The store asks for fewer requests (503 SlowDown, 429): for `retry_after` seconds, None if it is not known for how long."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Retries:
    """Repeats what raises Transient, after growing pauses with jitter; no attempt begins later than `seconds` after the first.

    `noted` is called before each attempt after the first. A busy store is left alone for as long as it says, at least a second. `ask`
    finds out what it says where the error does not tell. A pause that does not fit into `seconds` is not begun: the error is raised at once.
    """

    def __init__(
        self,
        seconds: float,
        ask: Callable[[], Awaitable[float]] | None = None,
        noted: Callable[[], None] = lambda: None,
    ) -> None:
        self._seconds = seconds
        self._ask = ask
        self.noted = noted
        self._growing = wait_random_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE)

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of `attempt`, which may take as long as it makes progress; its last error if there is no result."""
        return await self._tried(attempt, [])

    async def __call__(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """As `patiently`, but all attempts together MUST end within `seconds`: the last error that was met then, Unavailable if none was."""
        met: list[Transient] = []
        try:
            async with asyncio.timeout(self._seconds):
                return await self._tried(attempt, met)
        except TimeoutError:
            if met:
                raise met[-1] from met[-1].__cause__
            raise Unavailable(f"the object store gave no answer within {self._seconds:g} s") from None

    async def _tried(self, attempt: Callable[[], Awaitable[T]], met: list[Transient]) -> T:
        """The result of `attempt`, tried again as long as it is worth it; each error goes to the end of `met`."""
        try:
            return await attempt()
        except Transient as error:
            met.append(error)
            return await self._again(attempt, met)

    async def _again(self, attempt: Callable[[], Awaitable[T]], met: list[Transient]) -> T:
        """Try again after the error in `met`, which is the outcome of the first of these attempts: it is not made twice."""
        failed = met[-1:]

        async def awaited() -> T:  # tenacity would not await what a lambda returns
            if failed:
                raise await self._told(failed.pop())
            self.noted()
            try:
                return await attempt()
            except Transient as error:
                met.append(error)
                raise await self._told(error) from error.__cause__

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            stop=stop_before_delay(self._seconds),
            wait=self._pause,
            reraise=True,
        )
        return await retrying(awaited)

    async def _told(self, error: Transient) -> Transient:
        """The error, with how long a busy store wants to be left alone."""
        if isinstance(error, Busy) and error.retry_after is None and self._ask is not None:
            error.retry_after = await self._ask()
        return error

    def _pause(self, state: RetryCallState) -> float:
        """Seconds until the next attempt."""
        error = state.outcome.exception() if state.outcome else None
        growing = self._growing(state)
        return max(error.retry_after or 0.0, _BUSY_PAUSE) + growing if isinstance(error, Busy) else growing
