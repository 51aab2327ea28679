"""A gateway over a store in memory, for every test of the protocol."""

import logging
from collections.abc import AsyncGenerator, Iterator

import pytest
import structlog

from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from tests.protocol.serving import Api, Clock, World


@pytest.fixture(autouse=True, scope="package")
def quiet() -> Iterator[None]:
    """Only what is wrong is logged."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.fixture
def clock() -> Clock:
    """The time of store and gateways."""
    return Clock()


@pytest.fixture
def memory(clock: Clock) -> MemoryStore:
    """The store itself, to look behind the gateway's back."""
    return MemoryStore(clock)


@pytest.fixture
def metered(memory: MemoryStore) -> MeteredStore:
    """The store that gateways use."""
    return MeteredStore(memory)


@pytest.fixture
def world(metered: MeteredStore, clock: Clock) -> World:
    """What gateways share."""
    return World(metered, clock)


@pytest.fixture
async def api(world: World) -> AsyncGenerator[Api]:
    """A client of a gateway."""
    async with world.gateway() as opened:
        yield opened


async def keys(store: MemoryStore, prefix: str = "") -> list[str]:
    """What the store holds below `prefix`."""
    return [info.key async for info in store.list(prefix)]
