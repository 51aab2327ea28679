"""A lease that several tasks of one run keep, one that a long run keeps to its end, and one that was damaged."""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import pytest

from storage import layout, removals
from storage.collection import collector, verdicts
from storage.errors import Busy, Unavailable
from storage.lease import Lease
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.shelf import Context
from storage.views import Epoch, Views
from tests.protocol.serving import START, Clock, Nonces, World
from tests.retention.keeping import keeper_of


class FailingStore(MeteredStore):
    """Fails the next PUT if it is told to."""

    fails = False

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        await asyncio.sleep(0)  # as any store: others have their turn meanwhile
        if self.fails:
            self.fails = False
            raise Unavailable(key)
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)


@pytest.fixture
def clock() -> Clock:
    """Of the store and of all hosts."""
    return Clock()


@pytest.fixture
def store(clock: Clock) -> FailingStore:
    """One that can fail."""
    return FailingStore(MemoryStore(clock))


@pytest.fixture
def lease(store: FailingStore, clock: Clock) -> Lease:
    """Of one run."""
    return Lease(Context(store, Views(clock, Epoch(), max_bytes=10**6), clock, Nonces()), "collector")


async def test_tasks_keep_it_together(lease: Lease, store: FailingStore, clock: Clock) -> None:
    """Tasks that find it due at once MUST NOT take each other for another run: one of them renews it for all."""
    async with lease.held():
        clock.advance(100)
        store.requests.clear()
        assert await asyncio.gather(*(lease.keep() for _ in range(20)), lease.renew()) == [START + 100] * 21
        assert store.requests.total() == 4


async def test_what_failed_is_not_taken_for_done(lease: Lease, store: FailingStore, clock: Clock) -> None:
    """A renewal that failed MUST be made again by whoever keeps the lease next."""
    async with lease.held():
        clock.advance(100)
        store.fails = True
        with pytest.raises(Unavailable):
            await lease.keep()
        assert await lease.keep() == START + 100


async def test_a_damaged_one_holds_nobody_back(lease: Lease, store: FailingStore) -> None:
    """No safety rests on it, so that nobody needs to mend it by hand."""
    await store.put(layout.lease_key("collector"), b"what moorage has never written")
    assert await lease.ended() is None
    async with lease.held() as began:
        assert began == START


class SlowStore(MeteredStore):
    """Takes half a minute for a removal, and tries to hold a lease after each."""

    def __init__(self, clock: Clock, work: str) -> None:
        super().__init__(MemoryStore(clock))
        self._clock, self._work = clock, work
        self.removals, self.taken = 0, 0

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        etag = await super().put(key, body, if_absent=if_absent, if_match=if_match)
        if if_match is not None and b'"state":"condemned"' in body:
            await self._removed()
        return etag

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many."""
        await super().delete_many(keys)
        await self._removed()

    async def _removed(self) -> None:
        self.removals += 1
        self._clock.advance(30)
        nonces = partial(secrets.token_hex, 8)
        other = Lease(Context(self, Views(self._clock, Epoch(), max_bytes=10**6), self._clock, nonces), self._work)
        with suppress(Busy):
            async with other.held():
                self.taken += 1


@pytest.mark.parametrize("work", ["collector", "retention"])
async def test_a_long_run_keeps_it_to_its_end(clock: Clock, work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is to remove, nobody else MUST begin the same meanwhile."""
    monkeypatch.setattr(removals, "PAGE", 1)
    for module in (collector, verdicts):
        monkeypatch.setattr(module, "MANY", 1)
        monkeypatch.setattr(module, "PARALLEL", 1)
    store = SlowStore(clock, work)
    world = World(store, clock)
    async with world.gateway() as api:
        for number in range(24):
            await store.put(f"data/{number:032x}/{0:013}-{number:016x}", b"of an upload")
            await api.image("a", str(number), f"x{number}")
            await api.blob("a", b"unreferenced%d" % number)
    keeper = await keeper_of(world)
    await keeper.apply()
    clock.advance(10 * 24 * 3600)
    await (keeper.run() if work == "retention" else keeper.registry.collector.run())
    assert store.removals >= 24
    assert store.taken == 0
