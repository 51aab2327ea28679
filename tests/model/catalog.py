"""storage.catalog.Catalog: a repository's marker, which also tells when content was last deleted from it (rule 1)."""

from dataclasses import replace

from tests.model.shelf import ATTEMPTS, Outcome, alive, bury, nonce, write
from tests.model.steps import Get, Held, Step
from tests.model.world import Marker, Rule, Tombstone, World, is_condemned, live


def marker_key(repository: str) -> str:
    """layout.catalog_key."""
    return f"catalog/{repository}"


def enter(world: World, repository: str, seen: Held | None) -> Step[bool]:
    """Catalog.enter: make sure that the repository is in the catalog, given a view of its marker."""
    key, held = marker_key(repository), seen
    for _ in range(ATTEMPTS):
        if held is not None and live(held) and not is_condemned(held):
            return True
        drawn = yield from nonce(world)
        if held is not None and live(held):
            outcome = yield from write(key, alive(held, drawn), held)
        else:
            outcome = yield from write(key, Marker(drawn, deletions=held is not None), held)
        if outcome is Outcome.DONE:
            return True
        held = yield Get(key)
    return False


def note_deletion(world: World, repository: str) -> Step[bool]:
    """Catalog.note_deletion: rewrite the marker, whatever its state; what another removal has written since serves as well."""
    if not world.keeps(Rule.NOTE_DELETION):
        return True
    key = marker_key(repository)
    first: Held | None = yield Get(key)
    if is_marked(first) and not world.keeps(Rule.NOTE_AGAIN):
        return True
    held = first
    for _ in range(ATTEMPTS):
        if held is None or isinstance(held.body, Tombstone):
            outcome = yield from bury(world, key, held)
        else:
            drawn = yield from nonce(world)
            outcome = yield from write(key, noted(held, drawn), held)
        if outcome is Outcome.DONE:
            return True
        held = yield Get(key)
        if held != first and is_marked(held):
            return True
    return False


def noted(held: Held, drawn: str) -> Marker:
    """A marker that says that content was deleted."""
    assert isinstance(held.body, Marker)
    return replace(held.body, nonce=drawn, deletions=True)


def is_marked(held: Held | None) -> bool:
    """Whether content was ever deleted from the repository: its marker says so, or is a tombstone."""
    return held is not None and (
        isinstance(held.body, Tombstone) or (isinstance(held.body, Marker) and held.body.deletions)
    )


def deleted_since(world: World, held: Held | None, taken: int) -> bool:
    """Catalog.deleted_since: whether content may have been deleted after a view was taken, by this gateway's clock.

    The marker precedes the removal by up to `bound`, and the clocks differ by up to `skew`: one does not cover the other.
    """
    margin = world.periods.skew if world.keeps(Rule.ALLOW_SKEW) else 0
    if world.keeps(Rule.ALLOW_BOUND):
        margin += world.periods.bound
    return held is not None and is_marked(held) and held.modified >= taken - margin
