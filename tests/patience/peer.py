"""A client that can misbehave: a plain socket, and what comes back on it."""

import json
import select
import socket
from collections.abc import Callable
from time import monotonic, sleep
from types import TracebackType
from typing import Any, NamedTuple, Self

WITHIN = 60.0  # seconds that anything may take on a machine that is busy


class Answer(NamedTuple):
    """An answer with a Content-Length, or none for a connection that ended without one (status 0)."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of an OCI error document."""
        document: dict[str, Any] = json.loads(self.body)
        return str(document["errors"][0]["code"])


class Peer:
    """One connection to 127.0.0.1:`port`, from the address `source`."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), WITHIN, (source, 0))
        self._received = b""

    def send(self, data: bytes) -> None:
        """Send `data`, whether the gateway still listens or not."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def begin(self, method: str, path: str, length: int, *headers: str) -> None:
        """Send the head of a request whose body is to have `length` bytes."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    def answer(self) -> Answer:
        """The next answer."""
        while b"\r\n\r\n" not in self._received:
            if not self._receive():
                return Answer(0, {}, self._received)
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._received) < length and self._receive():
            pass
        body, self._received = self._received[:length], self._received[length:]
        return Answer(int(first.split()[1]), headers, body)

    def ask(self, path: str) -> Answer:
        """The answer to a GET."""
        self.begin("GET", path, 0)
        return self.answer()

    def receive(self, size: int) -> bytes:
        """At most `size` bytes as they come, none at the end; a connection that was reset has ended too."""
        try:
            return self._socket.recv(size)
        except ConnectionResetError:
            return b""

    def has_heard(self, within: float) -> bool:
        """Whether there is something to receive, or the connection has ended."""
        return bool(select.select([self._socket], [], [], within)[0])

    def is_closed(self) -> bool:
        """Whether the gateway hangs up without another word; waits for it."""
        return not self._received and not self.receive(1)

    def close(self) -> None:
        """Vanish: what is unsent is lost."""
        self._socket.close()

    def _receive(self) -> bool:
        data = self.receive(65536)
        self._received += data
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait until `holds`; an AssertionError that says `what` if it takes too long."""
    deadline = monotonic() + WITHIN
    while not holds():
        assert monotonic() < deadline, f"not within {WITHIN} s: {what}"
        sleep(0.05)
