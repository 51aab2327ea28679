"""What a store on a server makes of a bucket that is not there, and of credentials that are not good."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import boto3
import httpx
import pytest

from storage.errors import Denied, Invalid, NotFound, StoreError, Unavailable
from storage.objects.contract import IncompleteUpload, ObjectStore
from tests.contract.conftest import RealBackend
from tests.contract.helpers import MIB, chunked, noise

Attempts = dict[str, Callable[[], Awaitable[object]]]
NO_ETAG = f'"{"0" * 32}"'


async def everything(items: AsyncGenerator[object]) -> list[object]:
    """All of a listing."""
    return [item async for item in items]


def reads(store: ObjectStore) -> Attempts:
    """Every method that reads."""
    return {
        "get": lambda: store.get("a/k"),
        "get_if_changed": lambda: store.get_if_changed("a/k", NO_ETAG),
        "get_range": lambda: store.get_range("a/k", 1, 2),
        "head": lambda: store.head("a/k"),
        "list": lambda: everything(store.list("a/")),
        "list_incomplete_uploads": lambda: everything(store.list_incomplete_uploads()),
    }


def writes(store: ObjectStore) -> Attempts:
    """Every method that writes; those that remove come last."""
    conditional = {"delete, if_match": lambda: store.delete("a/k", if_match=NO_ETAG)}
    return {
        "put": lambda: store.put("a/k", b"1"),
        "put, if_absent": lambda: store.put("a/l", b"1", if_absent=True),
        "put, if_match": lambda: store.put("a/k", b"1", if_match=NO_ETAG),
        "put_stream": lambda: store.put_stream("a/k", chunked(b"1")),
        "put_stream, in parts": lambda: store.put_stream("a/k", chunked(noise(9 * MIB))),
        "compose": lambda: store.compose("a/k", [("a/source", 6 * MIB)]),
        "abort_incomplete_upload": lambda: store.abort_incomplete_upload(IncompleteUpload("a/k", "0123", 0)),
        "delete": lambda: store.delete("a/k"),
        "delete_many": lambda: store.delete_many(["a/k", "a/l"]),
        **(conditional if store.capabilities.conditional_delete else {}),
    }


async def outcomes(attempts: Attempts) -> dict[str, type[StoreError] | None]:
    """The class of the error that each raises."""
    found: dict[str, type[StoreError] | None] = {}
    for name, attempt in attempts.items():
        try:
            await attempt()
        except StoreError as error:
            found[name] = type(error)
        else:
            found[name] = None
    return found


async def test_a_missing_bucket(real: RealBackend) -> None:
    """It is Unavailable to every method, never NotFound, and not worth another attempt; but some stores make it when written to."""
    async with real.store(bucket=f"missing-{real.name}") as store:
        attempts = reads(store) | (writes(store) if real.traits.keeps_buckets else {})
        assert await outcomes(attempts) == dict.fromkeys(attempts, Unavailable)


@pytest.mark.parametrize("keys", [("test", "wrong-secret"), ("nobody", "test12345")], ids=["secret", "user"])
async def test_wrong_credentials(real: RealBackend, keys: tuple[str, str]) -> None:
    """They are Denied to every method of a store that checks them."""
    if not real.traits.checks_credentials:
        return
    async with real.store(session=boto3.Session(*keys, region_name="us-east-1")) as store:
        attempts = reads(store) | writes(store)
        assert await outcomes(attempts) == dict.fromkeys(attempts, Denied)
        with pytest.raises(Denied):
            await store.abort_incomplete_upload(IncompleteUpload("a/k", "0123", 0))


async def test_presigned_urls(real: RealBackend) -> None:
    """A URL ends with its time, and nobody can make one of it for another object or a longer time, where that is checked."""
    async with real.store() as store:
        await store.put("k", b"0123456789")
        await store.put("secret", b"secret")
        url = await store.presign_get("k", 60)
        brief = await store.presign_get("k", 1)
        forged = url.replace("/k?", "/secret?"), url.replace("X-Amz-Expires=60", "X-Amz-Expires=3600")
        assert url not in forged
        async with httpx.AsyncClient() as client:
            assert (await client.get(url)).content == b"0123456789"
            await asyncio.sleep(2.1)
            statuses = [(await client.get(each)).status_code for each in (*forged, brief)]
            assert statuses == [403, 403, 403] or not real.traits.checks_urls
        for seconds in (0, -1, 8 * 24 * 3600):
            with pytest.raises(Invalid):
                await store.presign_get("k", seconds)


async def test_not_found_is_of_the_key(real: RealBackend) -> None:
    """A missing key in a bucket that exists is NotFound to every method that reads one."""
    async with real.store() as store:
        attempts = {name: attempt for name, attempt in reads(store).items() if not name.startswith("list")}
        assert await outcomes(attempts) == dict.fromkeys(attempts, NotFound)


async def test_listings_of_nothing(real: RealBackend) -> None:
    """Nothing is listed of an empty prefix, and it is no error."""
    async with real.store() as store:
        assert await everything(store.list("")) == []
        assert await everything(store.list_incomplete_uploads()) == []
