"""The lease keeps two runs from doing the same work, tells the store's time, and remembers when the last run was done."""

import asyncio

import pytest

from storage import layout
from storage.errors import Busy, Denied, NotFound
from storage.lease import Lease
from storage.objects.contract import ObjectStore
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.shelf import Context
from storage.views import Epoch, Views
from tests.collection.interrupting import interrupted
from tests.protocol.serving import START, Clock, Nonces

WORK = "collector"
LEASE = 300.0
SKEW = 1000.0


class Host:
    """A process whose clock is its own, with a lease on the work."""

    def __init__(self, store: ObjectStore, clock: Clock, nonces: Nonces) -> None:
        self.context = Context(store, Views(clock, Epoch(), max_bytes=10**6), clock, nonces)
        self.lease = Lease(self.context, WORK)


@pytest.fixture
def here() -> Clock:
    """The clock of the hosts: behind the store's."""
    clock = Clock()
    clock.advance(-SKEW)
    return clock


@pytest.fixture
def store(clock: Clock) -> MeteredStore:
    """The store of all, with a clock of its own."""
    return MeteredStore(MemoryStore(clock))


@pytest.fixture
def nonces() -> Nonces:
    """Of all."""
    return Nonces()


@pytest.fixture
def host(store: MeteredStore, here: Clock, nonces: Nonces) -> Host:
    """One process."""
    return Host(store, here, nonces)


@pytest.fixture
def other(store: MeteredStore, here: Clock, nonces: Nonces) -> Host:
    """Another one."""
    return Host(store, here, nonces)


async def test_t0_is_the_stores_time(host: Host, clock: Clock, here: Clock) -> None:
    """Not the host's, and never later than now, neither at the beginning nor later on."""
    async with host.lease.held() as began:
        assert began == START
        clock.advance(10)
        here.advance(10)
        assert START <= await host.lease.keep() <= START + 10
        assert await host.lease.renew() == START + 10


async def test_while_one_holds_it(host: Host, other: Host) -> None:
    """Others are Busy, also those of the same process; when it has ended, they are not."""
    async with host.lease.held():
        for lease in (other.lease, Lease(host.context, WORK)):
            with pytest.raises(Busy, match="another run of the collector is under way"):
                await lease.held().__aenter__()
        async with Lease(other.context, "scrub").held():
            pass
    async with other.lease.held():
        pass
    async with host.lease.held():
        pass


async def test_a_holder_that_died(host: Host, other: Host, clock: Clock) -> None:
    """Keeps it for as long as the lease lasts since its last sign of life by the store's clock, and no longer."""
    held = host.lease.held()
    await held.__aenter__()
    clock.advance(LEASE)
    await host.lease.renew()
    clock.advance(LEASE)
    with pytest.raises(Busy):
        await other.lease.held().__aenter__()
    clock.advance(1)
    async with other.lease.held() as began:
        assert began == START + 2 * LEASE + 1
        with pytest.raises(Busy, match="has taken over"):
            await host.lease.renew()
        await held.__aexit__(None, None, None)  # its work is done all the same
        await other.lease.renew()


async def test_a_run_that_lost_it_leaves_the_lease_alone(host: Host, other: Host, clock: Clock) -> None:
    """However it ends: the error that ended it is told, and the one that has the lease keeps it."""
    held = host.lease.held()
    await held.__aenter__()
    clock.advance(LEASE + 1)
    async with other.lease.held():
        assert not await held.__aexit__(Denied, Denied("what ended it"), None)
        with pytest.raises(Busy):
            await Lease(host.context, WORK).held().__aenter__()
        await other.lease.renew()


async def fail(lease: Lease, other: Lease, ended: float | None) -> None:
    """A run that fails, while which the last one that was done is still known."""
    held = lease.held()
    await held.__aenter__()
    assert await other.ended() == ended
    assert not await held.__aexit__(Denied, Denied("x"), None)


async def test_when_the_last_run_was_done(host: Host, other: Host, clock: Clock) -> None:
    """By the store's clock; a run that goes on, one that failed and a dry run change nothing about it."""
    assert await other.lease.ended() is None
    await fail(host.lease, other.lease, None)
    assert await other.lease.ended() is None
    async with host.lease.held():
        clock.advance(50)
    assert await other.lease.ended() == START + 50
    clock.advance(50)
    await fail(host.lease, other.lease, START + 50)
    async with host.lease.held(dry_run=True):
        assert await other.lease.ended() == START + 50
    assert await other.lease.ended() == START + 50
    clock.advance(50)
    async with other.lease.held():
        await other.lease.renew()
    assert await host.lease.ended() == START + 150


async def test_a_run_that_is_cancelled(host: Host, other: Host) -> None:
    """Lets go of the lease, and is cancelled all the same."""
    began = asyncio.Event()

    async def run() -> None:
        async with host.lease.held():
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with other.lease.held():
        pass


async def test_keeping_it_costs_little(host: Host, store: MeteredStore, here: Clock, clock: Clock) -> None:
    """It is renewed a few times within the time that it lasts, and again once the host's clock was put back."""
    async with host.lease.held():
        store.requests.clear()
        for _ in range(60):
            await host.lease.keep()
            here.advance(1)
            clock.advance(1)
        assert store.requests.total() == 0
        assert await host.lease.keep() == START + 60
        assert store.requests.total() == 2
        here.advance(-3600)
        clock.advance(1)
        assert await host.lease.keep() == START + 61


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_two_that_begin_at_once(store: MeteredStore, here: Clock, nonces: Nonces, at: int) -> None:
    """Exactly one of them gets it, wherever the one passes the other."""
    other = Host(store, here, nonces)
    begun: list[bool] = []

    async def overtake() -> None:
        try:
            await other.lease.held().__aenter__()
        except Busy:
            begun.append(False)
        else:
            begun.append(True)

    slow, _ = interrupted(store, at, overtake)
    host = Host(slow, here, nonces)
    try:
        await host.lease.held().__aenter__()
    except Busy:
        begun.append(False)
    else:
        begun.append(True)
    assert sorted(begun) == [False, True]


async def test_a_lease_that_is_gone(host: Host, store: MeteredStore) -> None:
    """Is as one that another run has taken over."""
    held = host.lease.held()
    await held.__aenter__()
    await store.delete(layout.lease_key(WORK))
    with pytest.raises(Busy):
        await host.lease.renew()
    with pytest.raises(NotFound):
        await store.head(layout.lease_key(WORK))
