"""A process that fills a store, and prints what operations on it take, as a JSON array of bench.results.Grown.

    python -m bench.growing TITLE URL BLOBS TAGS REPOSITORIES

URL is that of a directory or of a bucket, as `moorage serve --store` takes it, and TITLE what people call the store.

The store is filled in a process of its own, which ends before, so that memory is that of the operations alone. Each operation is done
through the whole application, in this process, on things that it has not seen before.
"""

import asyncio
import multiprocessing
import os
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable
from statistics import fmean, median

import httpx
import msgspec

from bench import usage
from bench.filling import BUSY, fill
from bench.results import Grown
from storage.objects.metered import MeteredStore
from storage.objects.opening import BucketUrl, Opening, open_store, parse
from storage.registry import Rules, open_registry
from storage.views import Epoch
from tests.protocol.serving import Api, Clock, Nonces, World

TIMES = 50
PAGE = 100


async def measure(title: str, url: str, size: tuple[int, int, int]) -> list[Grown]:
    """Do each operation several times, a collection once, and tell what one takes."""
    clock, nonces = _clock(url), Nonces()
    store = MeteredStore(await open_store(url, Opening(clock, nonces)))
    timing, world = _Timing(store, title, size), World(store, clock, nonces)
    tags = [f"v{number:04}" for number in range(TIMES)]
    async with world.gateway() as api:
        digests = [await _digest(api, tag) for tag in tags]
    async with world.gateway() as api:  # which knows nothing yet
        for digest in digests:
            await timing.of("HEAD of a blob", api.head(f"/v2/{BUSY}/blobs/{digest}"))
        for tag in tags:
            await timing.of("GET of a manifest by tag", api.get(f"/v2/{BUSY}/manifests/{tag}"))
        for tag in tags:
            await timing.of("push of an image", api.image(str(BUSY), f"new-{tag}", seed=tag))
        for _ in range(TIMES):
            await timing.of("a page of tags", api.get(f"/v2/{BUSY}/tags/list?n={PAGE}&last=w000100"))
            await timing.of("a page of repositories", api.get(f"/v2/_catalog?n={PAGE}&last=more/app-000010"))
    registry = await open_registry(store, clock=clock, nonce=nonces, epoch=Epoch(), rules=Rules())
    await timing.of("a collection", registry.collector.run())
    await store.close()
    return timing.found()


class _Timing:
    """Counts and times operations by name."""

    def __init__(self, store: MeteredStore, title: str, size: tuple[int, int, int]) -> None:
        self._store = store
        self._title = title
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
            Grown(
                name,
                *self._size,
                fmean(n for _, n in took),
                median(ms for ms, _ in took),
                self._peaks[name],
                self._title,
            )
            for name, took in self._took.items()
        ]


async def _digest(api: Api, tag: str) -> str:
    """A blob of the manifest that has this tag."""
    manifest = await api.get(f"/v2/{BUSY}/manifests/{tag}")
    digest: str = manifest.json()["layers"][-1]["digest"]
    return digest


def _clock(url: str) -> Clock:
    """The time at which all is done: on a bucket the real one, by which it dates what was put there just now."""
    clock = Clock()
    if isinstance(parse(url), BucketUrl):
        clock.now = time.time()
    return clock


def main(title: str, url: str, *size: int) -> None:
    """Fill, measure, and print."""
    filling = multiprocessing.get_context("spawn").Process(target=fill, args=(url, *size))
    filling.start()
    filling.join()
    assert filling.exitcode == 0, "the store could not be filled"  # noqa: S101 - it has said why
    blobs, tags, repositories = size
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(measure(title, url, (blobs, tags, repositories)))))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
