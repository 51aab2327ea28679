"""Crashes over a store in memory."""

from collections import Counter
from collections.abc import Sequence

from storage.objects.memory import MemoryStore
from tests.crash.acts import Notes
from tests.crash.dying import DyingStore, Point, points
from tests.crash.operations import Operation
from tests.crash.trials import (
    Expected,
    attempt,
    check_crashed,
    check_finished,
    check_names_left,
    check_relied_on,
    look,
    prepare,
)
from tests.protocol.serving import Clock, World


async def crash_at_every_step(operation: Operation) -> Counter[str]:
    """Crash at each point of an operation.

    So by a gateway that remembers nothing, and by one that has just prepared the operation, if its requests are others.
    """
    tally, asked = Counter[str](), list[Sequence[str]]()
    for warm in (False, True)[: 1 if operation.cold else 2]:
        expected = await without_crash(operation, warm=warm)
        if expected.requests not in asked:
            asked.append(expected.requests)
            for point in points(expected.requests):
                tally["points"] += 1
                tally += await crash(operation, expected, [point], warm=warm)
    return tally


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
            await check_crashed(operation, bucket, clock, expected, died)
            async with living.gateway() as fresh:
                await operation.act(fresh, notes)
        now = await check_finished(operation, bucket, clock, expected, died)
        async with living.gateway() as fresh:
            tally["names that lead nowhere"] += await check_names_left(now, fresh)
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
