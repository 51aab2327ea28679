"""One connection, told of the time that passes: whom the gateway hangs up on, and whom not."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.errors import TOO_SLOW, ErrorResponse
from gateway.protocol import REFUSED, Config, Protocol
from gateway.settings import Settings
from gateway.values import Duration, Size

SETTINGS = Settings(header_timeout=Duration(15), body_timeout=Duration(30), min_rate=Size(1024**2))
BUFFER = 4096  # bytes that the kernel is to hold of a connection, each way; it takes a few more
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"


class Connection:
    """A client's end, which takes nothing unless told to, and the gateway's protocol on the other."""

    def __init__(self, client: socket.socket, protocol: Protocol) -> None:
        self.protocol = protocol
        self._client = client

    async def send(self, data: bytes) -> None:
        """Send `data`, and let the gateway take it."""
        await asyncio.get_running_loop().sock_sendall(self._client, data)
        for _ in range(10):
            await asyncio.sleep(0)

    async def receive(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        received = b""
        while piece := await asyncio.get_running_loop().sock_recv(self._client, size - len(received)):
            received += piece
        return received

    async def rest(self) -> bytes:
        """All until the end; a connection that was cut has ended too."""
        received = b""
        try:
            while piece := await asyncio.get_running_loop().sock_recv(self._client, BUFFER):
                received += piece
        except ConnectionResetError:
            pass
        return received


@asynccontextmanager
async def connected(app: ASGIApp, refused: list[int] | None = None) -> AsyncGenerator[Connection]:
    """A connection to `app`; the statuses of answers to what is no request go to `refused`."""

    def note_refusal(status: int, _: object) -> str:
        if refused is not None:
            refused.append(status)
        return "an id"

    config = Config(SETTINGS)
    config.app, config.factory = app, False
    config.load()
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            each.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    _, protocol = await asyncio.get_running_loop().connect_accepted_socket(
        lambda: Protocol(config, ServerState(), {REFUSED: note_refusal}), ours
    )
    with theirs:
        try:
            yield Connection(theirs, protocol)
        finally:
            protocol.cut()
            for task in protocol.tasks:
                task.cancel()
            await asyncio.gather(*protocol.tasks, return_exceptions=True)


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without a look at the body."""
    await ErrorResponse(404, "NAME_UNKNOWN", "no")(scope, receive, send)


async def test_every_refused_body_has_its_own_time() -> None:
    """A client that sends on after a refusal has header_timeout for that, and as much after the next one, however soon that comes."""
    async with connected(refuse) as connection:
        for _ in range(4):
            await connection.send(HEAD + b"x")
            connection.protocol.watch(10)
            assert not connection.protocol.transport.is_closing()
            await connection.send(b"x")
        await connection.send(HEAD + b"x")
        connection.protocol.watch(10)
        connection.protocol.watch(5)
        assert connection.protocol.transport.is_closing()


async def test_an_answers_end_that_is_never_taken() -> None:
    """A client that is about to be hung up on and leaves the last of its answer MUST be cut after body_timeout."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await ErrorResponse(404, "NAME_UNKNOWN", "x" * 50_000, headers={"Connection": "close"})(scope, receive, send)

    async with connected(answer) as connection:
        await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.protocol.transport.is_closing()
        for _ in range(29):
            connection.protocol.watch(1)
        assert connection.protocol.transport.get_write_buffer_size() > 0
        connection.protocol.watch(1)
        assert len(await connection.rest()) < 50_000


async def test_a_download_below_the_rate() -> None:
    """A client that takes all that there is now and then, but less than min_rate, MUST be cut: not only one that stalls."""
    chunk = b"x" * 100_000

    async def answer(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not protocol.transport.is_closing():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async with connected(answer) as connection:
        protocol = connection.protocol
        await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(6):
            assert not protocol.transport.is_closing()
            protocol.watch(5)
            await connection.receive(len(chunk))
        assert protocol.transport.is_closing()


class Waiting:
    """An application that answers when it may, and says whether its client was blamed meanwhile."""

    def __init__(self, *, begins: bool = False) -> None:
        self._begins = begins
        self.goes_on = asyncio.Event()
        self.states: list[dict[str, object]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        self.states.append(scope["state"])
        if self._begins:
            await self._begin(send)
        await self.goes_on.wait()
        if not self._begins:
            await self._begin(send)
        await send({"type": "http.response.body", "body": b"whole"})

    @staticmethod
    async def _begin(send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})


@pytest.mark.parametrize(
    ("begins", "sent"),
    [
        (False, b"GET / HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n"),
        (True, HEAD.replace(b"x", b"x\r\nConnection: close")),
    ],
    ids=["no request behind one", "a body after its answer has begun"],
)
async def test_nobody_is_blamed_for_what_is_not_awaited(begins: bool, sent: bytes) -> None:
    """A client whose turn it is not MUST have its answer, however long that takes."""
    app = Waiting(begins=begins)
    async with connected(app) as connection:
        await connection.send(sent)
        for _ in range(10):
            connection.protocol.watch(10)
        assert [TOO_SLOW in state for state in app.states] == [False]
        app.goes_on.set()
        assert (await connection.rest()).endswith(b"whole")


GET, CHUNKS = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
)


@pytest.mark.parametrize("pieces", [[GET + CHUNKS + b"zz\r\n"], [CHUNKS, b"zz\r\n"]], ids=["behind", "begun"])
async def test_garbage_in_a_body(pieces: list[bytes]) -> None:
    """An error document MUST never get into the answer to a request before it, nor into one that has begun: the connection ends."""
    async with connected(Waiting(begins=True)) as connection:
        for piece in pieces:
            await connection.send(piece)
        assert connection.protocol.transport.is_closing()
        assert b"errors" not in await connection.rest()


async def test_garbage_without_end() -> None:
    """What is no request MUST be refused once, however long it is."""
    refused: list[int] = []
    async with connected(refuse, refused) as connection:
        connection.protocol.data_received(b"nonsense" * 20_000)
        assert (await connection.rest()).count(b"HTTP/1.1 4") == 1
    assert refused == [400]
