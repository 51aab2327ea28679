"""What maintenance removed comes back while its bytes are there, and never as what a sleeping collector may still take away."""

from contextlib import aclosing
from functools import partial

import pytest

from storage import layout
from storage.errors import Unavailable, UploadUnknown
from storage.objects.contract import ObjectStore
from storage.objects.memory import MemoryStore
from storage.records import changed, decode_manifest, encode_manifest
from storage.references import Digest, RepositoryName
from storage.registry import Registry, Rules, open_registry
from storage.removals import KEPT, Removal
from storage.undo import Result
from storage.views import Epoch
from tests.collection.conftest import DAY, HOUR, Keeper, keeper_of
from tests.collection.interrupting import interrupted
from tests.invariants import violations
from tests.protocol.conftest import keys
from tests.protocol.documents import descriptor, image, index, manifest_descriptor
from tests.protocol.serving import Api, Clock, Pushed, World

CONTENT = b"a layer"
DIGEST = Digest.of(CONTENT)
NAME = RepositoryName.parse("a")


async def registry_of(world: World, store: ObjectStore | None = None) -> Registry:
    """One more process."""
    return await open_registry(
        store or world.store, clock=world.clock, nonce=world.nonces, epoch=Epoch(), rules=Rules()
    )


async def undo(
    registry: Registry, name: str = "a", digest: Digest | str | None = None, *, dry_run: bool = False
) -> list[Result]:
    """All results."""
    parsed = Digest.parse(str(digest)) if digest else None
    async with aclosing(registry.undo.run(RepositoryName.parse(name), parsed, dry_run=dry_run)) as results:
        return [result async for result in results]


def fates(results: list[Result]) -> list[tuple[str, str]]:
    """What became of what: the first words of each sentence."""
    return [(result.fate, result.sentence.split(" ", 2)[1]) for result in results]


async def state(memory: MemoryStore) -> dict[str, str]:
    """All keys with their etags."""
    return {info.key: info.etag async for info in memory.list("")}


async def buried(api: Api, keeper: Keeper, clock: Clock) -> None:
    """The blob of `a`, which nothing references, is a tombstone, and its bytes still lie there."""
    await api.blob("a", CONTENT)
    for _ in range(2):
        clock.advance(DAY + 1)
        await keeper.collect()
    assert keeper.steps == [("bury", "/in/")]


async def go(keeper: Keeper, clock: Clock, pushed: Pushed) -> None:
    """What retention does to a manifest of `a` in the end: the journal, then a DELETE."""
    digest = Digest.parse(pushed.digest)
    key = layout.manifest_key(NAME, digest)
    found = await keeper.registry.store.get(key)
    decoded = decode_manifest(found)
    assert decoded is not None
    removal = Removal(
        "bury", key, "expired", repository=str(NAME), digest=pushed.digest, record=found.body, tags=decoded[0].tags
    )
    await keeper.registry.journal.write("retention", clock(), [removal])
    await keeper.registry.manifests.delete(NAME, digest)


async def condemn(keeper: Keeper, clock: Clock, memory: MemoryStore, pushed: Pushed) -> None:
    """What retention does to a manifest of `a` first."""
    key = layout.manifest_key(NAME, Digest.parse(pushed.digest))
    found = await memory.get(key)
    decoded = decode_manifest(found)
    assert decoded is not None
    removal = Removal("condemn", key, "expired", repository=str(NAME), digest=pushed.digest, record=found.body)
    await keeper.registry.journal.write("retention", clock(), [removal])
    header = changed(decoded[0], state="condemned", nonce="c" * 16)
    await memory.put(key, encode_manifest(header, decoded[1]), if_match=found.info.etag)


async def collect_all(keeper: Keeper, clock: Clock) -> None:
    """Let all garbage go, bytes and tombstones too."""
    for _ in range(6):
        clock.advance(DAY + 1)
        await keeper.collect()


async def test_a_condemned_blob(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """Is revived; a dry run says so and changes nothing; a second time there is nothing to do."""
    await api.blob("a", CONTENT)
    clock.advance(DAY + 1)
    await keeper.collect()
    before = await state(memory)
    sentence = f"blob a@{DIGEST} would be condemned no more"
    assert await undo(keeper.registry, dry_run=True) == [Result("revived", sentence)]
    assert await state(memory) == before
    assert await undo(keeper.registry) == [Result("revived", f"blob a@{DIGEST} is condemned no more")]
    assert await undo(keeper.registry) == [Result("there", f"blob a@{DIGEST} is there")]
    clock.advance(DAY - 1)
    await keeper.collect()
    assert keeper.steps == []


async def test_a_buried_blob(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """A copy of its bytes is published; the old ones are another instance, and go; the copy serves a manifest for good."""
    await buried(api, keeper, clock)
    (old,) = await keys(memory, "data/")
    before = await state(memory)
    assert fates(await undo(keeper.registry, digest=DIGEST, dry_run=True)) == [("restored", f"a@{DIGEST}")]
    assert await state(memory) == before
    assert await undo(keeper.registry, digest=DIGEST) == [Result("restored", f"blob a@{DIGEST} is back")]
    assert len(await keys(memory, "data/")) == 2
    await api.manifest("a", "1", image(descriptor(CONTENT)))
    await collect_all(keeper, clock)
    (new,) = await keys(memory, "data/")
    assert new != old
    assert (await api.get(f"/v2/a/blobs/{DIGEST}")).content == CONTENT
    assert await violations(memory) == []


async def test_bytes_that_another_repository_has(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """Are shared by its link, as a mount does: nothing is copied."""
    await api.blob("b", CONTENT)
    await api.manifest("b", "1", image(descriptor(CONTENT)))
    await buried(api, keeper, clock)
    assert fates(await undo(keeper.registry)) == [("restored", f"a@{DIGEST}")]
    assert len(await keys(memory, "data/")) == 1
    assert (await api.get(f"/v2/a/blobs/{DIGEST}")).content == CONTENT
    assert await violations(memory) == []


async def test_bytes_that_were_purged(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """Do not come back, and nothing is written that would say so."""
    await buried(api, keeper, clock)
    clock.advance(HOUR)
    await keeper.collect()
    assert keeper.steps == [("delete", "/at/")]
    before = await state(memory)
    for dry_run in (True, False):
        results = await undo(keeper.registry, digest=DIGEST, dry_run=dry_run)
        assert results == [Result("lost", f"blob a@{DIGEST} cannot come back: its bytes were purged")]
    assert await state(memory) == before


async def test_bytes_that_were_damaged(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """I4: are not published."""
    await buried(api, keeper, clock)
    (data,) = await keys(memory, "data/")
    await memory.put(data, b"a LAYER")
    before = await state(memory)
    assert fates(await undo(keeper.registry)) == [("lost", f"a@{DIGEST}")]
    assert await state(memory) == before


async def test_a_copy_that_takes_too_long(
    api: Api, world: World, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """Rule 6: is not published once it may be swept as what an upload has left; and it is swept."""
    await buried(api, keeper, clock)

    async def sleep() -> None:
        clock.advance(2 * DAY + 1)

    store, _ = interrupted(memory, "put_stream", sleep)
    with pytest.raises(UploadUnknown):
        await undo(await registry_of(world, store))
    assert len(await keys(memory, layout.instances_prefix(DIGEST))) == 1
    await collect_all(keeper, clock)
    assert await keys(memory, "data/") == []


async def test_a_manifest_of_retention(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """Its blobs, then itself, in its old bytes and with its tags; I1 holds for it again."""
    pushed = await api.image("a", "1", layers=2)
    await api.manifest("a", "2", pushed.content)
    await go(keeper, clock, pushed)
    for _ in range(2):
        clock.advance(DAY + 1)
        await keeper.collect()
    before = await state(memory)
    planned = await undo(keeper.registry, digest=pushed.digest, dry_run=True)
    assert [fate for fate, _ in fates(planned)] == ["restored"] * 4
    assert await state(memory) == before
    done = await undo(keeper.registry, digest=pushed.digest)
    assert [result.sentence for result in done[3:]] == [
        f"manifest a@{pushed.digest} is back",
        "tag a:1 points to it",
        "tag a:2 points to it",
    ]
    await collect_all(keeper, clock)
    assert await api.tags("a") == ["1", "2"]
    answer = await api.get("/v2/a/manifests/2")
    assert (answer.content, answer.headers["Docker-Content-Digest"]) == (pushed.content, pushed.digest)
    assert await violations(memory) == []
    catalog = await api.get("/v2/_catalog")
    assert catalog.json() == {"repositories": ["a"]}


async def test_a_tag_that_is_used_otherwise(
    api: Api, world: World, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """Is left alone, where it points elsewhere; so is one that a client takes while the manifest is being put."""
    pushed = await api.image("a", "1")
    await api.manifest("a", "2", pushed.content)
    await api.manifest("a", "3", pushed.content)
    await go(keeper, clock, pushed)
    other = await api.image("a", "1", "other")

    async def take() -> None:
        await api.manifest("a", "2", other.content)

    store, _ = interrupted(memory, ("put", layout.tag_key(NAME, "2")), take)
    results = await undo(await registry_of(world, store))
    assert [(result.fate, result.sentence) for result in results[-3:]] == [
        ("left", "tag a:1 was left alone: it points elsewhere by now"),
        ("left", "tag a:2 was left alone: it points elsewhere by now"),
        ("restored", "tag a:3 points to it"),
    ]
    for tag, digest in (("1", other.digest), ("2", other.digest), ("3", pushed.digest)):
        assert (await api.head(f"/v2/a/manifests/{tag}")).headers["Docker-Content-Digest"] == digest


async def test_an_undo_that_was_ended(
    api: Api, world: World, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """Another one goes on where it was: with the tags of a manifest that is there by now."""
    pushed = await api.image("a", "1")
    await api.manifest("a", "2", pushed.content)
    await go(keeper, clock, pushed)

    async def end() -> None:
        raise Unavailable("as if the store were away")

    store, _ = interrupted(memory, ("put", layout.tag_key(NAME, "2")), end)
    with pytest.raises(Unavailable):
        await undo(await registry_of(world, store))
    assert await api.tags("a") == ["1"]
    results = await undo(await registry_of(world))
    assert [(result.fate, result.sentence) for result in results[-3:]] == [
        ("there", f"manifest a@{pushed.digest} is there"),
        ("there", "tag a:1 points to it"),
        ("restored", "tag a:2 points to it"),
    ]
    assert (await api.get("/v2/a/manifests/2")).content == pushed.content


async def test_an_index(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """Comes back after what it lists, and with what refers to it; what it does not name stays away."""
    one, two, apart = [await api.image("a", None, seed) for seed in ("one", "two", "apart")]
    listing = await api.manifest("a", "1", index([manifest_descriptor(each.content) for each in (one, two)]))
    signature = await api.artifact("a", manifest_descriptor(listing.content), "application/x.signature")
    for each in (listing, one, two, apart, signature):
        await go(keeper, clock, each)
    for _ in range(2):
        clock.advance(DAY + 1)
        await keeper.collect()
    results = await undo(keeper.registry, digest=listing.digest)
    manifests = [result.sentence.split()[1] for result in results if result.sentence.startswith("manifest")]
    assert {result.fate for result in results} == {"restored"}
    assert set(manifests) == {f"a@{each.digest}" for each in (one, two, listing, signature)}
    assert manifests.index(f"a@{listing.digest}") > max(manifests.index(f"a@{each.digest}") for each in (one, two))
    await collect_all(keeper, clock)
    assert [each["digest"] for each in await api.referrers("a", listing.digest)] == [signature.digest]
    for each in (one, two, listing, signature):
        assert (await api.get(f"/v2/a/manifests/{each.digest}")).content == each.content
    assert (await api.get(f"/v2/a/manifests/{apart.digest}")).status_code == 404
    assert await violations(memory) == []


async def test_a_manifest_whose_blob_is_lost(api: Api, keeper: Keeper, clock: Clock) -> None:
    """Does not come back, and says what is missing; no tag points to it."""
    pushed = await api.image("a", "1")
    await go(keeper, clock, pushed)
    await collect_all(keeper, clock)
    results = await undo(keeper.registry)
    assert [result.fate for result in results] == ["lost"] * 3
    assert results[-1].sentence.startswith(f"manifest a@{pushed.digest} cannot come back: the repository lacks sha256:")
    assert (await api.get("/v2/a/manifests/1")).status_code == 404


async def test_what_a_client_deleted(api: Api, keeper: Keeper, clock: Clock) -> None:
    """Stays deleted, though the collector had condemned it before; so does what the journal never had."""
    await api.blob("a", CONTENT)
    pushed = await api.image("a", "1")
    clock.advance(DAY + 1)
    await keeper.collect()
    await api.delete(f"/v2/a/blobs/{DIGEST}")
    await api.delete(f"/v2/a/manifests/{pushed.digest}")
    assert await undo(keeper.registry, digest=DIGEST) == [
        Result("left", f"blob a@{DIGEST} was deleted by a client since")
    ]
    sentence = f"a@{pushed.digest} is not in the journal of the last 30 days"
    assert await undo(keeper.registry, digest=pushed.digest) == [Result("lost", sentence)]
    assert await undo(keeper.registry, "b") == [Result("lost", "b is not in the journal of the last 30 days")]


async def test_a_condemned_manifest(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """Is revived with all steps of a push, so that a child that was condemned with it lives too; its tags never left it."""
    child = await api.image("a", None)
    listing = await api.manifest("a", "1", index([manifest_descriptor(child.content)]))
    for pushed in (child, listing):
        await condemn(keeper, clock, memory, pushed)
    results = await undo(keeper.registry, digest=listing.digest)
    assert fates(results) == [("revived", f"a@{each.digest}") for each in (child, listing)]
    for pushed in (child, listing):
        found = await memory.get(layout.manifest_key(NAME, Digest.parse(pushed.digest)))
        decoded = decode_manifest(found)
        assert decoded is not None
        assert decoded[0].state == "live"
    assert (await api.get("/v2/a/manifests/1")).content == listing.content


async def test_a_damaged_journal(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """Is named, and what other pages have comes back all the same; what is older than 30 days is not looked at."""
    await buried(api, keeper, clock)
    damaged = layout.journal_key(clock(), "0" * 16)
    await memory.put(damaged, b"not a page of any journal")
    results = await undo(keeper.registry)
    assert [result.fate for result in results] == ["lost", "restored"]
    assert damaged in results[0].sentence
    clock.advance(KEPT + DAY)
    assert await undo(keeper.registry) == [Result("lost", "a is not in the journal of the last 30 days")]


@pytest.mark.parametrize("days", [0, 1])
async def test_a_collection_at_any_moment_of_an_undo(days: int) -> None:
    """What is said to be back is back, and stays for a grace period; nothing dangles, whatever the collector does meanwhile."""
    for at in range(100):
        clock = Clock()
        memory = MemoryStore(clock)
        world = World(memory, clock)
        async with world.gateway() as api:
            keeper = await keeper_of(world)
            pushed = await api.image("a", "1")
            await go(keeper, clock, pushed)
            for _ in range(2):
                clock.advance(DAY + 1)
                await keeper.collect()
            clock.advance(days * HOUR)
            slow, counted = interrupted(memory, at, keeper.collect)
            registry = await registry_of(world, slow)
            results = await undo(registry)
            assert await violations(memory, raced=True) == []
            if counted.count <= at:
                break
            if all(result.fate != "lost" for result in results):
                clock.advance(DAY - 2 * HOUR)
                await keeper.collect()
                await keeper.collect()
                assert (await api.get("/v2/a/manifests/1")).content == pushed.content
                for number in range(2):
                    digest = Digest.of(f" {number}".encode())
                    assert (await api.get(f"/v2/a/blobs/{digest}")).status_code == 200
    assert 20 < at < 99


async def bring_back(world: World, results: list[Result]) -> None:
    """Undo all, in a process of its own."""
    results += await undo(await registry_of(world))


@pytest.mark.parametrize("phase", [1, 2, 3])
async def test_an_undo_at_any_moment_of_a_collection(phase: int) -> None:
    """Rules 3, 4 and 5: whatever the collector has judged before it fell asleep, what was brought back is there when it has ended.

    Phase 1 condemns, 2 buries, and 3 removes the bytes.
    """
    said = set()
    for at in range(100):
        clock = Clock()
        memory = MemoryStore(clock)
        world = World(memory, clock)
        async with world.gateway() as api:
            keeper = await keeper_of(world)
            await api.blob("a", CONTENT)
            for _ in range(phase - 1):
                clock.advance(DAY + 1)
                await keeper.collect()
            clock.advance(DAY + 1)
            results: list[Result] = []
            sleeper, counted = interrupted(memory, at, partial(bring_back, world, results))
            slow = Keeper(await registry_of(world, sleeper))
            counted.count = 0
            await slow.collect()
            if counted.count <= at:
                break
            said |= {result.fate for result in results}
            assert await violations(memory, raced=True) == []
            if {result.fate for result in results} & {"revived", "restored", "there"}:
                assert (await api.get(f"/v2/a/blobs/{DIGEST}")).content == CONTENT
    assert 5 < at < 99
    expected = {1: {"lost", "there", "revived"}, 2: {"revived", "restored"}, 3: {"restored", "lost"}}
    assert said == expected[phase]


async def test_a_damaged_tombstone(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """Is not that of the journal: a client may have deleted the blob since, so it stays away."""
    await buried(api, keeper, clock)
    (key,) = await keys(memory, layout.links_prefix(DIGEST))
    await memory.put(key, b"\xff" + (await memory.get(key)).body[1:])
    assert [result.fate for result in await undo(keeper.registry)] == ["left"]


async def test_a_condemned_manifest_that_a_client_deleted(
    api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """Stays deleted: the journal has no tombstone of its own to compare with."""
    pushed = await api.image("a", "1")
    await condemn(keeper, clock, memory, pushed)
    await api.delete(f"/v2/a/manifests/{pushed.digest}")
    assert fates(await undo(keeper.registry)) == [("left", f"a@{pushed.digest}")]
    assert (await api.get(f"/v2/a/manifests/{pushed.digest}")).status_code == 404


async def test_a_condemned_manifest_whose_tag_a_client_deleted(
    api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """Lives on without it: the journal only says that it had the tag once."""
    pushed = await api.image("a", "1")
    await api.manifest("a", "2", pushed.content)
    await condemn(keeper, clock, memory, pushed)
    await api.delete("/v2/a/manifests/2")
    assert fates(await undo(keeper.registry)) == [("revived", f"a@{pushed.digest}")]
    assert await api.tags("a") == ["1"]


async def test_a_blob_that_was_buried_again(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """Comes back again: its tombstone is that of the latest page."""
    await buried(api, keeper, clock)
    for _ in range(2):
        assert fates(await undo(keeper.registry, digest=DIGEST)) == [("restored", f"a@{DIGEST}")]
        for _ in range(2):
            clock.advance(DAY + 1)
            await keeper.collect()
        assert ("bury", "/in/") in keeper.steps


async def test_bytes_of_which_the_latest_were_damaged(
    api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """Come back from where a link had them before."""
    await buried(api, keeper, clock)
    (old,) = await keys(memory, "data/")
    assert fates(await undo(keeper.registry, digest=DIGEST)) == [("restored", f"a@{DIGEST}")]
    sound = (await memory.get(old)).body
    for _ in range(2):
        clock.advance(DAY + 1)
        await keeper.collect()
    for key in await keys(memory, "data/"):
        await memory.put(key, b"a LAYER")
    await memory.put(old, sound)
    assert fates(await undo(keeper.registry, digest=DIGEST)) == [("restored", f"a@{DIGEST}")]
    assert (await api.get(f"/v2/a/blobs/{DIGEST}")).content == CONTENT
