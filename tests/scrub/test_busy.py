"""A healthy registry gives no finding, however busy it is."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from storage.objects.memory import MemoryStore
from tests.fleet.wavering import WaveringStore
from tests.protocol.documents import descriptor, image, index, manifest_descriptor
from tests.protocol.serving import Api, Clock, World
from tests.scrub.running import scrub

CLIENTS = 8
RUNS = 20
SHARED = "shared/app"
SEEDS = range(8)


class Client:
    """Does what clients do, over and over: pushes, moves, deletes, mounts. What it has deleted nobody else needs."""

    def __init__(self, api: Api, number: int, chance: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self._api = api
        self._own = f"own/{number}"
        self._chance = chance

    async def run(self, is_over: asyncio.Event) -> None:
        """Until it is over."""
        acts = (self.push, self.push_index, self.refer, self.begin, self.begin, self.delete, self.untag, self.mount)
        while not is_over.is_set():
            act = self._chance.choice(acts)
            await act()
            self.done[act.__name__] += 1

    async def push(self) -> None:
        """One of a few images, that others push and delete too, under one of a few tags."""
        await self._api.image(SHARED, f"t{self._chance.randrange(3)}", str(self._chance.randrange(3)))

    async def push_index(self) -> None:
        """An image and an index of it, in a repository of its own; then both are gone, the index first."""
        child = await self._api.image(self._own, None, str(self._chance.randrange(3)))
        top = await self._api.manifest(self._own, "all", index([manifest_descriptor(child.content)]))
        if self._chance.random() < 0.5:
            await self._delete(self._own, top.digest)
            await self._delete(self._own, child.digest)

    async def refer(self) -> None:
        """A signature of an image, and maybe its removal."""
        subject = image(descriptor(b"signed"))
        number = str(self._chance.randrange(3))
        signature = await self._api.artifact(self._own, manifest_descriptor(subject), "application/x", number)
        if self._chance.random() < 0.5:
            await self._delete(self._own, signature.digest)

    async def begin(self) -> None:
        """A repository that was not there before, with an image and a signature of it."""
        name = f"{self._own}/{self.done.total()}"
        subject = await self._api.image(name, "1", "0")
        await self._api.artifact(name, manifest_descriptor(subject.content), "application/x")

    async def delete(self) -> None:
        """One of the shared images, whatever others do with it."""
        config, layer = (f"{self._chance.randrange(3)} {number}".encode() for number in range(2))
        content = image(descriptor(config), [descriptor(layer)])
        await self._delete(SHARED, manifest_descriptor(content)["digest"])

    async def untag(self) -> None:
        """One of the shared tags."""
        await self._delete(SHARED, f"t{self._chance.randrange(3)}")

    async def mount(self) -> None:
        """A blob from the shared repository to a third one."""
        digest = descriptor(b"0 0")["digest"]
        await self._api.post(f"/v2/mounted/app/blobs/uploads/?mount={digest}&from={SHARED}")

    async def _delete(self, name: str, reference: str) -> None:
        assert (await self._api.delete(f"/v2/{name}/manifests/{reference}")).status_code in {202, 404}


class SlowStore(WaveringStore):
    """Lets others go first for long, before and after each request: a scrub sees many an operation half-done."""

    async def _turns(self, numbers: Sequence[int] = (0, 10, 100)) -> None:
        await super()._turns(numbers)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_healthy_registry_gives_no_finding(seed: int, record_property: Callable[[str, object], None]) -> None:
    """Under load, over a store whose requests take turns: MUST find no damage, whatever a scrub met half-done."""
    chance, clock = random.Random(seed), Clock()
    memory = MemoryStore(clock)
    world = World(SlowStore(memory, chance), clock)
    is_over = asyncio.Event()
    waits = 0

    async def sleep(seconds: float) -> None:
        """Until everything has ended that was under way, as an operation does within the bound."""
        nonlocal waits
        waits += 1
        before = [client.done.total() for client in clients]
        while any(client.done.total() <= count for client, count in zip(clients, before, strict=True)):  # noqa: ASYNC110 - all take turns
            await asyncio.sleep(0)
        clock.advance(seconds)

    async with world.gateway() as one, world.gateway() as other:
        clients = [Client((one, other)[number % 2], number, chance) for number in range(CLIENTS)]
        tasks = [asyncio.create_task(client.run(is_over)) for client in clients]
        try:
            for _ in range(RUNS):
                found = await scrub(world, store=WaveringStore(memory, chance), sleep=sleep)
                assert [finding for finding in found.findings if not finding.is_note] == []
                assert {finding.kind for finding in found.findings} <= {"dangling-tag", "dead-referrer"}
        finally:
            is_over.set()
            await asyncio.gather(*tasks)
    total = sum((client.done for client in clients), Counter[str]())
    assert min(total.values()) > 0
    record_property("sum of operations beside scrubs", total.total())
    record_property("sum of times that a scrub had to look again", waits)
    assert (await scrub(world)).report.is_sound
