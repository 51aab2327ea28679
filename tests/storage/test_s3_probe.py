"""The probe tells what stores do from what they say."""

import secrets
import time

from storage.objects.contract import Capabilities
from storage.objects.probe import probe
from storage.objects.s3 import S3Store
from tests.parts.servers import S3Server


async def probed(server: S3Server, kind: type[S3Store] = S3Store) -> Capabilities:
    """What the probe finds; it MUST leave nothing behind."""
    store = kind(
        server.bucket,
        secrets.token_hex(8),
        clock=time.time,
        session=server.session,
        endpoint=server.endpoint,
    )
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
