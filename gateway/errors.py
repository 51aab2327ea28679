"""How errors leave the gateway: one table, and always the OCI error document.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes. UNAVAILABLE, for a store that does not answer, and
UNKNOWN, for what is our own fault, are CNCF distribution's.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from storage import errors

RETRY_AFTER = 5
TOO_SLOW = "moorage.too_slow"  # in a request's state: its client has had its time
_log = structlog.get_logger()


class TooSlow(Exception):
    """The client has sent nothing of its body, or too little, for too long."""


TABLE: dict[type[Exception], tuple[int, str]] = {
    errors.NameInvalid: (400, "NAME_INVALID"),
    errors.DigestInvalid: (400, "DIGEST_INVALID"),
    errors.TagInvalid: (400, "MANIFEST_INVALID"),
    errors.SizeInvalid: (400, "SIZE_INVALID"),
    errors.ManifestInvalid: (400, "MANIFEST_INVALID"),
    errors.PageInvalid: (400, "UNSUPPORTED"),
    errors.NameUnknown: (404, "NAME_UNKNOWN"),
    errors.BlobUnknown: (404, "BLOB_UNKNOWN"),
    errors.ManifestUnknown: (404, "MANIFEST_UNKNOWN"),
    errors.UploadUnknown: (404, "BLOB_UPLOAD_UNKNOWN"),
    errors.ReferencesUnknown: (400, "MANIFEST_BLOB_UNKNOWN"),
    errors.UploadInvalid: (400, "BLOB_UPLOAD_INVALID"),
    errors.OutOfOrder: (416, "BLOB_UPLOAD_INVALID"),
    errors.TooLarge: (413, "SIZE_INVALID"),
    errors.Unavailable: (503, "UNAVAILABLE"),
    errors.Contended: (503, "UNAVAILABLE"),
    errors.Denied: (503, "UNAVAILABLE"),
    TooSlow: (408, "BLOB_UPLOAD_INVALID"),
}
HTTP_CODES = {404: "NAME_UNKNOWN", 405: "UNSUPPORTED", 414: "MANIFEST_INVALID"}
# What is refused before it reaches a route.
REFUSALS = {400: "UNSUPPORTED", 408: "UNSUPPORTED", 429: "TOOMANYREQUESTS", 431: "UNSUPPORTED", 503: "UNAVAILABLE"}


class ErrorResponse(Response):
    """An OCI error document; with one entry for each digest that is `missing`, if that is what is wrong."""

    media_type = "application/json"

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        missing: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        entries: list[dict[str, Any]] = [
            {"code": code, "message": f"{message}: {digest}", "detail": {"digest": digest}} for digest in missing
        ]
        entries = entries or [{"code": code, "message": message, "detail": None}]
        super().__init__(msgspec.json.encode({"errors": entries}), status, headers)


def registry_error(error: Exception) -> Response:
    """The answer to an error of the table."""
    status, code = _entry(error)
    if isinstance(error, errors.ReferencesUnknown):
        return ErrorResponse(status, code, str(error), missing=error.missing)
    return ErrorResponse(status, code, str(error))


def unavailable(message: str, retry_after: float | None = None) -> ErrorResponse:
    """The answer to what is worth a retry, `retry_after` seconds from now if that is known."""
    status, code = TABLE[errors.Unavailable]
    return ErrorResponse(status, code, message, headers={"Retry-After": str(ceil(max(retry_after or 0, RETRY_AFTER)))})


def store_failed(error: Exception) -> Response:
    """The answer when the store is away or refuses us, or all took too long; what was said is for our log, but for when to come again."""
    _log.error("store failed", error=str(error))
    if isinstance(error, errors.Denied):
        return unavailable("the object store refuses the gateway what this takes; the log says why")
    later = error.retry_after if isinstance(error, errors.Unavailable) else None
    return unavailable("what this takes of the object store failed or took too long; try again", later)


def damaged(error: Exception) -> Response:
    """The answer when what the bucket holds is not what moorage wrote: the log names the key, which may be another repository's."""
    _log.error("damaged record", error=str(error))
    return ErrorResponse(500, "UNKNOWN", "what the object store holds for this was damaged; the log names the key")


def contended(_: Exception) -> Response:
    """The answer when too many change the same thing at once; the store is well."""
    return unavailable("too many are changing this at once; try again")


def http_error(error: Exception) -> Response:
    """The answer to a path or method that there is none of."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for nothing else
    code = HTTP_CODES.get(error.status_code, "UNSUPPORTED")
    return ErrorResponse(error.status_code, code, error.detail, headers=error.headers)


def disconnected(_: Exception) -> Response:
    """The answer to a client that has gone: nobody reads it, but it ends the request in the log."""
    return ErrorResponse(400, "BLOB_UPLOAD_INVALID", "the client closed the connection before the body's end")


def too_slow(error: Exception) -> Response:
    """The answer to a client that stalls; what it may send yet is not waited for."""
    status, code = _entry(error)
    return ErrorResponse(status, code, "the body came too slowly", headers={"Connection": "close"})


def answer_to(error: Exception) -> Response:
    """The answer to an error that a request has raised; raises it again if nobody foresaw it."""
    for kind in type(error).__mro__:
        if handler := HANDLERS.get(kind):
            return handler(error)
    raise error


def unexpected(error: Exception) -> Response:
    """The answer to anything else: it tells nothing, the log tells all."""
    _log.error("unexpected error", exc_info=error)
    return ErrorResponse(500, "UNKNOWN", "internal error")


def _entry(error: Exception) -> tuple[int, str]:
    """Status and code of an error, or of the nearest kind of it that the table has."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


HANDLERS: Mapping[type[Exception], Callable[[Exception], Response]] = {
    **dict.fromkeys(TABLE, registry_error),
    errors.Unavailable: store_failed,
    errors.Contended: contended,
    errors.Denied: store_failed,
    errors.CorruptRecord: damaged,
    HTTPException: http_error,
    ClientDisconnect: disconnected,
    TooSlow: too_slow,
}
