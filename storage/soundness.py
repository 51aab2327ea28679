"""Content read again, whole, held against its digest, and copied.

The collector may take bytes away at any moment that no link names, and whatever an upload wrote whose session has ended (docs/design.md,
Removal, rules 4 and 6). So such bytes are never linked themselves, and a copy of them is published as those of a push are, in time.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from storage import layout
from storage.errors import NotFound, UploadUnknown
from storage.hashing import Hasher, blocks, hashed, verified
from storage.layout import Segment
from storage.records import Instance, encode
from storage.references import Digest
from storage.shelf import Context

Spend = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Measure:
    """How many bytes lie under a data key, and whether they are those of the digest."""

    size: int
    is_right: bool


@dataclass(frozen=True, slots=True)
class Copy:
    """Verified bytes of a digest at a key of their own, to be published before the session ends that it names."""

    digest: Digest
    segment: Segment
    size: int


async def _freely(_: int) -> None:
    pass


class Soundness:
    """Reads bytes in bounded memory; `spend` is told of each block, and may hold the reader back.

    `known` and `damaged` are the data keys that were found to hold sound bytes, or others: neither changes.
    """

    def __init__(self, context: Context, spend: Spend = _freely) -> None:
        self._context = context
        self._spend = spend
        self.known: set[str] = set()
        self.damaged: set[str] = set()

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
        if key not in self.known and key not in self.damaged:
            is_right = await self.measure(digest, key) == Measure(size, is_right=True)
            (self.known if is_right else self.damaged).add(key)
        return key in self.known

    async def copy(self, digest: Digest, key: str) -> Copy:
        """A copy of what lies under a data key; raises NotFound and DigestInvalid, and then there is none."""
        segment = self._context.own_segment()
        chunks = await self._context.store.get_range(key)
        async with aclosing(chunks), aclosing(verified(self._spent(chunks), digest)) as content:
            size = await self._context.store.put_stream(layout.data_key(segment), content)
        return Copy(digest, segment, size)

    def check(self, copy: Copy) -> None:
        """Raise UploadUnknown if the collector may have taken the copy for what a dead upload left.

        It MUST be called right before the instance is written, by the bounded operation that does so.
        """
        if self._context.is_over(copy.segment.upload):
            raise UploadUnknown(f"a copy of {copy.digest} took longer than upload_expiry")

    async def record(self, copy: Copy) -> str:
        """Write the instance of a copy, and return its data key; who calls this links to it in the same bounded operation."""
        self.check(copy)
        key = layout.data_key(copy.segment)
        instance = encode(Instance(key, copy.size, self._context.nonce()))
        await self._context.store.put(layout.instance_key(copy.digest, copy.segment), instance, if_absent=True)
        self.known.add(key)
        return key

    async def _spent(self, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        async for block in blocks(chunks):
            await self._spend(len(block))
            yield block
