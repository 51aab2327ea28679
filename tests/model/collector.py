"""storage.collection.collector.Collector: each of its verdicts as an actor of its own, which may sleep for any time between any two requests.

A run takes them one after the other; apart, they interleave in more ways than that.
"""

from tests.model.blobs import data_key, instance_key, link_key
from tests.model.catalog import is_marked, marker_key
from tests.model.manifests import manifest_key, record, referrer_key
from tests.model.shelf import bury, in_state, nonce, write
from tests.model.steps import Delete, Get, Held, Listing, Now, Over, Put, Step
from tests.model.tags import pointer, tag_key
from tests.model.world import Bytes, Entry, Instance, Link, Rule, State, Tombstone, World, is_condemned, live

Listed = tuple[tuple[str, Held], ...]


def listed(prefix: str, page: int | None = None) -> Step[Listed]:
    """ObjectStore.list: all that has the prefix, `page` keys a request."""
    found: Listed = yield Listing(prefix, limit=page)
    last = found
    for _ in range(3):
        if page is None or len(last) < page:
            break
        last = yield Listing(prefix, last[-1][0], page)
        found = (*found, *last)
    return found


def retire_links(world: World, repository: str, runs: int, page: int | None = None) -> Step[None]:
    """Walk, then Verdicts._retire: condemn or bury the link if no manifest that was listed since T0 names the blob (rule 3)."""
    for _ in range(runs):
        began: int = yield Now()
        manifests = yield from listed(f"{repository}/manifest/", page)
        is_named = any(found.has_blob for _, held in manifests if (found := record(held)) is not None)
        if not world.keeps(Rule.EVIDENCE_AFTER_T0):
            began = yield Now()
        if not is_named:
            yield from retire(world, link_key(repository), began)


def retire_markers(world: World, repository: str, runs: int) -> Step[None]:
    """Collector._retire_markers: condemn or bury the marker of a repository that has no manifest."""
    for _ in range(runs):
        began: int = yield Now()
        manifests = yield from listed(f"{repository}/manifest/")
        if not any(live(held) for _, held in manifests):
            yield from retire(world, marker_key(repository), began, at_once=not world.keeps(Rule.CONDEMN_MARKERS))


def retire(world: World, key: str, began: int, *, at_once: bool = False) -> Step[None]:
    """Run.look and Run.retire: condemn a record that has been as it is for a grace period at T0, bury a condemned one."""
    held: Held | None = yield Get(key)
    if held is None or not live(held):
        return
    if not is_past_grace(world, held, began):
        return
    if at_once or is_condemned(held):
        if world.keeps(Rule.BURY_BY_ETAG):
            yield from bury(world, key, held)
        else:
            drawn = yield from nonce(world)
            yield Put(key, Tombstone(drawn))
    else:
        drawn = yield from nonce(world)
        yield from write(key, in_state(held, State.CONDEMNED, drawn), held)


def is_past_grace(world: World, held: Held, began: int) -> bool:
    """Run.is_past_grace."""
    if is_condemned(held) and not world.keeps(Rule.GRACE_BEFORE_BURIAL):
        return True
    return held.modified + world.periods.grace < began


def delete_dead(world: World, runs: int = 1, page: int | None = None) -> Step[None]:
    """Verdicts._chunk, _judge and _delete: the instances that nothing will name again, and their bytes (rule 4)."""
    for _ in range(runs):
        time: int = yield Now()
        instances = yield from listed("at/", page)
        links = yield from listed("in/", page)
        old = tuple(key for key, held in instances if is_over(world, held, time))
        if len(instances) > 1 and old:
            links = yield from reread(links)
        elif any(live(held) for _, held in links):
            old = ()
        if not is_quiet(world, links, time):
            old = ()
        named = frozenset(held.body.instance for _, held in links if isinstance(held.body, Link))
        dead = tuple(name for name in (key.removeprefix("at/") for key in old) if name not in named)
        now: int = yield Now()
        if world.keeps(Rule.HORIZON) and now - time > world.periods.horizon:
            continue
        for instance in dead:
            yield Delete(instance_key(instance))
            yield Delete(data_key(instance))


def reread(links: Listed) -> Step[Listed]:
    """Verdicts._read_names: where a digest has several instances, each link is read for the one that it names."""
    found: Listed = ()
    for key, held in links:
        now: Held | None = held
        if live(held):
            now = yield Get(key)
        found = (*found, (key, now if now is not None else Held(None, 10**9)))
    return found


def is_over(world: World, held: Held, time: int) -> bool:
    """Verdicts._may_die: whether no session can publish the instance any more."""
    assert isinstance(held.body, Instance)
    is_old = held.modified + world.periods.grace < time
    return is_old and (held.body.end + world.periods.last_words < time or not world.keeps(Rule.INSTANCE_AGE))


def is_quiet(world: World, links: Listed, time: int) -> bool:
    """Whether no link or tombstone of the digest has changed lately."""
    if not world.keeps(Rule.QUIET):
        return True
    counted = tuple(held for _, held in links if world.keeps(Rule.QUIET_LINKS) or not live(held))
    return all(held.modified + world.periods.quiet < time for held in counted)


def sweep(world: World) -> Step[None]:
    """Walk._data, Survey.claim and Collector._sweep: bytes that no instance names, once no session can publish them (rule 6)."""
    began: int = yield Now()
    data: Listed = yield Listing("data/")
    instances: Listed = yield Listing("at/")
    if not world.keeps(Rule.SWEEP_AFTER_T0):
        began = yield Now()
    over = began - (world.periods.last_words if world.keeps(Rule.SWEEP_BY_SKEW) else world.periods.bound)
    claimed = frozenset(data_key(key.removeprefix("at/")) for key, _ in instances)
    dead = tuple(
        key for key, held in data if key not in claimed and isinstance(held.body, Bytes) and held.body.end < over
    )
    for key in dead:
        yield Delete(key)


def purge(world: World, prefix: str, runs: int = 1) -> Step[None]:
    """Run.purge: tombstones that are old enough, by DELETE If-Match (rule 7)."""
    for _ in range(runs):
        began: int = yield Now()
        found: Listed = yield Listing(prefix)
        for key, held in tuple((key, held) for key, held in found if not live(held)):
            if held.modified + world.periods.purge_age < began:
                yield Delete(key, held.body if world.keeps(Rule.PURGE_IF_MATCH) else Over.ANY)


def bury_dead(world: World, key: str, runs: int) -> Step[None]:
    """Walk._read_pointers: a tag or referrer entry of a generation that is no more, read before the record that it names (rule 8)."""
    for _ in range(runs):
        markers = yield from listed(marker_key("A"))
        manifests = yield from listed("A/manifest/")
        pointers = yield from listed(key)
        if any(live(held) and not is_marked(held) for _, held in markers):
            continue
        for _, held in pointers:
            manifest, pointed = target(key, held)
            seen: Held | None = dict(manifests).get(manifest)
            if pointed is None or pointed == generation(seen):
                continue
            if not world.keeps(Rule.NAMED_AND_DEAD) and any(key in named(each) for _, each in manifests):
                continue
            yield from bury_if_dead(world, key, held, seen)


def bury_if_dead(world: World, key: str, listed: Held, seen: Held | None) -> Step[None]:
    """Walk._bury_if_dead."""
    held: Held | None = yield Get(key)
    if held != listed:
        return
    manifest, pointed = target(key, listed)
    if world.keeps(Rule.POINTER_BEFORE_RECORD):
        seen = yield Get(manifest)
    if pointed != generation(seen):
        yield from bury(world, key, listed)


def target(key: str, held: Held) -> tuple[str, str | None]:
    """The manifest that a tag or referrer entry points to, and its generation, None for a tombstone."""
    if isinstance(held.body, Entry):
        return manifest_key(key.removeprefix(referrer_key(""))), held.body.generation
    found = pointer(held)
    return ("", None) if found is None else (found.manifest, found.generation)


def named(held: Held) -> frozenset[str]:
    """The tags that a manifest's record names: all that point to it, and maybe some that no longer do."""
    found = record(held)
    return frozenset() if found is None else frozenset(map(tag_key, found.tags))


def generation(held: Held | None) -> str | None:
    """That of a manifest's record, None if it is not there."""
    found = record(held)
    return None if found is None else found.generation
