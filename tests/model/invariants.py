"""What must hold in every state of the model, and once all actors have ended: the invariants of docs/design.md."""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import TypeVar

from storage.periods import Periods
from tests.model.blobs import link_key
from tests.model.catalog import marker_key
from tests.model.collector import (
    bury_dead,
    delete_dead,
    generation,
    purge,
    retire_links,
    retire_markers,
    sweep,
)
from tests.model.engine import Facts
from tests.model.facts import Exists, Linking, Pushed, Pushing, Removed, Removing, Resolved
from tests.model.manifests import REPOSITORY, manifest_key, record, referrer_key
from tests.model.steps import Held, Store, run_alone
from tests.model.tags import pointer, tag_key
from tests.model.world import Entry, Link, Rule, Tombstone, World, live

Fact = TypeVar("Fact")


def violated(world: World, store: Store, facts: Facts, clock: int) -> str | None:
    """The first thing that is wrong in a state, None if nothing is."""
    found = chain(
        _dangling(store),
        _broken_manifests(store, facts),
        _lost_tags(world, store, facts),
        _misread_tags(facts),
        _moved_twice(store),
        _resurrected(world, store, facts),
        _out_of_scope(store, facts),
        _broken_promises(world.periods, store, facts, clock),
    )
    return next(found, None)


def _dangling(store: Store) -> Iterator[str]:
    """Every link names bytes that are there, and an instance that is recorded: else a sweep takes the bytes."""
    for key, held in store.items():
        if isinstance(held.body, Link):
            for needed in (f"data/{held.body.instance}", f"at/{held.body.instance}"):
                if needed not in store:
                    yield f"dangling: {key} is {held.body}, and {needed} is gone"


def _broken_manifests(store: Store, facts: Facts) -> Iterator[str]:
    """I1: an acknowledged manifest is whole, and in the catalog, unless a delete that had not ended before it was pushed took from it."""
    for done in _of(facts, Pushed):
        began = _push(facts, done.who)
        found = record(store.get(done.key))
        if found is None:
            if not _is_excused(facts, began, done.key):
                yield f"I1: {done.key}, acknowledged to {done.who}, is {store.get(done.key)}"
            continue
        needed = (*((link_key(REPOSITORY),) if found.has_blob else ()), *map(manifest_key, found.children))
        for key in needed:
            if not live(store.get(key)) and not _is_excused(facts, began, key):
                yield f"I1: {done.key}, acknowledged to {done.who}, needs {key}, which is {store.get(key)}"
        if found.has_subject and not _is_referrer(store, done.key, found.generation):
            yield f"rule 8: {done.key}, acknowledged to {done.who}, is not among the referrers of its subject"
        if not live(store.get(marker_key(REPOSITORY))):
            yield f"catalog: the repository of {done.key} is not in it: its marker is {store.get(marker_key(REPOSITORY))}"


def _is_referrer(store: Store, key: str, generation: str) -> bool:
    entry = _body(store, referrer_key(key.removeprefix("A/manifest/")))
    return isinstance(entry, Entry) and entry.generation == generation


def _lost_tags(world: World, store: Store, facts: Facts) -> Iterator[str]:
    """I2: a tag that only one request moved, and none removed, points to that request's manifest."""
    for done in _of(facts, Pushed):
        if done.tag is not None and _is_settled(facts, done) and resolved(world, store, done.tag) != done.key:
            yield f"I2: {done.tag}, moved by {done.who}, is {store.get(tag_key(done.tag))} and does not resolve"


def _misread_tags(facts: Facts) -> Iterator[str]:
    """I2: a reader that began after a move was acknowledged sees it, or a later one."""
    for read in _of(facts, Resolved):
        for done in _of(facts, Pushed):
            is_later = done.tag == read.tag and done.who in read.ended
            if is_later and read.key != done.key and _is_settled(facts, done):
                yield f"I2: {read.who} found {read.tag} to be {read.key}, though {done.who} had moved it to {done.key}"


def _is_settled(facts: Facts, done: Pushed) -> bool:
    """Whether nothing but this push may have said where its tag points, since it began."""
    assert done.tag is not None
    began = _push(facts, done.who)
    others = (each for each in _of(facts, Pushing) if each.tag == done.tag and each.key != done.key)
    if any(each.who not in began.ended and not _was_seen(facts, began, done.tag, each.key) for each in others):
        return False
    if _is_excused(facts, began, done.key):
        return False
    return not _is_excused(facts, began, tag_key(done.tag)) or _was_seen(facts, began, done.tag, None)


def _was_seen(facts: Facts, push: Pushing, tag: str, key: str | None) -> bool:
    """Whether a reader that had ended when the push arrived saw what another one did to the tag: so it MUST NOT be done after that."""
    return any(each.who in push.ended and (each.tag, each.key) == (tag, key) for each in _of(facts, Resolved))


def _moved_twice(store: Store) -> Iterator[str]:
    """Rule 10: no request has moved a tag twice."""
    for key, held in store.items():
        found = pointer(held)
        if found is not None and len(set(found.moves)) < len(found.moves):
            yield f"rule 10: {key} was moved twice by one request: {found}"


def _resurrected(world: World, store: Store, facts: Facts) -> Iterator[str]:
    """Rule 8: after a delete was acknowledged, no tag resolves to the manifest, but by a push that had not ended when it began."""
    for done in _of(facts, Removed):
        began = _removal(facts, done)
        later = [each for each in _of(facts, Pushing) if each.key == done.key and each.who not in began.ended]
        if record(store.get(done.key)) is not None and not later:
            yield f"rule 8: {done.key} is back after {done.who} has deleted it"
        for key in store:
            tag = key.removeprefix("A/tag/")
            if tag != key and resolved(world, store, tag) == done.key and not any(each.tag == tag for each in later):
                yield f"rule 8: {tag} resolves to {done.key} again, which {done.who} has deleted"


def _out_of_scope(store: Store, facts: Facts) -> Iterator[str]:
    """I6: after a delete was acknowledged, the blob is readable only by a push or mount that had not ended when it began."""
    for done in _of(facts, Removed):
        if isinstance(_body(store, done.key), Link):
            ended = _removal(facts, done).ended
            if not any(each.key == done.key and each.who not in ended for each in _of(facts, Linking)):
                yield f"I6: {done.key} is back after {done.who} has deleted it"


def _broken_promises(periods: Periods, store: Store, facts: Facts, clock: int) -> Iterator[str]:
    """Rule 2: who was told that a blob exists has nearly a whole grace period, unless somebody deletes it."""
    for told in _of(facts, Exists):
        ended = next((each.ended for each in _of(facts, Linking) if each.who == told.who), frozenset[str]())
        is_deleted = any(each.key == told.key and each.who not in ended for each in _of(facts, Removing))
        if not is_deleted and clock <= told.at + periods.grace - periods.bound and not live(store.get(told.key)):
            yield f"rule 2: {told.who} was told at {told.at} that {told.key} is there, and it is {store.get(told.key)}"


def resolved(world: World, store: Store, tag: str) -> str | None:
    """The key of the manifest that a tag points to."""
    found = pointer(store.get(tag_key(tag)))
    named = record(store.get(found.manifest)) if found is not None else None
    if found is None or named is None:
        return None
    return found.manifest if named.generation == found.generation or not world.keeps(Rule.GENERATIONS) else None


def left_over(world: World, store: Store, clock: int) -> str | None:
    """I5: what stays although a few runs have been made since, a grace period apart, and nothing needs it."""
    for _ in range(4):
        clock += int(world.periods.upload_expiry + world.periods.last_words + world.periods.purge_age) + 1
        for repository in ("A", "Z"):
            store = run_alone(partial(retire_links, world, repository, 1), store, clock)
            store = run_alone(partial(retire_markers, world, repository, 1), store, clock)
        for key in (tag_key("t"), tag_key("u"), referrer_key("m")):
            store = run_alone(partial(bury_dead, world, key, 1), store, clock)
        store = run_alone(partial(delete_dead, world), store, clock)
        store = run_alone(partial(sweep, world), store, clock)
        store = run_alone(partial(purge, world, ""), store, clock)
    return next(_garbage(world, store), None)


def _garbage(world: World, store: Store) -> Iterator[str]:
    named = {held.body.instance for held in store.values() if isinstance(held.body, Link)}
    for key, held in store.items():
        kind, _, rest = key.partition("/")
        if kind in {"at", "data"} and rest not in named:
            yield f"I5: {key} stays, and nothing names it"
        if isinstance(held.body, Tombstone):
            yield f"I5: the tombstone {key} stays"
        manifests = [each for each in store if each.startswith(f"{rest}/manifest/")]
        if kind in {"in", "catalog"} and not manifests:
            yield f"I5: {key} stays, and {rest} has no manifest"
        tag = key.removeprefix("A/tag/")
        if tag != key and resolved(world, store, tag) is None:
            yield f"I5: the dead tag {key} stays"
        if (
            isinstance(held.body, Entry)
            and generation(store.get(manifest_key(rest.removeprefix("referrer/")))) != held.body.generation
        ):
            yield f"I5: the dead referrer entry {key} stays"


def _is_excused(facts: Facts, push: Pushing, key: str) -> bool:
    """Whether somebody removes what lies under the key who had not ended when the push arrived: then the removal wins."""
    return any(each.key == key and each.who not in push.ended for each in _of(facts, Removing))


def _push(facts: Facts, who: str) -> Pushing:
    return next(each for each in _of(facts, Pushing) if each.who == who)


def _removal(facts: Facts, done: Removed) -> Removing:
    return next(each for each in _of(facts, Removing) if each.who == done.who)


def _body(store: Store, key: str) -> object:
    held: Held | None = store.get(key)
    return None if held is None else held.body


def _of(facts: Facts, kind: type[Fact]) -> Iterator[Fact]:
    return (each for each in facts if isinstance(each, kind))
