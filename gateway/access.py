"""The access log: a line for each request, once it has ended; and the ids by which its other lines are found.

Queries are left out, and the tokens of upload sessions, with which anyone could go on with an upload. Health checks and scrapes that
went well are no news.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any, NamedTuple

import msgspec
import structlog

from gateway.admission import ALWAYS
from gateway.logs import escaped, without_credentials, write_line
from gateway.metrics import OTHER

LONGEST_PATH = 1024  # characters
_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_SESSION = "{session}"
_UPLOAD = "/v2/{name}/blobs/uploads/{session}"
# Where a token belongs, and where a client may have put one by mistake: there it is known by its length and its capitals.
_TOKEN = re.compile(r"(?<=/blobs/uploads/)[^/]+|(?<=/)(?=[^/]*[A-Z])[A-Za-z0-9_-]{60,}(?![^/])")
_log = structlog.get_logger()


class Access(NamedTuple):
    """A request that has ended: the template of its route, bytes of bodies, seconds."""

    scope: Mapping[str, Any]
    route: str
    request_id: str
    status: int
    received: int
    sent: int
    seconds: float


class Line(msgspec.Struct):
    """What is written of a request. `user` is nobody, until there are users."""

    timestamp: datetime
    level: str
    event: str
    client: str | None
    user: str | None
    method: str
    path: str
    status: int
    received: int
    sent: int
    seconds: float
    request_id: str


def request_id(headers: list[tuple[bytes, bytes]], nonce: Callable[[], str]) -> str:
    """The id that the client, or a proxy before it, gave the request in X-Request-Id, if it is fit for a log; else a new one."""
    for name, value in headers:
        if name == b"x-request-id":
            return value.decode() if _ID.fullmatch(value) else nonce()
    return nonce()


def request_ids(start: str) -> Callable[[], str]:
    """Ids that count on from `start`, by which they differ from those of any other process."""
    return map(f"{start}{{:08x}}".format, count()).__next__


class AccessLog:
    """Writes the lines: as JSON past structlog, which would take several times as long for each; else as all other lines."""

    def __init__(self, clock: Callable[[], float], *, as_text: bool) -> None:
        self._clock = clock
        self._as_text = as_text
        self._encoder = msgspec.json.Encoder()

    def __call__(self, access: Access) -> None:
        """Write the line of a request."""
        if access.scope["path"] in ALWAYS and access.status < 400:  # noqa: PLR2004 - errors begin there
            return
        line = _line(access, datetime.fromtimestamp(self._clock(), UTC))
        if self._as_text:
            fields = msgspec.structs.asdict(line)
            del fields["timestamp"], fields["level"]
            _log.info(**fields)
        else:
            write_line(self._encoder.encode(line))


def _line(access: Access, now: datetime) -> Line:
    scope, client = access.scope, access.scope.get("client")
    return Line(
        timestamp=now,
        level="info",
        event="request",
        client=client[0] if client else None,
        user=None,
        method=scope["method"],
        path=_shown(scope, access.route),
        status=access.status,
        received=access.received,
        sent=access.sent,
        seconds=round(access.seconds, 6),
        request_id=access.request_id,
    )


def _shown(scope: Mapping[str, Any], route: str) -> str:
    """The path as it came, percent-encoded, without a session's token; nothing but printable ASCII."""
    raw: bytes | None = scope.get("raw_path")
    path: str = raw.partition(b"?")[0].decode("latin-1") if raw else scope["path"]
    if route in {_UPLOAD, OTHER}:
        path = _TOKEN.sub(_SESSION, path)
    if "://" in path:
        path = without_credentials(path)
    if len(path) > LONGEST_PATH:
        path = path[:LONGEST_PATH] + "..."
    return path if path.isascii() and path.isprintable() else escaped(path)
