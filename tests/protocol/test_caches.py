"""What gateways remember, for how long, and what happens when many write at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from storage.objects.contract import ObjectStore, StoredObject
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.periods import Periods
from storage.records import TagPointer
from storage.references import Digest
from storage.registry import Rules
from storage.views import Epoch
from tests.invariants import sealed
from tests.protocol.documents import descriptor, image, index, manifest_descriptor
from tests.protocol.serving import Clock, World, refused

BLOB = b"a blob"
DIGEST = str(Digest.of(BLOB))


class Interrupted(MeteredStore):
    """A store in which something happens right before a GET of a key."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.part = ""
        self.happen: Callable[[], Awaitable[Any]] | None = None

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        if self.happen is not None and self.part in key:
            happen, self.happen = self.happen, None
            await happen()
        return await super().get(key)


async def test_deletes_show_at_once_on_gateways_that_share_an_epoch(world: World) -> None:
    """Workers of one host: what one has deleted, another that had just served it does not serve again."""
    epoch = Epoch()
    async with world.gateway(epoch=epoch) as one, world.gateway(epoch=epoch) as other:
        pushed = await one.image("a", "1")
        await one.blob("a", BLOB)
        paths = ("manifests/1", f"manifests/{pushed.digest}", f"blobs/{DIGEST}")
        for path in paths:
            assert (await other.get(f"/v2/a/{path}")).status_code == 200
        await one.delete(f"/v2/a/blobs/{DIGEST}")
        assert (await other.head(f"/v2/a/blobs/{DIGEST}")).status_code == 404
        await one.delete(f"/v2/a/manifests/{pushed.digest}")
        for path in paths:
            assert (await other.get(f"/v2/a/{path}")).status_code == 404
            assert (await other.head(f"/v2/a/{path}")).status_code == 404


async def test_deletes_show_within_a_minute_on_other_hosts(world: World, clock: Clock, metered: MeteredStore) -> None:
    """What a gateway has seen it may serve for 60 s, never longer, however often it is asked; a tag is gone at once."""
    async with world.gateway() as one, world.gateway() as other:
        pushed = await one.image("a", "1")
        await one.blob("a", BLOB)
        cached = (f"manifests/{pushed.digest}", f"blobs/{DIGEST}")
        for path in (*cached, "manifests/1"):
            assert (await other.get(f"/v2/a/{path}")).status_code == 200
        await one.delete(f"/v2/a/manifests/{pushed.digest}")
        await one.delete(f"/v2/a/blobs/{DIGEST}")
        refused(await other.get("/v2/a/manifests/1"), 404, "MANIFEST_UNKNOWN")
        for _ in range(6):
            clock.advance(10)
            metered.requests.clear()
            assert (await other.head(f"/v2/a/blobs/{DIGEST}")).status_code == 200
            assert not metered.requests
        clock.advance(0.5)
        for path in cached:
            assert (await other.get(f"/v2/a/{path}")).status_code == 404


async def test_a_clock_that_was_set_back_ends_what_is_remembered(world: World, clock: Clock) -> None:
    """Never older than 60 s: views from the future are not relied on."""
    async with world.gateway() as one, world.gateway() as other:
        await one.blob("a", BLOB)
        assert (await other.head(f"/v2/a/blobs/{DIGEST}")).status_code == 200
        await one.delete(f"/v2/a/blobs/{DIGEST}")
        clock.advance(-3600)
        assert (await other.head(f"/v2/a/blobs/{DIGEST}")).status_code == 404


async def test_absence_is_not_remembered(world: World) -> None:
    """What is pushed through one gateway is there at once for another that has just answered 404."""
    async with world.gateway() as one, world.gateway() as other:
        content = image(descriptor(BLOB))
        digest = str(Digest.of(content))
        paths = (f"blobs/{DIGEST}", f"manifests/{digest}", "manifests/1")
        for path in paths:
            assert (await other.get(f"/v2/a/{path}")).status_code == 404
        refused(await other.get("/v2/a/tags/list"), 404, "NAME_UNKNOWN")
        assert (await other.post(f"/v2/b/blobs/uploads/?mount={DIGEST}")).status_code == 202
        await one.blob("a", BLOB)
        await one.manifest("a", "1", content)
        for path in paths:
            assert (await other.get(f"/v2/a/{path}")).status_code == 200
        assert await other.tags("a") == ["1"]
        assert (await other.post(f"/v2/b/blobs/uploads/?mount={DIGEST}")).status_code == 201


async def test_i2_a_tag_move_is_seen_at_once_on_every_gateway(world: World) -> None:
    """I2: the next GET, on any gateway, warm or not, has the new version."""
    async with world.gateway() as one, world.gateway() as other:
        versions = [await one.image("a", None, f"version {number}") for number in range(6)]
        for number, version in enumerate(versions):
            await (one, other)[number % 2].manifest("a", "1", version.content)
            for gateway in (one, other):
                assert (await gateway.get("/v2/a/manifests/1")).content == version.content
                assert (await gateway.head("/v2/a/manifests/1")).headers["Docker-Content-Digest"] == version.digest


async def test_i2_no_acknowledged_move_is_lost_among_many(world: World, memory: MemoryStore) -> None:
    """I2: of 8 concurrent pushers through two gateways all are acknowledged, one is last, and all are in the tag's history."""
    async with world.gateway() as one, world.gateway() as other:
        versions = [await one.image("a", None, f"version {number}") for number in range(8)]
        first = await one.image("a", "1", "before")
        pushes = (
            (one, other)[number % 2].manifest("a", "1", version.content) for number, version in enumerate(versions)
        )
        await asyncio.gather(*pushes)
        found = await memory.get("repositories/a/_tags/1")
        pointer = msgspec.json.decode(found.body, type=TagPointer)
        moves = [pointer.digest, *(move.digest for move in pointer.history)]
        assert sorted(moves[:-1]) == sorted(version.digest for version in versions)
        assert moves[-1] == first.digest
        for gateway in (one, other):
            assert (await gateway.head("/v2/a/manifests/1")).headers["Docker-Content-Digest"] == pointer.digest


async def test_i1_pushes_and_deletes_at_once_leave_nothing_half_done(world: World) -> None:
    """I1: whatever the order in which pushes and deletes of one manifest took effect, its tag serves it whole, or is 404."""
    async with world.gateway() as one, world.gateway() as other:
        pushed = await one.image("a", "1")
        for _ in range(10):
            await asyncio.gather(
                one.manifest("a", "1", pushed.content),
                other.delete(f"/v2/a/manifests/{pushed.digest}"),
                other.manifest("a", "2", pushed.content),
            )
            by_digest = (await one.get(f"/v2/a/manifests/{pushed.digest}")).status_code
            for tag in ("1", "2"):
                answer = await other.get(f"/v2/a/manifests/{tag}")
                assert answer.status_code in {200, 404}
                if answer.status_code == 200:
                    assert (answer.content, by_digest) == (pushed.content, 200)
            await one.manifest("a", "1", pushed.content)
            assert (await other.get("/v2/a/manifests/1")).content == pushed.content


async def test_i2_a_tag_that_moves_while_it_is_read_is_never_missing(memory: MemoryStore, clock: Clock) -> None:
    """I2: a reader that saw the old pointer, whose manifest is deleted once the tag has moved on, gets the new one."""
    store = Interrupted(memory)
    world = World(store, clock)
    async with world.gateway() as one, world.gateway() as other:
        old, new = await one.image("a", "1", "old"), await one.image("a", None, "new")

        async def move_and_delete() -> None:
            await one.manifest("a", "1", new.content)
            assert (await one.delete(f"/v2/a/manifests/{old.digest}")).status_code == 202

        store.part, store.happen = "_manifests", move_and_delete
        answer = await other.get("/v2/a/manifests/1")
        assert store.happen is None
    assert (answer.status_code, answer.content) == (200, new.content)


async def test_i2_a_manifest_that_is_deleted_and_pushed_again_while_its_tag_is_read(
    memory: MemoryStore, clock: Clock
) -> None:
    """I2: the reader that saw the pointer of the old generation finds the tag of the new one."""
    store = Interrupted(memory)
    world = World(store, clock)
    async with world.gateway() as one, world.gateway() as other:
        pushed = await one.image("a", "1")

        async def push_again() -> None:
            await one.delete(f"/v2/a/manifests/{pushed.digest}")
            await one.manifest("a", "1", pushed.content)

        store.part, store.happen = "_manifests", push_again
        assert (await other.get("/v2/a/manifests/1")).content == pushed.content


async def test_a_dead_generation_does_not_resolve(world: World, memory: MemoryStore) -> None:
    """Rule 8: a tag pointer that a crash left behind its manifest's DELETE is dead, also after the manifest is pushed again."""
    async with world.gateway() as api:
        pushed = await api.image("a", "1")
        left_behind = (await memory.get("repositories/a/_tags/1")).body
        await api.delete(f"/v2/a/manifests/{pushed.digest}")
        await memory.put("repositories/a/_tags/1", left_behind)
    for tag in (None, "2"):
        async with world.gateway() as api:
            refused(await api.get("/v2/a/manifests/1"), 404, "MANIFEST_UNKNOWN")
            await api.manifest("a", tag, pushed.content)
            assert (await api.get(f"/v2/a/manifests/{pushed.digest}")).status_code == 200
            refused(await api.get("/v2/a/manifests/1"), 404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("state", ["condemned"])
async def test_who_needs_condemned_content_revives_it(world: World, memory: MemoryStore, state: str) -> None:
    """Rule 2: HEAD or GET of a blob, and a push that references a blob or child, make them live again before they answer."""

    async def condemn(part: str) -> None:
        for info in [info async for info in memory.list("")]:
            if part in info.key:
                body = (await memory.get(info.key)).body
                head, newline, rest = body.partition(b"\n")
                fields = {**msgspec.json.decode(head), "state": state, "nonce": world.nonces()}
                await memory.put(info.key, sealed(fields) + newline + rest)

    async def states(part: str) -> set[str]:
        found = [info.key async for info in memory.list("") if part in info.key]
        assert found
        heads = [(await memory.get(key)).body.partition(b"\n")[0] for key in found]
        return {msgspec.json.decode(head).get("state", "live") for head in heads}

    async with world.gateway() as api:
        pushed = await api.image("a", "1")
        await api.blob("b", BLOB)
    for method in ("HEAD", "GET"):
        await condemn("/in/b")
        async with world.gateway() as api:
            assert (await api.http(method, f"/v2/b/blobs/{DIGEST}")).status_code == 200
        assert await states("/in/b") == {"live"}
    await condemn("/in/a")
    async with world.gateway() as api:
        await api.manifest("a", "2", pushed.content)
    assert await states("/in/a") == {"live"}
    await condemn("/_manifests/")
    async with world.gateway() as api:
        assert (await api.get("/v2/a/manifests/1")).status_code == 200
        await api.manifest("a", "all", index([manifest_descriptor(pushed.content)]))
    assert await states("/_manifests/") == {"live"}
    await condemn("/_manifests/")
    async with world.gateway() as api:
        await api.manifest("a", "2", pushed.content)
        assert (await api.get("/v2/a/manifests/2")).content == pushed.content


async def test_i2_what_was_deleted_and_pushed_again_elsewhere(world: World) -> None:
    """A tag of the new generation is served at once, though this gateway remembers the record of the old one."""
    async with world.gateway() as one, world.gateway() as other:
        pushed = await one.image("a", "1")
        assert (await one.get("/v2/a/manifests/1")).status_code == 200
        assert (await other.delete(f"/v2/a/manifests/{pushed.digest}")).status_code == 202
        await other.manifest("a", "1", pushed.content)
        answer = await one.get("/v2/a/manifests/1")
        assert (answer.status_code, answer.content) == (200, pushed.content)


async def test_i1_a_removal_since_the_oldest_of_several_views_is_noticed(world: World, clock: Clock) -> None:
    """However new the others are: here the clocks hardly differ, so that nothing allows for it by the way."""
    rules = Rules(Periods(skew=1, bound=5))
    async with world.gateway(rules=rules) as one, world.gateway() as other:
        await one.blob("a", BLOB)
        clock.advance(5)
        assert (await other.delete(f"/v2/a/blobs/{DIGEST}")).status_code == 202
        clock.advance(30)
        await one.blob("a", b"another")
        content = image(descriptor(BLOB), [descriptor(b"another")])
        headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        answer = await one.put("/v2/a/manifests/1", content=content, headers=headers)
        refused(answer, 400, "MANIFEST_BLOB_UNKNOWN")


async def test_i1_every_removal_is_noticed_not_only_the_first(world: World, clock: Clock) -> None:
    """Of a repository from which something was deleted long ago, too."""
    async with world.gateway() as one, world.gateway() as other:
        for content in (b"old", BLOB):
            await one.blob("a", content)
        assert (await other.delete(f"/v2/a/blobs/{Digest.of(b'old')}")).status_code == 202
        clock.advance(3600)
        assert (await one.head(f"/v2/a/blobs/{DIGEST}")).status_code == 200
        assert (await other.delete(f"/v2/a/blobs/{DIGEST}")).status_code == 202
        headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        answer = await one.put("/v2/a/manifests/1", content=image(descriptor(BLOB)), headers=headers)
        refused(answer, 400, "MANIFEST_BLOB_UNKNOWN")


async def test_i1_a_removal_before_the_repository_entered_the_catalog_is_noticed(world: World) -> None:
    """The first manifest, which somebody else has pushed meanwhile, does not hide it."""
    async with world.gateway() as one, world.gateway() as other:
        await one.blob("a", BLOB)
        assert (await other.delete(f"/v2/a/blobs/{DIGEST}")).status_code == 202
        await other.image("a", "2")
        headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        answer = await one.put("/v2/a/manifests/1", content=image(descriptor(BLOB)), headers=headers)
        refused(answer, 400, "MANIFEST_BLOB_UNKNOWN")
