"""A single writer makes up for a store that ignores conditions: what the contract suite does not show of it."""

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import pytest

from storage.errors import PreconditionFailed, Unavailable
from storage.objects.memory import MemoryStore
from storage.objects.single_writer import SingleWriterStore


class Slow(MemoryStore):
    """A store that ignores conditions, and holds back what is written until it is let go."""

    def __init__(self) -> None:
        super().__init__(time.time)
        self.go = asyncio.Event()
        self.begun = 0
        self.failure: Exception | None = None

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        self.begun += 1
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        return await super().put(key, body)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete."""
        self.begun += 1
        await self.go.wait()
        await super().delete(key)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many."""
        self.begun += 1
        await self.go.wait()
        await super().delete_many(keys)


@pytest.fixture
def slow() -> Slow:
    """The store below."""
    return Slow()


@pytest.fixture
def store(slow: Slow) -> SingleWriterStore:
    """The store above."""
    return SingleWriterStore(slow)


def locks() -> int:
    """How many locks there are in this process."""
    gc.collect()
    return sum(isinstance(each, asyncio.Lock) for each in gc.get_objects())


async def turns() -> None:
    """Let all others go as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_cancelled_write_keeps_its_key(store: SingleWriterStore, slow: Slow) -> None:
    """A write that was cancelled may still be applied, so until it has ended no other MUST look at the key's state."""
    first = asyncio.create_task(store.put("k", b"first", if_absent=True))
    await turns()
    second = asyncio.create_task(store.put("k", b"second", if_absent=True))
    first.cancel()
    await turns()
    assert not first.done()
    first.cancel()
    await turns()
    assert first.cancelled()
    assert (slow.begun, second.done()) == (1, False)
    slow.go.set()
    with pytest.raises(PreconditionFailed):
        await second
    assert (await store.get("k")).body == b"first"


async def test_a_write_that_waits_can_be_cancelled(store: SingleWriterStore, slow: Slow) -> None:
    """Who has not got the key yet writes nothing once it is cancelled, and the next one gets its turn."""
    writers = [asyncio.create_task(store.put("k", b"%d" % number)) for number in range(3)]
    await turns()
    writers[1].cancel()
    await turns()
    assert writers[1].cancelled()
    slow.go.set()
    await asyncio.gather(writers[0], writers[2])
    assert (slow.begun, (await store.get("k")).body) == (2, b"2")


async def test_a_removal_of_many_that_waits_can_be_cancelled(store: SingleWriterStore, slow: Slow) -> None:
    """It lets go of the keys that it has got already."""
    writer = asyncio.create_task(store.put("k2", b"x"))
    await turns()
    removal = asyncio.create_task(store.delete_many(["k1", "k2"]))
    await turns()
    removal.cancel()
    await turns()
    assert removal.cancelled()
    slow.go.set()
    async with asyncio.timeout(5):
        await asyncio.gather(writer, store.put("k1", b"y"))


async def test_a_stream_that_has_ended_is_written_whoever_is_cancelled(store: SingleWriterStore, slow: Slow) -> None:
    """It may be applied by then, so it ends as any other write does; one that goes on is given up."""

    async def chunks() -> AsyncGenerator[bytes]:
        yield b"x"
        await goes_on.wait()

    goes_on = asyncio.Event()
    for ends in (True, False):
        if ends:
            goes_on.set()
        else:
            goes_on.clear()
        writer = asyncio.create_task(store.put_stream(f"k {ends}", chunks()))
        await turns()
        writer.cancel()
        await turns()
        assert writer.cancelled() is not ends
        slow.go.set()
        with pytest.raises(asyncio.CancelledError):
            await writer
        slow.go.clear()
    assert [info.key async for info in store.list("")] == ["k True"]


@pytest.mark.parametrize("write", ["put", "put_stream", "compose", "delete", "delete_many"])
async def test_every_write_waits_for_the_key(store: SingleWriterStore, slow: Slow, write: str) -> None:
    """A write without a condition MUST NOT come between a condition and the write that depends on it."""

    async def chunks() -> AsyncGenerator[bytes]:
        yield b"x"

    held = asyncio.create_task(store.put("k", b"held", if_absent=True))
    await turns()
    others: dict[str, Callable[[], Awaitable[object]]] = {
        "put": lambda: store.put("k", b"x"),
        "put_stream": lambda: store.put_stream("k", chunks()),
        "compose": lambda: store.compose("k", []),
        "delete": lambda: store.delete("k"),
        "delete_many": lambda: store.delete_many(["a", "k"]),
    }
    waiting = asyncio.ensure_future(others[write]())
    await turns()
    assert slow.begun == 1
    slow.go.set()
    await asyncio.gather(held, waiting)
    assert slow.begun == 2


async def test_a_record_is_not_read_while_it_is_replaced(store: SingleWriterStore, slow: Slow) -> None:
    """Some of these stores would give the head of one and the body of the other."""
    slow.go.set()
    etag = await store.put("k", b"old")
    slow.go.clear()
    writer = asyncio.create_task(store.put("k", b"new"))
    await turns()
    readers = [asyncio.create_task(store.get("k")), asyncio.create_task(store.get_if_changed("k", etag))]
    await turns()
    assert not any(reader.done() for reader in readers)
    slow.go.set()
    await writer
    for found in await asyncio.gather(*readers):
        assert found is not None
        assert found.body == b"new"


async def test_other_keys_do_not_wait(store: SingleWriterStore, slow: Slow) -> None:
    """There is a lock for each key, rather than one for all."""
    writers = [asyncio.create_task(store.put(f"k{number}", b"x", if_absent=True)) for number in range(5)]
    await turns()
    assert slow.begun == 5
    slow.go.set()
    await asyncio.gather(*writers)


async def test_removals_of_many_do_not_wait_for_each_other_for_ever(store: SingleWriterStore, slow: Slow) -> None:
    """Whatever the order in which they name their keys."""
    slow.go.set()
    names = [str(number) for number in range(20)]
    removals = [store.delete_many(names if number % 2 else names[::-1]) for number in range(10)]
    async with asyncio.timeout(5):
        await asyncio.gather(*removals)


async def test_locks_are_forgotten(store: SingleWriterStore, slow: Slow) -> None:
    """Memory MUST NOT grow with the number of keys, however their writes end."""
    before = locks()

    async def end_in_every_way() -> None:
        writers = [asyncio.create_task(store.put(f"k{number % 7}", b"x", if_absent=True)) for number in range(50)]
        await turns()
        assert locks() == before + 2 * 7  # of those who write, and of those who read or replace it whole
        for writer in writers[::3]:
            writer.cancel()
        slow.go.set()
        await asyncio.gather(*writers, return_exceptions=True)
        slow.failure = Unavailable("away")
        with pytest.raises(Unavailable):
            await store.put("other", b"x")
        slow.failure = None  # its traceback holds all of this frame

    await end_in_every_way()
    await turns()
    assert locks() == before


async def test_closing_waits(store: SingleWriterStore, slow: Slow) -> None:
    """What is under way ends before the store below is closed."""
    writer = asyncio.create_task(store.put("k", b"x"))
    await turns()
    closing = asyncio.create_task(store.close())
    await turns()
    assert not closing.done()
    slow.go.set()
    await closing
    assert writer.done()
