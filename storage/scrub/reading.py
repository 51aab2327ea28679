"""The bytes half of a scrub: every instance's content read again, in the order of digests, from where the last run ended."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from storage import layout
from storage.errors import CorruptRecord
from storage.records import changed
from storage.references import Digest
from storage.scrub.findings import Finding
from storage.scrub.inventory import Inventory
from storage.scrub.rounds import MOST_BAD, Round, Rounds
from storage.scrub.workbench import Workbench
from storage.shelf import gathered
from storage.soundness import Measure, Soundness

Verdict = Literal["corrupt-bytes", "missing-bytes", "wrong-size"]

_AT_ONCE = 16
_AT_ONCE_BYTES = 16 * 1024 * 1024
_LOOKS = 5  # at the links of damaged bytes, until none is left


@dataclass(frozen=True, slots=True)
class Damaged:
    """An instance whose bytes are not those of its digest, or not as many as its record says."""

    at: str
    key: str
    verdict: Verdict
    size: int | None

    @property
    def digest(self) -> Digest:
        """Of what the bytes should be."""
        return layout.parse_instance_key(self.at)[0]

    def finding(self, holders: int) -> Finding:
        """What is told of it; without a link it harms nobody."""
        said = {
            "corrupt-bytes": f"the bytes at {self.key} are not those of the digest",
            "missing-bytes": f"there is nothing at {self.key}",
            "wrong-size": f"there are {self.size} bytes at {self.key}, and the record says otherwise",
        }
        served = f"repositories that have it: {holders}" if holders else "no repository has it: the collector takes it"
        why = f"{said[self.verdict]}; {served}"
        return Finding(self.verdict, self.at, why, digest=str(self.digest), is_note=not holders)


class Reading:
    """Reads on, tells and mends what is damaged, and keeps the cursor. `is_time_over` ends it between two blobs."""

    def __init__(
        self,
        bench: Workbench,
        bytes_: Soundness,
        rounds: Rounds,
        is_time_over: Callable[[], bool],
    ) -> None:
        self._bench = bench
        self._looks = bench.looks
        self._mending = bench.mending
        self._bytes = bytes_
        self._rounds = rounds
        self._is_time_over = is_time_over
        self.quarantined: list[Damaged] = []

    async def run(
        self, inventory: Inventory, now: Round, urgent: Sequence[str], progress: Callable[[Round], None]
    ) -> Round:
        """First what looks wrong already, then the round; the state in which it ends, which is written down in any case."""
        first = dict.fromkeys([*now.bad, *urgent])
        try:
            now = _advanced(changed(now, bad=()), (), await self._examine(first))
            for group in _groups(inventory.instances(now.last)):
                if self._is_time_over():
                    return now
                bad = await self._examine([at for at, _ in group if at not in first])
                now = _advanced(now, group, bad)
                progress(now)
                await self._rounds.save_at_times(now)
            now = changed(now, is_over=True)
            return now
        finally:
            await self._rounds.save(now)

    async def settle(self) -> None:
        """Look again for links to what was quarantined, from those who had seen one before; they have had their time to write it."""
        for damaged in self.quarantined:
            await self._quarantine(damaged)

    async def _examine(self, keys: Iterable[str]) -> tuple[str, ...]:
        """The instances among these that are damaged and stay so."""
        found = await gathered((self._verdict(at) for at in keys), _AT_ONCE)
        return tuple([damaged.at for damaged in found if damaged is not None and not await self._settled(damaged)])

    async def _verdict(self, at: str) -> Damaged | None:
        """What is wrong with an instance, by two readings of its bytes.

        The record is read between the two: the collector removes it before the bytes, so that bytes are not missed that it took.
        """
        found: Damaged | None = None
        for _ in range(2):
            found = await self._read(at)
            if found is None:
                break
        return found

    async def _read(self, at: str) -> Damaged | None:
        """What is wrong with an instance, by one reading of its bytes. A GET, and another one for the bytes."""
        try:
            instance = (await self._looks.instance(at)).value
        except CorruptRecord:
            return None  # a finding of its own
        if instance is None:
            return None
        measure = await self._bytes.measure(layout.parse_instance_key(at)[0], instance.key)
        if measure == Measure(instance.size, is_right=True):
            return None
        return Damaged(at, instance.key, _verdict(measure), measure.size if measure else None)

    async def _settled(self, damaged: Damaged) -> bool:
        """Tell of it, and mend it if that is asked for; whether it needs no more attention."""
        holders = await self._holders(damaged)
        finding = damaged.finding(holders)
        if not self._bench.repair or not holders:
            self._bench.tell(finding)
            return not holders
        if damaged.verdict == "wrong-size":
            await self._bench.mend(finding, await self._mending.wrong_size(damaged.at, damaged.size or 0))
            return True
        is_done = await self._quarantine(damaged)
        self.quarantined.append(damaged)
        self._bench.tell(finding, "quarantined" if is_done else "changed")
        return is_done

    async def _quarantine(self, damaged: Damaged) -> bool:
        """Put all links to these bytes in quarantine; False if others come again and again."""
        for _ in range(_LOOKS):
            if await self._bench.all_of(self._mending.links_to(damaged.digest, damaged.key)) == 0:
                return True
        return False

    async def _holders(self, damaged: Damaged) -> int:
        return len([link async for link in self._looks.links_to(damaged.digest, damaged.key)])


def _verdict(measure: Measure | None) -> Verdict:
    if measure is None:
        return "missing-bytes"
    return "wrong-size" if measure.is_right else "corrupt-bytes"


def _advanced(now: Round, group: Sequence[tuple[str, int]], bad: Sequence[str]) -> Round:
    return changed(
        now,
        last=group[-1][0] if group else now.last,
        instances=now.instances + len(group),
        bytes=now.bytes + sum(size for _, size in group),
        bad=(*now.bad, *bad)[:MOST_BAD],
    )


def _groups(instances: Iterator[tuple[str, int]]) -> Iterator[Sequence[tuple[str, int]]]:
    """Small ones together, so that their requests do not wait for each other; large ones alone."""
    group: list[tuple[str, int]] = []
    for at, size in instances:
        if group and (len(group) >= _AT_ONCE or sum(other for _, other in group) + size > _AT_ONCE_BYTES):
            yield group
            group = []
        group.append((at, size))
    if group:
        yield group
