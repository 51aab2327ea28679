"""Content read again, whole, and held against its digest."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from storage import layout
from storage.errors import NotFound, Unavailable
from storage.hashing import Hasher, blocks, hashed, verified
from storage.layout import Segment
from storage.references import Digest
from storage.shelf import Context

Spend = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Measure:
    """How many bytes lie under a data key, and whether they are those of the digest."""

    size: int
    is_right: bool


class Soundness:
    """Reads bytes in bounded memory; `spend` is told of each block, and may hold the reader back."""

    def __init__(self, context: Context, spend: Spend) -> None:
        self._context = context
        self._spend = spend
        self.known: set[str] = set()
        self.damaged: set[str] = set()
        """Data keys that were found to hold sound bytes, or others: neither changes."""

    async def measure(self, digest: Digest, key: str) -> Measure | None:
        """What lies under a data key, None if nothing does: one GET."""
        try:
            chunks = await self._context.store.get_range(key)
        except NotFound:
            return None
        hasher, size = Hasher(digest.algorithm), 0
        async with aclosing(chunks), aclosing(hashed(chunks, hasher)) as read:
            async for block in read:
                size += len(block)
                await self._spend(len(block))
        return Measure(size, await hasher.hexdigest() == digest.hex)

    async def is_sound(self, digest: Digest, key: str, size: int) -> bool:
        """Whether a link of this size may name these bytes; each is read once."""
        if key not in self.known | self.damaged:
            is_right = await self.measure(digest, key) == Measure(size, is_right=True)
            (self.known if is_right else self.damaged).add(key)
        return key in self.known

    async def copy(self, digest: Digest, key: str) -> Segment:
        """A verified copy at a new key; raises NotFound and DigestInvalid, and then there is none.

        Unavailable if that took so long that the collector may have taken the copy for what a dead upload left.
        """
        began = self._context.clock()
        segment = Segment(self._context.nonce() + self._context.nonce(), 0, self._context.nonce())
        chunks = await self._context.store.get_range(key)
        async with aclosing(chunks), aclosing(verified(self._spent(chunks), digest)) as content:
            await self._context.store.put_stream(layout.data_key(segment), content)
        if self._context.clock() - began > self._context.periods.upload_expiry:
            raise Unavailable(f"a copy of {digest} took longer than upload_expiry")
        return segment

    async def _spent(self, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        async for block in blocks(chunks):
            await self._spend(len(block))
            yield block
