"""storage.uploads.Uploads: the last request of an upload session whose only segment is stored already."""

from tests.model.blobs import data_key, link, link_key, publish, shared
from tests.model.engine import HasEnded
from tests.model.facts import Linking
from tests.model.steps import Begin, Bound, Clock, Delete, Ended, Note, Put, Step
from tests.model.world import Bytes, Link, Rule, World


def upload(world: World, me: str, repository: str, attempts: int = 1, ends_ahead: int = 0) -> Step[None]:
    """Uploads.begin, append and commit, the last maybe again since the client lost the answer.

    The session begins on a gateway whose clock is `world.ahead`, and ends on one whose clock is `ends_ahead`.
    """
    started: int = yield Clock()
    end = started + world.ahead + int(world.periods.upload_expiry)
    yield Put(data_key(me), Bytes(end))
    for number in range(attempts):
        yield Begin(world.bound)
        yield from commit(world, me, f"{me}/{number}", repository, end, ends_ahead)
        yield Note(HasEnded(f"{me}/{number}"))
        yield Bound(None)


def commit(world: World, session: str, me: str, repository: str, end: int, ahead: int) -> Step[None]:
    """Uploads.commit: link the repository to bytes that the store has, or else to the session's, unless it has expired."""
    ended: frozenset[str] = yield Ended()
    yield Note(Linking(me, link_key(repository), ended))
    found = yield from shared(world)
    if found is not None:
        assert isinstance(found.body, Link)
        done = yield from link(world, me, repository, found.body.instance)
        if done and not world.keeps(Rule.COMMIT_KEEPS_BYTES) and found.body.instance != session:
            yield Delete(data_key(session))
        return
    now: int = yield Clock()
    if now + ahead <= end:
        yield from publish(world, me, repository, session, end)


def cancel(world: World, session: str) -> Step[None]:
    """Uploads.cancel: mark the session as given up, and delete nothing (rule 6)."""
    yield Begin(world.bound)
    if not world.keeps(Rule.CANCEL_KEEPS_BYTES):
        yield Delete(data_key(session))
