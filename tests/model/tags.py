"""storage.tags.Tags: pointers, moved and removed by compare-and-swap."""

from dataclasses import replace
from enum import Enum, auto

from tests.model.facts import Removed, Removing
from tests.model.shelf import ATTEMPTS, Outcome, bury, write
from tests.model.steps import Begin, Bound, Ended, Get, Held, Note, Step
from tests.model.world import Pointer, Rule, World


class Moved(Enum):
    """How a move ended: done, PreconditionFailed, or Contended, which is answered 503."""

    DONE = auto()
    REFUSED = auto()
    CONTENDED = auto()


def tag_key(tag: str) -> str:
    """layout.tag_key; every tag here is repository A's."""
    return f"A/tag/{tag}"


def pointer(held: Held | None) -> Pointer | None:
    """What a tag points to, None if it is absent or removed."""
    return held.body if held is not None and isinstance(held.body, Pointer) else None


def moves(found: Pointer | None) -> tuple[str, ...]:
    """The nonces of the requests that moved the tag, by its history; newest first."""
    return found.moves if found is not None else ()


def move(world: World, tag: str, to: Pointer, over: Held | None) -> Step[Moved]:
    """Tags.move: point the tag to `to`, with the history of what it replaces.

    If that may have been applied and replaced since (rule 10), the history tells: it was done if this request's nonce is in it, it was not
    if that of the move before it is, and if neither, it is not made again.
    """
    before = pointer(over)
    outcome = yield from write(tag_key(tag), replace(to, moves=(to.nonce, *moves(before))), over)
    if outcome is Outcome.DONE:
        return Moved.DONE
    if outcome is Outcome.REFUSED or not world.keeps(Rule.MOVE_ONCE):
        return Moved.REFUSED
    held: Held | None = yield Get(tag_key(tag))
    now = moves(pointer(held))
    if to.nonce in now:
        return Moved.DONE
    if before is not None and before.nonce in now:
        return Moved.REFUSED
    return Moved.CONTENDED


def remove(world: World, me: str, tag: str) -> Step[None]:
    """Tags.remove; Overtaken, it counts as done right before what overtook it."""
    key = tag_key(tag)
    yield Begin(world.bound)
    ended: frozenset[str] = yield Ended()
    yield Note(Removing(me, key, ended))
    for _ in range(ATTEMPTS):
        held: Held | None = yield Get(key)
        if pointer(held) is None:
            return
        outcome = yield from bury(world, key, held)
        if outcome is Outcome.DONE or (outcome is Outcome.OVERTAKEN and world.keeps(Rule.REMOVE_ONCE)):
            yield Note(Removed(me, key))
            break
    yield Bound(None)


def remove_generation(world: World, tag: str, manifest: str, generation: str) -> Step[None]:
    """Tags.remove_generation: remove the tag if it points to this dead generation (rule 8)."""
    for _ in range(ATTEMPTS):
        held: Held | None = yield Get(tag_key(tag))
        found = pointer(held)
        if found is None or found.manifest != manifest:
            return
        if found.generation != generation and world.keeps(Rule.GENERATIONS):
            return
        outcome = yield from bury(world, tag_key(tag), held)
        if outcome is Outcome.DONE:
            return
