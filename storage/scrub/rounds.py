"""Rounds through all bytes: how far one has got, kept in the bucket, so that the next run goes on from there."""

import msgspec

from storage import layout
from storage.errors import Busy, PreconditionFailed
from storage.records import changed
from storage.shelf import Context, Shelf, codec
from storage.views import View

SAVED_EVERY = 60.0  # seconds
MOST_BAD = 1_000


class Round(msgspec.Struct, frozen=True):
    """`last` is the key of the last instance whose bytes were read, empty before the first; once it `is_over`, the next run begins anew.

    `began` is when the round did, by the store's clock; `instances` and `bytes` is what it has read. `bad` are the keys of the
    instances that were found damaged and not mended yet, the first of them, in this round or before: every run looks at them again.
    """

    nonce: str
    began: float
    last: str = ""
    instances: int = 0
    bytes: int = 0
    bad: tuple[str, ...] = ()
    is_over: bool = False


class Rounds:
    """The record under `scrub/cursor`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rounds = Shelf(context, codec(Round))
        self._view: View[Round] | None = None
        self._saved_at = 0.0

    async def begin(self, began: float, *, restart: bool) -> Round:
        """The round to go on with: one under way, or a new one. One GET; a cursor that cannot be read is no cursor."""
        self._view = await self._rounds.read_or_discard(layout.CURSOR_KEY)
        self._saved_at = self._context.clock()
        found = self._view.value
        if found is None or found.is_over or restart:
            return Round(self._context.nonce(), began, bad=found.bad if found is not None else ())
        return found

    async def save(self, now: Round) -> None:
        """Write it down; raises Busy if another run has. One PUT."""
        record = changed(now, nonce=self._context.nonce())
        try:
            self._view = await self._rounds.write(layout.CURSOR_KEY, record, self._view)
        except PreconditionFailed:
            raise Busy("another run of the scrub has taken over") from None
        self._saved_at = self._context.clock()

    async def save_at_times(self, now: Round) -> None:
        """As `save`, if that was not done lately."""
        if abs(self._context.clock() - self._saved_at) >= SAVED_EVERY:
            await self.save(now)
