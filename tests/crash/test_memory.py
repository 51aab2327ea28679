"""A crash at every step, over a store in memory: every operation, every request, right before, right after and within."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from storage.objects.memory import MemoryStore
from tests.crash.dying import Died, DyingStore, Point, points
from tests.crash.operations import Notes, Operation, operations
from tests.crash.trials import (
    Expected,
    attempt,
    check_crashed,
    check_finished,
    check_relied_on,
    look,
    names_left,
    prepare,
)
from tests.invariants import violations
from tests.protocol.serving import Clock, World

PAIRS = 4  # second crashes for each first one
OPERATIONS = operations()


async def without_crash(operation: Operation, *, warm: bool) -> Expected:
    """What the operation comes to, and the requests that it makes."""
    clock = Clock()
    store = DyingStore(MemoryStore(clock))
    world = World(store, clock)
    async with world.gateway() as one, world.gateway() as other:
        notes = await prepare(operation, one, world.store)
        before = await look(store, clock)
        assert await attempt(one if warm else other, store, operation, notes, None)
        requests = list(store.requests)
    return Expected(before, await check_finished(operation, store, clock, None, 0), requests)


async def crash(operation: Operation, expected: Expected, crashes: list[Point], *, warm: bool) -> Counter[str]:
    """Die at each point in turn, every time in another process, then do it to the end; counts what became of it."""
    clock = Clock()
    bucket, tally = MemoryStore(clock), Counter[str]()
    dying = DyingStore(bucket)
    living = World(bucket, clock)
    dead = World(dying, clock, living.nonces)
    async with dead.gateway() as one, dead.gateway() as other, living.gateway() as witness:
        notes = await prepare(operation, one, bucket)
        if operation.relied_on:
            assert (await witness.get(operation.relied_on)).status_code == 200
        acknowledged = await attempt(one if warm else other, dying, operation, notes, crashes[0])
        assert dying.has_died
        died = 1
        for point in crashes[1:]:
            if not acknowledged:
                await check_crashed(operation, bucket, clock, expected, died)
                acknowledged, reached = await again(operation, bucket, living, notes, point)
                died += reached
        if not acknowledged:
            now = await check_crashed(operation, bucket, clock, expected, died)
            tally["crashes that left names which lead nowhere"] += names_left(now) > 0
            async with living.gateway() as fresh:
                await operation.act(fresh, notes)
        await check_finished(operation, bucket, clock, expected, died)
        if operation.relied_on:
            await check_relied_on(operation, witness)
    return tally


async def again(
    operation: Operation, bucket: MemoryStore, living: World, notes: Notes, point: Point
) -> tuple[bool, bool]:
    """The same in a process of its own: whether it was acknowledged, and whether it died, since it may need fewer requests."""
    dying = DyingStore(bucket)
    async with World(dying, living.clock, living.nonces).gateway() as api:
        return await attempt(api, dying, operation, notes, point), dying.has_died


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_crash_at_every_step(name: str, record_property: Callable[[str, object], None]) -> None:
    """Wherever the process dies, all invariants MUST hold, and a retry MUST lead to where no crash would have been noticed.

    So by a gateway that remembers nothing, and by one that has just prepared the operation, if its requests are others.
    """
    operation, tally, asked = OPERATIONS[name], Counter[str](), list[Sequence[str]]()
    for warm in (False, True)[: 1 if operation.cold else 2]:
        expected = await without_crash(operation, warm=warm)
        if expected.requests not in asked:
            asked.append(expected.requests)
            for point in points(expected.requests):
                tally["points"] += 1
                tally += await crash(operation, expected, [point], warm=warm)
    record_property(f"crash points in memory, {name}", dict(tally))


@pytest.mark.parametrize("name", [name for name, each in OPERATIONS.items() if each.is_representative])
async def test_a_crash_of_the_retry_too(name: str, record_property: Callable[[str, object], None]) -> None:
    """Two processes that die one after the other, at any two of their steps, MUST leave no more than one does."""
    operation, tally = OPERATIONS[name], Counter[str]()
    expected = await without_crash(operation, warm=False)
    chance = random.Random(name)
    for first in points(expected.requests):
        for second in chance.sample(points(expected.requests), PAIRS):
            tally["pairs"] += 1
            tally += await crash(operation, expected, [first, second], warm=False)
    record_property(f"pairs of crashes in memory, {name}", dict(tally))


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
    record_property("crash points in memory, the first start", len(tried))
