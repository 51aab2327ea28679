"""Reads and conditional writes, as storage.shelf and the stores do them."""

from collections.abc import Hashable
from dataclasses import replace
from enum import Enum, auto

from tests.model.steps import Answer, Bound, Get, Held, Nonce, Put, Step
from tests.model.world import Link, Manifest, Marker, Rule, State, Tombstone, World, is_condemned, live

ATTEMPTS = 3


class Outcome(Enum):
    """How a conditional write ended: done, PreconditionFailed, or Overtaken."""

    DONE = auto()
    REFUSED = auto()
    OVERTAKEN = auto()


def nonce(world: World) -> Step[str]:
    """Context.nonce."""
    drawn: str = yield Nonce()
    return drawn if world.keeps(Rule.NONCES) else ""


def write(key: str, body: Hashable, over: Held | None) -> Step[Outcome]:
    """Shelf.write and ObjectStore.put (rule 10): a lost answer is resolved by reading back.

    If the state is still the one before, the write is made again; if it is neither that nor ours, the write is Overtaken.
    """
    expected = over.body if over is not None else None
    is_unknown = False
    for _ in range(ATTEMPTS):
        answer: Answer = yield Put(key, body, expected)
        is_unknown = is_unknown or answer is Answer.LOST
        if answer is Answer.APPLIED:
            return Outcome.DONE
        if not is_unknown:
            return Outcome.REFUSED
        held: Held | None = yield Get(key)
        found = held.body if held is not None else None
        if found == body:
            return Outcome.DONE
        if found != expected:
            return Outcome.OVERTAKEN
    return Outcome.REFUSED


def bury(world: World, key: str, over: Held | None) -> Step[Outcome]:
    """Shelf.bury: a tombstone in place of exactly what `over` saw."""
    drawn = yield from nonce(world)
    outcome = yield from write(key, Tombstone(drawn), over)
    return outcome


def earlier(world: World, key: str) -> Step[Held | None]:
    """Shelf.recent: what this process has seen at most `view_age` before the request that now MUST arrive; only if it was live."""
    held: Held | None = yield Get(key)
    if not live(held) or is_condemned(held):
        return None
    yield Bound(int(world.periods.view_age))
    return held


def view(world: World, key: str) -> Step[Held | None]:
    """Blobs.view and Manifests._view, fresh: revived if it was condemned (rule 2)."""
    for _ in range(ATTEMPTS):
        held: Held | None = yield Get(key)
        if held is None or not is_condemned(held) or not world.keeps(Rule.REVIVE):
            return held if live(held) else None
        drawn = yield from nonce(world)
        revived = alive(held, drawn)
        outcome = yield from write(key, revived, held)
        if outcome is Outcome.DONE:
            return replace(held, body=revived)
    return None


def alive(held: Held, drawn: str) -> Hashable:
    """The record, live, with a new nonce."""
    return in_state(held, State.LIVE, drawn)


def in_state(held: Held, state: State, drawn: str) -> Hashable:
    """The record in another state, with a new nonce."""
    assert isinstance(held.body, Link | Marker | Manifest)
    return replace(held.body, state=state, nonce=drawn)
