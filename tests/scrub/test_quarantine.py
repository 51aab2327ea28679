"""What goes into quarantine, how, and what comes back from there."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import pytest

from storage import layout
from storage.errors import Unavailable
from storage.objects.contract import ObjectStore
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.records import TOMBSTONE_SIZE
from storage.references import Digest, RepositoryName
from storage.scrub.pacing import Sleep
from storage.scrub.runs import Options
from storage.views import Epoch
from tests.crash.dying import Died, DyingStore, points
from tests.protocol.conftest import keys
from tests.protocol.serving import Clock, Nonces, World, refused
from tests.scrub.building import (
    APP,
    BLOB,
    LAYER,
    LAYER_DIGEST,
    LINK,
    OTHER,
    OTHER_BLOB,
    OTHER_LINK,
    Built,
    build,
    bytes_key,
    unserved,
)
from tests.scrub.planting import ChangingStore, flip, flipped, forget_generation, linked
from tests.scrub.running import registry, scrub


async def in_no_time(_: float) -> None:
    """Wait without letting time pass."""


async def built(world: World, memory: MemoryStore) -> Built:
    """The registry, with a layer of damaged bytes."""
    async with world.gateway() as api:
        made = await build(api)
    await memory.put(await bytes_key(memory), flipped(LAYER))
    return made


async def test_pushes_learn_of_what_goes(memory: MemoryStore, world: World) -> None:
    """I1: a gateway elsewhere that has just seen the link MUST not take a manifest on the strength of that."""
    made = await built(world, memory)
    async with world.gateway() as api:
        assert (await api.head(BLOB)).status_code == 200
        await scrub(world, repair=True, sleep=in_no_time)
        assert (await api.head(BLOB)).status_code == 200  # it remembers, for a minute
        headers = {"Content-Type": made.image.media_type}
        answer = await api.put(f"/v2/{APP}/manifests/2", content=made.image.content, headers=headers)
        refused(answer, 400, "MANIFEST_BLOB_UNKNOWN")


async def test_pushes_of_indexes_learn_of_a_manifest_that_goes(memory: MemoryStore, world: World) -> None:
    """I1: as for a blob, a gateway elsewhere that has just seen the manifest MUST not take an index on the strength of that."""
    async with world.gateway() as api:
        made = await build(api)
        child = f"/v2/{APP}/manifests/{made.image.digest}"
        assert (await api.head(child)).status_code == 200
        await flip(memory, made.record)
        await scrub(world, repair=True, sleep=in_no_time)
        assert (await api.head(child)).status_code == 200  # it remembers, for a minute
        headers = {"Content-Type": made.index.media_type}
        answer = await api.put(f"/v2/{APP}/manifests/2", content=made.index.content, headers=headers)
        refused(answer, 400, "MANIFEST_BLOB_UNKNOWN")


class LosingStore(MeteredStore):
    """Applies every removal of a record, and loses the answer."""

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        etag = await super().put(key, body, if_absent=if_absent, if_match=if_match)
        if len(body) == TOMBSTONE_SIZE and if_match is not None:
            raise Unavailable(key)
        return etag


@pytest.mark.parametrize("answers", [True, False])
async def test_gateways_of_the_same_host_learn_of_what_goes_at_once(
    memory: MemoryStore, world: World, answers: bool
) -> None:
    """They remember for a minute otherwise, and MUST NOT go on with damaged bytes, though the scrub was told nothing of its success."""
    await built(world, memory)
    epoch = Epoch()
    async with world.gateway(epoch=epoch) as api:
        assert (await api.head(BLOB)).status_code == 200
        if answers:
            await scrub(world, repair=True, epoch=epoch, sleep=in_no_time)
        else:
            with pytest.raises(Unavailable):
                await scrub(world, repair=True, epoch=epoch, store=LosingStore(memory), sleep=in_no_time)
        assert (await api.head(BLOB)).status_code == 404


async def test_what_goes_is_journalled(memory: MemoryStore, world: World) -> None:
    """Each removal MUST be on a page of the journal, with what lay there."""
    made = await built(world, memory)
    await forget_generation(memory, made)
    expected = {key: (await memory.get(key)).body for key in (LINK, OTHER_LINK, layout.tag_key(APP, "1"))}
    await scrub(world, repair=True)
    opened = await registry(world)
    async with aclosing(opened.journal.pages()) as pages:
        found = {each.key: each.record async for page in pages for each in page.removals if page.work == "scrub"}
    assert found == expected


async def test_a_marker_that_rots_ends_no_run(memory: MemoryStore, world: World) -> None:
    """Once it was found sound: the link whose removal needs it MUST be told and left to the next run, all others MUST go."""
    await built(world, memory)
    at, marker = await bytes_key(memory), layout.catalog_key(APP)
    damaged = flipped((await memory.get(marker)).body)

    class RottingStore(MeteredStore):
        async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
            if key == at:
                await memory.put(marker, damaged)
            return await super().get_range(key, start, length)

    first = await scrub(world, repair=True, store=RottingStore(memory))
    assert (first.outcomes, first.report.is_sound) == ({("corrupt-bytes", "changed")}, False)
    assert [(await memory.head(key)).size == 16 for key in (LINK, OTHER_LINK)] == [False, True]
    await scrub(world, repair=True)
    assert [(await memory.head(key)).size == 16 for key in (LINK, OTHER_LINK)] == [True, True]


async def test_one_bad_reading_is_no_finding(memory: MemoryStore, world: World) -> None:
    """Bytes that were damaged on the way here, once, MUST not be taken for damaged."""

    class FlakyStore(MeteredStore):
        is_bad = True

        async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
            chunks = await super().get_range(key, start, length)
            is_bad, self.is_bad = self.is_bad, False

            async def passed() -> AsyncGenerator[bytes]:
                async for chunk in chunks:
                    yield b"?" * len(chunk) if is_bad else chunk

            return passed()

    async with world.gateway() as api:
        await build(api)
    store = FlakyStore(memory)
    assert (await scrub(world, repair=True, store=store)).findings == []
    assert not store.is_bad


async def test_who_links_to_damaged_bytes_late_is_found_in_the_same_run(memory: MemoryStore, world: World) -> None:
    """A mount that saw a link right before it went may write its own afterwards: it MUST not be left."""
    await built(world, memory)
    late = layout.link_key(LAYER_DIGEST, RepositoryName("late/app"))
    link = (await memory.get(OTHER_LINK)).body

    async def sleep(seconds: float) -> None:
        await memory.put(late, link)
        world.clock.advance(seconds)

    await scrub(world, repair=True, sleep=sleep)
    assert (await memory.head(late)).size == 16


@pytest.mark.parametrize("purged", [False, True])
@pytest.mark.parametrize("since", ["nothing", "pushed and deleted", "something else deleted"])
async def test_a_link_comes_back_only_if_nothing_happened_to_it(
    memory: MemoryStore, world: World, since: str, purged: bool
) -> None:
    """A blob that a client has deleted MUST stay so, whether or not the tombstone that tells is still there."""
    await built(world, memory)
    await scrub(world, repair=True)
    world.clock.advance(60)
    async with world.gateway() as api:
        if since == "pushed and deleted":
            await api.blob(OTHER, LAYER)
            assert (await api.delete(OTHER_BLOB)).status_code == 202
        elif since == "something else deleted":
            other = await api.blob(OTHER, b"something else")
            assert (await api.delete(f"/v2/{OTHER}/blobs/{other}")).status_code == 202
        await api.blob(APP, LAYER)
    if purged:
        await memory.delete(OTHER_LINK)
    world.clock.advance(60)
    await scrub(world, repair=True)
    comes_back = since == "nothing" or (since == "something else deleted" and not purged)
    async with world.gateway() as api:
        assert (await api.get(OTHER_BLOB)).status_code == (200 if comes_back else 404)


async def test_links_come_back_though_another_one_was_quarantined_after_them(memory: MemoryStore, world: World) -> None:
    """That is noted as a deletion from the repository, and MUST NOT be taken for one by a client once tombstones are purged."""
    contents = [b"the first", b"the second", b"the third"]
    async with world.gateway() as api:
        digests = [await api.blob(APP, content) for content in contents]
    for digest in digests:
        link = layout.link_key(Digest.parse(digest), APP)
        await memory.put(await linked(memory, link), b"damaged")
        world.clock.advance(3600)
        await scrub(world, repair=True)
        await memory.delete(link)
    async with world.gateway() as api:
        for content in contents:
            await api.blob(OTHER, content)
    await scrub(world, repair=True)
    async with world.gateway() as api:
        assert [(await api.get(f"/v2/{APP}/blobs/{digest}")).content for digest in digests] == contents


async def test_a_copy_in_the_wrong_place_brings_nothing_back(memory: MemoryStore, world: World) -> None:
    """It is named, as one that was damaged is: what removes a copy goes by where it lies."""
    await built(world, memory)
    await scrub(world, repair=True)
    places = await keys(memory, layout.QUARANTINE_PREFIX)
    wrong = places[0].replace(places[0].split("/")[2], "f" * 16)
    await memory.put(wrong, (await memory.get(places[0])).body)
    found = await scrub(world)
    assert [(each.kind, each.key) for each in found.findings if each.key == wrong] == [("corrupt-record", wrong)]


async def test_a_link_never_comes_back_to_bytes_that_are_damaged_too(memory: MemoryStore, world: World) -> None:
    """I4: what another repository has is read before it is linked to."""
    await built(world, memory)
    await scrub(world, repair=True)
    async with world.gateway() as api:
        await api.blob(APP, LAYER)
    old, new = [layout.data_key(layout.parse_instance_key(at)[1]) for at in await _instances(memory)]
    for key in (old, new):
        await memory.put(key, flipped(LAYER))
    await scrub(world, repair=True)
    async with world.gateway() as api:
        assert [(await api.get(path)).status_code for path in (BLOB, OTHER_BLOB)] == [404, 404]


@pytest.mark.parametrize("fields", [{"state": "condemned"}, {"key": f"data/{'0' * 32}/{0:013}-{'0' * 16}"}])
async def test_a_link_comes_back_only_by_one_that_is_live_and_was_read(
    memory: MemoryStore, world: World, fields: dict[str, object]
) -> None:
    """Rule 5: another repository's link, which changes while its bytes are read, MUST be looked at again before it is followed."""
    await built(world, memory)
    await scrub(world, repair=True)
    async with world.gateway() as api:
        await api.blob(OTHER, LAYER)
        followed = await linked(memory, OTHER_LINK)
        await scrub(world, repair=True, store=ChangingStore(memory, OTHER_LINK, fields, 1))
        assert (await api.get(BLOB)).content == LAYER
    assert await linked(memory, LINK) not in {followed, fields.get("key")}


async def _instances(memory: MemoryStore) -> list[str]:
    return await keys(memory, layout.instances_prefix(LAYER_DIGEST))


def copied(memory: MemoryStore, clock: Clock) -> MemoryStore:
    """A store with the same objects."""
    store = MemoryStore(clock)
    store._objects = dict(memory._objects)  # noqa: SLF001 - what a copy is
    return store


async def test_a_repair_that_dies_loses_nothing(memory: MemoryStore, world: World, clock: Clock) -> None:
    """Killed at any request, before or after it: what went is kept in quarantine, and the next repair and push bring all back."""
    made = await built(world, memory)
    await flip(memory, layout.catalog_key(OTHER))
    await memory.delete(made.entry)
    records = {key: (await memory.get(key)).body for key in (LINK, OTHER_LINK)}
    tried = 0
    for point in points(await requests(copied(memory, clock), world)):
        trial = World(copied(memory, clock), clock, world.nonces)
        assert isinstance(trial.store, MemoryStore)
        dying = DyingStore(trial.store)
        opened = await registry(trial, dying)
        dying.arm(point)
        with pytest.raises(Died):
            await opened.scrub.run(Options(repair=True, rate=None, sleep=_advancing(clock)))
        await check_kept(trial.store, records)
        clock.advance(3600)
        await scrub(trial, repair=True)
        await check_kept(trial.store, records)
        async with trial.gateway() as api:
            assert [(await api.get(path)).status_code for path in (BLOB, OTHER_BLOB)] == [404, 404]
            await api.blob(APP, LAYER)
        await scrub(trial, repair=True)
        async with trial.gateway() as api:
            assert await unserved(api, made) == []
        assert not [key for key in await keys(trial.store, layout.QUARANTINE_PREFIX) if "/in/" in key]
        tried += 1
    assert tried > 100


async def requests(store: MemoryStore, world: World) -> list[str]:
    """The requests of a repair."""
    dying = DyingStore(store)
    nonces = Nonces()
    for _ in range(10_000):
        nonces()
    opened = await registry(World(store, world.clock, nonces), dying)
    dying.arm(None)
    await opened.scrub.run(Options(repair=True, rate=None, sleep=_advancing(world.clock)))
    return list(dying.requests)


def _advancing(clock: Clock) -> Sleep:
    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    return sleep


async def check_kept(store: ObjectStore, records: dict[str, bytes]) -> None:
    """Every record that is not in its place any more MUST be in quarantine."""
    kept = set()
    async for info in store.list(layout.QUARANTINE_PREFIX):
        fields = msgspec.json.decode((await store.get(info.key)).body)
        kept.add(msgspec.convert(fields["record"], bytes))
    for key, body in records.items():
        assert (await store.get(key)).body == body or body in kept
