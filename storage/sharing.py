"""Reads that serve all who were waiting when they began."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Sharing(Generic[Value]):
    """Reads by key with `read`, which never gives None, one read of a key at a time.

    A caller MUST NOT be given what was read before it came. So it reads at once if nobody reads its key, and else waits for that to end and
    for the next read, which serves all who came before it began. One of them reads, in its own task and context; what that finds or
    raises is everybody's. If its reader is cancelled, the next of them reads instead, for all that are left.
    """

    def __init__(self, read: Callable[[str], Awaitable[Value]]) -> None:
        self._read = read
        self._waiting: dict[str, list[asyncio.Future[Value | None]]] = {}  # for the next read of what is being read

    async def read(self, key: str) -> Value:
        """What is at `key`, by a read that begins from now on; raises what `read` raises."""
        if key in self._waiting:
            found = await self._awaited(key)
            if found is not None:
                return found
        return await self._shared(key)

    async def _awaited(self, key: str) -> Value | None:
        """What another caller has read, None if it is this one's turn to read."""
        turn: asyncio.Future[Value | None] = asyncio.get_running_loop().create_future()
        self._waiting[key].append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None and turn.result() is None:
                self._pass_on(key)
            raise

    async def _shared(self, key: str) -> Value:
        """Read for all who wait by now."""
        sharers = self._waiting.get(key, [])
        self._waiting[key] = []
        try:
            found = await self._read(key)
        except Exception as error:
            for turn in _pending(sharers):
                turn.set_exception(error)
            raise
        except BaseException:
            self._waiting[key][:0] = sharers
            raise
        else:
            for turn in _pending(sharers):
                turn.set_result(found)
            return found
        finally:
            self._pass_on(key)

    def _pass_on(self, key: str) -> None:
        """Let the first who still waits read; who comes before it begins shares that."""
        for turn in _pending(self._waiting[key]):
            turn.set_result(None)
            return
        del self._waiting[key]


def _pending(turns: list[asyncio.Future[Value | None]]) -> list[asyncio.Future[Value | None]]:
    """Those whose callers neither have an answer nor went away."""
    return [turn for turn in turns if not turn.done()]
