"""A gateway and a collector over one store in memory."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from storage.collection.collector import Collection
from storage.periods import Periods
from storage.registry import Registry, Rules, open_registry
from storage.removals import Outcome, Removal
from storage.views import Epoch
from tests.protocol.conftest import api, clock, memory, metered, quiet, world
from tests.protocol.serving import World

__all__ = ["DAY", "HOUR", "Keeper", "api", "clock", "keeper", "keeper_of", "memory", "metered", "quiet", "world"]

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
