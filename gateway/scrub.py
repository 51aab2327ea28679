"""`moorage scrub`: holds all records and bytes in the bucket against each other, and mends what can be mended."""

import datetime as dt
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from gateway import batch
from gateway.options import (
    Given,
    SettingsGroup,
    config_option,
    given,
    json_option,
    offline_option,
    require_alone,
    setting_options,
    settings_of,
)
from gateway.reports import JsonList, Listing, Progress, ended, listed
from gateway.settings import Settings
from gateway.tally import spoken_size
from gateway.values import Duration, Size
from storage.scrub.findings import Finding
from storage.scrub.runs import DEFAULT_RATE, Options, Report


class _Scrubs(SettingsGroup):
    """Scrubs, and what belongs to them: 1 is damage, so that what could not be run ends with 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Group.invoke."""
        try:
            with batch.printing():
                return super().invoke(ctx)
        except click.ClickException as error:
            error.show()
            sys.exit(2)


@click.group(cls=_Scrubs, invoke_without_command=True)
@click.option("--repair", is_flag=True, help="Mend what can be derived; put out of use what cannot.")
@click.option("--rate", default=f"{DEFAULT_RATE // 1024**2}MiB", metavar="SIZE", help="Bytes a second to read; 0: any.")
@click.option("--for", "duration", metavar="DURATION", help="Read no more after that, and go on from there next time.")
@click.option("--restart", is_flag=True, help="Read all bytes from the beginning.")
@offline_option
@json_option
@config_option
@setting_options
@click.pass_context
def scrub(  # noqa: PLR0913 - a flag each
    context: click.Context,
    /,
    config: Path | None,
    *,
    repair: bool,
    rate: str,
    duration: str | None,
    restart: bool,
    offline: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Check all records against each other, and all bytes against their digests, while gateways serve.

    It ends with 0 if what it has seen is sound or was mended, 1 if damage is left or content was lost, 2 if it could not be run.
    """
    choice = given(config, flags)
    if context.invoked_subcommand is not None:
        context.obj = (context.obj, choice)
        return
    settings = settings_of(choice)
    require_alone(settings, offline=offline or not repair)
    options = Options(repair=repair, rate=_rate(rate), seconds=_seconds(duration), restart=restart)
    sys.exit(batch.run(_scrub(context.obj, settings, options, _JsonOutput() if as_json else _TextOutput())))


@scrub.command()
@json_option
@config_option
@setting_options
@click.pass_obj
def quarantine(obj: tuple[batch.Opened, Given], /, config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Tell what repairs have put out of use, and why."""
    opened, others = obj
    sys.exit(batch.run(_list(opened, settings_of(given(config, flags).over(others)), as_json=as_json)))


class _TextOutput:
    """A line for each finding, then a summary."""

    def __init__(self) -> None:
        self._progress = Progress(sys.stderr)

    def found(self, finding: Finding) -> None:
        """One finding."""
        self._progress.clear()
        click.echo(f"{outcome_of(finding):11} {finding.kind}: {finding.key}: {finding.why}")

    def progress(self, stage: str, count: int) -> None:
        """See storage.scrub.runs.Progress."""
        self._progress.show(stage, count)

    def end(self, report: Report | None, _: str | None) -> None:
        """The run ended, by an error if there is no report."""
        self._progress.clear()
        if report is not None:
            for line in _summary(report):
                click.echo(line)


class _JsonOutput:
    """One document, a finding a line."""

    def __init__(self) -> None:
        self._progress = Progress(sys.stderr)
        self._findings = JsonList("findings")

    def found(self, finding: Finding) -> None:
        """One finding."""
        self._findings.add(_fields(finding))

    def progress(self, stage: str, count: int) -> None:
        """See storage.scrub.runs.Progress."""
        self._progress.show(stage, count)

    def end(self, report: Report | None, error: str | None) -> None:
        """The run ended, by an error if there is no report."""
        self._progress.clear()
        self._findings.end({"error": error} if report is None else _report(report))


_Output = _TextOutput | _JsonOutput


def outcome_of(finding: Finding) -> str:
    """What became of it, or that it is a note."""
    return "note" if finding.is_note else finding.outcome


async def _scrub(opened: batch.Opened, settings: Settings, options: Options, output: _Output) -> int:
    async def work() -> Report:
        async with opened(settings) as registry:
            return await registry.scrub.run(replace(options, observe=output.found, progress=output.progress))

    return 0 if (await ended(work(), output.end)).is_sound else 1


async def _list(opened: batch.Opened, settings: Settings, *, as_json: bool) -> int:
    async def tell(listing: Listing) -> None:
        async with (
            opened(settings) as registry,
            aclosing(registry.scrub.quarantine.kept(listing.damaged.append)) as kept,
        ):
            async for place, record in kept:
                fields = {"key": record.key, "why": record.why, "place": place, "bytes": record.bytes}
                listing.tell(fields, f"{record.key}: {record.why}; kept at {place}")

    return await listed("quarantine", tell, as_json=as_json)


def _rate(text: str) -> float | None:
    try:
        return float(Size.parse(text)) or None
    except ValueError as error:
        raise click.ClickException(f"--rate: {error}") from None


def _seconds(text: str | None) -> float | None:
    try:
        return Duration.parse(text) if text is not None else None
    except ValueError as error:
        raise click.ClickException(f"--for: {error}") from None


def _fields(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind,
        "key": finding.key,
        "why": finding.why,
        "repository": finding.repository,
        "digest": finding.digest,
        "outcome": outcome_of(finding),
    }


def _report(report: Report) -> dict[str, object]:
    return {
        "isSound": report.is_sound,
        "began": report.began,
        "records": report.records,
        "round": {
            "began": report.round_began,
            "isOver": report.is_over,
            "continuesAt": report.continues_at,
            "instances": report.instances,
            "bytes": report.bytes,
            "allInstances": report.all_instances,
            "allBytes": report.all_bytes,
        },
        "kinds": report.findings,
        "outcomes": report.outcomes,
        "open": report.open,
        "error": None,
    }


def _summary(report: Report) -> Iterator[str]:
    yield f"records: {report.records:,} checked"
    began = dt.datetime.fromtimestamp(report.round_began, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    read = f"{report.instances:,} of {report.all_instances:,} blobs"
    size = f"{spoken_size(report.bytes)} of {spoken_size(report.all_bytes)}"
    yield f"bytes: {read}, {size}, in the round that began at {began}"
    if report.is_over:
        yield "the round is over"
    else:
        yield f"the next run continues at {report.continues_at or 'the first blob'}"
    for outcome, count in sorted(report.outcomes.items()):
        yield f"{outcome}: {count:,}"
    yield f"damage left or content lost: {report.open:,}" if report.open else "sound"
