"""A repair goes on while others push, move, delete, mount and collect, at each of its requests: what they were told stays true."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pytest

from storage import layout
from storage.errors import UploadUnknown
from storage.objects.memory import MemoryStore
from storage.references import Digest
from tests.collection.interrupting import interrupted
from tests.protocol.serving import Api, Clock, Nonces, Pushed, World
from tests.scrub.building import (
    APP,
    BLOB,
    CONFIG,
    LAYER,
    LAYER_DIGEST,
    LINK,
    OTHER,
    OTHER_LINK,
    Built,
    build,
    bytes_key,
)
from tests.scrub.planting import (
    entomb,
    flip,
    flipped,
    forget_generation,
    forget_tags,
    harm_instance,
    lose,
    lose_instance,
)
from tests.scrub.running import registry, scrub

DAY, HOUR = 24 * 3600.0, 3600.0
TAG = f"/v2/{APP}/manifests/1"


@dataclass
class Stage:
    """A damaged registry, of which each trial has a copy."""

    memory: MemoryStore
    built: Built
    now: float

    def world(self) -> World:
        """A copy of it."""
        clock, nonces = Clock(), Nonces()
        clock.now = self.now
        for _ in range(500):  # those that built it
            nonces()
        copied = MemoryStore(clock)
        copied._objects = dict(self.memory._objects)  # noqa: SLF001 - what a copy is
        return World(copied, clock, nonces)


Check = Callable[[Api], Awaitable[list[str]]]
"""Gives sentences on what must be true for good, and is not."""
Act = Callable[[World, Built], Awaitable[Check]]
"""Does something, and gives what must be true then."""


async def repush(world: World, built: Built) -> Check:
    """Push all of the image again; the damage may keep the gateway from taking it."""
    is_pushed = True
    async with world.gateway() as api:
        try:
            await api.blob(APP, LAYER)
            await api.blob(APP, CONFIG)
            await api.manifest(APP, "1", built.image.content)
        except AssertionError:
            is_pushed = False

    async def check(api: Api) -> list[str]:
        is_there = not is_pushed or (await api.get(TAG)).content == built.image.content
        return [] if is_there else ["the image that was pushed again is gone"]

    return check


async def move(world: World, built: Built) -> Check:
    """Move the tag to another image, unless the tag cannot be read."""
    moved: Pushed | None = None
    async with world.gateway() as api:
        with suppress(AssertionError):
            moved = await api.image(APP, "1", "another")

    async def check(api: Api) -> list[str]:
        digest = (await api.get(TAG)).headers.get("Docker-Content-Digest")
        return [] if moved is None or digest == moved.digest else ["I2: the tag was moved, and is elsewhere"]

    return check


async def delete(world: World, built: Built) -> Check:
    """Delete the image by its digest; a record that cannot be read cannot be deleted either."""
    async with world.gateway() as api:
        answer = await api.delete(f"/v2/{APP}/manifests/{built.image.digest}")

    async def check(api: Api) -> list[str]:
        if answer.status_code != 202:
            return []
        wrong = [TAG, f"/v2/{APP}/manifests/{built.image.digest}"]
        return [f"{path} came back" for path in wrong if (await api.get(path)).status_code != 404]

    return check


async def delete_blob(world: World, built: Built) -> Check:
    """Delete the layer."""
    async with world.gateway() as api:
        answer = await api.delete(BLOB)

    async def check(api: Api) -> list[str]:
        gone = answer.status_code != 202 or (await api.get(BLOB)).status_code == 404
        return [] if gone else ["a blob that was deleted is back"]

    return check


async def push_and_delete_blob(world: World, built: Built) -> Check:
    """Push the layer, and delete it again: what was in quarantine before is out of date."""
    async with world.gateway() as api:
        with suppress(AssertionError):
            await api.blob(APP, LAYER)
    return await delete_blob(world, built)


async def mount(world: World, built: Built) -> Check:
    """Mount the layer to a third repository."""
    async with world.gateway() as api:
        answer = await api.post(f"/v2/third/blobs/uploads/?mount={LAYER_DIGEST}&from={OTHER}")

    async def check(api: Api) -> list[str]:
        if answer.status_code != 201:
            return []
        found = await api.get(f"/v2/third/blobs/{LAYER_DIGEST}")
        return [] if found.status_code == 404 or found.content == LAYER else ["a mounted blob has other bytes"]

    return check


async def sleep_for_days(world: World, built: Built) -> Check:
    """Collect day after day, while the scrub sleeps."""
    for _ in range(4):
        world.clock.advance(DAY + HOUR)
        await (await registry(world)).collector.run()

    async def check(_: Api) -> list[str]:
        return []

    return check


async def delete_artifact(world: World, built: Built) -> Check:
    """Delete what refers to the image."""
    async with world.gateway() as api:
        assert (await api.delete(f"/v2/{APP}/manifests/{built.artifact.digest}")).status_code == 202

    async def check(api: Api) -> list[str]:
        return ["a deleted referrer is listed"] if await api.referrers(APP, built.image.digest) else []

    return check


async def corrupt_bytes(memory: MemoryStore, built: Built) -> None:
    """Other bytes than those of the layer."""
    await memory.put(await bytes_key(memory), flipped(LAYER))


async def corrupt_link_alone(memory: MemoryStore, built: Built) -> None:
    """A link that cannot be read, and no other one to the same bytes."""
    await entomb(memory, OTHER_LINK)
    await flip(memory, LINK)


async def in_quarantine(memory: MemoryStore, built: Built) -> None:
    """Both repositories lost the layer to quarantine; the other one has pushed it again."""
    clock = Clock()
    nonces = Nonces()
    for _ in range(300):
        nonces()
    world = World(memory, clock, nonces)
    await corrupt_bytes(memory, built)
    await scrub(world, repair=True)
    async with world.gateway() as api:
        await api.blob(OTHER, LAYER)


DAMAGES: Mapping[str, tuple[Callable[[MemoryStore, Built], Awaitable[object]], Sequence[Act]]] = {
    "corrupt link": (lambda memory, built: flip(memory, LINK), (repush, delete_blob, mount, sleep_for_days)),
    "corrupt link alone": (corrupt_link_alone, (repush, push_and_delete_blob, sleep_for_days)),
    "lost instance": (lose_instance, (repush, delete_blob, mount, sleep_for_days)),
    "corrupt instance": (lambda memory, built: harm_instance(memory, flip), (repush, delete_blob, sleep_for_days)),
    "corrupt bytes": (corrupt_bytes, (repush, delete, delete_blob, mount, sleep_for_days)),
    "in quarantine": (in_quarantine, (repush, delete_blob, push_and_delete_blob, mount, sleep_for_days)),
    "dangling tag": (forget_generation, (repush, move, delete)),
    "corrupt manifest": (lambda memory, built: flip(memory, built.record), (repush, move, delete)),
    "corrupt tag": (lambda memory, built: flip(memory, layout.tag_key(APP, "1")), (repush, move, delete)),
    "unlisted tag": (forget_tags, (repush, move, delete)),
    "lost referrer entry": (lambda memory, built: lose(memory, built.entry), (repush, delete, delete_artifact)),
    "lost marker": (lambda memory, built: lose(memory, layout.catalog_key(APP)), (repush, delete, delete_blob)),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_repair_and_others_at_each_of_its_requests(
    damage: str, record_property: Callable[[str, object], None]
) -> None:
    """What others were told MUST stay true, nothing MUST be served that is wrong, and the next repair find nothing broken by it."""
    plant, acts = DAMAGES[damage]
    stage = await damaged(plant)
    first, last = await repair_requests(stage)
    wrong: list[str] = []
    for act in acts:
        for number in range(first, last):
            wrong += [f"{act.__name__} at {number}: {each}" for each in await trial(stage, act, number)]
    assert wrong == []
    assert last - first > 5
    record_property("sum of points at which something was done during a repair", (last - first) * len(acts))


async def damaged(plant: Callable[[MemoryStore, Built], Awaitable[object]]) -> Stage:
    """The registry of all trials."""
    clock = Clock()
    memory = MemoryStore(clock)
    async with World(memory, clock).gateway() as api:
        built = await build(api)
    await plant(memory, built)
    clock.advance(DAY)
    return Stage(memory, built, clock.now)


async def repair_requests(stage: Stage) -> tuple[int, int]:
    """The requests of a repair after it has read all records, since before that it relies on nothing: the first and behind the last."""
    world = stage.world()
    store, counted = interrupted(world.store, -1, no_act)
    first = -1

    def progress(what: str, _: int) -> None:
        nonlocal first
        first = counted.count if what == "records" else first

    await scrub(world, repair=True, store=store, progress=progress)
    return first, counted.count


async def no_act() -> None:
    """Nothing."""


async def trial(stage: Stage, act: Act, number: int) -> list[str]:
    """All that is wrong after a repair before whose request `number` somebody else did something, and after one more repair."""
    world = stage.world()
    checks: list[Check] = []

    async def do() -> None:
        checks.append(await act(world, stage.built))

    store, _ = interrupted(world.store, number, do)
    with suppress(UploadUnknown):  # a copy that took days is given up
        await scrub(world, repair=True, store=store)
    wrong = await broken_promises(world, checks)
    world.clock.advance(HOUR)
    await scrub(world, repair=True)
    return wrong + await broken_promises(world, checks) + await badly_served(world)


async def broken_promises(world: World, checks: Sequence[Check]) -> list[str]:
    """What others were told that is not so."""
    async with world.gateway() as api:
        return [each for check in checks for each in await check(api)]


async def badly_served(world: World) -> list[str]:
    """Once all is repaired: every blob that a repository has MUST be there and right, and every tag that is listed lead somewhere."""
    async with world.gateway() as api:
        return await bad_blobs(world, api) + await bad_tags(api)


async def bad_blobs(world: World, api: Api) -> list[str]:
    """Blobs that are linked, and not served as they are."""
    wrong = []
    async for info in world.store.list(layout.BLOBS_PREFIX):
        if "/in/" in info.key and info.size > 16:
            digest, name = layout.parse_link_key(info.key)
            answer = await api.get(f"/v2/{name}/blobs/{digest}")
            if answer.status_code != 200 or Digest.of(answer.content) != digest:
                wrong.append(f"{name}@{digest} answers {answer.status_code}")
    return wrong


async def bad_tags(api: Api) -> list[str]:
    """Tags that are listed, and lead nowhere."""
    wrong = []
    for tag in await api.tags(APP):
        answer = await api.get(f"/v2/{APP}/manifests/{tag}")
        if answer.status_code != 200:
            wrong.append(f"{APP}:{tag} answers {answer.status_code}")
    return wrong
