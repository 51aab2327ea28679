"""Of any number of conditional writes on one state exactly one wins."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest

from storage.errors import PreconditionFailed, Unavailable
from storage.objects.contract import ObjectStore
from tests.contract.conftest import Backend
from tests.contract.helpers import chunked, joined, noise

WRITERS = 16
Write = Callable[[bytes], Awaitable[str]]


def record() -> bytes:
    """A body like those that moorage writes: longer than a tombstone, and never the same twice."""
    return secrets.token_hex(20).encode()


def tombstone() -> bytes:
    """16 bytes, never the same twice."""
    return secrets.token_bytes(16)


def large() -> bytes:
    """A body that does not fit in a database row."""
    return secrets.token_bytes(16) + noise(100_000)


async def race(bodies: list[bytes], write: Write) -> bytes:
    """Let all write at once; the body of the one that won."""

    async def attempt(body: bytes) -> bytes | None:
        try:
            await write(body)
        except PreconditionFailed:
            return None
        return body

    results = await asyncio.gather(*(attempt(body) for body in bodies))
    (winner,) = [body for body in results if body is not None]
    return winner


@pytest.mark.parametrize("body", [record, tombstone, large])
async def test_create(store: ObjectStore, backend: Backend, body: Callable[[], bytes]) -> None:
    """Of 16 writers that create one key, one wins, and its body is what is there."""
    for number in range(backend.rounds):
        key = f"race/{number}"
        winner = await race([body() for _ in range(WRITERS)], lambda body: store.put(key, body, if_absent=True))  # noqa: B023
        assert (await store.get(key)).body == winner


async def test_compare_and_swap(store: ObjectStore, backend: Backend) -> None:
    """Of 16 writers that replace one state one wins: a record by a record, by a tombstone, by either, and back."""
    etag = await store.put("k", record())
    mixed = [record, tombstone]
    for makers in [[record], [tombstone], [tombstone], [record], mixed, [large], [record], [large, tombstone]]:
        for _ in range(max(1, backend.rounds // 4)):
            bodies = [makers[number % len(makers)]() for number in range(WRITERS)]
            winner = await race(bodies, lambda body: store.put("k", body, if_match=etag))  # noqa: B023
            found = await store.get("k")
            assert found.body == winner
            etag = found.info.etag


async def test_counter(store: ObjectStore) -> None:
    """Increments by compare-and-swap from 8 writers at once are all there in the end."""
    await store.put("counter", b"0")

    async def increment() -> None:
        while True:
            found = await store.get("counter")
            try:
                await store.put("counter", b"%d" % (int(found.body) + 1), if_match=found.info.etag)
            except PreconditionFailed:
                continue
            return

    async def several() -> None:
        for _ in range(5):
            await increment()

    await asyncio.gather(*(several() for _ in range(8)))
    assert (await store.get("counter")).body == b"40"


async def test_delete_races_with_replacing(store: ObjectStore, backend: Backend) -> None:
    """With the capability, a conditional delete and a conditional put of one state never both win."""
    if not backend.capabilities.conditional_delete:
        return
    for _ in range(backend.rounds):
        etag = await store.put("k", record())

        async def remove(etag: str = etag) -> str:
            await store.delete("k", if_match=etag)
            return ""

        async def write(body: bytes, etag: str = etag) -> str:
            return await store.put("k", body, if_match=etag) if body else await remove(etag)

        winner = await race([record(), b"", record(), b""], write)
        left = [info.key async for info in store.list("")]
        assert left == (["k"] if winner else [])


async def test_readers_see_all_or_nothing(store: ObjectStore, backend: Backend) -> None:
    """While an object is replaced again and again, by small and large bodies, readers see one of them, whole."""
    bodies = {noise(size, size) for size in (20, 90_000, 300_000)}
    await store.put("k", noise(20, 20))
    done = asyncio.Event()

    async def write() -> None:
        for _ in range(backend.rounds):
            for body in bodies:
                await store.put("k", body)
                await store.put_stream("k", chunked(body))
        done.set()

    async def read() -> None:
        while not done.is_set():
            assert (await store.get("k")).body in bodies
            try:
                assert await joined(await store.get_range("k")) in bodies
            except Unavailable:
                assert backend.files

    await asyncio.gather(write(), read(), read(), read())
