"""Records by compare-and-swap: nobody's change is lost, and nothing that is gone is remembered."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from storage.errors import Denied, PreconditionFailed, Unavailable
from storage.objects.contract import StoredObject
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.records import Instance, decode, encode
from storage.shelf import PARALLEL, Codec, Context, Shelf, gathered, settle
from storage.views import Epoch, Views
from tests.protocol.holding import HoldingStore, at_once
from tests.protocol.serving import Clock, Nonces


class Host:
    """A process with a shelf."""

    def __init__(self, store: MeteredStore, clock: Clock, nonces: Nonces, epoch: Epoch | None = None) -> None:
        self.views = Views(clock, epoch or Epoch(), max_bytes=10**6)
        context = Context(store, self.views, clock, nonces)
        self.shelf = Shelf[Instance](context, Codec(encode, partial(decode, kind=Instance)))


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
def nonces() -> Nonces:
    """One source for all."""
    return Nonces()


@pytest.fixture
def store(clock: Clock) -> HoldingStore:
    """One store for all."""
    return HoldingStore(MemoryStore(clock))


@pytest.fixture
def host(store: MeteredStore, clock: Clock, nonces: Nonces) -> Host:
    """A process."""
    return Host(store, clock, nonces)


@pytest.fixture
def other(store: MeteredStore, clock: Clock, nonces: Nonces) -> Host:
    """Another one, on another host."""
    return Host(store, clock, nonces)


async def test_reading(host: Host, other: Host, store: MeteredStore) -> None:
    """`recent` asks once a minute, `current` each time by a conditional GET, `read` each time."""
    await other.shelf.write("k", Instance("d", 1, "a" * 16), None)
    store.requests.clear()
    for _ in range(3):
        assert (await host.shelf.recent("k")).value == Instance("d", 1, "a" * 16)
    assert store.requests.total() == 1
    for _ in range(3):
        assert (await host.shelf.current("k")).value == Instance("d", 1, "a" * 16)
        assert (await host.shelf.read("k")).value == Instance("d", 1, "a" * 16)
    assert store.requests.total() == 7


async def test_reading_together(host: Host, other: Host, store: HoldingStore) -> None:
    """Who asks by `current` or `recent` while another does waits for one more read, if that; who asks by `read` has one of its own."""
    for key in ("k", "l"):
        await other.shelf.write(key, Instance("d", 1, "a" * 16), None)
    await host.shelf.current("k")
    for look, key, requests in (
        (host.shelf.current, "k", 2),  # seen before
        (host.shelf.current, "absent", 2),
        (host.shelf.recent, "absent", 2),
        (host.shelf.recent, "l", 1),  # which the others find that one of them has just seen
        (host.shelf.read, "l", 30),
    ):
        views = await at_once(store, 30, partial(look, key))
        assert {view.value for view in views} == {None if key == "absent" else Instance("d", 1, "a" * 16)}
        assert store.requests == {"GET": requests}


async def test_a_shared_view_dates_from_its_read(host: Host, store: HoldingStore, clock: Clock) -> None:
    """Not from when it was asked for, which may be long before, and MUST NOT be from after it began."""
    began = clock.now
    store.lets_read.clear()
    first, *company = [asyncio.create_task(host.shelf.current("k")) for _ in range(3)]
    await asyncio.sleep(0)
    clock.advance(5)
    store.lets_read.set()
    assert (await first).taken.time == began
    assert [(await each).taken.time for each in company] == [began + 5] * 2


async def test_absence_and_tombstones_are_never_remembered(host: Host, other: Host, store: MeteredStore) -> None:
    """Both are no value; what is written elsewhere is seen at once."""
    for look in (host.shelf.read, host.shelf.recent, host.shelf.current):
        absent = await look("k")
        assert (absent.value, absent.etag) == (None, None)
        view = await other.shelf.write("k", Instance("d", 1, "b" * 16), await other.shelf.read("k"))
        assert (await look("k")).value == view.value
        await other.shelf.bury(view)
        host.views.begin_epoch("0" * 16)
        buried = await look("k")
        assert buried.value is None
        assert buried.etag is not None
        assert host.shelf.known("k") is None
        await other.shelf.write("k", Instance("d", 2, "c" * 16), buried)
        assert (await look("k")).value == Instance("d", 2, "c" * 16)
        await store.delete("k")
        host.views.begin_epoch("1" * 16)


async def test_a_write_replaces_exactly_what_was_seen(host: Host, other: Host) -> None:
    """Absent, a record or a tombstone: if it is another one now, PreconditionFailed, and nothing is remembered."""
    first = await host.shelf.write("k", Instance("d", 1, "a" * 16), None)
    with pytest.raises(PreconditionFailed):
        await other.shelf.write("k", Instance("d", 2, "b" * 16), None)
    second = await other.shelf.write("k", Instance("d", 2, "b" * 16), first)
    with pytest.raises(PreconditionFailed):
        await host.shelf.write("k", Instance("d", 3, "c" * 16), first)
    assert host.shelf.known("k") is None
    with pytest.raises(PreconditionFailed):
        await host.shelf.bury(first)
    await host.shelf.bury(second)
    with pytest.raises(PreconditionFailed):
        await other.shelf.write("k", Instance("d", 4, "d" * 16), second)
    with pytest.raises(PreconditionFailed):
        await other.shelf.write("k", Instance("d", 4, "d" * 16), None)


async def test_a_removal_begins_an_epoch_whatever_its_outcome(host: Host) -> None:
    """The store may have done it though it said no."""
    view = await host.shelf.write("k", Instance("d", 1, "a" * 16), None)
    taken = host.views.now()
    await host.shelf.bury(view)
    assert not host.views.is_recent(taken)
    taken = host.views.now()
    with pytest.raises(PreconditionFailed):
        await host.shelf.bury(view)
    assert not host.views.is_recent(taken)


async def test_settling() -> None:
    """Who was too late looks again, a bounded number of times; other errors pass through."""
    outcomes: list[Exception | str | None] = [PreconditionFailed("k"), None, "done"]

    async def attempt() -> str | None:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert await settle(attempt, "k") == "done"
    outcomes[:] = [PreconditionFailed("k")] * 100
    with pytest.raises(Unavailable, match="k is being changed"):
        await settle(attempt, "k")
    assert len(outcomes) > 50
    outcomes[:] = [Denied("k")]
    with pytest.raises(Denied):
        await settle(attempt, "k")


async def test_many_reads_at_once() -> None:
    """The results come in order, a bounded number is under way at a time."""
    under_way, most = 0, 0

    async def read(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return number

    assert await gathered(read(number) for number in range(200)) == list(range(200))
    assert most == PARALLEL
    assert await gathered([]) == []
    assert await gathered([read(1)]) == [1]


@pytest.mark.parametrize("failing", [0, 5, 40, 99])
async def test_the_first_error_ends_the_others(failing: int) -> None:
    """It is raised as it is, and no read is left behind, neither begun nor never begun."""
    finished = 0

    async def read(number: int) -> int:
        nonlocal finished
        await asyncio.sleep(0)
        if number == failing:
            raise Denied("the store's")
        finished += 1
        return number

    with pytest.raises(Denied, match="the store's"):
        await gathered(read(number) for number in range(100))
    assert finished <= failing + PARALLEL
    assert len(asyncio.all_tasks()) == 1


class Meanwhile(MemoryStore):
    """A store in which something happens right before its next PUT is applied, or before that or a conditional GET is answered."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.before: Callable[[], Awaitable[object]] | None = None
        self.after: Callable[[], Awaitable[object]] | None = None

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        before, after, self.before, self.after = self.before, self.after, None, None
        if before is not None:
            await before()
        etag = await super().put(key, body, if_absent=if_absent, if_match=if_match)
        if after is not None:
            await after()
        return etag

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """See ObjectStore.get_if_changed."""
        after, self.after = self.after, None
        found = await super().get_if_changed(key, etag)
        if after is not None:
            await after()
        return found


@pytest.fixture
def workers(clock: Clock, nonces: Nonces) -> tuple[Meanwhile, Host, Host]:
    """A store, and two processes of one host."""
    store, epoch = Meanwhile(clock), Epoch()
    metered = MeteredStore(store)
    return store, Host(metered, clock, nonces, epoch), Host(metered, clock, nonces, epoch)


async def test_what_another_worker_reads_right_before_a_removal(workers: tuple[Meanwhile, Host, Host]) -> None:
    """Is not remembered after it: the epoch begins behind the PUT."""
    store, one, other = workers
    view = await one.shelf.write("k", Instance("d", 1, "a" * 16), None)
    store.before = lambda: other.shelf.read("k")
    await one.shelf.bury(view)
    assert other.shelf.known("k") is None


async def test_what_another_worker_removes_right_behind_a_write(workers: tuple[Meanwhile, Host, Host]) -> None:
    """Is not remembered by the writer, whose view dates from before its PUT, though the answer came later."""
    store, one, other = workers

    async def remove() -> None:
        await other.shelf.bury(await other.shelf.read("k"))

    store.after = remove
    await one.shelf.write("k", Instance("d", 1, "a" * 16), None)
    assert one.shelf.known("k") is None


async def test_what_another_worker_removes_while_it_is_found_unchanged(workers: tuple[Meanwhile, Host, Host]) -> None:
    """Is not remembered: the view dates from before the question."""
    store, one, other = workers
    await one.shelf.write("k", Instance("d", 1, "a" * 16), None)

    async def remove() -> None:
        await other.shelf.bury(await other.shelf.read("k"))

    store.after = remove
    assert (await one.shelf.current("k")).value is not None
    assert one.shelf.known("k") is None


async def test_what_a_look_finds_gone_is_forgotten(host: Host, store: HoldingStore) -> None:
    """A record that is there no more, without a tombstone, is remembered no more."""
    for look in (host.shelf.read, host.shelf.current):
        await host.shelf.write("k", Instance("d", 1, "a" * 16), None)
        await store.delete("k")
        assert (await look("k")).etag is None
        assert host.shelf.known("k") is None


async def test_what_comes_damaged_though_it_was_only_asked_for_changes_is_looked_at_again(
    host: Host, other: Host, store: HoldingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One answer may be damaged on its way here: a tag that was moved MUST NOT be unreadable for that."""
    written = await host.shelf.write("k", Instance("data/0", 1, "0" * 16), None)
    moved = await other.shelf.write("k", Instance("data/1", 1, "1" * 16), written)
    ask = store.get_if_changed

    async def damaged(key: str, etag: str) -> StoredObject | None:
        found = await ask(key, etag)
        assert found is not None
        return StoredObject(found.info, found.body[:-1])

    monkeypatch.setattr(store, "get_if_changed", damaged)
    assert (await host.shelf.current("k")).value == moved.value
