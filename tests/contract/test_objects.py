"""Reading, writing and removing single objects."""

import time
from collections.abc import Callable
from contextlib import aclosing

import pytest

from storage.errors import Invalid, NotFound, PreconditionFailed
from storage.objects.contract import ObjectStore
from tests import compatibility
from tests.contract.conftest import Backend
from tests.contract.helpers import MIB, chunked, joined, keys, noise

UNUSUAL = [
    "plain",
    "ünï/cödé/日本/🐳",
    "with space/and more",
    "library!debian",
    "per%cent/%2F/%",
    "a+b/c~d/(e)'f'",
    "sha256:abc=d@e,f;g&h$i",
    "_under/.dot/..dots/-dash",
    "deep/" + "/".join("abcdefghij"),
    "k" * 200 + "/" + "l" * 200,
]


async def test_capabilities(
    store: ObjectStore, backend: Backend, record_property: Callable[[str, object], None]
) -> None:
    """A store says of itself what its entry declares."""
    record_property(f"capabilities, {backend.name}", compatibility.told(store.capabilities))
    assert store.capabilities == backend.capabilities


@pytest.mark.parametrize("size", [0, 1, 16, 65_536, 65_537, 3 * MIB])
async def test_put_then_get(store: ObjectStore, size: int) -> None:
    """What was put is read back whole, by every way of reading, and all of them agree on what it is."""
    body = noise(size)
    before = time.time()
    etag = await store.put("a/b", body)
    found = await store.get("a/b")
    assert found.body == body
    assert (found.info.key, found.info.size, found.info.etag) == ("a/b", size, etag)
    assert before - 5 <= found.info.modified <= time.time() + 5
    assert await store.head("a/b") == found.info
    assert [info async for info in store.list("a/")] == [found.info]
    assert await joined(await store.get_range("a/b")) == body


@pytest.mark.parametrize("key", UNUSUAL)
async def test_unusual_keys(store: ObjectStore, key: str) -> None:
    """A key is taken literally, whatever characters it is made of, and listed as it was written."""
    await store.put(key, b"small")
    await store.put_stream(key + ".stream", chunked(b"streamed"))
    await store.compose(key + ".composed", [(key, 5), (key + ".stream", 8)])
    await store.compose(key + ".copied", [(key, 5)])
    assert (await store.get(key)).body == b"small"
    assert (await store.get(key + ".composed")).body == b"smallstreamed"
    assert (await store.get(key + ".copied")).body == b"small"
    assert await joined(await store.get_range(key + ".stream", 2)) == b"reamed"
    assert (await store.head(key)).key == key
    assert sorted(await keys(store)) == sorted([key, key + ".stream", key + ".composed", key + ".copied"])
    await store.delete_many([key, key + ".stream", key + ".copied"])
    await store.delete(key + ".composed")
    assert await keys(store) == []


async def test_put_replaces(store: ObjectStore) -> None:
    """A second put wins, in either direction between small and large bodies, and changes the etag."""
    seen = set()
    for body in (b"small", noise(200_000), b"small again", noise(200_000, 1), noise(300_000, 2), b""):
        seen.add(await store.put("k", body))
        assert (await store.get("k")).body == body
    assert len(seen) == 6


async def test_missing(store: ObjectStore) -> None:
    """Every way of reading a key that does not exist raises NotFound, get_range in the call itself."""
    await store.put("there/x", b"x")
    for key in ("missing", "there", "there/x/y", "there/x2"):
        with pytest.raises(NotFound):
            await store.get(key)
        with pytest.raises(NotFound):
            await store.get_if_changed(key, '"0123"')
        with pytest.raises(NotFound):
            await store.get_range(key)
        with pytest.raises(NotFound):
            await store.head(key)


async def test_get_if_changed(store: ObjectStore) -> None:
    """None while the etag is the object's, the whole object once it is not."""
    etag = await store.put("k", b"one")
    assert await store.get_if_changed("k", etag) is None
    changed = await store.put("k", b"two")
    found = await store.get_if_changed("k", etag)
    assert found is not None
    assert (found.body, found.info.etag) == (b"two", changed)
    assert await store.get_if_changed("k", changed) is None
    large = await store.put("k", noise(MIB))
    found = await store.get_if_changed("k", changed)
    assert found is not None
    assert found.body == noise(MIB)
    assert await store.get_if_changed("k", large) is None


async def test_put_if_absent(store: ObjectStore) -> None:
    """Creates, refuses while there is any object, even an empty one, and creates again once it is gone."""
    for body in (b"", b"mine", noise(200_000)):
        etag = await store.put("k", body, if_absent=True)
        with pytest.raises(PreconditionFailed):
            await store.put("k", b"other", if_absent=True)
        with pytest.raises(PreconditionFailed):
            await store.put("k", noise(200_000, 1), if_absent=True)
        found = await store.get("k")
        assert (found.body, found.info.etag) == (body, etag)
        await store.delete("k")


async def test_put_if_match(store: ObjectStore) -> None:
    """Replaces only the object that has the etag; the etags of put, head, get and list all serve."""
    etag = await store.put("k", b"one")
    second = await store.put("k", b"two", if_match=etag)
    with pytest.raises(PreconditionFailed):
        await store.put("k", b"three", if_match=etag)
    assert (await store.get("k")).body == b"two"
    assert second == (await store.head("k")).etag
    await store.put("k", noise(200_000), if_match=(await store.head("k")).etag)
    with pytest.raises(PreconditionFailed):
        await store.put("k", noise(200_000, 1), if_match=second)
    assert (await store.get("k")).body == noise(200_000)
    await store.put("k", b"four", if_match=(await store.get("k")).info.etag)
    (info,) = [info async for info in store.list("")]
    await store.put("k", b"five", if_match=info.etag)
    assert (await store.get("k")).body == b"five"


async def test_put_if_match_after_a_stream(store: ObjectStore) -> None:
    """An object written by a stream has an etag that conditional writes take."""
    for size in (100, 9 * MIB):
        await store.put_stream("k", chunked(noise(size)))
        await store.put("k", b"swapped", if_match=(await store.head("k")).etag)
        assert (await store.get("k")).body == b"swapped"


async def test_put_if_match_on_a_missing_key(store: ObjectStore) -> None:
    """PreconditionFailed, never NotFound, and nothing is created; the same once the object was deleted."""
    etag = await store.put("other", b"x")
    with pytest.raises(PreconditionFailed):
        await store.put("missing", b"y", if_match=etag)
    await store.delete("other")
    with pytest.raises(PreconditionFailed):
        await store.put("other", b"x", if_match=etag)
    assert await keys(store) == []


async def test_delete(store: ObjectStore, backend: Backend) -> None:
    """Removes the one object; a missing one is no error."""
    for body in (b"small", noise(200_000)):
        await store.put("a/b", body)
        await store.put("a/c", body)
        await store.delete("a/b")
        await store.delete("a/b")
        if not backend.traits.files:
            await store.delete("a")
        with pytest.raises(NotFound):
            await store.get("a/b")
        assert await keys(store) == ["a/c"]


async def test_delete_if_match(store: ObjectStore, backend: Backend) -> None:
    """With the capability, removes only what has the etag; without it, Invalid and nothing removed."""
    etag = await store.put("k", b"one")
    if not backend.capabilities.conditional_delete:
        with pytest.raises(Invalid):
            await store.delete("k", if_match=etag)
        assert await keys(store) == ["k"]
        return
    current = await store.put("k", b"two", if_match=etag)
    with pytest.raises(PreconditionFailed):
        await store.delete("k", if_match=etag)
    assert await keys(store) == ["k"]
    await store.delete("k", if_match=current)
    assert await keys(store) == []
    if backend.traits.one_winner_of_deletes:
        with pytest.raises(PreconditionFailed):
            await store.delete("k", if_match=current)


async def test_delete_many(store: ObjectStore) -> None:
    """Removes all that are named, missing ones or not, small or large, and nothing else; of no keys it does nothing."""
    for number in range(5):
        await store.put(f"d/{number}", noise(100_000 * number))
    await store.delete_many([])
    await store.delete_many(["d/0", "d/3", "d/missing", "missing", "d/4"])
    assert await keys(store) == ["d/1", "d/2"]


@pytest.mark.parametrize("size", [1_000, 3 * MIB])
async def test_ranges(store: ObjectStore, size: int) -> None:
    """A range is exactly the bytes asked for: the first, some in the middle, the last, none, all, and to the end."""
    body = noise(size)
    await store.put("k", body)
    for start, length in [
        (0, 1),
        (0, size),
        (size - 1, 1),
        (size // 2, size // 4),
        (1, size - 2),
        (0, 0),
        (size // 2, 0),
        (size, 0),
    ]:
        assert await joined(await store.get_range("k", start, length)) == body[start : start + length], (start, length)
    for start in (0, 1, size // 3, size - 1, size):
        assert await joined(await store.get_range("k", start)) == body[start:], start


@pytest.mark.parametrize("body", [b"", b"0123456789", noise(200_000)], ids=["empty", "small", "large"])
async def test_ranges_out_of_bounds(store: ObjectStore, body: bytes) -> None:
    """A range that does not lie within the object is Invalid, before the first chunk; the empty range at its end is not."""
    await store.put("k", body)
    size = len(body)
    for start, length in [(size + 1, None), (size + 1, 0), (size, 1), (0, size + 1), (-1, 1), (0, -1), (size + 9, 5)]:
        with pytest.raises(Invalid):
            await joined(await store.get_range("k", start, length))
    assert await joined(await store.get_range("k", size)) == b""


@pytest.mark.parametrize("size", [10, 200_000, 3 * MIB])
async def test_ranges_closed_early(store: ObjectStore, size: int) -> None:
    """A stream may be closed at any moment, before its first chunk too, any number of times, and others go on."""
    await store.put("k", noise(size))
    for _ in range(40):
        unread = await store.get_range("k")
        await unread.aclose()
        await unread.aclose()
        async with aclosing(await store.get_range("k")) as stream:
            assert await anext(stream)
    assert await joined(await store.get_range("k")) == noise(size)


async def test_chunks_are_bounded(store: ObjectStore) -> None:
    """A large object comes in many chunks, none of them large: memory does not grow with the object."""
    await store.put_stream("k", chunked(noise(12 * MIB)))
    sizes = [len(chunk) async for chunk in await store.get_range("k")]
    assert sum(sizes) == 12 * MIB
    assert max(sizes) <= 10 * MIB


async def test_presign(store: ObjectStore, backend: Backend) -> None:
    """With the capability, a URL that anyone may fetch, in ranges too; without it, Invalid."""
    import httpx  # noqa: PLC0415 - only where there are URLs

    await store.put("a b/ü%2F+k", b"0123456789")
    if not backend.capabilities.presigning:
        with pytest.raises(Invalid):
            await store.presign_get("a b/ü%2F+k", 60)
        return
    url = await store.presign_get("a b/ü%2F+k", 60)
    async with httpx.AsyncClient() as client:
        whole = await client.get(url)
        part = await client.get(url, headers={"Range": "bytes=2-4"})
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert (part.status_code, part.content) == (206, b"234")


async def test_close_is_idempotent(backend: Backend, store: ObjectStore) -> None:
    """Closing twice is no error."""
    await store.put("k", b"x")
    await store.close()
    await store.close()
