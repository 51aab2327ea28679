"""Every operation of the protocol meets every fault of the store, in each of its calls: it succeeds, or it says what is so."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import product

import pytest

from storage import uploads
from storage.objects.contract import StoredObject
from storage.objects.memory import MemoryStore
from tests.faults.client import Client, known_before, puller
from tests.faults.operations import OPERATIONS, Operation, nothing
from tests.faults.store import Fault, FaultyStore, Schedule, at, calm, since
from tests.invariants import Ledger, unserved, violations
from tests.protocol.serving import Api, Clock, Nonces, World


@pytest.fixture(autouse=True)
def short_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few chunks are more than a token names, so that their list is written to the bucket."""
    monkeypatch.setattr(uploads, "MAX_PIECES", 2)


class CopiedStore(MemoryStore):
    """A store in memory that begins with the objects of another one."""

    def __init__(self, clock: Callable[[], float], objects: Mapping[str, StoredObject]) -> None:
        super().__init__(clock)
        self._objects = dict(objects)

    @property
    def objects(self) -> Mapping[str, StoredObject]:
        """All that it holds."""
        return self._objects


@dataclass
class Case:
    """A store of its own, that fails, and who looks after it. `client` begins with what was acknowledged while the store was well."""

    memory: CopiedStore
    faulty: FaultyStore
    world: World
    client: Client

    async def check(self, api: Api) -> None:
        """Assert that the bucket is sound, and that all that was acknowledged is served."""
        assert await violations(self.memory, raced=True) == []
        async with puller(api) as http:
            assert await unserved(http, self.client.ledger) == []


@dataclass
class Prepared:
    """A store in memory as an operation finds it, to be copied for every case."""

    objects: Mapping[str, StoredObject]
    versions: dict[str, list[StoredObject]]
    ledger: Ledger
    nonces: Nonces


@asynccontextmanager
async def case(prepared: Prepared | None = None) -> AsyncIterator[Case]:
    """A gateway that remembers nothing, over a copy of the store in `prepared`."""
    clock = Clock()
    memory = CopiedStore(clock, prepared.objects if prepared else {})

    async def slow() -> None:
        clock.advance(61)
        await asyncio.sleep(0)

    faulty = FaultyStore(memory, slow)
    ledger, nonces = Ledger(), Nonces()
    if prepared:
        faulty.versions = deepcopy(prepared.versions)
        ledger, nonces = deepcopy(prepared.ledger), deepcopy(prepared.nonces)
    world = World(faulty, clock, nonces)
    async with AsyncExitStack() as stack:

        async def recover() -> Api:
            faulty.follow(calm)
            fresh = await stack.enter_async_context(world.gateway())
            await made.check(fresh)
            return fresh

        api = await stack.enter_async_context(world.gateway())
        made = Case(memory, faulty, world, Client(api, recover, ledger))
        yield made


async def prepare(operation: Operation) -> Prepared:
    """The store after what is done before the operation."""
    async with case() as made:
        await operation.before(made.client)
        return Prepared(made.memory.objects, made.faulty.versions, made.client.ledger, made.world.nonces)


async def calls_of(operation: Operation, opened: Callable[[], AbstractAsyncContextManager[Case]]) -> int:
    """How many calls of a store that is well the operation takes."""
    async with opened() as made:
        made.faulty.follow(calm)
        await operation.act(made.client)
        return made.faulty.calls


async def run(operation: Operation, schedule: Schedule, made: Case) -> bool:
    """Let the operation meet the schedule, and look at what is left: nothing is wrong, and all can be done again.

    Whether there was a fault at all.
    """
    before = deepcopy(made.client.ledger)
    made.faulty.follow(schedule)
    await operation.act(made.client)
    if not made.faulty.struck:
        return False
    if made.client.misled:
        made.client.ledger = known_before(before, made.client.ledger)
    made.client.api, made.client.again = await made.client.recover(), True
    await operation.act(made.client)
    await made.check(made.client.api)
    return True


# A call that is refused in one way or another is refused; that the store stays away is tried in the first one.
MEETINGS = [(fault, at) for fault in Fault] + [
    (fault, since) for fault in Fault if fault not in {Fault.TRANSIENT, Fault.DENIED}
]


# A gateway that has done what comes before knows more; where nothing does, it is as a new one.
COLD = [(name, False) for name in OPERATIONS]
WARM = [(name, True) for name, operation in OPERATIONS.items() if operation.before is not nothing]


@pytest.mark.parametrize(("name", "warm"), COLD + WARM)
async def test_every_fault_in_every_call(name: str, warm: bool, record_property: Callable[[str, object], None]) -> None:
    """Whichever call fails, in whichever way, once or from then on: success or 503, and nothing acknowledged is lost."""
    operation, cases, refusals = OPERATIONS[name], 0, 0
    prepared = await prepare(operation)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Case]:
        async with case(None if warm else prepared) as made:
            if warm:
                await operation.before(made.client)
            yield made

    calls = await calls_of(operation, opened)
    for (fault, schedule), position in product(MEETINGS, range(calls)):
        async with opened() as made:
            made.client.misled = fault is Fault.STALE
            cases += await run(operation, schedule(position, fault), made)
            refusals += made.client.refusals
    record_property(
        f"faults, {name}, {'warm' if warm else 'cold'}", f"{calls} calls, {cases} cases, {refusals} refused"
    )
