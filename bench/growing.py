"""A process that fills an embedded store, and prints what operations on it take, as a JSON array of bench.results.Grown.

    python -m bench.growing DIRECTORY BLOBS TAGS REPOSITORIES

The store is filled in a process of its own, which ends before, so that memory is that of the operations alone. Each operation is done
through the whole application, in this process, on things that it has not seen before.
"""

import asyncio
import multiprocessing
import os
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean, median

import httpx
import msgspec

from bench import usage
from bench.results import Grown
from storage import layout
from storage.objects.embedded import EmbeddedStore
from storage.objects.embedded_index import NAME
from storage.objects.metered import MeteredStore
from storage.references import RepositoryName, Tag
from storage.registry import Rules, open_registry
from storage.views import Epoch
from tests.load.synthetic import Synthetic
from tests.protocol.serving import START, Api, Clock, Nonces, World

AGE = 30 * 24 * 3600.0  # seconds since anything has changed
TIMES = 50
PAGE = 100
_BUSY = RepositoryName.parse("team-0/app-00000")  # the one that has the tags
_TAGS = [f"v{number:04}" for number in range(TIMES)]


def fill(directory: Path, blobs: int, tags: int, repositories: int) -> None:
    """Write a registry of at least so many blobs, with so many tags in one repository, and so many repositories."""
    asyncio.run(_begin(directory))
    Synthetic(blobs, START - AGE).write(directory)
    with closing(sqlite3.connect(directory / NAME)) as database:
        database.execute("PRAGMA synchronous = OFF")
        more = [layout.tag_key(_BUSY, Tag.parse(f"w{number:06}")) for number in range(tags)]
        _copy(database, layout.tag_key(_BUSY, Tag.parse(_TAGS[0])), more)
        more = [layout.catalog_key(RepositoryName.parse(f"more/app-{number:06}")) for number in range(repositories)]
        _copy(database, layout.catalog_key(_BUSY), more)
        database.commit()
    os.sync()  # or the writes to be measured would wait for these


async def measure(directory: Path, size: tuple[int, int, int]) -> list[Grown]:
    """Do each operation several times, a collection once, and tell what one takes."""
    clock, nonces = Clock(), Nonces()
    store = MeteredStore(await EmbeddedStore.open(directory, clock, nonces))
    timing, world = _Timing(store, size), World(store, clock, nonces)
    async with world.gateway() as api:
        digests = await _digests(api)
    async with world.gateway() as api:  # which knows nothing yet
        for digest in digests:
            await timing.of("HEAD of a blob", api.head(f"/v2/{_BUSY}/blobs/{digest}"))
        for tag in _TAGS:
            await timing.of("GET of a manifest by tag", api.get(f"/v2/{_BUSY}/manifests/{tag}"))
        for tag in _TAGS:
            await timing.of("push of an image", api.image(str(_BUSY), f"new-{tag}", seed=tag))
        for _ in range(TIMES):
            await timing.of("a page of tags", api.get(f"/v2/{_BUSY}/tags/list?n={PAGE}&last=w000100"))
            await timing.of("a page of repositories", api.get(f"/v2/_catalog?n={PAGE}&last=more/app-000010"))
    registry = await open_registry(store, clock=clock, nonce=nonces, epoch=Epoch(), rules=Rules())
    await timing.of("a collection", registry.collector.run())
    await store.close()
    return timing.found()


class _Timing:
    """Counts and times operations by name."""

    def __init__(self, store: MeteredStore, size: tuple[int, int, int]) -> None:
        self._store = store
        self._size = size
        self._took = defaultdict[str, list[tuple[float, int]]](list)
        self._peaks = dict[str, int]()

    async def of(self, operation: str, work: Awaitable[object]) -> None:
        """Do it once."""
        requests, began = self._store.requests.total(), time.monotonic()
        answer = await work
        seconds = time.monotonic() - began
        assert not isinstance(answer, httpx.Response) or answer.is_success, answer.text  # noqa: S101 - not worth a figure
        self._took[operation].append((seconds * 1000, self._store.requests.total() - requests))
        self._peaks[operation] = usage.peak_of(os.getpid())

    def found(self) -> list[Grown]:
        """What each takes, in the order in which they came first."""
        return [
            Grown(name, *self._size, fmean(n for _, n in took), median(ms for ms, _ in took), self._peaks[name])
            for name, took in self._took.items()
        ]


async def _begin(directory: Path) -> None:
    store = await EmbeddedStore.open(directory, Clock(), Nonces())
    await open_registry(store, clock=Clock(), nonce=Nonces(), epoch=Epoch(), rules=Rules())
    await store.close()


def _copy(database: sqlite3.Connection, key: str, more: Sequence[str]) -> None:
    """Write what is under `key` under more keys too."""
    (row,) = database.execute("SELECT size, etag, modified, file, body FROM objects WHERE key = ?", (key,)).fetchall()
    database.executemany("INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?)", ((each, *row) for each in more))


async def _digests(api: Api) -> list[str]:
    """A blob of each manifest whose tag is pulled."""
    found = [await api.get(f"/v2/{_BUSY}/manifests/{tag}") for tag in _TAGS]
    return [each.json()["layers"][-1]["digest"] for each in found]


def main(directory: Path, blobs: int, tags: int, repositories: int) -> None:
    """Fill, measure, and print."""
    filling = multiprocessing.get_context("spawn").Process(target=fill, args=(directory, blobs, tags, repositories))
    filling.start()
    filling.join()
    assert filling.exitcode == 0, "the store could not be filled"  # noqa: S101 - it has said why
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(measure(directory, (blobs, tags, repositories)))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
