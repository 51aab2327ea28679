"""A proxy in front of an S3 server that counts what passes, and can lose or replace answers.

It forwards every byte as it came, the Host header too, so that signatures hold: clients sign for the proxy's address, which
S3 servers take as it was sent. Bodies stream through in both directions.
"""

import asyncio
import socket
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qs, urlsplit

_CHUNK = 256 * 1024
_HEAD_LIMIT = 64 * 1024
_NO_BODY = {204, 304}


@dataclass
class Exchange:
    """One request and what became of it; `sent` counts the bytes of the request's body, `status` is None until answered."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    sent: int = 0
    status: int | None = None

    @property
    def kind(self) -> str:
        """The S3 operation: GET, HEAD, PUT, DELETE, LIST, POST (many deletes), CREATE, PART, COPY, COMPLETE, ABORT or UPLOADS."""
        if "uploads" in self.query:
            return {"POST": "CREATE", "GET": "UPLOADS"}[self.method]
        if "uploadId" in self.query:
            part = "COPY" if "x-amz-copy-source" in self.headers else "PART"
            return {"PUT": part, "POST": "COMPLETE", "DELETE": "ABORT"}[self.method]
        return "LIST" if "list-type" in self.query else self.method


class Ending(Enum):
    """How a connection ends without an answer: by a TCP reset, or by saying nothing until the client gives up."""

    RESET = "reset"
    SILENCE = "silence"


Reply = Callable[[Exchange], bytes | Ending | None]
"""Given an exchange, the raw bytes to answer instead before closing the connection (b"" only closes), or None to go on."""

Alter = Callable[[bytes, bytes], Awaitable[bytes]]
"""Given head and body of an answer as they came, what to send; if it is anything else, the connection is closed after it."""


def status(code: int, error: str, message: str = "of the test") -> bytes:
    """An S3 error as a raw HTTP response."""
    body = f"<?xml version='1.0'?><Error><Code>{error}</Code><Message>{message}</Message></Error>".encode()
    head = f"HTTP/1.1 {code} X\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


class Wire:
    """What passed the proxy. `instead` answers for the server, which then never sees the request; `lose` answers after it did.

    While `silent`, requests are taken and never answered; `drip` is the pause, in seconds, before each byte of an answer's head. Each
    of `cut_after` cuts one answer's body after that many bytes. `sending` may give what alters the pieces of a request's body on their
    way to the server, without changing their lengths, and `answering` what alters an answer, which is then held in memory. Unless it
    `flows`, nothing of a request's body passes.
    """

    def __init__(self, host: str, port: int) -> None:
        self.exchanges: list[Exchange] = []
        self.instead: Reply = lambda _: None
        self.lose: Reply = lambda _: None
        self.sending: Callable[[Exchange], Callable[[bytes], bytes] | None] = lambda _: None
        self.answering: Callable[[Exchange], Alter | None] = lambda _: None
        self.silent = False
        self.flows = asyncio.Event()
        self.flows.set()
        self.drip = 0.0
        self.cut_after: list[int] = []
        self.endpoint = ""
        self._upstream = (host, port)
        self._connections: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._refusing: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        """Take connections, at the same address as before if there was one. Idempotent."""
        if self._listener is not None:
            return
        if self._refusing is not None:
            await self._refusing
        port = urlsplit(self.endpoint).port or 0
        self._listener = await asyncio.start_server(self.connect, "127.0.0.1", port, limit=_HEAD_LIMIT)
        self.endpoint = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    def refuse(self) -> None:
        """Take no more connections, until `listen`."""
        if self._listener is not None:
            self._refusing = asyncio.create_task(_closed(self._listener))
            self._listener = None

    def counts(self) -> Counter[str]:
        """How many requests of each kind were begun since the last reset."""
        return Counter(exchange.kind for exchange in self.exchanges)

    def written(self) -> int:
        """The bytes of all request bodies since the last reset."""
        return sum(exchange.sent for exchange in self.exchanges)

    def reset(self) -> None:
        """Forget what passed."""
        self.exchanges.clear()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with suppress(asyncio.CancelledError, OSError, EOFError):
            upstream = await asyncio.open_connection(*self._upstream, limit=_HEAD_LIMIT)
            try:
                await self._relay((reader, writer), upstream)
            finally:
                upstream[1].close()
        writer.close()

    async def close(self) -> None:
        """Take no more connections, and drop those that there are."""
        self.refuse()
        await asyncio.sleep(0.05)  # for connections that were taken and have no task yet
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections)

    async def _relay(self, client: "_Peer", server: "_Peer") -> None:
        waiting: deque[Exchange] = deque()
        pumps = [
            asyncio.create_task(self._requests(client, server, waiting)),
            asyncio.create_task(self._responses(client, server, waiting)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _requests(self, client: "_Peer", server: "_Peer", waiting: deque[Exchange]) -> None:
        while head := await _head(client[0]):
            line, headers = _parse(head)
            method, target, _ = line.split(" ")
            url = urlsplit(target)
            query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
            exchange = Exchange(method, url.path, query, headers)
            self.exchanges.append(exchange)
            if self.silent:
                await asyncio.Event().wait()
            answer = self.instead(exchange)
            if answer is None:
                waiting.append(exchange)
                server[1].write(head)
            alter = self.sending(exchange) if answer is None else None
            async for payload, raw in _body(client[0], headers, until_eof=False):
                await self.flows.wait()
                exchange.sent += payload
                if answer is None:
                    server[1].write(alter(raw) if alter else raw)
                    await server[1].drain()
            if answer is not None:
                await _end(client, answer)
                return

    async def _responses(self, client: "_Peer", server: "_Peer", waiting: deque[Exchange]) -> None:
        while head := await _head(server[0]):
            line, headers = _parse(head)
            code = int(line.split(" ")[1])
            if code >= 200:
                exchange = waiting.popleft()
                exchange.status = code
                answer = self.lose(exchange)
                if answer is not None:
                    await _end(client, answer)
                    return
                if alter := self.answering(exchange):
                    if not await _altered(client, server, exchange, head, alter):
                        return
                    continue
            for byte in head if self.drip else b"":
                await asyncio.sleep(self.drip)
                client[1].write(bytes([byte]))
            client[1].write(b"" if self.drip else head)
            if code >= 200 and _has_body(exchange):
                limit = self.cut_after[0] if self.cut_after and exchange.method == "GET" else None
                async for payload, raw in _body(server[0], headers, until_eof=True):
                    if limit is not None and (limit := limit - payload) < 0:
                        self.cut_after.pop(0)
                        return
                    client[1].write(raw)
                    await client[1].drain()
            await client[1].drain()


@asynccontextmanager
async def wire(endpoint: str) -> AsyncIterator[Wire]:
    """A proxy in front of the S3 server at `endpoint`; its own address is the `endpoint` of what this yields."""
    url = urlsplit(endpoint)
    assert url.hostname is not None
    assert url.port is not None
    proxy = Wire(url.hostname, url.port)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.close()


_Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _closed(listener: asyncio.Server) -> None:
    """Close a listener, but not while it is about to hand over what it has accepted: asyncio would lose that."""
    for listening in listener.sockets:
        asyncio.get_running_loop().remove_reader(listening.fileno())
    await asyncio.sleep(0)
    listener.close()


async def _end(client: _Peer, answer: bytes | Ending) -> None:
    """Give the last answer of a connection."""
    reader, writer = client
    if answer is Ending.SILENCE:
        while await reader.read(_CHUNK):
            pass
    elif answer is Ending.RESET:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        assert isinstance(answer, bytes)
        writer.write(answer)
        await writer.drain()


async def _altered(client: _Peer, server: _Peer, exchange: Exchange, head: bytes, alter: Alter) -> bool:
    """Send what `alter` makes of an answer; whether the connection is still good for another one."""
    _, headers = _parse(head)
    pieces = [raw async for _, raw in _body(server[0], headers, until_eof=True)] if _has_body(exchange) else []
    body = b"".join(pieces)
    altered = await alter(head, body)
    client[1].write(altered)
    await client[1].drain()
    return altered == head + body


def _has_body(exchange: Exchange) -> bool:
    return exchange.status not in _NO_BODY and exchange.method != "HEAD"


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The first line and the headers, with the empty line that ends them; empty at the end of the connection."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


def _parse(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.split(":", 1) for line in lines)
    return first, {name.lower(): value.strip() for name, value in pairs}


async def _body(
    reader: asyncio.StreamReader, headers: dict[str, str], *, until_eof: bool
) -> AsyncIterator[tuple[int, bytes]]:
    """The body as it comes: how many bytes of content each piece holds, and its raw bytes."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        size = -1
        while size != 0:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            yield 0, line
            async for piece in _exactly(reader, size):
                yield len(piece), piece
            yield 0, await reader.readuntil(b"\r\n")
    elif "content-length" in headers:
        async for piece in _exactly(reader, int(headers["content-length"])):
            yield len(piece), piece
    elif until_eof:
        while piece := await reader.read(_CHUNK):
            yield len(piece), piece


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size:
        piece = await reader.read(min(size, _CHUNK))
        if not piece:
            raise EOFError
        size -= len(piece)
        yield piece
