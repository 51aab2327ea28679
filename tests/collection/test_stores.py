"""The whole life of garbage on every store, with a grace period of seconds, by the store's own time."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest

from storage.objects.contract import ObjectStore
from storage.periods import Periods
from storage.registry import Rules
from storage.views import Epoch
from tests.collection.conftest import Keeper, keeper_of
from tests.contract.conftest import BACKENDS, real_backend
from tests.invariants import violations
from tests.parts.stores import real_stores
from tests.protocol.serving import World

GRACE = 3.0
# The listing shows whole seconds, and there is one gateway, so that what it relies on need not be long.
PERIODS = Periods(
    grace=GRACE,
    upload_expiry=GRACE,
    view_age=0.5,
    bound=30,
    skew=-30,  # so that a session is over when it ends
    quiet=1.5,
    horizon=60,
    purge_age=GRACE,
    lease=60,
)


@pytest.fixture(params=[*BACKENDS, *real_stores()])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[ObjectStore]:
    """An empty store of each kind."""
    opened: AbstractAsyncContextManager[ObjectStore]
    if request.param in BACKENDS:
        opened = BACKENDS[request.param].make(tmp_path)
    else:
        opened = real_backend(request.param, request).store()
    async with opened as made:
        yield made


async def test_garbage_goes_and_nothing_else(store: ObjectStore) -> None:
    """I5 and I1: within some grace periods the bucket holds what is referenced and nothing else, and that can be pulled."""
    world = World(store, time.time, lambda: secrets.token_hex(8))  # type: ignore[arg-type]
    keeper = await keeper_of(world, PERIODS)
    async with world.gateway(epoch=Epoch(), rules=Rules(PERIODS)) as api:
        kept = await api.image("some/kept", "1", "kept", layers=2)
        gone = await api.image("gone", "1", "gone", layers=2)
        await api.blob("gone", b"kept 0")  # which the other repository needs
        await api.patch(await api.begin("gone"), content=b"abandoned")
        await api.delete(f"/v2/gone/manifests/{gone.digest}")
        steps = await until_clean(keeper)
        assert {"condemn", "bury", "delete"} <= steps
        assert await violations(store) == []
        answer = await api.get(f"/v2/some/kept/manifests/{kept.digest}")
        assert (answer.status_code, answer.content) == (httpx.codes.OK, kept.content)
        assert (await api.get("/v2/_catalog")).json() == {"repositories": ["some/kept"]}
    left = [info async for info in store.list("") if not info.key.startswith(("collector/", "probe/"))]
    is_purged = store.capabilities.conditional_delete
    tombstones = [info.key for info in left if info.size == 16]
    assert tombstones == [] or not is_purged
    assert len([info for info in left if info.key.startswith("data/")]) == 3
    assert len([info for info in left if info.key.startswith("blobs/") and info.size != 16]) == 6


async def until_clean(keeper: Keeper) -> set[str]:
    """Collect for some grace periods; the steps that were taken."""
    steps: set[str] = set()
    for _ in range(5):
        await asyncio.sleep(GRACE + 1.1)
        assert (await keeper.collect(offline=True)).problems == []
        steps |= {step for step, _ in keeper.steps}
    assert keeper.seen == []
    return steps
