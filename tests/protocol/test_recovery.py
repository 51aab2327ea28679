"""What is left when things end half-way, meet, or are done twice: nothing hangs, nothing is lost, and a retry works."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec
import pytest

from storage.errors import Unavailable
from storage.objects.memory import MemoryStore
from storage.records import TagPointer
from storage.references import Digest
from tests.protocol.conftest import keys
from tests.protocol.serving import Api, Clock, World, refused

EMPTY = str(Digest.of(b""))


@pytest.fixture
def fail_once(memory: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the next PUT to a key that contains a string fail, unapplied."""

    def arrange(part: str) -> None:
        put, armed = memory.put, True

        async def failing(key: str, *arguments: Any, **conditions: Any) -> str:
            nonlocal armed
            if armed and part in key:
                armed = False
                raise Unavailable(key)
            await asyncio.sleep(0)
            return await put(key, *arguments, **conditions)

        monkeypatch.setattr(memory, "put", failing)

    return arrange


async def test_the_status_of_an_upload_that_published_nothing_at_all(api: Api) -> None:
    """An empty segment leads nowhere: GET of the session MUST answer after the empty blob was pushed through it."""
    location = await api.begin("a")
    await api.finish(location, EMPTY)
    answer = await asyncio.wait_for(api.get(location), 5)
    assert (answer.status_code, answer.headers["Range"]) == (204, "0-0")


async def test_a_status_of_many_chunks_is_still_a_url(api: Api) -> None:
    """A client that lost its Location after many chunks MUST get one that fits into a request line, and go on with it."""
    first = location = await api.begin("a")
    for number in range(200):
        answer = await api.patch(location, content=b"%03d" % number)
        location = answer.headers["Location"]
    status = await api.get(first)
    assert status.headers["Range"] == "0-599"
    assert len(status.headers["Location"]) < 2_500
    content = b"".join(b"%03d" % number for number in range(200))
    await api.finish(status.headers["Location"], str(Digest.of(content)))


async def test_a_known_blob_whose_body_takes_long(world: World, clock: Clock) -> None:
    """A body that takes longer than views last MUST be taken all the same, if the registry still has the blob."""
    async with world.gateway() as api:
        digest = await api.blob("a", b"known")
        location = await api.begin("b")

        async def slow() -> AsyncGenerator[bytes]:
            yield b"kno"
            clock.advance(3600)
            yield b"wn"

        assert (await api.put(location, params={"digest": digest}, content=slow())).status_code == 201
        assert (await api.get(f"/v2/b/blobs/{digest}")).content == b"known"


async def test_two_digests_never_share_their_bytes(api: Api, memory: MemoryStore) -> None:
    """A session committed under two algorithms MUST give each instance bytes of its own: one is collected without the other."""
    location = (await api.patch(await api.begin("a"), content=b"twice")).headers["Location"]
    digests = [str(Digest.of(b"twice", algorithm)) for algorithm in ("sha256", "sha512")]
    for digest in digests:
        await api.finish(location, digest)
    named = [msgspec.json.decode((await memory.get(key)).body)["key"] for key in await keys(memory) if "/at/" in key]
    assert len(set(named)) == 2
    for digest in digests:
        assert (await api.get(f"/v2/a/blobs/{digest}")).content == b"twice"


async def test_a_session_lists_only_what_it_was_sent(api: Api, memory: MemoryStore) -> None:
    """Bytes that a commit wrote itself MUST not be taken up by the session again, where another digest could come to share them."""
    first = await api.begin("a")
    await api.finish(first, str(Digest.of(b"at once", "sha512")), b"at once")
    status = await api.get(first)
    assert status.headers["Range"] == "0-0"
    refused(
        await api.put(status.headers["Location"], params={"digest": str(Digest.of(b"at once"))}), 400, "DIGEST_INVALID"
    )
    assert len([key for key in await keys(memory) if "/at/" in key]) == 1


@pytest.mark.parametrize("kind", ["blobs", "manifests"])
async def test_i1_a_delete_that_failed_is_done_by_its_retry(
    world: World, clock: Clock, fail_once: Callable[[str], None], kind: str
) -> None:
    """I1: wherever a DELETE fails, its retry MUST delete, and a gateway that saw the content before MUST not rely on that."""
    async with world.gateway() as deleter, world.gateway() as other:
        await deleter.image("a", "first")
        child = await other.image("a", None, "child")
        layer = msgspec.json.decode(child.content)["layers"][0]["digest"]
        target = layer if kind == "blobs" else child.digest
        clock.advance(1)
        fail_once("catalog/")
        refused(await deleter.delete(f"/v2/a/{kind}/{target}"), 503, "UNAVAILABLE")
        assert (await deleter.delete(f"/v2/a/{kind}/{target}")).status_code == 202
        content = msgspec.json.decode(child.content)
        content["annotations"] = {"another": "manifest"}
        if kind == "manifests":
            entry = {"mediaType": child.media_type, "digest": child.digest, "size": len(child.content)}
            content = {"schemaVersion": 2, "manifests": [entry]}
        media_type = "application/vnd.oci.image.index.v1+json" if kind == "manifests" else child.media_type
        answer = await other.put(
            "/v2/a/manifests/broken", content=msgspec.json.encode(content), headers={"Content-Type": media_type}
        )
        refused(answer, 400, "MANIFEST_BLOB_UNKNOWN")


async def test_a_delete_removes_all_tags_that_it_can(api: Api, fail_once: Callable[[str], None]) -> None:
    """One tag that cannot be removed MUST not keep the others; it resolves no more in any case."""
    pushed = await api.image("a", "1")
    for tag in ("2", "3"):
        await api.manifest("a", tag, pushed.content)
    fail_once("_tags/1")
    refused(await api.delete(f"/v2/a/manifests/{pushed.digest}"), 503, "UNAVAILABLE")
    assert await api.tags("a") == ["1"]
    for tag in ("1", "2", "3"):
        refused(await api.get(f"/v2/a/manifests/{tag}"), 404, "MANIFEST_UNKNOWN")


class Scheduled(MemoryStore):
    """A store that lets others run at every request, as a real one does."""

    async def get(self, key: str) -> Any:
        """See ObjectStore.get."""
        await asyncio.sleep(0)
        return await super().get(key)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        await asyncio.sleep(0)
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)


async def test_many_deletes_and_pushes_at_once(clock: Clock) -> None:
    """80 DELETEs in one repository at once, and 40 pushes of one tag, MUST all be done."""
    async with World(Scheduled(clock), clock).gateway() as api:
        digests = [await api.blob("a", b"%d" % number) for number in range(80)]
        answers = await asyncio.gather(*(api.delete(f"/v2/a/blobs/{digest}") for digest in digests))
        assert {answer.status_code for answer in answers} == {202}
        images = [await api.image("a", None, f"{number}") for number in range(40)]
        await asyncio.gather(*(api.manifest("a", "latest", image.content) for image in images))
        assert await api.tags("a") == ["latest"]


async def test_pushing_the_same_again_is_no_move(api: Api, memory: MemoryStore) -> None:
    """A tag pushed again to where it points MUST keep its history: otherwise builds that change nothing would wash it away."""
    first, second = await api.image("a", "1", "first"), await api.image("a", "1", "second")
    for _ in range(40):
        await api.manifest("a", "1", second.content)
    pointer = msgspec.json.decode((await memory.get("repositories/a/_tags/1")).body, type=TagPointer)
    assert [pointer.digest, *(move.digest for move in pointer.history)] == [second.digest, first.digest]


async def test_a_stray_object_is_named(api: Api, memory: MemoryStore) -> None:
    """An object below a prefix of ours that is not ours MUST be a 500 in our shape, not a wrong list."""
    await api.image("a", "1")
    await memory.put("repositories/a/_tags/no tag", b"what somebody put there by hand")
    refused(await api.get("/v2/a/tags/list"), 500, "UNKNOWN")


async def test_readiness_asks_the_store_once_in_a_while(
    api: Api, memory: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes of a store that is away MUST be answered from what was found a moment ago, and tell nothing of it."""
    asked = 0

    async def failing(key: str) -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        raise Unavailable("http://secret.test/bucket")

    with monkeypatch.context() as patched:
        patched.setattr(memory, "get", failing)
        for answer in await asyncio.gather(*(api.get("/readyz") for _ in range(10))):
            refused(answer, 503, "UNAVAILABLE")
            assert "secret" not in answer.text
        assert asked == 1
        clock.advance(60)
        refused(await api.get("/readyz"), 503, "UNAVAILABLE")
        assert asked == 2
    clock.advance(-3600)  # a clock that was set back is no reason to believe in it for longer
    assert (await api.get("/readyz")).status_code == 200


async def test_a_body_that_waits_for_leave_closes_the_connection(api: Api) -> None:
    """A refusal of a request whose body is held back MUST say that the connection ends: the body may follow or not."""
    headers = {"Expect": "100-continue", "Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    answer = await api.put("/v2/a/manifests/1", content=b"x" * (5 * 1024 * 1024), headers=headers)
    assert (answer.status_code, answer.headers["Connection"]) == (413, "close")
    answer = await api.post(f"/v2/a/blobs/uploads/?digest={Digest.of(b'x')}", content=b"x", headers=headers)
    assert answer.status_code == 201  # it was told to go on, and all of it was read
    assert "Connection" not in answer.headers
    answer = await api.put(f"/v2/a/manifests/{'0' * 200}", content=b"{}", headers={**headers, "Expect": ""})
    assert answer.status_code == 400
