"""Small cases of the model, each about one part of the rules."""

from dataclasses import replace

from tests.model import blobs, collector, manifests, retention, tags, undo, uploads
from tests.model.cast import CATALOG, LINK, NO_MANIFESTS, TAGGED, Build, Rules, linked, part, push, scenario
from tests.model.catalog import marker_key
from tests.model.engine import Scenario
from tests.model.steps import Step
from tests.model.world import (
    SHORT,
    Entry,
    Link,
    Manifest,
    Marker,
    Pointer,
    State,
    Tombstone,
    World,
)


def links_and_pushes(off: Rules) -> Scenario:
    """Two collectors condemn and bury a link that a push relies on by a view; answers get lost."""
    world = World(off=off)
    return scenario(
        world,
        {**linked("A", "i"), **CATALOG},
        6,
        part("gc1", collector.retire_links, world, "A", 2),
        part("gc2", collector.retire_links, world, "A", 1),
        push(world, "push", cached=LINK, losses=1),
    )


def pages_and_pushes(off: Rules) -> Scenario:
    """A collector lists manifests page by page, while one is pushed behind its cursor and another removed before it."""
    world = World(off=off)
    store = {**linked("A", "i"), **CATALOG, "A/manifest/z": Manifest("g0", ""), "in/A": Link("i", "")}
    return scenario(
        world,
        store,
        5,
        part("gc", collector.retire_links, world, "A", 2, 1),
        part("del", manifests.delete, world, "del", "z"),
        push(world, "push", cached=LINK),
    )


def heads_and_collectors(off: Rules) -> Scenario:
    """Who was told that a blob exists, while two collectors are at it, has time to push."""
    world = World(off=off)
    return scenario(
        world,
        {**linked("A", "i"), **CATALOG},
        7,
        part("gc1", collector.retire_links, world, "A", 2),
        part("gc2", collector.retire_links, world, "A", 1),
        part("head", blobs.find, world, "head", "A"),
    )


def blob_deletes_and_pushes(off: Rules) -> Scenario:
    """A client deletes a blob that another needs, who has a view of it and whose gateway's clock is ahead."""
    world = World(replace(SHORT, skew=1), off)
    return scenario(
        world,
        {**linked("A", "i"), **CATALOG},
        4,
        part("del", blobs.delete, world, "del", "A", crashes=True),
        push(replace(world, ahead=1), "push", cached=LINK),
        part("del2", blobs.delete, world, "del2", "A", crashes=True),
    )


def deletes_and_deletes(off: Rules) -> Scenario:
    """Two deletions in one repository note themselves in its marker at once, one of which takes what a push has a view of."""
    world = World(replace(SHORT, skew=1), off)
    return scenario(
        world,
        {**linked("A", "i"), **CATALOG, "A/manifest/o": Manifest("g0", "", has_blob=False)},
        3,
        part("del", blobs.delete, world, "del", "A"),
        part("del2", manifests.delete, world, "del2", "o"),
        push(replace(world, ahead=1), "push", cached=LINK, crashes=False),
    )


def child_deletes_and_pushes(off: Rules) -> Scenario:
    """A client deletes a manifest that an index needs, whose pusher has a view of it."""
    world = World(off=off)
    return scenario(
        world,
        {**CATALOG, **TAGGED},
        4,
        part("del", manifests.delete, world, "del", "m", crashes=True),
        push(world, "push", "index", has_blob=False, children=("m",), cached="A/manifest/m"),
        push(world, "again", has_blob=False, tag="t"),
    )


def bytes_and_mounts(off: Rules) -> Scenario:
    """A collector finds the bytes of a digest dead whose last link goes while they are mounted elsewhere."""
    world = World(off=off | NO_MANIFESTS)
    return scenario(
        world,
        {**linked("Z", "i"), marker_key("Z"): Marker("")},
        6,
        part("gc", collector.delete_dead, world),
        part("mount", blobs.mount, world, "mount", "A", "Z"),
        part("del", blobs.delete, world, "del", "Z"),
    )


def several_instances(off: Rules) -> Scenario:
    """A mount uses the only link of a digest, which is deleted and pushed again meanwhile, with an instance of its own."""
    world = World(off=off | NO_MANIFESTS)
    return scenario(
        world,
        linked("Z", "i"),
        3,
        part("gc", collector.delete_dead, world),
        part("mount", blobs.mount, world, "mount", "A", "Z"),
        part("del", blobs.delete, world, "del", "Z"),
        part("up", uploads.upload, world, "up", "Z"),
    )


def links_read_again(off: Rules) -> Scenario:
    """Two instances of a digest, whose links go and come back under one another's names."""
    world = World(off=off | NO_MANIFESTS)
    return scenario(
        world,
        {**linked("A", "i"), **linked("Z", "j")},
        4,
        part("gc", collector.delete_dead, world),
        part("delA", blobs.delete, world, "delA", "A"),
        part("mount", blobs.mount, world, "mount", "A", "Z"),
        part("delZ", blobs.delete, world, "delZ", "Z"),
    )


def back_and_forth(world: World, steps: tuple[tuple[str, str], ...]) -> Step[None]:
    """One client that mounts the blob from repository to repository, and deletes what it leaves behind."""
    for number in range(len(steps)):
        target, source = steps[number]
        if source:
            yield from blobs.mount(world, f"mount{number}", target, source)
        else:
            yield from blobs.delete(world, f"del{number}", target)


def pages_of_links(off: Rules) -> Scenario:
    """Links are listed page by page, while the blob is moved behind the cursor and tombstones are purged."""
    world = World(replace(SHORT, horizon=0, purge_age=3), off | NO_MANIFESTS)
    return scenario(
        world,
        {**linked("Z", "i"), "in/M": Tombstone("")},
        5,
        part("gc", collector.delete_dead, world, 1, 1),
        part("client", back_and_forth, world, (("A", "Z"), ("Z", ""))),
        part("purge", collector.purge, world, "in/"),
    )


def tombstones_and_purges(off: Rules) -> Scenario:
    """Tombstones come to life, and die again, under a purger that sleeps."""
    world = World(off=off | NO_MANIFESTS)
    return scenario(
        world,
        {**linked("Z", "i"), "in/A": Tombstone("")},
        5,
        part("purge", collector.purge, world, "in/"),
        part("mount", blobs.mount, world, "mount", "A", "Z"),
        part("del", blobs.delete, world, "del", "A"),
        part("gc", collector.delete_dead, world),
    )


def commits_and_collectors(off: Rules) -> Scenario:
    """The last request of an upload, made twice, while its blob is deleted and collected."""
    world = World(replace(SHORT, grace=1, view_age=0, quiet=1, upload_expiry=2), off | NO_MANIFESTS)
    return scenario(
        world,
        {},
        5,
        part("up", uploads.upload, world, "up", "A", 2),
        part("del", blobs.delete, world, "del", "A"),
        part("gc", collector.delete_dead, world),
    )


def commits_and_sweeps(off: Rules) -> Scenario:
    """An upload that begins and ends on gateways whose clocks are as far apart as they may be, and a sweep of what is left."""
    world = World(replace(SHORT, skew=1, upload_expiry=2), off)
    return scenario(
        world,
        {},
        7,
        part("up", uploads.upload, replace(world, ahead=1), "up", "A", 2, -1, crashes=True),
        part("sweep", collector.sweep, world),
    )


def commits_and_cancels(off: Rules) -> Scenario:
    """An upload is cancelled while another attempt commits it."""
    world = World(off=off)
    return scenario(
        world,
        {**CATALOG},
        3,
        part("up", uploads.upload, world, "up", "A", 2, crashes=True),
        part("cancel", uploads.cancel, world, "up"),
        push(world, "push"),
        drains=True,
    )


def commits_and_commits(off: Rules) -> Scenario:
    """An upload of bytes that another repository has, whose last request is made twice, while both repositories delete the blob."""
    world = World(off=off | NO_MANIFESTS)
    return scenario(
        world,
        linked("Z", "i"),
        1,
        part("up", uploads.upload, world, "up", "A", 2, crashes=True),
        part("delA", blobs.delete, world, "delA", "A"),
        part("delZ", blobs.delete, world, "delZ", "Z"),
        drains=True,
    )


def deletes_and_mounts(off: Rules) -> Scenario:
    """A blob is mounted that the repository has, by a process that has a view of that, while it is deleted."""
    world = World(off=off | NO_MANIFESTS)
    return scenario(
        world,
        {**linked("A", "i"), **linked("Z", "i")},
        2,
        part("del", blobs.delete, world, "del", "A"),
        part("mount", blobs.mount, world, "mount", "A", "Z"),
        drains=True,
    )


def deletes_and_pushes(off: Rules) -> Scenario:
    """A manifest is deleted while it is pushed again, by two."""
    world = World(off=off)
    return scenario(
        world,
        {**CATALOG, **TAGGED},
        0,
        part("del", manifests.delete, world, "del", "m"),
        push(world, "push", has_blob=False, tag="t"),
        push(world, "push2", has_blob=False, tag="t"),
    )


def broken_deletes(off: Rules) -> Scenario:
    """A delete breaks off before it has removed the tags; the manifest, a referrer, is pushed under another tag, and deleted again."""
    world = World(off=off)
    referring = Manifest("g0", "", tags=frozenset({"t"}), has_blob=False, has_subject=True)
    return scenario(
        world,
        {**CATALOG, **TAGGED, "A/manifest/m": referring, "A/referrer/m": Entry("g0", "")},
        0,
        part("del", manifests.delete, world, "del", "m", crashes=True),
        push(world, "push", has_blob=False, tag="u", has_subject=True, crashes=False),
        part("del2", manifests.delete, world, "del2", "m"),
        drains=True,
    )


def dead_entries(off: Rules) -> Scenario:
    """A collector buries the referrer entry of a manifest that was deleted, while it is pushed again."""
    world = World(off=off)
    referring = Manifest("g0", "", has_blob=False, has_subject=True)
    return scenario(
        world,
        {**CATALOG, "A/manifest/m": referring, "A/referrer/m": Entry("g0", "")},
        0,
        part("del", manifests.delete, world, "del", "m", crashes=True),
        push(world, "push", has_blob=False, has_subject=True),
        part("gc", collector.bury_dead, world, manifests.referrer_key("m"), 1),
        drains=True,
    )


def tags_left_behind(off: Rules) -> Scenario:
    """A delete that broke off has left a tag of a dead generation, and the manifest is deleted and pushed again under others."""
    world = World(off=off)
    store = {
        "A/manifest/m": Manifest("g1", "", tags=frozenset({"u"}), has_blob=False),
        "A/tag/t": Pointer("A/manifest/m", "g0", "", ("",)),
        "A/tag/u": Pointer("A/manifest/m", "g1", "", ("",)),
    }
    return scenario(
        world,
        {**CATALOG, **store},
        0,
        part("del", manifests.delete, world, "del", "m"),
        push(world, "push", has_blob=False, tag="u", crashes=False),
        part("gc", collector.bury_dead, world, tags.tag_key("t"), 1),
        drains=True,
    )


def dead_tags(off: Rules) -> Scenario:
    """A collector buries the tag of a manifest that was deleted, while it is pushed again."""
    world = World(off=off)
    return scenario(
        world,
        {**CATALOG, **TAGGED},
        0,
        part("del", manifests.delete, world, "del", "m", crashes=True),
        push(world, "push", has_blob=False, tag="t"),
        part("gc", collector.bury_dead, world, tags.tag_key("t"), 1),
    )


def dead_tags_that_are_named(off: Rules) -> Scenario:
    """A tag is moved from one manifest, whose record names it ever after, to another, whose delete breaks off."""
    world = World(off=off)
    left = Manifest("g1", "", tags=frozenset({"t"}), has_blob=False)
    return scenario(
        world,
        {**CATALOG, **TAGGED, "A/manifest/o": left},
        0,
        part("del", manifests.delete, world, "del", "m", crashes=True),
        push(world, "push", "o", has_blob=False, tag="u"),
        part("gc", collector.bury_dead, world, tags.tag_key("t"), 1),
        drains=True,
    )


def readers_and_movers(off: Rules) -> Scenario:
    """A tag is read while its manifest is deleted and pushed again, by a reader that has a view of the record."""
    world = World(off=off)
    return scenario(
        world,
        {**CATALOG, **TAGGED},
        0,
        part("del", manifests.delete, world, "del", "m"),
        push(world, "push", has_blob=False, tag="t", crashes=False),
        part("read", manifests.resolve, world, "read", "t", "A/manifest/m"),
    )


def lost_moves(off: Rules) -> Scenario:
    """A tag is moved, whose answer gets lost; it is removed, and one that began after somebody saw the move moves it elsewhere."""
    world = World(off=off)
    return scenario(
        world,
        {
            **CATALOG,
            **TAGGED,
            "A/tag/t": Pointer("A/manifest/o", "g0", "", ("",)),
            "A/manifest/o": TAGGED["A/manifest/m"],
        },
        0,
        push(world, "push", "n", has_blob=False, tag="t", losses=1, crashes=False),
        part("read", manifests.resolve, world, "read", "t"),
        part("untag", tags.remove, world, "untag", "t"),
        push(world, "push2", has_blob=False, tag="t", crashes=False),
    )


def lost_removals(off: Rules) -> Scenario:
    """A tag is removed, whose answer gets lost, while one that saw it gone moves it."""
    world = World(off=off)
    return scenario(
        world,
        {**CATALOG, **TAGGED},
        0,
        part("untag", tags.remove, world, "untag", "t", losses=1),
        part("read", manifests.resolve, world, "read", "t"),
        push(world, "push", has_blob=False, tag="t", crashes=False),
    )


def retention_and_indexes(off: Rules) -> Scenario:
    """Two retentions condemn and bury a manifest that a new index needs."""
    world = World(replace(SHORT, grace=2), off)
    untagged = Manifest("g0", "", has_blob=False)
    return scenario(
        world,
        {**CATALOG, "A/manifest/m": untagged},
        4,
        part("keep", retention.retain, world, "m", 2),
        part("keep2", retention.retain, world, "m", 1),
        push(world, "push", "index", has_blob=False, children=("m",), cached="A/manifest/m"),
    )


def retention_and_tags(off: Rules) -> Scenario:
    """A retention condemns and buries a manifest that gets a tag, by a view of its record that names the tag already."""
    world = World(replace(SHORT, grace=2), off)
    untagged = Manifest("g0", "", tags=frozenset({"t"}), has_blob=False)
    return scenario(
        world,
        {**CATALOG, "A/manifest/m": untagged},
        4,
        part("keep", retention.retain, world, "m", 2),
        part("keep2", retention.retain, world, "m", 1),
        push(world, "push", has_blob=False, tag="t", cached="A/manifest/m"),
    )


def markers_and_pushes(off: Rules) -> Scenario:
    """Two collectors take a repository out of the catalog while its first manifest is pushed."""
    world = World(off=off)
    return scenario(
        world,
        CATALOG,
        6,
        part("gc1", collector.retire_markers, world, "A", 2),
        part("gc2", collector.retire_markers, world, "A", 1),
        push(world, "push", has_blob=False, losses=1),
    )


def markers_and_deletes(off: Rules) -> Scenario:
    """The marker that a deletion is noted in is condemned, buried and purged while a push relies on it."""
    world = World(replace(SHORT, grace=2, purge_age=3), off)
    return scenario(
        world,
        {**linked("A", "i"), marker_key("A"): Marker("", State.CONDEMNED)},
        5,
        part("gc", collector.retire_markers, world, "A", 1),
        part("purge", collector.purge, world, "catalog/"),
        part("del", blobs.delete, world, "del", "A"),
        push(world, "push", cached=LINK, crashes=False),
    )


def undo_and_collectors(off: Rules) -> Scenario:
    """A link that was buried is brought back while the collector deletes its bytes."""
    world = World(replace(SHORT, upload_expiry=2), off)
    return scenario(
        world,
        {**linked("A", "i"), "in/A": Tombstone("0")},
        6,
        part("undo", undo.undo, world, "undo", "A", "i", crashes=True),
        part("gc", collector.delete_dead, world),
        part("sweep", collector.sweep, world),
    )


def undo_and_links(off: Rules) -> Scenario:
    """A link that was condemned is brought back while the collector buries it."""
    world = World(replace(SHORT, grace=2), off)
    condemned = Link("i", "0", state=State.CONDEMNED)
    return scenario(
        world,
        {**linked("A", "i"), "in/A": condemned, **CATALOG},
        4,
        part("undo", undo.undo, world, "undo", "A", "i", crashes=True, losses=1),
        part("gc", collector.retire_links, world, "A", 2),
        push(world, "push", crashes=False),
    )


ALL: tuple[Build, ...] = (
    links_and_pushes,
    pages_and_pushes,
    heads_and_collectors,
    blob_deletes_and_pushes,
    deletes_and_deletes,
    child_deletes_and_pushes,
    bytes_and_mounts,
    several_instances,
    links_read_again,
    pages_of_links,
    tombstones_and_purges,
    commits_and_collectors,
    commits_and_sweeps,
    commits_and_cancels,
    commits_and_commits,
    deletes_and_mounts,
    deletes_and_pushes,
    broken_deletes,
    tags_left_behind,
    dead_tags,
    dead_tags_that_are_named,
    dead_entries,
    readers_and_movers,
    lost_moves,
    lost_removals,
    retention_and_indexes,
    retention_and_tags,
    markers_and_pushes,
    markers_and_deletes,
    undo_and_collectors,
    undo_and_links,
)
