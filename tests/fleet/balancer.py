"""A balancer in front of several gateways that sends each request to the next one, whatever connection it comes on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle

from tests.parts.wire import _body, _head, _parse

_HEAD_LIMIT = 64 * 1024
_NO_BODY = {204, 304}


class Balancer:
    """Round robin over `ports` of this machine, request by request. `host` is what image names begin with."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.host = ""
        self.requests: Counter[int] = Counter()
        self._next = cycle(ports)
        self._connections: set[asyncio.Task[None]] = set()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client, request after request."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with suppress(asyncio.CancelledError, OSError, EOFError):
            while head := await _head(reader):
                await self._forward(head, reader, writer)
        writer.close()

    async def close(self) -> None:
        """Drop every connection."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections)

    async def _forward(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, on a connection of its own to the next gateway; Host stays as the client sent it."""
        port = next(self._next)
        self.requests[port] += 1
        above, answers = (await asyncio.open_connection("127.0.0.1", port, limit=_HEAD_LIMIT))[::-1]
        line, headers = _parse(head)
        try:
            above.write(head[:-2] + b"Connection: close\r\n\r\n")
            async for _, raw in _body(reader, headers, until_eof=False):
                above.write(raw)
                await above.drain()
            await _answer(line.split(" ")[0], answers, writer)
        finally:
            above.close()


async def _answer(method: str, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the gateway's answer on, and keep the client's connection."""
    head = await _head(answers)
    line, headers = _parse(head)
    kept = [part for part in head[:-4].split(b"\r\n") if not part.lower().startswith(b"connection:")]
    writer.write(b"\r\n".join(kept) + b"\r\n\r\n")
    if method != "HEAD" and int(line.split(" ")[1]) not in _NO_BODY:
        async for _, raw in _body(answers, headers, until_eof=False):
            writer.write(raw)
            await writer.drain()
    await writer.drain()


@asynccontextmanager
async def balancer(ports: Sequence[int]) -> AsyncIterator[Balancer]:
    """A balancer on a free port of this machine."""
    balancer = Balancer(ports)
    listener = await asyncio.start_server(balancer.connect, "127.0.0.1", 0, limit=_HEAD_LIMIT)
    balancer.host = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield balancer
    finally:
        listener.close()
        await balancer.close()
