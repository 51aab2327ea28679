"""What was pulled: noted in memory, written once an hour, never at the cost of a request, and put together a day later."""

import asyncio

import pytest

from gateway import pulls as recording
from storage import layout
from storage.errors import CorruptRecord, PreconditionFailed, Unavailable
from storage.objects.contract import StoredObject
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.records import decode, encode
from storage.references import Digest, RepositoryName
from storage.retention.pulls import HOUR, LONGEST, MOST, SETTLED, PullLog, Pulls, PullTimes, of_repository
from storage.shelf import Context
from storage.views import Epoch, Views
from tests.protocol.conftest import keys
from tests.protocol.serving import START, Clock, Nonces, World
from tests.retention.interrupting import Interrupting

A, B = RepositoryName("a"), RepositoryName("b/c")
ONE, TWO = Digest.of(b"1"), Digest.of(b"2")
FIRST = int(START // HOUR) * HOUR


class Refusing(MemoryStore):
    """A store that is away while `is_away`, and never answers while `is_silent`."""

    is_away = False
    is_silent = False

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        if self.is_silent:
            await asyncio.Event().wait()
        if self.is_away:
            raise Unavailable("the store is away")
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)


@pytest.fixture
def memory(clock: Clock) -> Refusing:
    """The store itself."""
    return Refusing(clock)


@pytest.fixture
def context(metered: MeteredStore, clock: Clock) -> Context:
    """What nouns work with."""
    return Context(metered, Views(clock, Epoch(), max_bytes=10**6), clock, Nonces())


async def batches(store: MemoryStore) -> list[PullTimes]:
    """What gateways have written."""
    found = [decode(await store.get(key), PullTimes) for key in await keys(store, layout.PULLS_PREFIX)]
    return [each for each in found if each is not None]


async def test_one_object_an_hour(context: Context, metered: MeteredStore, memory: MemoryStore, clock: Clock) -> None:
    """However much is pulled: nothing is written before the hour is over, one object is then, and none without a pull."""
    log = PullLog(context)
    for _ in range(100):
        for name, digest in ((A, ONE), (A, TWO), (B, ONE)):
            log.note(name, digest)
        await log.flush()
    assert metered.requests == {}
    clock.advance(HOUR)
    await log.flush()
    await log.flush()
    assert metered.requests == {"PUT": 1}
    [batch] = await batches(memory)
    assert (batch.since, batch.last) == (
        FIRST,
        {"a": {str(ONE): FIRST, str(TWO): FIRST}, "b/c": {str(ONE): FIRST}},
    )
    assert (await keys(memory, layout.PULLS_PREFIX))[0].startswith(f"retention/pulls/{FIRST:012}-")
    clock.advance(10 * HOUR)
    await log.flush()
    assert metered.requests == {"PUT": 1}


async def test_at_the_end_all_is_written(context: Context, memory: MemoryStore, clock: Clock) -> None:
    """Also of the hour that is not over yet."""
    log = PullLog(context)
    log.note(A, ONE)
    clock.advance(HOUR)
    log.note(A, ONE)
    await log.flush(everything=True)
    assert sorted(batch.since for batch in await batches(memory)) == [FIRST, FIRST + HOUR]


async def test_what_cannot_be_written_is_tried_again(context: Context, memory: Refusing, clock: Clock) -> None:
    """It is not lost, and neither is what is pulled meanwhile."""
    log = PullLog(context)
    log.note(A, ONE)
    clock.advance(HOUR)
    memory.is_away = True
    with pytest.raises(Unavailable):
        await log.flush()
    log.note(A, TWO)
    memory.is_away = False
    await log.flush()
    assert [batch.last for batch in await batches(memory)] == [{"a": {str(ONE): FIRST}}]
    await log.flush(everything=True)
    assert {digest for batch in await batches(memory) for digest in batch.last["a"]} == {str(ONE), str(TWO)}


async def test_memory_is_bounded(context: Context, memory: Refusing) -> None:
    """Beyond a bound it writes early, and while it cannot, it forgets rather than grows."""
    log = PullLog(context)
    memory.is_away = True
    digests = [Digest("sha256", f"{number:064x}") for number in range(2 * MOST + 100)]
    for digest in digests[:MOST]:
        log.note(A, digest)
    with pytest.raises(Unavailable):
        await log.flush()
    for digest in digests:
        log.note(A, digest)
    memory.is_away = False
    await log.flush()
    [batch] = await batches(memory)
    assert len(batch.last["a"]) == 2 * MOST
    log.note(A, digests[-1])
    await log.flush(everything=True)
    assert len(await batches(memory)) == 2


async def test_put_together(context: Context, memory: MemoryStore, clock: Clock) -> None:
    """What is older than a day becomes one object, which says the same: the latest hour, and since when it knows."""
    pulls, logs = Pulls(context), [PullLog(context), PullLog(context)]
    assert await pulls.read() is None
    for hour in range(30):
        for number, log in enumerate(logs):
            log.note(A, ONE)
            log.note(B, Digest.of(b"%d" % (hour * number)))
        clock.advance(HOUR)
        for log in logs:
            await log.flush()
    before = await pulls.read()
    assert before is not None
    assert before.since == FIRST
    assert before.last["a"] == {str(ONE): FIRST + 29 * HOUR}
    assert len(await keys(memory, layout.PULLS_PREFIX)) == 60
    await pulls.compact(clock.now)
    left = await keys(memory, layout.PULLS_PREFIX)
    assert [layout.parse_pulls_key(key)[0] for key in left[::2]] == [FIRST + hour * HOUR for hour in range(7, 30)]
    after = await pulls.read()
    assert after is not None
    assert (after.since, after.last) == (before.since, before.last)
    clock.advance(2 * SETTLED)
    await pulls.compact(clock.now)
    assert await keys(memory, layout.PULLS_PREFIX) == []
    after = await pulls.read()
    assert after is not None
    assert (after.since, after.last) == (before.since, before.last)


async def test_what_was_pulled_long_ago_is_forgotten(context: Context, clock: Clock) -> None:
    """So that the one object does not grow for ever; since when it knows stays."""
    pulls, log = Pulls(context), PullLog(context)
    log.note(A, ONE)
    await log.flush(everything=True)
    clock.advance(LONGEST + 2 * SETTLED)
    log.note(B, TWO)
    await log.flush(everything=True)
    clock.advance(SETTLED + HOUR)
    await pulls.compact(clock.now)
    times = await pulls.read()
    assert times is not None
    assert (times.since, set(times.last)) == (FIRST, {"b/c"})
    assert of_repository(times, "a").within(str(ONE), LONGEST, clock.now) is False


async def test_a_crash_between_two_steps(context: Context, memory: MemoryStore, clock: Clock) -> None:
    """A batch that was put with the others and is still there, or put so twice, changes nothing."""
    pulls, log = Pulls(context), PullLog(context)
    log.note(A, ONE)
    await log.flush(everything=True)
    clock.advance(2 * SETTLED)
    [key] = await keys(memory, layout.PULLS_PREFIX)
    batch = (await memory.get(key)).body
    await pulls.compact(clock.now)
    before = await pulls.read()
    await memory.put(key, batch)
    again = await pulls.read()
    await pulls.compact(clock.now)
    after = await pulls.read()
    assert before is not None
    assert again is not None
    assert after is not None
    assert before.last == again.last == after.last
    assert await keys(memory, layout.PULLS_PREFIX) == []


async def fill(context: Context, clock: Clock, hours: int, digests: int = 1) -> None:
    """So many batches of hours that are long over."""
    log = PullLog(context)
    for _ in range(hours):
        for number in range(digests):
            log.note(A, Digest("sha256", f"{number:064x}"))
        clock.advance(HOUR)
        await log.flush()
    clock.advance(2 * SETTLED)


async def test_a_run_that_dies_at_any_request(
    context: Context, memory: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has put together until then MUST stay so, and nothing is lost."""

    async def die() -> None:
        raise Unavailable("as if it were killed")

    monkeypatch.setattr("storage.retention.pulls.MANY", 2)
    await fill(context, clock, hours=5)
    before, left = await Pulls(context).read(), list[int]()
    assert before is not None
    while True:
        bucket = MemoryStore(clock)
        bucket._objects = dict(memory._objects)  # noqa: SLF001 - a bucket of its own
        store = Interrupting(bucket)
        store.arm(len(left) + 1, die)
        views = Views(clock, Epoch(), max_bytes=0)
        try:
            await Pulls(Context(store, views, clock, context.nonce)).compact(clock.now)
        except Unavailable:
            left.append(len(await keys(bucket, layout.PULLS_PREFIX)))
        else:
            break
        after = await Pulls(Context(bucket, views, clock, context.nonce)).read()
        assert after is not None
        assert (after.since, after.last) == (before.since, before.last)
    assert left == [5] * 6 + [3] * 4 + [1] * 3
    assert await keys(bucket, layout.PULLS_PREFIX) == []


@pytest.mark.parametrize("is_read", [True, False])
async def test_few_batches_are_in_memory_at_a_time(context: Context, clock: Clock, is_read: bool) -> None:
    """However many there are that name the same manifests."""
    import tracemalloc  # noqa: PLC0415 - slows down whoever imports and starts it

    await fill(context, clock, hours=100, digests=400)
    pulls = Pulls(context)
    tracemalloc.start()
    try:
        await (pulls.read() if is_read else pulls.compact(clock.now))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20, "40,000 pulls take some 7 MiB"


async def test_two_that_put_together_at_once(context: Context, memory: MemoryStore, clock: Clock) -> None:
    """One of them does, and the other removes nothing: what it was about to write down is in no other object."""

    class Overtaken(MemoryStore):
        """Lets another run be faster, right before the write of the first."""

        async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
            """See ObjectStore.put."""
            if key == layout.PULLED_KEY:
                await memory.put(key, encode(PullTimes(0, {}, "f" * 16)))
            return await memory.put(key, body, if_absent=if_absent, if_match=if_match)

    log = PullLog(context)
    log.note(A, ONE)
    await log.flush(everything=True)
    clock.advance(2 * SETTLED)
    slow = Overtaken(clock)
    slow._objects = memory._objects  # noqa: SLF001 - the same bucket
    with pytest.raises(PreconditionFailed):
        await Pulls(Context(slow, context.views, clock, context.nonce)).compact(clock.now)
    assert len(await keys(memory, layout.PULLS_PREFIX)) == 1


async def test_a_batch_that_moves_while_it_is_read(context: Context, memory: MemoryStore, clock: Clock) -> None:
    """A run that puts batches together while another one reads them MUST NOT hide a pull from it, at whatever request it does."""

    class Compacting(MemoryStore):
        """Has another run put all together right before its request number `at`."""

        def __init__(self, at: int) -> None:
            super().__init__(clock)
            self._objects = memory._objects  # noqa: SLF001 - the same bucket
            self.count, self.at = 0, at

        async def get(self, key: str) -> StoredObject:
            """See ObjectStore.get."""
            await self.step()
            return await super().get(key)

        async def step(self) -> None:
            """Count a request."""
            self.count += 1
            if self.count == self.at:
                await Pulls(Context(memory, Views(clock, Epoch(), max_bytes=0), clock, context.nonce)).compact(
                    clock.now
                )

    for at in range(1, 5):
        memory._objects.clear()  # noqa: SLF001 - a new bucket
        log = PullLog(context)
        for name in (A, B):
            log.note(name, ONE)
            await log.flush(everything=True)
        clock.advance(2 * SETTLED)
        store = Compacting(at)
        times = await Pulls(Context(store, Views(clock, Epoch(), max_bytes=0), clock, context.nonce)).read()
        assert times is not None
        assert set(times.last) == {"a", "b/c"}, at


async def test_a_batch_that_is_damaged(context: Context, memory: MemoryStore, clock: Clock) -> None:
    """It is named, and neither taken for empty nor removed."""
    log = PullLog(context)
    log.note(A, ONE)
    await log.flush(everything=True)
    clock.advance(2 * SETTLED)
    [key] = await keys(memory, layout.PULLS_PREFIX)
    await memory.put(key, b"{}")
    for work in (Pulls(context).read(), Pulls(context).compact(clock.now)):
        with pytest.raises(CorruptRecord, match="retention/pulls/"):
            await work
    assert await keys(memory, layout.PULLS_PREFIX) == [key]


# ---------------------------------------------------------------- the gateway


async def test_a_gateway_notes_what_it_sends(world: World, memory: MemoryStore, metered: MeteredStore) -> None:
    """GET by tag and by digest, with the requests of its budget and no other; HEAD and what is not there are no pulls, a 304 is one."""
    async with world.gateway(record_pulls=True) as api:
        tagged, untagged = await api.image("a", "1"), await api.image("a", None, "x")
        head = await api.image("a", "2", "y")
        await api.head("/v2/a/manifests/2")
        await api.get("/v2/a/manifests/3")
        metered.requests.clear()
        assert (await api.get("/v2/a/manifests/1")).status_code == 200
        assert metered.requests == {"GET": 1}
        assert (await api.get(f"/v2/a/manifests/{untagged.digest}")).status_code == 200
        assert metered.requests == {"GET": 1}
        held = await api.image("a", None, "z")
        answer = await api.get(f"/v2/a/manifests/{held.digest}", headers={"If-None-Match": f'"{held.digest}"'})
        assert answer.status_code == 304
        assert await batches(memory) == []
    [batch] = await batches(memory)
    assert batch.last == {"a": {tagged.digest: FIRST, untagged.digest: FIRST, held.digest: FIRST}}
    assert head.digest not in batch.last["a"]


async def test_a_gateway_that_served_nothing_writes_nothing(world: World, metered: MeteredStore) -> None:
    """An idle one makes no request, nor does one that is told not to record."""
    async with world.gateway(record_pulls=True):
        metered.requests.clear()
    assert metered.requests == {}
    async with world.gateway() as api:
        await api.image("a", "1")
        await api.get("/v2/a/manifests/1")
        metered.requests.clear()
    assert metered.requests == {}


async def test_a_store_that_takes_no_batch_fails_no_pull(world: World, memory: Refusing) -> None:
    """Neither does it keep the gateway from ending."""
    async with world.gateway(record_pulls=True) as api:
        await api.image("a", "1")
        memory.is_away = True
        for _ in range(3):
            assert (await api.get("/v2/a/manifests/1")).status_code == 200
    assert await batches(memory) == []


async def test_a_store_that_does_not_answer_keeps_no_gateway_from_ending(
    world: World, memory: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last write MUST be given up after LAST."""
    monkeypatch.setattr(recording, "LAST", 0.01)
    async with asyncio.timeout(10), world.gateway(record_pulls=True) as api:
        await api.image("a", "1")
        await api.get("/v2/a/manifests/1")
        memory.is_silent = True
    assert await batches(memory) == []


async def test_hours_are_written_while_it_serves(
    world: World, memory: Refusing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a task of its own, which a store that is away for a while does not end."""
    ticks: asyncio.Queue[None] = asyncio.Queue()
    looked = asyncio.Event()

    async def tick(seconds: float) -> None:
        looked.set()
        assert seconds == recording.EVERY
        await ticks.get()

    async def look() -> None:
        looked.clear()
        ticks.put_nowait(None)
        await looked.wait()

    monkeypatch.setattr(recording, "pause", tick)
    async with world.gateway(record_pulls=True) as api:
        await api.image("a", "1")
        await api.get("/v2/a/manifests/1")
        await look()
        assert await batches(memory) == []
        clock.advance(HOUR)
        memory.is_away = True
        await look()
        assert await batches(memory) == []
        memory.is_away = False
        await look()
        assert len(await batches(memory)) == 1
    assert len(await batches(memory)) == 1


async def test_what_is_pulled_while_a_batch_cannot_be_written(
    context: Context, memory: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is of the same hour, and joins what is tried again."""
    log = PullLog(context)
    log.note(A, ONE)

    async def refuse(*_: object, **__: object) -> str:
        log.note(A, TWO)
        raise Unavailable("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(memory, "put", refuse)
        with pytest.raises(Unavailable):
            await log.flush(everything=True)
    await log.flush(everything=True)
    [batch] = await batches(memory)
    assert set(batch.last["a"]) == {str(ONE), str(TWO)}
