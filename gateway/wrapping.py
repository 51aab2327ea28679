"""What wraps every request: admission, headers, a check of the path, an answer to what nobody foresaw; what is measured and logged of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

import structlog
from prometheus_client import CollectorRegistry
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access import Access, request_id, request_ids
from gateway.admission import ALWAYS, Admission
from gateway.errors import HTTP_CODES, TOO_SLOW, ErrorResponse, TooSlow, unexpected
from gateway.exposure import Exposure
from gateway.health import DRAINING
from gateway.logs import REQUEST_ID
from gateway.metrics import Metrics, route_of

CLIENT_GONE = 499  # as nginx has it: the client went away before its answer was complete
_UPLOADS = "/v2/{name}/blobs/uploads/"
_API_VERSION = (b"docker-distribution-api-version", b"registry/2.0")
_log = structlog.get_logger()
_TELL_EVERY = 1024 * 1024  # bytes of a body, so that a long transfer shows while it goes on


@dataclass(frozen=True, slots=True)
class Watch:
    """What is noted of each request, and where.

    `nonce` gives ids to requests that have none, `timer` seconds that only grow.
    """

    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))
    exposure: Exposure = field(default_factory=Exposure)
    log_access: Callable[[Access], None] | None = None
    nonce: Callable[[], str] = field(default_factory=lambda: request_ids(""))
    timer: Callable[[], float] = perf_counter

    def refused(self, status: int, client: tuple[str, int] | None) -> str:
        """Note an answer to what never became a request; the id that it has."""
        identifier = self.nonce()
        self.metrics.refused(status)
        if self.log_access:
            _log.info("refused", client=client[0] if client else None, status=status, request_id=identifier)
        return identifier


class Wrapping:
    """Plain ASGI middleware, for requests alone."""

    def __init__(self, app: ASGIApp, admission: Admission, watch: Watch) -> None:
        self._app = app
        self._admission = admission
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        exchange = Exchange(scope, receive, send, self._watch)
        exchange.begin()
        try:
            await self._admitted(scope, exchange.receive, exchange.send)
        except Exception as error:
            if (
                exchange.status
            ):  # too late to say so: the server cuts the connection, so that nobody takes the body for whole
                exchange.cut = True
                raise
            await unexpected(error)(scope, exchange.receive, exchange.send)
        finally:
            exchange.end()

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, or turn the request away."""
        refusal = self._admission.enter(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        try:
            await self._answering(scope)(scope, receive, send)
        finally:
            self._admission.leave(scope)

    def _answering(self, scope: Scope) -> ASGIApp:
        if self._watch.exposure.excludes(scope):
            return _NOT_HERE
        return _HIDDEN_SLASH if _hides_slash(scope) else self._app


class Exchange:
    """One request and its answer, as they pass."""

    __slots__ = (
        "_began", "_finished", "_gone", "_receive", "_scope", "_send", "_state", "_told", "_uploads", "_waits", "_watch",
        "cut", "id", "received", "sent", "status",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send, watch: Watch) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._watch = watch
        self._state = scope.setdefault("state", {})
        self._waits = _waits_to_send(scope)
        self._gone = self._finished = self._uploads = self.cut = False
        self.status = self.received = self.sent = 0
        self._told = (0, 0)
        self.id = request_id(scope["headers"], watch.nonce)
        self._began = watch.timer()

    def begin(self) -> None:
        """Note that the request is under way; all that is logged in its task from now on has its id."""
        REQUEST_ID.set(self.id)
        if self._scope["path"] not in ALWAYS:
            self._watch.metrics.in_flight.inc()

    async def receive(self) -> Message:
        """The next message of the client; raises TooSlow."""
        self._waits = False
        message = await self._receive()
        if TOO_SLOW in self._state:
            raise TooSlow
        if message["type"] == "http.disconnect":
            self._gone = True
        elif body := message["body"]:
            self.received += len(body)
            self._note_upload()
            self._tell(_TELL_EVERY)
        return message

    async def send(self, message: Message) -> None:
        """Pass on a message of the application."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            # A new list, for the application's may be that of a response which answers many requests.
            message["headers"] = [*message["headers"], _API_VERSION, (b"x-request-id", self.id.encode())]
            # A client that waits may send its body or not: what comes next on this connection is anybody's guess.
            if self._waits or DRAINING in self._state:
                MutableHeaders(scope=message)["Connection"] = "close"
        await self._send(message)
        if message["type"] == "http.response.body" and not self._gone:
            if self._scope["method"] != "HEAD":
                self.sent += len(message.get("body", b""))
            self._finished = not message.get("more_body", False)
            self._tell(_TELL_EVERY)

    def end(self) -> None:
        """Measure and log the request."""
        seconds, metrics, scope = self._watch.timer() - self._began, self._watch.metrics, self._scope
        route, status = route_of(scope), self._outcome()
        metrics.served(route, scope["method"], status, seconds)
        self._tell(1)
        if scope["path"] not in ALWAYS:
            metrics.in_flight.dec()
        if self._uploads:
            metrics.open_uploads.dec()
        if self._watch.log_access:
            self._watch.log_access(Access(scope, route, self.id, status, self.received, self.sent, seconds))

    def _outcome(self) -> int:
        """The status that was sent, unless the answer never arrived whole: by the client's doing, or by ours."""
        if self.cut:
            return 500
        return self.status if self._finished else CLIENT_GONE

    def _tell(self, least: int) -> None:
        """Measure the bytes that have passed since the last time, if there are that many."""
        received, sent = self.received - self._told[0], self.sent - self._told[1]
        if received + sent >= least:
            self._told = (self.received, self.sent)
            self._watch.metrics.moved(route_of(self._scope), self._scope["method"], received, sent)

    def _note_upload(self) -> None:
        """Note that a blob is arriving, with its first bytes."""
        if not self._uploads and route_of(self._scope).startswith(_UPLOADS):
            self._uploads = True
            self._watch.metrics.open_uploads.inc()


def _waits_to_send(scope: Scope) -> bool:
    """Whether the client sends its body only once it is told to go on (RFC 9110, section 10.1.1)."""
    return any(name == b"expect" for name, _ in scope["headers"])


def _hides_slash(scope: Scope) -> bool:
    """Whether the path has an encoded slash, which a proxy in front may take for part of a name and we for a separator."""
    return b"%2f" in scope.get("raw_path", b"").partition(b"?")[0].lower()


_HIDDEN_SLASH = ErrorResponse(400, "NAME_INVALID", "slashes in a path must not be percent-encoded")
_NOT_HERE = ErrorResponse(404, HTTP_CODES[404], "Not Found")
