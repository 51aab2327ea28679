"""A store in memory that lets something else happen right before one of its requests."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from storage.objects.contract import ObjectInfo, StoredObject
from storage.objects.memory import MemoryStore

Act = Callable[[], Awaitable[object]]


class Interrupting(MemoryStore):
    """The same bucket as `bucket`; `act` is called once, right before request number `at`, counted from 1 since `arm`."""

    def __init__(self, bucket: MemoryStore) -> None:
        super().__init__(bucket._clock)  # noqa: SLF001 - the same bucket
        self._objects = bucket._objects  # noqa: SLF001 - as above
        self._at = 0
        self._act: Act | None = None
        self.count = 0

    def arm(self, at: int, act: Act | None) -> None:
        """Count from here on."""
        self.count, self._at, self._act = 0, at, act

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        await self._step()
        return await super().get(key)

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """See ObjectStore.get_if_changed."""
        await self._step()
        found = await super().get(key)
        return None if found.info.etag == etag else found

    async def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head."""
        await self._step()
        return (await super().get(key)).info

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        await self._step()
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many."""
        await self._step()
        await super().delete_many(keys)

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """See ObjectStore.list."""
        await self._step()
        async for info in super().list(prefix, start_after=start_after, limit=limit):
            yield info

    async def _step(self) -> None:
        self.count += 1
        if self.count == self._at and self._act is not None:
            act, self._act = self._act, None
            await act()
