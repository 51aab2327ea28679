"""What a run that removes things says while it goes and at its end: for people, or as one JSON document."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TextIO, TypeVar

import click
import msgspec

from gateway.batch import STOPPED
from gateway.tally import Tally, as_json, spoken_size
from storage.errors import Busy, CorruptRecord
from storage.removals import Outcome, Removal, spoken

OFTEN = 0.1  # seconds between two lines of progress
_CLEAR = "\r\x1b[K"

Found = TypeVar("Found")


class Findings(Protocol):
    """What a run returns. `began` is in seconds since 1970; `problems` are sentences."""

    @property
    def began(self) -> float:
        """Its T0, by the store's clock."""
        ...

    @property
    def manifests_read(self) -> int:
        """How many manifests it had to read."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What it could not judge, and left alone."""
        ...


class Report(Protocol):
    """Hears of each removal, and how far the run is."""

    def removed(self, removal: Removal, outcome: Outcome) -> None:
        """One removal."""
        ...

    def progress(self, stage: str, count: int) -> None:
        """`count` things of a kind were looked at."""
        ...

    def end(self, findings: Findings | None, error: str | None) -> None:
        """The run ended, by an error if it has no findings."""
        ...


async def ended(work: Coroutine[Any, Any, Found], end: Callable[[Found | None, str | None], None]) -> Found:
    """Do `work`, and `end` however it did: with what it found, or with what stopped it."""
    found, error = None, None
    try:
        found = await work
    except (asyncio.CancelledError, KeyboardInterrupt):
        error = STOPPED
        raise
    except Exception as failure:
        error = str(failure)
        raise
    finally:
        end(found, error)
    return found


async def reported(work: Coroutine[Any, Any, Findings], report: Report) -> int:
    """Do `work`, and have `report` end however it did; its exit status.

    1 if something was left alone, 0 if another run is under way, which is said on standard error.
    """
    try:
        findings = await ended(work, report.end)
    except Busy as busy:
        click.echo(str(busy), err=True)
        return 0
    return 1 if findings.problems else 0


class Progress:
    """A line on a terminal that is written over and over; nothing elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() else None
        self._shown_at = 0.0
        self._is_shown = False

    def show(self, stage: str, count: int) -> None:
        """Say how far it is, if that was not said just now."""
        if self._stream is None or time.monotonic() - self._shown_at < OFTEN:
            return
        self._shown_at = time.monotonic()
        self._is_shown = True
        self._write(f"{_CLEAR}{count:,} {stage}")

    def clear(self) -> None:
        """Make room for other output."""
        if self._is_shown:
            self._is_shown = False
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()


class TextReport:
    """A line for each removal unless it is `quiet`, then a table; problems on standard error."""

    def __init__(self, *, dry_run: bool, quiet: bool) -> None:
        self._dry_run = dry_run
        self._quiet = quiet
        self._is_silent = True
        self._tally = Tally()
        self._progress = Progress(sys.stderr)

    def removed(self, removal: Removal, outcome: Outcome) -> None:
        """See Report.removed."""
        if outcome != "changed":
            self._tally.add(removal)
        self._is_silent = False
        if not self._quiet:
            self._progress.clear()
            click.echo(in_words(removal, outcome))

    def progress(self, stage: str, count: int) -> None:
        """See Report.progress."""
        self._progress.show(stage, count)

    def end(self, findings: Findings | None, error: str | None) -> None:  # noqa: ARG002 - the command says the error
        """See Report.end."""
        self._progress.clear()
        for line in self._tally.table():
            click.echo(line)
        for problem in _problems(findings):
            click.echo(f"problem: {problem}", err=True)
        if findings is None:
            return
        if self._is_silent:
            click.echo("nothing to remove")
        if self._dry_run:
            click.echo("a dry run: nothing was changed")


class JsonList:
    """A JSON object on standard output whose first field is a list, written as its items come, so that it takes no memory."""

    def __init__(self, name: str) -> None:
        self._separator = "\n"
        click.echo(f'{{"{name}":[', nl=False)

    def add(self, item: object) -> None:
        """Write one more item."""
        click.echo(self._separator + _json(item), nl=False)
        self._separator = ",\n"

    def end(self, rest: Mapping[str, object]) -> None:
        """End the list, and write the other fields."""
        click.echo(f"\n],{_json(rest).removeprefix('{')}" if rest else "\n]}")


class Listing:
    """Tells of things one by one, a line each or as JSON; `damaged` are the records that could not be read."""

    def __init__(self, written: JsonList | None) -> None:
        self.damaged: list[CorruptRecord] = []
        self._written = written

    def tell(self, fields: Mapping[str, object], words: str) -> None:
        """One thing, as JSON has it and in words."""
        if self._written is not None:
            self._written.add(fields)
        else:
            click.echo(words)

    def end(self, _: None, error: str | None) -> None:
        """All was told that could be, or an error has ended it."""
        if self._written is not None:
            self._written.end({"problems": [str(each) for each in self.damaged], "error": error})
        for each in self.damaged:
            click.echo(f"problem: {each}", err=True)


async def listed(name: str, tell: Callable[[Listing], Coroutine[Any, Any, None]], *, as_json: bool) -> int:
    """Have `tell` tell of all that there is, as JSON below `name` or in lines; 1 if some of it was damaged, else 0."""
    listing = Listing(JsonList(name) if as_json else None)
    await ended(tell(listing), listing.end)
    return int(bool(listing.damaged))


class JsonReport:
    """One document, a removal a line."""

    def __init__(self, *, dry_run: bool) -> None:
        self._dry_run = dry_run
        self._tally = Tally()
        self._progress = Progress(sys.stderr)
        self._removals = JsonList("removals")

    def removed(self, removal: Removal, outcome: Outcome) -> None:
        """See Report.removed."""
        if outcome != "changed":
            self._tally.add(removal)
        self._removals.add(fields_of(removal) | {"outcome": outcome})

    def progress(self, stage: str, count: int) -> None:
        """See Report.progress."""
        self._progress.show(stage, count)

    def end(self, findings: Findings | None, error: str | None) -> None:
        """See Report.end."""
        self._progress.clear()
        counts = {name: as_json(counted) for name, counted in self._tally.repositories()}
        rest = {
            "dryRun": self._dry_run,
            "shared": counts.pop("", {}),
            "repositories": counts,
            "total": as_json(self._tally.total),
            "began": findings.began if findings else None,
            "manifestsRead": findings.manifests_read if findings else 0,
            "problems": _problems(findings),
            "error": error,
        }
        self._removals.end(rest)


def _problems(findings: Findings | None) -> Sequence[str]:
    return findings.problems if findings is not None else ()


def fields_of(removal: Removal) -> dict[str, object]:
    """A removal as JSON has it: without the bytes of the record."""
    return {
        "step": removal.step,
        "key": removal.key,
        "repository": removal.repository,
        "digest": removal.digest,
        "size": removal.size,
        "why": removal.why,
    }


def in_words(removal: Removal, outcome: Outcome = "done") -> str:
    """A removal in words."""
    size = f", {spoken_size(removal.size)}" if removal.size else ""
    why = f"{removal.why}; but it has changed, and stays" if outcome == "changed" else removal.why
    return f"{removal.step:7} {spoken(removal)}{size}: {why}"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
