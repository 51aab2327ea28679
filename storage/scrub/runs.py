"""A scrub: all records held against each other, and all bytes against their digests, while gateways serve.

The records are checked whole in every run. The bytes take as long as the rate has it, in rounds that go on from run to run.
Without `repair` nothing is written but `scrub/`.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from storage.catalog import Catalog
from storage.errors import CorruptRecord
from storage.kinds import kind_of
from storage.lease import Lease
from storage.scratch import scratch
from storage.scrub.checks import Checks
from storage.scrub.findings import Finding, Observe
from storage.scrub.healing import Healing
from storage.scrub.inventory import Inventory
from storage.scrub.looks import Looks
from storage.scrub.mending import Mending
from storage.scrub.pacing import Pace, Sleep
from storage.scrub.quarantine import Quarantine
from storage.scrub.reading import Reading
from storage.scrub.rounds import Round, Rounds
from storage.scrub.workbench import Workbench
from storage.shelf import Context
from storage.soundness import Soundness

DEFAULT_RATE = 50 * 1024 * 1024

Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What a run does: `rate` in bytes a second, None for any; `seconds` after which it reads no more, None for never.

    `observe` hears of each finding as it is made.
    """

    repair: bool = False
    rate: float | None = DEFAULT_RATE
    seconds: float | None = None
    restart: bool = False
    observe: Observe = lambda _: None
    progress: Progress = lambda *_: None
    sleep: Sleep = asyncio.sleep


@dataclass
class Report:
    """What a run came to. `instances` and `bytes` are those that were read in this round, of `all_instances` and `all_bytes`.

    Unless the round `is_over`, the next run goes on after the instance `continues_at`, from the first one if that is empty. `findings` counts
    them by kind, `outcomes` by what became of them, and `open` those that are damage which is still there.
    """

    began: float = 0.0
    round_began: float = 0.0
    records: int = 0
    instances: int = 0
    bytes: int = 0
    all_instances: int = 0
    all_bytes: int = 0
    continues_at: str = ""
    is_over: bool = False
    findings: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    open: int = 0
    _lost: set[str] = field(default_factory=set)

    @property
    def is_sound(self) -> bool:
        """Whether nothing damaged is left that the run has seen."""
        return self.open == 0

    def note(self, finding: Finding) -> None:
        """Count a finding."""
        self.findings[finding.kind] += 1
        self.outcomes["note" if finding.is_note else finding.outcome] += 1
        self.open += finding.is_open
        if finding.is_open and finding.outcome == "quarantined":
            self._lost.add(finding.key)
        elif finding.kind == "lost-link" and finding.key in self._lost:
            self._lost.remove(finding.key)
            self.open -= 1

    def reached(self, now: Round) -> None:
        """Take over where the round has got to."""
        self.round_began, self.is_over = now.began, now.is_over
        self.continues_at = "" if now.is_over else now.last
        self.instances, self.bytes = now.instances, now.bytes


class Scrub:
    """Runs that check, and mend if asked to. `allow_sparse` says that manifests may lack content on purpose."""

    def __init__(self, context: Context, catalog: Catalog, *, allow_sparse: bool) -> None:
        self.context = context
        self.catalog = catalog
        self.allow_sparse = allow_sparse
        self.quarantine = Quarantine(context, catalog)

    async def run(self, options: Options) -> Report:
        """One run; raises Busy if another one is under way."""
        lease = Lease(self.context, "scrub")
        with scratch() as database:
            async with lease.held() as began:
                run = _Run(self, lease, options, began, database)
                await run.check_records()
                await run.read_bytes()
                return run.report


class _Run:
    """The parts of one run, put together."""

    def __init__(
        self, scrub: Scrub, lease: Lease, options: Options, began: float, database: sqlite3.Connection
    ) -> None:
        context, catalog = scrub.context, scrub.catalog
        self._scrub, self._lease, self._options, self._periods = scrub, lease, options, context.periods
        self.report = Report(began=began)
        self._clock, self._started = context.clock, context.clock()
        self._pace = Pace(options.rate, context.clock, options.sleep)
        bytes_ = Soundness(context, self._spend)
        mending = Mending(context, catalog, Looks(context, catalog), scrub.quarantine, bytes_)
        bench = Workbench(context, mending, self._found, began, repair=options.repair)
        self.inventory = Inventory(context.store, database, self._step)
        self._checks = Checks(context.store, self.inventory, bench, self._wait)
        self._healing = Healing(context, catalog, scrub.quarantine, bytes_, bench)
        self._rounds = Rounds(context)
        self._reading = Reading(bench, bytes_, self._rounds, self._is_time_over)
        self._urgent: list[str] = []

    async def check_records(self) -> None:
        """Every record against every other; what was lost comes back first, where it can."""
        await self.inventory.fill()
        await self._note_quarantine()
        self.report.records = self.inventory.records
        corrupt = await self._checks.corrupt()
        if self._options.repair:
            await self._healing.run()
        await self._checks.fitting(before=self.report.began - self._periods.grace, sparse=self._scrub.allow_sparse)
        wrong = [str(row[0]) for row in self.inventory.suspects("bytes")]
        self._urgent = [*wrong, *(key for key in corrupt if _is_instance(key))]

    async def read_bytes(self) -> None:
        """The round goes on; then those who saw a link just before it was put in quarantine have had their time."""
        now = await self._rounds.begin(self.report.began, restart=self._options.restart)
        self.report.all_instances, self.report.all_bytes = self.inventory.totals()
        self.report.reached(await self._reading.run(self.inventory, now, self._urgent, self._read))
        if self._reading.quarantined:
            await self._wait(self._periods.view_age + self._periods.bound)
            await self._reading.settle()
        if self.report.outcomes["quarantined"]:
            await self._healing.run()

    async def _note_quarantine(self) -> None:
        async with aclosing(self._scrub.quarantine.kept(self._damaged)) as kept:
            async for _, record in kept:
                if record.bytes is not None:
                    self.inventory.insert([("quarantined", (record.bytes,))])

    def _damaged(self, error: CorruptRecord) -> None:
        self._found(Finding("corrupt-record", error.key, "a record in quarantine was damaged: remove it"))

    def _found(self, finding: Finding) -> None:
        self.report.note(finding)
        self._options.observe(finding)

    def _read(self, now: Round) -> None:
        self._options.progress(f"of {self.report.all_bytes:,} bytes", now.bytes)

    async def _step(self, records: int, size: int) -> None:
        self._options.progress("records", self.inventory.records + records)
        await self._spend(size)

    async def _spend(self, size: int) -> None:
        await self._lease.keep()
        await self._pace.spend(size)

    async def _wait(self, seconds: float | None = None) -> None:
        """Until all has ended that is under way; an operation of a gateway is bounded."""
        seconds = seconds or self._periods.bound
        await self._lease.keep()
        self._options.progress("s for what is under way to end", round(seconds))
        await self._options.sleep(seconds)
        await self._lease.keep()

    def _is_time_over(self) -> bool:
        seconds = self._options.seconds
        return seconds is not None and self._clock() - self._started >= seconds


def _is_instance(key: str) -> bool:
    kind = kind_of(key)
    return kind is not None and kind.name == "instance"
