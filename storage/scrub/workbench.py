"""Where findings are mended, if that is asked for, and told."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from storage.errors import PreconditionFailed
from storage.removals import Outcome, Removal, Removals
from storage.scrub.findings import Finding, Observe
from storage.scrub.findings import Outcome as Became
from storage.scrub.mending import Mend, Mending
from storage.shelf import Context


class Workbench:
    """`began` is the store's time when the run did. What goes is journalled first, many at a time."""

    def __init__(self, context: Context, mending: Mending, observe: Observe, began: float, *, repair: bool) -> None:
        self.mending = mending
        self.looks = mending.looks
        self._observe = observe
        self.repair = repair
        self._removals = Removals(context, "scrub", dry_run=False, observe=self._removed)
        self._removals.time = began
        self._waiting: dict[str, tuple[Finding, Became]] = {}

    def tell(self, finding: Finding, outcome: Became = "found") -> None:
        """Say what was found, and what became of it."""
        self._observe(replace(finding, outcome=outcome))

    async def mend(self, finding: Finding, mend: Mend | None) -> None:
        """Mend a finding, by `flush` at the latest; None stands for one that has changed meanwhile."""
        if mend is None:
            self.tell(finding, "changed")
        elif mend.removal is not None:
            self._waiting[mend.removal.key] = finding, mend.outcome
            await self._removals.plan(mend.removal, mend.act)
        else:
            self.tell(finding, mend.outcome if await _is_done(mend) else "changed")

    async def flush(self) -> None:
        """Do all that waits."""
        await self._removals.flush()

    async def all_of(self, mends: AsyncGenerator[Mend]) -> int:
        """Do a number of removals that belong to one finding, which is told elsewhere; how many there were."""
        count = 0
        async for mend in mends:
            if mend.removal is not None:
                await self._removals.plan(mend.removal, mend.act)
                count += 1
        await self.flush()
        return count

    def _removed(self, removal: Removal, outcome: Outcome) -> None:
        finding, became = self._waiting.pop(removal.key, (None, None))
        if finding is not None and became is not None:
            self.tell(finding, became if outcome == "done" else "changed")


async def _is_done(mend: Mend) -> bool:
    try:
        await mend.act()
    except PreconditionFailed:
        return False
    return True
