"""The checkup tells what each store can do, within seconds, and leaves nothing behind."""

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import ForeignFormat, Invalid
from storage.objects.checkup import COSTS, LARGEST_SKEW, Checkup, examine
from storage.objects.contract import ObjectStore
from storage.objects.embedded import EmbeddedStore
from storage.objects.memory import MemoryStore
from storage.objects.opening import Opening, open_store
from storage.objects.s3 import S3Store
from storage.objects.single_writer import SingleWriterStore
from tests.parts.servers import S3Server

OPENING = Opening(time.time, lambda: secrets.token_hex(8))
ALONE = replace(OPENING, single_writer=True)
WITHIN = 15.0


async def nothing_else(_: ObjectStore) -> None:
    """Finds nothing wrong with the store."""


@pytest.fixture
def enter(monkeypatch: pytest.MonkeyPatch) -> Callable[[S3Server], str]:
    """Leads AWS clients to a server, and returns the URL of a prefix there that nobody else uses."""

    def entered(server: S3Server) -> str:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        return f"s3://{server.bucket}/{secrets.token_hex(8)}"

    return entered


async def checked(url: str, opening: Opening = OPENING) -> Checkup:
    """A checkup of a store that is well: the times are sound, and it took seconds only."""
    began = time.monotonic()
    checkup = await examine(url, opening, nothing_else)
    assert time.monotonic() - began < WITHIN
    assert checkup.problems == []
    assert checkup.clock_skew is not None
    assert checkup.get_time is not None
    assert checkup.put_time is not None
    assert abs(checkup.clock_skew) <= 2
    assert 0 < checkup.get_time < 5
    assert 0 < checkup.put_time < 5
    return checkup


def missing(checkup: Checkup) -> set[str]:
    """What the store has not."""
    return {name for name in COSTS if not checkup.found.get(name)}


async def test_stores_of_our_own(tmp_path: Path) -> None:
    """Memory and a directory have no URLs, and all else but what only S3 needs."""
    for url in ("memory:", f"file:{tmp_path / 'store'}"):
        checkup = await checked(url)
        assert (checkup.starts, checkup.starts_with_single_writer, checkup.notes) == (True, True, [])
        assert missing(checkup) == {"presigning", "checking_urls", "part_copy", "checksums"}
    store = await EmbeddedStore.open(tmp_path / "store", time.time, lambda: secrets.token_hex(16))
    assert [info.key async for info in store.list("")] == []
    await store.close()


async def test_minio(minio_server: S3Server, enter: Callable[[S3Server], str]) -> None:
    """MinIO has all but conditional deletes; a single writer is not needed there, and the condition of the store is what holds."""
    url = enter(minio_server)
    checkup = await checked(url)
    assert (checkup.starts, checkup.starts_with_single_writer) == (True, True)
    assert missing(checkup) == {"conditional_delete"}
    assert await left(minio_server, url) == []
    assert (await checked(url, ALONE)).notes == [
        "--single-writer is not needed here: the store honours conditional writes"
    ]
    store = await open_store(url, ALONE)
    assert isinstance(store, S3Store)
    await store.close()


async def test_seaweedfs(seaweedfs_server: S3Server, enter: Callable[[S3Server], str]) -> None:
    """SeaweedFS has all but the order of listings."""
    url = enter(seaweedfs_server)
    checkup = await checked(url)
    assert (checkup.starts, missing(checkup)) == (True, {"ordered_listing"})
    assert await left(seaweedfs_server, url) == []


async def test_rclone(rclone_server: S3Server, enter: Callable[[S3Server], str]) -> None:
    """Rclone ignores conditions: a gateway starts as the single writer only, and it is said what that means."""
    url = enter(rclone_server)
    checkup = await checked(url)
    assert (checkup.starts, checkup.starts_with_single_writer) == (False, True)
    assert missing(checkup) == {
        "conditional_create",
        "conditional_replace",
        "conditional_delete",
        "presigning",
        "checking_urls",
        "part_copy",
        "checksums",
    }
    assert "a second gateway there loses acknowledged pushes" in checkup.notes[0]
    assert await left(rclone_server, url) == []
    assert (await checked(url, ALONE)).starts
    with pytest.raises(Invalid, match=r"ignores If-None-Match and If-Match on PutObject.* with --single-writer"):
        await open_store(url, OPENING)
    store = await open_store(url, ALONE)
    assert isinstance(store, SingleWriterStore)
    await store.close()


async def test_what_else_is_wrong() -> None:
    """What the caller finds wrong with the store is a problem like any other."""

    async def look(_: ObjectStore) -> None:
        raise ForeignFormat("it is not ours")

    checkup = await examine("memory:", OPENING, look)
    assert (checkup.problems, checkup.starts, checkup.starts_with_single_writer) == (["it is not ours"], False, False)


async def test_a_url_that_is_none() -> None:
    """Is a problem too."""
    checkup = await examine("ftp:x", OPENING, nothing_else)
    assert (checkup.starts, checkup.found) == (False, {})
    assert checkup.problems[0].startswith("a store is file:PATH")


async def test_clocks_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """How far the store's clock is ahead is told, and once it is further than moorage allows for, what to do."""
    for ahead, noted in ((-LARGEST_SKEW + 60, False), (LARGEST_SKEW + 60, True)):
        ours = Opening(lambda: 1e9, OPENING.nonce)
        monkeypatch.setattr(
            "storage.objects.opening.MemoryStore", lambda _, ahead=ahead: MemoryStore(lambda: 1e9 + ahead)
        )
        checkup = await examine("memory:", ours, nothing_else)
        assert checkup.clock_skew == ahead
        assert bool([note for note in checkup.notes if "set the clocks" in note]) == noted


async def left(server: S3Server, url: str) -> list[str]:
    """What the checkup left behind: objects and uploads."""
    store = S3Store(
        server.bucket, url.rpartition("/")[2], clock=time.time, session=server.session, endpoint=server.endpoint
    )
    try:
        objects = [info.key async for info in store.list("")]
        return objects + [upload.key async for upload in store.list_incomplete_uploads()]
    finally:
        await store.close()
