"""A store whose process dies at one chosen request, and is dead from then on."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal, NoReturn

from storage.objects.contract import Capabilities, IncompleteUpload, ObjectInfo, ObjectStore, StoredObject

Moment = Literal["before", "within", "after"]


class Died(BaseException):
    """The process is no more. No code can handle that, so this is no Exception."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where a process dies: right before or after its request number `number`, counted from 1, or within the body it streams."""

    number: int
    moment: Moment


class DyingStore:
    """Decorates a store. From `arm` on it counts requests, and dies at the point given: `die` says how.

    Whoever has a request under way then, or makes one later, is part of the dead process, and gets no answer either. It says that it
    composes on the server, so that both ways to join segments are taken.
    """

    def __init__(self, inner: ObjectStore, die: Callable[[], NoReturn] | None = None) -> None:
        self._inner = inner
        self._die = die or _raise
        self._point: Point | None = None
        self._is_dead = False
        self.requests: list[str] = []

    def arm(self, point: Point | None) -> None:
        """Count from here on, and die at `point`."""
        self._point = point
        self.requests.clear()

    @property
    def has_died(self) -> bool:
        """Whether the point was reached."""
        return self._is_dead

    @property
    def capabilities(self) -> Capabilities:
        """See ObjectStore.capabilities."""
        return replace(self._inner.capabilities, part_copy=True)

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        async with self._request("get"):
            return await self._inner.get(key)

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """See ObjectStore.get_if_changed."""
        async with self._request("get"):
            return await self._inner.get_if_changed(key, etag)

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range."""
        async with self._request("get"):
            return await self._inner.get_range(key, start, length)

    async def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head."""
        async with self._request("head"):
            return await self._inner.head(key)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        async with self._request("put"):
            return await self._inner.put(key, body, if_absent=if_absent, if_match=if_match)

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """See ObjectStore.put_stream. Within it means after the first chunk, if there is one."""
        async with self._request("stream") as number:
            return await self._inner.put_stream(key, self._streamed(chunks, Point(number, "within")))

    async def compose(self, key: str, sources: Sequence[tuple[str, int]]) -> None:
        """See ObjectStore.compose."""
        async with self._request("compose"):
            await self._inner.compose(key, sources)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete."""
        async with self._request("delete"):
            await self._inner.delete(key, if_match=if_match)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many."""
        async with self._request("delete"):
            await self._inner.delete_many(keys)

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """See ObjectStore.list."""
        async with (
            self._request("list"),
            aclosing(self._inner.list(prefix, start_after=start_after, limit=limit)) as listing,
        ):
            found = [info async for info in listing]
        for info in found:
            yield info

    async def presign_get(self, key: str, expires: int) -> str:
        """See ObjectStore.presign_get."""
        return await self._inner.presign_get(key, expires)

    def list_incomplete_uploads(self) -> AsyncGenerator[IncompleteUpload]:
        """See ObjectStore.list_incomplete_uploads."""
        return self._inner.list_incomplete_uploads()

    async def abort_incomplete_upload(self, upload: IncompleteUpload) -> None:
        """See ObjectStore.abort_incomplete_upload."""
        async with self._request("delete"):
            await self._inner.abort_incomplete_upload(upload)

    async def close(self) -> None:
        """See ObjectStore.close."""
        await self._inner.close()

    @asynccontextmanager
    async def _request(self, kind: str) -> AsyncIterator[int]:
        """One request, whatever comes of it; others go on meanwhile, as with a real store."""
        self._live(None)
        self.requests.append(kind)
        number = len(self.requests)
        self._live(Point(number, "before"))
        await asyncio.sleep(0)
        try:
            yield number
        finally:
            self._live(Point(number, "after"))

    async def _streamed(self, chunks: AsyncIterable[bytes], point: Point) -> AsyncGenerator[bytes]:
        async for chunk in chunks:
            yield chunk
            self._live(point)
        self._live(point)

    def _live(self, point: Point | None) -> None:
        """Die if this is the point; raise if the process is dead already."""
        if self._is_dead:
            raise Died
        if point is not None and point == self._point:
            self._is_dead = True
            self._die()


def _raise() -> NoReturn:
    raise Died


def points(requests: Sequence[str]) -> list[Point]:
    """Every point at which a process that makes these requests may die."""
    found = []
    for number, kind in enumerate(requests, 1):
        found += [Point(number, "before"), Point(number, "after")]
        if kind == "stream":
            found.append(Point(number, "within"))
    return found
