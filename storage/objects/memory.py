"""A store in this process's memory: for tests, and for trying moorage out."""

import hashlib
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence

from storage.errors import Invalid, NotFound, PreconditionFailed
from storage.objects.contract import Capabilities, IncompleteUpload, ObjectInfo, StoredObject

CHUNK = 256 * 1024


class MemoryStore:
    """Implements storage.objects.contract.ObjectStore in a dict; every operation is one atomic step of the event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._objects: dict[str, StoredObject] = {}
        self.capabilities = Capabilities(
            conditional_create=True,
            conditional_replace=True,
            conditional_delete=True,
            ordered_listing=True,
            presigning=False,
            part_copy=False,
            checksums=False,
        )

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        try:
            return self._objects[key]
        except KeyError:
            raise NotFound(key) from None

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """See ObjectStore.get_if_changed."""
        found = await self.get(key)
        return None if found.info.etag == etag else found

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range."""
        body = (await self.get(key)).body
        end = len(body) if length is None else start + length
        if not 0 <= start <= end <= len(body):
            raise Invalid(f"{key}: bytes {start} to {end} of {len(body)}")
        return _slices(body, start, end)

    async def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head."""
        return (await self.get(key)).info

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        current = self._objects.get(key)
        if if_absent and current is not None:
            raise PreconditionFailed(key)
        if if_match is not None and (current is None or current.info.etag != if_match):
            raise PreconditionFailed(key)
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        self._objects[key] = StoredObject(ObjectInfo(key, len(body), etag, self._clock()), bytes(body))
        return etag

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """See ObjectStore.put_stream."""
        body = b"".join([chunk async for chunk in chunks])
        await self.put(key, body)
        return len(body)

    async def compose(self, key: str, sources: Sequence[tuple[str, int]]) -> None:
        """See ObjectStore.compose."""
        await self.put(key, b"".join([(await self.get(source)).body for source, _ in sources]))

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete."""
        current = self._objects.get(key)
        if if_match is not None and (current is None or current.info.etag != if_match):
            raise PreconditionFailed(key)
        self._objects.pop(key, None)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many."""
        for key in keys:
            self._objects.pop(key, None)

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """See ObjectStore.list."""
        keys = sorted(self._objects, key=str.encode)
        first = bisect_right(keys, start_after.encode(), key=str.encode)
        matching = [key for key in keys[first:] if key.startswith(prefix)]
        for info in [self._objects[key].info for key in matching[:limit]]:
            yield info

    async def presign_get(self, key: str, expires: int) -> str:
        """See ObjectStore.presign_get."""
        raise Invalid(f"{key}: a store in memory has no URLs that last {expires} s")

    async def list_incomplete_uploads(self) -> AsyncGenerator[IncompleteUpload]:
        """See ObjectStore.list_incomplete_uploads."""
        none: tuple[IncompleteUpload, ...] = ()
        for upload in none:
            yield upload

    async def abort_incomplete_upload(self, upload: IncompleteUpload) -> None:
        """See ObjectStore.abort_incomplete_upload."""

    async def close(self) -> None:
        """See ObjectStore.close."""


async def _slices(body: bytes, start: int, end: int) -> AsyncGenerator[bytes]:
    for at in range(start, end, CHUNK):
        yield body[at : min(at + CHUNK, end)]
