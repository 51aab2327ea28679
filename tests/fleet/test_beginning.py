"""Several gateways that begin on an empty bucket at the same time make it one registry."""

import asyncio
import random

import pytest

from storage import shelf
from storage.objects.memory import MemoryStore
from tests.fleet.wavering import WaveringStore
from tests.protocol.serving import Clock, World


@pytest.mark.parametrize("seed", range(20))
async def test_all_begin(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """None MUST take what another has just written for somebody else's, and all MUST serve what one of them takes."""
    monkeypatch.setattr(shelf, "FIRST_PAUSE", 0)
    clock = Clock()
    world = World(WaveringStore(MemoryStore(clock), random.Random(seed)), clock)
    begun = asyncio.Barrier(4)

    async def gateway() -> None:
        async with world.gateway() as api:
            await begun.wait()
            blob = await api.blob("fleet/app", b"of any of them")
            assert (await api.get(f"/v2/fleet/app/blobs/{blob}")).content == b"of any of them"

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(gateway())
