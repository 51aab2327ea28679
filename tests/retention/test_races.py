"""Clients and the retention, each interrupted by the other at every single request: what was acknowledged stays.

The retention may sleep for days between two of its requests while others do all its work; a client's request takes less than a minute.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from copy import copy
from dataclasses import dataclass, replace

import pytest

from storage import layout
from storage.errors import Busy
from storage.objects.memory import MemoryStore
from storage.references import Digest, RepositoryName
from tests.crash.dying import Died, DyingStore, points
from tests.invariants import violations
from tests.protocol.documents import index, manifest_descriptor
from tests.protocol.serving import Api, Clock, Pushed, World
from tests.retention.interrupting import Interrupting
from tests.retention.keeping import DAY, keeper_of, state

Record = Callable[[str, object], None]


@dataclass
class Scene:
    """A bucket with two expired images: one untagged, one tagged `old`. What is tagged `keep` is protected."""

    bucket: MemoryStore
    clock: Clock
    world: World
    untagged: Pushed
    tagged: Pushed

    def copy(self) -> "Scene":
        """The same in a bucket of its own."""
        clock, nonces = copy(self.clock), copy(self.world.nonces)
        bucket = MemoryStore(clock)
        bucket._objects = dict(self.bucket._objects)  # noqa: SLF001 - what is stored never changes
        return Scene(bucket, clock, World(bucket, clock, nonces), self.untagged, self.tagged)

    async def run(self) -> None:
        """A run of a retention on a host of its own, to the end."""
        with suppress(Busy):
            await (await keeper_of(self.world)).run()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Api]:
        """A client of a gateway that remembers nothing."""
        async with self.world.gateway() as api:
            yield api

    async def settle(self) -> None:
        """Let more than enough runs do what is left to do."""
        for _ in range(3):
            self.clock.advance(DAY + 1)
            await self.run()

    async def pullable(self, reference: str, *content: bytes) -> None:
        """Assert that a manifest, and other ones with it, are there on a gateway that remembers nothing."""
        async with self.client() as api:
            assert (await api.get(f"/v2/a/manifests/{reference}")).status_code == 200
            for each in content:
                answer = await api.get(f"/v2/a/manifests/{descriptor_digest(each)}")
                assert answer.status_code == 200
                assert answer.content == each


def descriptor_digest(content: bytes) -> str:
    """The digest of a manifest."""
    return str(manifest_descriptor(content)["digest"])


async def scene(*, condemned: bool) -> Scene:
    """A new bucket; if `condemned`, both were condemned a grace period ago."""
    clock = Clock()
    bucket = MemoryStore(clock)
    world = World(bucket, clock)
    async with world.gateway() as api:
        untagged, tagged = await api.image("a", None, "x"), await api.image("a", "old", "y")
    keeper = await keeper_of(world)
    await keeper.apply(protect=["keep"])
    clock.advance(10 * DAY)
    found = Scene(bucket, clock, world, untagged, tagged)
    if condemned:
        await found.run()
        clock.advance(DAY + 1)
    return found


Act = Callable[[Scene, Api], Awaitable[object]]


async def tag(scene: Scene, api: Api) -> None:
    """Tag an image that goes."""
    await api.manifest("a", "keep", scene.untagged.content)


async def retag(scene: Scene, api: Api) -> None:
    """Tag the one that has a tag already."""
    await api.manifest("a", "keep", scene.tagged.content)


async def push_index(scene: Scene, api: Api) -> None:
    """Push an index of both."""
    children = [manifest_descriptor(each.content) for each in (scene.untagged, scene.tagged)]
    await api.manifest("a", "keep", index(children))


async def push_again(scene: Scene, api: Api) -> None:
    """Push an image that goes, as it was."""
    await api.manifest("a", None, scene.untagged.content)


ACTS: dict[str, tuple[Act, bool]] = {
    "tag": (tag, True),
    "retag": (retag, True),
    "index": (push_index, True),
    "again": (push_again, False),
}


async def expect(scene: Scene, name: str) -> None:
    """What was acknowledged is there: at once, and, if its tag protects it, for ever."""
    act, lasts = ACTS[name]
    images: dict[Act, list[Pushed]] = {
        tag: [scene.untagged],
        retag: [scene.tagged],
        push_index: [scene.untagged, scene.tagged],
    }
    pushed = [each.content for each in images.get(act, [scene.untagged])]
    reference = "keep" if lasts else scene.untagged.digest
    await scene.pullable(reference, *pushed)
    if lasts:
        await scene.settle()
        await scene.pullable(reference, *pushed)
    else:
        await scene.settle()
    assert await violations(scene.bucket, raced=True) == []


async def tried(scene: Scene, name: str, api: Api) -> bool:
    """Whether the push was acknowledged."""
    try:
        await ACTS[name][0](scene, api)
    except AssertionError:
        return False
    return True


async def interrupted(scene: Scene, name: str, at: int, *, asleep: bool) -> tuple[int, bool]:
    """A run that a client interrupts at a request, or none if `at` is 0; `asleep`, other runs do all the work before and after.

    Returns how many requests it made, and whether the client's push was acknowledged.
    """
    store = Interrupting(scene.bucket)
    keeper = await keeper_of(scene.world, store)
    others: list[asyncio.Task[bool]] = []

    async def work() -> bool:
        if asleep:
            scene.clock.advance(DAY + 1)
            await scene.run()
        async with scene.client() as api:
            acknowledged = await tried(scene, name, api)
        if asleep:
            for _ in range(2):
                await scene.run()
                scene.clock.advance(DAY + 1)
        return acknowledged

    async def interruption() -> None:
        others.append(asyncio.create_task(work()))
        await asyncio.shield(others[0])  # a run that finds that it has lost its lease ends itself alone

    store.arm(at, interruption if at else None)
    with suppress(Busy):
        await keeper.run()
    return store.count, await asyncio.gather(*others) == [True]


@pytest.mark.parametrize(
    ("name", "condemned", "asleep"),
    [
        *((name, condemned, False) for name in ACTS for condemned in (False, True)),
        *(
            (name, True, True) for name, (_, lasts) in ACTS.items() if lasts
        ),  # the other runs take what nothing protects
    ],
)
async def test_a_client_at_every_request_of_a_run(
    name: str, condemned: bool, asleep: bool, record_property: Record
) -> None:
    """A run that condemns and one that buries; a push that is acknowledged in the midst of it, or while it sleeps, MUST last."""
    before = await scene(condemned=condemned)
    requests, _ = await interrupted(before.copy(), name, 0, asleep=asleep)
    assert requests > 20
    refused = 0
    for at in range(1, requests + 1):
        found = before.copy()
        _, acknowledged = await interrupted(found, name, at, asleep=asleep)
        if acknowledged:
            await expect(found, name)
        refused += not acknowledged
    assert refused == 0 or (condemned and name == "index")  # an index of what has just gone
    assert refused < requests or asleep
    record_property("sum of interruptions of the retention", requests)


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("condemned", [False, True])
async def test_a_run_at_every_request_of_a_client(
    name: str, condemned: bool, warm: bool, record_property: Record
) -> None:
    """A push that relies on what it saw up to a minute ago, while a run condemns or buries, MUST last if it is acknowledged."""
    before = await scene(condemned=condemned)
    at, requests, refused = 0, 1, 0
    while at <= requests:
        found = before.copy()
        store = Interrupting(found.bucket)
        async with World(store, found.clock, found.world.nonces).gateway() as api:
            if warm:
                await look_at(api, found.untagged, found.tagged)
                found.clock.advance(59)

            async def interruption(found: Scene = found) -> None:
                await found.run()
                found.clock.advance(55)

            store.arm(at, interruption if at else None)
            acknowledged = await tried(found, name, api)
            requests = max(requests, store.count) if at == 0 else requests
        if acknowledged:
            await expect(found, name)
        refused += not acknowledged
        at += 1
    assert requests >= 2
    assert refused == 0 or (condemned and name == "index")
    record_property("sum of interruptions of clients by the retention", requests)


async def look_at(api: Api, *images: Pushed) -> None:
    """Have a gateway remember images and their blobs."""
    for image in images:
        await api.get(f"/v2/a/manifests/{image.digest}")
        for part in image.content.decode().split('"digest": "')[1:]:
            await api.head(f"/v2/a/blobs/{part[:71]}")


@pytest.mark.parametrize("condemned", [False, True])
async def test_a_run_that_dies_at_any_request(condemned: bool, record_property: Record) -> None:
    """The next run goes on where it stopped: nothing is left half removed, and what was buried is in the journal."""
    before = await scene(condemned=condemned)
    store = DyingStore(before.copy().bucket)
    keeper = await keeper_of(replace(before.world, store=store))
    store.arm(None)
    await keeper.run()
    tried = points(store.requests)
    for point in tried:
        found = before.copy()
        store = DyingStore(found.bucket)
        keeper = await keeper_of(replace(found.world, store=store))
        store.arm(point)
        with pytest.raises(Died):
            await keeper.run()
        found.clock.advance(DAY + 1)  # the lease of the one that died is over by then
        await found.run()
        found.clock.advance(DAY + 1)
        last = await keeper_of(found.world)
        await last.run()
        await last.registry.collector.run()  # which removes tags that a crash has left
        for image in (found.untagged, found.tagged):
            assert await state(found.bucket, "a", image.digest) == "gone", point
        async with found.client() as api:
            assert await api.tags("a") == []
        pages = [page async for page in last.registry.journal.pages()]
        buried = {each.digest for page in pages for each in page.removals if each.step == "bury"}
        assert buried >= {found.untagged.digest, found.tagged.digest}
        assert await violations(found.bucket) == []
    record_property("sum of crash points of the retention", len(tried))


async def test_what_was_condemned_anew_has_a_grace_period_anew() -> None:
    """A record that is pushed again and condemned again while a run goes on MUST outlast that run, wherever it was by then."""
    before = await scene(condemned=True)
    requests, _ = await interrupted(before.copy(), "again", 0, asleep=False)
    name, digest = RepositoryName("a"), Digest.parse(before.untagged.digest)
    for at in range(1, requests + 1):
        found = before.copy()
        store = Interrupting(found.bucket)
        keeper = await keeper_of(found.world, store)

        async def interruption(found: Scene = found) -> None:
            async with found.client() as api:
                await push_again(found, api)
            other = await keeper_of(found.world)
            etag = (await found.bucket.head(layout.manifest_key(name, digest))).etag
            await other.registry.manifests.condemn(name, digest, etag)

        store.arm(at, interruption)
        await keeper.run()
        assert await state(found.bucket, "a", str(digest)) == "condemned", at
