"""The parts of uploads to an S3 store: how many are under way at once, and in which order they may end."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from typing import Self

import pytest

from storage.errors import Denied
from storage.objects.s3 import S3Store
from tests.contract.helpers import joined
from tests.parts.servers import S3Server
from tests.parts.wire import Alter, Exchange, Wire, status

MIB = 1024 * 1024
PART = 8 * MIB
# How long nothing more may come before it counts as all there is.
QUIET = 1.0


class Held:
    """Holds back the answers to parts until they are let go."""

    def __init__(self, proxy: Wire) -> None:
        self._parts: asyncio.Queue[Exchange] = asyncio.Queue()
        self._go = asyncio.Event()
        proxy.answering = self._answering

    async def all_there_are(self, least: int) -> int:
        """How many parts the server has taken, once it has `least` and no more come."""
        async with asyncio.timeout(60):
            for _ in range(least):
                await self._parts.get()
        await asyncio.sleep(QUIET)
        return least + self._parts.qsize()

    def let_go(self) -> None:
        """Hold back nothing any more."""
        self._go.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()  # or a test that fails would wait for the store's patience to end

    def _answering(self, exchange: Exchange) -> Alter | None:
        if exchange.kind != "PART":
            return None
        self._parts.put_nowait(exchange)

        async def later(head: bytes, body: bytes) -> bytes:
            await self._go.wait()
            return head + body

        return later


@pytest.fixture
async def store(minio_server: S3Server, proxy: Wire) -> AsyncGenerator[S3Store]:
    """An empty store behind the proxy."""
    session, endpoint = minio_server.session, proxy.endpoint
    made = S3Store(minio_server.bucket, secrets.token_hex(8), clock=time.time, session=session, endpoint=endpoint)
    yield made
    await made.close()


async def content(parts: int) -> AsyncGenerator[bytes]:
    """A stream of as many parts, each of which is its own number again and again."""
    for number in range(parts):
        for _ in range(8):
            yield bytes([number]) * MIB


async def test_two_parts_are_under_way(store: S3Store, proxy: Wire) -> None:
    """The second part MUST go out before the first is answered, and the third MUST not, for that is what memory is bounded by."""
    with Held(proxy) as held:
        upload = asyncio.create_task(store.put_stream("k", content(5)))
        assert await held.all_there_are(2) == 2
        held.let_go()
        assert await upload == 5 * PART


async def test_many_uploads_have_one_part_each(store: S3Store, proxy: Wire) -> None:
    """Of eight uploads only the first few MUST have a second part under way: memory does not grow with two parts for each."""
    with Held(proxy) as held:
        uploads = [asyncio.create_task(store.put_stream(f"k{number}", content(3))) for number in range(8)]
        assert await held.all_there_are(8) <= 8 + 2
        held.let_go()
        assert await asyncio.gather(*uploads) == [3 * PART] * 8
        assert await joined(await store.get_range("k7")) == await joined(content(3))


async def test_the_room_comes_back(store: S3Store, proxy: Wire) -> None:
    """What ended, or failed, MUST not count as under way any more."""

    async def failing() -> AsyncGenerator[bytes]:
        async for chunk in content(3):
            yield chunk
        raise KeyError("of the source")

    for number in range(3):
        await store.put_stream(f"k{number}", content(3))
        with pytest.raises(KeyError):
            await store.put_stream("f", failing())
        proxy.instead = lambda exchange: status(403, "AccessDenied") if exchange.kind == "CREATE" else None
        with pytest.raises(Denied):
            await store.put_stream("d", content(3))
        proxy.instead = lambda _: None
    with Held(proxy) as held:
        upload = asyncio.create_task(store.put_stream("k", content(3)))
        assert await held.all_there_are(2) == 2
        held.let_go()
        await upload


async def test_parts_may_end_in_any_order(store: S3Store, proxy: Wire) -> None:
    """A first part whose answer comes after the second's is the first part all the same."""
    second = asyncio.Event()

    def answering(exchange: Exchange) -> Alter | None:
        async def after_the_second(head: bytes, body: bytes) -> bytes:
            await second.wait()
            return head + body

        async def telling(head: bytes, body: bytes) -> bytes:
            second.set()
            return head + body

        return {"1": after_the_second, "2": telling}.get(exchange.query.get("partNumber", ""))

    proxy.answering = answering
    assert await store.put_stream("k", content(4)) == 4 * PART
    assert await joined(await store.get_range("k")) == await joined(content(4))


async def test_a_stream_that_is_given_up_leaves_nothing(store: S3Store, proxy: Wire) -> None:
    """Cancelled while two parts are under way, it MUST wait for them and abort: a part that comes later would stay."""
    with Held(proxy) as held:
        upload = asyncio.create_task(store.put_stream("k", content(5)))
        assert await held.all_there_are(2) == 2
        upload.cancel()
        await asyncio.sleep(0.1)
        assert "ABORT" not in proxy.counts()
        held.let_go()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert proxy.counts()["ABORT"] == 1
        assert [found async for found in store.list_incomplete_uploads()] == []
