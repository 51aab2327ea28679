"""Conditional writes on a store that ignores conditions, as long as one process alone writes to it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from storage.errors import NotFound, PreconditionFailed
from storage.objects.contract import Capabilities, IncompleteUpload, ObjectInfo, ObjectStore, StoredObject

T = TypeVar("T")


class SingleWriterStore:
    """Decorates a store: each key is written by one at a time, and a conditional write looks at its condition first.

    No other process may write to the store, or two of them may both win. A write whose caller is cancelled ends first, and keeps
    its key until then, since it may still be applied; a stream that has not ended by then is given up instead. Whole objects, which
    all records are, are not read while they are replaced: some of these stores would mix the two.
    """

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self._locks = _Locks()
        self._whole = _Locks()
        self._writes: set[asyncio.Task[object]] = set()

    @property
    def capabilities(self) -> Capabilities:
        """See ObjectStore.capabilities: all conditions, and the rest as the store has it."""
        return replace(
            self._inner.capabilities, conditional_create=True, conditional_replace=True, conditional_delete=True
        )

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        async with self._whole.held([key]):
            return await self._inner.get(key)

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """See ObjectStore.get_if_changed."""
        async with self._whole.held([key]):
            return await self._inner.get_if_changed(key, etag)

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range."""
        return await self._inner.get_range(key, start, length)

    async def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head."""
        return await self._inner.head(key)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put. A condition costs one GET."""

        async def write() -> str:
            if if_absent:
                await self._require_absent(key)
            if if_match is not None:
                await self._require(key, if_match)
            async with self._whole.held([key]):
                return await self._inner.put(key, body)

        return await self._alone([key], write)

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """See ObjectStore.put_stream. The key stays locked as long as the stream lasts."""
        source = _Source(chunks)
        try:
            return await self._alone(
                [key], lambda: self._inner.put_stream(key, source.chunks()), lambda: not source.ended
            )
        except asyncio.CancelledError as error:
            raise source.failure or error from None

    async def compose(self, key: str, sources: Sequence[tuple[str, int]]) -> None:
        """See ObjectStore.compose."""
        await self._alone([key], lambda: self._inner.compose(key, sources))

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete. A condition costs one GET."""

        async def write() -> None:
            if if_match is not None:
                await self._require(key, if_match)
            await self._inner.delete(key)

        await self._alone([key], write)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many."""
        await self._alone(keys, lambda: self._inner.delete_many(keys))

    def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """See ObjectStore.list."""
        return self._inner.list(prefix, start_after=start_after, limit=limit)

    async def presign_get(self, key: str, expires: int) -> str:
        """See ObjectStore.presign_get."""
        return await self._inner.presign_get(key, expires)

    def list_incomplete_uploads(self) -> AsyncGenerator[IncompleteUpload]:
        """See ObjectStore.list_incomplete_uploads."""
        return self._inner.list_incomplete_uploads()

    async def abort_incomplete_upload(self, upload: IncompleteUpload) -> None:
        """See ObjectStore.abort_incomplete_upload."""
        await self._inner.abort_incomplete_upload(upload)

    async def close(self) -> None:
        """See ObjectStore.close. Writes under way end first."""
        await asyncio.gather(*self._writes, return_exceptions=True)
        await self._inner.close()

    async def _require_absent(self, key: str) -> None:
        try:
            await self._inner.get(key)
        except NotFound:
            return
        raise PreconditionFailed(f"{key}: it is there already")

    async def _require(self, key: str, etag: str) -> None:
        """One conditional GET, which brings no body if all is well."""
        try:
            found = await self._inner.get_if_changed(key, etag)
        except NotFound:
            raise PreconditionFailed(f"{key}: there is no such object to replace or remove") from None
        if found is not None and found.info.etag != etag:
            raise PreconditionFailed(f"{key}: it was written by another meanwhile")

    async def _alone(
        self, keys: Sequence[str], write: Callable[[], Awaitable[T]], may_stop: Callable[[], bool] = lambda: False
    ) -> T:
        """Run `write` while nobody else writes to `keys`; once it runs, cancelling the caller waits for it unless it `may_stop`."""
        held = await self._locks.acquire(keys)

        async def writing() -> T:
            return await write()

        task = asyncio.create_task(writing())
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        task.add_done_callback(lambda _: self._locks.release(held))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if may_stop():
                task.cancel()
            await asyncio.wait([task])
            raise


class _Source:
    """A stream that knows how it ended: until it has, nothing of it can have been published."""

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = chunks
        self.ended = False
        self.failure: BaseException | None = None

    async def chunks(self) -> AsyncGenerator[bytes]:
        try:
            async for chunk in self._chunks:
                yield chunk
        except asyncio.CancelledError as error:
            self.failure = error
            raise
        self.ended = True


class _Locks:
    """A lock for each key that somebody holds or waits for, and none for any other."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    async def acquire(self, keys: Sequence[str]) -> list[str]:
        """Take the locks of `keys`, in an order that is the same for all, so that no two wait for each other."""
        held: list[str] = []
        try:
            for key in sorted(set(keys)):
                await self._acquire(key)
                held.append(key)
        except BaseException:
            self.release(held)
            raise
        return held

    @asynccontextmanager
    async def held(self, keys: Sequence[str]) -> AsyncIterator[None]:
        """Hold the locks of `keys` during the block."""
        held = await self.acquire(keys)
        try:
            yield
        finally:
            self.release(held)

    def release(self, keys: Sequence[str]) -> None:
        """Give the locks of `keys` back."""
        for key in keys:
            self._locks[key][0].release()
            self._forget(key)

    async def _acquire(self, key: str) -> None:
        lock, users = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = (lock, users + 1)
        try:
            await lock.acquire()
        except BaseException:
            self._forget(key)
            raise

    def _forget(self, key: str) -> None:
        lock, users = self._locks[key]
        if users > 1:
            self._locks[key] = (lock, users - 1)
        else:
            del self._locks[key]
