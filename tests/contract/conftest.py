"""The stores that the contract suite runs on. A new one costs one entry in BACKENDS."""

import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.objects.contract import Capabilities, ObjectStore
from storage.objects.embedded import EmbeddedStore
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore

ALL_BUT_URLS = Capabilities(
    conditional_create=True,
    conditional_replace=True,
    conditional_delete=True,
    ordered_listing=True,
    presigning=False,
    part_copy=False,
)


@dataclass(frozen=True, slots=True)
class Backend:
    """How to make an empty store, given a directory of its own, and what the store MUST say that it can do.

    Tests exempt a store by its capabilities alone. `rounds` is how often each race is run: fewer where losers wait long.
    """

    make: Callable[[Path], AbstractAsyncContextManager[ObjectStore]]
    capabilities: Capabilities
    rounds: int = 10


@asynccontextmanager
async def memory(directory: Path) -> AsyncGenerator[ObjectStore]:
    """A store in memory."""
    yield MemoryStore(time.time)


@asynccontextmanager
async def metered(directory: Path) -> AsyncGenerator[ObjectStore]:
    """The decorator, which MUST change nothing."""
    yield MeteredStore(MemoryStore(time.time))


@asynccontextmanager
async def embedded(directory: Path) -> AsyncGenerator[ObjectStore]:
    """A store in a directory."""
    store = await EmbeddedStore.open(directory / "store", time.time, lambda: secrets.token_hex(16))
    try:
        yield store
    finally:
        await store.close()


BACKENDS: dict[str, Backend] = {
    "memory": Backend(memory, ALL_BUT_URLS),
    "metered": Backend(metered, ALL_BUT_URLS),
    "embedded": Backend(embedded, ALL_BUT_URLS),
}


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each store in turn."""
    return BACKENDS[request.param]


@pytest.fixture
async def store(backend: Backend, tmp_path: Path) -> AsyncGenerator[ObjectStore]:
    """An empty store."""
    async with backend.make(tmp_path) as made:
        yield made
