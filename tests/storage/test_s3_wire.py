"""What the S3 store sends: the requests of each call of the contract, counted between it and MinIO."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

import httpx
import pytest

from storage.errors import NotFound, PreconditionFailed
from storage.objects.s3 import S3Store
from tests.parts.servers import S3Server
from tests.parts.wire import Wire

MIB = 1024 * 1024


@pytest.fixture
async def store(minio_server: S3Server, proxy: Wire) -> AsyncGenerator[S3Store]:
    """An empty store whose requests pass the proxy, and whose presigned URLs do not."""
    made = S3Store(
        minio_server.bucket,
        secrets.token_hex(8),
        clock=time.time,
        session=minio_server.session,
        endpoint=proxy.endpoint,
        public_endpoint=minio_server.endpoint,
    )
    yield made
    await made.close()


async def body(size: int) -> AsyncGenerator[bytes]:
    """A stream of `size` bytes."""
    for at in range(0, size, 100_000):
        yield b"x" * min(100_000, size - at)


async def drain(store: S3Store, start: int, length: int | None) -> int:
    """Read a range, and count its bytes."""
    return sum([len(chunk) async for chunk in await store.get_range("k", start, length)])


CALLS: dict[str, tuple[Callable[[S3Store, str], Awaitable[object]], str]] = {
    "get": (lambda store, etag: store.get("k"), "GET"),
    "get_if_changed, not": (lambda store, etag: store.get_if_changed("k", etag), "GET"),
    "get_if_changed": (lambda store, etag: store.get_if_changed("k", '"0"'), "GET"),
    "get_range": (lambda store, etag: drain(store, 2, 3), "GET"),
    "get_range, whole": (lambda store, etag: drain(store, 0, None), "GET"),
    "get_range, rest": (lambda store, etag: drain(store, 5, None), "GET"),
    "get_range, none": (lambda store, etag: drain(store, 5, 0), "HEAD"),
    "head": (lambda store, etag: store.head("k"), "HEAD"),
    "put": (lambda store, etag: store.put("k", b"1"), "PUT"),
    "put if_absent": (lambda store, etag: store.put("new", b"1", if_absent=True), "PUT"),
    "put if_match": (lambda store, etag: store.put("k", b"1", if_match=etag), "PUT"),
    "put_stream, empty": (lambda store, etag: store.put_stream("s", body(0)), "PUT"),
    "put_stream, small": (lambda store, etag: store.put_stream("s", body(100_000)), "PUT"),
    "put_stream, one part": (lambda store, etag: store.put_stream("s", body(8 * MIB)), "PUT"),
    "delete": (lambda store, etag: store.delete("k"), "DELETE"),
    "delete, missing": (lambda store, etag: store.delete("missing"), "DELETE"),
    "delete_many": (lambda store, etag: store.delete_many([f"k{number}" for number in range(1000)]), "POST"),
    "list_incomplete_uploads": (lambda store, etag: drained(store), "UPLOADS"),
}


async def drained(store: S3Store) -> int:
    """How many incomplete uploads there are."""
    return len([upload async for upload in store.list_incomplete_uploads()])


@pytest.mark.parametrize("name", CALLS)
async def test_one_request(store: S3Store, proxy: Wire, name: str) -> None:
    """Each call of the contract is exactly one request, of the kind that its budget counts."""
    etag = await store.put("k", b"0123456789")
    proxy.reset()
    call, kind = CALLS[name]
    await call(store, etag)
    assert proxy.counts() == {kind: 1}


async def test_one_request_when_refused(store: S3Store, proxy: Wire) -> None:
    """A write that loses, or a read of nothing, is one request as well: neither is repeated."""
    await store.put("k", b"1")
    proxy.reset()
    with pytest.raises(PreconditionFailed):
        await store.put("k", b"2", if_absent=True)
    with pytest.raises(PreconditionFailed):
        await store.put("k", b"2", if_match='"0"')
    with pytest.raises(PreconditionFailed):
        await store.put("missing", b"2", if_match='"0"')
    with pytest.raises(NotFound):
        await store.get("missing")
    assert proxy.counts() == {"PUT": 3, "GET": 1}


async def test_pages(store: S3Store, proxy: Wire) -> None:
    """A listing is one request a 1,000 keys, none for a page that nobody asked for, and asks for no more than a few if that is wanted."""
    names = [f"l/{number:04}" for number in range(2_300)]
    for at in range(0, len(names), 100):
        await asyncio.gather(*(store.put(name, b"") for name in names[at : at + 100]))
    for limit, requests in [(1, 1), (1_000, 1), (1_001, 2), (2_000, 2), (2_300, 3), (None, 3)]:
        proxy.reset()
        assert [info.key async for info in store.list("l/", limit=limit)] == names[:limit]
        assert proxy.counts() == {"LIST": requests}, limit
    for limit, asked in [(1, ["1"]), (512, ["512"]), (1_001, [None, "1"])]:
        proxy.reset()
        assert [info.key async for info in store.list("l/", limit=limit)] == names[:limit]
        assert [exchange.query.get("max-keys") for exchange in proxy.exchanges] == asked
    proxy.reset()
    assert [info.key async for info in store.list("l/", start_after=names[1_299])] == names[1_300:]
    async for _ in store.list("l/"):
        break
    assert proxy.counts() == {"LIST": 2}


async def test_parts(store: S3Store, proxy: Wire) -> None:
    """A stream of 20 MiB is a request a part of 8 MiB and two more, and its bytes are sent once."""
    proxy.reset()
    assert await store.put_stream("s", body(20 * MIB)) == 20 * MIB
    assert proxy.counts() == {"CREATE": 1, "PART": 3, "COMPLETE": 1}
    assert 20 * MIB <= proxy.written() < 20 * MIB + 10_000


async def test_compose_copies_on_the_server(store: S3Store, proxy: Wire) -> None:
    """Sources large enough to be parts are never read."""
    for name, size in (("a", 6 * MIB), ("b", 5 * MIB), ("c", 3)):
        await store.put_stream(name, body(size))
    proxy.reset()
    await store.compose("k", [("a", 6 * MIB), ("b", 5 * MIB), ("c", 3)])
    assert proxy.counts() == {"CREATE": 1, "COPY": 3, "COMPLETE": 1}
    assert (await store.head("k")).size == 11 * MIB + 3


async def test_a_failing_stream_is_aborted(store: S3Store, proxy: Wire) -> None:
    """When the source of a stream fails its error comes through, and nothing of the stream is left."""

    async def failing() -> AsyncGenerator[bytes]:
        async for chunk in body(20 * MIB):
            yield chunk
        raise KeyError("of the source")

    with pytest.raises(KeyError, match="of the source"):
        await store.put_stream("s", failing())
    assert proxy.counts()["ABORT"] == 1
    assert await drained(store) == 0
    with pytest.raises(NotFound):
        await store.head("s")


async def test_presigned_urls_name_the_public_endpoint(store: S3Store, proxy: Wire, minio_server: S3Server) -> None:
    """Making a presigned URL is no request; whoever has it reads the object, ranges too, at the public endpoint."""
    await store.put("a/b!c", b"0123456789")
    proxy.reset()
    url = await store.presign_get("a/b!c", 60)
    assert url.startswith(f"{minio_server.endpoint}/")
    async with httpx.AsyncClient(trust_env=False) as anyone:
        assert (await anyone.get(url)).content == b"0123456789"
        part = await anyone.get(url, headers={"Range": "bytes=2-3"})
        assert (part.status_code, part.content) == (206, b"23")
        assert (await anyone.get(url[:-1] + ("0" if url[-1] != "0" else "1"))).status_code == 403
    assert proxy.counts() == {}


@pytest.mark.parametrize("limit", [None, 1, 5])
async def test_the_folder_that_a_prefix_is(minio_server: S3Server, limit: int | None) -> None:
    """Consoles make folders as empty objects whose keys end in '/': that of the prefix itself is nothing in the store."""
    prefix, session, endpoint = secrets.token_hex(8), minio_server.session, minio_server.endpoint
    bucket = session.resource("s3", endpoint_url=endpoint).Bucket(minio_server.bucket)
    bucket.put_object(Key=f"{prefix}/", Body=b"")
    store = S3Store(minio_server.bucket, prefix, clock=time.time, session=session, endpoint=endpoint)
    assert [info.key async for info in store.list("", limit=limit)] == []
    await store.put("k", b"1")
    assert [info.key async for info in store.list("", limit=limit)] == ["k"]
    await store.close()
