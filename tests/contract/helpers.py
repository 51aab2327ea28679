"""What the contract tests share."""

import random
from collections.abc import AsyncGenerator, AsyncIterable, Iterable

from storage.objects.contract import ObjectStore

MIB = 1024 * 1024


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not repeat, so that a misplaced block shows."""
    return random.Random(seed).randbytes(size)


async def chunked(body: bytes, size: int = 100_000) -> AsyncGenerator[bytes]:
    """A body as a client sends it."""
    for at in range(0, len(body), size):
        yield body[at : at + size]


async def joined(chunks: AsyncIterable[bytes]) -> bytes:
    """All of a stream."""
    return b"".join([chunk async for chunk in chunks])


async def keys(store: ObjectStore, prefix: str = "", start_after: str = "", limit: int | None = None) -> list[str]:
    """What a listing names."""
    return [info.key async for info in store.list(prefix, start_after=start_after, limit=limit)]


def in_byte_order(names: Iterable[str]) -> list[str]:
    """The order that a listing promises."""
    return sorted(names, key=str.encode)
