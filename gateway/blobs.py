"""Blobs: pull and delete. https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-blobs."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.conditions import is_range_of, unchanged
from gateway.errors import ErrorResponse
from gateway.requests import Unsatisfiable, byte_range, digest_of, name_of, registry_of
from storage.errors import MoorageError
from storage.references import Digest

_log = structlog.get_logger()

URL_LIFETIME = 20 * 60  # seconds
REDIRECT_FROM = 64 * 1024  # bytes; a smaller blob is sent sooner than another connection is made
_CACHE = "max-age=31536000, immutable"


class Blob:
    """/v2/<name>/blobs/<digest>."""

    async def head(self, request: Request) -> Response:
        """Say that the blob is there; never a redirect, which clients break on."""
        digest = digest_of(request)
        link = await registry_of(request).blobs.find(name_of(request), digest)
        headers = _headers(digest, link.size)
        return unchanged(request, headers) or Response(headers=headers)

    async def get(self, request: Request) -> Response:
        """Send the blob or one range of it, or lead to where the store serves it."""
        blobs, digest = registry_of(request).blobs, digest_of(request)
        link = await blobs.find(name_of(request), digest)
        headers = _headers(digest, link.size)
        if same := unchanged(request, headers):
            return same
        if request.app.state.redirect and link.size >= REDIRECT_FROM:
            url = await blobs.url(link, URL_LIFETIME)
            return RedirectResponse(url, 307, headers={"Docker-Content-Digest": str(digest)})
        try:
            wanted = byte_range(request, link.size) if is_range_of(request, headers) else None
        except Unsatisfiable:
            beyond = {"Content-Range": f"bytes */{link.size}"}
            return ErrorResponse(416, "SIZE_INVALID", f"the blob has {link.size} bytes", headers=beyond)
        if wanted is None:
            return _Content(_watched(await blobs.read(link, digest)), 200, headers)
        start, length = wanted
        headers |= {"Content-Length": str(length), "Content-Range": f"bytes {start}-{start + length - 1}/{link.size}"}
        return _Content(_watched(await blobs.read_range(link, start, length)), 206, headers)

    async def delete(self, request: Request) -> Response:
        """Remove the blob from this repository."""
        await registry_of(request).blobs.delete(name_of(request), digest_of(request))
        return Response(status_code=202)


async def _watched(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The chunks of a body; what ends it too early is logged, for the client sees no more than a connection that was cut."""
    async with aclosing(chunks):
        try:
            async for chunk in chunks:
                yield chunk
        except MoorageError as error:
            _log.error("blob cut short", error=str(error))
            raise


class _Content(StreamingResponse):
    """A stream of the store, closed at once when the client has gone."""

    def __init__(self, chunks: AsyncGenerator[bytes], status: int, headers: Mapping[str, str]) -> None:
        super().__init__(chunks, status, headers)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._chunks):
            await super().__call__(scope, receive, send)


def _headers(digest: Digest, size: int) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": _CACHE,
    }
