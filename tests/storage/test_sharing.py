"""Reads that are shared: never an older one than asked for, by nobody's leave, and nothing of them stays."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from storage.errors import Unavailable
from storage.sharing import Sharing

CALLER: ContextVar[str] = ContextVar("caller", default="nobody")
KEY = "k"
COMPANY = 50

pytestmark = pytest.mark.timeout(20)  # who is forgotten waits for ever


class Reads:
    """Reads that end when a test says so, numbered from 1 as they begin; what each finds is its number."""

    def __init__(self) -> None:
        self.sharing = Sharing(self._read)
        self.ends: list[asyncio.Future[None]] = []
        self.callers: list[str] = []
        self.under_way: dict[str, int] = {}
        self.cancelled = 0

    @property
    def begun(self) -> int:
        """How many reads have begun so far."""
        return len(self.ends)

    async def _read(self, key: str) -> int:
        assert key not in self.under_way, "two reads of a key at once"
        self.ends.append(asyncio.get_running_loop().create_future())
        self.callers.append(CALLER.get())
        number = self.under_way[key] = self.begun
        try:
            await self.ends[-1]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            del self.under_way[key]
        return number

    async def caller(self, key: str = KEY, name: str = "somebody") -> int:
        """Ask, and find that what is answered began afterwards."""
        CALLER.set(name)
        before = self.begun
        found = await self.sharing.read(key)
        assert found > before, "a read that began before it was asked for"
        return found

    async def callers_of(self, number: int, key: str = KEY) -> list[asyncio.Task[int]]:
        """So many callers, who have all asked."""
        tasks = [asyncio.create_task(self.caller(key, f"caller {each}")) for each in range(number)]
        await turns()
        return tasks

    async def end(self, number: int, error: Exception | None = None) -> None:
        """End a read, with `error` if there is one, and let those learn it who wait for that."""
        if error:
            self.ends[number - 1].set_exception(error)
        else:
            self.ends[number - 1].set_result(None)
        await turns()


async def turns() -> None:
    """Let all go on who can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def reads() -> AsyncIterator[Reads]:
    """Reads of which nothing MUST stay: no task, no key, no error that nobody was told."""
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: unheard.append(said))
    made = Reads()
    yield made
    await turns()
    gc.collect()
    assert made.sharing._waiting == {}  # noqa: SLF001 - what must not grow
    assert made.under_way == {}
    assert unheard == []
    assert len(asyncio.all_tasks()) == 1


async def test_who_is_alone_reads_at_once(reads: Reads) -> None:
    """Each time anew, in its own task and context."""
    for number in (1, 2, 3):
        caller = asyncio.create_task(reads.caller(name="the only one"))
        await turns()
        assert len(asyncio.all_tasks()) == 2
        await reads.end(number)
        assert await caller == number
    assert reads.callers == ["the only one"] * 3


async def test_who_waits_shares_the_next_read(reads: Reads) -> None:
    """Any number that come while a key is read wait for one more read of it, whereas other keys have theirs."""
    (first,) = await reads.callers_of(1)
    company = await reads.callers_of(COMPANY)
    (elsewhere,) = await reads.callers_of(1, "another")
    assert reads.begun == 2
    await reads.end(2)
    assert await elsewhere == 2
    assert not first.done()
    await reads.end(1)
    assert await first == 1
    assert reads.begun == 3
    await reads.end(3)
    assert set(await asyncio.gather(*company)) == {3}


async def test_a_late_comer_waits_for_a_later_read(reads: Reads) -> None:
    """Who comes when the shared read has begun has another; who comes just before, once it is due, shares it."""
    (first,) = await reads.callers_of(1)
    company = await reads.callers_of(3)
    reads.ends[0].set_result(None)
    company.append(
        asyncio.create_task(reads.caller())
    )  # asks between the end of the first and the beginning of the next
    await asyncio.sleep(0)
    assert (first.done(), reads.begun) == (True, 1)
    await turns()
    assert reads.begun == 2
    late = await reads.callers_of(3)
    await reads.end(2)
    assert set(await asyncio.gather(*company)) == {2}
    await reads.end(3)
    assert set(await asyncio.gather(*late)) == {3}


async def shared(reads: Reads) -> list[asyncio.Task[int]]:
    """Callers who share read 2, the first of whom makes it."""
    (first,) = await reads.callers_of(1)
    company = await reads.callers_of(COMPANY)
    await reads.end(1)
    assert await first == 1
    assert (reads.begun, reads.callers[-1]) == (2, "caller 0")
    return company


async def test_another_reads_when_the_reader_goes_away(reads: Reads) -> None:
    """In its own context, for all who waited, those who came while the lost read was under way among them."""
    reader, *company = await shared(reads)
    late = await reads.callers_of(3)
    reader.cancel()
    await turns()
    assert (reads.begun, reads.cancelled, reads.callers[-1]) == (3, 1, "caller 1")
    await reads.end(3)
    assert set(await asyncio.gather(*company, *late)) == {3}
    assert reader.cancelled()


async def test_another_reads_when_the_only_reader_goes_away(reads: Reads) -> None:
    """Those who came while it read wait no longer."""
    (first,) = await reads.callers_of(1)
    company = await reads.callers_of(3)
    first.cancel()
    await turns()
    await reads.end(2)
    assert set(await asyncio.gather(*company)) == {2}


async def test_another_reads_when_one_goes_away_whose_turn_it_is(reads: Reads) -> None:
    """Between the end of a read and the beginning of the next."""
    (first,) = await reads.callers_of(1)
    reader, *company = await reads.callers_of(3)
    reads.ends[0].set_result(None)
    await asyncio.sleep(0)
    assert (first.done(), reads.begun) == (True, 1)
    reader.cancel()
    await turns()
    assert (reads.begun, reads.callers[-1]) == (2, "caller 1")
    await reads.end(2)
    assert set(await asyncio.gather(*company)) == {2}


async def test_nobody_minds_who_only_waited(reads: Reads) -> None:
    """The read goes on, and is everybody else's."""
    reader, *company = await shared(reads)
    for gone in company[::2]:
        gone.cancel()
    await turns()
    await reads.end(2)
    assert {await reader, *await asyncio.gather(*company[1::2])} == {2}
    assert (reads.begun, reads.cancelled) == (2, 0)


@pytest.mark.parametrize("order", [1, -1])
async def test_all_go_away(reads: Reads, order: int) -> None:
    """The reader first or last: what nobody waits for is not read on, and who comes then reads at once."""
    company = await shared(reads)
    for gone in company[::order]:
        gone.cancel()
    await turns()
    assert (reads.begun, reads.cancelled) == (2, 1)
    (late,) = await reads.callers_of(1)
    await reads.end(3)
    assert await late == 3


async def test_all_go_away_one_by_one(reads: Reads) -> None:
    """Each of them reads until it goes."""
    company = await shared(reads)
    for gone in company:
        gone.cancel()
        await turns()
    assert (reads.begun, reads.cancelled) == (1 + COMPANY, COMPANY)


async def test_an_error_is_everybodys(reads: Reads) -> None:
    """Of those who share the read, some of whom are gone; and of nobody who came later."""
    company = await shared(reads)
    company.pop().cancel()
    late = await reads.callers_of(3)
    error = Unavailable("the store's")
    reads.ends[1].set_exception(error)
    await asyncio.sleep(0)
    company.pop().cancel()  # has been told the error, and does not know it yet
    assert await asyncio.gather(*company, return_exceptions=True) == [error] * (COMPANY - 2)
    await turns()
    await reads.end(3)
    assert set(await asyncio.gather(*late)) == {3}


async def test_who_has_no_more_time_takes_none_from_others(reads: Reads) -> None:
    """A deadline of the one who reads ends its own waiting alone."""

    async def hurried() -> int:
        async with asyncio.timeout(0.01):
            return await reads.caller()

    reader = asyncio.create_task(hurried())
    company = await reads.callers_of(3)
    with pytest.raises(TimeoutError):
        await reader
    await turns()
    await reads.end(2)
    assert set(await asyncio.gather(*company)) == {2}


@pytest.mark.parametrize("seed", range(50))
async def test_whatever_happens(reads: Reads, seed: int) -> None:
    """Callers come and go, reads end well or not: everyone who stays has an answer that is fresh for it."""
    chance = random.Random(seed)
    callers: list[asyncio.Task[int]] = []
    for event in _events(chance, callers, reads):
        event()
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
    stayed = [caller for caller in callers if not caller.cancelling()]
    while not all(caller.done() for caller in callers):
        for end in reads.ends:
            if not end.done():
                end.set_result(None)
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*stayed, return_exceptions=True)
    assert len(outcomes) > 10
    assert {type(outcome) for outcome in outcomes} <= {int, Unavailable}


def _events(chance: random.Random, callers: list[asyncio.Task[int]], reads: Reads) -> Iterator[Callable[[], None]]:
    def comes() -> None:
        callers.append(asyncio.create_task(reads.caller(chance.choice(["k", "k", "l"]))))

    def goes() -> None:
        chance.choice(callers).cancel()

    def ends() -> None:
        for end in reads.ends:
            if not end.done():
                if chance.random() < 0.2:
                    end.set_exception(Unavailable("lost"))
                else:
                    end.set_result(None)
                return

    for _ in range(20):
        comes()
    for _ in range(80):
        yield chance.choice([comes, goes, ends])
