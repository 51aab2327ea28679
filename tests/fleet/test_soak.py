"""A soak: everything at once on three gateways over MinIO, with faults on, for SOAK_SECONDS; by hand, ten minutes say more."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from storage.objects.s3 import S3Store
from tests.fleet.faults import Faults, faults
from tests.fleet.fleets import fleet, opened
from tests.fleet.soak import MIB, Client, Told
from tests.fleet.threads import in_thread
from tests.invariants import unserved, violations
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server
from tests.protocol.serving import Clock

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
CLIENTS = 6
# The faulty share of the requests to the bucket: as a rule; for a second now and then; and, in a long soak, for longer than any retry.
SHARE, STORM, OUTAGE = 0.03, 0.7, 1.0
STORM_EVERY = 12
OUTAGE_EVERY, OUTAGE_LASTS = 150, 25
GROWTH = 40 * MIB  # a leak of half of each body, which this is to find, makes a hundred
BUCKET = "soak"


@pytest.fixture
def broken(minio_server: S3Server) -> Iterator[Faults]:
    """What is between the gateways and their bucket."""
    with in_thread(faults(minio_server.endpoint, seed=8)) as between:
        yield between


@pytest.fixture
def gateways(minio_server: S3Server, broken: Faults, tmp_path: Path) -> Iterator[Sequence[Gateway]]:
    """Two that stream blobs, and one that redirects to where there are no faults; their caches are full within seconds."""
    bucket = minio_server.create_bucket(BUCKET)
    settings = {**minio_server.env, "AWS_ENDPOINT_URL_S3": broken.endpoint, "MOORAGE_CACHE_BYTES": "1MiB"}
    proxying = settings | {"MOORAGE_BLOB_DELIVERY": "proxy"}
    redirecting = settings | {"MOORAGE_PUBLIC_S3_ENDPOINT": minio_server.endpoint}
    with fleet(tmp_path, bucket, [redirecting, proxying, proxying]) as running:
        yield running


class Memory:
    """The resident memory of gateways, second by second, in bytes."""

    def __init__(self, gateways: Sequence[Gateway]) -> None:
        self._processes = [psutil.Process(each.pid) for each in gateways]
        self.samples: list[list[int]] = []

    def sample(self) -> None:
        """Look now."""
        self.samples.append([each.memory_info().rss for each in self._processes])

    def peaks(self) -> list[tuple[int, int]]:
        """Of each gateway, the most in the first half and in the second."""
        half = len(self.samples) // 2
        return [(max(each[:half]), max(each[half:])) for each in zip(*self.samples, strict=True)]


@pytest.mark.xdist_group("fleet")
async def test_soak(
    gateways: Sequence[Gateway],
    broken: Faults,
    minio_server: S3Server,
    record_property: Callable[[str, object], None],
) -> None:
    """Zero wrong bytes, zero acknowledged pushes that cannot be pulled, zero 500s, flat memory; and all fits together at the end."""
    told, memory = Told(), Memory(gateways)
    async with opened(gateways) as https:
        await soaked([Client(https, told, number, CLIENTS) for number in range(CLIENTS)], broken, memory)
        record_property("soak", f"{SECONDS:g} s, {figures(told, broken)}")
        record_property(
            "soak, MiB of each gateway, first and second half",
            [tuple(peak // MIB for peak in each) for each in memory.peaks()],
        )
        assert told.wrong == []
        assert [each.tail() for each in gateways if "unexpected error" in each.log.read_text()] == []
        assert max(later - first for first, later in memory.peaks()) <= GROWTH
        assert await unserved(https[0], told.ledger) == []
    store = S3Store(BUCKET, clock=Clock(), session=minio_server.session, endpoint=minio_server.endpoint)
    assert await violations(store, raced=True) == []
    await store.close()


async def soaked(clients: Sequence[Client], broken: Faults, memory: Memory) -> None:
    """Let the clients go on for as long as it takes, with a storm of faults now and then."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.run(stop))
        for second in range(int(SECONDS)):
            broken.share = weather(second)
            await asyncio.sleep(1)
            memory.sample()
            broken.wire.reset()
        stop.set()
        broken.share = 0.0


def weather(second: int) -> float:
    """The faulty share of the requests during this second."""
    if second % OUTAGE_EVERY >= OUTAGE_EVERY - OUTAGE_LASTS:
        return OUTAGE
    return STORM if second % STORM_EVERY == STORM_EVERY - 1 else SHARE


def figures(told: Told, broken: Faults) -> str:
    """What was done, and what went wrong on purpose."""
    images = len(told.ledger.manifests)
    return f"{dict(told.counts)}, faults: {dict(broken.injected)}, {images} images at the end"
