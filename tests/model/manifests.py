"""storage.manifests.Manifests: the order of writes of a push, and of a delete, in repository A."""

from dataclasses import dataclass, replace

from tests.model.blobs import link_key
from tests.model.catalog import deleted_since, enter, marker_key, note_deletion
from tests.model.facts import Pushed, Pushing, Removed, Removing, Resolved
from tests.model.shelf import ATTEMPTS, Outcome, bury, earlier, nonce, view, write
from tests.model.steps import Begin, Bound, Clock, Ended, Get, Held, Note, Step
from tests.model.tags import Moved, move, moves, pointer, remove_generation, tag_key
from tests.model.world import Entry, Manifest, Pointer, Rule, State, World

REPOSITORY = "A"


@dataclass(frozen=True, slots=True)
class Push:
    """A manifest on its way in: manifests.Push. `cached` is a key of which this process has a view from before the request, if any."""

    who: str
    name: str
    tag: str | None = None
    has_blob: bool = True
    children: tuple[str, ...] = ()
    has_subject: bool = False
    cached: str | None = None

    @property
    def key(self) -> str:
        """Of its record."""
        return manifest_key(self.name)

    @property
    def needs(self) -> tuple[str, ...]:
        """The keys of all that it references."""
        return (*((link_key(REPOSITORY),) if self.has_blob else ()), *map(manifest_key, self.children))


def manifest_key(name: str) -> str:
    """layout.manifest_key."""
    return f"{REPOSITORY}/manifest/{name}"


def referrer_key(name: str) -> str:
    """layout.referrer_key."""
    return f"{REPOSITORY}/referrer/{name}"


def record(held: Held | None) -> Manifest | None:
    """A manifest that is there, live or condemned."""
    return held.body if held is not None and isinstance(held.body, Manifest) else None


def put(world: World, push: Push) -> Step[None]:
    """Manifests.put: see what it references, read the marker, and write (rule 1)."""
    seen: Held | None = None
    oldest: int
    if push.cached is not None:
        seen = yield from earlier(world, push.cached)
        oldest = yield Clock()
    yield Begin(world.bound)
    ended: frozenset[str] = yield Ended()
    yield Note(Pushing(push.who, push.key, push.tag, ended))
    if seen is None:
        oldest = yield Clock()
    is_whole = yield from require(world, push, push.cached if seen is not None else None)
    marker: Held | None = yield Get(marker_key(REPOSITORY))
    if is_whole and deleted_since(world, marker, oldest + world.ahead):
        is_whole = yield from require(world, push, None)
    if not is_whole:
        return
    known = seen if push.cached == push.key else None
    generation = yield from write_all(world, push, marker, known)
    if generation is not None:
        yield Note(Pushed(push.who, push.key, push.tag, generation))


def require(world: World, push: Push, cached: str | None) -> Step[bool]:
    """Manifests._require: see all that the manifest references, revived if it was condemned; but for what is cached."""
    for key in push.needs:
        if key != cached:
            held = yield from view(world, key)
            if held is None:
                return False
    return True


def write_all(world: World, push: Push, marker: Held | None, known: Held | None) -> Step[str | None]:
    """Manifests._write: record, referrer entry, marker, tag; all again if one of them is not as expected. The generation, if done."""
    request = yield from nonce(world)
    over: Held | None = None
    if push.tag is not None and world.keeps(Rule.POINTER_FIRST):
        over = yield Get(tag_key(push.tag))
    entry: Held | None = None
    for _ in range(ATTEMPTS):
        generation = yield from confirm(world, push, known)
        if generation is None:
            return None
        referred = yield from refer(world, push, generation, entry)
        moved = Moved.REFUSED
        if referred:
            moved = yield from enter_and_point(world, push, marker, Pointer(push.key, generation, request), over)
        if moved is Moved.DONE:
            return generation
        if moved is Moved.CONTENDED:
            return None
        if push.has_subject:
            entry = yield Get(referrer_key(push.name))
        if push.tag is not None:
            over = yield Get(tag_key(push.tag))
    return None


def enter_and_point(world: World, push: Push, marker: Held | None, to: Pointer, over: Held | None) -> Step[Moved]:
    """The marker, then the tag."""
    entered = yield from enter(world, REPOSITORY, marker)
    if not entered:
        return Moved.CONTENDED
    if push.tag is None:
        return Moved.DONE
    if not world.keeps(Rule.POINTER_FIRST):
        over = yield Get(tag_key(push.tag))
    moved = yield from point(world, push.tag, to, over)
    return moved


def confirm(world: World, push: Push, known: Held | None) -> Step[str | None]:
    """Manifests._confirm: write the record, or find by a fresh read that it is live and names the tag. Its generation, if done."""
    held, is_fresh = known, False
    for _ in range(ATTEMPTS + 1):
        found = record(held)
        drawn = yield from nonce(world)
        if found is None:
            drawn_too = yield from nonce(world)
            wanted = Manifest(
                drawn_too, drawn, State.LIVE, tags_of(push), push.has_blob, push.children, push.has_subject
            )
        else:
            wanted = replace(found, nonce=drawn, state=State.LIVE, tags=found.tags | tags_of(push))
        if found is None or found.state is not State.LIVE or not tags_of(push) <= found.tags:
            outcome = yield from write(push.key, wanted, held)
            if outcome is Outcome.DONE:
                return wanted.generation
        elif is_fresh:
            return found.generation
        held, is_fresh = (yield Get(push.key)), True
    return None


def tags_of(push: Push) -> frozenset[str]:
    """Those that the record names."""
    return frozenset({push.tag} if push.tag is not None else ())


def refer(world: World, push: Push, generation: str, over: Held | None) -> Step[bool]:
    """Manifests._refer: enter the manifest among its subject's referrers."""
    if not push.has_subject:
        return True
    if over is not None and isinstance(over.body, Entry) and over.body.generation == generation:
        return True
    drawn = yield from nonce(world)
    outcome = yield from write(referrer_key(push.name), Entry(generation, drawn), over)
    return outcome is Outcome.DONE


def point(world: World, tag: str, to: Pointer, over: Held | None) -> Step[Moved]:
    """Manifests._move, and _look_again: move the tag, unless it points there, or this request has moved it already."""
    found = pointer(over)
    if found is not None and (found.manifest, found.generation) == (to.manifest, to.generation):
        return Moved.DONE
    if to.nonce in moves(found):
        return Moved.DONE
    moved = yield from move(world, tag, to, over)
    return moved


def delete(world: World, me: str, name: str) -> Step[None]:
    """Manifests.delete: note the deletion, bury the record, and clean up what was of its generation, unbounded (rule 8)."""
    key = manifest_key(name)
    yield Begin(world.bound)
    ended: frozenset[str] = yield Ended()
    yield Note(Removing(me, key, ended))
    for _ in range(ATTEMPTS):
        held: Held | None = yield Get(key)
        found = record(held)
        if found is None:
            return
        noted = yield from note_deletion(world, REPOSITORY)
        if not noted:
            return
        outcome = yield from bury(world, key, held)
        if outcome is Outcome.DONE:
            yield Bound(None)
            yield from clean_up(world, name, found)
            yield Note(Removed(me, key))
            return


def clean_up(world: World, name: str, dead: Manifest) -> Step[None]:
    """Manifests._clean_up and _withdraw."""
    for tag in tuple(sorted(dead.tags)):
        yield from remove_generation(world, tag, manifest_key(name), dead.generation)
    if not dead.has_subject:
        return
    held: Held | None = yield Get(referrer_key(name))
    if held is not None and isinstance(held.body, Entry) and held.body.generation == dead.generation:
        yield from bury(world, referrer_key(name), held)


def resolve(world: World, me: str, tag: str, cached: str | None = None) -> Step[None]:
    """Manifests.resolve: the manifest that the tag points to, maybe by a view of its record from before the request."""
    seen: Held | None = None
    if cached is not None:
        seen = yield from earlier(world, cached)
    yield Begin(world.bound)
    ended: frozenset[str] = yield Ended()
    before: Held | None = yield Get(tag_key(tag))
    for _ in range(ATTEMPTS):
        found = pointer(before)
        if found is None:
            yield Note(Resolved(me, tag, None, ended))
            return
        known = record(seen) if found.manifest == cached else None
        if known is None or known.generation != found.generation:
            known = record((yield Get(found.manifest)))
        if known is not None and known.generation == found.generation:
            yield Note(Resolved(me, tag, found.manifest, ended))
            return
        again: Held | None = yield Get(tag_key(tag))
        if again == before:
            yield Note(Resolved(me, tag, None, ended))
            return
        before = again
