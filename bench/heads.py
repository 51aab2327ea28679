"""Sends HEAD requests, which wrk cannot: it waits for the body that the Content-Length of the answer tells of.

An answer to HEAD ends with its head, so that there is next to nothing to parse. What is asked for is chosen before, so that the choice
costs nothing meanwhile.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from random import Random
from typing import cast

import uvloop

from bench.client import Failed

SEED = 20
"""Of the random choice of what is asked for next, here and in `wrk`: every contender is asked for the same, in the same order."""

CHOSEN = 10_000
"""Requests until the choice begins anew."""

_END = b"\r\n\r\n"


def heads(address: str, paths: Sequence[str], *, seconds: float, status: int, connections: int = 16) -> int:
    """Ask for the paths, chosen at random, over connections that are kept alive, and return how often; raises Failed for another status."""
    requests = [f"HEAD {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode() for path in paths]
    chosen = cycle(Random(SEED).choices(requests, k=CHOSEN))  # noqa: S311 - to be the same each time
    return uvloop.run(_load(address, chosen, b"HTTP/1.1 %d " % status, seconds, connections))


async def _load(address: str, requests: Iterator[bytes], expected: bytes, seconds: float, connections: int) -> int:
    loop, (host, port) = asyncio.get_running_loop(), address.split(":")
    until = time.monotonic() + seconds
    asking = [_Asking(requests, expected, until) for _ in range(connections)]
    transports = [(await loop.create_connection(lambda each=each: each, host, int(port)))[0] for each in asking]  # type: ignore[misc]
    try:
        await asyncio.gather(*(each.done for each in asking))
    finally:
        for transport in transports:
            transport.close()
        await asyncio.gather(*(each.lost for each in asking))
    return sum(each.answered for each in asking)


class _Asking(asyncio.Protocol):
    """One connection, with one request under way at a time: `done` once the time is up and the last one is answered, `lost` when it is closed."""

    def __init__(self, requests: Iterator[bytes], expected: bytes, until: float) -> None:
        self.answered = 0
        self.done = asyncio.get_running_loop().create_future()
        self.lost = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._expected = expected
        self._until = until
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer.endswith(_END):
            return
        if not self._answer.startswith(self._expected):
            self._end(Failed(f"HEAD was answered with {self._answer[:200]!r}"))
            return
        self.answered += 1
        self._answer = b""
        if time.monotonic() < self._until:
            self._transport.write(next(self._requests))
        else:
            self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or Failed("the server closed the connection"))
        self.lost.set_result(None)

    def _end(self, error: Exception | None) -> None:
        if self.done.done():
            return
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)
