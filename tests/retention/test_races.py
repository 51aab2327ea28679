"""Clients and the retention, each interrupted by the other at every single request: what was acknowledged stays.

The retention may sleep for days between two of its requests while others do all its work; a client's request takes less than a minute.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from storage.errors import Busy
from storage.objects.memory import MemoryStore
from tests.invariants import violations
from tests.protocol.documents import index, manifest_descriptor
from tests.protocol.serving import Api, Clock, Pushed, World
from tests.retention.interrupting import Interrupting
from tests.retention.keeping import DAY, Keeper, keeper_of

Record = Callable[[str, object], None]


@dataclass
class Scene:
    """A bucket with two expired images: one untagged, one tagged `old`. What is tagged `keep` is protected."""

    bucket: MemoryStore
    clock: Clock
    world: World
    untagged: Pushed
    tagged: Pushed

    async def keeper(self) -> Keeper:
        """A retention on a host of its own."""
        return await keeper_of(self.world)

    async def run(self) -> None:
        """A run of it, to the end."""
        with suppress(Busy):
            await (await self.keeper()).run()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Api]:
        """A client of a gateway that remembers nothing."""
        async with self.world.gateway() as api:
            yield api

    async def settle(self) -> None:
        """Let more than enough runs do what is left to do."""
        for _ in range(4):
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


async def scene() -> Scene:
    """A new bucket."""
    clock = Clock()
    bucket = MemoryStore(clock)
    world = World(bucket, clock)
    async with world.gateway() as api:
        untagged, tagged = await api.image("a", None, "x"), await api.image("a", "old", "y")
    keeper = await keeper_of(world)
    await keeper.apply(protect=["keep"])
    clock.advance(10 * DAY)
    return Scene(bucket, clock, world, untagged, tagged)


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


async def interrupted(scene: Scene, act: Act, at: int, *, asleep: bool) -> int:
    """A run that a client interrupts at a request, or none if `at` is 0; `asleep`, other runs do all the work first and after.

    Returns how many requests it made.
    """
    store = Interrupting(scene.bucket)
    keeper = await keeper_of(scene.world, store)

    async def interruption() -> None:
        if asleep:
            scene.clock.advance(DAY + 1)
            await scene.run()
        async with scene.client() as api:
            await act(scene, api)
        if asleep:
            for _ in range(2):
                await scene.run()
                scene.clock.advance(DAY + 1)

    store.arm(at, interruption if at else None)
    with suppress(Busy):
        await keeper.run()
    return store.count


@pytest.mark.parametrize("asleep", [False, True])
@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("condemned", [False, True])
async def test_a_client_at_every_request_of_a_run(
    name: str, condemned: bool, asleep: bool, record_property: Record
) -> None:
    """A run that condemns and one that buries; a push that is acknowledged in the midst of it, or while it sleeps, MUST last."""

    async def prepared() -> Scene:
        found = await scene()
        if condemned:
            await found.run()
            found.clock.advance(DAY + 1)
        return found

    act, _ = ACTS[name]
    requests = await interrupted(await prepared(), act, 0, asleep=asleep)
    assert requests > 20
    for at in range(1, requests + 1):
        found = await prepared()
        await interrupted(found, act, at, asleep=asleep)
        await expect(found, name) if not asleep or ACTS[name][1] else await found.settle()
    record_property("sum of interruptions of the retention", requests)


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("condemned", [False, True])
async def test_a_run_at_every_request_of_a_client(
    name: str, condemned: bool, warm: bool, record_property: Record
) -> None:
    """A push that relies on what it saw up to a minute ago, while a run condemns or buries, MUST last if it is acknowledged."""
    act, _ = ACTS[name]
    at, requests = 0, 1
    while at <= requests:
        found = await scene()
        if condemned:
            await found.run()
            found.clock.advance(DAY + 1)
        store = Interrupting(found.bucket)
        world = World(store, found.clock, found.world.nonces)
        async with world.gateway() as api:
            if warm:
                for image in (found.untagged, found.tagged):
                    await api.get(f"/v2/a/manifests/{image.digest}")
                    for number in (0, 1):
                        layer = image.content.decode().split('"digest": "')[1 + number].split('"')[0]
                        await api.head(f"/v2/a/blobs/{layer}")
                found.clock.advance(59)

            async def interruption(found: Scene = found) -> None:
                await found.run()
                found.clock.advance(55)

            store.arm(at, interruption if at else None)
            try:
                await act(found, api)
                is_done = True
            except AssertionError:
                is_done = False  # refused: what it needs had gone
            requests = max(requests, store.count) if at == 0 else requests
        if is_done:
            await expect(found, name)
        else:
            assert condemned
        at += 1
    assert requests > 3
    record_property("sum of interruptions of clients by the retention", requests)
