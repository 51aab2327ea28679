"""Blobs: who may read them, which part of them, and how they come to another repository."""

import asyncio

import httpx
import pytest

from storage.objects.memory import MemoryStore
from storage.references import Digest
from tests.protocol.serving import Api, World, codes, refused

BLOB = bytes(range(256)) * 8
DIGEST = str(Digest.of(BLOB))
NO_SUCH = str(Digest.of(b"never pushed"))


async def test_i6_a_blob_is_readable_only_where_it_was_pushed_or_mounted(api: Api) -> None:
    """I6: GET and HEAD through another repository are 404, also though the store has the bytes, also after a DELETE there."""
    await api.blob("a", BLOB)
    refused(await api.get(f"/v2/b/blobs/{DIGEST}"), 404, "BLOB_UNKNOWN")
    assert (await api.head(f"/v2/b/blobs/{DIGEST}")).status_code == 404
    await api.post(f"/v2/b/blobs/uploads/?mount={DIGEST}&from=a")
    assert (await api.get(f"/v2/b/blobs/{DIGEST}")).content == BLOB
    assert (await api.delete(f"/v2/b/blobs/{DIGEST}")).status_code == 202
    refused(await api.get(f"/v2/b/blobs/{DIGEST}"), 404, "BLOB_UNKNOWN")
    assert (await api.head(f"/v2/b/blobs/{DIGEST}")).status_code == 404
    assert (await api.get(f"/v2/a/blobs/{DIGEST}")).content == BLOB


async def test_the_last_delete_leaves_nothing_to_mount(api: Api) -> None:
    """After every repository gave a blob up, nobody can mount it any more, with `from` or without."""
    await api.blob("a", BLOB)
    await api.delete(f"/v2/a/blobs/{DIGEST}")
    assert (await api.post(f"/v2/b/blobs/uploads/?mount={DIGEST}&from=a")).status_code == 202
    assert (await api.post(f"/v2/b/blobs/uploads/?mount={DIGEST}")).status_code == 202
    assert (await api.head(f"/v2/b/blobs/{DIGEST}")).status_code == 404


async def test_a_deleted_blob_can_be_pushed_again(api: Api) -> None:
    """DELETE, 404, DELETE is 404 too, push, 200; over and over."""
    for _ in range(3):
        await api.blob("a", BLOB)
        assert (await api.get(f"/v2/a/blobs/{DIGEST}")).content == BLOB
        assert (await api.delete(f"/v2/a/blobs/{DIGEST}")).status_code == 202
        refused(await api.delete(f"/v2/a/blobs/{DIGEST}"), 404, "BLOB_UNKNOWN")
        refused(await api.get(f"/v2/a/blobs/{DIGEST}"), 404, "BLOB_UNKNOWN")


async def test_headers_of_a_blob(api: Api) -> None:
    """GET and HEAD say length and digest, and HEAD sends no bytes."""
    await api.blob("a", BLOB)
    for answer in (await api.get(f"/v2/a/blobs/{DIGEST}"), await api.head(f"/v2/a/blobs/{DIGEST}")):
        assert answer.status_code == 200
        assert answer.headers["Content-Length"] == str(len(BLOB))
        assert answer.headers["Docker-Content-Digest"] == DIGEST
        assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.content == b""


async def test_a_blob_that_the_client_has_is_not_sent_again(api: Api) -> None:
    """If-None-Match with the ETag is 304, with another one 200."""
    await api.blob("a", BLOB)
    etag = (await api.get(f"/v2/a/blobs/{DIGEST}")).headers["ETag"]
    same = await api.get(f"/v2/a/blobs/{DIGEST}", headers={"If-None-Match": etag})
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", etag)
    assert same.headers["Cache-Control"] == "max-age=31536000, immutable"
    seen = await api.http("HEAD", f"/v2/a/blobs/{DIGEST}", headers={"If-None-Match": f'"other", W/{etag}'})
    assert (seen.status_code, seen.headers["Docker-Content-Digest"]) == (304, DIGEST)
    other = await api.get(f"/v2/a/blobs/{DIGEST}", headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, BLOB)


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("0-0", 0, 1),
        ("500-1499", 500, 1500),
        ("500-", 500, 2048),
        ("-500", 1548, 2048),
        ("-5000", 0, 2048),
        ("2000-5000", 2000, 2048),
        ("0-", 0, 2048),
        ("2047-2047", 2047, 2048),
    ],
)
async def test_one_range_is_served(api: Api, asked: str, first: int, end: int) -> None:
    """A range is 206 with exactly its bytes, clamped to the blob's end, and says where it lies."""
    await api.blob("a", BLOB)
    answer = await api.get(f"/v2/a/blobs/{DIGEST}", headers={"Range": f"bytes={asked}"})
    assert (answer.status_code, answer.content) == (206, BLOB[first:end])
    assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/2048"
    assert answer.headers["Content-Length"] == str(end - first)
    assert answer.headers["Docker-Content-Digest"] == DIGEST


@pytest.mark.parametrize("asked", ["2048-", "5000-10000", "500-0", "-0"])
async def test_a_range_beyond_the_blob_is_unsatisfiable(api: Api, asked: str) -> None:
    """416 says how long the blob is."""
    await api.blob("a", BLOB)
    answer = await api.get(f"/v2/a/blobs/{DIGEST}", headers={"Range": f"bytes={asked}"})
    refused(answer, 416, "SIZE_INVALID")
    assert answer.headers["Content-Range"] == "bytes */2048"


@pytest.mark.parametrize(
    "header", ["bytes=-", "bytes=a-b", "bytes=0-1,5-6", "items=0-1", "bytes 0-1", "bytes=1", "0-1", "", "bytes=0--1"]
)
async def test_a_range_that_is_none_is_ignored(api: Api, header: str) -> None:
    """Several ranges, other units and nonsense get the whole blob."""
    await api.blob("a", BLOB)
    answer = await api.get(f"/v2/a/blobs/{DIGEST}", headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, BLOB)
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize(
    ("condition", "status"),
    [(f'"{DIGEST}"', 206), ('"other"', 200), (f'W/"{DIGEST}"', 200), ("Wed, 25 Nov 2026 10:00:00 GMT", 200)],
)
async def test_a_range_of_something_else(api: Api, condition: str, status: int) -> None:
    """A client that has some of another state, or says by a date what it has, gets the whole blob (RFC 9110, section 13.1.5)."""
    await api.blob("a", BLOB)
    answer = await api.get(f"/v2/a/blobs/{DIGEST}", headers={"Range": "bytes=2-3", "If-Range": condition})
    assert (answer.status_code, answer.content) == (status, BLOB[2:4] if status == 206 else BLOB)


async def test_the_empty_blob(api: Api) -> None:
    """It can be pushed in every style, read, and has no range."""
    digest = await api.blob("a", b"")
    answer = await api.get(f"/v2/a/blobs/{digest}")
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "0")
    beyond = await api.get(f"/v2/a/blobs/{digest}", headers={"Range": "bytes=0-0"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */0")
    at_once = await api.post(f"/v2/b/blobs/uploads/?digest={digest}")
    assert at_once.status_code == 201


async def test_mount_from_a_repository(api: Api) -> None:
    """201 with the blob's Location; the bytes are not written again."""
    await api.blob("a", BLOB)
    answer = await api.post(f"/v2/b/c/blobs/uploads/?mount={DIGEST}&from=a")
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v2/b/c/blobs/{DIGEST}")
    assert answer.headers["Docker-Content-Digest"] == DIGEST
    assert (await api.get(answer.headers["Location"])).content == BLOB


async def test_mount_from_anywhere(api: Api) -> None:
    """Without `from`, any repository's blob will do."""
    await api.blob("a", BLOB)
    answer = await api.post(f"/v2/b/blobs/uploads/?mount={DIGEST}")
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v2/b/blobs/{DIGEST}")
    assert (await api.get(f"/v2/b/blobs/{DIGEST}")).content == BLOB


async def test_mounting_twice_is_fine(api: Api) -> None:
    """A mount where the blob already is changes nothing and succeeds."""
    await api.blob("a", BLOB)
    for _ in range(2):
        assert (await api.post(f"/v2/a/blobs/uploads/?mount={DIGEST}&from=a")).status_code == 201


@pytest.mark.parametrize(
    "query",
    [
        f"mount={NO_SUCH}",
        f"mount={NO_SUCH}&from=a",
        f"mount={DIGEST}&from=elsewhere",
        "mount=sha256:short",
        "mount=",
        "mount=nonsense&from=a",
        f"mount={DIGEST}&from=NOT/A/NAME",
        "from=a",
    ],
)
async def test_a_mount_that_cannot_be_begins_an_upload(api: Api, query: str) -> None:
    """Never an error: 202, and the session works."""
    await api.blob("a", BLOB)
    answer = await api.post(f"/v2/b/blobs/uploads/?{query}")
    assert answer.status_code == 202
    fresh = b"pushed instead"
    await api.finish(answer.headers["Location"], str(Digest.of(fresh)), fresh)
    assert (await api.get(f"/v2/b/blobs/{Digest.of(fresh)}")).content == fresh


async def test_i3_racing_pushes_of_one_blob_all_succeed(world: World, api: Api, memory: MemoryStore) -> None:
    """I3: eight repositories push the same bytes at once; each can read them, and those that come later store none."""
    answers = await asyncio.gather(*(api.blob(f"r{number}", BLOB) for number in range(8)))
    assert set(answers) == {DIGEST}
    before = [info.key async for info in memory.list("data/")]
    async with world.gateway() as later:
        await later.blob("late", BLOB)
    assert [info.key async for info in memory.list("data/")] == before
    for number in range(8):
        assert (await api.get(f"/v2/r{number}/blobs/{DIGEST}")).content == BLOB


@pytest.mark.parametrize(
    "digest", ["sha256:short", "sha256:" + "G" * 64, "md5:" + "0" * 32, "sha256", "x", "sha512:00"]
)
async def test_a_bad_digest_is_400(api: Api, digest: str) -> None:
    """GET, HEAD and DELETE of what is no digest is DIGEST_INVALID."""
    for answer in (await api.get(f"/v2/a/blobs/{digest}"), await api.delete(f"/v2/a/blobs/{digest}")):
        refused(answer, 400, "DIGEST_INVALID")
    assert (await api.head(f"/v2/a/blobs/{digest}")).status_code == 400


async def test_lost_bytes_are_no_missing_blob(api: Api, memory: MemoryStore) -> None:
    """A link whose bytes are gone is our fault: 500 without details, never 404, so that no client takes it for absent."""
    await api.blob("a", BLOB)
    for info in [info async for info in memory.list("data/")]:
        await memory.delete(info.key)
    transport = httpx.ASGITransport(app=api.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://registry.test") as http:
        answer = await http.get(f"/v2/a/blobs/{DIGEST}")
    assert (answer.status_code, codes(answer)) == (500, ["UNKNOWN"])
    assert "data/" not in answer.text
