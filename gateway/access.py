"""The access log: a line for each request, once it has ended; and the ids by which its other lines are found.

Queries are left out, and the tokens of upload sessions, with which anyone could go on with an upload. Health checks and scrapes that
went well are no news.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from gateway.metrics import OTHER

QUIET = frozenset({"/livez", "/readyz", "/metrics"})
LONGEST_PATH = 1024  # characters
_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_SESSION = "{session}"
_UPLOAD = "/v2/{name}/blobs/uploads/{session}"
# Where a token belongs, and where a client may have put one by mistake: there it is known by its length and its capitals.
_TOKEN = re.compile(r"(?<=/blobs/uploads/)[^/]+|(?<=/)(?=[^/]*[A-Z])[A-Za-z0-9_-]{60,}(?![^/])")
_log = structlog.get_logger()


def request_id(headers: list[tuple[bytes, bytes]], nonce: Callable[[], str]) -> str:
    """The id that the client, or a proxy before it, gave the request in X-Request-Id, if it is fit for a log; else a new one."""
    for name, value in headers:
        if name == b"x-request-id":
            return value.decode() if _ID.fullmatch(value) else nonce()
    return nonce()


def log_access(  # noqa: PLR0913 - the fields of a line
    scope: Mapping[str, Any], route: str, *, status: int, received: int, sent: int, seconds: float
) -> None:
    """Write the line of a request. `user` is nobody, until there are users."""
    path = scope["path"]
    if path in QUIET and status < 400:  # noqa: PLR2004 - errors begin there
        return
    client = scope.get("client")
    _log.info(
        "request",
        client=client[0] if client else None,
        user=None,
        method=scope["method"],
        path=_shown(scope, route),
        status=status,
        received=received,
        sent=sent,
        seconds=round(seconds, 6),
    )


def _shown(scope: Mapping[str, Any], route: str) -> str:
    """The path as it came, percent-encoded, without a session's token."""
    path: str = scope["raw_path"].partition(b"?")[0].decode("latin-1") if scope.get("raw_path") else scope["path"]
    if route in {_UPLOAD, OTHER}:
        path = _TOKEN.sub(_SESSION, path)
    return path if len(path) <= LONGEST_PATH else path[:LONGEST_PATH] + "..."
