"""Listings of records: what the keys below a prefix say, without those of tombstones."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

from storage.errors import CorruptRecord
from storage.objects.contract import ObjectStore
from storage.records import is_tombstone

T = TypeVar("T")


async def live(
    store: ObjectStore, prefix: str, parse: Callable[[str], T], *, start_after: str = "", few: int | None = None
) -> AsyncGenerator[T]:
    """What the keys below `prefix` and after `start_after` say that are no tombstones; raises CorruptRecord for one not ours.

    One LIST a 1,000 keys. With `few` the first asks for so many, where that is mostly enough and there are likely more: some servers
    read each key that they list, but to ask for few costs moorage more.
    """
    for limit in (few, None) if few else (None,):
        listed = 0
        async with aclosing(store.list(prefix, start_after=start_after, limit=limit)) as listing:
            async for info in listing:
                listed, start_after = listed + 1, info.key
                if not is_tombstone(info.size):
                    yield _parsed(info.key, parse)
        if listed != limit:
            return


async def ours(store: ObjectStore, prefix: str, parse: Callable[[str], T]) -> AsyncGenerator[T]:
    """As `live`, but passes over keys that are not ours, which a scrub names: one LIST a 1,000 keys."""

    def said(key: str) -> T | None:
        try:
            return parse(key)
        except ValueError:
            return None

    async with aclosing(live(store, prefix, said)) as listing:
        async for each in listing:
            if each is not None:
                yield each


async def page_of(store: ObjectStore, prefix: str, parse: Callable[[str], T], start_after: str, limit: int) -> list[T]:
    """At most `limit` of what `live` finds after `start_after`: one LIST a 1,000 keys, and behind a first page one more for tombstones."""
    few = limit if start_after else None
    return await first(limit, live(store, prefix, parse, start_after=start_after, few=few))


async def first(count: int, listing: AsyncGenerator[T]) -> list[T]:
    """The first `count` of a listing, which is closed."""
    found: list[T] = []
    async with aclosing(listing):
        while len(found) < count:
            try:
                found.append(await anext(listing))
            except StopAsyncIteration:
                break
    return found


def _parsed(key: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(key)
    except ValueError:
        raise CorruptRecord(key, "is no key of moorage") from None
