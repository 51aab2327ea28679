"""What the S3 store makes of failures: of the server, of the way there, and of those that leave open what was done."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import UTC, datetime

import boto3
import pytest

from storage.errors import Denied, Invalid, Overtaken, StoreError, Unavailable
from storage.objects.contract import ObjectInfo
from storage.objects.s3 import ASSUMED, S3Store
from tests.contract.helpers import joined
from tests.parts.servers import S3Server, free_ports
from tests.parts.wire import Exchange, Reply, Wire, status

MIB = 1024 * 1024
BUSY = status(503, "SlowDown")
CUT = b""
Open = Callable[..., S3Store]


@pytest.fixture
async def open_store(minio_server: S3Server, proxy: Wire) -> AsyncGenerator[Open]:
    """Makes stores behind the proxy that give up within 2 s, unless told otherwise."""
    opened = []

    def make(bucket: str = minio_server.bucket, **others: object) -> S3Store:
        settings = {"session": minio_server.session, "endpoint": proxy.endpoint, "deadline": 2.0, **others}
        opened.append(S3Store(bucket, secrets.token_hex(8), clock=time.time, **settings))  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for store in opened:
        await store.close()


def busy_for(seconds: int) -> bytes:
    """The answer of a server that names the time to come again."""
    return BUSY.replace(b"Connection: close", b"Retry-After: %d\r\nConnection: close" % seconds)


def first(count: int, kind: str, answer: bytes) -> Reply:
    """Give `answer` to the first `count` requests of this kind."""
    left = count

    def reply(exchange: Exchange) -> bytes | None:
        nonlocal left
        if exchange.kind != kind or not left:
            return None
        left -= 1
        return answer

    return reply


async def parts(count: int) -> AsyncGenerator[bytes]:
    """A stream of `count` parts, the last one short."""
    for number in range(count):
        yield bytes([number]) * (8 * MIB if number < count - 1 else MIB)


async def calls(store: S3Store) -> AsyncGenerator[tuple[str, StoreError | None]]:
    """The error of each method on an empty store, one after the other."""

    async def listed(limit: int | None = None) -> None:
        async for _ in store.list("a/", limit=limit):
            pass

    async def uploads() -> None:
        async for _ in store.list_incomplete_uploads():
            pass

    attempts = {
        "get": lambda: store.get("a/k"),
        "head": lambda: store.head("a/k"),
        "get_if_changed": lambda: store.get_if_changed("a/k", '"0"'),
        "get_range": lambda: store.get_range("a/k", 1, 2),
        "put": lambda: store.put("a/k", b"1"),
        "put if_absent": lambda: store.put("a/k", b"1", if_absent=True),
        "put if_match": lambda: store.put("a/k", b"1", if_match='"0"'),
        "put_stream": lambda: store.put_stream("a/k", parts(1)),
        "put_stream, parts": lambda: store.put_stream("a/k", parts(2)),
        "compose": lambda: store.compose("a/k", [("a/l", 6 * MIB)]),
        "delete": lambda: store.delete("a/k"),
        "delete_many": lambda: store.delete_many(["a/k", "a/l"]),
        "list": listed,
        "list, a few": lambda: listed(9),
        "list_incomplete_uploads": uploads,
    }
    for name, attempt in attempts.items():
        try:
            await attempt()
        except StoreError as error:
            yield name, error
        else:
            yield name, None


async def test_missing_bucket(open_store: Open) -> None:
    """A bucket that is not there is Unavailable to every method, never NotFound, and at once."""
    began = time.monotonic()
    async for name, error in calls(open_store("no-such-bucket", deadline=20.0)):
        assert type(error) is Unavailable, name
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("keys", [("test", "wrong-secret"), ("nobody", "test12345")])
async def test_wrong_credentials(open_store: Open, keys: tuple[str, str]) -> None:
    """Credentials that the store refuses are Denied to every method, without another attempt."""
    session = boto3.Session(*keys, region_name="us-east-1")
    async for name, error in calls(open_store(session=session, deadline=20.0)):
        assert isinstance(error, Denied), name


async def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Without any credentials there is no store, and the error says so."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    with pytest.raises(Denied, match="credentials"):
        S3Store("bucket", clock=time.time)


async def test_the_environment_leads_to_the_store(minio_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint, region and credentials come out of the environment that AWS's own tools take."""
    for name, value in minio_server.env.items():
        monkeypatch.setenv(name, value)
    store = S3Store(minio_server.bucket, secrets.token_hex(8), clock=time.time)
    await store.put("k", b"1")
    await store.put_stream("s", parts(2))
    assert (await store.get("k")).body == b"1"
    await store.close()


async def test_nobody_there(open_store: Open) -> None:
    """While nothing listens every method is Unavailable, within the deadline."""
    with free_ports(1) as (port,):
        endpoint = f"http://127.0.0.1:{port}"
    store = open_store(endpoint=endpoint, deadline=0.3)
    began = time.monotonic()
    async for name, error in calls(store):
        assert isinstance(error, Unavailable), name
    assert time.monotonic() - began < 14 * 2


@pytest.mark.parametrize("answer", [BUSY, status(429, "TooManyRequests"), status(500, "InternalError"), CUT])
async def test_passing_failures_are_retried(open_store: Open, proxy: Wire, answer: bytes) -> None:
    """A request that meets a busy or failing server, or a cut connection, is sent again."""
    store = open_store()
    for kind in ("PUT", "GET", "LIST", "POST", "DELETE"):
        proxy.instead = first(1, kind, answer)
        proxy.reset()
        await store.put("k", b"1")
        assert (await store.get("k")).body == b"1"
        assert [info.key async for info in store.list("")] == ["k"]
        await store.delete_many(["k"])
        await store.delete("k")
        counts = proxy.counts()
        counts.pop("HEAD", None)  # asks a busy server for how long it wants to be left alone
        assert counts == {"PUT": 1, "GET": 1, "LIST": 1, "POST": 1, "DELETE": 1} | {kind: 2}


async def test_lasting_failure(open_store: Open, proxy: Wire) -> None:
    """A server that stays busy is Unavailable once the deadline is over, and not asked much later."""
    store = open_store(deadline=3.0)
    proxy.instead = lambda _: BUSY
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await store.get("k")
    assert time.monotonic() - began < 5
    assert proxy.counts()["GET"] > 1


@pytest.mark.parametrize("kind", ["GET", "DELETE"])
async def test_a_busy_server_is_left_alone_for_as_long_as_it_says(open_store: Open, proxy: Wire, kind: str) -> None:
    """Retry-After MUST be waited for, by either client, and a pause that is longer than the deadline is not begun but told."""
    store, began = open_store(deadline=8.0), time.monotonic()
    proxy.instead = lambda _: busy_for(2) if time.monotonic() < began + 1 else None
    await (store.delete("k") if kind == "DELETE" else anext(store.list("a/"), None))
    asked = {exchange.kind for exchange in proxy.exchanges} - {"HEAD"}
    assert len(asked) == 1
    assert 2 <= time.monotonic() - began < 8
    proxy.instead = lambda _: busy_for(60)
    began = time.monotonic()
    with pytest.raises(Unavailable) as raised:
        await (store.delete("k") if kind == "DELETE" else store.get("k"))
    assert raised.value.retry_after == 60
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("drip", [0.0, 0.2])
async def test_a_server_that_says_nothing_is_given_up_in_time(open_store: Open, proxy: Wire, drip: float) -> None:
    """Each small request MUST end within the deadline though the server never answers, or a byte at a time."""
    store = open_store(deadline=1.5)
    proxy.silent, proxy.drip = not drip, drip
    began = time.monotonic()
    for attempt in (store.get("k"), store.delete("k"), store.put("k", b"1", if_absent=True), store.delete_many(["k"])):
        with pytest.raises(Unavailable):
            await attempt
    assert time.monotonic() - began < 4 * 3
    proxy.drip = 0.0


async def test_a_read_that_breaks_off_goes_on_where_it_did(open_store: Open, proxy: Wire) -> None:
    """A stream MUST outlive a cut connection: the rest is asked for, every byte comes once, and each cut costs one request."""
    store = open_store()
    content = secrets.token_bytes(2 * MIB)
    await store.put("k", content)
    proxy.reset()
    proxy.cut_after = [700_000, 800_000]
    assert await joined(await store.get_range("k")) == content
    assert proxy.counts()["GET"] == 3
    assert not proxy.cut_after
    proxy.cut_after = [300_000]
    assert await joined(await store.get_range("k", 10, MIB)) == content[10 : MIB + 10]


async def test_a_read_of_what_was_replaced_meanwhile_ends_in_an_error(open_store: Open, proxy: Wire) -> None:
    """The rest of another object MUST not be taken for the rest of this one."""
    store = open_store()
    await store.put("k", bytes(3 * MIB))
    proxy.cut_after = [2 * MIB]
    stream = await store.get_range("k")
    assert await anext(stream)
    await store.put("k", b"1" * 3 * MIB)
    with pytest.raises(Unavailable, match="replaced"):
        await joined(stream)


@pytest.mark.parametrize("answer", [BUSY, status(409, "ConditionalRequestConflict"), CUT])
@pytest.mark.parametrize("applied", [True, False])
async def test_open_outcome_of_a_conditional_put(open_store: Open, proxy: Wire, answer: bytes, applied: bool) -> None:
    """A conditional put whose answer is lost succeeds exactly once, whether or not the server had applied it."""
    store = open_store()
    etag = await store.put("old", b"1 of a nonce")
    for key, condition in [("new", {"if_absent": True}), ("old", {"if_match": etag})]:
        proxy.instead = proxy.lose = lambda _: None
        proxy.reset()
        if applied:
            proxy.lose = first(1, "PUT", answer)
        else:
            proxy.instead = first(1, "PUT", answer)
        got = await store.put(key, b"2 of a nonce", **condition)  # type: ignore[arg-type]
        found = await store.get(key)
        assert (found.body, found.info.etag) == (b"2 of a nonce", got)
        assert proxy.counts()["PUT"] == (1 if applied else 2)


async def test_a_conditional_put_that_is_applied_late(open_store: Open, proxy: Wire) -> None:
    """What is refused because the attempt before arrived after all is a success: nobody else was faster."""
    store = open_store()
    etag = await store.put("k", b"1 of a nonce")
    proxy.instead = first(1, "PUT", BUSY)
    proxy.lose = first(1, "PUT", status(412, "PreconditionFailed"))
    got = await store.put("k", b"2 of a nonce", if_match=etag)
    found = await store.get("k")
    assert (found.body, found.info.etag) == (b"2 of a nonce", got)


async def test_another_writer_during_an_open_outcome(open_store: Open, proxy: Wire) -> None:
    """If the answer was lost and what is there is neither ours nor what we expected, another has won."""
    store = open_store()
    await store.put("k", b"of another")
    proxy.instead = first(1, "PUT", BUSY)
    with pytest.raises(Overtaken):
        await store.put("k", b"ours", if_absent=True)
    proxy.instead = first(1, "PUT", CUT)
    with pytest.raises(Overtaken):
        await store.put("k", b"ours", if_match='"0"')
    proxy.instead = first(1, "PUT", CUT)
    with pytest.raises(Overtaken):
        await store.put("missing", b"ours", if_match='"0"')
    assert (await store.get("k")).body == b"of another"


@pytest.mark.parametrize("kind", ["CREATE", "PART", "COMPLETE"])
@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("checksums", [True, False])
async def test_parts_are_retried(open_store: Open, proxy: Wire, kind: str, applied: bool, checksums: bool) -> None:
    """A stream outlives the loss of any one request, or of its answer, and stores every byte once."""
    store = open_store(capabilities=replace(ASSUMED, checksums=checksums))
    reply = first(1, kind, BUSY)
    if applied:
        proxy.lose = reply
    else:
        proxy.instead = reply
    assert await store.put_stream("s", parts(3)) == 17 * MIB
    assert await joined(await store.get_range("s")) == await joined(parts(3))
    assert proxy.counts()[kind] == (3 if kind == "PART" else 1) + 1


@pytest.mark.parametrize("checksums", [True, False])
async def test_a_part_that_is_sent_again_is_what_it_was(open_store: Open, proxy: Wire, checksums: bool) -> None:
    """What is read meanwhile MUST NOT be written over it, though the memory of parts that were sent is used again."""
    failed: set[str] = set()

    def reply(exchange: Exchange) -> bytes | None:
        part = exchange.query.get("partNumber", "")
        if exchange.kind != "PART" or part in failed:
            return None
        failed.add(part)
        return BUSY

    proxy.instead = reply
    store = open_store(capabilities=replace(ASSUMED, checksums=checksums))
    await store.put_stream("s", parts(6))
    assert len(failed) == 6
    assert await joined(await store.get_range("s")) == await joined(parts(6))


async def test_an_error_in_a_successful_answer(open_store: Open, proxy: Wire) -> None:
    """CompleteMultipartUpload may answer 200 and then an error: that is no success, and nothing of it is left."""
    store = open_store(deadline=0.5)
    proxy.instead = lambda exchange: status(200, "InternalError") if exchange.kind == "COMPLETE" else None
    with pytest.raises(Unavailable, match="InternalError"):
        await store.put_stream("s", parts(2))
    assert [info async for info in store.list("")] == []
    assert [upload async for upload in store.list_incomplete_uploads()] == []


@pytest.mark.parametrize("lost", [False, True])
async def test_an_upload_that_is_gone_is_taken_for_completed_only_by_what_is_there(
    open_store: Open, proxy: Wire, lost: bool
) -> None:
    """Somebody aborted it: an object that was there before is not ours, unless an answer was lost and the size is that of the stream."""
    store = open_store()
    await store.put_stream("s", parts(2))
    busy, gone = first(1, "COMPLETE", BUSY), status(404, "NoSuchUpload")
    proxy.instead = lambda exchange: (busy(exchange) if lost else None) or first(1, "COMPLETE", gone)(exchange)
    with pytest.raises(Unavailable, match="NoSuchUpload"):
        await store.put_stream("s", parts(3 if lost else 2))
    assert (await store.head("s")).size == 9 * MIB


async def test_a_part_that_fails_for_good(open_store: Open, proxy: Wire) -> None:
    """A part that cannot be sent fails the stream, and what was sent of it is aborted."""
    store = open_store(deadline=0.5)
    proxy.instead = lambda exchange: BUSY if exchange.query.get("partNumber") == "2" else None
    with pytest.raises(Unavailable, match="SlowDown"):
        await store.put_stream("s", parts(3))
    assert [upload async for upload in store.list_incomplete_uploads()] == []


async def test_a_body_that_ends_early(open_store: Open, proxy: Wire) -> None:
    """A read whose connection is cut before its end is Unavailable, never a short body."""
    store = open_store()
    await store.put("k", bytes(100))
    short = b'HTTP/1.1 200 OK\r\nETag: "x"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 100\r\n\r\nshort'
    proxy.instead = lambda exchange: short if exchange.kind == "GET" else None
    with pytest.raises(Unavailable):
        async for _ in await store.get_range("k"):
            pass
    with pytest.raises(Unavailable):
        await store.get("k")


async def test_a_listing_goes_on(open_store: Open, proxy: Wire) -> None:
    """A listing that fails between two pages goes on behind the first, without a gap or a repetition."""
    store = open_store()
    names = [f"l/{number:04}" for number in range(1_005)]
    for at in range(0, len(names), 100):
        await asyncio.gather(*(store.put(name, b"") for name in names[at : at + 100]))
    listing = store.list("l/")
    seen = [(await anext(listing)).key]
    proxy.instead = first(2, "LIST", CUT)
    seen += [info.key async for info in listing]
    assert seen == names


def listing(keys: list[str], root: str = "ListBucketResult") -> bytes:
    """A listing as a raw HTTP response, which says that there are more than `keys`."""
    said = "<LastModified>2026-11-28T08:00:00.5Z</LastModified><ETag>0</ETag><Size>7</Size>"
    entries = "".join(f"<Contents><Key>{key}</Key>{said}</Contents>" for key in keys)
    body = f"<{root}><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>{entries}</{root}>"
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


async def test_a_short_listing_goes_on(open_store: Open, proxy: Wire) -> None:
    """A server may answer with fewer keys than it was asked for, without a namespace, quotes or whole seconds, and encodes the keys."""
    store = open_store()
    await store.put("l/z", b"")

    def two(exchange: Exchange) -> bytes | None:
        below = exchange.query.get("prefix", "")
        return None if "start-after" in exchange.query else listing([f"{below}a", f"{below}%C3%A9+%2Bb"])

    proxy.instead = two
    found = [info async for info in store.list("l/", limit=5)]
    moment = datetime(2026, 11, 28, 8, tzinfo=UTC).timestamp()
    assert found[:2] == [ObjectInfo("l/a", 7, '"0"', moment), ObjectInfo("l/é +b", 7, '"0"', moment)]
    assert [exchange.query.get("max-keys") for exchange in proxy.exchanges if exchange.kind == "LIST"] == ["5", "3"]


def uploads_page(keys: list[str], number: int, *, is_last: bool) -> bytes:
    """A page of incomplete uploads as a raw HTTP response; their ids, and the marker of the next page, are its number."""
    said = f"<UploadId>{number}</UploadId><Initiated>2026-11-28T08:00:00Z</Initiated>"
    entries = "".join(f"<Upload><Key>{key}</Key>{said}</Upload>" for key in keys)
    markers = f"<NextKeyMarker>{keys[-1]}</NextKeyMarker><NextUploadIdMarker>{number}</NextUploadIdMarker>"
    flag = f"<IsTruncated>{str(not is_last).lower()}</IsTruncated>"
    body = f"<ListMultipartUploadsResult>{flag}{markers}{entries}</ListMultipartUploadsResult>"
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


async def test_a_listing_of_uploads_goes_on(open_store: Open, proxy: Wire) -> None:
    """The next page begins behind the last upload, of one key too; those of others in the bucket MUST NOT be listed, nor so freed."""
    store = open_store()
    await store.put("k", b"")
    root = proxy.exchanges[-1].path.split("/")[2]
    asked: list[tuple[str | None, str | None]] = []

    def page(exchange: Exchange) -> bytes:
        asked.append((exchange.query.get("key-marker"), exchange.query.get("upload-id-marker")))
        return uploads_page(["elsewhere/k", f"{root}/k"], len(asked), is_last=len(asked) == 3)

    proxy.instead = page
    found = [(upload.key, upload.upload) async for upload in store.list_incomplete_uploads()]
    assert found == [("k", "1"), ("k", "2"), ("k", "3")]
    assert asked[1:] == [(f"{root}/k", "1"), (f"{root}/k", "2")]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(listing([], "html"), id="something else"),
        pytest.param(listing(["a"]).replace(b"<Size>7", b"<Size>x"), id="no size"),
        pytest.param(listing(["a"]).replace(b"</Key>", b"</Kex>"), id="not XML"),
        pytest.param(status(200, "InternalError"), id="an error"),
        pytest.param(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", id="no content"),
        pytest.param(CUT, id="nothing"),
    ],
)
async def test_what_is_no_listing(open_store: Open, proxy: Wire, answer: bytes) -> None:
    """An answer of 200 that is no listing is asked for again, and Unavailable when it stays so; it is never an empty listing."""
    store = open_store()
    await store.put("l/a", b"")
    proxy.instead = first(2, "LIST", answer)
    assert [info.key async for info in store.list("l/", limit=5)] == ["l/a"]
    proxy.instead = lambda exchange: answer if exchange.kind == "LIST" else None
    with pytest.raises(Unavailable):
        _ = [info async for info in store.list("l/", limit=5)]


@pytest.mark.parametrize("key", ["a//b", "a/../b", "/a/./b"])
async def test_keys_that_are_none(open_store: Open, key: str) -> None:
    """What the contract does not call a key is Invalid."""
    with pytest.raises(Invalid):
        await open_store().get(key)
