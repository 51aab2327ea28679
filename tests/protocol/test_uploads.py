"""Upload sessions: every style of pushing, and what becomes of those that go wrong."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from starlette.types import Message

from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.periods import Periods
from storage.references import Digest
from storage.registry import Rules
from tests.protocol.conftest import keys
from tests.protocol.serving import Api, Clock, World, chunks_of, codes, refused

BLOB = b"0123456789" * 500
DIGEST = str(Digest.of(BLOB))
SHA512 = str(Digest.of(BLOB, "sha512"))


async def patch(api: Api, location: str, content: bytes, start: int | None = None) -> str:
    """Send a chunk, with a Content-Range if `start` is given; the next Location."""
    headers = {} if start is None else {"Content-Range": f"{start}-{start + len(content) - 1}"}
    answer = await api.patch(location, content=content, headers=headers)
    assert answer.status_code == 202, answer.text
    following: str = answer.headers["Location"]
    return following


async def pulled(api: Api, digest: str = DIGEST, name: str = "a") -> bytes:
    """The blob as it can be read."""
    answer = await api.get(f"/v2/{name}/blobs/{digest}")
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.mark.parametrize("digest", [DIGEST, SHA512])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_post_alone(api: Api, digest: str, is_chunked: bool) -> None:
    """Digest and body in one POST."""
    body: Any = chunks_of(BLOB) if is_chunked else BLOB
    answer = await api.post(f"/v2/a/blobs/uploads/?digest={digest}", content=body)
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v2/a/blobs/{digest}")
    assert answer.headers["Docker-Content-Digest"] == digest
    assert await pulled(api, digest) == BLOB


@pytest.mark.parametrize("digest", [DIGEST, SHA512])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_post_and_put(api: Api, digest: str, is_chunked: bool) -> None:
    """A session whose closing PUT has all bytes."""
    body: Any = chunks_of(BLOB) if is_chunked else BLOB
    answer = await api.put(await api.begin("a"), params={"digest": digest}, content=body)
    assert (answer.status_code, answer.headers["Docker-Content-Digest"]) == (201, digest)
    assert await pulled(api, digest) == BLOB


@pytest.mark.parametrize("digest", [DIGEST, SHA512])
@pytest.mark.parametrize("query", ["", "?digest-algorithm=sha256", "?digest-algorithm=sha512"])
async def test_post_patch_put(api: Api, digest: str, query: str) -> None:
    """A streamed PATCH, whatever algorithm was announced and whichever the digest then has."""
    location = await patch(api, await api.begin("a", query), BLOB)
    await api.finish(location, digest)
    assert await pulled(api, digest) == BLOB


@pytest.mark.parametrize("algorithm", ["md5", "blake3", "SHA256", "", "x" * 5000])
async def test_an_unknown_digest_algorithm_is_refused(api: Api, algorithm: str) -> None:
    """400, when the session begins."""
    refused(await api.post("/v2/a/blobs/uploads/", params={"digest-algorithm": algorithm[:500]}), 400, "DIGEST_INVALID")


async def test_location_and_range_of_each_step(api: Api) -> None:
    """Each answer leads on, and says what is durable."""
    begun = await api.post("/v2/a/b/blobs/uploads/")
    assert begun.status_code == 202
    assert begun.headers["Location"].startswith("/v2/a/b/blobs/uploads/")
    first = await api.patch(begun.headers["Location"], content=BLOB[:1000])
    assert (first.status_code, first.headers["Range"]) == (202, "0-999")
    status = await api.get(first.headers["Location"])
    assert (status.status_code, status.headers["Range"], status.content) == (204, "0-999", b"")
    assert begun.headers["Docker-Upload-UUID"] == status.headers["Docker-Upload-UUID"]


@pytest.mark.parametrize("count", [2, 5, 32, 33, 34, 70, 100])
async def test_chunks_with_a_content_range(api: Api, memory: MemoryStore, count: int) -> None:
    """Any number of chunks; beyond 32 their list moves to the bucket, so that the Location stays short."""
    size = len(BLOB) // count
    location = await api.begin("a")
    for number in range(count):
        end = len(BLOB) if number == count - 1 else (number + 1) * size
        location = await patch(api, location, BLOB[number * size : end], number * size)
        assert len(location) < 2500
    assert any("/index-" in key for key in await keys(memory, "data/")) == (count > 32)
    await api.finish(location, DIGEST)
    assert await pulled(api) == BLOB
    assert len([key for key in await keys(memory, "blobs/") if "/at/" in key]) == 1


async def test_a_wrong_digest_after_many_chunks(api: Api, memory: MemoryStore) -> None:
    """I4: the joined bytes are verified too, and nothing is published."""
    location = await api.begin("a")
    for at in range(40):
        location = await patch(api, location, b"%02d" % at, at * 2)
    refused(await api.put(location, params={"digest": DIGEST}), 400, "DIGEST_INVALID")
    assert await keys(memory, "blobs/") == []


async def test_the_closing_put_may_carry_the_last_chunk(api: Api) -> None:
    """With a Content-Range and without."""
    for name, headers in (("a", {"Content-Range": f"1000-{len(BLOB) - 1}"}), ("b", {})):
        location = await patch(api, await api.begin(name), BLOB[:1000], 0)
        answer = await api.put(location, params={"digest": DIGEST}, content=BLOB[1000:], headers=headers)
        assert answer.status_code == 201
        assert await pulled(api, name=name) == BLOB


async def test_a_chunked_body_without_bytes_is_no_chunk(api: Api, memory: MemoryStore) -> None:
    """Before or behind the bytes, it is not written, so that one segment stays one, which is never copied."""
    location = (await api.patch(await api.begin("a"), content=chunks_of(b""))).headers["Location"]
    location = await patch(api, location, BLOB)
    answer = await api.put(location, params={"digest": DIGEST}, content=chunks_of(b""))
    assert answer.status_code == 201
    assert await pulled(api) == BLOB
    assert len(await keys(memory, "data/")) == 1


async def test_an_empty_blob_by_every_style(api: Api) -> None:
    """No bytes at all are a blob too, also after an empty PATCH."""
    empty = str(Digest.of(b""))
    await api.finish(await api.begin("a"), empty)
    answer = await api.patch(await api.begin("b"), content=b"")
    await api.finish(answer.headers["Location"], empty)
    streamed = await api.patch(await api.begin("c"), content=chunks_of(b""))
    assert (streamed.status_code, streamed.headers["Range"]) == (202, "0-0")
    await api.finish(streamed.headers["Location"], empty, b"")
    for name in "abc":
        assert await pulled(api, empty, name) == b""


async def test_status_finds_what_a_lost_answer_hid(api: Api) -> None:
    """An old Location tells of newer bytes, and leads to a session that has them."""
    begun = await api.begin("a")
    lost = await patch(api, begun, BLOB[:2000], 0)
    await patch(api, lost, BLOB[2000:3000], 2000)
    status = await api.get(begun)
    assert (status.status_code, status.headers["Range"]) == (204, "0-2999")
    location = await patch(api, status.headers["Location"], BLOB[3000:], 3000)
    await api.finish(location, DIGEST)
    assert await pulled(api) == BLOB


async def test_a_chunk_may_follow_a_lost_answer_at_once(api: Api) -> None:
    """A PATCH on an old Location that begins where the durable bytes end is in order."""
    begun = await api.begin("a")
    await patch(api, begun, BLOB[:2000], 0)
    location = await patch(api, begun, BLOB[2000:], 2000)
    await api.finish(location, DIGEST)
    assert await pulled(api) == BLOB


async def test_the_last_chunk_may_follow_a_lost_answer_at_once(api: Api) -> None:
    """So is a closing PUT with the last chunk, even on the first Location."""
    begun = await api.begin("a")
    await patch(api, begun, BLOB[:2000], 0)
    headers = {"Content-Range": f"2000-{len(BLOB) - 1}"}
    answer = await api.put(begun, params={"digest": DIGEST}, content=BLOB[2000:], headers=headers)
    assert answer.status_code == 201, answer.text
    assert await pulled(api) == BLOB


async def test_a_chunk_sent_again_after_a_lost_answer(api: Api) -> None:
    """The same bytes on the same Location once more do no harm."""
    begun = await api.begin("a")
    await patch(api, begun, BLOB[:2000], 0)
    location = await patch(api, begun, BLOB[:2000], 0)
    status = await api.get(location)
    assert status.headers["Range"] == "0-1999"
    await api.finish(await patch(api, location, BLOB[2000:], 2000), DIGEST)
    assert await pulled(api) == BLOB


@pytest.mark.parametrize("digest", [DIGEST, SHA512])
async def test_another_gateway_goes_on(world: World, api: Api, digest: str) -> None:
    """Every step may reach another gateway: all they share is the store, and the digest is verified by reading again."""
    location = await api.begin("a")
    for number in range(40):
        async with world.gateway() as another:
            location = await patch(another, location, BLOB[number * 125 : number * 125 + 125], number * 125)
    async with world.gateway() as another:
        await another.finish(location, digest)
    assert await pulled(api, digest) == BLOB


async def test_another_gateway_verifies(world: World, api: Api, memory: MemoryStore) -> None:
    """I4: a gateway that saw none of the bytes refuses a wrong digest all the same, for one segment as for several."""
    for cut in (0, 1000):
        location = await api.begin("a")
        for piece in filter(None, (BLOB[:cut], BLOB[cut:])):
            async with world.gateway() as another:
                location = await patch(another, location, piece)
        async with world.gateway() as another:
            wrong = await another.put(location, params={"digest": str(Digest.of(b"x", "sha512"))})
            refused(wrong, 400, "DIGEST_INVALID")
            refused(await another.put(location, params={"digest": str(Digest.of(b"x"))}), 400, "DIGEST_INVALID")
    assert await keys(memory, "blobs/") == []


@pytest.mark.parametrize("start", [0, 500, 999, 1001, 5000])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_out_of_order(api: Api, start: int, method: str) -> None:
    """416 with Location and Range, and the session goes on from there."""
    location = await patch(api, await api.begin("a"), BLOB[:1000], 0)
    query = {"digest": DIGEST} if method == "PUT" else {}
    wrong = await api.http(
        method, location, params=query, content=b"xyz", headers={"Content-Range": f"{start}-{start + 2}"}
    )
    refused(wrong, 416, "BLOB_UPLOAD_INVALID")
    assert wrong.headers["Range"] == "0-999"
    status = await api.get(wrong.headers["Location"])
    assert (status.status_code, status.headers["Range"]) == (204, "0-999")
    await api.finish(await patch(api, status.headers["Location"], BLOB[1000:], 1000), DIGEST)
    assert await pulled(api) == BLOB


async def test_out_of_order_from_the_start(api: Api) -> None:
    """A first chunk that does not begin at 0 is 416, also in a POST with a digest."""
    headers = {"Content-Range": "5-7"}
    wrong = await api.patch(await api.begin("a"), content=b"xyz", headers=headers)
    refused(wrong, 416, "BLOB_UPLOAD_INVALID")
    assert wrong.headers["Range"] == "0-0"
    at_once = await api.post(f"/v2/a/blobs/uploads/?digest={DIGEST}", content=b"xyz", headers=headers)
    refused(at_once, 416, "BLOB_UPLOAD_INVALID")
    await api.finish(await patch(api, at_once.headers["Location"], BLOB, 0), DIGEST)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_out_of_order_by_an_old_location(api: Api, method: str) -> None:
    """What the 416 says is durable is what is, though the client's Location is older."""
    old = await api.begin("a")
    await patch(api, old, BLOB[:1000], 0)
    query = {"digest": DIGEST} if method == "PUT" else {}
    wrong = await api.http(method, old, params=query, content=b"xyz", headers={"Content-Range": "2000-2002"})
    refused(wrong, 416, "BLOB_UPLOAD_INVALID")
    assert wrong.headers["Range"] == "0-999"
    await api.finish(await patch(api, wrong.headers["Location"], BLOB[1000:], 1000), DIGEST)
    assert await pulled(api) == BLOB


async def test_upload_expiry(world: World, clock: Clock) -> None:
    """A session lasts as long as the setting says, counted from its start, however busy it is; then every method is 404."""
    async with world.gateway(rules=Rules(Periods(upload_expiry=3600))) as api:
        location = await api.begin("a")
        clock.advance(3599)
        location = await patch(api, location, BLOB)
        clock.advance(2)
        for answer in (
            await api.get(location),
            await api.patch(location, content=b"x"),
            await api.put(location, params={"digest": DIGEST}),
            await api.delete(location),
        ):
            refused(answer, 404, "BLOB_UPLOAD_UNKNOWN")


async def test_expiry_is_checked_right_before_the_instance_is_written(
    world: World, clock: Clock, memory: MemoryStore
) -> None:
    """A body that arrives so slowly that the session expires meanwhile is not published: the collector may take its bytes."""

    async def slowly() -> Any:
        yield BLOB[:100]
        clock.advance(3601)
        yield BLOB[100:]

    async with world.gateway(rules=Rules(Periods(upload_expiry=3600))) as api:
        answer = await api.put(await api.begin("a"), params={"digest": DIGEST}, content=slowly())
    refused(answer, 404, "BLOB_UPLOAD_UNKNOWN")
    assert await keys(memory, "blobs/") == []


async def test_expiry_is_checked_right_before_several_chunks_are_published(
    world: World, clock: Clock, memory: MemoryStore
) -> None:
    """However long the last of them took."""

    async def slowly() -> Any:
        yield BLOB[100:200]
        clock.advance(3601)
        yield BLOB[200:]

    async with world.gateway(rules=Rules(Periods(upload_expiry=3600))) as api:
        location = await patch(api, await api.begin("a"), BLOB[:100])
        answer = await api.put(location, params={"digest": DIGEST}, content=slowly())
    refused(answer, 404, "BLOB_UPLOAD_UNKNOWN")
    assert await keys(memory, "blobs/") == []


async def test_bytes_whose_last_link_goes_while_they_are_pushed_again(
    world: World, clock: Clock, memory: MemoryStore
) -> None:
    """Are not shared: a link counts for a minute (rule 5), and the body takes longer. Who tries again stores them."""
    async with world.gateway() as api, world.gateway() as elsewhere:
        await elsewhere.blob("b", BLOB)

        async def slowly() -> Any:
            yield BLOB[:100]
            clock.advance(61)
            assert (await elsewhere.delete(f"/v2/b/blobs/{DIGEST}")).status_code == 202
            yield BLOB[100:]

        answer = await api.put(await api.begin("a"), params={"digest": DIGEST}, content=slowly())
        refused(answer, 503, "UNAVAILABLE")
        assert (await api.get(f"/v2/a/blobs/{DIGEST}")).status_code == 404
        await api.blob("a", BLOB)
        assert await pulled(api) == BLOB
    assert len(await keys(memory, "data/")) == 2


async def test_chunks_that_are_gone_are_an_upload_that_has_expired(api: Api, memory: MemoryStore) -> None:
    """The collector took them, as it does when a session has expired by another gateway's clock: the client MUST begin anew."""
    location = await patch(api, await patch(api, await api.begin("a"), BLOB[:100]), BLOB[100:])
    await memory.delete_many(await keys(memory, "data/"))
    refused(await api.put(location, params={"digest": DIGEST}), 404, "BLOB_UPLOAD_UNKNOWN")
    assert await keys(memory, "blobs/") == []


class FlakyStore(MeteredStore):
    """Content is damaged on the way here, the first time that it is read."""

    reads = 0

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range."""
        self.reads += 1
        return self._damaged(await super().get_range(key, start, length), is_bad=self.reads == 1)

    async def _damaged(self, chunks: AsyncGenerator[bytes], *, is_bad: bool) -> AsyncGenerator[bytes]:
        async for chunk in chunks:
            yield b"?" + chunk[1:] if is_bad else chunk


async def test_one_bad_reading_of_a_session_is_not_the_clients_fault(clock: Clock, memory: MemoryStore) -> None:
    """Nobody knows the digest of what was sent, of another algorithm than the session's: it is read again before it is refused."""
    store = FlakyStore(memory)
    async with World(store, clock).gateway() as api:
        await api.finish(await patch(api, await api.begin("a"), BLOB), SHA512)
        assert store.reads == 2
        assert await pulled(api, SHA512) == BLOB


async def test_what_the_server_composes_is_verified(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """I4: where no gateway has seen all bytes of several chunks, they are read again once they are one."""
    monkeypatch.setattr("storage.uploads.MIN_PART", 100)
    memory = MemoryStore(clock)
    memory.capabilities = replace(memory.capabilities, part_copy=True)
    world = World(memory, clock)
    async with world.gateway() as one, world.gateway() as other:
        location = await patch(other, await patch(one, await one.begin("a"), BLOB[:200]), BLOB[200:])
        wrong = str(Digest.of(b"other bytes"))
        refused(await one.put(location, params={"digest": wrong}), 400, "DIGEST_INVALID")
        assert await keys(memory, "blobs/") == []
        await one.finish(location, DIGEST)
        assert await pulled(other) == BLOB


async def test_a_chunk_that_is_sent_twice(api: Api) -> None:
    """Because its answer was lost: both go on from the same bytes, and either may be committed."""
    begun = await patch(api, await api.begin("a"), BLOB[:100])
    one, other = await patch(api, begun, BLOB[100:], 100), await patch(api, begun, BLOB[100:], 100)
    await api.finish(other, DIGEST)
    await api.finish(one, DIGEST)
    assert await pulled(api) == BLOB


async def test_of_two_answers_that_were_lost_the_longer_chunk_counts(api: Api) -> None:
    """A client that asks how much is durable sends nothing again that is."""
    begun = await api.begin("a")
    await patch(api, begun, BLOB[:200])
    await patch(api, begun, BLOB[:100])
    assert (await api.get(begun)).headers["Range"] == "0-199"


async def test_cancel(api: Api, memory: MemoryStore) -> None:
    """DELETE is 204, and the session's status 404 from then on, on every Location of it."""
    begun = await api.begin("a")
    location = await patch(api, begun, BLOB)
    assert (await api.delete(location)).status_code == 204
    refused(await api.get(location), 404, "BLOB_UPLOAD_UNKNOWN")
    refused(await api.get(begun), 404, "BLOB_UPLOAD_UNKNOWN")
    assert await keys(memory, "blobs/") == []


async def test_a_session_belongs_to_its_repository(api: Api) -> None:
    """Through another repository's path its token is unknown."""
    location = (await api.begin("a")).replace("/v2/a/", "/v2/b/")
    for answer in (
        await api.get(location),
        await api.patch(location, content=b"x"),
        await api.put(location, params={"digest": DIGEST}, content=BLOB),
        await api.delete(location),
    ):
        refused(answer, 404, "BLOB_UPLOAD_UNKNOWN")


async def test_an_altered_token_is_unknown(api: Api) -> None:
    """Whichever character is changed, left out, doubled or added: characters that are no base64, and padding, too."""
    location = await patch(api, await api.begin("a"), b"x")
    path, _, token = location.rpartition("/")
    altered = {token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(len(token))}
    altered |= {token[1:], token[:-1], token + "A", token + "=", token + "*", "*" + token, token[:9] + "." + token[9:]}
    altered |= {"x", "00000000-0000-0000-0000-000000000000", "A" * 4000, "\u00e9", "=", "...."}
    for wrong in altered - {token}:
        refused(await api.get(f"{path}/{wrong}"), 404, "BLOB_UPLOAD_UNKNOWN")
    assert (await api.get(location)).status_code == 204


async def test_another_registrys_token_is_unknown(api: Api, clock: Clock) -> None:
    """The key of tokens is kept in the store, so each store has its own."""
    async with World(MemoryStore(clock), clock, _different()).gateway() as other:
        location = await other.begin("a")
    refused(await api.get(location), 404, "BLOB_UPLOAD_UNKNOWN")


def _different() -> Any:
    from tests.protocol.serving import Nonces  # noqa: PLC0415

    nonces = Nonces()
    for _ in range(100):
        nonces()
    return nonces


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("said", ["0-3", "0-99"])
async def test_a_content_range_that_lies(api: Api, memory: MemoryStore, said: str, is_chunked: bool) -> None:
    """More bytes, or fewer, than the Content-Range says: SIZE_INVALID, and nothing of them is left in the store."""
    location = await api.begin("a")
    before = await keys(memory)
    body: Any = chunks_of(b"0123456789") if is_chunked else b"0123456789"
    answer = await api.patch(location, content=body, headers={"Content-Range": said})
    refused(answer, 400, "SIZE_INVALID")
    assert await keys(memory) == before
    await api.finish(await patch(api, location, BLOB, 0), DIGEST)
    assert await pulled(api) == BLOB


@pytest.mark.parametrize("said", ["bytes 0-9", "0-9/10", "9-0", "0", "-", "a-b", "-1-5", "0-9,10-19", "\u0661-\u0662"])
async def test_a_content_range_that_is_none(api: Api, memory: MemoryStore, said: str) -> None:
    """400, and nothing is written."""
    location = await api.begin("a")
    before = await keys(memory)
    answer = await api.patch(location, content=b"0123456789", headers={b"Content-Range": said.encode()})
    refused(answer, 400, "BLOB_UPLOAD_INVALID")
    assert await keys(memory) == before


@pytest.mark.parametrize("query", ["", "?digest=", "?digest=nonsense", "?digest=md5:00", "?digest=sha256:ABC"])
async def test_a_closing_put_needs_a_digest(api: Api, query: str) -> None:
    """Without one, or with a bad one: 400; the session survives."""
    location = await patch(api, await api.begin("a"), BLOB)
    refused(await api.put(location + query), 400, "DIGEST_INVALID")
    await api.finish(location, DIGEST)
    assert await pulled(api) == BLOB


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_i4_a_wrong_digest_leaves_nothing_of_a_body_sent_at_once(
    api: Api, memory: MemoryStore, is_chunked: bool
) -> None:
    """I4: by POST and by POST + PUT nothing is published and nothing stored."""
    before = await keys(memory)
    for algorithm in ("sha256", "sha512"):
        wrong = str(Digest.of(b"other", algorithm))
        for answer in (
            await api.post(f"/v2/a/blobs/uploads/?digest={wrong}", content=chunks_of(BLOB) if is_chunked else BLOB),
            await api.put(
                await api.begin("a"), params={"digest": wrong}, content=chunks_of(BLOB) if is_chunked else BLOB
            ),
        ):
            refused(answer, 400, "DIGEST_INVALID")
        refused(await api.get(f"/v2/a/blobs/{wrong}"), 404, "BLOB_UNKNOWN")
    assert await keys(memory) == before


async def test_i4_a_wrong_digest_publishes_nothing_of_a_session(api: Api, memory: MemoryStore) -> None:
    """I4: after PATCHes the bytes stay for the collector, but no repository sees them, and the right digest still works."""
    location = await patch(api, await api.begin("a"), BLOB)
    refused(await api.put(location, params={"digest": str(Digest.of(b"other"))}), 400, "DIGEST_INVALID")
    assert await keys(memory, "blobs/") == []
    await api.finish(location, DIGEST)
    assert await pulled(api) == BLOB


async def test_i4_known_bytes_are_verified_too(api: Api, memory: MemoryStore) -> None:
    """I4, I6: to name the digest of somebody's blob is not enough to get it: the body must be it."""
    await api.blob("a", BLOB)
    before = await keys(memory)
    refused(await api.post(f"/v2/b/blobs/uploads/?digest={DIGEST}", content=b"not it"), 400, "DIGEST_INVALID")
    location = await api.begin("b")
    refused(await api.put(location, params={"digest": DIGEST}), 400, "DIGEST_INVALID")
    refused(await api.get(f"/v2/b/blobs/{DIGEST}"), 404, "BLOB_UNKNOWN")
    assert await keys(memory) == before


@pytest.mark.parametrize("path", ["post", "patch", "put"])
async def test_a_body_cut_short_leaves_nothing(api: Api, memory: MemoryStore, path: str) -> None:
    """A client that hangs up in the middle of its body leaves nothing in the store, and no server error."""
    before = await keys(memory)
    location = await api.begin("a")
    target, query = {
        "post": ("/v2/a/blobs/uploads/", f"digest={DIGEST}"),
        "patch": (location, ""),
        "put": (location, f"digest={DIGEST}"),
    }[path]
    status = await _hang_up(api, path.upper(), target, query, BLOB[:1000])
    assert status == 400
    assert await keys(memory) == before


async def _hang_up(api: Api, method: str, path: str, query: str, content: bytes) -> int:
    """Send the beginning of a body, then close the connection; the status that nobody reads."""
    messages: list[Message] = [
        {"type": "http.request", "body": content, "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0) if len(messages) > 1 else messages[0]

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": query.encode(),
        "headers": [(b"content-length", b"5000")],
        "client": ("127.0.0.1", 1),
        "server": ("registry.test", 80),
    }
    await api.app(scope, receive, send)
    status: int = sent[0]["status"]
    return status


async def test_closing_twice_is_fine(api: Api, memory: MemoryStore) -> None:
    """A client that lost the last answer may send the PUT again, at once or in parallel."""
    location = await patch(api, await api.begin("a"), BLOB)
    await asyncio.gather(*(api.finish(location, DIGEST) for _ in range(4)))
    await api.finish(location, DIGEST)
    assert await pulled(api) == BLOB
    assert len([key for key in await keys(memory, "blobs/") if "/at/" in key]) == 1


async def test_two_digests_never_share_a_segment(api: Api, memory: MemoryStore) -> None:
    """Of one session that is closed twice: the collector judges each digest by itself, and MUST NOT take the other's bytes."""
    location = await patch(api, await api.begin("a"), BLOB)
    for digest in (DIGEST, SHA512):
        await api.finish(location, digest)
    segments = [key.rpartition("/")[2] for key in await keys(memory, "blobs/") if "/at/" in key]
    assert len(set(segments)) == 2


async def test_an_error_names_no_key(api: Api) -> None:
    """What a client is told of its session says nothing of the bucket."""
    answer = await api.get("/v2/a/blobs/uploads/nonsense")
    assert codes(answer) == ["BLOB_UPLOAD_UNKNOWN"]
    assert "data/" not in answer.text
