"""storage.undo: brings a link back that was condemned or buried, by what the journal says of it."""

from tests.model.blobs import data_key, link_key, publish
from tests.model.engine import Begin, Bound, Clock, Ended, Get, Held, Note, Put, Step
from tests.model.facts import Linking
from tests.model.shelf import nonce, view, write
from tests.model.world import Bytes, Link, Rule, World, live


def undo(world: World, me: str, repository: str, instance: str) -> Step[None]:
    """Revive the link; or copy the bytes that it named, if they are still there, and publish the copy like a push.

    Its old bytes may be dead already, by rule 4, even while they are there: no link MUST name them again (rule 5).
    """
    key = link_key(repository)
    ended: frozenset[str] = yield Ended()
    yield Note(Linking(me, key, ended))
    started: int = yield Clock()
    held: Held | None = yield Get(key)
    if live(held):
        yield Begin(world.bound)
        yield from view(world, key)
        return
    data: Held | None = yield Get(data_key(instance))
    if data is None:
        return
    if not world.keeps(Rule.UNDO_COPIES):
        drawn = yield from nonce(world)
        yield from write(key, Link(instance, drawn), held)
        return
    yield Put(data_key(me), Bytes())
    yield Begin(world.bound)
    now: int = yield Clock()
    if now > started + world.periods.upload_expiry and world.keeps(Rule.UNDO_IN_TIME):
        return
    yield from publish(world, me, repository, me)
    yield Bound(None)
