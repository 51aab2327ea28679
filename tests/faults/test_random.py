"""Long mixed use of a store that fails again and again, chosen by seeds: nothing that was acknowledged is lost or wrong."""

import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from storage.objects.memory import MemoryStore
from tests.faults.client import Client, puller
from tests.faults.operations import ARTIFACT, CONFIG, IMAGE, INDEX, LAYER, OTHER, Step, pushed, stream
from tests.faults.store import HONEST, FaultyStore, calm, seeded
from tests.invariants import unserved, violations
from tests.protocol.serving import Api, Clock, World

SEEDS = 150
BATCHES = 8
STEPS = 12
MANIFESTS = (IMAGE, OTHER, ARTIFACT, INDEX)
TAGS = ("one", "two")


class Refused(Exception):
    """The client was refused as it may be, and gives up on this step."""


async def gives_up() -> Api:
    """No recovery."""
    raise Refused


def step(chance: random.Random) -> Step:
    """Something that a client may do, in one of two repositories."""
    name, blob, content = chance.choice("ab"), chance.choice((CONFIG, LAYER)), chance.choice(MANIFESTS)
    tag = chance.choice(TAGS)
    steps: list[Step] = [
        lambda client: client.blob(name, blob),
        lambda client: client.post(name, blob),
        lambda client: client.mount(name, blob, chance.choice(("a", "b", None))),
        stream(LAYER[:500], last=LAYER[500:], ordered=True),
        lambda client: client.manifest(name, content, tag),
        lambda client: client.manifest(name, content, tag),
        lambda client: client.manifest(name, content, *TAGS, by_digest=True),
        lambda client: client.pull(name, "blobs", blob),
        lambda client: client.pull(name, "manifests", content),
        lambda client: client.pull_tag(name, tag),
        lambda client: client.pull_tag(name, tag),
        lambda client: client.delete_blob(name, blob),
        lambda client: client.delete_manifest(name, content),
        lambda client: client.delete_tag(name, tag),
    ]
    return chance.choice(steps)


async def mixed_use(seed: int) -> tuple[int, int]:
    """One run, through two gateways in turn; the faults that were met, and the refusals."""
    chance, clock = random.Random(f"use {seed}"), Clock()
    memory = MemoryStore(clock)

    async def slow() -> None:
        clock.advance(chance.choice((1, 61)))

    faulty = FaultyStore(memory, slow)
    world = World(faulty, clock)
    async with world.gateway() as one, world.gateway() as other, world.gateway() as fresh:
        client = Client(one, gives_up)
        if chance.random() < 0.5:
            await pushed(client)
        faulty.follow(seeded(f"faults {seed}", chance.choice((0.02, 0.1, 0.3)), HONEST))
        for _ in range(STEPS):
            client.api, client.again = chance.choice((one, other)), False
            with suppress(Refused):
                await step(chance)(client)
            clock.advance(chance.choice((0, 1, 61)))
        faulty.follow(calm)
        assert await violations(memory, raced=True) == []
        async with puller(fresh) as http:
            assert await unserved(http, client.ledger) == []
    return len(faulty.struck), client.refusals


@pytest.mark.parametrize("batch", range(BATCHES))
async def test_mixed_use(batch: int, record_property: Callable[[str, object], None]) -> None:
    """Every answer MUST fit what was acknowledged before, and in the end the bucket and a fresh gateway MUST too."""
    faults = refusals = 0
    for seed in range(batch * SEEDS, (batch + 1) * SEEDS):
        try:
            struck, refused = await mixed_use(seed)
        except AssertionError as error:
            error.add_note(f"with seed {seed}")
            raise
        faults, refusals = faults + struck, refusals + refused
    record_property(
        f"random faults, batch {batch}", f"{SEEDS} runs of {STEPS} steps, {faults} faults, {refusals} refused"
    )
