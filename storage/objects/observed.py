"""Tells an observer what is asked of a store, how long that took, and what failed."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from storage.objects.contract import PAGE, Capabilities, IncompleteUpload, ObjectInfo, ObjectStore, StoredObject
from storage.objects.parts import FIRST_PART
from storage.observing import Observer, failure_of

_operation: ContextVar[str] = ContextVar("operation", default="other")


def current_operation() -> str:
    """The operation of the store contract that this task is in the middle of."""
    return _operation.get()


class ObservedStore:
    """Decorates a store. An operation lasts until its answer begins, so that of a stream the rest is not counted.

    `timer` gives seconds that only grow. Requests are counted as S3 bills them, without those that are repeated: a page of a listing
    is one, and so is a part of a stream.
    """

    def __init__(self, inner: ObjectStore, observer: Observer, timer: Callable[[], float]) -> None:
        self._inner = inner
        self._observer = observer
        self._timer = timer

    @property
    def capabilities(self) -> Capabilities:
        """See ObjectStore.capabilities."""
        return self._inner.capabilities

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        with self._watch("get"):
            return await self._inner.get(key)

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """See ObjectStore.get_if_changed."""
        with self._watch("get_if_changed"):
            return await self._inner.get_if_changed(key, etag)

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range."""
        with self._watch("get_range"):
            chunks = await self._inner.get_range(key, start, length)
        return self._streamed(chunks)

    async def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head."""
        with self._watch("head"):
            return await self._inner.head(key)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        with self._watch("put"):
            return await self._inner.put(key, body, if_absent=if_absent, if_match=if_match)

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """See ObjectStore.put_stream. It lasts as long as the chunks take to come."""
        size = 0

        async def measured() -> AsyncGenerator[bytes]:
            nonlocal size
            async for chunk in chunks:
                size += len(chunk)
                watch.requests = 1 if size <= FIRST_PART else 2 - (-size // FIRST_PART)
                yield chunk

        with self._watch("put_stream") as watch:
            return await self._inner.put_stream(key, measured())

    async def compose(self, key: str, sources: Sequence[tuple[str, int]]) -> None:
        """See ObjectStore.compose."""
        with self._watch("compose", len(sources) + 2):
            await self._inner.compose(key, sources)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete."""
        with self._watch("delete"):
            await self._inner.delete(key, if_match=if_match)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many."""
        with self._watch("delete_many"):
            await self._inner.delete_many(keys)

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """See ObjectStore.list. Each page is an operation."""
        async with aclosing(self._inner.list(prefix, start_after=start_after, limit=limit)) as infos:
            seen = 0
            while limit is None or seen < limit:
                if seen % PAGE == 0:
                    with self._watch("list"):
                        info = await anext(infos, None)
                else:
                    info = await anext(infos, None)
                if info is None:
                    return
                seen += 1
                yield info

    async def presign_get(self, key: str, expires: int) -> str:
        """See ObjectStore.presign_get, which asks nothing of the store."""
        return await self._inner.presign_get(key, expires)

    def list_incomplete_uploads(self) -> AsyncGenerator[IncompleteUpload]:
        """See ObjectStore.list_incomplete_uploads, which only maintenance calls: it is not observed."""
        return self._inner.list_incomplete_uploads()

    async def abort_incomplete_upload(self, upload: IncompleteUpload) -> None:
        """See ObjectStore.abort_incomplete_upload."""
        with self._watch("abort_incomplete_upload"):
            await self._inner.abort_incomplete_upload(upload)

    async def close(self) -> None:
        """See ObjectStore.close."""
        await self._inner.close()

    def _watch(self, operation: str, requests: int = 1) -> "_Watch":
        return _Watch(self._observer, self._timer, operation, requests)

    async def _streamed(self, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """The chunks; what breaks them off is told, and so is what is sent again to go on."""
        async with aclosing(chunks):
            while True:
                token = _operation.set("get_range")
                try:
                    chunk = await anext(chunks, None)
                except Exception as error:
                    if failure := failure_of(error):
                        self._observer.failed("get_range", failure)
                    raise
                finally:
                    _operation.reset(token)
                if chunk is None:
                    return
                yield chunk


class _Watch:
    """One operation, from its beginning to its answer."""

    __slots__ = ("_began", "_observer", "_operation", "_timer", "_token", "requests")

    def __init__(self, observer: Observer, timer: Callable[[], float], operation: str, requests: int) -> None:
        self._observer = observer
        self._timer = timer
        self._operation = operation
        self.requests = requests

    def __enter__(self) -> Self:
        self._token = _operation.set(self._operation)
        self._began = self._timer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        seconds = self._timer() - self._began
        _operation.reset(self._token)
        self._observer.answered(self._operation, self.requests, seconds, failure_of(error) if error else None)
