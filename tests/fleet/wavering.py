"""A store whose requests take their turns at random, and lose some of their answers."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from storage.errors import Overtaken, Unavailable
from storage.objects.contract import ObjectInfo, ObjectStore, StoredObject


class WaveringStore:
    """Over `inner`, for gateways of one event loop that read and write small records.

    Before and after each request other tasks may run, as `chance` has it. A write that loses its answer is resolved as the contract
    says, by reading back, and with others' requests in between. Some requests fail altogether, applied or not. `lost` and `failed`
    are the shares of the requests with these faults, none until they are set.
    """

    def __init__(self, inner: ObjectStore, chance: random.Random) -> None:
        self.capabilities = inner.capabilities
        self.faults: Counter[str] = Counter()
        self.lost = self.failed = 0.0
        self._inner, self._chance = inner, chance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        await self._turns()
        self._fail("read failed")
        found = await self._inner.get(key)
        await self._turns()
        return found

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """See ObjectStore.get_if_changed."""
        await self._turns()
        self._fail("read failed")
        found = await self._inner.get_if_changed(key, etag)
        await self._turns()
        return found

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        await self._turns()
        self._fail("write failed before it was applied")
        etag = await self._inner.put(key, body, if_absent=if_absent, if_match=if_match)
        await self._turns()
        self._fail("write failed after it was applied")
        if self._chance.random() < self.lost:
            self.faults["answer to a write lost"] += 1
            await self._turns((10, 100, 300))
            if (await self._inner.get(key)).body != body:
                raise Overtaken(key)
        return etag

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """See ObjectStore.list."""
        await self._turns()
        async for info in self._inner.list(prefix, start_after=start_after, limit=limit):
            yield info

    def _fail(self, what: str) -> None:
        if self._chance.random() < self.failed:
            self.faults[what] += 1
            raise Unavailable(what)

    async def _turns(self, numbers: Sequence[int] = (0, 0, 1, 2, 5)) -> None:
        """Let other tasks go first, for one of these numbers of turns: few, or as many as a pause before another attempt lasts."""
        for _ in range(self._chance.choice(numbers)):
            await asyncio.sleep(0)
