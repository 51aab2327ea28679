"""`moorage gc`: collects what nothing references, tells what went, and brings it back."""

import datetime as dt
import sys
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway import batch
from gateway.options import (
    Given,
    SettingsGroup,
    config_option,
    given,
    json_option,
    offline_option,
    quiet_option,
    require_alone,
    setting_options,
    settings_of,
)
from gateway.reports import Findings, JsonReport, Listing, Report, TextReport, fields_of, in_words, listed, reported
from gateway.settings import Settings
from storage.errors import RegistryError
from storage.references import Digest, RepositoryName

OFFLINE = "--offline: the tombstones of this store are purged by plain DELETEs; make sure that no gateway serves, and nothing else runs, until this ends"


@dataclass(frozen=True)
class Choice:
    """What the command and its subcommands were given, together."""

    opened: batch.Opened
    given: Given
    dry_run: bool = False
    offline: bool = False
    as_json: bool = False

    def with_those(
        self, given: Given, *, dry_run: bool = False, offline: bool = False, as_json: bool = False
    ) -> "Choice":
        """Those of a subcommand too."""
        return Choice(
            self.opened,
            given.over(self.given),
            dry_run=dry_run or self.dry_run,
            offline=offline or self.offline,
            as_json=as_json or self.as_json,
        )

    def settings(self) -> Settings:
        """The settings, of a store that can be worked on."""
        settings = settings_of(self.given)
        require_alone(settings, offline=self.offline)
        return settings


_dry_run = click.option("--dry-run", is_flag=True, help="Change nothing; say what would go, or come back.")


@click.group(cls=SettingsGroup, invoke_without_command=True)
@_dry_run
@offline_option
@quiet_option
@json_option
@config_option
@setting_options
@click.pass_context
def gc(  # noqa: PLR0913 - a flag each
    context: click.Context,
    /,
    config: Path | None,
    *,
    dry_run: bool,
    offline: bool,
    quiet: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Collect what nothing references, while gateways serve.

    What no manifest references is condemned once it is older than the grace period, and goes when it has stayed so for another one.
    It ends with 1 if something could not be judged, which then stays. If another collection is under way it says so and ends with 0.
    """
    choice = Choice(context.obj, given(config, flags), dry_run, offline, as_json)
    context.obj = choice
    if context.invoked_subcommand is None:
        settings = choice.settings()
        report: Report = JsonReport(dry_run=dry_run) if as_json else TextReport(dry_run=dry_run, quiet=quiet)
        sys.exit(batch.run(reported(_collect(choice, settings, report), report)))


@gc.command()
@click.argument("item", metavar="REPOSITORY[@DIGEST]")
@_dry_run
@offline_option
@json_option
@config_option
@setting_options
@click.pass_obj
def undo(  # noqa: PLR0913 - a flag each
    choice: Choice, /, item: str, config: Path | None, *, dry_run: bool, offline: bool, as_json: bool, **flags: Any
) -> None:
    """Bring back what was collected, as long as its bytes are there.

    All of a repository, or one manifest with what it references and what refers to it, or one blob. It ends with 1 if something is lost.
    """
    choice = choice.with_those(given(config, flags), dry_run=dry_run, offline=offline, as_json=as_json)
    name, digest = _item(item)
    sys.exit(batch.run(_undo(choice, choice.settings(), name, digest)))


@gc.command()
@json_option
@config_option
@setting_options
@click.pass_obj
def journal(choice: Choice, /, config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Tell what maintenance removed in the last 30 days, oldest first."""
    choice = choice.with_those(given(config, flags), as_json=as_json)
    sys.exit(batch.run(_journal(choice, settings_of(choice.given))))


async def _collect(choice: Choice, settings: Settings, report: Report) -> Findings:
    async with choice.opened(settings) as registry:
        if choice.offline and not registry.store.capabilities.conditional_delete:
            click.echo(OFFLINE, err=True)
        found = await registry.collector.run(
            dry_run=choice.dry_run, offline=choice.offline, observe=report.removed, progress=report.progress
        )
        if choice.dry_run or not found.has_pulls:
            return found
        return replace(found, problems=[*found.problems, *await registry.retention.compact(found.began)])


async def _undo(choice: Choice, settings: Settings, name: RepositoryName, digest: Digest | None) -> int:
    fates: list[dict[str, str]] = []
    async with (
        choice.opened(settings) as registry,
        aclosing(registry.undo.run(name, digest, dry_run=choice.dry_run)) as results,
    ):
        async for result in results:
            fates.append({"fate": result.fate, "sentence": result.sentence})
            if not choice.as_json:
                click.echo(result.sentence)
    if choice.as_json:
        click.echo(msgspec.json.encode({"dryRun": choice.dry_run, "results": fates}))
    return int(any(each["fate"] == "lost" for each in fates))


async def _journal(choice: Choice, settings: Settings) -> int:
    async def tell(listing: Listing) -> None:
        async with (
            choice.opened(settings) as registry,
            aclosing(registry.journal.pages(damaged=listing.damaged.append)) as pages,
        ):
            async for page in pages:
                for removal in page.removals:
                    fields = {"at": page.at, "work": page.work, **fields_of(removal)}
                    listing.tell(fields, f"{_spoken_time(page.at)} {page.work}: {in_words(removal)}")

    return await listed("removals", tell, as_json=choice.as_json)


def _item(text: str) -> tuple[RepositoryName, Digest | None]:
    name, _, digest = text.partition("@")
    if ":" in name:
        raise click.ClickException(f"undo takes REPOSITORY or REPOSITORY@DIGEST, without host and tag, not {text!r}")
    try:
        return RepositoryName.parse(name), Digest.parse(digest) if "@" in text else None
    except RegistryError as error:
        raise click.ClickException(str(error)) from None


def _spoken_time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
