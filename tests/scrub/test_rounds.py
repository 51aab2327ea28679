"""The bytes half of a scrub: every byte is read, at the rate that was asked for, however often a run is stopped or killed."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator

import pytest

from storage import layout
from storage.errors import Busy, Unavailable
from storage.objects.contract import ObjectStore
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.registry import Registry
from storage.scrub.pacing import Pace
from storage.scrub.rounds import SAVED_EVERY, Rounds
from storage.scrub.runs import Options
from storage.shelf import Context
from storage.views import Epoch, Views
from tests.crash.dying import Died, DyingStore, points
from tests.protocol.conftest import keys
from tests.protocol.serving import Clock, Nonces, World
from tests.scrub.planting import flip, flipped
from tests.scrub.running import registry, scrub

MIB = 1024 * 1024
BLOBS = [b"%d" % number * 40_000 for number in range(40)]


class ReadStore(MeteredStore):
    """Notes which content was read to its end, and lets time pass with each byte; `largest` is the most in one chunk."""

    def __init__(self, inner: ObjectStore, clock: Clock | None = None, seconds_a_read: float = 0.0) -> None:
        super().__init__(inner)
        self.read: Counter[str] = Counter()
        self._clock, self._seconds = clock, seconds_a_read

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range."""
        return self._noted(key, await super().get_range(key, start, length))

    async def _noted(self, key: str, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        async for chunk in chunks:
            yield chunk
        if self._clock is not None:
            self._clock.advance(self._seconds)
        self.read[key] += 1


@pytest.fixture
async def filled(world: World) -> World:
    """A registry of blobs."""
    async with world.gateway() as api:
        for content in BLOBS:
            await api.blob("a", content)
    return world


async def test_every_byte_is_read_once_a_round(filled: World, memory: MemoryStore) -> None:
    """And the next run begins a new round."""
    for _ in range(2):
        store = ReadStore(memory)
        report = (await scrub(filled, store=store)).report
        assert store.read == dict.fromkeys(await keys(memory, "data/"), 1)
        assert (report.instances, report.bytes) == (len(BLOBS), sum(map(len, BLOBS)))
        assert (report.all_instances, report.all_bytes) == (report.instances, report.bytes)
        assert (report.is_over, report.continues_at) == (True, "")


async def test_a_run_with_a_time_goes_on_where_the_last_one_ended(filled: World, memory: MemoryStore) -> None:
    """`seconds` MUST end it between two blobs, with its findings of damage kept for the next run; `restart` begins again."""
    [damaged, *_] = await keys(memory, "data/")
    await memory.put(damaged, flipped((await memory.get(damaged)).body))
    read: Counter[str] = Counter()
    runs, reached = 0, -1
    while True:
        runs += 1
        store = ReadStore(memory, filled.clock, seconds_a_read=5.0)
        done = await scrub(filled, store=store, seconds=60.0)
        read += store.read
        assert done.report.instances > reached
        reached = done.report.instances
        if done.report.is_over:
            break
    assert runs > 2
    assert not done.report.is_sound  # found in one of the runs, and looked at again in each one since
    assert set(read) == set(await keys(memory, "data/"))
    assert [count for key, count in read.items() if key != damaged] == [1] * (len(BLOBS) - 1)
    await scrub(filled, store=ReadStore(memory, filled.clock, seconds_a_read=5.0), seconds=60.0)
    store = ReadStore(memory)
    await scrub(filled, store=store, restart=True)
    assert set(store.read) == set(await keys(memory, "data/"))


async def test_what_one_run_found_the_next_one_mends(filled: World, memory: MemoryStore) -> None:
    """A repair MUST not wait for the round to come to it again."""
    damaged = (await keys(memory, "data/"))[-1]
    await memory.put(damaged, flipped((await memory.get(damaged)).body))
    assert (await scrub(filled)).kinds == ["corrupt-bytes"]
    mended = await scrub(filled, repair=True, seconds=0.0)
    assert mended.outcomes == {("corrupt-bytes", "quarantined")}
    assert (mended.report.instances, mended.report.is_over) == (0, False)


async def test_a_round_survives_every_crash(filled: World, memory: MemoryStore, clock: Clock) -> None:
    """Killed at any request, the next runs MUST come to every byte, and read few of them twice."""
    counting = DyingStore(ReadStore(memory))
    opened = await registry(filled, counting)
    counting.arm(None)
    await opened.scrub.run(Options(rate=None))
    chosen = points(list(counting.requests))
    assert len(chosen) > 100
    for point in chosen:
        clock.advance(3600)
        store = ReadStore(memory, clock, seconds_a_read=SAVED_EVERY / 4)
        dying = DyingStore(store)
        opened = await registry(filled, dying)
        dying.arm(point)
        with pytest.raises(Died):
            await opened.scrub.run(Options(rate=None, restart=True))
        clock.advance(3600)
        report = (await scrub(filled, store=store)).report
        assert report.is_over
        assert set(store.read) == set(await keys(memory, "data/"))


async def test_a_cursor_says_how_far_a_killed_run_had_come(filled: World, memory: MemoryStore, clock: Clock) -> None:
    """At most what was read in the last minute, and in one go, is read again."""
    store = ReadStore(memory, clock, seconds_a_read=SAVED_EVERY / 8)
    dying = DyingStore(store)
    opened = await registry(filled, dying)
    dying.arm(None)
    await opened.scrub.run(Options(rate=None))
    late = [point for point in points(list(dying.requests)) if point.moment == "before"][-3]
    clock.advance(3600)
    store.read.clear()
    dying = DyingStore(store)
    opened = await registry(filled, dying)
    dying.arm(late)
    with pytest.raises(Died):
        await opened.scrub.run(Options(rate=None))
    clock.advance(3600)
    before = sum(store.read.values())
    assert before > 20
    await scrub(filled, store=store)
    assert sum(store.read.values()) < before + len(BLOBS)


async def test_a_clock_that_was_put_back_keeps_no_cursor_from_being_written(memory: MemoryStore, clock: Clock) -> None:
    """A killed run would read again whatever it read in the time that passes twice."""
    rounds = Rounds(Context(memory, Views(clock, Epoch(), max_bytes=10**6), clock, Nonces()))
    now = await rounds.begin(clock.now, restart=False)
    await rounds.save_at_times(now)
    assert await keys(memory) == []
    clock.advance(-3600)
    await rounds.save_at_times(now)
    assert await keys(memory) == [layout.CURSOR_KEY]


@pytest.mark.parametrize("how", ["cancelled", "store away"])
async def test_a_run_that_is_stopped_says_where_it_was(
    filled: World, memory: MemoryStore, clock: Clock, how: str
) -> None:
    """SIGTERM, or a store that fails: what was read MUST be written down at once."""

    class StoppingStore(ReadStore):
        async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
            if len(self.read) >= 20:
                if how == "cancelled":
                    raise asyncio.CancelledError
                raise Unavailable(key)
            return await super().get_range(key, start, length)

    first = StoppingStore(memory)
    with pytest.raises((Unavailable, asyncio.CancelledError)):
        await scrub(filled, store=first)
    second = ReadStore(memory)
    await scrub(filled, store=second)
    assert 0 < len(second.read) <= len(BLOBS) - 16
    assert set(first.read) | set(second.read) == set(await keys(memory, "data/"))


async def test_a_damaged_cursor_begins_a_new_round(filled: World, memory: MemoryStore) -> None:
    """It MUST not keep a scrub from running."""
    await scrub(filled)
    await flip(memory, layout.CURSOR_KEY)
    store = ReadStore(memory)
    assert (await scrub(filled, store=store)).findings == []
    assert len(store.read) == len(BLOBS)


async def test_two_runs_do_not_do_the_same_work(filled: World) -> None:
    """A second run MUST end at once, with a sentence, while the first one goes on to its end."""
    opened = await registry(filled)
    second: list[Exception] = []

    class Once:
        is_done = False

    async def sleep(seconds: float) -> None:
        if not Once.is_done:
            Once.is_done = True
            try:
                await (await registry(filled)).scrub.run(Options())
            except Busy as error:
                second.append(error)
        filled.clock.advance(seconds)

    await opened.scrub.run(Options(rate=float(MIB), sleep=sleep))
    assert len(second) == 1
    assert "scrub" in str(second[0])


async def test_a_run_that_lost_its_lease_ends(filled: World, memory: MemoryStore) -> None:
    """Who slept beyond its lease MUST not go on beside the run that took over."""

    async def sleep(seconds: float) -> None:
        filled.clock.advance(3600)
        await scrub(filled)

    with pytest.raises(Busy):
        await (await registry(filled)).scrub.run(Options(rate=float(MIB), sleep=sleep))


async def test_the_rate_is_kept(filled: World) -> None:
    """All that is read, records included, MUST take as long as the rate has it, and hardly longer."""
    slept = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds
        filled.clock.advance(seconds)

    total = sum(map(len, BLOBS))
    rate = 100_000.0
    await (await registry(filled)).scrub.run(Options(rate=rate, sleep=sleep))
    assert total / rate - 1 <= slept <= total / rate + 1


async def test_those_who_read_at_once_share_the_rate(clock: Clock) -> None:
    """However many they are, they MUST NOT be given the same seconds."""
    began = clock.now

    async def sleep(seconds: float) -> None:
        until = clock.now + seconds
        while clock.now < until:
            clock.advance(0.125)
            await asyncio.sleep(0)

    pace = Pace(1_000, clock, sleep)
    await asyncio.gather(*(pace.spend(1_000) for _ in range(10)))
    assert clock.now - began == 10


async def test_time_that_was_not_used_is_no_credit() -> None:
    """A pause of an hour MUST not be followed by an hour's worth of bytes, nor a clock that is set back by one of waiting."""
    clock = Clock()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    pace = Pace(1000.0, clock, sleep)
    for jump in (3600, 0, -7200, 0):
        clock.advance(jump)
        slept.clear()
        for _ in range(10):
            await pace.spend(1000)
        assert 9 <= sum(slept) <= 10
    await asyncio.gather(*(pace.spend(1000) for _ in range(10)))
    assert 9 <= sum(slept) - 10 <= 10


class Endless(MeteredStore):
    """A blob of 200 MiB that is made as it is read."""

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range."""

        async def chunks() -> AsyncGenerator[bytes]:
            for _ in range(200):
                yield bytes(MIB)

        return chunks()


async def test_a_blob_streams_through_bounded_memory(world: World, memory: MemoryStore) -> None:
    """However large a blob is, a scrub MUST hold little of it at a time."""
    import tracemalloc  # noqa: PLC0415 - slows down whoever imports and starts it

    async with world.gateway() as api:
        await api.blob("a", b"large")
    opened: Registry = await registry(world, Endless(memory))
    tracemalloc.start()
    try:
        report = await opened.scrub.run(Options(rate=None))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.open == 1
    assert peak < 16 * MIB
