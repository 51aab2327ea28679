"""The budget of collection: how many requests it makes to the object store over a registry of 20 images of 5 layers."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from storage.objects.contract import StoredObject
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.periods import Periods
from storage.registry import Registry, Rules, open_registry
from storage.views import Epoch
from tests.protocol.serving import Clock, Nonces, World

ROOT = Path(__file__).parents[2]
IMAGES, LAYERS = 20, 5
NAME = "team/app"


class Watched(MeteredStore):
    """A metered store that knows how often each key was read."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.read: Counter[str] = Counter()

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        self.read[key] += 1
        return await super().get(key)

    def begin(self) -> None:
        """Count from here."""
        self.requests.clear()
        self.read.clear()

    def manifests_read(self) -> int:
        """How many reads of manifest records there were."""
        return sum(count for key, count in self.read.items() if "/_manifests/" in key)


@pytest.fixture
def watched(memory: MemoryStore) -> Watched:
    """The store of these tests."""
    return Watched(memory)


@asynccontextmanager
async def fresh(store: Watched, clock: Clock, nonces: Nonces) -> AsyncIterator[Registry]:
    """A registry whose process remembers nothing, as each collection that cron starts; counted once it is open."""
    registry = await open_registry(store, clock=clock, nonce=nonces, epoch=Epoch(), rules=Rules())
    store.begin()
    yield registry


async def collected(store: Watched, clock: Clock, nonces: Nonces) -> tuple[int, int]:
    """The requests of one collection, and the manifests that it read."""
    async with fresh(store, clock, nonces) as registry:
        result = await registry.collector.run()
        assert (result.problems, result.has_pulls) == ([], False)
        assert result.manifests_read == store.manifests_read()
        return store.requests.total(), result.manifests_read


async def pushed(world: World) -> None:
    """Fill the registry."""
    async with world.gateway() as api:
        for number in range(IMAGES):
            await api.image(NAME, f"v{number}", f"image {number}", LAYERS)


async def test_a_collection_keeps_its_budget(
    watched: Watched, clock: Clock, record_property: Callable[[str, object], None]
) -> None:
    """30 requests the first time and 8 each time after, in which no manifest MUST be read again; all as docs/budgets.md shows it."""
    world = World(watched, clock)
    await pushed(world)
    clock.advance(2 * Periods().grace)
    first = await collected(watched, clock, world.nonces)
    clock.advance(Periods().grace)
    second = await collected(watched, clock, world.nonces)
    record_property("requests of a first and a second collection", (first, second))
    assert (first[0] <= 30, first[1]) == (True, IMAGES)
    assert (second[0] <= 8, second[1]) == (True, 0)
    row = "collection of 20 manifests of 5 layers, the first time and again"
    assert f"{row:<66} {first[0]:>4} {30:>7} {second[0]:>6} {8:>7}" in (ROOT / "docs" / "budgets.md").read_text("utf-8")


async def test_a_collection_reads_what_is_new(watched: Watched, clock: Clock) -> None:
    """After a push, one more manifest MUST be read, and no other: evidence is of one state of one record."""
    world = World(watched, clock)
    await pushed(world)
    await collected(watched, clock, world.nonces)
    async with world.gateway() as api:
        await api.image(NAME, "new", "another", LAYERS)
    assert (await collected(watched, clock, world.nonces))[1] == 1
    async with world.gateway() as api:
        await api.image(NAME, "another-tag", "another", LAYERS)
    assert (await collected(watched, clock, world.nonces))[1] == 1
    assert (await collected(watched, clock, world.nonces))[1] == 0
