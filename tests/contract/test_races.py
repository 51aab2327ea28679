"""Of any number of conditional writes on one state exactly one wins."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest

from storage.errors import PreconditionFailed, Unavailable
from storage.objects.contract import ObjectStore
from tests.contract.conftest import Backend
from tests.contract.helpers import chunked, joined, keys, noise

WRITERS = 16
Write = Callable[[bytes], Awaitable[object]]
Record = Callable[[str, object], None]


def record() -> bytes:
    """A body like those that moorage writes: longer than a tombstone, and never the same twice."""
    return secrets.token_hex(20).encode()


def tombstone() -> bytes:
    """16 bytes, never the same twice."""
    return secrets.token_bytes(16)


def large() -> bytes:
    """A body that does not fit in a database row."""
    return secrets.token_bytes(16) + noise(100_000)


async def race(bodies: list[bytes], write: Write) -> list[bytes]:
    """Let all write at once; the bodies of those that won."""

    async def attempt(body: bytes) -> bool:
        try:
            await write(body)
        except PreconditionFailed:
            return False
        return True

    won = await asyncio.gather(*(attempt(body) for body in bodies))
    return [body for body, has_won in zip(bodies, won, strict=True) if has_won]


async def judge(
    backend: Backend, record_property: Record, what: str, play: Callable[[str], Awaitable[list[int]]]
) -> None:
    """Play all rounds, each of one or more races on a key of its own: every race MUST have one winner, or one at least.

    How many had exactly one goes to the summary.
    """
    turn = asyncio.Semaphore(backend.traits.abreast)

    async def one(key: str) -> list[int]:
        async with turn:
            return await play(key)

    played = await asyncio.gather(*(one(f"race/{number}") for number in range(backend.traits.rounds)))
    winners = [count for counts in played for count in counts]
    decided = winners.count(1)
    record_property(f"races with one winner of {WRITERS}, {backend.name}, {what}", f"{decided} of {len(winners)}")
    assert min(winners) >= 1
    assert decided == len(winners) or not backend.traits.one_winner


@pytest.mark.parametrize("body", [record, tombstone, large])
async def test_create(store: ObjectStore, backend: Backend, body: Callable[[], bytes], record_property: Record) -> None:
    """Of 16 writers that create one key, one wins, and its body is what is there."""

    async def play(key: str) -> list[int]:
        winners = await race([body() for _ in range(WRITERS)], lambda body: store.put(key, body, if_absent=True))
        assert (await store.get(key)).body in winners
        return [len(winners)]

    await judge(backend, record_property, f"create, {body.__name__}", play)


async def test_compare_and_swap(store: ObjectStore, backend: Backend, record_property: Record) -> None:
    """Of 16 writers that replace one state one wins: a record by a tombstone, that by another, by either, and back."""
    steps = [[tombstone], [tombstone], [record, tombstone], [large, record]]

    async def play(key: str) -> list[int]:
        etag, counts = await store.put(key, record(), if_absent=True), []
        for makers in steps:
            bodies = [makers[number % len(makers)]() for number in range(WRITERS)]
            winners = await race(bodies, lambda body: store.put(key, body, if_match=etag))  # noqa: B023 - awaited here
            found = await store.get(key)
            assert found.body in winners
            etag = found.info.etag
            counts.append(len(winners))
        return counts

    await judge(backend, record_property, "compare and swap", play)


async def test_counter(store: ObjectStore, backend: Backend) -> None:
    """Increments by compare-and-swap from 8 writers at once are all there in the end, and no more."""
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
    counted = int((await store.get("counter")).body)
    assert counted == 40 or (0 < counted < 40 and not backend.traits.one_winner)


async def test_delete_races_with_replacing(store: ObjectStore, backend: Backend, record_property: Record) -> None:
    """With the capability, a conditional delete and a conditional put of one state never both win."""
    if not backend.capabilities.conditional_delete:
        return
    both = 0
    for _ in range(backend.traits.rounds):
        etag = await store.put("k", record())

        async def write(body: bytes, etag: str = etag) -> None:
            await (store.put("k", body, if_match=etag) if body else store.delete("k", if_match=etag))

        winners = await race([record(), b"", record(), b""], write)
        both += len(winners) != 1
        assert await keys(store) in [["k"] if winner else [] for winner in winners]
    record_property(
        f"deletes that raced with writes, and both won, {backend.name}", f"{both} of {backend.traits.rounds}"
    )
    assert both == 0 or not backend.traits.one_winner_of_deletes


async def test_readers_of_records_see_all_or_nothing(store: ObjectStore, backend: Backend) -> None:
    """While a record is replaced again and again, by longer and shorter ones, readers of all of it see one of them."""
    bodies = [noise(size, size) for size in (20, 300, 90_000)]
    etag = await store.put("k", bodies[0])
    done = asyncio.Event()

    async def write() -> None:
        for _ in range(backend.traits.rounds):
            for body in bodies:
                await store.put("k", body)
        done.set()

    async def read() -> None:
        while not done.is_set():
            assert (await store.get("k")).body in bodies
            found = await store.get_if_changed("k", etag)
            assert found is None or found.body in bodies
            await asyncio.sleep(0)

    await asyncio.gather(write(), *(read() for _ in range(8)))


async def test_readers_see_all_or_nothing(store: ObjectStore, backend: Backend) -> None:
    """While an object is replaced again and again, by small and large bodies, readers see one of them, whole."""
    bodies = {noise(size, size) for size in (20, 90_000, 300_000)}
    await store.put("k", noise(20, 20))
    done = asyncio.Event()

    async def write() -> None:
        for _ in range(backend.traits.rounds):
            for body in bodies:
                await store.put("k", body)
                await store.put_stream("k", chunked(body))
        done.set()

    async def read() -> None:
        while not done.is_set():
            assert (await store.get("k")).body in bodies or backend.traits.files
            try:
                assert await joined(await store.get_range("k")) in bodies or backend.traits.files
            except Unavailable:
                assert backend.traits.files
            # A store in memory lets nobody else run.
            await asyncio.sleep(0)

    await asyncio.gather(write(), read(), read(), read())
