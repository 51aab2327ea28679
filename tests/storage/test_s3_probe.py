"""The probe tells what stores do from what they say."""

import asyncio
import secrets
import time

import pytest

from storage.errors import Denied
from storage.objects.contract import Capabilities
from storage.objects.probe import probe
from storage.objects.s3 import ASSUMED, S3Store
from tests.parts.servers import S3Server


def store_of(server: S3Server, kind: type[S3Store] = S3Store) -> S3Store:
    """A store in a prefix that nobody else uses."""
    return kind(server.bucket, secrets.token_hex(8), clock=time.time, session=server.session, endpoint=server.endpoint)


async def probed(server: S3Server, kind: type[S3Store] = S3Store) -> Capabilities:
    """What the probe finds; it MUST leave nothing behind."""
    store = store_of(server, kind)
    found = await probe(store, secrets.token_hex(8))
    assert store.capabilities == found
    assert [info async for info in store.list("")] == []
    assert [upload async for upload in store.list_incomplete_uploads()] == []
    await store.close()
    return found


async def test_minio(minio_server: S3Server) -> None:
    """MinIO takes DELETE If-Match and ignores it: that is no conditional delete."""
    assert await probed(minio_server) == Capabilities(
        conditional_create=True,
        conditional_replace=True,
        conditional_delete=False,
        ordered_listing=True,
        presigning=True,
        part_copy=True,
        checksums=True,
    )


async def test_seaweedfs(seaweedfs_server: S3Server) -> None:
    """SeaweedFS has conditional deletes, and lists directories out of byte order."""
    assert await probed(seaweedfs_server) == Capabilities(
        conditional_create=True,
        conditional_replace=True,
        conditional_delete=True,
        ordered_listing=False,
        presigning=True,
        part_copy=True,
        checksums=True,
    )


class Ignoring(S3Store):
    """What stores without conditional requests do: they write and delete all the same."""

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        return await super().put(key, body)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete."""
        await super().delete(key)


async def test_a_store_that_ignores_conditions(minio_server: S3Server) -> None:
    """A store that answers conditional writes as if there were no condition is told from one that honours them."""
    found = await probed(minio_server, Ignoring)
    assert not found.conditional_create
    assert not found.conditional_replace
    assert not found.conditional_delete


class Failing(S3Store):
    """A store that fails one write at once, while others take their time."""

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        if key.endswith("/presigned"):
            raise Denied(key)
        await asyncio.sleep(0.1)
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)


async def test_a_probe_that_fails_leaves_nothing(minio_server: S3Server) -> None:
    """What is still being looked for then ends before all is removed, and the store is what it was taken for."""
    store = store_of(minio_server, Failing)
    with pytest.raises(Denied):
        await probe(store, secrets.token_hex(8))
    await asyncio.sleep(0.5)
    assert [info async for info in store.list("")] == []
    assert store.capabilities == ASSUMED
    await store.close()
