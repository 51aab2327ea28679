"""The stores that the contract suite runs on. A new one costs one entry in BACKENDS."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from storage.objects.contract import Capabilities, ObjectStore, StoredObject
from storage.objects.embedded import EmbeddedStore
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.objects.s3 import S3Store
from storage.objects.single_writer import SingleWriterStore
from tests.parts.servers import S3Server

ALL_BUT_URLS = Capabilities(
    conditional_create=True,
    conditional_replace=True,
    conditional_delete=True,
    ordered_listing=True,
    presigning=False,
    part_copy=False,
)
S3 = Capabilities(
    conditional_create=True,
    conditional_replace=True,
    conditional_delete=False,
    ordered_listing=True,
    presigning=True,
    part_copy=True,
)


@dataclass(frozen=True, slots=True)
class Backend:
    """How to make an empty store, given a directory of its own, and what the store MUST say that it can do.

    Tests exempt a store by these alone. `rounds` is how often each race is run: fewer where losers wait long. A store that keeps
    `files` takes no U+FFFD in a key and does not delete what is a directory, and a read breaks off once the file is replaced;
    moorage has no such keys, and replaces nothing that is read in pieces.
    """

    make: Callable[[Path], AbstractAsyncContextManager[ObjectStore]]
    capabilities: Capabilities
    rounds: int = 10
    files: bool = False


@asynccontextmanager
async def memory(directory: Path) -> AsyncGenerator[ObjectStore]:
    """A store in memory."""
    yield MemoryStore(time.time)


@asynccontextmanager
async def metered(directory: Path) -> AsyncGenerator[ObjectStore]:
    """The decorator, which MUST change nothing."""
    yield MeteredStore(MemoryStore(time.time))


class Ignoring(MemoryStore):
    """What stores without conditional requests do: they write and delete all the same."""

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        await asyncio.sleep(0)
        return await super().get(key)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        await asyncio.sleep(0)
        return await super().put(key, body)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete."""
        await asyncio.sleep(0)
        await super().delete(key)


@asynccontextmanager
async def single_writer(directory: Path) -> AsyncGenerator[ObjectStore]:
    """The decorator that makes up for a store without conditions."""
    yield SingleWriterStore(Ignoring(time.time))


@asynccontextmanager
async def embedded(directory: Path) -> AsyncGenerator[ObjectStore]:
    """A store in a directory."""
    store = await EmbeddedStore.open(directory / "store", time.time, lambda: secrets.token_hex(16))
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def s3(server: S3Server, capabilities: Capabilities) -> AsyncGenerator[ObjectStore]:
    """A store below a new prefix of a real server's bucket."""
    store = S3Store(
        server.bucket,
        f"contract/{secrets.token_hex(8)}",
        clock=time.time,
        session=server.session,
        endpoint=server.endpoint,
        capabilities=capabilities,
    )
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def s3_alone(server: S3Server, capabilities: Capabilities) -> AsyncGenerator[ObjectStore]:
    """As `s3`, as the server's single writer."""
    async with s3(server, capabilities) as store:
        yield SingleWriterStore(store)


BACKENDS: dict[str, Backend] = {
    "memory": Backend(memory, ALL_BUT_URLS),
    "metered": Backend(metered, ALL_BUT_URLS),
    "single-writer": Backend(single_writer, ALL_BUT_URLS),
    "embedded": Backend(embedded, ALL_BUT_URLS),
}
# Stores on real servers: the fixture that starts the server, what the store can do there, and the rounds of races.
SERVERS: dict[str, tuple[str, Capabilities, int]] = {
    "minio": ("minio_server", S3, 10),
    "seaweedfs": ("seaweedfs_server", replace(S3, conditional_delete=True, ordered_listing=False), 2),
}


UNCONDITIONAL = {"rclone": ("rclone_server", replace(S3, presigning=False, part_copy=False), 10)}
"""As SERVERS, of servers that ignore conditions: the store has a single writer."""


@pytest.fixture(params=[*BACKENDS, *(pytest.param(name, marks=pytest.mark.parts) for name in SERVERS | UNCONDITIONAL)])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each store in turn."""
    if request.param in BACKENDS:
        return BACKENDS[request.param]
    fixture, capabilities, rounds = (SERVERS | UNCONDITIONAL)[request.param]
    server: S3Server = request.getfixturevalue(fixture)
    if request.param in UNCONDITIONAL:
        alone = replace(capabilities, conditional_delete=True)
        return Backend(lambda _: s3_alone(server, capabilities), alone, rounds, files=True)
    return Backend(lambda _: s3(server, capabilities), capabilities, rounds)


@pytest.fixture
async def store(backend: Backend, tmp_path: Path) -> AsyncGenerator[ObjectStore]:
    """An empty store."""
    async with backend.make(tmp_path) as made:
        yield made
