"""`moorage retention`: policies that say which versions may go, and the runs that apply them."""

import datetime as dt
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from gateway import batch
from gateway.options import (
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
from gateway.reports import Findings, JsonReport, Listing, Progress, Report, TextReport, listed, reported
from gateway.settings import Settings
from gateway.tally import spoken_size
from storage.errors import CorruptRecord, PolicyError
from storage.retention.dry_runs import Affected, DryRun
from storage.retention.policies import Kept, Policy, Rule
from storage.retention.policy_files import parse

_DAY = 24 * 3600


@click.group(cls=SettingsGroup)
def retention() -> None:
    """Keep what policies keep, and remove the rest, while gateways serve.

    Policies are kept in the bucket, and written in TOML or YAML. What goes is condemned first and removed a grace period later.
    """


@retention.command("set")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Take a policy that is about every tag of every repository.")
@config_option
@setting_options
@click.pass_obj
def set_(opened: batch.Opened, /, file: Path, config: Path | None, *, yes: bool, **flags: Any) -> None:
    """Take the policies in FILE, in place of those of the same names.

    FILE ends with .toml, .yaml or .yml, and has one policy, or a list of them called `policies`.
    """
    settings = settings_of(given(config, flags))
    policies = _policies_in(file)
    greedy = [policy.name for policy in policies if policy.matches_everything]
    if greedy and not yes:
        raise click.ClickException(
            f"{file}: {' and '.join(greedy)} is about every tag of every repository; say --yes if that is meant"
        )

    async def work() -> int:
        async with opened(settings) as registry:
            await registry.policies.set(policies)
        for policy in policies:
            click.echo(f"{policy.name} is {policy.status}")
        return 0

    sys.exit(batch.run(work()))


@retention.command()
@click.argument("name")
@json_option
@config_option
@setting_options
@click.pass_obj
def show(opened: batch.Opened, /, name: str, config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Print a policy, as YAML that `set` takes, or as JSON."""
    settings = settings_of(given(config, flags))

    async def work() -> int:
        async with opened(settings) as registry:
            kept = await registry.policies.get(name)
        click.echo(_json(_fields(kept)) if as_json else _yaml(kept.policy), nl=as_json)
        return 0

    sys.exit(batch.run(work()))


@retention.command("list")
@json_option
@config_option
@setting_options
@click.pass_obj
def list_(opened: batch.Opened, /, config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """List all policies."""
    settings = settings_of(given(config, flags))

    async def work() -> int:
        async with opened(settings) as registry:
            policies = await registry.policies.all()
        if as_json:
            click.echo(_json({"policies": [_fields(kept) for kept in policies]}))
        else:
            _echo(_listed(policies))
        return 0

    sys.exit(batch.run(work()))


@retention.command()
@click.argument("name")
@config_option
@setting_options
@click.pass_obj
def remove(opened: batch.Opened, /, name: str, config: Path | None, **flags: Any) -> None:
    """Remove a policy."""
    settings = settings_of(given(config, flags))

    async def work() -> int:
        async with opened(settings) as registry:
            await registry.policies.remove(name)
        click.echo(f"{name} is removed")
        return 0

    sys.exit(batch.run(work()))


@retention.command("run")
@click.option("--dry-run", is_flag=True, help="Change nothing; list what would go, and keep the list in the bucket.")
@click.option("--policy", metavar="NAME", help="This policy alone; in a dry run even if it is DISABLED.")
@quiet_option
@offline_option
@json_option
@config_option
@setting_options
@click.pass_obj
def run_(  # noqa: PLR0913 - a flag each
    opened: batch.Opened,
    /,
    config: Path | None,
    *,
    dry_run: bool,
    policy: str | None,
    quiet: bool,
    offline: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Apply the active policies: condemn what they let go, remove what was condemned a grace period ago.

    It ends with 1 if a repository could not be judged, which then stays as it is. If another run is under way it says so and ends with 0.
    """
    settings = settings_of(given(config, flags))
    if dry_run:
        sys.exit(batch.run(_rehearse(opened, settings, policy, as_json=as_json)))
    require_alone(settings, offline=offline)
    report: Report = JsonReport(dry_run=False) if as_json else TextReport(dry_run=False, quiet=quiet)
    sys.exit(batch.run(reported(_apply(opened, settings, policy, report), report)))


@retention.command("dry-runs")
@json_option
@config_option
@setting_options
@click.pass_obj
def dry_runs(opened: batch.Opened, /, config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """List the dry runs of the last 30 days, oldest first. It ends with 1 if one of them cannot be read."""
    settings = settings_of(given(config, flags))

    async def tell(listing: Listing) -> None:
        async with opened(settings) as registry:
            for each in await registry.dry_runs.ids():
                try:
                    summary = _summary(each, await registry.dry_runs.get(each))
                except CorruptRecord as error:
                    listing.damaged.append(error)
                except PolicyError:
                    pass  # it was too old, and another dry run has removed it meanwhile
                else:
                    listing.tell(summary, _line(summary))

    sys.exit(batch.run(listed("dryRuns", tell, as_json=as_json)))


@retention.command("dry-run")
@click.argument("identifier", metavar="ID")
@json_option
@config_option
@setting_options
@click.pass_obj
def dry_run_(opened: batch.Opened, /, identifier: str, config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Print what a dry run found."""
    settings = settings_of(given(config, flags))

    async def work() -> int:
        async with opened(settings) as registry:
            found = await registry.dry_runs.get(identifier)
        _print_dry_run(identifier, found, as_json=as_json)
        return 0

    sys.exit(batch.run(work()))


async def _apply(opened: batch.Opened, settings: Settings, policy: str | None, report: Report) -> Findings:
    async with opened(settings) as registry:
        return await registry.retention.run(policy=policy, observe=report.removed, progress=report.progress)


async def _rehearse(opened: batch.Opened, settings: Settings, policy: str | None, *, as_json: bool) -> int:
    progress = Progress(sys.stderr)
    async with opened(settings) as registry:
        findings = await registry.retention.rehearse(policy=policy, progress=progress.show)
        progress.clear()
        found = await registry.dry_runs.get(findings.dry_run)
    _print_dry_run(findings.dry_run, found, as_json=as_json)
    if not as_json:
        click.echo(
            f"a dry run: nothing was changed; it can be read again by `moorage retention dry-run {findings.dry_run}`"
        )
    return 1 if findings.problems else 0


def _policies_in(file: Path) -> Sequence[Policy]:
    try:
        return parse(file.read_text("utf-8"), str(file))
    except OSError as error:
        raise click.ClickException(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise click.ClickException(f"{file} cannot be read: it is no UTF-8") from None
    except PolicyError as error:
        raise click.ClickException(str(error)) from None


def _fields(kept: Kept) -> dict[str, object]:
    """A policy as JSON has it: as it is written in a file, and when it was changed."""
    return {**_written(kept.policy), "modified": _time(kept.modified)}


def _written(policy: Policy) -> dict[str, object]:
    """A policy as it is written in a file."""
    fields = msgspec.to_builtins(policy)
    return {**fields, "status": policy.status, "rules": [_written_rule(rule) for rule in policy.rules]}


def _written_rule(rule: Rule) -> dict[str, object]:
    periods = {"expire_period", "retained_pulled"}
    fields: dict[str, object] = msgspec.to_builtins(rule)
    return {name: f"{value // _DAY}d" if name in periods else value for name, value in fields.items()}  # type: ignore[operator]


def _yaml(policy: Policy) -> str:
    return yaml.safe_dump(_written(policy), sort_keys=False, allow_unicode=True)


def _listed(policies: Sequence[Kept]) -> Iterator[str]:
    width = max((len(kept.policy.name) for kept in policies), default=0)
    for kept in policies:
        policy = kept.policy
        rules = f"{len(policy.rules)} rule{'s' if len(policy.rules) > 1 else ''}"
        yield f"{policy.name:{width}}  {policy.status:8}  {rules}  {', '.join(policy.repositories)}"


def _summary(identifier: str, found: DryRun) -> dict[str, Any]:
    return {
        "id": identifier,
        "at": _time(found.at),
        "policies": found.policies,
        "images": len(found.images),
        "size": sum(image.size for image in found.images),
    }


def _line(summary: dict[str, Any]) -> str:
    policies = ", ".join(summary["policies"])
    images = f"{summary['images']} images, {spoken_size(summary['size'])}"
    return f"{summary['id']}  {summary['at']}  {images}  {policies}".rstrip()


def _print_dry_run(identifier: str, found: DryRun, *, as_json: bool) -> None:
    if as_json:
        images = msgspec.to_builtins(found.images)
        click.echo(_json({**_summary(identifier, found), "images": images, "problems": found.problems}))
        return
    _echo(_image(image) for image in found.images)
    for problem in found.problems:
        click.echo(f"problem: {problem}", err=True)
    size = spoken_size(sum(image.size for image in found.images))
    click.echo(f"{len(found.images)} images would go, {size}, by {', '.join(found.policies) or 'no policy'}")


def _image(image: Affected) -> str:
    tags = f" ({', '.join(image.tags)})" if image.tags else ""
    return f"{image.repository}@{image.digest}{tags}, {spoken_size(image.size)}: {image.why}"


def _echo(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _json(document: object) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
