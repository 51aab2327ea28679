"""A collector dies at any of its requests, before or after it was applied: nothing is lost by it, and the next run does the rest."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from storage.objects.memory import MemoryStore
from tests.collection.conftest import DAY, HOUR, keeper_of
from tests.crash.dying import Died, DyingStore, Point, points
from tests.invariants import Ledger, unserved, violations
from tests.protocol.conftest import keys
from tests.protocol.documents import descriptor
from tests.protocol.serving import Clock, Nonces, World


class Stage(NamedTuple):
    """A moment in the life of garbage: the store, and the time."""

    store: MemoryStore
    now: float


def copy_of(store: MemoryStore, clock: Clock) -> MemoryStore:
    """A store with the same objects, and a clock of its own."""
    copied = MemoryStore(clock)
    copied._objects = dict(store._objects)  # noqa: SLF001 - what a copy is
    return copied


async def fill(world: World, memory: MemoryStore, ledger: Ledger) -> None:
    """What stays, and garbage of every kind."""
    async with world.gateway() as api:
        kept = await api.image("kept", "1", "kept", layers=1)
        ledger.manifests["kept", kept.digest] = kept.content
        ledger.tags["kept", "1"] = {kept.digest}
        gone = await api.image("gone", "1", "gone", layers=1)
        await api.blob("gone", b"kept 0")
        artifact = await api.artifact("gone", descriptor(gone.content, gone.media_type), "application/x")
        await api.patch(await api.begin("kept"), content=b"abandoned")
        await api.delete(f"/v2/gone/manifests/{artifact.digest}")
        # And what a gateway that died in the middle of the other DELETE would leave.
        (key,) = [key for key in await keys(memory, "repositories/gone/_manifests/") if gone.digest[7:] in key]
        await memory.put(key, b"0" * 16)


@pytest.fixture
async def stages(clock: Clock) -> tuple[list[Stage], Ledger]:
    """The store as it is before each of the collections until all garbage is gone."""
    memory, ledger = MemoryStore(clock), Ledger()
    world = World(memory, clock)
    await fill(world, memory, ledger)
    found = [Stage(copy_of(memory, clock), clock.now)]
    keeper = await keeper_of(world)
    for _ in range(5):
        clock.advance(DAY + HOUR)
        found.append(Stage(copy_of(memory, clock), clock.now))
        await keeper.collect()
    assert keeper.seen == []
    return found, ledger


async def crashed(stage: Stage, point: Point, clock: Clock, ledger: Ledger, nonces: Nonces) -> list[str]:
    """Collect and die at `point`; all that is wrong then, or after further collections."""
    clock.now = stage.now
    memory = copy_of(stage.store, clock)
    dying = DyingStore(memory)
    victim = await keeper_of(World(dying, clock, nonces))
    dying.arm(point)
    with pytest.raises(Died):
        await victim.collect()
    wrong = await wrong_with(memory, clock, ledger, nonces)
    keeper = await keeper_of(World(memory, clock, nonces))
    for _ in range(5):
        clock.advance(DAY + HOUR)
        await keeper.collect()
    wrong += await wrong_with(memory, clock, ledger, nonces)
    wrong += [f"{removal.key} is still there" for removal, _ in keeper.seen]
    wrong += [f"{key} is still there" for key in await keys(memory, "repositories/gone")]
    return [f"{point}: {each}" for each in wrong]


async def wrong_with(memory: MemoryStore, clock: Clock, ledger: Ledger, nonces: Nonces) -> list[str]:
    """What the invariants say."""
    async with World(memory, clock, nonces).gateway() as api:
        return [*await violations(memory), *await unserved(api.client, ledger)]


async def test_a_collector_may_die_at_any_request(
    stages: tuple[list[Stage], Ledger], clock: Clock, record_property: Callable[[str, object], None]
) -> None:
    """At every stage of the life of garbage."""
    found, ledger = stages
    tried = 0
    wrong: list[str] = []
    for stage in found:
        nonces = Nonces()
        for _ in range(1000):
            nonces()
        clock.now = stage.now
        dying = DyingStore(copy_of(stage.store, clock))
        keeper = await keeper_of(World(dying, clock, nonces))
        dying.arm(None)
        await keeper.collect()
        for point in points(list(dying.requests)):
            wrong += await crashed(stage, point, clock, ledger, nonces)
            tried += 1
    record_property("crash points of collections", tried)
    assert wrong == []
    assert tried > 100
