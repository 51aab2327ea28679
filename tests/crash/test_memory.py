"""A crash at every step, over a store in memory: every operation, every request, right before, right after and within."""

import random
from collections.abc import Callable

import pytest

from storage.objects.memory import MemoryStore
from tests.crash.dying import Died, DyingStore, points
from tests.crash.memory import crash, crash_at_every_step, without_crash
from tests.crash.operations import operations
from tests.invariants import violations
from tests.protocol.serving import Clock, World

PAIRS = 2  # second crashes for each first one
OPERATIONS = operations()


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_crash_at_every_step(name: str, record_property: Callable[[str, object], None]) -> None:
    """Wherever the process dies, all invariants MUST hold, and a retry MUST lead to where no crash would have been noticed."""
    tally = await crash_at_every_step(OPERATIONS[name])
    print(name, dict(tally))
    record_property("sum of operations that crashed in memory", 1)
    record_property("sum of crash points in memory", tally["points"])


@pytest.mark.parametrize("name", [name for name, each in OPERATIONS.items() if each.is_representative])
async def test_a_crash_of_the_retry_too(name: str, record_property: Callable[[str, object], None]) -> None:
    """Two processes that die one after the other, at any two of their steps, MUST leave no more than one does."""
    operation, tried = OPERATIONS[name], 0
    expected = await without_crash(operation, warm=False)
    chance = random.Random(name)
    for first in points(expected.requests):
        for second in chance.sample(points(expected.requests), PAIRS):
            tried += 1
            await crash(operation, expected, [first, second], warm=False)
    record_property("sum of pairs of crashes in memory", tried)


async def test_a_crash_at_the_first_start(record_property: Callable[[str, object], None]) -> None:
    """A process that dies while it makes an empty store into a registry MUST leave one that the next can open."""
    clock = Clock()
    counting = DyingStore(MemoryStore(clock))
    async with World(counting, clock).gateway():
        tried = points(counting.requests)
    for point in tried:
        bucket = MemoryStore(clock)
        dying = DyingStore(bucket)
        dying.arm(point)
        with pytest.raises(Died):
            async with World(dying, clock).gateway():
                pass
        async with World(bucket, clock).gateway() as api:
            await api.image("a", "1")
        assert await violations(bucket) == []
    record_property("sum of crash points in memory", len(tried))
