"""What goes, when, and why: one rule of docs/design.md, Removal, after the other. A day is the grace period, two an upload's expiry."""

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import pytest

from storage import layout
from storage.errors import Busy
from storage.evidence import Evidence, KnownManifest, Unreadable
from storage.lease import Lease
from storage.objects.contract import Capabilities, IncompleteUpload, ObjectInfo, StoredObject
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.periods import Periods
from storage.records import CatalogMarker, Instance, changed, decode_manifest, encode, encode_manifest
from storage.references import Digest, RepositoryName
from storage.registry import Rules
from storage.removals import KEPT, Journal
from storage.shelf import Context
from tests.collection.conftest import DAY, HOUR, Keeper, keeper_of, kind_of
from tests.invariants import sealed
from tests.protocol.conftest import keys
from tests.protocol.documents import descriptor, image
from tests.protocol.serving import Api, Clock, World
from tests.scrub.planting import amend

LINK, AT, DATA, TAG, REFERRER, MARKER = "/in/", "/at/", "data", "_tags", "_referrers", "catalog"


async def live(memory: MemoryStore, prefix: str) -> list[str]:
    """The keys below a prefix that are no tombstones."""
    return [info.key async for info in memory.list(prefix) if info.size != 16]


async def test_what_is_referenced_stays(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """However old, and however often it is collected; nothing is written but the collector's own state."""
    pushed = await api.image("a", "1", layers=3)
    before = {key: (await memory.get(key)).info.etag for key in await keys(memory) if not key.startswith("collector/")}
    for _ in range(5):
        clock.advance(10 * DAY)
        found = await keeper.collect()
        assert (keeper.seen, found.problems) == ([], [])
    after = {key: (await memory.get(key)).info.etag for key in await keys(memory) if not key.startswith("collector/")}
    assert before == after
    assert (await api.get(f"/v2/a/manifests/{pushed.digest}")).content == pushed.content


async def test_the_life_of_garbage(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """I5: condemned after a grace period, buried after another, its bytes gone with the pass after that, tombstones a day later."""
    pushed = await api.image("a", "1", layers=1)
    await api.delete(f"/v2/a/manifests/{pushed.digest}")
    assert (await keeper.collect()).problems == []
    assert keeper.steps == []
    clock.advance(DAY + 1)
    await keeper.collect()
    condemned = [("condemn", LINK), ("condemn", LINK), ("condemn", MARKER)]
    assert keeper.steps == [*condemned, ("purge", "_manifests"), ("purge", TAG)]
    await keeper.collect()
    assert keeper.steps == []
    clock.advance(DAY + 1)
    await keeper.collect()
    assert keeper.steps == [("bury", LINK), ("bury", LINK), ("bury", MARKER)]
    clock.advance(HOUR)
    await keeper.collect()
    assert keeper.steps == [("delete", AT), ("delete", AT)]
    assert await keys(memory, "data/") == []
    assert await live(memory, "blobs/") == []
    clock.advance(DAY + 1)
    await keeper.collect()
    assert keeper.steps == [("purge", LINK), ("purge", LINK), ("purge", MARKER)]
    assert {key.split("/")[0] for key in await keys(memory)} == {"collector", "keys", "moorage.json"}


async def test_requests(api: Api, keeper: Keeper, metered: MeteredStore, clock: Clock) -> None:
    """20 manifests of 5 layers: the first collection reads each once, the second none."""
    for number in range(20):
        await api.image("a", f"t{number}", str(number), layers=5)
    clock.advance(3 * DAY)
    counts = []
    for _ in range(2):
        metered.requests.clear()
        read = (await keeper.collect()).manifests_read
        counts.append((read, metered.requests.total(), dict(metered.requests)))
    print(counts)
    assert counts[0][:2] == (20, 29)
    assert counts[1][:2] == (0, 8)


async def collected(keeper: Keeper, clock: Clock) -> list[list[tuple[str, str]]]:
    """What four runs do, a grace period apart."""
    steps = []
    for _ in range(4):
        clock.advance(DAY + HOUR)
        await keeper.collect()
        steps.append(keeper.steps)
    return steps


async def test_who_is_told_that_a_condemned_blob_exists_has_time(api: Api, keeper: Keeper, clock: Clock) -> None:
    """Rule 2: HEAD revives it, so that another grace period begins; a push of it does so too."""
    blob = await api.blob("a", b"x")
    clock.advance(DAY + 1)
    await keeper.collect()
    assert keeper.steps == [("condemn", LINK)]
    clock.advance(DAY - 1)
    assert (await api.head(f"/v2/a/blobs/{blob}")).status_code == 200
    clock.advance(DAY - 1)
    await keeper.collect()
    assert keeper.steps == []
    clock.advance(2)
    await keeper.collect()
    assert keeper.steps == [("condemn", LINK)]
    await api.blob("a", b"x")
    clock.advance(DAY - 1)
    await keeper.collect()
    assert keeper.steps == []


async def test_a_condemned_blob_that_is_referenced_again_stays(api: Api, keeper: Keeper, clock: Clock) -> None:
    """Rule 1: the push of a manifest revives what it needs."""
    await api.blob("a", b"config")
    clock.advance(DAY + 1)
    await keeper.collect()
    assert keeper.steps == [("condemn", LINK)]
    pushed = await api.manifest("a", "1", image(descriptor(b"config"), []))
    assert await collected(keeper, clock) == [[], [], [], []]
    assert (await api.get(f"/v2/a/manifests/{pushed.digest}")).status_code == 200


async def test_each_repository_needs_its_own_link(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """A blob that one repository references and another only has: the other loses its link, the bytes stay."""
    await api.image("a", "1", "seed")
    await api.blob("b", b"seed 0")
    assert await collected(keeper, clock) == [[("condemn", LINK)], [("bury", LINK)], [("purge", LINK)], []]
    assert len(await keys(memory, "data/")) == 2


async def test_what_is_named_counts_whoever_may_want_it(api: Api, keeper: Keeper, clock: Clock) -> None:
    """A layer that is to be found elsewhere, and need not be here, is kept all the same once it was pushed."""
    for content in (b"config", b"layer"):
        await api.blob("a", content)
    layer = {**descriptor(b"layer"), "urls": ["http://elsewhere.test/layer"]}
    await api.manifest("a", "1", image(descriptor(b"config"), [layer]))
    assert await collected(keeper, clock) == [[], [], [], []]


async def test_a_condemned_manifest_is_evidence(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """Until it is a tombstone it can be pulled, so its blobs stay."""
    pushed = await api.image("a", "1")
    key = layout.manifest_key(RepositoryName("a"), Digest.parse(pushed.digest))
    name, digest = RepositoryName("a"), Digest.parse(pushed.digest)
    header = (await keeper.registry.manifests.get(name, digest)).header
    fields = json.loads(encode(header)) | {"state": "condemned"}
    await memory.put(key, sealed(fields) + b"\n" + pushed.content)
    assert await collected(keeper, clock) == [[], [], [], []]


async def test_a_manifest_that_cannot_be_read_blocks_its_repository(
    api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """It is named, and nothing of its repository goes, whatever else is collected."""
    pushed = await api.image("a", "1")
    for name in ("a", "b"):
        await api.blob(name, b"unreferenced")
    key = layout.manifest_key(RepositoryName("a"), Digest.parse(pushed.digest))
    await memory.put(key, (await memory.get(key)).body[:-1] + b"x")
    clock.advance(DAY + 1)
    found = await keeper.collect()
    assert [removal.repository for removal, _ in keeper.seen] == ["b"]
    assert len(found.problems) == 1
    assert key in found.problems[0]
    assert "repository a" in found.problems[0]
    assert await collected(keeper, clock) == [[("bury", LINK)], [("purge", LINK)], [], []]
    assert len([key for key in await live(memory, "blobs/") if key.endswith("/in/a")]) == 3


async def test_a_dead_tag_on_a_manifest_that_rots_is_left_alone(
    api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore, world: World
) -> None:
    """What is known of the manifest from an earlier run is no longer there to be read: that is named, and all else is collected."""
    pushed = await api.image("a", "1")
    await api.blob("c", b"unreferenced")
    await api.delete(f"/v2/a/manifests/{(await api.image('a', '2', 'other')).digest}")
    await keeper.collect()
    await amend(memory, "repositories/a/_tags/1", generation="f" * 16)
    key = layout.manifest_key(RepositoryName("a"), Digest.parse(pushed.digest))

    class Rotten(MemoryStore):
        """Gives other bytes of the manifest than were written, under the same etag."""

        async def get(self, wanted: str) -> StoredObject:
            found = await super().get(wanted)
            return changed(found, body=found.body[:-1] + b"?") if wanted == key else found

    rotten = Rotten(clock)
    rotten._objects = memory._objects  # noqa: SLF001 - what it gives is all that is different
    clock.advance(2 * DAY)
    later = await keeper_of(World(rotten, clock, world.nonces))
    [problem] = (await later.collect()).problems
    assert key in problem
    assert "repositories/a/_tags/1 was left alone" in problem
    assert ("condemn", LINK) in later.steps


@pytest.mark.parametrize("key", ["repositories/a/_manifests/sha256/xyz", "repositories/a/_manifests/md5/00"])
@pytest.mark.parametrize("body", [b"something else that is long enough", b"as a tombstone: "])
async def test_a_foreign_manifest_blocks_its_repository(
    api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore, key: str, body: bytes
) -> None:
    """A newer moorage may know what it references."""
    await api.blob("a", b"x")
    await memory.put(key, body)
    clock.advance(DAY + 1)
    assert len((await keeper.collect()).problems) == 1
    assert keeper.seen == []


@pytest.mark.parametrize("below", ["at/not-ours", "in/not ours", "elsewhere/x"])
@pytest.mark.parametrize("body", [b"something else that is long enough", b"as a tombstone: "])
async def test_a_foreign_key_below_a_digest_keeps_all_uploads(
    api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore, below: str, body: bytes
) -> None:
    """It may be an instance that names bytes, so none are taken for unnamed; it is named and stays."""
    await api.patch(await api.begin("a"), content=b"abandoned")
    key = layout.blob_prefix(Digest.of(b"x")) + below
    await memory.put(key, body)
    clock.advance(3 * DAY)
    problems = (await keeper.collect()).problems
    assert len(problems) == 1
    assert key in problems[0]
    assert keeper.seen == []
    await memory.delete(key)
    await keeper.collect()
    assert keeper.steps == [("delete", DATA)]


async def test_a_foreign_link_keeps_the_bytes(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """A newer moorage may know what it says."""
    await api.blob("a", b"x")
    key = f"{layout.links_prefix(Digest.of(b'x'))}not ours"
    await memory.put(key, b"something else that is long enough")
    await api.delete(f"/v2/a/blobs/{Digest.of(b'x')}")
    clock.advance(3 * DAY)
    assert len((await keeper.collect()).problems) == 1
    assert ("delete", AT) not in keeper.steps
    await memory.delete(key)
    await keeper.collect()
    assert keeper.steps == [("delete", AT)]


async def test_uploads_that_were_given_up(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """Rule 6: all that no blob was made of goes once its session is over, by the clocks of any gateways, and not before."""
    abandoned = await api.begin("a")
    for chunk in range(40):  # so many that the list of segments is in the bucket
        abandoned = (await api.patch(abandoned, content=b"%d" % chunk)).headers["Location"]
    cancelled = (await api.patch(await api.begin("a"), content=b"cancelled")).headers["Location"]
    assert (await api.delete(cancelled)).status_code == 204
    before = await keys(memory, "data/")
    assert any("index-" in key for key in before)
    assert any("cancelled" in key for key in before)
    clock.advance(2 * DAY + 60 + 15 * 60)
    await keeper.collect()
    assert keeper.seen == []
    clock.advance(1)
    await keeper.collect()
    assert sorted(removal.key for removal, _ in keeper.seen) == before
    assert await keys(memory, "data/") == []


async def test_what_was_condemned_under_a_push_is_live_again(
    world: World, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """A manifest that rests on a view from before names a condemned link; when it goes, the link still has two grace periods."""
    async with world.gateway() as api:
        layers = [descriptor(b"old %d" % number) for number in range(2)]
        for number in range(2):
            await api.blob("a", b"old %d" % number)
        clock.advance(3 * DAY)
        for layer in layers:
            assert (await api.head(f"/v2/a/blobs/{layer['digest']}")).status_code == 200
        await keeper.collect()
        assert keeper.steps == [("condemn", LINK)] * 2
        clock.advance(30)
        pushed = await api.manifest("a", "1", image(layers[0], layers[1:]))
        clock.advance(DAY)
        await Journal(context_of(keeper)).write("retention", clock.now, [])
        torn = layout.journal_key(clock.now + 1, "ab" * 8)
        await memory.put(torn, b"{")
        clock.advance(DAY)
        assert [torn in problem for problem in (await keeper.collect()).problems] == [True]
        assert keeper.seen == []
        clock.advance(3 * DAY)
        assert (await api.delete(f"/v2/a/manifests/{pushed.digest}")).status_code == 202
    await keeper.collect()
    assert keeper.steps == [("condemn", LINK)] * 2
    assert await live(memory, "blobs/") == await keys(memory, "blobs/")


async def test_a_session_lasts_as_long_as_the_gateway_says_that_began_it(
    world: World, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """However long the collector's own sessions would: two that are set up differently lose nothing."""
    async with world.gateway(rules=Rules(Periods(upload_expiry=9 * DAY))) as api:
        location = (await api.patch(await api.begin("a"), content=b"first ")).headers["Location"]
        clock.advance(8 * DAY)
        await keeper.collect()
        assert keeper.seen == []
        await api.finish(
            (await api.patch(location, content=b"last")).headers["Location"], str(Digest.of(b"first last"))
        )
    clock.advance(2 * DAY)
    await keeper.collect()
    assert keeper.steps == [("condemn", LINK), ("delete", DATA), ("delete", DATA)]


async def test_an_upload_that_does_not_tell_when_its_session_ends(
    keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """It is of an earlier version, a gateway of which may still serve: it goes by its age."""
    await memory.put(layout.data_key(layout.Segment("ab" * 16, 0, "cd" * 8)), b"x")
    clock.advance(2 * DAY + 60 + 2 * 15 * 60)
    await keeper.collect()
    assert keeper.seen == []
    clock.advance(1)
    await keeper.collect()
    assert keeper.steps == [("delete", DATA)]


async def test_an_instance_that_never_got_a_link(keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore) -> None:
    """A gateway died between the two: it goes, with its bytes, once the session is over that could write the link."""
    segment = layout.Segment(layout.upload_until("ab" * 16, int(clock.now + 2 * DAY)), 0, "cd" * 8)
    await memory.put(layout.data_key(segment), b"x")
    record = Instance(layout.data_key(segment), 1, "ef" * 8)
    await memory.put(layout.instance_key(Digest.of(b"x"), segment), encode(record))
    clock.advance(2 * DAY + 60 + 15 * 60)
    await keeper.collect()
    assert keeper.seen == []
    clock.advance(1)
    await keeper.collect()
    assert keeper.steps == [("delete", AT)]
    assert await keys(memory, "data/") == []


async def test_of_two_instances_the_unneeded_one_goes(
    world: World, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """Pushes that raced left two: the one that no link names goes, and the other stays, whatever names it."""
    async with world.gateway() as api:
        pushed = await api.image("a", "1", "seed")
    digest = Digest.of(b"seed 0")
    needed = await keys(memory, layout.instances_prefix(digest))
    segment = layout.Segment("ab" * 16, 0, "cd" * 8)
    await memory.put(layout.data_key(segment), b"seed 0")
    spare = Instance(layout.data_key(segment), 6, "ef" * 8)
    await memory.put(layout.instance_key(digest, segment), encode(spare))
    clock.advance(3 * DAY)
    await keeper.collect()
    assert [removal.key for removal, _ in keeper.seen] == [layout.instance_key(digest, segment)]
    assert await keys(memory, layout.instances_prefix(digest)) == needed
    async with world.gateway() as api:
        for blob in (digest, Digest.of(b"seed 1")):
            assert (await api.get(f"/v2/a/blobs/{blob}")).status_code == 200
        assert (await api.get(f"/v2/a/manifests/{pushed.digest}")).status_code == 200


async def test_a_link_that_changed_lately_keeps_all_instances(
    api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """Rule 4: below a digest it must have been quiet, or a mount may be under way from what was there a moment ago."""
    await api.blob("a", b"x")
    clock.advance(3 * DAY)
    await api.delete(f"/v2/a/blobs/{Digest.of(b'x')}")
    clock.advance(15 * 60)
    await keeper.collect()
    assert keeper.seen == []
    clock.advance(1)
    await keeper.collect()
    assert keeper.steps == [("delete", AT)]


class Slow(MemoryStore):
    """A store whose listing of blobs takes as long as it is told, the first times."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.time = clock
        self.delays: list[float] = []

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """See ObjectStore.list."""
        found = [info async for info in super().list(prefix, start_after=start_after, limit=limit)]
        if prefix == layout.BLOBS_PREFIX and self.delays:
            self.time.advance(self.delays.pop())
        for info in found:
            yield info


@pytest.mark.parametrize(("delays", "listings"), [([3600.0], 1), ([3601.0], 2), ([9000.0, 9000.0], 3)])
async def test_what_was_seen_long_ago_is_no_verdict(clock: Clock, delays: list[float], listings: int) -> None:
    """Rule 4: all answers came within an hour of T0, or the digests are looked at again."""
    store = Slow(clock)
    metered = MeteredStore(store)
    world = World(metered, clock)
    keeper = await keeper_of(world)
    async with world.gateway() as api:
        await api.blob("a", b"x")
        clock.advance(3 * DAY)
        await api.delete(f"/v2/a/blobs/{Digest.of(b'x')}")
    clock.advance(HOUR)
    store.delays = delays
    metered.requests.clear()
    await keeper.collect()
    assert keeper.steps == [("delete", AT)]
    assert metered.requests["LIST"] == 2 + listings


async def test_what_a_crash_leaves_of_a_deleted_manifest(
    api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """Rule 8: tags and referrer entries of a generation that is no more go at once, and no others."""
    subject = await api.image("a", "1", "subject")
    kept = await api.image("a", "2", "kept")
    artifact = await api.artifact("a", descriptor(subject.content, subject.media_type), "application/x")
    for digest in (subject.digest, artifact.digest):
        await die_deleting(memory, digest)
    assert await api.tags("a") == ["1", "2"]
    await keeper.collect()
    assert keeper.steps == [("bury", REFERRER), ("bury", TAG)]
    assert await api.tags("a") == ["2"]
    assert (await api.get("/v2/a/manifests/2")).content == kept.content


async def test_a_tag_that_was_pushed_again_stays(api: Api, keeper: Keeper, memory: MemoryStore) -> None:
    """Pushed between the listing and the look at it: what a listing lacks is looked at."""
    await api.image("a", "1")
    listed = [info async for info in memory.list("") if "_manifests" not in info.key]

    async def blind(*_: object, **__: object) -> AsyncGenerator[object]:
        for info in listed:
            yield info

    original, memory.list = memory.list, blind  # type: ignore[assignment,method-assign]
    await keeper.collect()
    memory.list = original  # type: ignore[method-assign]
    assert keeper.seen == []
    assert await api.tags("a") == ["1"]


async def test_a_tag_of_an_older_generation_goes(api: Api, keeper: Keeper, memory: MemoryStore) -> None:
    """Its manifest was deleted by a gateway that died, and pushed again under another tag."""
    pushed = await api.image("a", "1")
    await api.manifest("a", "2", pushed.content)
    await die_deleting(memory, pushed.digest)
    await api.http("DELETE", f"/v2/a/manifests/{pushed.digest}")  # so that the gateway looks again
    await api.manifest("a", "2", pushed.content)
    await keeper.collect()
    assert keeper.steps == [("bury", TAG)]
    assert await api.tags("a") == ["2"]


async def test_a_dead_tag_that_another_record_names_goes(api: Api, keeper: Keeper, memory: MemoryStore) -> None:
    """It was moved from there to a manifest which a gateway that died has deleted; the record that it left names it for ever."""
    left = await api.image("a", "1", "left")
    deleted = await api.image("a", "1", "deleted")
    await die_deleting(memory, deleted.digest)
    await keeper.collect()
    assert keeper.steps == [("bury", TAG)]
    assert await api.tags("a") == []
    assert (await api.get(f"/v2/a/manifests/{left.digest}")).content == left.content


async def test_a_referrer_entry_of_an_older_generation_goes(api: Api, keeper: Keeper, memory: MemoryStore) -> None:
    """Its manifest was deleted by a gateway that died, and another died pushing it again before it came to the entry."""
    subject = await api.image("a", "1", "subject")
    pushed = await api.artifact("a", descriptor(subject.content, subject.media_type), "application/x")
    found = await memory.get(layout.manifest_key(RepositoryName("a"), Digest.parse(pushed.digest)))
    decoded = decode_manifest(found)
    assert decoded is not None
    await die_deleting(memory, pushed.digest)
    header = changed(decoded[0], generation="another", nonce="another")
    await memory.put(found.info.key, encode_manifest(header, decoded[1]))
    await keeper.collect()
    assert keeper.steps == [("bury", REFERRER)]


async def test_a_tag_is_read_once_a_move(api: Api, keeper: Keeper, metered: MeteredStore) -> None:
    """And only where content was ever deleted, for elsewhere there are no dead ones."""

    async def reads() -> int:
        metered.requests.clear()
        await keeper.collect()
        assert keeper.seen == []
        return metered.requests["GET"]

    for number in range(10):
        await api.image("a", f"t{number}", str(number))
    await reads()
    usual = await reads()
    other = await api.image("a", None, "other")
    await api.delete(f"/v2/a/manifests/{other.digest}")
    assert await reads() > usual + 10
    assert await reads() <= usual + 2  # parts of the evidence
    await api.image("a", "t0", "1")
    assert await reads() <= usual + 2 + 2  # the tag, and the manifest that now names it


async def test_a_dead_tag_that_moves_while_it_is_judged_stays(
    api: Api, keeper: Keeper, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pushed again between the walk's look at it and the last one."""
    deleted = await api.image("a", "1", "deleted")
    await die_deleting(memory, deleted.digest)
    get = memory.get
    moved: list[str] = []

    async def late(key: str) -> StoredObject:
        found = await get(key)
        if key == layout.tag_key(RepositoryName("a"), "1") and not moved:
            moved.append(key)
            await api.image("a", "1", "another")
        return found

    monkeypatch.setattr(memory, "get", late)
    await keeper.collect()
    assert (moved, keeper.seen) == ([layout.tag_key(RepositoryName("a"), "1")], [])
    assert await api.tags("a") == ["1"]


class Uploading(MemoryStore):
    """A store in which uploads were broken off."""

    def __init__(self, clock: Clock, uploads: list[IncompleteUpload]) -> None:
        super().__init__(clock)
        self.uploads = uploads

    async def list_incomplete_uploads(self) -> AsyncGenerator[IncompleteUpload]:
        """See ObjectStore.list_incomplete_uploads."""
        for upload in list(self.uploads):
            yield upload

    async def abort_incomplete_upload(self, upload: IncompleteUpload) -> None:
        """See ObjectStore.abort_incomplete_upload."""
        self.uploads.remove(upload)


async def test_multipart_uploads_that_were_broken_off(clock: Clock) -> None:
    """Those that no session can complete any more are aborted, whenever they began, old ones of a probe, and no others of the bucket."""
    over = int(clock.now) - 60 - 15 * 60
    ended, open_ = (f"data/{layout.upload_until('ab' * 16, end)}/{0:013}-cd" for end in (over - 1, over))
    gone = [IncompleteUpload(ended, "1", clock.now), IncompleteUpload("probe/x", "2", over - DAY - 1)]
    kept = [
        IncompleteUpload(open_, "3", clock.now - 9 * DAY),
        IncompleteUpload("probe/y", "4", over - DAY),
        IncompleteUpload("backup/db.tar", "5", clock.now - 9 * DAY),
    ]
    store = Uploading(clock, [*gone, *kept])
    keeper = await keeper_of(World(store, clock))
    await keeper.collect()
    assert [(removal.step, removal.key) for removal, _ in keeper.seen] == [("abort", each.key) for each in gone]
    assert store.uploads == kept


class Poorer(MemoryStore):
    """A store without conditional DELETE, as most are."""

    @property
    def capabilities(self) -> Capabilities:
        """See ObjectStore.capabilities."""
        return replace(self._found, conditional_delete=False)

    @capabilities.setter
    def capabilities(self, found: Capabilities) -> None:
        self._found = found


async def test_tombstones_stay_where_they_cannot_go_safely(clock: Clock) -> None:
    """Rule 7: without conditional DELETE only while no gateway serves, and then too only old ones."""
    store = Poorer(clock)
    world = World(store, clock)
    keeper = await keeper_of(world)
    async with world.gateway() as api:
        pushed = await api.image("a", "1")
        await api.delete(f"/v2/a/manifests/{pushed.digest}")
    await keeper.collect(offline=True)
    assert keeper.seen == []
    clock.advance(DAY + 1)
    await keeper.collect()
    assert {step for step, _ in keeper.steps} == {"condemn"}
    await keeper.collect(offline=True)
    assert keeper.steps == [("purge", "_manifests"), ("purge", TAG)]


async def test_a_dry_run_says_what_then_goes(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """At every stage of the life of garbage; and does nothing but keep the collector's own state."""
    pushed = await api.image("a", "1", layers=2)
    await api.image("b", "1", "other")
    await api.patch(await api.begin("a"), content=b"abandoned")
    await api.delete(f"/v2/a/manifests/{pushed.digest}")
    stages = 0
    for _ in range(6):
        clock.advance(DAY + HOUR)
        before = {key: (await memory.get(key)).info for key in await keys(memory) if not key.startswith("collector/")}
        await keeper.collect(dry_run=True)
        planned = [removal for removal, outcome in keeper.seen if outcome == "planned"]
        assert len(planned) == len(keeper.seen)
        after = {key: (await memory.get(key)).info for key in await keys(memory) if not key.startswith("collector/")}
        assert before == after
        await keeper.collect()
        assert [removal for removal, outcome in keeper.seen if outcome == "done"] == planned
        stages += bool(planned)
    assert stages == 3


async def test_what_changes_meanwhile_stays(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """Every change is a compare-and-swap on what was judged."""
    blob = await api.blob("a", b"x")
    clock.advance(2 * DAY)
    await keeper.collect()
    clock.advance(2 * DAY)
    write = Journal.write

    async def revive_first(*args: object, **named: object) -> None:
        await api.head(f"/v2/a/blobs/{blob}")
        await write(*args, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "write", revive_first)
        await keeper.collect()
    assert [outcome for _, outcome in keeper.seen] == ["changed"]
    clock.advance(100)
    assert (await api.head(f"/v2/a/blobs/{blob}")).status_code == 200


async def test_the_journal_is_written_before_and_kept_for_30_days(
    api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """It has what lay there; old pages go with a later run."""
    await api.blob("a", b"x")
    clock.advance(DAY + 1)
    link = (await memory.get(layout.link_key(Digest.of(b"x"), RepositoryName("a")))).body
    await keeper.collect()
    journal = Journal(context_of(keeper))
    (page,) = [page async for page in journal.pages()]
    (removal,) = page.removals
    assert (page.work, page.at, removal.step, removal.record) == ("collector", clock.now, "condemn", link)
    clock.advance(KEPT)
    await keeper.collect()
    assert len(await keys(memory, layout.JOURNAL_PREFIX)) == 2
    clock.advance(1)
    await keeper.collect(dry_run=True)
    assert len(await keys(memory, layout.JOURNAL_PREFIX)) == 2
    await keeper.collect()
    assert [page.removals[0].step async for page in journal.pages()] == ["bury"]
    await keeper.collect()
    clock.advance(HOUR)
    await keeper.collect()
    assert [page.removals[0].step async for page in journal.pages()] == ["bury", "delete"]


async def test_two_runs_do_not_do_the_same_work(world: World, keeper: Keeper, clock: Clock) -> None:
    """The second is told so, until the first has given no sign of life for a while; then the first is told."""
    other = await keeper_of(world)
    lease = Lease(context_of(other), "collector")
    with pytest.raises(Busy, match="under way"):
        async with lease.held():
            await keeper.collect()
    async with lease.held():
        clock.advance(301)
        await keeper.collect()
        with pytest.raises(Busy, match="taken over"):
            await lease.renew()
    await keeper.collect()


async def test_a_manifest_is_read_once_a_change(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """However often is collected, by whomever; what was lost or damaged of the evidence is read again."""
    for number in range(3):
        await api.image("a", f"t{number}", str(number))
    assert [(await keeper.collect()).manifests_read for _ in range(2)] == [3, 0]
    await api.image("a", "new", "0")
    await api.image("a", "t3", "3")
    assert [(await keeper.collect()).manifests_read for _ in range(2)] == [2, 0]
    first, second = await keys(memory, layout.EVIDENCE_PREFIX)
    await memory.put(first, (await memory.get(first)).body[:-30])
    await memory.delete(second)
    assert [(await keeper.collect()).manifests_read for _ in range(2)] == [4, 0]


async def test_the_evidence_stays_small(api: Api, keeper: Keeper, memory: MemoryStore) -> None:
    """Many parts are joined into one, without what is gone."""
    digests = []
    for number in range(18):
        digests.append((await api.image("a", None, str(number))).digest)
        await keeper.collect()
        if number == 10:
            await api.delete(f"/v2/a/manifests/{digests[0]}")
    parts = await keys(memory, layout.EVIDENCE_PREFIX)
    assert len(parts) == 2
    bodies = b"".join([(await memory.get(key)).body for key in parts])
    assert [Digest.parse(digest).hex.encode() in bodies for digest in digests] == [False, *[True] * 17]
    assert (await keeper.collect()).manifests_read == 0


async def die_deleting(memory: MemoryStore, digest: str) -> None:
    """What a gateway does that dies in a DELETE of a manifest: the marker is rewritten, the record gone, and nothing cleaned up."""
    name = RepositoryName("a")
    await memory.put(layout.catalog_key(name), encode(CatalogMarker("0123456789abcdef", deletions=True)))
    await memory.put(layout.manifest_key(name, Digest.parse(digest)), b"0" * 16)


async def test_what_is_read_together_is_bounded_in_bytes(
    api: Api, keeper: Keeper, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Manifests of megabytes are read by the few, and written down by the few: memory does not grow with their size."""
    for number in range(4):
        await api.image("a", None, str(number))
    together = []
    manifests = Evidence.manifests

    async def watched(evidence: Evidence, infos: Sequence[ObjectInfo]) -> list[KnownManifest | Unreadable]:
        together.append(len(infos))
        return await manifests(evidence, infos)

    monkeypatch.setattr(Evidence, "manifests", watched)
    monkeypatch.setattr("storage.evidence.BATCH_BYTES", 1_000)
    monkeypatch.setattr("storage.evidence.PART_BYTES", 1)
    await keeper.collect()
    assert together == [2, 2]
    assert len(await keys(memory, layout.EVIDENCE_PREFIX)) == 4


def context_of(keeper: Keeper) -> Context:
    """What the collector works with."""
    return keeper.registry.collector._context  # noqa: SLF001 - the test looks behind its face


async def test_of_two_instances_none_goes_while_a_link_cannot_be_read(
    world: World, keeper: Keeper, clock: Clock, memory: MemoryStore
) -> None:
    """Rule 4: what a damaged link names is not known, so it may be either of them."""
    async with world.gateway() as api:
        await api.image("a", "1", "seed")
    digest = Digest.of(b"seed 0")
    segment = layout.Segment("ab" * 16, 0, "cd" * 8)
    await memory.put(layout.data_key(segment), b"seed 0")
    spare = Instance(layout.data_key(segment), 6, "ef" * 8)
    await memory.put(layout.instance_key(digest, segment), encode(spare))
    (link,) = await keys(memory, layout.links_prefix(digest))
    await memory.put(link, (await memory.get(link)).body[:-1] + b"!")
    instances = await keys(memory, layout.instances_prefix(digest))
    clock.advance(3 * DAY)
    (problem,) = (await keeper.collect()).problems
    assert link in problem
    assert keeper.seen == []
    assert await keys(memory, layout.instances_prefix(digest)) == instances


@pytest.mark.parametrize("chunk", [1, 2, 3])
async def test_what_is_listed_in_chunks(
    api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Each chunk goes on right behind the one before: an instance that is not seen claims no bytes, which would go."""
    monkeypatch.setattr("storage.collection.verdicts.CHUNK", chunk)
    pushed = await api.image("a", "1", "kept", layers=3)
    for number in range(4):
        await api.blob("a", b"gone %d" % number)
    clock.advance(3 * DAY)
    await keeper.collect()
    assert keeper.steps == [("condemn", "/in/")] * 4
    clock.advance(DAY + HOUR)
    await keeper.collect()
    assert keeper.steps == [("bury", "/in/")] * 4
    clock.advance(HOUR)
    await keeper.collect()
    assert keeper.steps == [("delete", AT)] * 4
    assert len(await keys(memory, "data/")) == 4
    assert (await api.get(f"/v2/a/manifests/{pushed.digest}")).status_code == 200


async def test_a_repository_without_manifests_leaves_the_catalog_in_two_grace_periods(
    api: Api, keeper: Keeper, clock: Clock
) -> None:
    """Rule 3 for its marker: who has seen it live a moment ago relies on it, and writes none."""
    pushed = await api.image("a", "1")
    await api.delete(f"/v2/a/manifests/{pushed.digest}")
    for step in ("condemn", "bury"):
        clock.advance(DAY)
        await keeper.collect()
        assert (step, MARKER) not in keeper.steps
        clock.advance(1)
        await keeper.collect()
        assert (step, MARKER) in keeper.steps


async def test_the_record_of_bytes_goes_before_them(
    api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 4: a collector that dies between the two leaves bytes that nothing names, never a record of bytes that are gone."""
    delete_many = memory.delete_many
    gone: list[str] = []

    async def noted(names: Sequence[str]) -> None:
        gone.extend(kind_of(name) for name in names)
        await delete_many(names)

    await api.blob("a", b"x")
    clock.advance(3 * DAY)
    await api.delete(f"/v2/a/blobs/{Digest.of(b'x')}")
    clock.advance(HOUR)
    monkeypatch.setattr(memory, "delete_many", noted)
    await keeper.collect()
    assert gone == [AT, DATA]
