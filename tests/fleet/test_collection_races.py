"""Collection on real stores while everything else goes on, with a grace period of seconds; by hand, RACE_SECONDS=600 says more.

Three gateways, clients that push, pull, mount and delete through all of them, and three collectors in a loop, of which one dies now and then and
another stops in the middle for longer than a grace period. RACE_SABOTAGE breaks the collectors, so that one can see this fail.
"""

import asyncio
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.objects.s3 import S3Store
from storage.periods import Periods
from tests.fleet.collectors import Collectors, open_collected
from tests.fleet.fleets import fleet, opened
from tests.fleet.litter import begin_upload, litter
from tests.fleet.soak import Told
from tests.fleet.tenants import Tenant
from tests.invariants import garbage, unserved, violations
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server
from tests.parts.stores import STORES, marks

SECONDS = float(os.environ.get("RACE_SECONDS", "42"))
GRACE = float(os.environ.get("RACE_GRACE", "9"))
SABOTAGE = os.environ.get("RACE_SABOTAGE", "")  # see tests.fleet.collectors.Configuration
EXPIRY = float(round(0.8 * GRACE))
PERIODS = Periods.shortened(GRACE, EXPIRY)
CLIENTS = 5
BUCKET = "races"
_STEPS = ("condemn blobs done", "bury blobs done", "delete blobs done", "delete data done")


@dataclass(frozen=True)
class Arena:
    """Where it happens."""

    title: str
    server: S3Server
    bucket: str
    gateways: Sequence[Gateway]
    collectors: Collectors

    def store(self) -> S3Store:
        """The bucket, to look behind everybody's back."""
        found = next(each for each in STORES.values() if each.title == self.title).traits.capabilities
        return S3Store(
            self.bucket, clock=_no_clock, session=self.server.session, endpoint=self.server.endpoint, capabilities=found
        )


def _no_clock() -> float:
    return 0.0


@pytest.fixture(params=[pytest.param(name, marks=marks(name)) for name in ("minio", "seaweedfs")])
def arena(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arena]:
    """Two gateways that redirect and one that streams, and the collectors."""
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    store = STORES[request.param]
    bucket = server.create_bucket(BUCKET)
    settings = server.env | {
        "MOORAGE_TESTING_SHORT_GRACE": "1",
        "MOORAGE_GRACE": f"{GRACE:g}s",
        "MOORAGE_UPLOAD_EXPIRY": f"{EXPIRY:g}s",
    }
    with fleet(tmp_path, bucket, [settings, settings, settings | {"MOORAGE_BLOB_DELIVERY": "proxy"}]) as gateways:
        able = store.traits.capabilities
        collectors = Collectors(server, bucket, tmp_path, able, grace=GRACE, sabotage=SABOTAGE)
        yield Arena(store.title, server, bucket, gateways, collectors)


async def test_collections_race_with_everything(arena: Arena, record_property: Callable[[str, object], None]) -> None:
    """I1: zero acknowledged manifests broken, all along and after. I5: two grace periods after the end the bucket holds what is referenced, and nothing else."""
    told, store = Told(), arena.store()
    assert await litter(store) == await garbage(store, purged_before=math.inf)
    begin_upload(arena.server.client(), arena.bucket)
    async with opened(arena.gateways) as https:
        clients = [Tenant(https, told, number, CLIENTS, periods=PERIODS) for number in range(CLIENTS)]
        with arena.collectors:
            await raced(clients, arena.collectors)
            ended = arena.collectors.ended()
        print(figures(told, arena.collectors))
        record_property(f"collection races on {arena.title}", figures(told, arena.collectors))
        assert told.wrong == []
        assert ended == []
        assert [each["problems"] for each in arena.collectors.reports() if each.get("problems")] == []
        assert [each.tail() for each in arena.gateways if "unexpected error" in each.log.read_text()] == []
        assert await unserved(https[0], told.ledger) == []
        removed = arena.collectors.removed()
        assert [step for step in _STEPS if not removed[step]] == []
        await drained(store)
        assert await unserved(https[1], told.ledger) == []
    assert await violations(store, raced=True) == []
    await store.close()


async def raced(clients: Sequence[Tenant], collectors: Collectors) -> None:
    """Let clients and collectors go on for as long as it takes."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.run(stop))
        group.create_task(collectors.disturb(stop))
        await asyncio.sleep(SECONDS)
        stop.set()


async def drained(store: S3Store) -> None:
    """Collect once everybody has stopped, and hold the bucket to I5.

    What was pushed last and got no manifest is condemned after a grace period, and removed after another; its bytes go when nothing
    below their digest has changed for a while, and so do the tombstones.
    """
    registry = await open_collected(store, PERIODS)
    for is_last in (False, False, True):
        await asyncio.sleep(1.15 * GRACE)
        result = await registry.collector.run(offline=is_last)
        assert result.problems == []
    assert result.manifests_read == 0
    assert await garbage(store, purged_before=math.inf) == []


def figures(told: Told, collectors: Collectors) -> str:
    """What was done."""
    reports = collectors.reports()
    whole = sum("seconds" in each for each in reports)
    return (
        f"{SECONDS:g} s, grace {GRACE:g} s: {dict(told.counts)}, {len(told.ledger.manifests)} manifests at the end; {whole} collections,"
        f" {len(reports) - whole} given up, {dict(collectors.counts)}: {dict(collectors.removed())}"
    )
