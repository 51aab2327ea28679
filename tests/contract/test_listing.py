"""Listings: what they name, in which order, and how they go on."""

import asyncio

import pytest

from storage.objects.contract import ObjectStore
from tests.contract.conftest import Backend
from tests.contract.helpers import in_byte_order, keys

NAMES = [
    "r/a-b/x",
    "r/a.b/x",
    "r/a/x",
    "r/a!b",
    "r/a0",
    "r/aB",
    "r/ab",
    "r/z",
    "r/é",
    "r/日本",
    "r/🐳",
    "r/\ufffd",
    "s/a",
    "r2/a",
    "q",
]
MANY = 2_050


async def write(store: ObjectStore, names: list[str]) -> None:
    """Put an object at each name, some at a time."""
    for at in range(0, len(names), 50):
        await asyncio.gather(*(store.put(name, name.encode()) for name in names[at : at + 50]))


@pytest.fixture
def names(backend: Backend) -> list[str]:
    """The names that the store takes."""
    return [name for name in NAMES if not backend.traits.files or "\ufffd" not in name]


async def test_prefix(store: ObjectStore, names: list[str]) -> None:
    """A listing names the objects below its prefix, all of them and no others."""
    await write(store, names)
    assert sorted(await keys(store)) == sorted(names)
    for prefix in ("r/", "r/a/", "r/a-b/", "s/", "r2/", "missing/", "q/"):
        assert sorted(await keys(store, prefix)) == sorted(name for name in names if name.startswith(prefix)), prefix


async def test_order(store: ObjectStore, backend: Backend, names: list[str]) -> None:
    """Byte order, where the store has it: '!' before '-' before '.' before '/' before '0', ASCII before the rest."""
    await write(store, names)
    listed = await keys(store)
    assert listed == in_byte_order(listed) or not backend.capabilities.ordered_listing


async def test_start_after(store: ObjectStore, backend: Backend, names: list[str]) -> None:
    """A listing may begin after any string, whether or not it is a key, and whether or not it lies below the prefix."""
    names = names if backend.capabilities.ordered_listing else [f"r/{number}" for number in range(9)]
    await write(store, names)
    for start in [*names, "", "a", "r/", "r/a", "r/a/", "r/b", "r/zz", "s", "t"]:
        expected = in_byte_order(name for name in names if name.startswith("r/") and name.encode() > start.encode())
        assert await keys(store, "r/", start) == expected, start


async def test_limit(store: ObjectStore) -> None:
    """No more than `limit` objects, the first ones, and none at all for 0."""
    names = [f"l/{number}" for number in range(9)]
    await write(store, names)
    for limit in (0, 1, 5, 9, 10):
        assert await keys(store, "l/", limit=limit) == names[:limit]
    assert await keys(store, "l/", "l/3", 2) == ["l/4", "l/5"]


async def test_many(store: ObjectStore) -> None:
    """Pages of 1,000 join without a gap or a repetition, wherever they begin or end; early leaving is allowed."""
    names = [f"m/{number:05}!a-b.c_d" for number in range(MANY)]
    await write(store, [*names, "l/before", "n/after"])
    assert await keys(store, "m/") == names
    assert len(await keys(store)) == MANY + 2
    assert await keys(store, "m/", names[999]) == names[1000:]
    assert await keys(store, "m/", names[98], 1_900) == names[99:1999]
    for limit in (999, 1_000, 1_001):
        assert await keys(store, "m/", limit=limit) == names[:limit]
    walked: list[str] = []
    while page := await keys(store, "m/", walked[-1] if walked else "", 700):
        walked += page
    assert walked == names
    async for info in store.list("m/"):
        assert info.key == names[0]
        break
    for at in range(0, MANY, 1_000):
        await store.delete_many(names[at : at + 1_000])
    assert await keys(store) == ["l/before", "n/after"]


async def test_what_is_listed(store: ObjectStore) -> None:
    """Size, etag and time are those of the object, also after it was replaced."""
    await store.put("a", b"x" * 20)
    await store.put("b", b"")
    await store.put("a", b"y" * 16)
    assert [info async for info in store.list("")] == [await store.head("a"), await store.head("b")]


@pytest.mark.parametrize("size", [16, 100_000])
async def test_a_listing_sees_every_write_acknowledged_before(store: ObjectStore, size: int) -> None:
    """What was written or deleted before a listing began, it shows or does not show."""
    for number in range(20):
        await store.put(f"v/{number:02}", bytes(size))
        assert len(await keys(store, "v/")) == 1
        await store.delete(f"v/{number:02}")
        assert await keys(store, "v/") == []
