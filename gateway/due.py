"""The child process that collects if that is due, for gateway.schedule."""

import sys
from collections.abc import Callable

import click
import structlog

from gateway import batch, logs
from gateway.composing import clock, maintained
from gateway.options import Given
from gateway.reports import Findings
from gateway.schedule import follow_parent
from gateway.settings import Settings
from gateway.tally import Tally
from storage.errors import Busy, CorruptRecord, PolicyError
from storage.registry import Registry
from storage.removals import Outcome, Removal

WORK = "collector"
_log = structlog.get_logger()


@click.command(hidden=True)
def collect_when_due_command() -> None:
    """Collect as a child of `serve`, and print for how many seconds there is nothing to do."""
    follow_parent()
    start = Given.handed_down()
    settings = start.settings()
    logs.configure_by(settings)

    async def work() -> int:
        async with maintained(settings, known=start.store) as registry:
            click.echo(await collect_when_due(registry, settings, clock))
        return 0

    sys.exit(batch.run(work()))


class LogReport:
    """What a collection says in the log: its sums, and a line for each problem."""

    def __init__(self) -> None:
        self._tally = Tally()

    def removed(self, removal: Removal, outcome: Outcome) -> None:
        """See gateway.reports.Report.removed."""
        if outcome != "changed":
            self._tally.add(removal)

    def end(self, findings: Findings) -> None:
        """The collection is done."""
        for problem in findings.problems:
            _log.warning("left alone by the collection", problem=problem)
        counts = {step: count for step, (count, _) in self._tally.total.items()}
        freed = self._tally.total.get("delete", (0, 0))[1]
        _log.info("collected", removed=counts, freed_bytes=freed)


async def collect_when_due(registry: Registry, settings: Settings, clock: Callable[[], float]) -> float:
    """Collect if the last collection of any gateway is long enough ago; returns for how many seconds there is nothing to do."""
    ended = await registry.lease(WORK).ended()
    left = ended + settings.gc_every - clock() if ended is not None else 0
    if left > 0:
        return min(left, settings.gc_every)
    report = LogReport()
    try:
        await _retain(registry, report)
        findings = await registry.collector.run(observe=report.removed)
    except Busy as busy:
        _log.info("not collected", why=str(busy))
        return min(settings.gc_every, settings.periods().lease)
    report.end(findings)
    return settings.gc_every


async def _retain(registry: Registry, report: LogReport) -> None:
    """Apply the retention policies first, so that the collection finds what they leave; a bad policy does not stop it."""
    try:
        retained = await registry.retention.run(observe=report.removed)
    except (PolicyError, CorruptRecord) as error:
        _log.warning("retention not applied", why=str(error))
        return
    for problem in retained.problems:
        _log.warning("left alone by the retention", problem=problem)
