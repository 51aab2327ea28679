"""Digests of streams, and the hashes that go on after a segment."""

import hashlib
import random
from collections.abc import AsyncGenerator, AsyncIterable, Iterable

import pytest

from storage.errors import DigestInvalid
from storage.hashing import BLOCK, Hasher, RunningHashes, blocks, verified
from storage.references import Digest

CONTENT = random.Random(1).randbytes(3 * BLOCK + 17)


async def stream(chunks: Iterable[bytes]) -> AsyncGenerator[bytes]:
    """As a client sends it."""
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("size", [1000, 64 * 1024, 64 * 1024 + 1, BLOCK, len(CONTENT)])
async def test_a_hash_is_that_of_all_blocks_in_order(algorithm: str, size: int) -> None:
    """Whether they are hashed here or in a thread; asking in between changes nothing."""
    hasher = Hasher(algorithm)
    for at in range(0, len(CONTENT), size):
        await hasher.update(CONTENT[at : at + size])
        if at % 3 == 0 and size > 50_000:
            assert await hasher.hexdigest() == hashlib.new(algorithm, CONTENT[: at + size]).hexdigest()
    assert await hasher.hexdigest() == hashlib.new(algorithm, CONTENT).hexdigest()


async def test_a_copy_is_independent() -> None:
    """Both go on from the same place, also while a block is still being hashed."""
    hasher = Hasher("sha256")
    await hasher.update(CONTENT)
    twin = await hasher.copy()
    await twin.update(b"twin")
    await hasher.update(b"hasher")
    assert await twin.hexdigest() == hashlib.sha256(CONTENT + b"twin").hexdigest()
    assert await hasher.hexdigest() == hashlib.sha256(CONTENT + b"hasher").hexdigest()


async def test_running_hashes_go_on_after_a_segment() -> None:
    """Any number of times, each for itself; of many the oldest go."""
    running = RunningHashes(most=3)
    hasher = Hasher("sha256")
    await hasher.update(b"a")
    running.keep("0", hasher)
    for _ in range(2):
        found = await running.after("0")
        assert found is not None
        await found.update(b"b")
        assert await found.hexdigest() == hashlib.sha256(b"ab").hexdigest()
    for nonce in "123":
        running.keep(nonce, hasher)
    assert await running.after("0") is None
    assert await running.after("3") is not None
    assert await running.after("never") is None


@pytest.mark.parametrize("size", [1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
async def test_blocks_are_the_same_bytes(size: int) -> None:
    """In order, few and large, and bounded by what one chunk adds."""
    content = CONTENT if size > 1 else CONTENT[:5000]
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    found = [block async for block in blocks(stream(chunks))]
    assert b"".join(found) == content
    assert all(BLOCK <= len(block) < BLOCK + size for block in found[:-1])


async def test_no_blocks_of_nothing() -> None:
    """An empty body has none."""
    assert [block async for block in blocks(stream([]))] == []


@pytest.mark.parametrize("size", [0, 1, 100, BLOCK, len(CONTENT)])
async def test_wrong_content_is_never_whole(size: int) -> None:
    """The last block MUST be held back until the digest is known to be right; right content passes whole."""
    content, passed = CONTENT[:size], bytearray()
    async for block in verified(stream([content]), Digest.of(content, "sha512")):
        passed += block
    assert passed == content
    wrong = verified(stream([content]), Digest.of(b"other"))
    passed.clear()
    with pytest.raises(DigestInvalid):
        await _collect(wrong, passed)
    assert len(passed) < max(size, 1)


async def _collect(chunks: AsyncIterable[bytes], into: bytearray) -> None:
    async for chunk in chunks:
        into += chunk
