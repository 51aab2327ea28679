"""An HTTP/1.1 client that costs next to nothing: one blocking connection, and no copy of a large body on the way."""

import socket
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BufferedReader
from types import TracebackType
from typing import Self, TypeVar

Item = TypeVar("Item")

TIMEOUT = 120.0  # seconds for each piece of an answer
FRAME = 32 * 1024  # bytes of a chunk of what docker streams
_SINK = 1024 * 1024
_NO_BODY = {204, 304}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; the names of its headers are in lower case. A body that was dropped is empty."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Failed(Exception):
    """An answer that the benchmark did not expect."""


class Connection:
    """One connection to HOST:PORT, kept alive."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = address
        self._socket = socket.create_connection((host, int(port)), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = BufferedReader(socket.SocketIO(self._socket, "r"), 64 * 1024)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._answers.close()
        self._socket.close()

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | bytearray | memoryview = b"",
        *,
        expect: int | None = None,
        framed: bool = False,
        drop: bool = False,
    ) -> Answer:
        """Send a request and read its answer; raises Failed unless its status is the one to `expect`, if one is.

        A `framed` body is sent as it is, chunked by `frames` before; with `drop` the answer's is read and not kept.
        """
        length = "Transfer-Encoding: chunked" if framed else f"Content-Length: {len(body)}"
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._address}", length]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        head = "\r\n".join([*lines, "", ""]).encode()
        if len(body) <= FRAME:
            self._socket.sendall(head + body)
        else:
            self._socket.sendall(head)
            self._socket.sendall(body)
        answer = self._answer(method, drop=drop)
        if expect not in {None, answer.status}:
            raise Failed(f"{method} {target} was answered with {answer.status}: {answer.body[:200]!r}")
        return answer

    def _answer(self, method: str, *, drop: bool) -> Answer:
        first = self._answers.readline()
        if not first:
            raise Failed(f"{self._address} closed the connection")
        status = int(first.split(b" ", 2)[1])
        headers: dict[str, str] = {}
        while (line := self._answers.readline()) not in {b"\r\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if method == "HEAD" or status in _NO_BODY:
            return Answer(status, headers, b"")
        return Answer(status, headers, self._body(headers, drop=drop))

    def _body(self, headers: Mapping[str, str], *, drop: bool) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            return b"".join(self._frames())
        length = int(headers["content-length"])
        if not drop:
            return self._answers.read(length)
        sink = memoryview(bytearray(_SINK))
        while length and (taken := self._answers.readinto(sink[: min(length, _SINK)])):
            length -= taken
        if length:
            raise Failed(f"an answer of {self._address} ended {length} bytes too early")
        return b""

    def _frames(self) -> Iterable[bytes]:
        while size := int(self._answers.readline(), 16):
            yield self._answers.read(size)
            self._answers.readline()
        self._answers.readline()


def frames(content: bytes | bytearray) -> bytes:
    """`content` in chunks, as it goes over the wire."""
    view = memoryview(content)
    pieces: list[bytes | memoryview] = []
    for start in range(0, len(view), FRAME):
        piece = view[start : start + FRAME]
        pieces += [b"%x\r\n" % len(piece), piece, b"\r\n"]
    return b"".join([*pieces, b"0\r\n\r\n"])


def abreast(count: int, address: str, work: Callable[[Connection, Item], object], items: Iterable[Item]) -> None:
    """Do `work` for each item, over `count` connections at once; raises the first error."""
    waiting = iter(list(items))

    def some() -> None:
        with Connection(address) as connection:
            for item in waiting:
                work(connection, item)

    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(some) for _ in range(count)]:
            done.result()
