"""Conditional requests: what the client has already is not sent again (RFC 9110, sections 13.1.2 and 13.1.5)."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

_KEPT = ("ETag", "Docker-Content-Digest", "Cache-Control")


def unchanged(request: Request, headers: Mapping[str, str]) -> Response | None:
    """The 304 in place of an answer with these headers, if If-None-Match has its ETag, by weak comparison; else None."""
    held = [each.strip(" \t") for line in request.headers.getlist("if-none-match") for each in line.split(",")]
    if not any(each == "*" or each.removeprefix("W/") == headers["ETag"] for each in held):
        return None
    return Response(status_code=304, headers={name: headers[name] for name in _KEPT if name in headers})


def is_range_of(request: Request, headers: Mapping[str, str]) -> bool:
    """Whether a Range is about an answer with these headers: by If-Range, which may name what the client has some of, by strong comparison."""
    return request.headers.get("if-range", headers["ETag"]).strip(" \t") == headers["ETag"]
