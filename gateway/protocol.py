"""The HTTP/1.1 protocol of uvicorn, with patience that ends, and answers in our shape to what never becomes a request.

There is no timer for a connection or a request: the server calls `watch` on every connection twice a second, and what happens in
between only counts bytes. So patience costs a request next to nothing, and is half a second coarse.
"""

from asyncio import AbstractEventLoop, BaseTransport, Transport
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.errors import REFUSALS, RETRY_AFTER, TOO_SLOW, ErrorResponse
from gateway.pace import Bounds, Pace
from gateway.settings import Settings

if TYPE_CHECKING:
    from array import array

REFUSED = "moorage.refused"  # in the application's state: see Watch.refused
MAX_HEAD = 64 * 1024  # bytes of a request line and its headers
MAX_WAITING = 16  # requests behind the one that is served: thousands of them fit into what is read at once
_HEAD_TOO_LARGE = f"the head of a request has at most {MAX_HEAD} bytes"


class Config(uvicorn.Config):
    """uvicorn's configuration, with our settings for the protocol and the server."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            "gateway.worker:application",
            factory=True,
            loop="uvloop",
            http=Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(settings.keep_alive),
        )
        self.settings = settings


class Protocol(HttpToolsProtocol):
    """One connection.

    A client has `header_timeout` for the head of a request, from the connection or the head's first byte on. It must keep the body
    coming, and keep taking the answer, as `body_timeout` and `min_rate` demand. What it still sends of a request that was answered
    already is ignored for as long as a head may take.
    """

    parser: "_Parser"

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        settings = config.settings
        self._note_refusal: Callable[[int, tuple[str, int] | None], str] = app_state[REFUSED]
        self._max_connections = settings.max_connections
        self._header_timeout: float = settings.header_timeout
        self._bounds = Bounds(settings.body_timeout, settings.min_rate)
        self.parser = _Parser(self)
        self._received = 0
        self._bodiless = 0
        self._head_waited: float | None = 0.0  # None while no head is awaited
        self._head_size = 0
        self._message_open = False
        self._lingered = 0.0
        self._inward = Pace()
        self._outward = Pace()
        self._delivered = 0  # of what was written, as far as it was watched
        self._unsent = 0
        self._served: RequestResponseCycle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Greet a client, or turn it away if there are too many."""
        full = len(self.connections) >= self._max_connections
        super().connection_made(cast("Transport", transport))
        if full:
            self._refuse(503, "there are too many connections; try again")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is served that its client has gone: uvicorn tells the latest, which may only wait behind it."""
        if self._served:
            self._served.disconnected = True
            self._served.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; refuse a head that is too long."""
        self._received += len(data)
        if self._head_waited is None and not self._message_open:
            self._head_waited = 0.0
        in_head = self._head_waited is not None
        if in_head:
            self._head_size += len(data)
        self._bodiless += len(data)
        super().data_received(data)
        if not in_head and self._bodiless > MAX_HEAD:
            self.cut()
        if in_head and self._head_size > MAX_HEAD and self._head_waited is not None and not self.transport.is_closing():
            self._refuse(431, _HEAD_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's words are for programmers
        """Answer what cannot be parsed, and hang up."""
        self._refuse(400, "this is no HTTP/1.1 request")

    def on_message_begin(self) -> None:
        """Note that a request begins; one too many is none, and so nothing behind it is parsed either."""
        if len(self.pipeline) >= MAX_WAITING:
            raise HttpParserError("too many requests wait on this connection")
        self._message_open, self._lingered = True, 0.0
        if self._head_waited is None:  # right behind another one
            self._head_waited = 0.0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, but no trailer: those behind a body may be dropped (RFC 9110, section 6.5.1)."""
        if self._head_waited is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to serve; what follows is the body."""
        if self.parser.is_offer:
            return
        # The size in hand counts the body's first bytes too: only now is it known what was head.
        if self._head_size > MAX_HEAD and self._size_of_head() > MAX_HEAD:
            self.app = self._refusal(431, _HEAD_TOO_LARGE)
        self._head_waited, self._head_size, self._bodiless = None, 0, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take some of the body."""
        self._bodiless = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request has arrived whole."""
        if self.parser.is_offer:
            return
        self._message_open = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client takes its answer more slowly than it is sent."""
        self._unsent = self.transport.get_write_buffer_size()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has taken what there was."""
        self._note_delivery()
        super().resume_writing()

    def watch(self, elapsed: float) -> None:
        """Hang up on a client that has had its time, `elapsed` seconds after the last look."""
        if self.flow.write_paused or self.transport.is_closing():
            self._note_delivery()
            if self._outward.is_too_slow(elapsed, self._delivered, self._bounds):
                self.cut()
        elif cycle := self._busy():
            self._watch_body(cycle, elapsed)
        elif self._head_waited is not None:
            self._watch_head(elapsed)
        elif self._message_open:
            self._watch_leftovers(elapsed)

    def cut(self) -> None:
        """End the connection at once; who serves a request on it is told that the client has gone."""
        self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def _watch_head(self, elapsed: float) -> None:
        assert self._head_waited is not None  # noqa: S101 - as its caller has seen
        self._head_waited += elapsed
        if self._head_waited < self._header_timeout:
            return
        if self._received:
            self._refuse(408, f"the head of a request must arrive within {self._header_timeout:g} s")
        else:
            self.transport.close()

    def _watch_body(self, cycle: RequestResponseCycle, elapsed: float) -> None:
        if not self._message_open or cycle.response_started:
            self._inward.begin(self._received)
        elif cycle.waiting_for_100_continue or self.flow.read_paused:
            self._inward.rest(self._received)
        elif self._inward.is_too_slow(elapsed, self._received, self._bounds):
            cycle.scope["state"][TOO_SLOW] = True
            cycle.message_event.set()

    def _watch_leftovers(self, elapsed: float) -> None:
        self._lingered += elapsed
        if self._lingered >= self._header_timeout:
            self.cut()

    def _note_delivery(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._delivered += max(0, self._unsent - unsent)
        self._unsent = unsent

    def _busy(self) -> RequestResponseCycle | None:
        """The latest request, unless it is answered."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle if cycle and not cycle.response_complete else None

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _refuse(self, status: int, message: str) -> None:
        """Answer what is no request, and hang up.

        Behind requests that are being served their answers are the last. In the body of one it is its answer, unless that has begun.
        """
        cycle, in_body = self._busy(), self._message_open and self._head_waited is None
        if cycle and not in_body:
            cycle.keep_alive = self._message_open = False
            return
        if cycle and (cycle.response_started or self.pipeline):
            self.cut()
            return
        response = self._refusal(status, message)
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        fields = b"".join(b"%s: %s\r\n" % field for field in response.raw_headers)
        self.transport.write(b"%s%s\r\n%s" % (head, fields, response.body))
        self.transport.close()

    def _refusal(self, status: int, message: str) -> ErrorResponse:
        headers = {"Connection": "close", "X-Request-Id": self._note_refusal(status, self.client)}
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = str(RETRY_AFTER)
        return ErrorResponse(status, REFUSALS[status], message, headers=headers)


class _Parser(HttpRequestParser):
    """httptools' parser, for a server that upgrades to nothing: RFC 9110, section 7.8, has such a request served as any other.

    httptools ends one that offers an upgrade (Java's client does, for HTTP/2) behind its head, and takes its body for the next.
    """

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        self._protocol = protocol

    @property
    def is_offer(self) -> bool:
        """Whether the request offers an upgrade, and so is going to come again without the offer."""
        return self.should_upgrade() and self.get_method() != b"CONNECT"

    def feed_data(self, data: "bytes | bytearray | memoryview[int] | array[int]") -> None:
        """Parse `data`; a head that ends in it and offers an upgrade is parsed again without."""
        while data:
            try:
                super().feed_data(data)
            except HttpParserUpgrade as upgrade:
                if not self.is_offer:
                    raise
                head = self._head_without_offer()
                super().__init__(self._protocol)  # from the start: the last request of a connection closes the parser
                super().feed_data(head)
                data = data[upgrade.args[0] :]
            else:
                return

    def _head_without_offer(self) -> bytes:
        version = self.get_http_version().encode()
        head = [b"%s %s HTTP/%s\r\n" % (self.get_method(), self._protocol.url, version)]
        for name, value in self._protocol.headers:
            if name == b"connection":
                kept = [each for each in value.split(b",") if each.strip().lower() != b"upgrade"]
                head.append(b"connection: %s\r\n" % b",".join(kept))
            else:
                head.append(b"%s: %s\r\n" % (name, value))
        return b"".join([*head, b"\r\n"])
