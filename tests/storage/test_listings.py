"""Listings of records: what they leave out, and how much they ask for."""

import time

import pytest

from storage.errors import CorruptRecord
from storage.listings import first, live
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.records import TOMBSTONE_SIZE

RECORD, TOMBSTONE = b"x" * (TOMBSTONE_SIZE + 1), b"x" * TOMBSTONE_SIZE


async def written(kinds: str) -> MeteredStore:
    """A store with a record for each r of `kinds`, and a tombstone for each t, below a/."""
    store = MeteredStore(MemoryStore(time.time))
    for number, kind in enumerate(kinds):
        await store.put(f"a/{number}", RECORD if kind == "r" else TOMBSTONE)
    store.requests.clear()
    return store


@pytest.mark.parametrize(
    ("kinds", "count", "expected", "requests"),
    [
        ("rrrr", 2, ["a/0", "a/1"], 1),
        ("rrrr", 4, ["a/0", "a/1", "a/2", "a/3"], 1),
        ("rrrr", 5, ["a/0", "a/1", "a/2", "a/3"], 1),
        # What tombstones took the place of takes another request, and no more than that.
        ("trtr", 2, ["a/1", "a/3"], 2),
        ("tttr", 1, ["a/3"], 2),
        ("tt", 2, [], 2),
        ("", 2, [], 1),
        ("rr", 0, [], 0),
    ],
)
async def test_the_first_records(kinds: str, count: int, expected: list[str], requests: int) -> None:
    """The first ones that are no tombstones, for a request that asks for no more than they are, and seldom a second."""
    store = await written(kinds)
    assert await first(count, live(store, "a/", str, few=count)) == expected
    assert store.requests["LIST"] == requests


async def test_what_comes_after_a_key() -> None:
    """A listing begins behind the key it is told, and goes on behind the last one that it saw."""
    store = await written("rrtrr")
    assert await first(2, live(store, "a/", str, start_after="a/0", few=2)) == ["a/1", "a/3"]
    assert [key async for key in live(store, "a/", str, start_after="a/3")] == ["a/4"]


async def test_a_key_that_is_not_ours() -> None:
    """What the parser does not take is corrupt, with its key."""
    store = await written("r")
    with pytest.raises(CorruptRecord, match="a/0"):
        await first(1, live(store, "a/", int))
