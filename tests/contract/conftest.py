"""The stores that the contract suite runs on: those of this process, and the real ones of tests.parts.stores."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import boto3
import pytest

from storage.objects.contract import Capabilities, ObjectStore, StoredObject
from storage.objects.embedded import EmbeddedStore
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.objects.observed import ObservedStore
from storage.objects.s3 import S3Store
from storage.objects.single_writer import SingleWriterStore
from storage.observing import UNOBSERVED
from tests.parts.servers import S3Server
from tests.parts.stores import ALL, STORES, Traits, marks, real_stores

LOCAL = Traits(capabilities=replace(ALL, presigning=False, part_copy=False, checksums=False))
RCLONE = Traits(
    capabilities=Capabilities(
        conditional_create=False,
        conditional_replace=False,
        conditional_delete=False,
        ordered_listing=True,
        presigning=False,
        part_copy=False,
        checksums=False,
    ),
    files=True,
)
"""rclone ignores conditions, so it is served by a single writer, and is none of the stores that others may choose."""


@dataclass(frozen=True, slots=True)
class Backend:
    """How to make an empty store, given a directory of its own, and what MUST be found of it."""

    name: str
    make: Callable[[Path], AbstractAsyncContextManager[ObjectStore]]
    traits: Traits

    @property
    def capabilities(self) -> Capabilities:
        """What the store MUST say that it can do."""
        return self.traits.capabilities


@dataclass(frozen=True, slots=True)
class RealBackend:
    """A server that runs, for tests of what only servers have: buckets, credentials, URLs."""

    name: str
    server: S3Server
    traits: Traits

    @asynccontextmanager
    async def store(
        self, *, bucket: str | None = None, session: boto3.Session | None = None
    ) -> AsyncGenerator[S3Store]:
        """A store below a new prefix of the server's bucket, or of another one, or with other credentials."""
        store = S3Store(
            bucket or self.server.bucket,
            f"contract/{secrets.token_hex(8)}",
            clock=time.time,
            session=session or self.server.session,
            endpoint=self.server.endpoint,
            capabilities=self.traits.capabilities,
        )
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[SingleWriterStore]:
        """As `store`, as the server's single writer."""
        async with self.store() as store:
            yield SingleWriterStore(store)


@asynccontextmanager
async def memory(directory: Path) -> AsyncGenerator[ObjectStore]:
    """A store in memory."""
    yield MemoryStore(time.time)


@asynccontextmanager
async def observed(directory: Path) -> AsyncGenerator[ObjectStore]:
    """Memory, of which an observer is told."""
    yield ObservedStore(MemoryStore(time.time), UNOBSERVED, time.perf_counter)


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


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("memory", memory, replace(LOCAL, shows_uploads=False)),
        Backend("observed", observed, replace(LOCAL, shows_uploads=False)),
        Backend("metered", metered, replace(LOCAL, shows_uploads=False)),
        Backend("single-writer", single_writer, replace(LOCAL, shows_uploads=False)),
        Backend("embedded", embedded, LOCAL),
    )
}


def real_backend(name: str, request: pytest.FixtureRequest) -> RealBackend:
    """The real store `name`, whose server runs from now on."""
    traits = RCLONE if name == "rclone" else STORES[name].traits
    return RealBackend(name, request.getfixturevalue(f"{name}_server"), traits)


@pytest.fixture(params=[*BACKENDS, *real_stores(), pytest.param("rclone", marks=marks("rclone"))])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each store in turn."""
    if request.param in BACKENDS:
        return BACKENDS[request.param]
    real = real_backend(request.param, request)
    if real.traits.capabilities.conditional_create:
        return Backend(real.name, lambda _: real.store(), real.traits)
    together = replace(
        real.traits.capabilities, conditional_create=True, conditional_replace=True, conditional_delete=True
    )
    return Backend(real.name, lambda _: real.alone(), replace(real.traits, capabilities=together))


@pytest.fixture(params=real_stores())
def real(request: pytest.FixtureRequest) -> RealBackend:
    """Each store on a server in turn."""
    return real_backend(request.param, request)


@pytest.fixture
async def store(backend: Backend, tmp_path: Path) -> AsyncGenerator[ObjectStore]:
    """An empty store."""
    async with backend.make(tmp_path) as made:
        yield made
