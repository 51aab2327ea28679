"""Finds out what an S3 store really does: some take conditional requests and ignore the conditions."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

from storage.errors import Invalid, NotFound, PreconditionFailed, Unavailable
from storage.objects.contract import Capabilities
from storage.objects.s3 import S3Store

_NO_ETAG = f'"{"0" * 32}"'
# In byte order. The last but one lies in a directory, which stores that keep a file tree may list elsewhere.
_NEIGHBOURS = ("a!b", "a-b", "a.b", "a/b", "a0")


async def probe(store: S3Store, nonce: str) -> Capabilities:
    """What `store` can do, which becomes its `capabilities` too; some twenty small requests below probe/<nonce>/.

    A condition counts as honoured if it holds back the write it should hold back and lets pass the other. Presigning is as
    the store declares it: whether clients reach the public endpoint cannot be seen from here. Raises Unavailable or Denied if
    the store does not answer; what was written is removed in any case.
    """
    root = f"probe/{nonce}/"
    declared = store.capabilities
    store.capabilities = replace(declared, conditional_delete=True, part_copy=True)
    try:
        found = Capabilities(
            conditional_create=await _creates(store, f"{root}create"),
            conditional_replace=await _replaces(store, f"{root}replace"),
            conditional_delete=await _deletes(store, f"{root}delete"),
            ordered_listing=await _lists_in_order(store, f"{root}order/"),
            presigning=declared.presigning,
            part_copy=await _copies(store, f"{root}source", f"{root}copy"),
        )
    except BaseException:
        store.capabilities = declared
        raise
    finally:
        await store.delete_many([info.key async for info in store.list(root)])
    store.capabilities = found
    return found


async def _creates(store: S3Store, key: str) -> bool:
    try:
        await store.put(key, b"first", if_absent=True)
    except Invalid:
        return False
    return await _refused(store.put(key, b"second", if_absent=True))


async def _replaces(store: S3Store, key: str) -> bool:
    etag = await store.put(key, b"first")
    if not await _refused(store.put(key, b"second", if_match=_NO_ETAG)):
        return False
    try:
        await store.put(key, b"third", if_match=etag)
    except (PreconditionFailed, Invalid):
        return False
    return (await store.get(key)).body == b"third" and await _refused(store.put(f"{key}-missing", b"", if_match=etag))


async def _deletes(store: S3Store, key: str) -> bool:
    etag = await store.put(key, b"first")
    if not await _refused(store.delete(key, if_match=_NO_ETAG)) or not await _exists(store, key):
        return False
    try:
        await store.delete(key, if_match=etag)
    except (PreconditionFailed, Invalid):
        return False
    return not await _exists(store, key)


async def _lists_in_order(store: S3Store, prefix: str) -> bool:
    await asyncio.gather(*(store.put(prefix + name, b"1") for name in _NEIGHBOURS))
    return [info.key async for info in store.list(prefix)] == [prefix + name for name in _NEIGHBOURS]


async def _copies(store: S3Store, source: str, target: str) -> bool:
    await store.put(source, b"copied")
    try:
        await store.compose(target, [(source, len(b"copied"))])
    except (Invalid, NotFound, Unavailable):
        return False
    return await _exists(store, target) and (await store.get(target)).body == b"copied"


async def _refused(write: Awaitable[object]) -> bool:
    """Whether `write` meets PreconditionFailed; a store that does not know the condition at all raises Invalid."""
    try:
        await write
    except PreconditionFailed:
        return True
    except Invalid:
        pass
    return False


async def _exists(store: S3Store, key: str) -> bool:
    try:
        await store.head(key)
    except NotFound:
        return False
    return True
