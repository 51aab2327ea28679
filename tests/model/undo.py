"""storage.undo.Undo: brings a link back that was condemned or buried, by what the journal says of it (rule 11)."""

from tests.model.blobs import data_key, link, link_key, publish, shared
from tests.model.facts import Linking
from tests.model.shelf import nonce, view, write
from tests.model.steps import Begin, Bound, Clock, Ended, Get, Held, Note, Put, Step
from tests.model.world import Bytes, Link, Rule, World, live


def undo(world: World, me: str, repository: str, instance: str) -> Step[None]:
    """Undo._link, _relink and _copy: revive the link; or use another's, or publish a copy of the bytes that it named, like a push.

    Those bytes may be dead already, by rule 4, even while they are there: no link MUST name them again (rule 5).
    """
    key = link_key(repository)
    ended: frozenset[str] = yield Ended()
    yield Note(Linking(me, key, ended))
    started: int = yield Clock()
    end = started + world.ahead + int(world.periods.upload_expiry)
    held: Held | None = yield Get(key)
    if live(held):
        yield Begin(world.bound)
        yield from view(world, key)
        return
    other = yield from shared_in_time(world)
    if other is not None:
        yield from link(world, me, repository, other)
        return
    data: Held | None = yield Get(data_key(instance))
    if data is None:
        return
    if not world.keeps(Rule.UNDO_COPIES):
        drawn = yield from nonce(world)
        yield from write(key, Link(instance, drawn), held)
        return
    yield Put(data_key(me), Bytes(end))
    yield Begin(world.bound)
    now: int = yield Clock()
    if now + world.ahead > end and world.keeps(Rule.UNDO_IN_TIME):
        return
    yield from publish(world, me, repository, me, end)
    yield Bound(None)


def shared_in_time(world: World) -> Step[str | None]:
    """The instance that a live link of another repository names, which MUST be used within the bound."""
    yield Begin(world.bound)
    found = yield from shared(world)
    if found is None:
        yield Bound(None)
        return None
    assert isinstance(found.body, Link)
    return found.body.instance
