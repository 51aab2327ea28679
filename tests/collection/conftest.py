"""A gateway and a collector over one store in memory."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import pytest

from storage.collection.collector import Collection
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.periods import Periods
from storage.registry import Registry, Rules, open_registry
from storage.removals import Outcome, Removal
from storage.views import Epoch
from tests.protocol.serving import Api, Clock, World

HOUR = 3600.0
DAY = 24 * HOUR


@dataclass
class Keeper:
    """Runs collections, and says what they did."""

    registry: Registry
    seen: list[tuple[Removal, Outcome]] = field(default_factory=list)

    async def collect(self, **how: Any) -> Collection:
        """One run."""
        self.seen = []
        return await self.registry.collector.run(observe=lambda *each: self.seen.append(each), **how)

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Step and kind of key of all that the last run did, or planned."""
        return sorted((removal.step, kind_of(removal.key)) for removal, outcome in self.seen if outcome != "changed")


def kind_of(key: str) -> str:
    """What lies under a key, by a word of its path."""
    return next(
        word for word in ("/at/", "/in/", "_tags", "_referrers", "_manifests", "catalog", "data") if word in key
    )


@pytest.fixture
def clock() -> Clock:
    """The time of all."""
    return Clock()


@pytest.fixture
def memory(clock: Clock) -> MemoryStore:
    """The store itself."""
    return MemoryStore(clock)


@pytest.fixture
def metered(memory: MemoryStore) -> MeteredStore:
    """The store that gateway and collector use."""
    return MeteredStore(memory)


@pytest.fixture
def world(metered: MeteredStore, clock: Clock) -> World:
    """What they share."""
    return World(metered, clock)


@pytest.fixture
async def api(world: World) -> AsyncGenerator[Api]:
    """A client of the gateway."""
    async with world.gateway() as opened:
        yield opened


@pytest.fixture
async def keeper(world: World) -> Keeper:
    """A collector on another host."""
    return await keeper_of(world)


async def keeper_of(world: World, periods: Periods | None = None) -> Keeper:
    """One more of them."""
    return Keeper(
        await open_registry(
            world.store, clock=world.clock, nonce=world.nonces, epoch=Epoch(), rules=Rules(periods or Periods())
        )
    )
