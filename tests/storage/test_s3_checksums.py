"""What guards the bytes on their way to an S3 store: a checksum where the store is known to look at it, else a signature."""

import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest

from storage.objects.probe import probe
from storage.objects.s3 import ASSUMED, S3Store
from storage.objects.s3_checksums import checksum_of
from tests.contract.helpers import joined
from tests.parts.servers import S3Server
from tests.parts.wire import Exchange, Wire, status

MIB = 1024 * 1024
TAKEN = b'HTTP/1.1 200 OK\r\nETag: "0"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
Open = Callable[..., S3Store]


@pytest.fixture
async def open_store(minio_server: S3Server, proxy: Wire) -> AsyncGenerator[Open]:
    """Makes empty stores behind the proxy, told whether the server looks at checksums."""
    opened = []

    def make(*, checksums: bool) -> S3Store:
        store = S3Store(
            minio_server.bucket,
            secrets.token_hex(8),
            clock=time.time,
            session=minio_server.session,
            endpoint=proxy.endpoint,
            deadline=5.0,
            capabilities=replace(ASSUMED, checksums=checksums),
        )
        opened.append(store)
        return store

    yield make
    for store in opened:
        await store.close()


async def stream(content: bytes) -> AsyncGenerator[bytes]:
    """The content in pieces."""
    for at in range(0, len(content), 700_000):
        yield content[at : at + 700_000]


def bodies(proxy: Wire) -> list[Exchange]:
    """The requests that wrote bytes of an object, by number of the part."""
    sent = [exchange for exchange in proxy.exchanges if exchange.kind in {"PUT", "PART"}]
    return sorted(sent, key=lambda exchange: int(exchange.query.get("partNumber", 0)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"", "AAAAAA=="), (b"123456789", "4waSgw=="), (bytes(32), "ipE2qg=="), (b"\xff" * 32, "YqirQw==")],
)
def test_the_checksum(body: bytes, expected: str) -> None:
    """It is the CRC32C of RFC 3720, whose examples these are, in base64 and big-endian."""
    assert checksum_of(body) == checksum_of(bytearray(body)) == expected


@pytest.mark.parametrize("size", [2 * MIB, 17 * MIB])
async def test_a_checksum_stands_for_the_signature(open_store: Open, proxy: Wire, size: int) -> None:
    """Each body that passes in one go MUST have the checksum of its bytes, in a signed header, and is itself not signed."""
    store, content = open_store(checksums=True), secrets.token_bytes(size)
    await store.put_stream("k", stream(content))
    for number, exchange in enumerate(bodies(proxy)):
        part = content[number * 8 * MIB : (number + 1) * 8 * MIB]
        assert exchange.headers["x-amz-checksum-crc32c"] == checksum_of(part)
        assert exchange.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
        assert "x-amz-checksum-crc32c" in exchange.headers["authorization"]
    assert len(bodies(proxy)) == -(-size // (8 * MIB))
    assert await joined(await store.get_range("k")) == content


@pytest.mark.parametrize("size", [2 * MIB, 17 * MIB])
async def test_bodies_are_signed_where_checksums_count_for_nothing(open_store: Open, proxy: Wire, size: int) -> None:
    """Of a store that was not seen to refuse wrong checksums nothing but the signature MUST be relied on."""
    store, content = open_store(checksums=False), secrets.token_bytes(size)
    await store.put_stream("k", stream(content))
    for number, exchange in enumerate(bodies(proxy)):
        part = content[number * 8 * MIB : (number + 1) * 8 * MIB]
        assert exchange.headers["x-amz-content-sha256"] == hashlib.sha256(part).hexdigest()
    assert not any("x-amz-checksum-crc32c" in exchange.headers for exchange in proxy.exchanges)


@pytest.mark.parametrize("checksums", [True, False])
async def test_small_objects_are_signed(open_store: Open, proxy: Wire, checksums: bool) -> None:
    """Records MUST be guarded by their signature in any case."""
    store = open_store(checksums=checksums)
    await store.put("k", b"a record")
    (exchange,) = bodies(proxy)
    assert exchange.headers["x-amz-content-sha256"] == hashlib.sha256(b"a record").hexdigest()


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("size", [2 * MIB, 17 * MIB])
async def test_what_was_damaged_is_sent_again(open_store: Open, proxy: Wire, size: int, checksums: bool) -> None:
    """A bit that flips on the way MUST never be stored: the server refuses the body, and gets it once more."""
    store, content = open_store(checksums=checksums), secrets.token_bytes(size)
    damaged: list[Exchange] = []

    def flip(exchange: Exchange) -> Callable[[bytes], bytes] | None:
        if exchange.kind not in {"PUT", "PART"} or damaged:
            return None
        damaged.append(exchange)
        return lambda piece: bytes([piece[0] ^ 1]) + piece[1:]

    proxy.sending = flip
    assert await store.put_stream("k", stream(content)) == size
    assert [exchange.status for exchange in damaged] == [400]
    assert await joined(await store.get_range("k")) == content


@pytest.mark.parametrize("kind", ["PUT", "PART"])
@pytest.mark.parametrize(
    "answer", [TAKEN, status(400, "InvalidRequest"), status(403, "AccessDenied"), status(501, "NotImplemented")]
)
async def test_a_server_that_does_not_check(open_store: Open, proxy: Wire, kind: str, answer: bytes) -> None:
    """One that takes a wrong checksum, of an object or of a part, or refuses it as anything but damage, MUST not be relied on."""
    store = open_store(checksums=False)
    proxy.instead = lambda exchange: (
        answer if exchange.kind == kind and "x-amz-checksum-crc32c" in exchange.headers else None
    )
    assert not (await probe(store, secrets.token_hex(8))).checksums
    assert [info async for info in store.list("")] == []
    assert [upload async for upload in store.list_incomplete_uploads()] == []


@pytest.mark.parametrize("kind", ["PUT", "PART"])
async def test_a_server_that_refuses_everything(open_store: Open, proxy: Wire, kind: str) -> None:
    """One that calls sound bodies damaged as well MUST not be relied on either."""
    store = open_store(checksums=False)
    proxy.instead = lambda exchange: (
        status(400, "BadDigest") if exchange.kind == kind and "x-amz-checksum-crc32c" in exchange.headers else None
    )
    assert not (await probe(store, secrets.token_hex(8))).checksums


async def test_a_server_that_is_busy_while_it_is_probed(open_store: Open, proxy: Wire) -> None:
    """What passes within seconds MUST not decide how a gateway works from then on."""
    refused: list[Exchange] = []

    def busy(exchange: Exchange) -> bytes | None:
        if "x-amz-checksum-crc32c" not in exchange.headers or len(refused) > 1:
            return None
        refused.append(exchange)
        return status(500, "InternalError")

    proxy.instead = busy
    assert (await probe(open_store(checksums=False), secrets.token_hex(8))).checksums
    assert len(refused) == 2
