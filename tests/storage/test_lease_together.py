"""A lease that several tasks of one run keep, and one that was damaged."""

import asyncio

import pytest

from storage import layout
from storage.errors import Unavailable
from storage.lease import Lease
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.shelf import Context
from storage.views import Epoch, Views
from tests.protocol.serving import START, Clock, Nonces


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
