"""Digests of streams, computed beside the event loop."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterable

from storage.errors import DigestInvalid
from storage.references import Digest

BLOCK = 1024 * 1024
_INLINE = 64 * 1024


class Hasher:
    """A running hash. Large blocks are hashed in a thread while the next one is awaited."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._pending: asyncio.Future[None] | None = None

    async def update(self, block: bytes) -> None:
        """Take in `block`, which must not change any more."""
        await self._settle()
        if len(block) <= _INLINE:
            self._hash.update(block)
        else:
            self._pending = asyncio.get_running_loop().run_in_executor(None, self._hash.update, block)

    async def hexdigest(self) -> str:
        """The digest of all that was taken in so far, in hex."""
        await self._settle()
        return self._hash.hexdigest()

    async def copy(self) -> "Hasher":
        """An independent hash that goes on from here."""
        await self._settle()
        twin = Hasher(self.algorithm)
        twin._hash = self._hash.copy()
        return twin

    async def _settle(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            await pending


class RunningHashes:
    """The hashes of uploads that this process has seen whole, by the nonce of their last segment; the least used go first."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._hashes: OrderedDict[str, Hasher] = OrderedDict()

    def keep(self, nonce: str, hasher: Hasher) -> None:
        """Remember the hash of an upload up to the segment with this nonce."""
        self._hashes[nonce] = hasher
        if len(self._hashes) > self._most:
            self._hashes.popitem(last=False)

    async def after(self, nonce: str) -> Hasher | None:
        """A hash that goes on after the segment with this nonce, if it is remembered."""
        found = self._hashes.get(nonce)
        return await found.copy() if found else None


async def hashed(chunks: AsyncIterable[bytes], hasher: Hasher | None) -> AsyncGenerator[bytes]:
    """`chunks` in blocks, each taken in by `hasher`, if there is one, before it is passed on."""
    async for block in blocks(chunks):
        if hasher:
            await hasher.update(block)
        yield block


async def verified(chunks: AsyncIterable[bytes], digest: Digest) -> AsyncGenerator[bytes]:
    """`chunks` in blocks; raises DigestInvalid if they are not the content of `digest`, instead of passing on the last block."""
    hasher, held = Hasher(digest.algorithm), b""
    async for block in hashed(chunks, hasher):
        if held:
            yield held
        held = block
    found = await hasher.hexdigest()
    if found != digest.hex:
        raise mismatch(digest, found)
    if held:
        yield held


def mismatch(digest: Digest, found: str) -> DigestInvalid:
    """The error for content whose digest is `found` in hex, and not `digest`."""
    return DigestInvalid(f"the content's digest is {digest.algorithm}:{found}, not {digest}")


async def blocks(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """`chunks` joined into blocks of about a mebibyte, so that what is done for each costs little."""
    waiting: list[bytes] = []
    size = 0
    async for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= BLOCK:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)
