"""Every operation of the protocol over a real server, while HTTP between the two fails in each way that it can."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product

import pytest

from storage.objects import s3_connection
from storage.objects.s3 import ASSUMED, S3Store
from tests.faults.client import Client, known_before, puller
from tests.faults.operations import LARGE_OPERATIONS, OPERATIONS, Operation
from tests.faults.proxy import Faults, HttpFault, Schedule, always, every_third, first
from tests.invariants import unserved, violations
from tests.parts.servers import S3Server
from tests.parts.wire import wire
from tests.protocol.serving import Api, Clock, Nonces, World

LANES = 8
DEADLINE = 2.5
KEPT = ("moorage.json", "keys/")
DAMAGES = {HttpFault.FLIPPED_GET, HttpFault.SHORTER}
# What is tried for as long as the deadline allows with large bodies too.
LASTING = {HttpFault.INTERNAL_ERROR, HttpFault.RESET_AFTER, HttpFault.ERROR_IN_SUCCESS}
# A digest vouches for no part of its content.
UNGUARDED = {("GET of a range", HttpFault.FLIPPED_GET)}

GROUPS: Mapping[str, Sequence[str]] = {
    "uploads": (
        "POST, PUT with the body",
        "POST, PATCH, PUT",
        "POST, PATCHes in order, PUT with the last",
        "a known blob, POST, PATCH, PUT",
        "GET of an upload",
        "DELETE of an upload",
        "mount with from",
        "mount without from",
    ),
    "manifests": (
        "PUT manifest by digest with tags",
        "PUT manifest with subject",
        "PUT index",
        "PUT manifest that was deleted",
        "moving a tag",
    ),
    "reads": ("GET, HEAD blob", "GET of a range", "GET, HEAD tag", "GET, HEAD of what is missing", "listings"),
    "deletes": ("DELETE blob", "DELETE manifest with subject", "DELETE tag"),
}


@dataclass(frozen=True)
class Case:
    """An operation, what befalls it, and when."""

    name: str
    operation: Operation
    fault: HttpFault
    schedule: Schedule

    def __str__(self) -> str:
        return f"{self.name} / {self.fault.value}, {self.schedule.__name__}"


@dataclass
class Lane:
    """A part of the bucket, seen by gateways through faults and by those who look after it without."""

    faults: Faults
    faulty: S3Store
    direct: S3Store
    clock: Clock
    nonces: Nonces
    refusals: int = 0

    async def run(self, case: Case) -> bool:
        """Whether the fault struck; raises AssertionError for what MUST not be. The lane is empty afterwards."""
        try:
            return await self._run(case)
        finally:
            await self.faults.calm()
            self.faults.forget()
            found = [info.key async for info in self.direct.list("")]
            async for upload in self.direct.list_incomplete_uploads():
                await self.direct.abort_incomplete_upload(upload)
            await self.direct.delete_many([key for key in found if not key.startswith(KEPT)])

    async def _run(self, case: Case) -> bool:
        async with AsyncExitStack() as stack:
            # What a stale answer is older than has to pass the proxy too.
            store = self.faulty if case.fault is HttpFault.STALE else self.direct
            before = await stack.enter_async_context(self._world(store).gateway())
            client = Client(before, lambda: self._recovered(client, stack))
            await case.operation.before(client)
            client.api = await stack.enter_async_context(self._world(self.faulty).gateway())
            client.misled = case.fault is HttpFault.STALE
            client.damaged = case.fault in DAMAGES and case.schedule is always
            known = deepcopy(client.ledger)
            self.faults.follow(case.fault, case.schedule)
            await case.operation.act(client)
            struck = list(self.faults.struck)
            self.refusals += client.refusals
            if not struck:
                return False
            if client.misled:
                client.ledger = known_before(known, client.ledger)
            await client.recover()
            # An upload whose beginning or end was not answered is the collector's.
            if not {"CREATE", "ABORT"} & {exchange.kind for exchange in struck}:
                assert [upload async for upload in self.direct.list_incomplete_uploads()] == []
            return True

    async def _recovered(self, client: Client, stack: AsyncExitStack) -> Api:
        await self.faults.calm()
        fresh = await stack.enter_async_context(self._world(self.direct).gateway())
        await self._check(client, fresh)
        return fresh

    def _world(self, store: S3Store) -> World:
        return World(store, self.clock, self.nonces)

    async def _check(self, client: Client, api: Api) -> None:
        assert await violations(self.direct, raced=True) == []
        async with puller(api) as http:
            assert await unserved(http, client.ledger) == []


@asynccontextmanager
async def lane(server: S3Server, *, checksums: bool) -> AsyncIterator[Lane]:
    """An empty part of the bucket, behind a proxy of its own; `checksums` guard what is sent through it, or else signatures."""
    async with wire(server.endpoint) as proxy:
        clock = Clock()
        clock.advance(time.time() - clock())
        prefix = f"faults/{secrets.token_hex(8)}"
        direct = S3Store(server.bucket, prefix, clock=time.time, session=server.session, endpoint=server.endpoint)
        faulty = S3Store(
            server.bucket,
            prefix,
            clock=time.time,
            session=server.session,
            endpoint=proxy.endpoint,
            deadline=DEADLINE,
            capabilities=replace(ASSUMED, checksums=checksums),
        )
        try:
            yield Lane(Faults(proxy), faulty, direct, clock, Nonces())
        finally:
            await faulty.close()
            await direct.close()


async def run_all(server: S3Server, cases: Iterable[Case], *, checksums: bool) -> tuple[int, int]:
    """Run the cases in lanes beside each other; how many faults struck, and the refusals. Raises with all that went wrong."""
    waiting, wrong, struck, refusals = iter(cases), list[str](), 0, 0

    async def work() -> None:
        nonlocal struck, refusals
        async with lane(server, checksums=checksums) as own:
            for case in waiting:
                try:
                    did_strike = await own.run(case)
                    struck += did_strike
                except (AssertionError, TimeoutError) as error:
                    wrong.append(f"{case}: {error!r}")
            refusals += own.refusals

    async with asyncio.TaskGroup() as group:
        for _ in range(LANES):
            group.create_task(work())
    assert not wrong, "\n\n".join(wrong)
    return struck, refusals


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that moves many bytes is given up as soon as any other."""
    monkeypatch.setattr(s3_connection, "_PATIENCE", DEADLINE / 2)


@pytest.mark.parametrize("group", GROUPS)
async def test_every_fault_of_http(
    minio_server: S3Server, group: str, record_property: Callable[[str, object], None]
) -> None:
    """The first request fails, or every third, or all: success or 503, in time, and nothing acknowledged is lost."""
    cases = [
        Case(name, OPERATIONS[name], fault, schedule)
        for name, fault, schedule in product(GROUPS[group], HttpFault, (first, every_third, always))
        if (name, fault) not in UNGUARDED
    ]
    struck, refusals = await run_all(minio_server, cases, checksums=True)
    record_property(f"faults of HTTP, {group}", f"{struck} cases, {refusals} refused")


@pytest.mark.parametrize("checksums", [True, False])
async def test_every_fault_of_http_in_parts(
    minio_server: S3Server, checksums: bool, record_property: Callable[[str, object], None]
) -> None:
    """Multipart uploads too, which leave nothing behind unless their end was not answered; their parts guarded in either way."""
    cases = [
        Case(name, operation, fault, schedule)
        for (name, operation), fault, schedule in product(
            LARGE_OPERATIONS.items(), HttpFault, (first, every_third, always)
        )
        if schedule is not always or fault in LASTING
    ]
    struck, refusals = await run_all(minio_server, cases, checksums=checksums)
    guard = "checksums" if checksums else "signatures"
    record_property(f"faults of HTTP, in parts, {guard}", f"{struck} cases, {refusals} refused")
