"""I2: tags are linearizable, whatever gateways they are moved, read and deleted on."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from storage import shelf
from storage.objects.memory import MemoryStore
from tests.fleet.histories import judge
from tests.fleet.movers import CONFIG, REPOSITORY, Ask, Movers
from tests.fleet.wavering import WaveringStore
from tests.protocol.serving import Clock, World

Record = Callable[[str, object], None]
SEEDS = 20


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lost a race tries again at once, so that a seed decides all that happens."""
    monkeypatch.setattr(shelf, "FIRST_PAUSE", 0)


@asynccontextmanager
async def fleet(seed: int) -> AsyncIterator[tuple[list[Ask], WaveringStore]]:
    """Three gateways of this process over one store that wavers, which has the movers' blob."""
    clock = Clock()
    memory = MemoryStore(clock)
    store = WaveringStore(memory, random.Random(seed))
    world = World(store, clock)
    async with AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(world.gateway()) for _ in range(3)]
        await apis[0].blob(REPOSITORY, CONFIG)
        yield [api.http for api in apis], store


@pytest.mark.parametrize(("lost", "failed"), [(0.0, 0.0), (0.1, 0.02)], ids=["well", "faulty"])
async def test_in_one_process(linearizable: Path, record_property: Record, lost: float, failed: float) -> None:
    """Every history of every seed MUST be one that a register for each tag could have."""
    counts, faults, unanswered = Counter[str](), Counter[str](), 0
    for seed in range(SEEDS):
        async with fleet(seed) as (gateways, store):
            store.lost, store.failed = lost, failed
            movers = Movers(gateways, seed)
            verdict = judge(linearizable, await movers.run())
        assert movers.wrong == []
        assert verdict.linearizable, (seed, verdict)
        counts += movers.history.counts()
        faults += store.faults
        unanswered += verdict.unanswered
    name = f"linearizable, in one process, {'faulty' if lost else 'well'}"
    record_property(
        name, f"{SEEDS} seeds, {counts.total()} operations, {unanswered} unanswered, {faults.total()} faults"
    )
