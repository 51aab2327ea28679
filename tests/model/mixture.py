"""All actors together, more than can be explored: for random walks."""

import random
from dataclasses import replace

from tests.model import blobs, collector, manifests, retention, tags, undo, uploads
from tests.model.cast import CATALOG, LINK, TAGGED, Rules, linked, part, push, scenario
from tests.model.catalog import marker_key
from tests.model.engine import Scenario
from tests.model.world import (
    SHORT,
    Link,
    Manifest,
    Marker,
    State,
    Tombstone,
    World,
)


def mixture(seed: int, off: Rules = frozenset()) -> Scenario:
    """Some of all actors together, on a registry of two repositories."""
    chance = random.Random(seed)
    world = World(replace(SHORT, skew=1, upload_expiry=2), off)
    ahead = replace(world, ahead=1)
    store = {**linked("Z", "i"), **CATALOG, marker_key("Z"): Marker("")}
    store |= chance.choice(({}, linked("A", "j"), {"in/A": Tombstone("")}, {"in/A": Link("i", "", State.CONDEMNED)}))
    if isinstance(store.get("in/A"), Link):
        tagged = Manifest("g0", "", tags=frozenset({"t"}))
        store |= chance.choice(({}, {"A/manifest/m": Manifest("g0", "")}, {**TAGGED, "A/manifest/m": tagged}))
    maintenance = (
        part("gcA", collector.retire_links, world, "A", 4, 1),
        part("gcZ", collector.retire_links, world, "Z", 4),
        part("gcA2", collector.retire_links, world, "A", 3),
        part("dead", collector.delete_dead, world, 3, 1),
        part("dead2", collector.delete_dead, world, 2),
        part("sweep", collector.sweep, world),
        part("purge", collector.purge, world, "", 3),
        part("markers", collector.retire_markers, world, "A", 3),
        part("tags", collector.bury_dead, world, tags.tag_key("t"), 2),
        part("keep", retention.retain, world, "m", 3),
    )
    clients = (
        part("mountA", blobs.mount, ahead, "mountA", "A", "Z", crashes=True),
        part("mountZ", blobs.mount, world, "mountZ", "Z", "A", crashes=True),
        part("upA", uploads.upload, ahead, "upA", "A", 2, -1, crashes=True),
        part("upZ", uploads.upload, world, "upZ", "Z", crashes=True),
        part("head", blobs.find, world, "head", "A"),
        part("delA", blobs.delete, world, "delA", "A", crashes=True, losses=1),
        part("delZ", blobs.delete, world, "delZ", "Z", crashes=True),
        part("del", manifests.delete, world, "del", "m", crashes=True),
        part("undo", undo.undo, world, "undo", "A", "i", crashes=True),
        push(ahead, "push", tag="t", cached=LINK, losses=1),
        push(world, "push2", tag="t"),
        push(ahead, "push3", "index", has_blob=False, children=("m",), cached="A/manifest/m", losses=1),
    )
    chosen = (*chance.sample(maintenance, chance.randint(3, 6)), *chance.sample(clients, chance.randint(3, 6)))
    return scenario(world, store, 14, *chosen, drains=True)
