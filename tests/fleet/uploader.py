"""Requests as a patient client makes them: each to a gateway drawn by lot, again after a 503, and from where an upload broke off."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx

from storage.references import Digest

_TRIES = 8
_PAUSE = 0.2
_STYLES = ("post", "put", "stream", "chunks", "last chunk in put", "mount")


class Uploader:
    """Counts what it does into `counts`, and adds to `wrong` every answer that no client should get.

    Uploads may expire while they are under way if they are `lapsing`.
    """

    def __init__(
        self,
        gateways: Sequence[httpx.AsyncClient],
        chance: random.Random,
        counts: Counter[str],
        wrong: list[str],
        *,
        lapsing: bool = False,
    ) -> None:
        self._gateways, self._chance = gateways, chance
        self._counts, self._wrong = counts, wrong
        self._lapsing = lapsing

    async def ask(self, method: str, path: str, expected: set[int], **request: Any) -> httpx.Response | None:
        """The answer, which MUST have one of these statuses; None if there was none in a number of attempts."""
        for number in range(_TRIES):
            await asyncio.sleep(_PAUSE * number)
            answer = await self._once(method, path, **request)
            if answer is not None:
                return answer if self._is_one_of(answer, expected) else None
        self._counts["given up"] += 1
        return None

    async def download(self, name: str, digest: str) -> None:
        """Pull a blob, which MUST be there and be what its digest says."""
        answer = await self.ask("GET", f"/v2/{name}/blobs/{digest}", {200})
        if answer is not None and str(Digest.of(answer.content, digest.partition(":")[0])) != digest:
            self._wrong.append(f"{name}: the blob {digest} has other bytes")

    async def upload(self, name: str, content: bytes, other: str) -> bool:
        """Push a blob in one of the styles, a mount from the repository `other` among them; whether it was acknowledged."""
        style = self._chance.choice(_STYLES)
        self._counts[f"blob by {style}"] += 1
        path, digest = f"/v2/{name}/blobs/uploads/", str(Digest.of(content))
        if style == "post":
            return await self.ask("POST", path, {201}, params={"digest": digest}, content=content) is not None
        mount = {"mount": digest, "from": other} if style == "mount" else {}
        begun = await self.ask("POST", path, {201, 202} if mount else {202}, params=mount)
        if begun is None or begun.status_code == httpx.codes.CREATED:
            return begun is not None
        return await self._send(begun.headers["Location"], content, digest, style)

    async def _send(self, begun: str, content: bytes, digest: str, style: str) -> bool:
        """The content in as many pieces as the style has, then the closing PUT with what is left."""
        count = {"stream": 1, "chunks": 4, "last chunk in put": 2}.get(style, 0)
        in_patches = len(content) if style in {"stream", "chunks"} else len(content) * count // 3
        location: str | None = begun
        sent, size = 0, -(-in_patches // count) if count else 0
        while sent < in_patches and location is not None:
            location = await self._patch(
                location, content, sent, min(sent + size, in_patches), streamed=style == "stream"
            )
            sent += size
        if location is None:
            return False
        rest = content[in_patches:]
        headers = {"Content-Range": f"{in_patches}-{len(content) - 1}"} if rest else {}
        answer = await self.ask("PUT", location, {201}, params={"digest": digest}, content=rest, headers=headers)
        return answer is not None

    async def _patch(self, location: str, content: bytes, start: int, end: int, *, streamed: bool) -> str | None:
        """Send content[start:end]; after a failure, what of it is not durable yet. The Location to go on with."""
        at = start
        for number in range(_TRIES):
            await asyncio.sleep(_PAUSE * number)
            headers = {} if streamed and at == 0 else {"Content-Range": f"{at}-{end - 1}"}
            body = _pieces(content[at:end]) if streamed else content[at:end]
            answer = await self._once("PATCH", location, content=body, headers=headers)
            if answer is not None:
                return answer.headers["Location"] if self._is_one_of(answer, {202}) else None
            self._counts["upload resumed"] += 1
            status = await self.ask("GET", location, {204})
            if status is None:
                return None
            location, at = status.headers["Location"], _durable(status)
            if at == end:
                return location
        self._counts["given up"] += 1
        return None

    async def _once(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        """The answer, or None for one that asks to try again; only a body may break off, and only on its way here."""
        try:
            answer = await self._chance.choice(self._gateways).request(method, path, **request)
        except httpx.TransportError as error:
            self._counts["broken off"] += 1
            if method != "GET":
                self._wrong.append(f"{method} {path}: {error!r}")
            return None
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return answer
        self._counts["503"] += 1
        if "Retry-After" not in answer.headers:
            self._wrong.append(f"{method} {path} answers 503 without Retry-After")
        return None

    def _is_one_of(self, answer: httpx.Response, expected: set[int]) -> bool:
        if answer.status_code in expected:
            return True
        if self._lapsing and "BLOB_UPLOAD_UNKNOWN" in answer.text:
            self._counts["upload expired"] += 1
            return False
        request = answer.request
        self._wrong.append(f"{request.method} {request.url.path} answers {answer.status_code}: {answer.text[:500]}")
        return False


def _durable(status: httpx.Response) -> int:
    """How many bytes a gateway has; `0-0` stands for none."""
    last = int(status.headers["Range"].removeprefix("0-"))
    return last + 1 if last else 0


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 64 * 1024):
        yield content[at : at + 64 * 1024]
