"""A store whose reads wait until all who are to ask have asked."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from storage.objects.contract import ObjectStore, StoredObject
from storage.objects.metered import MeteredStore

Answer = TypeVar("Answer")


class HoldingStore(MeteredStore):
    """A metered store that reads whole objects only while `lets_read` is set, as it is at first."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.lets_read = asyncio.Event()
        self.lets_read.set()

    async def get(self, key: str) -> StoredObject:
        """See MeteredStore.get."""
        await self.lets_read.wait()
        return await super().get(key)

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """See MeteredStore.get_if_changed."""
        await self.lets_read.wait()
        return await super().get_if_changed(key, etag)


async def at_once(store: HoldingStore, number: int, ask: Callable[[], Awaitable[Answer]]) -> Sequence[Answer]:
    """The answers to so many who ask before the first of them is answered; the store counts from there on."""
    store.requests.clear()
    store.lets_read.clear()
    asked = asyncio.gather(*(ask() for _ in range(number)))
    for _ in range(100):
        await asyncio.sleep(0)
    store.lets_read.set()
    return await asked
