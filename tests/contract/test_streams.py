"""Writing objects of unknown length, and joining objects."""

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

from storage.errors import NotFound
from storage.objects.contract import ObjectStore
from tests.contract.conftest import Backend
from tests.contract.helpers import MIB, chunked, joined, keys, noise


class ClientGone(Exception):
    """What a test's client raises."""


async def failing(size: int, error: BaseException) -> AsyncGenerator[bytes]:
    """A client that sends `size` bytes and then fails."""
    async for chunk in chunked(noise(size)):
        yield chunk
    raise error


async def incomplete(store: ObjectStore) -> list[str]:
    """The keys of the uploads that are neither complete nor aborted."""
    return [upload.key async for upload in store.list_incomplete_uploads()]


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, MIB, 8 * MIB, 8 * MIB + 1, 20 * MIB + 12_345])
async def test_put_stream(store: ObjectStore, size: int) -> None:
    """A stream of any length becomes one object, its size is told, and no upload stays."""
    body = noise(size)
    assert await store.put_stream("s/k", chunked(body)) == size
    assert (await store.head("s/k")).size == size
    assert await joined(await store.get_range("s/k")) == body
    assert await keys(store) == ["s/k"]
    assert await incomplete(store) == []


@pytest.mark.parametrize("chunk", [1_000, 17 * MIB])
async def test_chunks_of_any_size(store: ObjectStore, chunk: int) -> None:
    """The bytes do not depend on how they were cut, with empty chunks between them too."""
    body = noise(17 * MIB)

    async def cut() -> AsyncGenerator[bytes]:
        yield b""
        async for piece in chunked(body, chunk):
            yield piece
            yield b""

    assert await store.put_stream("k", cut()) == len(body)
    assert (await store.get("k")).body == body


async def test_a_stream_replaces(store: ObjectStore) -> None:
    """A stream replaces what was there, and until it is complete the old object is what readers see."""
    await store.put("k", b"old")
    body = noise(9 * MIB)

    async def watched() -> AsyncGenerator[bytes]:
        async for chunk in chunked(body, 3 * MIB):
            yield chunk
            assert (await store.get("k")).body == b"old"

    await store.put_stream("k", watched())
    assert (await store.get("k")).body == body
    await store.put_stream("k", chunked(b"short"))
    assert (await store.get("k")).body == b"short"


@pytest.mark.parametrize("size", [0, 1_000, 2 * MIB, 17 * MIB])
@pytest.mark.parametrize("error", [ClientGone("gone"), asyncio.CancelledError()], ids=["error", "cancelled"])
async def test_a_stream_that_fails(store: ObjectStore, size: int, error: BaseException) -> None:
    """The error passes through unchanged, nothing is visible, what was there before stays, and no upload is left."""
    await store.put("old", b"old")
    for key in ("new", "old"):
        with pytest.raises(type(error)) as raised:
            await store.put_stream(key, failing(size, error))
        assert raised.value is error
    assert await keys(store) == ["old"]
    assert (await store.get("old")).body == b"old"
    assert await incomplete(store) == []


async def test_a_task_that_is_cancelled(store: ObjectStore) -> None:
    """A writer cancelled while it waits for its client leaves nothing."""
    waiting = asyncio.Event()

    async def stalled() -> AsyncGenerator[bytes]:
        async for chunk in chunked(noise(17 * MIB)):
            yield chunk
        waiting.set()
        await asyncio.Event().wait()

    writer = asyncio.create_task(store.put_stream("k", stalled()))
    await waiting.wait()
    assert await keys(store) == []
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    assert await keys(store) == []
    assert await incomplete(store) == []


async def test_a_task_that_is_cancelled_at_any_moment(store: ObjectStore) -> None:
    """Wherever a cancellation meets a writer, the object is whole or absent afterwards, and no upload is left."""
    body = noise(9 * MIB)
    for turns in range(0, 60, 3):
        writer = asyncio.create_task(store.put_stream("k", chunked(body, MIB)))
        for _ in range(turns):
            await asyncio.sleep(0)
        writer.cancel()
        await asyncio.wait([writer])
        assert await incomplete(store) == []
        for key in await keys(store):
            assert (await store.get(key)).body == body
        await store.delete("k")


async def test_incomplete_uploads(store: ObjectStore, backend: Backend) -> None:
    """Aborting an upload that is not there is no error; those that are listed while a stream runs bear its key."""
    seen = []

    async def watched() -> AsyncGenerator[bytes]:
        async for chunk in chunked(noise(20 * MIB), 2 * MIB):
            yield chunk
            seen.extend([upload async for upload in store.list_incomplete_uploads()])
        for _ in range(400 if backend.traits.shows_uploads and not seen else 0):  # it may only just begin
            await asyncio.sleep(0.05)
            seen.extend([upload async for upload in store.list_incomplete_uploads()])
            if seen:
                break

    await store.put_stream("in/progress", watched())
    assert {upload.key for upload in seen} == ({"in/progress"} if backend.traits.shows_uploads else set())
    for upload in seen:
        await store.abort_incomplete_upload(upload)
        await store.abort_incomplete_upload(upload)
    assert (await store.get("in/progress")).body == noise(20 * MIB)
    assert await incomplete(store) == []


async def test_an_upload_that_is_aborted(store: ObjectStore, backend: Backend) -> None:
    """An upload that stalls is listed with the time it was begun, where the store can, and freed; its writer ends as ever."""

    async def stalled() -> AsyncGenerator[bytes]:
        async for chunk in chunked(noise(17 * MIB)):
            yield chunk
        await asyncio.Event().wait()

    began = time.time()
    writer = asyncio.create_task(store.put_stream("in/limbo", stalled()))
    for _ in range(400 if backend.traits.shows_uploads else 1):
        await asyncio.sleep(0.05)
        if uploads := [upload async for upload in store.list_incomplete_uploads()]:
            break
    # Lets the part under way arrive: a store may cut it off once its upload is gone, and it would be sent again and again.
    await asyncio.sleep(0.5)
    assert [upload.key for upload in uploads] == (["in/limbo"] if backend.traits.shows_uploads else [])
    for upload in uploads:
        assert abs(upload.initiated - began) < 20 or not backend.traits.dates_uploads
        await store.abort_incomplete_upload(upload)
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    assert await keys(store) == []
    assert await incomplete(store) == []


@pytest.mark.parametrize(
    "sizes",
    [
        [10],
        [0],
        [3, 0, 4],
        [100_000, 7],
        [6 * MIB],
        [6 * MIB, 6 * MIB + 1, 5],
        [5, 6 * MIB, 100, 6 * MIB],
        [1_000] * 30,
    ],
    ids=str,
)
async def test_compose(store: ObjectStore, sizes: list[int]) -> None:
    """The sources follow each other in the order given, whatever their sizes, and stay as they were."""
    bodies = [noise(size, number) for number, size in enumerate(sizes)]
    for number, body in enumerate(bodies):
        await store.put(f"from/{number:02}", body)
    await store.compose("to/k", [(f"from/{number:02}", len(body)) for number, body in enumerate(bodies)])
    assert (await store.get("to/k")).body == b"".join(bodies)
    assert len(await keys(store, "from/")) == len(sizes)
    assert await incomplete(store) == []


async def test_compose_of_one_source_twice(store: ObjectStore) -> None:
    """A source may be named twice, and the target replaced."""
    await store.put("k", b"old")
    await store.put("ab", b"ab")
    await store.compose("k", [("ab", 2), ("ab", 2)])
    assert (await store.get("k")).body == b"abab"


@pytest.mark.parametrize("size", [10, 6 * MIB])
async def test_compose_with_a_missing_source(store: ObjectStore, size: int) -> None:
    """NotFound, and nothing is visible nor left behind."""
    await store.put("a", noise(size))
    with pytest.raises(NotFound):
        await store.compose("to", [("a", size), ("missing", size), ("a", size)])
    assert await keys(store) == ["a"]
    assert await incomplete(store) == []
