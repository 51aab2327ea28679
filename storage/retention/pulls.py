"""When manifests were last pulled, to the hour: cheap to note, written in batches, and put together by the retention.

A gateway remembers what it served in memory, and writes one object for an hour once that is over. What it had not written when it was
killed is forgotten; a pull that counts for a retention period of days can be that uncertain.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

import msgspec

from storage import layout
from storage.errors import CorruptRecord, NotFound
from storage.records import decode, encode
from storage.references import Digest, RepositoryName
from storage.shelf import Context, Shelf, codec, gathered
from storage.views import View

HOUR = 3600
LONGEST = 366 * 24 * HOUR  # seconds for which a pull is remembered
SETTLED = 24 * HOUR  # age at which batches are put together
MOST = 50_000  # manifests a gateway remembers before it writes them early; beyond twice as many it forgets
MANY = 1_000  # batches that are put together before that is written down, and they are removed by one request
_AT_ONCE = 8


class PullTimes(msgspec.Struct, frozen=True):
    """The hours, in seconds since 1970, in which manifests were last pulled, by repository and digest.

    `since` is the first hour of which it knows: what it does not name was not pulled since then.
    """

    since: int
    last: dict[str, dict[str, int]]
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What is known of the pulls from one repository; `since` None says that nothing is."""

    since: int | None = None
    last: Mapping[str, int] = field(default_factory=dict)

    def within(self, digest: str, seconds: float, now: float) -> bool:
        """Whether the manifest was pulled so lately, or may have been for all that is known."""
        begin = now - seconds - HOUR  # a pull is dated by the beginning of its hour
        return self.since is None or self.since > begin or self.last.get(digest, 0) > begin


class PullLog:
    """What this gateway has served lately. `note` is for every pull, `flush` for now and then."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._hours: dict[int, dict[str, set[str]]] = {}
        self._size = 0

    def note(self, name: RepositoryName, digest: Digest) -> None:
        """A manifest was pulled. No request, and nothing that could fail."""
        if self._size >= 2 * MOST:
            return
        hour = int(self._context.clock() // HOUR) * HOUR
        digests = self._hours.setdefault(hour, {}).setdefault(str(name), set())
        before = len(digests)
        digests.add(str(digest))
        self._size += len(digests) - before

    async def flush(self, *, everything: bool = False) -> None:
        """Write the hours that are over, or all that there is; what cannot be written is kept for the next time. One PUT an hour."""
        now = self._context.clock()
        for hour in sorted(self._hours):
            if everything or now >= hour + HOUR or self._size >= MOST:
                await self._write(hour)

    async def _write(self, hour: int) -> None:
        nonce = self._context.nonce()
        pulled = self._hours.pop(hour)
        record = PullTimes(
            hour, {name: dict.fromkeys(sorted(digests), hour) for name, digests in pulled.items()}, nonce
        )
        try:
            await self._context.store.put(layout.pulls_key(hour, nonce), encode(record), if_absent=True)
        except BaseException:
            for name, digests in self._hours.pop(hour, {}).items():
                pulled.setdefault(name, set()).update(digests)
            self._hours[hour] = pulled
            raise
        finally:
            self._size = sum(len(digests) for hours in self._hours.values() for digests in hours.values())


class Pulls:
    """The records under `retention/pulls/`, and `retention/pulled` that they end up in."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._record = Shelf(context, codec(PullTimes))

    async def read(self) -> PullTimes | None:
        """All that is known, None if nothing is; raises CorruptRecord. One LIST, and a GET each.

        The batches come first: one that another run takes away meanwhile is in what is read after them.
        """
        together = _Together()
        await self._add([key async for _, key in self._listed()], together)
        view = await self._record.read(layout.PULLED_KEY)
        if view.value is not None:
            together.add(view.value)
        return together.times()

    async def compact(self, now: float) -> None:
        """Put the batches together that are older than a day at `now`, the store's time, so that there are few.

        A batch goes once what it said is in the other record; a crash between the two has it merged twice, which changes nothing. So many are
        done before the next begin that little is lost if it ends before its time. Raises PreconditionFailed if another run was faster.
        """
        old = [key async for hour, key in self._listed() if hour < now - SETTLED]
        if not old:
            return
        view: View[PullTimes] = await self._record.read(layout.PULLED_KEY)
        together = _Together()
        if view.value is not None:
            together.add(view.value)
        for at in range(0, len(old), MANY):
            some = old[at : at + MANY]
            await self._add(some, together)
            times = together.times(now - LONGEST - SETTLED, self._context.nonce())
            if times is not None:
                view = await self._record.write(layout.PULLED_KEY, times, view)
            await self._context.store.delete_many(some)

    async def _listed(self) -> AsyncGenerator[tuple[int, str]]:
        async with aclosing(self._context.store.list(layout.PULLS_PREFIX)) as listing:
            async for info in listing:
                try:
                    hour, _ = layout.parse_pulls_key(info.key)
                except ValueError:
                    raise CorruptRecord(info.key, "is no key of moorage") from None
                yield hour, info.key

    async def _add(self, keys: Sequence[str], together: "_Together") -> None:
        """Add what batches say, each as it comes, so that no more than a few are in memory."""

        async def add(key: str) -> None:
            with suppress(NotFound):  # another run has put it with the others
                batch = decode(await self._context.store.get(key), PullTimes)
                if batch is not None:
                    together.add(batch)

        await gathered(map(add, keys), _AT_ONCE)


def of_repository(times: PullTimes | None, name: str) -> Pulled:
    """What is known of the pulls from one repository."""
    return Pulled(times.since, times.last.get(name, {})) if times is not None else Pulled()


class _Together:
    """What is known of pulls: the latest hour of each manifest, since the first hour of all."""

    def __init__(self) -> None:
        self._since: int | None = None
        self._last: dict[str, dict[str, int]] = {}

    def add(self, times: PullTimes) -> None:
        """Know this, too."""
        self._since = times.since if self._since is None else min(times.since, self._since)
        for name, digests in times.last.items():
            known = self._last.setdefault(name, {})
            for digest, hour in digests.items():
                known[digest] = max(hour, known.get(digest, 0))

    def times(self, after: float = 0, nonce: str = "") -> PullTimes | None:
        """All of it, None if nothing is known; but for pulls in hours that began no later than `after`, too long ago to matter."""
        if self._since is None:
            return None
        recent = {
            name: {digest: hour for digest, hour in last.items() if hour > after} for name, last in self._last.items()
        }
        return PullTimes(self._since, {name: last for name, last in recent.items() if last}, nonce)
