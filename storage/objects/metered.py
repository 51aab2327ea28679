"""Counts the requests and bytes that pass to a store: what the budgets of docs/budgets.md are held by."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Sequence

from storage.objects.contract import PAGE, Capabilities, IncompleteUpload, ObjectInfo, ObjectStore, StoredObject
from storage.objects.parts import FIRST_PART


class MeteredStore:
    """Decorates a store; `requests` counts by kind what S3 would bill, `written` the bytes sent to it."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.requests: Counter[str] = Counter()
        self.written = 0

    @property
    def capabilities(self) -> Capabilities:
        """See ObjectStore.capabilities."""
        return self._inner.capabilities

    async def get(self, key: str) -> StoredObject:
        """One GET."""
        self.requests["GET"] += 1
        return await self._inner.get(key)

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """One GET."""
        self.requests["GET"] += 1
        return await self._inner.get_if_changed(key, etag)

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """One GET."""
        self.requests["GET"] += 1
        return await self._inner.get_range(key, start, length)

    async def head(self, key: str) -> ObjectInfo:
        """One HEAD."""
        self.requests["HEAD"] += 1
        return await self._inner.head(key)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """One PUT."""
        self.requests["PUT"] += 1
        self.written += len(body)
        return await self._inner.put(key, body, if_absent=if_absent, if_match=if_match)

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """One PUT, or for more than one part a request a part and two to begin and end."""
        counted = 0

        async def count() -> AsyncGenerator[bytes]:
            nonlocal counted
            async for chunk in chunks:
                counted += len(chunk)
                yield chunk

        try:
            return await self._inner.put_stream(key, count())
        finally:
            self.written += counted
            self.requests["PUT"] += 1 if counted <= FIRST_PART else 2 + -(-counted // FIRST_PART)

    async def compose(self, key: str, sources: Sequence[tuple[str, int]]) -> None:
        """A request a source, and two to begin and end."""
        self.requests["COPY"] += len(sources) + 2
        await self._inner.compose(key, sources)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """One DELETE."""
        self.requests["DELETE"] += 1
        await self._inner.delete(key, if_match=if_match)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """One POST."""
        self.requests["POST"] += 1
        await self._inner.delete_many(keys)

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """One LIST a page that is begun."""
        self.requests["LIST"] += 1
        seen = 0
        async for info in self._inner.list(prefix, start_after=start_after, limit=limit):
            if seen and seen % PAGE == 0:
                self.requests["LIST"] += 1
            seen += 1
            yield info

    async def presign_get(self, key: str, expires: int) -> str:
        """No request."""
        return await self._inner.presign_get(key, expires)

    def list_incomplete_uploads(self) -> AsyncGenerator[IncompleteUpload]:
        """One LIST; its further pages are not counted."""
        self.requests["LIST"] += 1
        return self._inner.list_incomplete_uploads()

    async def abort_incomplete_upload(self, upload: IncompleteUpload) -> None:
        """One DELETE."""
        self.requests["DELETE"] += 1
        await self._inner.abort_incomplete_upload(upload)

    async def close(self) -> None:
        """See ObjectStore.close."""
        await self._inner.close()
