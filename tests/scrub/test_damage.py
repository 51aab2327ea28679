"""Every kind of damage: planted behind the gateway's back, found and named, mended, and the registry serves right afterwards."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from storage import layout
from storage.errors import UploadUnknown
from storage.objects.memory import MemoryStore
from storage.references import Digest
from storage.registry import Rules
from storage.scrub.findings import Kind
from storage.soundness import Soundness
from tests.invariants import violations
from tests.protocol.conftest import keys
from tests.protocol.serving import World
from tests.scrub.building import (
    APP,
    BLOB,
    LAYER,
    LAYER_DIGEST,
    LINK,
    OTHER,
    OTHER_BLOB,
    OTHER_LINK,
    build,
    bytes_key,
    unserved,
)
from tests.scrub.planting import (
    ChangingStore,
    Plant,
    amend,
    entomb,
    flip,
    flipped,
    forget_generation,
    forget_tags,
    harm_instance,
    instance,
    linked,
    lose,
    lose_instance,
    resize_instance,
    swap_instance,
)
from tests.scrub.running import registry, scrub

MENDED: Mapping[str, tuple[Plant, set[tuple[str, str]]]] = {
    "corrupt link": (
        lambda memory, built: flip(memory, LINK),
        {("corrupt-record", "quarantined"), ("lost-link", "mended")},
    ),
    "corrupt marker": (
        lambda memory, built: flip(memory, layout.catalog_key(APP)),
        {("corrupt-record", "quarantined"), ("missing-marker", "mended")},
    ),
    "corrupt referrer entry": (
        lambda memory, built: flip(memory, built.entry),
        {("corrupt-record", "quarantined"), ("missing-referrer", "mended")},
    ),
    "corrupt instance": (
        lambda memory, built: harm_instance(memory, flip),
        {("corrupt-record", "mended")},
    ),
    "an instance that names other bytes": (swap_instance, {("corrupt-record", "mended")}),
    "an instance turned into a tombstone": (
        lambda memory, built: harm_instance(memory, entomb),
        {("corrupt-record", "mended")},
    ),
    "lost instance": (lose_instance, {("dangling-link", "mended")}),
    "an instance of another size": (
        resize_instance,
        {("dangling-link", "mended")},
    ),
    "a link of another size": (
        lambda memory, built: amend(memory, LINK, size=7),
        {("dangling-link", "mended")},
    ),
    "a link to nothing": (
        lambda memory, built: amend(memory, LINK, key=f"data/{'0' * 32}/{0:013}-{'0' * 16}"),
        {("dangling-link", "quarantined"), ("lost-link", "mended")},
    ),
    "a link to no content at all": (
        lambda memory, built: amend(memory, LINK, key="moorage.json"),
        {("dangling-link", "quarantined"), ("lost-link", "mended")},
    ),
    "lost marker": (lambda memory, built: lose(memory, layout.catalog_key(APP)), {("missing-marker", "mended")}),
    "lost referrer entry": (lambda memory, built: lose(memory, built.entry), {("missing-referrer", "mended")}),
    "a referrer entry of another generation": (
        lambda memory, built: amend(memory, built.entry, generation="f" * 16),
        {("missing-referrer", "mended")},
    ),
    "a tag that its record does not name": (
        forget_tags,
        {("unlisted-tag", "mended")},
    ),
}


@pytest.mark.parametrize("damage", MENDED)
async def test_what_can_be_derived_is_mended(memory: MemoryStore, world: World, damage: str) -> None:
    """It MUST be found and named, nothing but scrub/ change without --repair, and everything be served again after it."""
    plant, outcomes = MENDED[damage]
    async with world.gateway() as api:
        built = await build(api)
        assert await unserved(api, built) == []
    key = await plant(memory, built)
    before = {key: (await memory.get(key)).body for key in await keys(memory)}
    found = await scrub(world)
    assert key in {finding.key for finding in found.findings}
    assert not found.report.is_sound
    after = {key: (await memory.get(key)).body for key in await keys(memory) if not key.startswith("scrub/")}
    assert after == {key: body for key, body in before.items() if not key.startswith("scrub/")}
    mended = await scrub(world, repair=True)
    assert mended.outcomes == outcomes
    assert mended.report.is_sound
    again = await scrub(world, repair=True)
    assert (again.findings, again.report.is_sound) == ([], True)
    assert await violations(memory) == []
    async with world.gateway() as api:
        assert await unserved(api, built) == []


async def test_a_tag_that_only_another_record_names_is_found(memory: MemoryStore, world: World) -> None:
    """Records name tags that were moved on since: of the one that a tag points to now, a delete MUST find it."""
    async with world.gateway() as api:
        await api.image(APP, "1", "an earlier one")
        built = await build(api)
    await forget_tags(memory, built)
    assert (await scrub(world, repair=True)).outcomes == {("unlisted-tag", "mended")}


async def test_a_corrupt_link_is_mended_by_a_copy_where_no_other_is_left(memory: MemoryStore, world: World) -> None:
    """Bytes that no live link names may be on their way out: they MUST be copied rather than linked."""
    async with world.gateway() as api:
        await build(api)
    old = await bytes_key(memory)
    await memory.put(OTHER_LINK, b"0" * 16)
    await flip(memory, LINK)
    mended = await scrub(world, repair=True)
    assert ("lost-link", "mended") in mended.outcomes
    async with world.gateway() as api:
        assert (await api.get(BLOB)).content == LAYER
        assert (await api.get(OTHER_BLOB)).status_code == 404
    assert old not in (await memory.get(LINK)).body.decode()


async def test_a_corrupt_marker_keeps_no_other_record_from_its_repair(memory: MemoryStore, world: World) -> None:
    """What goes from a repository is noted in its marker, which MUST be out of the way first."""
    async with world.gateway() as api:
        built = await build(api)
    for key in (LINK, built.record, layout.catalog_key(APP)):
        await flip(memory, key)
    mended = await scrub(world, repair=True)
    assert {each.key for each in mended.findings if each.outcome == "quarantined"} > {LINK, built.record}
    assert ("missing-marker", "mended") in mended.outcomes


async def test_links_that_lost_their_instance_share_one_copy(memory: MemoryStore, world: World) -> None:
    """I3: the collector may be about to remove the old bytes, so they are copied, once; nothing is written to the old keys."""
    async with world.gateway() as api:
        built = await build(api)
    old = await instance(memory)
    await lose(memory, old)
    await scrub(world, repair=True)
    assert await instance(memory) != old
    async with world.gateway() as api:
        assert await unserved(api, built) == []


@pytest.mark.parametrize("fields", [{"state": "condemned"}, {"key": f"data/{'0' * 32}/{0:013}-{'0' * 16}"}])
async def test_a_copy_is_shared_only_by_a_link_that_is_live_and_still_names_it(
    memory: MemoryStore, world: World, fields: dict[str, object]
) -> None:
    """Rule 5: the link that was mended first, which changes while the next one's bytes are read, MUST NOT be followed."""
    async with world.gateway() as api:
        await build(api)
        await lose(memory, await instance(memory))
        await scrub(world, repair=True, store=ChangingStore(memory, OTHER_LINK, fields, 3))
        assert await linked(memory, LINK) != await linked(memory, OTHER_LINK)
        assert (await api.get(BLOB)).content == LAYER


async def test_a_link_that_lost_its_instance_and_its_bytes_goes_into_quarantine(
    memory: MemoryStore, world: World
) -> None:
    """I4: no link is made to fit bytes that are damaged."""
    async with world.gateway() as api:
        await build(api)
    await memory.put(await bytes_key(memory), flipped(LAYER))
    await lose(memory, await instance(memory))
    mended = await scrub(world, repair=True)
    assert mended.outcomes == {("dangling-link", "quarantined")}
    async with world.gateway() as api:
        assert [(await api.get(path)).status_code for path in (BLOB, OTHER_BLOB)] == [404, 404]


@pytest.mark.parametrize("lost", ["link", "instance"])
async def test_a_copy_that_waits_too_long_is_not_published(
    memory: MemoryStore, world: World, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 6: a run that slept after a copy MUST not link to what the collector may have swept since."""
    async with world.gateway() as api:
        await build(api)
    if lost == "link":
        await memory.put(OTHER_LINK, b"0" * 16)
        await flip(memory, LINK)
    else:
        await lose(memory, await instance(memory))
    before = await keys(memory, layout.instances_prefix(LAYER_DIGEST))
    copy = Soundness.copy

    async def sleepy(self: Soundness, digest: Digest, key: str) -> Any:
        made = await copy(self, digest, key)
        world.clock.advance(3 * 24 * 3600)
        return made

    monkeypatch.setattr(Soundness, "copy", sleepy)
    with pytest.raises(UploadUnknown):
        await scrub(world, repair=True)
    assert await keys(memory, layout.instances_prefix(LAYER_DIGEST)) == before


@pytest.mark.parametrize("harm", ["flipped", "cut", "longer", "gone"])
async def test_a_corrupt_blob_answers_404_and_is_healed_by_the_next_push(
    memory: MemoryStore, world: World, harm: str
) -> None:
    """Wrong bytes MUST never be served; a push of the digest heals its repository, and the next scrub the others (I6)."""
    async with world.gateway() as api:
        built = await build(api)
    key = await bytes_key(memory)
    if harm == "gone":
        await memory.delete(key)
    else:
        harmed = {"flipped": flipped(LAYER), "cut": LAYER[:-1], "longer": LAYER + b"!"}[harm]
        await memory.put(key, harmed)
    kind = "missing-bytes" if harm == "gone" else "corrupt-bytes"
    for _ in range(2):  # what one run has found, the next one still knows
        found = await scrub(world)
        assert (found.kinds, found.report.is_sound) == ([kind], False)
        assert "repositories that have it: 2" in found.findings[0].why
    mended = await scrub(world, repair=True)
    assert mended.outcomes == {(kind, "quarantined")}
    assert not mended.report.is_sound  # it is lost until somebody pushes it
    async with world.gateway() as api:
        for path in (BLOB, OTHER_BLOB):
            assert [(await api.http(method, path)).status_code for method in ("HEAD", "GET")] == [404, 404]
    waiting = await scrub(world, repair=True)
    assert waiting.outcomes == {("missing-blob", "found"), (kind, "found")}
    assert [finding.is_note for finding in waiting.findings if finding.kind == kind] == [True]
    async with world.gateway() as api:
        await api.blob(APP, LAYER)
        assert (await api.get(BLOB)).content == LAYER
        assert (await api.get(OTHER_BLOB)).status_code == 404
    healed = await scrub(world, repair=True)
    assert ("lost-link", "mended") in healed.outcomes
    assert healed.report.is_sound
    async with world.gateway() as api:
        assert await unserved(api, built) == []
    assert not await keys(memory, layout.QUARANTINE_PREFIX)


async def test_a_link_to_damaged_bytes_that_comes_back_goes_again(memory: MemoryStore, world: World) -> None:
    """Whoever adopted the bytes right before they were put in quarantine MUST not keep them."""
    async with world.gateway() as api:
        await build(api)
    link = (await memory.get(LINK)).body
    await memory.put(await bytes_key(memory), flipped(LAYER))
    await scrub(world, repair=True)
    await memory.put(LINK, link)
    found = await scrub(world)
    assert ("quarantined-bytes", "found") in found.outcomes
    await scrub(world, repair=True)
    async with world.gateway() as api:
        assert (await api.get(BLOB)).status_code == 404


async def test_a_corrupt_manifest_answers_404_until_it_is_pushed_again(memory: MemoryStore, world: World) -> None:
    """It, and the tags on it, MUST go out of the way; what they said is kept, and a push brings everything back."""
    async with world.gateway() as api:
        built = await build(api)
    await flip(memory, built.record)
    kept = [(await memory.get(key)).body for key in (built.record, layout.tag_key(APP, "1"))]
    assert (await scrub(world)).kinds == ["corrupt-record"]
    mended = await scrub(world, repair=True)
    assert mended.outcomes == {
        ("corrupt-record", "quarantined"),
        ("dangling-tag", "quarantined"),
        ("missing-manifest", "found"),  # of the index
    }
    assert not mended.report.is_sound
    quarantined = [(await memory.get(key)).body for key in await keys(memory, layout.QUARANTINE_PREFIX)]
    records = [msgspec.convert(msgspec.json.decode(each)["record"], bytes) for each in quarantined]
    assert sorted(records) == sorted(kept)
    async with world.gateway() as api:
        for reference in ("1", built.image.digest):
            assert (await api.get(f"/v2/{APP}/manifests/{reference}")).status_code == 404
        assert await api.tags(APP) == ["all"]
        await api.manifest(APP, "1", built.image.content)
        assert await unserved(api, built) == []
    assert (await scrub(world)).findings == []


async def test_a_corrupt_tag_answers_404_until_it_is_pushed_again(memory: MemoryStore, world: World) -> None:
    """A tag that cannot be read stops its pushes; in quarantine, it does not."""
    async with world.gateway() as api:
        built = await build(api)
    await flip(memory, layout.tag_key(APP, "1"))
    mended = await scrub(world, repair=True)
    assert mended.outcomes == {("corrupt-record", "quarantined")}
    assert not mended.report.is_sound
    async with world.gateway() as api:
        assert (await api.get(f"/v2/{APP}/manifests/1")).status_code == 404
        await api.manifest(APP, "1", built.image.content)
        assert await unserved(api, built) == []


@pytest.mark.parametrize("how", ["lost", "another generation", "deleted"])
async def test_a_dangling_tag_goes_into_quarantine(memory: MemoryStore, world: World, how: str) -> None:
    """A tag on nothing MUST not be listed any more, and what it said MUST be kept; what a delete left behind is no damage."""
    async with world.gateway() as api:
        built = await build(api)
        tag = layout.tag_key(APP, "1")
        if how == "deleted":
            pointer = (await memory.get(tag)).body
            await api.delete(f"/v2/{APP}/manifests/{built.image.digest}")
            await memory.put(tag, pointer)  # as a push does that the delete has overtaken
    if how == "lost":
        await lose(memory, built.record)
    elif how == "another generation":
        await forget_generation(memory, built)
    pointer = (await memory.get(tag)).body
    [found] = [finding for finding in (await scrub(world)).findings if finding.kind == "dangling-tag"]
    assert (found.key, found.is_note) == (tag, how != "lost")
    assert ("dangling-tag", "quarantined") in (await scrub(world, repair=True)).outcomes
    [kept] = await keys(memory, layout.QUARANTINE_PREFIX)
    assert kept.endswith(f"/{tag}")
    fields = msgspec.json.decode((await memory.get(kept)).body)
    assert msgspec.convert(fields["record"], bytes) == pointer
    async with world.gateway() as api:
        assert await api.tags(APP) == ["all"]


async def test_an_entry_of_a_manifest_that_names_another_subject_goes(memory: MemoryStore, world: World) -> None:
    """Listings MUST NOT show, for any subject, what does not refer to it."""
    async with world.gateway() as api:
        built = await build(api)
    wrong = layout.referrer_key(APP, Digest.of(b"another subject"), Digest.parse(built.artifact.digest))
    await memory.put(wrong, (await memory.get(built.entry)).body)
    mended = await scrub(world, repair=True)
    assert [(each.kind, each.key, each.outcome) for each in mended.findings] == [("dead-referrer", wrong, "mended")]


async def test_what_looks_otherwise_the_second_time_is_no_finding(memory: MemoryStore, world: World) -> None:
    """Somebody is at it: only what is the same once every request of a gateway has ended is damage."""
    async with world.gateway() as api:
        built = await build(api)
    tag = await forget_generation(memory, built)

    async def sleep(_: float) -> None:
        await amend(memory, tag, generation="e" * 16)

    assert (await scrub(world, repair=True, sleep=sleep)).findings == []
    assert [each.key for each in (await scrub(world)).findings] == [tag]


async def test_a_lost_referrer_is_told_from_its_entry(memory: MemoryStore, world: World) -> None:
    """An entry whose manifest is gone MUST be found, and replaced by a tombstone."""
    async with world.gateway() as api:
        built = await build(api)
    await lose(memory, layout.manifest_key(APP, Digest.parse(built.artifact.digest)))
    assert (await scrub(world, repair=True)).outcomes == {("dead-referrer", "mended")}
    assert (await memory.head(built.entry)).size == 16
    assert (await scrub(world)).findings == []


async def test_what_was_lost_is_told_and_no_more(memory: MemoryStore, world: World) -> None:
    """A link or child manifest that is gone leaves nothing to derive it from: it MUST stay a finding until it is pushed."""
    async with world.gateway() as api:
        built = await build(api)
        await lose(memory, LINK)
        for _ in range(2):
            found = await scrub(world, repair=True)
            assert found.outcomes == {("missing-blob", "found")}
            assert [finding.digest for finding in found.findings] == [built.image.digest]
            assert str(LAYER_DIGEST) in found.findings[0].why
        await api.blob(APP, LAYER)
    assert (await scrub(world)).findings == []


async def test_sparse_manifests_are_no_damage_where_they_are_allowed(memory: MemoryStore, world: World) -> None:
    """What `allow_sparse` lets in cannot be told from a loss: it MUST be told, and not fail the run."""
    async with world.gateway() as api:
        await build(api)
    await lose(memory, LINK)
    found = await scrub(world, rules=Rules(allow_sparse=True))
    assert found.kinds == ["missing-blob"]
    assert found.report.is_sound


async def test_an_empty_repository_is_noted_once_it_is_old(memory: MemoryStore, world: World) -> None:
    """It is the collector's business; before the grace period is over, it is nobody's."""
    async with world.gateway() as api:
        await build(api)
        for digest in [layout.parse_manifest_key(key)[1] for key in await keys(memory, layout.manifests_prefix(OTHER))]:
            assert (await api.delete(f"/v2/{OTHER}/manifests/{digest}")).status_code == 202
    assert (await scrub(world)).findings == []
    world.clock.advance(25 * 3600)
    found = await scrub(world)
    assert (found.kinds, found.report.is_sound) == (["empty-repository"], True)


@pytest.mark.parametrize(
    ("key", "is_damage"),
    [
        ("blobs/sha256/00/x", True),
        ("repositories/team/app/_tags/-", True),
        ("catalog/UPPER", True),
        ("data/0/1", False),
        ("terraform.tfstate", False),
        ("else/where", False),
    ],
)
async def test_keys_that_are_not_ours_are_named(memory: MemoryStore, world: World, key: str, is_damage: bool) -> None:
    """They are never touched; where they stop listings, that is damage."""
    async with world.gateway() as api:
        await build(api)
    await memory.put(key, b"of somebody else")
    for repair in (False, True):
        found = await scrub(world, repair=repair)
        assert [(finding.kind, finding.key, finding.outcome) for finding in found.findings] == [
            ("stray-key", key, "found")
        ]
        assert found.report.is_sound is not is_damage
    assert (await memory.get(key)).body == b"of somebody else"


async def test_keys_that_are_not_ours_hide_no_damage(memory: MemoryStore, world: World) -> None:
    """Whose bytes they are is found out all the same, and lost links are linked again, to a copy if to nothing else."""
    async with world.gateway() as api:
        await build(api)
    there = await bytes_key(memory)
    for prefix in (layout.links_prefix(LAYER_DIGEST), layout.instances_prefix(LAYER_DIGEST)):
        await memory.put(f"{prefix}-", b"of another")  # listed first
    stray = ("stray-key", "found")
    lost = {("corrupt-record", "quarantined"), ("lost-link", "mended"), stray}
    await memory.put(there, flipped(LAYER))
    assert (await scrub(world)).outcomes == {("corrupt-bytes", "found"), stray}
    await memory.put(there, LAYER)
    await flip(memory, LINK)
    assert (await scrub(world, repair=True)).outcomes == lost
    for link in (LINK, OTHER_LINK):
        await flip(memory, link)
    assert (await scrub(world, repair=True)).outcomes == lost


async def test_a_damaged_copy_in_quarantine_is_named(memory: MemoryStore, world: World) -> None:
    """It MUST not keep a scrub from doing all the rest, nor a repair, nor hide the other copies."""
    async with world.gateway() as api:
        built = await build(api)
    await memory.put(await bytes_key(memory), flipped(LAYER))
    await scrub(world, repair=True)
    key, *others = await keys(memory, layout.QUARANTINE_PREFIX)
    await flip(memory, key)
    await memory.delete(built.entry)
    for repair in (False, True):
        found = await scrub(world, repair=repair)
        assert ("corrupt-record", key, "found") in [(each.kind, each.key, each.outcome) for each in found.findings]
        assert not found.report.is_sound
    assert ("missing-referrer", "mended") in found.outcomes
    damaged: list[str] = []
    kept = (await registry(world)).scrub.quarantine.kept(lambda error: damaged.append(error.key))
    assert ([place async for place, _ in kept], damaged) == (others, [key])


async def test_the_bytes_of_every_algorithm_are_held_against_it(memory: MemoryStore, world: World) -> None:
    """A sha512 digest is told from other bytes as a sha256 one is; an empty blob has nothing to be wrong."""
    async with world.gateway() as api:
        await api.blob("a", LAYER, "sha512")
        await api.blob("a", b"")
    assert (await scrub(world)).findings == []
    [key] = [key for key in await keys(memory, "data/") if (await memory.head(key)).size]
    await memory.put(key, flipped(LAYER))
    assert (await scrub(world)).kinds == ["corrupt-bytes"]


def test_every_kind_is_documented() -> None:
    """docs/scrub.md MUST have a row for every kind of finding, and no other."""
    page = (Path(__file__).parents[2] / "docs" / "scrub.md").read_text("utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE) == sorted(
        get_args(Kind), key=lambda kind: page.index(f"| `{kind}` |")
    )
