"""I2: tags are linearizable, whatever gateways they are moved, read and deleted on."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from storage import layout, shelf
from storage.errors import Contended, PreconditionFailed
from storage.objects.memory import MemoryStore
from storage.records import TagMove, TagPointer
from storage.references import RepositoryName, Tag
from storage.tags import Tags
from storage.views import View
from tests.fleet.faults import faults
from tests.fleet.fleets import clients, fleet
from tests.fleet.histories import Verdict, judge
from tests.fleet.movers import CONFIG, REPOSITORY, Ask, Movers
from tests.fleet.threads import in_thread
from tests.fleet.wavering import WaveringStore
from tests.load.images import push_blob
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server
from tests.protocol.serving import Clock, World

Record = Callable[[str, object], None]
SEEDS = {"well": 5, "faulty": 20}
SHARE = 0.3  # of the requests for tags


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lost a race tries again at once, so that a seed decides all that happens."""
    monkeypatch.setattr(shelf, "FIRST_PAUSE", 0)


@asynccontextmanager
async def wavering_fleet(seed: int) -> AsyncIterator[tuple[list[Ask], WaveringStore]]:
    """Three gateways of this process over one store that wavers, which has the movers' blob."""
    clock = Clock()
    memory = MemoryStore(clock)
    store = WaveringStore(memory, random.Random(seed))
    world = World(store, clock)
    async with AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(world.gateway()) for _ in range(3)]
        await apis[0].blob(REPOSITORY, CONFIG)
        yield [api.http for api in apis], store


async def judged(program: Path, seed: int, *, lost: float, failed: float) -> tuple[Movers, Verdict, Counter[str]]:
    """What movers did in one process, the verdict, and the faults there were."""
    async with wavering_fleet(seed) as (gateways, store):
        store.lost, store.failed = lost, failed
        movers = Movers(gateways, seed)
        return movers, judge(program, await movers.run()), store.faults


@pytest.mark.parametrize("weather", SEEDS)
async def test_in_one_process(linearizable: Path, record_property: Record, weather: str) -> None:
    """Every history of every seed MUST be one that a register for each tag could have."""
    counts, faults, unanswered = Counter[str](), Counter[str](), 0
    lost, failed = (0.1, 0.02) if weather == "faulty" else (0.0, 0.0)
    for seed in range(SEEDS[weather]):
        movers, verdict, injected = await judged(linearizable, seed, lost=lost, failed=failed)
        assert movers.wrong == []
        assert verdict.linearizable, (seed, verdict)
        counts += movers.history.counts()
        faults += injected
        unanswered += verdict.unanswered
    figures = f"{counts.total()} operations, {unanswered} unanswered, {faults.total()} faults: linearizable"
    record_property(f"tag histories in one process, {weather}", f"{SEEDS[weather]} seeds, {figures}")


async def reads_what_it_has_seen(tags: Tags, name: RepositoryName, tag: Tag) -> View[TagPointer]:
    """A tag as this gateway saw it last, which another may have moved."""
    return await tags._pointers.recent(layout.tag_key(name, tag))  # noqa: SLF001 - it stands for a method


UNDER_WAY: dict[tuple[Tags, str], asyncio.Task[View[TagPointer]]] = {}


async def joins_a_read_under_way(tags: Tags, name: RepositoryName, tag: Tag) -> View[TagPointer]:
    """A tag by the read that another waits for already, which may have seen it before it was moved."""
    key = tags, layout.tag_key(name, tag)
    if key not in UNDER_WAY:
        UNDER_WAY[key] = asyncio.create_task(CURRENT(tags, name, tag))
        UNDER_WAY[key].add_done_callback(lambda _: UNDER_WAY.pop(key))
    return await asyncio.shield(UNDER_WAY[key])


async def takes_a_lost_race_for_won(
    tags: Tags, name: RepositoryName, tag: Tag, to: TagMove, over: View[TagPointer] | None
) -> None:
    """A move that does not care whether it happened."""
    with suppress(PreconditionFailed):
        await MOVE(tags, name, tag, to, over)


async def moves_twice(tags: Tags, name: RepositoryName, tag: Tag, to: TagMove, over: View[TagPointer] | None) -> None:
    """A move that is made again after it was overtaken."""
    try:
        await MOVE(tags, name, tag, to, over)
    except Contended:
        await MOVE(tags, name, tag, to, await tags.observe(name, tag))


CURRENT, MOVE = Tags.current, Tags.move
BUGS = {
    joins_a_read_under_way: "current",
    reads_what_it_has_seen: "current",
    takes_a_lost_race_for_won: "move",
    moves_twice: "move",
}


@pytest.mark.parametrize("bug", BUGS)
async def test_a_bug_is_caught(linearizable: Path, monkeypatch: pytest.MonkeyPatch, bug: Callable[..., Any]) -> None:
    """A gateway that is wrong about tags MUST be found out by one of a few seeds."""
    monkeypatch.setattr(Tags, BUGS[bug], bug)
    for seed in range(10):
        _, verdict, _ = await judged(linearizable, seed, lost=0.1, failed=0.02)
        if verdict.wrong:
            return
    pytest.fail("no history was wrong")


@pytest.mark.xdist_group("fleet")
async def test_on_real_gateways(
    linearizable: Path, minio_server: S3Server, tmp_path: Path, record_property: Record
) -> None:
    """With faults between three gateways and their bucket, and clients that give up early, tags MUST be linearizable all the same."""
    bucket = minio_server.create_bucket("tag-histories")
    with in_thread(faults(minio_server.endpoint, seed=4)) as broken:
        settings = {**minio_server.env, "AWS_ENDPOINT_URL_S3": broken.endpoint}
        with fleet(tmp_path, bucket, [settings] * 3) as gateways:
            with clients(gateways[:1]) as (client,):
                push_blob(client, REPOSITORY, CONFIG)
            broken.part, broken.share = "/_tags/", SHARE
            movers = await move(gateways)
            broken.share = 0.0
            logs = "".join(each.log.read_text() for each in gateways)
    verdict = judge(linearizable, movers.history)
    assert movers.wrong == []
    assert "unexpected error" not in logs
    assert verdict.linearizable, verdict
    assert broken.injected.total() > 50
    figures = f"{verdict.operations} operations, {verdict.unanswered} unanswered, {dict(broken.injected)}: linearizable"
    record_property("tag histories on three gateways over MinIO", figures)


async def move(gateways: Sequence[Gateway]) -> Movers:
    """Movers on real gateways, one in thirty of whose requests is given up before its answer can be there."""
    chance = random.Random(5)
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=each.url, trust_env=False, timeout=60))
            for each in gateways
        ]
        movers = Movers(
            [impatient(client, chance) for client in opened], seed=6, clients=16, rounds=60, tags=("latest", "stable")
        )
        await movers.run()
        return movers


def impatient(client: httpx.AsyncClient, chance: random.Random) -> Ask:
    """A client that gives up on some of its requests."""

    async def ask(method: str, path: str, **request: Any) -> httpx.Response:
        timeout = chance.uniform(0.002, 0.02) if chance.random() < 1 / 30 else 60
        return await client.request(method, path, timeout=timeout, **request)

    return ask
