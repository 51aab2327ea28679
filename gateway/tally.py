"""How much was removed: counts and bytes, by repository and step."""

from collections.abc import Iterator
from math import log
from typing import get_args

from storage.removals import Removal, Step

STEPS: tuple[Step, ...] = get_args(Step)
SHARED = "(of no repository)"
TOTAL = "total"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_UNIT = 1024

Counts = dict[Step, tuple[int, int]]


class Tally:
    """Grows with the repositories, not with what is removed from them. The name of what belongs to none of them is empty."""

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {}
        self.total: Counts = {}

    def add(self, removal: Removal) -> None:
        """Count one removal."""
        for counts in (self._counts.setdefault(removal.repository or "", {}), self.total):
            count, size = counts.get(removal.step, (0, 0))
            counts[removal.step] = (count + 1, size + removal.size)

    def repositories(self) -> Iterator[tuple[str, Counts]]:
        """Every repository from which something went, by name."""
        yield from sorted(self._counts.items())

    def table(self) -> Iterator[str]:
        """Lines of text, a column for each step that there is."""
        if not self.total:
            return
        steps = [step for step in STEPS if step in self.total]
        rows = [(name or SHARED, counts) for name, counts in self.repositories()] + [(TOTAL, self.total)]
        width = max(len("repository"), *(len(name) for name, _ in rows))
        cells = [[_cell(counts.get(step)) for step in steps] for _, counts in rows]
        widths = [max(len(step), *(len(row[at]) for row in cells)) for at, step in enumerate(steps)]
        heads: list[list[str]] = [[*steps], *cells]
        for name, row in zip(["repository", *(name for name, _ in rows)], heads, strict=True):
            columns = (cell.rjust(size) for cell, size in zip(row, widths, strict=True))
            yield f"{name:{width}}  {'  '.join(columns)}".rstrip()


def as_json(counts: Counts) -> dict[Step, dict[str, int]]:
    """Counts by step, as `--json` shows them."""
    return {step: {"count": count, "bytes": size} for step, (count, size) in counts.items()}


def spoken_size(size: int) -> str:
    """Bytes in the unit that suits them, as in 1.5 MiB."""
    if size < _UNIT:
        return f"{size} B"
    power = min(int(log(size, _UNIT)), len(_UNITS) - 1)
    return f"{size / _UNIT**power:.1f} {_UNITS[power]}"


def _cell(counted: tuple[int, int] | None) -> str:
    if counted is None:
        return ""
    count, size = counted
    return f"{count} ({spoken_size(size)})" if size else str(count)
