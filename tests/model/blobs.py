"""storage.blobs.Blobs: links and instances of the one digest that there is."""

from tests.model.catalog import note_deletion
from tests.model.facts import Exists, Linking, Removed, Removing
from tests.model.shelf import ATTEMPTS, Outcome, alive, bury, earlier, nonce, view, write
from tests.model.steps import Begin, Bound, Clock, Ended, Get, Held, Listing, Note, Step
from tests.model.world import Instance, Link, Rule, World, is_condemned, live


def link_key(repository: str) -> str:
    """layout.link_key."""
    return f"in/{repository}"


def instance_key(instance: str) -> str:
    """layout.instance_key."""
    return f"at/{instance}"


def data_key(instance: str) -> str:
    """layout.data_key."""
    return f"data/{instance}"


def find(world: World, me: str, repository: str) -> Step[None]:
    """Blobs.find, as HEAD and GET of a blob do: who is told that it exists has nearly a whole grace period (rule 2)."""
    yield Begin(world.bound)
    held = yield from view(world, link_key(repository))
    if held is not None:
        at: int = yield Clock()
        yield Note(Exists(me, link_key(repository), at))
    yield Bound(None)


def mount(world: World, me: str, repository: str, source: str) -> Step[None]:
    """Blobs.mount: link the repository to what `source` links to, by a view of its link at most `view_age` old (rule 5)."""
    seen = yield from earlier(world, link_key(source))
    own: Held | None = None
    if not world.keeps(Rule.FRESH_ACKNOWLEDGEMENT):
        own = yield from earlier(world, link_key(repository))
    yield Begin(world.bound)
    ended: frozenset[str] = yield Ended()
    yield Note(Linking(me, link_key(repository), ended))
    if seen is None:
        seen = yield from view(world, link_key(source))
    if seen is not None:
        assert isinstance(seen.body, Link)
        yield from link(world, me, repository, seen.body.instance, own)
    yield Bound(None)


def shared(world: World) -> Step[Held | None]:
    """Blobs.shared: a live link of any repository, seen now."""
    links: tuple[tuple[str, Held], ...] = yield Listing("in/")
    for key in tuple(key for key, held in links if live(held)):
        held = yield from view(world, key)
        if held is not None:
            return held
    return None


def publish(world: World, me: str, repository: str, instance: str, end: int) -> Step[bool]:
    """Blobs.publish: record the instance of verified bytes, and link the repository to it."""
    drawn = yield from nonce(world)
    yield from write(
        instance_key(instance), Instance(drawn, end), None
    )  # an earlier attempt of this request may have written it
    done = yield from link(world, me, repository, instance)
    return done


def link(world: World, me: str, repository: str, instance: str, held: Held | None = None) -> Step[bool]:
    """Blobs._link, and so Blobs.adopt: write the repository's link, or find it live by a fresh read."""
    key = link_key(repository)
    for _ in range(ATTEMPTS):
        drawn = yield from nonce(world)
        if held is None or not live(held):
            outcome = yield from write(key, Link(instance, drawn), held)
        elif is_condemned(held):
            outcome = yield from write(key, alive(held, drawn), held)
        else:
            outcome = Outcome.DONE
        if outcome is Outcome.DONE:
            at: int = yield Clock()
            yield Note(Exists(me, key, at))
            return True
        held = yield Get(key)
    return False


def delete(world: World, me: str, repository: str) -> Step[None]:
    """Blobs.delete: note the deletion, then bury the link."""
    key = link_key(repository)
    yield Begin(world.bound)
    ended: frozenset[str] = yield Ended()
    yield Note(Removing(me, key, ended))
    for _ in range(ATTEMPTS):
        held: Held | None = yield Get(key)
        if not live(held):
            return
        if world.keeps(Rule.NOTE_FIRST):
            noted = yield from note_deletion(world, repository)
            if not noted:
                return
        outcome = yield from bury(world, key, held)
        if outcome is not Outcome.DONE:
            continue
        if not world.keeps(Rule.NOTE_FIRST):
            yield from note_deletion(world, repository)
        yield Note(Removed(me, key))
        return
